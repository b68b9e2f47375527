#!/usr/bin/env bash
# The control panel in Chromium: first start, sign in, the list of events and the journey of messages to receivers in every
# TLS state, Security, the queue, tenants, hostile strings, pages without scripts, accessibility by axe-core.
. "$(dirname "$0")/../lib.sh"

[ -e "$kit/node/.installed" ] || skip "the Node packages were not installed (script/bootstrap)"
export CHROMIUM
CHROMIUM=$(command -v chromium || command -v chromium-browser || true)
[ -n "$CHROMIUM" ] || skip "there is no chromium (script/bootstrap)"
export PANEL=$(dirname "$waxwing")/examples/panel
[ -x "$PANEL" ] || skip "crates/server/examples/panel.rs is not built beside $waxwing"

NODE_PATH=$kit/node/node_modules NODE_NO_WARNINGS=1 node --test --test-reporter=spec "$interop/40-console/check.cjs"
