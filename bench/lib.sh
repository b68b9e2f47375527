# Shared by the rounds of script/bench, on top of what the scenarios of interop/ share. A round is a process of its own: fresh
# folders below target/, on the disk that the build lies on, and nothing is left when it ends.
bench=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export TMPDIR=${CARGO_TARGET_DIR:-$bench/../target}/interop
export INTEROP_BIN=${CARGO_TARGET_DIR:-$bench/../target}/release/waxwing
mkdir -p "$TMPDIR"
. "$bench/../interop/lib.sh"
tool=$target/release/waxwing-bench
sender=bench.test
password=bench-password

# --- the server's processes ------------------------------------------------------------------------------------------

# A control group of the round's own counts the processor time of every process that was ever in it. Where none can be made
# the server's process is followed with its children.
group=
make_group() {
    local mount
    mount=$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)
    [ -n "$mount" ] && mkdir "$mount/waxwing-bench.$BASHPID" 2>/dev/null || return 0
    group=$mount/waxwing-bench.$BASHPID
}

# watched COMMAND…: what it starts is in the group.
watched() {
    [ -z "$group" ] || echo "$BASHPID" >"$group/cgroup.procs"
    "$@"
    [ -z "$group" ] || echo "$BASHPID" >"$(dirname "$group")/cgroup.procs"
}

watch_options() { if [ -n "$group" ]; then echo "--cgroup $group"; else echo "--pid ${server_pid:-$last_pid}"; fi; }

# Called when the round ends; a server may have left processes behind that are deep in a delivery.
scenario_clean_up() {
    [ -n "$group" ] && [ -d "$group" ] || return 0
    local patience pid
    echo "$BASHPID" >"$(dirname "$group")/cgroup.procs"
    for patience in $(seq 50); do
        for pid in $(cat "$group/cgroup.procs"); do kill -KILL "$pid"; done
        rmdir "$group" && break
        sleep 0.1
    done 2>/dev/null
}

# --- receiver, DNS, load ---------------------------------------------------------------------------------------------

# start_receiver [OPTION…]: the counting receiver; its control address is then in $sink, its first listener's port in $sink_port.
start_receiver() {
    sink_port=$(free_port)
    background "$scratch/sink.log" "$tool" sink --ready-file "$scratch/sink.ready" --listen "127.0.0.1:$sink_port" "$@"
    wait_until 10 "the receiver" test -s "$scratch/sink.ready"
    sink=$(sed -n 1p "$scratch/sink.ready")
}

# mx_certificate: $certificate, for start_receiver; good for the MX hosts of d0.test to d9.test, those
# that are shared, and 127.0.0.1.
mx_certificate() {
    local names=mx.test,IP:127.0.0.1 number
    for number in 0 1 2 3 4 5 6 7 8 9; do names+=,DNS:mx.d$number.test,DNS:mx.host$number.test; done
    [ -e "$scratch/ca.pem" ] || make_ca
    good_certificate mx "$names"
    certificate=(--certificate "$scratch/mx.pem" --key "$scratch/mx.key")
}

# start_answers [OPTION…]: DNS for any name below .test, at $dns.
start_answers() {
    background "$scratch/dns.log" "$tool" dns --ready-file "$scratch/dns.ready" "$@"
    wait_until 10 "the DNS" test -s "$scratch/dns.ready"
    dns=$(cat "$scratch/dns.ready")
}

# load smtp|http [OPTION…]: the figures, one line of JSON. $way says how the server wants to be spoken to.
load() {
    local way=$1
    shift
    case $way in
    smtp) set -- --smtp "$smtp_in" ${smtp_login[@]+"${smtp_login[@]}"} "$@" ;;
    http) set -- --http "${INTEROP_URL#http://}" --key "$INTEROP_KEY" "$@" ;;
    esac
    timeout 1800 "$tool" load --sender "$sender" "$@"
}

# --- waxwing ---------------------------------------------------------------------------------------------------------

# start_server [VARIABLE=VALUE…]: waxwing in the group; again after its end on the same store and the same ports.
start_server() {
    [ -e "$scratch/ca.pem" ] || make_ca
    if [ -z "${http_port:-}" ]; then
        good_certificate submission localhost
        http_port=$(free_port) submission_port=$(free_port)
        export INTEROP_URL=http://127.0.0.1:$http_port INTEROP_KEY=key-$(openssl rand -hex 16)
        smtp_in=127.0.0.1:$submission_port
        smtp_login=(--login "app@$sender:$password" --trust "$scratch/ca.pem")
        mkdir "$scratch/data"
    fi
    watched launch "$@"
    wait_until 120 "waxwing being ready" ready_or_dead
    kill -0 "$waxwing_pid" 2>/dev/null || fail "waxwing ended right after its start"
}

launch() {
    (
        cd "$scratch" # where no waxwing.toml lies about
        exec env WAXWING_DELIVER_TO_PRIVATE=127.0.0.0/8 WAXWING_SMTP_PORT="$sink_port" WAXWING_RESOLVER="${dns:-127.0.0.1:9}" \
            WAXWING_DNSSEC=off WAXWING_EHLO_NAME=sender.waxwing.test WAXWING_TRUST_ROOTS="$scratch/ca.pem" \
            WAXWING_CERTIFICATE="$scratch/submission.pem" WAXWING_CERTIFICATE_KEY="$scratch/submission.key" \
            WAXWING_SUBMISSION_LISTEN="127.0.0.1:$submission_port" WAXWING_HTTP_LISTEN="127.0.0.1:$http_port" \
            WAXWING_STORE="sqlite:$scratch/data" WAXWING_API_KEY="$INTEROP_KEY" "$@" "$waxwing" serve
    ) >>"$scratch/waxwing.log" 2>&1 </dev/null &
    waxwing_pid=$! server_pid=$!
    started+=("$waxwing_pid")
    logs+=("$scratch/waxwing.log")
}

# new_sender [none|rsa|ed25519]: the sending domain with a login, signed or not.
new_sender() {
    SENDER=$sender PASSWORD=$password SIGNED=${1:-none} python3 - <<'EOF'
import os
import api

sender, signed = os.environ["SENDER"], os.environ["SIGNED"]
api.ok("POST", "/v4/domains", [("name", sender)])
api.ok("POST", f"/v3/domains/{sender}/credentials", [("login", f"app@{sender}"), ("password", os.environ["PASSWORD"])])
if signed != "rsa":
    made = [key["selector"] for key in api.ok("GET", f"/v4/domains/{sender}/keys")["items"]]
    if signed == "ed25519":
        api.ok("POST", "/v1/dkim/keys", [("signing_domain", sender), ("selector", "ed"), ("type", "ed25519")])
        api.ok("PUT", f"/v4/domains/{sender}/keys/ed/activate")
    for selector in made:
        api.ok("PUT", f"/v4/domains/{sender}/keys/{selector}/deactivate")
EOF
}

# --- figures ---------------------------------------------------------------------------------------------------------

row() { python3 "$bench/table.py" row "$1"; } # the figures come on standard input
