#!/usr/bin/env bash
# What Ghost does to send a newsletter, through Mailgun's own SDK: batches of up to a thousand members with recipient
# variables and tags, each member's copy with its own name and its own way to unsubscribe; then polling the events by
# begin, tag and five types, page by page, until the last one was seen, each once, and nothing of other mail. Some members
# open theirs, which the next poll finds. What arrived is read by Python's
# email package: every copy, all of its headers and texts, nobody else named in it.
. "$(dirname "$0")/../lib.sh"

client_scene
export GHOST_MEMBERS=$scratch/members.json
node_client "$interop/15-ghost/check.cjs"
python3 "$interop/15-ghost/arrived.py" "$GHOST_MEMBERS" "$SINK_VERIFIED"
