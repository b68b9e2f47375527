#!/usr/bin/env bash
# Messages that are hard to write down, sent through the API, and what two other implementations of MIME read of what arrived,
# Python's email package and postal-mime: every part, text, file, file name and type, every header and mailbox, as sent.
. "$(dirname "$0")/../lib.sh"

client_scene
export EXPECTED=$scratch/expected.json
python3 "$interop/24-mime/check.py"
node_client "$interop/24-mime/check.cjs"
