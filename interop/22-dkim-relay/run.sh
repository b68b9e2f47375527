#!/usr/bin/env bash
# DKIM as its readers see it: Waxwing hands messages to a real Postfix, which passes them on to receivers behind it, one
# with 8BITMIME and one without. What arrives there, with a Received header of Postfix's on top, is read by dkimpy and
# OpenDKIM, which get the keys from the DNS as the server says that they are to be published: both signatures must
# hold, RSA and Ed25519, and so must that of an author who signed before. The server finds its own records in the same DNS.
. "$(dirname "$0")/../lib.sh"

"$kit/venv/bin/python" -c 'import dkim, nacl, dns' 2>/dev/null || skip "no dkimpy (script/bootstrap)"
debian_root postfix postdrop
here=$(dirname "$0")
start_sink eight --host 127.0.0.32
smtp_port=$sink_port
start_sink seven --host 127.0.0.33 --port "$smtp_port" --seven-bit
fill() { sed -e "s|@PORT@|$smtp_port|g" -e 's|@GATEWAY@|127.0.0.31|' -e 's|@EIGHT@|127.0.0.32|' -e 's|@SEVEN@|127.0.0.33|' "$@"; }
address=([gateway]=127.0.0.31)
start_postfix "$here"
wait_until 20 "Postfix" answers_smtp "${address[gateway]}"

printf '%s\n' 'eight.test MX 10 mx.test' 'seven.test MX 10 mx.test' 'mx.test A 127.0.0.31' \
    'sender.waxwing.test A 192.0.2.7' >"$scratch/zone"
start_dns
start_waxwing "$smtp_port"
export DNS_PORT=${dns#*:}
"$kit/venv/bin/python" "$here/check.py" "$scratch/zone" "$scratch"
if [ ! -x "$server_root/usr/sbin/opendkim" ]; then
    echo "without OpenDKIM, which was not unpacked (script/bootstrap)"
    exit
fi
# OpenDKIM reads each message that the receivers kept, and a changed one.
printf '%s\n' 'Mode v' 'Syslog no' 'AuthservID gateway.test' 'TestPublicKeys /read/keys' >"$scratch/opendkim.conf"
as_root mkdir "$server_root/read"
as_root cp -r "$scratch"/{eight,seven,keys,opendkim.conf} "$server_root/read/"
opendkim() { in_root /usr/sbin/opendkim -x /read/opendkim.conf -vv -t "$1" 2>/dev/null || true; }
count=0
for message in "$scratch"/{eight,seven}/*.eml; do
    found=$(opendkim "/read/${message#"$scratch/"}")
    for algorithm in rsa-sha256 ed25519-sha256; do
        grep -q "dkim=pass .*header.d=sender.test .*header.a=$algorithm " <<<"$found" || fail "$algorithm of $message: $found"
    done
    ! grep -q 'dkim=[^p]' <<<"$found" || fail "a signature of $message: $found"
    count=$((count + 1))
done
sed 's/^From: /&x/' "$message" >"$scratch/changed.eml"
as_root cp "$scratch/changed.eml" "$server_root/read/"
grep -q 'dkim=fail' <<<"$(opendkim /read/changed.eml)" || fail "OpenDKIM finds a changed message as good"
echo "OpenDKIM: both signatures of $count messages hold"
