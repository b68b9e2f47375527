#!/usr/bin/env bash
# Node applications as they are found in the wild: mailgun-js, which was the SDK before mailgun.js and which much software
# still has, with paths and encodings of its own; and Strapi's e-mail provider, which brings an older mailgun.js along.
. "$(dirname "$0")/../lib.sh"

client_scene
node_client "$interop/16-node-applications/check.cjs"
