#!/usr/bin/env bash
# A receiver whose STARTTLS is broken, as found in the wild: Debian 12's OpenSMTPD with OpenSSL 3 offers STARTTLS, answers
# 220, and then fails every handshake (OpenSMTPD issue 1171). Whoever does not demand TLS must get the mail through in
# plaintext, on a new connection, with the reason in the event; whoever demands it must be told within seconds, and no
# word of the message may have left.
. "$(dirname "$0")/../lib.sh"
. "$interop/03-opensmtpd/opensmtpd.sh"

prepare_opensmtpd
start_opensmtpd
wait_until 20 "OpenSMTPD" answers_smtp "${address[good]}"
if python3 -c 'import smtplib, sys; s = smtplib.SMTP(sys.argv[1], int(sys.argv[2])); s.starttls()' \
    "${address[good]}" "$smtp_port" 2>/dev/null; then
    skip "this OpenSMTPD has been mended"
fi
twelve_cells opensmtpd.test /var/mail /var/log/smtpd.log --handshake-breaks
