#!/usr/bin/env bash
# System calls, traced: between the last byte of a request and its 200 or 250 the content is written to the store's log, and a
# sync of the log begins after that and ends well. At an idle server, over HTTP and over SMTP, and for 16 at once. That the
# check can fail is shown with the same trace, doctored.
. "$(dirname "$0")/../lib.sh"
. "$interop/lib/durable.sh"

command -v strace >/dev/null || skip "no strace"
durable_scene
start_waxwing "$sink_port" "${durable_settings[@]}"
durable_login
strace -f -yy -ttt -s 200000 -e trace=read,readv,recvfrom,recvmsg,write,writev,sendto,sendmsg,pwrite64,pwritev,fsync,fdatasync \
    -o "$scratch/trace" -p "$waxwing_pid" >"$scratch/strace.log" 2>&1 </dev/null &
strace_pid=$!
started+=("$strace_pid")
attached() { ! kill -0 "$strace_pid" 2>/dev/null || grep -q attached "$scratch/strace.log"; }
wait_until 10 "strace" attached
kill -0 "$strace_pid" 2>/dev/null || skip "strace may not attach here: $(cat "$scratch/strace.log")"
python3 "$interop/30-synced-before-answered/check.py" send "$scratch/sent"
end_process "$strace_pid"
python3 "$interop/30-synced-before-answered/check.py" judge "$scratch/sent" "$scratch/trace"
