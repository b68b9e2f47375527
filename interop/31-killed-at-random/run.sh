#!/usr/bin/env bash
# A hundred times kill -9 at random moments, some of them during the start, while mail comes over HTTP and SMTP and goes out to a
# receiver that counts. After the last start everything that was acknowledged has arrived, and what arrived twice is at
# each kill at most one message for each connection that was open to the receiver.
# KILLS and SEED set how often, and which moments; a failure leaves the store behind.
. "$(dirname "$0")/../lib.sh"
. "$interop/lib/durable.sh"

durable_scene
port=$(free_port)
start_waxwing "$port" "${durable_settings[@]}"
durable_login
end_process "$waxwing_pid"
logs+=("$scratch/killed.log")
python3 "$interop/31-killed-at-random/check.py" "$waxwing" "$scratch" "$port" "${settings[@]}" || {
    KEEP=1
    fail "see above; the store is left in $scratch/data"
}
