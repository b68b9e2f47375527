#!/usr/bin/env bash
# A start with a long queue: when mail is taken and when the first is delivered, and how much memory that takes; then, with a short
# queue, how soon a server that was killed is ready. Prints figures; fails only where they are far off.
# MESSAGES sets the length of the queue, INTEROP_BIN and FILL which binaries are measured.
. "$(dirname "$0")/../lib.sh"
. "$interop/lib/durable.sh"

fill_tool=${FILL:-$target/debug/examples/fill}
[ -x "$fill_tool" ] || skip "no $fill_tool: cargo build -p store --example fill"
messages=${MESSAGES:-100000}
durable_scene
domains=50
for ((number = 0; number < domains; number++)); do echo "d$number.sink.test MX 10 mx.sink.test"; done >>"$scratch/zone"
now() { date +%s%N; }
since() { echo "$((($(now) - $1) / 1000000)) ms"; }
began=$(now)
start_waxwing "$sink_port" "${durable_settings[@]}"
durable_login
end_process "$waxwing_pid"
began=$(now)
"$fill_tool" "$scratch/data" "$messages" $domains 2000 sink.test
echo "$messages queued in $(since "$began"), $(du -sm "$scratch/data" | cut -f1) MiB"

began=$(now)
start_waxwing "$sink_port" "${durable_settings[@]}"
echo "ready after $(since "$began")"
python3 -c 'import durable; c = durable.Http(); assert c.send("n999999999@sink.test", "x"), c.answer'
took=$((($(now) - began) / 1000000))
echo "taken after $took ms"
[ $took -lt 15000 ] || fail "the first message was taken after $took ms"
first_delivered() { ls "$scratch/sink" | grep -q eml; }
wait_until 30 "the first delivery" first_delivered
echo "first delivery after $(since "$began")"
sleep 5
memory=$(awk '/VmRSS/ { print int($2 / 1024) }' "/proc/$waxwing_pid/status")
echo "$memory MiB resident, $(ls "$scratch/sink" | wc -l) delivered after $(since "$began")"
[ "$memory" -lt 400 ] || fail "$memory MiB are resident"

# A short queue.
kill -KILL "$waxwing_pid"
wait "$waxwing_pid" 2>/dev/null || true
rm -rf "$scratch/data"
start_waxwing "$sink_port" "${durable_settings[@]}"
durable_login
python3 -c 'import durable, time; c = durable.Http(); assert all(c.send(f"n{n}@nowhere.test", "x", **{"o:deliverytime": str(int(time.time()) + 3600)}) for n in range(100))'
kill -KILL "$waxwing_pid"
wait "$waxwing_pid" 2>/dev/null || true
began=$(now)
start_waxwing "$sink_port" "${durable_settings[@]}"
took=$((($(now) - began) / 1000000))
echo "ready $took ms after a kill with a short queue"
[ $took -lt 5000 ] || fail "ready after $took ms only"
