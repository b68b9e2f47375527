# Debian's Postfix in a root folder of its own, its queue on the disk that everybody's is on.
debian_root postfix postdrop
watched start_postfix "$bench/postfix"
wait_until 20 "Postfix" answers_smtp 127.0.0.1
server_pid=$(cat "$server_root/run/peer.pid")
