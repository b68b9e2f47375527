#!/usr/bin/env bash
# Exim, whose TLS is GnuTLS: another implementation than ours and than OpenSSL. One Exim from Debian's package takes mail on
# three addresses: with a certificate from an authority that we trust, with a self-signed one, and without TLS. Waxwing
# sends the same message to each of them with each of the four TLS settings. Every event must say what docs/tls.md
# promises, every delivered message must have arrived to the byte, and Exim's own Received header must agree.
. "$(dirname "$0")/../lib.sh"

debian_root Debian-exim
three_states exim.test
fill "$(dirname "$0")/exim.conf" >"$scratch/exim.conf"
as_root mkdir -p "$server_root/etc/exim4" "$server_root/var/spool/exim4" "$server_root/var/log/exim"
as_root cp "$scratch/exim.conf" "$server_root/etc/exim4/exim4.conf"
as_root chmod 644 "$server_root/etc/exim4/exim4.conf"
as_root chown 2002:2002 "$server_root/var/spool/exim4" "$server_root/var/log/exim"
as_root chown 2002:2002 "$server_root"/etc/certificates/*.key
as_root chmod u+s "$server_root/usr/sbin/exim4" # as Debian installs it: it delivers as the mailbox's owner
in_root /usr/sbin/exim4 -bV | head -n 1

logs+=("$server_root/var/log/exim/mainlog" "$server_root/var/log/exim/paniclog")
background_in_root "$scratch/exim.log" /usr/sbin/exim4 -bdf
twelve_cells exim.test /var/mail /var/log/exim/mainlog
