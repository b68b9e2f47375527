#!/usr/bin/env bash
# mailgun.js, Mailgun's own SDK for Node, with nothing changed but its base URL: an application makes its domain, looks at
# and changes its TLS settings, sends mail whose TLS it demands message by message, reads in the events how each one
# travelled, page by page, and meets its own mistakes as the errors that it knows. Then its operator looks after keys, lists and numbers.
. "$(dirname "$0")/../lib.sh"

client_scene
node_client "$interop/10-mailgun-js/check.cjs"
node_client "$interop/10-mailgun-js/account.cjs"
