# Shared by the scenarios: `. "$(dirname "$0")/../lib.sh"` is the first thing that each of them does.
#
# A scenario runs on loopback in a scratch folder of its own, and ends each process that it started by its id. It ends
# with 0 when all went well, with 77 and a line that says why when it cannot be run here, otherwise with the reason and
# the ends of the logs. KEEP=1 leaves the scratch folder behind.
set -Eeuo pipefail

interop=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
target=${CARGO_TARGET_DIR:-$(dirname "$interop")/target}
kit=$target/interop
waxwing=${INTEROP_BIN:-$target/debug/waxwing}
scratch=$(mktemp -d "${TMPDIR:-/tmp}/waxwing-interop.XXXXXX")
logs=()
started=() # "PID" of our own, or "root PID" of what was started through as_root
export PYTHONPATH=$interop/lib PYTHONDONTWRITEBYTECODE=1 NO_PROXY=127.0.0.1,localhost no_proxy=127.0.0.1,localhost

# The test's own settings decide, not those of the shell that it was started from.
for variable in $(compgen -e WAXWING_ || true); do unset "$variable"; done

skip() {
    echo "skipped: $*"
    exit 77
}

fail() {
    echo "FAILED: $*" >&2
    exit 1
}

# --- processes -------------------------------------------------------------------------------------------------------

# background LOG COMMAND…: starts it; its output goes to the log, its id to $last_pid.
background() {
    local log=$1
    shift
    logs+=("$log")
    "$@" >"$log" 2>&1 </dev/null &
    last_pid=$!
    started+=("$last_pid")
}

# wait_until SECONDS WHAT COMMAND…: until the command succeeds.
wait_until() {
    local deadline=$((SECONDS + $1)) what=$2
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ "$SECONDS" -lt "$deadline" ] || fail "$what: not in time"
        sleep 0.1
    done
}

end_process() {
    local pid=$1 as=${2:-} patience
    $as kill -TERM "$pid" 2>/dev/null || return 0
    for patience in $(seq 100); do
        $as kill -0 "$pid" 2>/dev/null || return 0
        sleep 0.1
    done
    echo "process $pid did not stop within 10 s of SIGTERM and was killed" >&2
    $as kill -KILL "$pid" 2>/dev/null || true
}

clean_up() {
    local status=$? index log
    set +e
    for ((index = ${#started[@]} - 1; index >= 0; index--)); do
        case ${started[index]} in
        root\ *) end_process "${started[index]#root }" as_root ;;
        *) end_process "${started[index]}" ;;
        esac
    done 2>>"$scratch/end.log"
    cat "$scratch/end.log" >&2
    if [ "$status" != 0 ] && [ "$status" != 77 ]; then
        for log in ${logs[@]+"${logs[@]}"}; do
            [ -s "$log" ] && echo "--- the end of $(basename "$log"):" && as_root tail -n 40 "$log"
        done >&2
    fi
    type scenario_clean_up >/dev/null 2>&1 && scenario_clean_up
    if [ -n "${KEEP:-}" ]; then echo "left behind: $scratch"; else as_root rm -rf "$scratch"; fi
    exit "$status"
}
trap clean_up EXIT
trap 'echo "FAILED: line $LINENO: $BASH_COMMAND" >&2' ERR
trap 'exit 130' INT TERM

as_root() {
    if [ "$(id -u)" = 0 ] || ! can_be_root; then "$@"; else sudo -n "$@"; fi
}

can_be_root() { [ "$(id -u)" = 0 ] || { command -v sudo >/dev/null && sudo -n true 2>/dev/null; }; }

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# --- certificates ----------------------------------------------------------------------------------------------------

new_key=(ec -pkeyopt ec_paramgen_curve:P-256) # what the receivers' certificates are made with

# An authority for this run alone: $scratch/ca.pem.
make_ca() {
    quietly openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj "/CN=Waxwing interop CA" \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign,cRLSign \
        -keyout "$scratch/ca.key" -out "$scratch/ca.pem"
}

# good_certificate NAME HOST[,DNS:HOST…]: $scratch/NAME.pem and .key, signed by the authority.
good_certificate() {
    quietly openssl req -newkey "${new_key[@]}" -nodes -subj "/CN=${2%%,*}" \
        -keyout "$scratch/$1.key" -out "$scratch/$1.csr"
    printf 'subjectAltName=DNS:%s\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n' "$2" >"$scratch/$1.ext"
    quietly openssl x509 -req -in "$scratch/$1.csr" -CA "$scratch/ca.pem" -CAkey "$scratch/ca.key" -CAcreateserial \
        -days 2 -extfile "$scratch/$1.ext" -out "$scratch/$1.pem"
}

# self_signed_certificate NAME HOST: the right name, but nobody vouches for it.
self_signed_certificate() {
    quietly openssl req -x509 -newkey "${new_key[@]}" -nodes -days 2 -subj "/CN=$2" \
        -addext "subjectAltName=DNS:$2" -keyout "$scratch/$1.key" -out "$scratch/$1.pem"
}

quietly() {
    local said
    said=$("$@" 2>&1) || fail "$1 said: $said"
}

# --- the parts -------------------------------------------------------------------------------------------------------

# start_dns: answers from $scratch/zone ("NAME TYPE DATA" lines); its address is then in $dns.
start_dns() {
    background "$scratch/dns.log" python3 "$interop/lib/authority.py" --zone "$scratch/zone" --port-file "$scratch/dns.port"
    wait_until 10 "the DNS authority" test -s "$scratch/dns.port"
    dns=127.0.0.1:$(cat "$scratch/dns.port")
}

# start_sink NAME [OPTION…]: a receiver of our own; its port is then in $sink_port, its mail in $scratch/NAME.
start_sink() {
    local name=$1
    shift
    mkdir -p "$scratch/$name"
    background "$scratch/$name.log" python3 "$interop/lib/sink.py" --store "$scratch/$name" \
        --port-file "$scratch/$name.port" "$@"
    wait_until 10 "the receiver $name" test -s "$scratch/$name.port"
    sink_port=$(cat "$scratch/$name.port")
}

# start_waxwing SMTP_PORT [WAXWING_VARIABLE=VALUE…]: afterwards INTEROP_URL and INTEROP_KEY tell where and with which key,
# and $settings is how it sees the world.
start_waxwing() {
    local smtp_port=$1 port
    shift
    [ -x "$waxwing" ] || fail "no binary at $waxwing: build it with 'cargo build -p server'"
    port=$(free_port)
    export INTEROP_URL=http://127.0.0.1:$port INTEROP_KEY=key-$(openssl rand -hex 16)
    settings=(WAXWING_DELIVER_TO_PRIVATE=127.0.0.0/8 WAXWING_SMTP_PORT="$smtp_port" WAXWING_RESOLVER="${dns:-127.0.0.1:9}"
        WAXWING_EHLO_NAME=sender.waxwing.test "$@")
    mkdir -p "$scratch/data"
    (
        cd "$scratch" # where no waxwing.toml lies about
        exec env "${settings[@]}" WAXWING_HTTP_LISTEN="127.0.0.1:$port" WAXWING_STORE="sqlite:$scratch/data" \
            WAXWING_API_KEY="$INTEROP_KEY" "$waxwing" serve
    ) >"$scratch/waxwing.log" 2>&1 </dev/null &
    waxwing_pid=$!
    started+=("$waxwing_pid")
    logs+=("$scratch/waxwing.log")
    wait_until 20 "waxwing being ready" ready_or_dead
    kill -0 "$waxwing_pid" 2>/dev/null || fail "waxwing ended right after its start"
}

ready_or_dead() { ! kill -0 "$waxwing_pid" 2>/dev/null || curl -fsS --max-time 2 "$INTEROP_URL/readyz"; }

# --- real mail servers -----------------------------------------------------------------------------------------------

# debian_root USER…: a root folder of the scenario's own with Debian's mail servers in it, at $server_root; `in_root
# COMMAND…` runs one there. The servers change users and bind sockets below fixed paths: with a root of their own nothing
# of that touches the host, and no user need be made on it. Only root may enter it.
debian_root() {
    [ -e "$kit/debian/.complete" ] || skip "Debian's mail servers were not unpacked (script/bootstrap)"
    can_be_root || skip "needs root, or sudo without a password, to enter a root folder of its own"
    server_root=$scratch/root
    mkdir "$server_root"
    cp -a "$kit/debian/." "$server_root" # the contents: a link to a kit elsewhere must not become the root itself
    chmod 755 "$scratch" # the servers' users come through here to their mail
    mkdir -p "$server_root"/{dev,etc/certificates,proc,run,tmp,var/lib,var/log,var/mail,var/run,var/spool/mail}
    local user id=2000
    printf 'root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n' >"$server_root/etc/passwd"
    printf 'root:x:0:\nnogroup:x:65534:\n' >"$server_root/etc/group"
    for user in mailbox "$@"; do
        id=$((id + 1))
        echo "$user:x:$id:$id::/var/mail:/bin/false" >>"$server_root/etc/passwd"
        echo "$user:x:$id:" >>"$server_root/etc/group"
    done
    printf '127.0.0.1 localhost\n' >"$server_root/etc/hosts"
    printf 'hosts: files\n' >"$server_root/etc/nsswitch.conf"
    as_root chown -R 0:0 "$server_root"
    as_root chown 2001:2001 "$server_root/var/mail" # mailbox
    as_root chmod 1777 "$server_root/tmp"
    as_root mknod -m 666 "$server_root/dev/null" c 1 3 2>/dev/null || skip "cannot make a device node in the servers' root"
    as_root mknod -m 666 "$server_root/dev/urandom" c 1 9
    as_root sh -c ": >'$server_root/dev/null'" 2>/dev/null || skip "device nodes do not work in $(dirname "$scratch")"
    as_root chroot "$server_root" /bin/sh -c true || skip "cannot run a program in the servers' root"
}

in_root() { as_root chroot "$server_root" "$@"; }

# background_in_root LOG [VARIABLE=VALUE…] COMMAND…: as `background`; the command must stay in the foreground.
background_in_root() {
    local log=$1
    shift
    logs+=("$log")
    local start='echo $$ >/run/peer.pid; while [ "$1" != "${1#*=}" ]; do export "$1"; shift; done; exec "$@"'
    # In a session of its own: some servers signal their process group when they end.
    (trap - ERR && as_root setsid chroot "$server_root" /bin/sh -c "$start" sh "$@") >"$log" 2>&1 </dev/null &
    wait_until 10 "the server being started" test -s "$server_root/run/peer.pid"
    started+=("root $(cat "$server_root/run/peer.pid")")
}

# three_states DOMAIN: certificates and DNS for good.DOMAIN (127.0.0.11), self-signed.DOMAIN (127.0.0.12) and plain.DOMAIN
# (127.0.0.13), and a free port for all three in $smtp_port.
three_states() {
    local domain=$1 state
    make_ca
    good_certificate good "mx.good.$domain"
    self_signed_certificate self-signed "mx.self-signed.$domain"
    as_root cp "$scratch"/{good,self-signed}.{pem,key} "$server_root/etc/certificates/"
    as_root chmod 600 "$server_root"/etc/certificates/*.key
    address=([good]=127.0.0.11 [self-signed]=127.0.0.12 [plain]=127.0.0.13)
    for state in good self-signed plain; do
        printf '%s MX 10 %s\n%s A %s\n' "$state.$domain" "mx.$state.$domain" "mx.$state.$domain" "${address[$state]}"
    done >"$scratch/zone"
    smtp_port=$(free_port)
}
declare -A address=()

# fill FILE…: a configuration with @PORT@ and the like filled in, on standard output.
fill() {
    sed -e "s|@PORT@|$smtp_port|g" -e "s|@GOOD@|${address[good]}|g" -e "s|@SELF_SIGNED@|${address[self-signed]}|g" \
        -e "s|@PLAIN@|${address[plain]}|g" "$@"
}

# start_postfix FOLDER: Debian's Postfix with main.cf and master.cf of the folder, in the servers' root.
start_postfix() {
    fill "$1/main.cf" >"$scratch/main.cf"
    fill "$1/master.cf" >"$scratch/master.cf"
    as_root cp "$scratch/main.cf" "$scratch/master.cf" "$server_root/etc/postfix/"
    # The folders that `postfix set-permissions` would make.
    local queue=$server_root/var/spool/postfix
    as_root mkdir -p "$queue"/{active,bounce,corrupt,defer,deferred,flush,hold,incoming,maildrop,pid,private,public,saved,trace} \
        "$server_root/var/lib/postfix"
    as_root chroot "$server_root" /usr/sbin/postconf -h mail_version >"$scratch/version" 2>&1 || fail "$(cat "$scratch/version")"
    echo "Postfix $(cat "$scratch/version")"
    as_root chown 2002 "$queue"/{active,bounce,corrupt,defer,deferred,flush,hold,incoming,private,saved,trace} \
        "$server_root/var/lib/postfix"
    as_root chown 2002:2003 "$queue"/{maildrop,public}
    as_root chmod 700 "$queue"/{active,bounce,corrupt,defer,deferred,flush,hold,incoming,private,saved,trace}
    as_root chmod 730 "$queue/maildrop"
    as_root chmod 710 "$queue/public"
    logs+=("$server_root/var/log/maillog")
    background_in_root "$scratch/master.log" /usr/lib/postfix/sbin/master -c /etc/postfix -d
}

# answers_smtp ADDRESS: whether a greeting comes.
answers_smtp() {
    python3 -c 'import smtplib, sys; smtplib.SMTP(sys.argv[1], int(sys.argv[2]), timeout=5).quit()' "$1" "$smtp_port"
}

# twelve_cells DOMAIN MAIL LOG [OPTION…]: waxwing against the receiver that runs now, in three states x the four settings.
twelve_cells() {
    local state domain=$1 mail=$2 log=$3
    shift 3
    for state in good self-signed plain; do
        wait_until 20 "the receiver on ${address[$state]}" answers_smtp "${address[$state]}"
    done
    start_dns
    start_waxwing "$smtp_port" WAXWING_TRUST_ROOTS="$scratch/ca.pem"
    as_root chmod -R a+rX "$server_root/var/log"
    as_root env PYTHONPATH="$PYTHONPATH" PYTHONDONTWRITEBYTECODE=1 INTEROP_URL="$INTEROP_URL" INTEROP_KEY="$INTEROP_KEY" \
        NO_PROXY="$NO_PROXY" "${settings[@]}" python3 "$interop/lib/matrix.py" \
        --domain "$domain" --mail "$server_root$mail" --log "$server_root$log" --waxwing "$waxwing" "$@"
    signatures_hold "$server_root$mail"
}

# signatures_hold MAIL: dkimpy checks what the matrix sent and the receiver kept.
signatures_hold() {
    if ! "$kit/venv/bin/python" -c 'import dkim, nacl' 2>/dev/null; then
        echo "  -     no dkimpy (script/bootstrap): signatures are not checked"
        return
    fi
    as_root env PYTHONPATH="$PYTHONPATH" PYTHONDONTWRITEBYTECODE=1 INTEROP_URL="$INTEROP_URL" INTEROP_KEY="$INTEROP_KEY" \
        NO_PROXY="$NO_PROXY" "$kit/venv/bin/python" "$interop/lib/signatures.py" --sender sender.test --mail "$1"
}

# --- Mailgun clients -------------------------------------------------------------------------------------------------

# client_scene: waxwing for a client, with the receivers of client_receivers behind it. Tracking links lead to a name that
# a proxy would have; who follows one goes to $INTEROP_URL instead.
client_scene() {
    client_receivers
    start_waxwing "$sink_port" WAXWING_TRUST_ROOTS="$scratch/ca.pem" WAXWING_WEBHOOK_ALLOW_NETWORKS=127.0.0.1 \
        WAXWING_TRACKING_URL=http://track.sender.test
}

# client_receivers: receivers of our own at $sink_port: mail for verified.test arrives in $SINK_VERIFIED over verified TLS,
# mail for plain.test in $SINK_PLAIN without TLS.
client_receivers() {
    local port
    command -v openssl >/dev/null || skip "no openssl to make certificates with"
    make_ca
    good_certificate verified mx.verified.test
    start_sink verified --host 127.0.0.21 --certificate "$scratch/verified.pem" --key "$scratch/verified.key"
    port=$sink_port
    start_sink plain --host 127.0.0.22 --port "$port"
    printf '%s\n' 'verified.test MX 10 mx.verified.test' 'mx.verified.test A 127.0.0.21' \
        'plain.test MX 10 mx.plain.test' 'mx.plain.test A 127.0.0.22' >"$scratch/zone"
    start_dns
    export SINK_VERIFIED=$scratch/verified SINK_PLAIN=$scratch/plain
}

# node_client FILE / python_client FILE: runs it with the client packages that script/bootstrap fetched.
node_client() {
    [ -e "$kit/node/.installed" ] || skip "the Node clients were not installed (script/bootstrap)"
    NODE_PATH=$kit/node/node_modules NODE_NO_WARNINGS=1 node "$1"
}

python_client() {
    [ -e "$kit/venv/.installed" ] || skip "the Python clients were not installed (script/bootstrap)"
    "$kit/venv/bin/python" "$1"
}
