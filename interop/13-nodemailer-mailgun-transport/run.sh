#!/usr/bin/env bash
# nodemailer with nodemailer-mailgun-transport, as many Node applications (Strapi among them) are set up: the transport is
# given another host, and everything else stays. It joins recipients with commas, passes attachments and inline images its
# own way, and lets the TLS options through.
. "$(dirname "$0")/../lib.sh"

client_scene
node_client "$interop/13-nodemailer-mailgun-transport/check.cjs"
