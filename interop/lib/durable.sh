# Shared by the scenarios about durability, after lib.sh.

# durable_scene [SINK_OPTION…]: a receiver at $sink_port, a certificate and ports for submission; `durable_settings` are
# waxwing's. Deferred mail is tried again at once, so that a scenario need not wait for it.
durable_scene() {
    command -v openssl >/dev/null || skip "no openssl to make certificates with"
    make_ca
    good_certificate submission localhost
    start_sink sink --host 127.0.0.1 "$@"
    printf '%s\n' 'sink.test MX 10 mx.sink.test' 'mx.sink.test A 127.0.0.1' >"$scratch/zone"
    start_dns
    export CA=$scratch/ca.pem SUBMISSIONS_PORT METRICS_PORT SINK=$scratch/sink
    SUBMISSIONS_PORT=$(free_port) METRICS_PORT=$(free_port)
    durable_settings=(WAXWING_TRUST_ROOTS="$CA" WAXWING_CERTIFICATE="$scratch/submission.pem"
        WAXWING_CERTIFICATE_KEY="$scratch/submission.key" WAXWING_SUBMISSIONS_LISTEN="127.0.0.1:$SUBMISSIONS_PORT"
        WAXWING_METRICS_LISTEN="127.0.0.1:$METRICS_PORT" WAXWING_RETRY_SCHEDULE=1s,1s,1s,1s,1s,1s,1s,1s,1s,1s)
}

# durable_login: the domain and a login for submission, whose password is then in $PASSWORD.
durable_login() {
    export PASSWORD
    PASSWORD=$(python3 "$interop/lib/durable.py")
}
