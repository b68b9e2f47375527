#!/usr/bin/env bash
# Symfony's Mailgun mailer, which is Laravel's too, from Debian's packages: a DSN with a host of one's own is all that is
# changed. It speaks HTTPS and nothing else, so a proxy stands before Waxwing here as it does elsewhere. Both of its ways are
# gone: the message in parts, and ready made.
. "$(dirname "$0")/../lib.sh"

mailer=/usr/share/php/Symfony/Component/Mailer/Bridge/Mailgun/autoload.php
command -v php >/dev/null && [ -e $mailer ] || skip "Symfony's Mailgun mailer was not installed (script/bootstrap)"
client_scene
good_certificate proxy localhost
background "$scratch/proxy.log" python3 "$interop/lib/https.py" --certificate "$scratch/proxy.pem" --key "$scratch/proxy.key" \
    --to "$INTEROP_URL" --port-file "$scratch/proxy.port"
wait_until 10 "the proxy" test -s "$scratch/proxy.port"
INTEROP_PROXY=localhost:$(cat "$scratch/proxy.port") php -d curl.cainfo="$scratch/ca.pem" -d openssl.cafile="$scratch/ca.pem" \
    -d error_reporting=E_ALL -d display_errors=stderr "$interop/17-symfony/check.php"
python3 "$interop/17-symfony/arrived.py"
