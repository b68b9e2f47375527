# Debian's OpenSMTPD. Of 16 connections that come at once some stay without a greeting until another comes: it gets 4.
debian_root opensmtpd opensmtpq
fill "$bench/opensmtpd/smtpd.conf" >"$scratch/smtpd.conf"
as_root cp "$scratch/smtpd.conf" "$server_root/etc/smtpd.conf"
as_root mkdir -p "$server_root/var/lib/opensmtpd/empty" "$server_root/var/spool/smtpd"
as_root chmod 711 "$server_root/var/spool/smtpd"
watched background_in_root "$scratch/smtpd.log" /usr/sbin/smtpd -d -f /etc/smtpd.conf
wait_until 20 "OpenSMTPD" answers_smtp 127.0.0.1
server_pid=$(cat "$server_root/run/peer.pid")
most_connections=4
