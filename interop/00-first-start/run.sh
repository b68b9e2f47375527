#!/usr/bin/env bash
# The newcomer: an empty folder, no configuration, `waxwing serve`. The program shows a key once and a curl line; the line is
# run as it was printed, but for the addresses. The receiver is down, and then the power goes (kill -9) at the worst time.
# Started again, the program has the message that it had answered for, does not show the key again, and delivers
# over verified TLS once the receiver is back.
. "$(dirname "$0")/../lib.sh"

command -v openssl >/dev/null || skip "no openssl to make certificates with"
make_ca
good_certificate verified mx.verified.test
printf '%s\n' 'verified.test MX 10 mx.verified.test' 'mx.verified.test A 127.0.0.1' >"$scratch/zone"
start_dns
port=$(free_port)
mkdir "$scratch/empty"
cd "$scratch/empty"

# What a laboratory needs; a newcomer on a real host sets none of it. Port 8025 may be taken here.
export WAXWING_HTTP_LISTEN=127.0.0.1:0 WAXWING_RESOLVER=$dns WAXWING_SMTP_PORT=$port WAXWING_DELIVER_TO_PRIVATE=127.0.0.1 \
    WAXWING_TRUST_ROOTS=$scratch/ca.pem WAXWING_RETRY_SCHEDULE=1s,1s,1s,1s,1s,1s,1s,1s,1s,1s

serve() {
    (exec "$waxwing" serve) >"$scratch/$1.out" 2>"$scratch/$1.log" </dev/null &
    last_pid=$!
    started+=("$last_pid")
    logs+=("$scratch/$1.log")
    wait_until 20 "the start" grep -q 'http_addr=' "$scratch/$1.log"
    url=http://$(sed -n 's/.*http_addr=\([0-9.:]*\).*/\1/p' "$scratch/$1.log" | head -n 1)
}

serve first
key=$(grep -o 'key-[0-9a-f]*' "$scratch/first.out" | head -n 1)
[ -n "$key" ] || fail "the first start showed no key: $(cat "$scratch/first.out")"
[ "$(stat -c %a data)" = 700 ] || fail "others may read the store"
"$waxwing" domain add example.com >/dev/null # while the server runs
line=$(sed -n '/^ *curl /,/^$/p' "$scratch/first.out" | sed -e 's/curl /curl -fsS /' -e 's/somebody@example.net/one@verified.test/')
echo "$line"
answer=$(eval "$line")
grep -q '"Queued. Thank you."' <<<"$answer" || fail "the printed line answered: $answer"

kill -KILL "$last_pid"
wait "$last_pid" 2>/dev/null || true
start_sink verified --port "$port" --certificate "$scratch/verified.pem" --key "$scratch/verified.key"
serve second
grep -q 'key-' "$scratch/second.out" && fail "the key was shown again"
mail_arrived() { grep -lq '^X-Sink-Tls: TLSv1.3' "$scratch"/verified/*.eml; }
wait_until 20 "the message that was acknowledged before the crash" mail_arrived
delivered() {
    curl -fsS --user "api:$key" "$url/v3/example.com/events?event=delivered" |
        grep -q '"tls":true,"certificate-verified":true'
}
wait_until 10 "the event that tells of it" delivered
[ "$(ls "$scratch"/verified/*.eml | wc -l)" = 1 ] || fail "it was delivered twice"
curl -fsS --user "api:$key" "$url/v3/example.com/events?ascending=yes" |
    python3 -c 'import json, sys; print(*(event["event"] for event in json.load(sys.stdin)["items"]))'
