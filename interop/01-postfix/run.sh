#!/usr/bin/env bash
# Postfix, the receiver that much of the world's mail ends at. One Postfix from Debian's package takes mail on three
# addresses: with a certificate from an authority that we trust, with a self-signed one, and without TLS. Waxwing sends the
# same message to each of them with each of the four TLS settings. Every event must say what docs/tls.md promises, every
# delivered message must have arrived to the byte, and Postfix's own Received header must agree about how it came.
. "$(dirname "$0")/../lib.sh"

debian_root postfix postdrop
three_states postfix.test
here=$(dirname "$0")
fill "$here/main.cf" >"$scratch/main.cf"
fill "$here/master.cf" >"$scratch/master.cf"
as_root cp "$scratch/main.cf" "$scratch/master.cf" "$server_root/etc/postfix/"

# The folders that `postfix set-permissions` would make.
queue=$server_root/var/spool/postfix
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
twelve_cells postfix.test /var/mail /var/log/maillog
