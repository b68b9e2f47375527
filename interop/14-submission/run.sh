#!/usr/bin/env bash
# SMTP submission as mail programs use it, at the port with STARTTLS and at the one within TLS, with the certificate of an
# authority that they check: Python's smtplib, nodemailer, swaks and msmtp log in, send, demand TLS by header, and meet their
# mistakes, one of which is told by mail. OpenSSL finds TLS 1.2 and 1.3 answered, and nothing older.
. "$(dirname "$0")/../lib.sh"

command -v openssl >/dev/null || skip "no openssl to make certificates with"
client_receivers
good_certificate submission localhost
export SUBMISSION_PORT SUBMISSIONS_PORT CA=$scratch/ca.pem
SUBMISSION_PORT=$(free_port) SUBMISSIONS_PORT=$(free_port)
start_waxwing "$sink_port" WAXWING_TRUST_ROOTS="$CA" WAXWING_CERTIFICATE="$scratch/submission.pem" \
    WAXWING_CERTIFICATE_KEY="$scratch/submission.key" WAXWING_SUBMISSION_LISTEN="127.0.0.1:$SUBMISSION_PORT" \
    WAXWING_SUBMISSIONS_LISTEN="127.0.0.1:$SUBMISSIONS_PORT"

# answered VERSION PORT [OPTION…]: whether OpenSSL comes to an agreement; it may offer what it would not by itself.
answered() {
    openssl s_client "-$1" -cipher 'ALL:@SECLEVEL=0' -connect "127.0.0.1:$2" "${@:3}" </dev/null >"$scratch/s_client" 2>&1
}
for version in tls1 tls1_1 tls1_2 tls1_3; do
    for way in "$SUBMISSION_PORT -starttls smtp" "$SUBMISSIONS_PORT"; do
        case $version in
        tls1_[23]) answered $version $way || fail "$version is not answered at $way" ;;
        *)
            ! answered $version $way || fail "$version is answered at $way"
            # Refused by the server, not by OpenSSL itself.
            grep -q 'SSL alert number' "$scratch/s_client" || fail "$version at $way: $(cat "$scratch/s_client")"
            ;;
        esac
    done
done
echo "TLS: 1.2 and 1.3, and nothing older"

python3 "$interop/14-submission/check.py" "$scratch"
if [ -e "$kit/node/.installed" ]; then
    node_client "$interop/14-submission/check.cjs"
else
    echo "without nodemailer, which was not installed (script/bootstrap)"
fi
