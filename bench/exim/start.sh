# Debian's Exim, which delivers each message at once by a process of its own.
debian_root Debian-exim
fill "$bench/exim/exim.conf" >"$scratch/exim.conf"
as_root mkdir -p "$server_root/etc/exim4" "$server_root/var/spool/exim4" "$server_root/var/log/exim"
as_root cp "$scratch/exim.conf" "$server_root/etc/exim4/exim4.conf"
as_root chmod 644 "$server_root/etc/exim4/exim4.conf"
as_root chown 2002:2002 "$server_root/var/spool/exim4" "$server_root/var/log/exim"
as_root chmod u+s "$server_root/usr/sbin/exim4" # as Debian installs it
logs+=("$server_root/var/log/exim/mainlog" "$server_root/var/log/exim/paniclog")
watched background_in_root "$scratch/exim.log" /usr/sbin/exim4 -bdf
wait_until 20 "Exim" answers_smtp 127.0.0.1
server_pid=$(cat "$server_root/run/peer.pid")
