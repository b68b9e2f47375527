#!/usr/bin/env bash
# Templates, rendered by handlebars.js and by Waxwing. Each of some 120 templates is stored through the API and sent; what
# arrives, read by postal-mime, must be what handlebars.js makes of it, and where Waxwing differs it must be in the way that
# the list of differences says.
. "$(dirname "$0")/../lib.sh"

client_scene
node_client "$interop/21-templates/check.cjs"
