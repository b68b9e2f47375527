#!/usr/bin/env bash
# A sync fails once (EIO, by a library laid over the C library's, switched on by a file), and every later one goes well: that
# is what Linux does after it has dropped the pages that it could not write. From then on nothing more is acknowledged,
# over HTTP or SMTP, no delivery begins, and /readyz and the metrics say why; what is there is still read. After a restart
# everything that was acknowledged arrives, and mail is taken again.
. "$(dirname "$0")/../lib.sh"
. "$interop/lib/durable.sh"

command -v cc >/dev/null || skip "no C compiler"
durable_scene
cc -shared -fPIC -O1 -o "$scratch/failing.so" "$interop/33-failing-sync/failing.c" -ldl || fail "the library was not made"
export FAIL_SYNC=$scratch/fail-sync
start_waxwing "$sink_port" "${durable_settings[@]}" LD_PRELOAD="$scratch/failing.so"
durable_login
python3 "$interop/33-failing-sync/check.py" before
said=$(grep -c 'the disk failed to write: nothing more is taken' "$scratch/waxwing.log" || true)
[ "$said" = 1 ] || fail "the log tells it $said times"

end_process "$waxwing_pid"
start_waxwing "$sink_port" "${durable_settings[@]}"
python3 "$interop/33-failing-sync/check.py" after
