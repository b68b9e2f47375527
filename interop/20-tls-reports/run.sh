#!/usr/bin/env bash
# Reports about TLS (RFC 8460), with two other implementations. What two days ago came to is put into the store; the server
# makes a report of it and mails it. dkimpy finds its signature good by the record that the server logged, for RSA and
# Ed25519. The report has the form of those that tlsrpt-reporter makes, and one that tlsrpt-reporter makes is imported.
. "$(dirname "$0")/../lib.sh"

[ -e "$kit/venv/.installed" ] || skip "the Python clients were not installed (script/bootstrap)"
"$kit/venv/bin/python" -c 'import dkim, tlsrpt_reporter' 2>/dev/null || skip "no dkimpy or tlsrpt-reporter (script/bootstrap)"
printf '%s\n' 'y.test MX 10 mx.y.test' 'mx.y.test A 127.0.0.1' '_smtp._tls.y.test TXT v=TLSRPTv1;rua=mailto:rua@y.test' \
    >"$scratch/zone"
start_dns
start_sink mail
port=$sink_port

for algorithm in RSA ED25519; do
    openssl genpkey -algorithm "$algorithm" -out "$scratch/key.pem" 2>/dev/null
    rm -rf "$scratch/data" "$scratch/mail"/*
    WAXWING_STORE=sqlite:$scratch/data "$waxwing" domain add x.test >/dev/null
    python3 "$interop/20-tls-reports/counters.py" "$scratch/data/waxwing.db"
    start_waxwing "$port" WAXWING_TLS_REPORT_FROM=tls@x.test WAXWING_TLS_REPORT_DKIM_SELECTOR=s1 \
        WAXWING_TLS_REPORT_DKIM_KEY="$scratch/key.pem" WAXWING_LOG_FORMAT=json
    wait_until 30 "the report" compgen -G "$scratch/mail/*"
    "$kit/venv/bin/python" "$interop/20-tls-reports/check.py" ours "$scratch"/mail/* "$scratch/waxwing.log"
    end_process "$waxwing_pid"
done

"$kit/venv/bin/python" "$interop/20-tls-reports/check.py" theirs >"$scratch/theirs.json"
import() { WAXWING_STORE=sqlite:$scratch/data "$waxwing" report import "$1"; }
import "$scratch/theirs.json" | grep -q 'a report about x.test is kept' || fail "their report was not kept"
import "$scratch/theirs.json" | grep -q 'was here already' || fail "their report was kept twice"
echo "their report is read"
