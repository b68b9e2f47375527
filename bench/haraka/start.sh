# Haraka from npm, a worker for each core; script/bootstrap --bench puts it below target/.
haraka=$target/bench/haraka/node_modules/Haraka
[ -e "$haraka/bin/haraka" ] && command -v node >/dev/null || skip "Haraka could not be had from npm"
mkdir -p "$scratch/haraka/queue"
cp -r "$haraka/config" "$scratch/haraka/" # its defaults, below ours
cp -r "$bench/haraka/config" "$bench/haraka/plugins" "$scratch/haraka/"
fill "$bench/haraka/config/smtp.ini" >"$scratch/haraka/config/smtp.ini"
fill "$bench/haraka/plugins/to_receiver.js" >"$scratch/haraka/plugins/to_receiver.js"
watched background "$scratch/haraka.log" node "$haraka/bin/haraka" -c "$scratch/haraka"
server_pid=$last_pid
wait_until 30 "Haraka" answers_smtp 127.0.0.1
sleep 2 # until the second worker listens too
