#!/usr/bin/env bash
# mailgun, Mailgun's own SDK for Python, with nothing changed but its base URL. It sends forms urlencoded when there is no
# file, says True and False where others say yes and no, and makes domains through the v3 paths. It makes its domain,
# reads and changes the TLS settings, sends with both options, and pages through the events to the end.
. "$(dirname "$0")/../lib.sh"

client_scene
python_client "$interop/11-mailgun-python/check.py"
python_client "$interop/11-mailgun-python/account.py"
