#!/usr/bin/env bash
# What testssl.sh finds at the two submission listeners: TLS 1.2 and 1.3 and nothing older, and no ciphers but those
# with forward secrecy that authenticate what they encrypt.
. "$(dirname "$0")/../lib.sh"

command -v testssl >/dev/null || skip "no testssl.sh (script/bootstrap)"
make_ca
good_certificate submission localhost
start=$(free_port) within=$(free_port)
start_waxwing 9 WAXWING_CERTIFICATE="$scratch/submission.pem" WAXWING_CERTIFICATE_KEY="$scratch/submission.key" \
    WAXWING_SUBMISSION_LISTEN="127.0.0.1:$start" WAXWING_SUBMISSIONS_LISTEN="127.0.0.1:$within"

# scan NAME OPTION…: what is found at one listener, as $scratch/NAME.json. How it ends says nothing.
scan() {
    background "$scratch/$1.log" testssl --quiet --color 0 --warnings batch --nodns none --ip 127.0.0.1 \
        --openssl-timeout 20 -p -s -f --jsonfile "$scratch/$1.json" "${@:2}"
}
scan starttls --starttls smtp "localhost:$start"
first=$last_pid
scan within "localhost:$within"
wait "$first" || true
wait "$last_pid" || true
python3 "$interop/23-testssl/check.py" "$scratch/starttls.json" "$scratch/within.json"
