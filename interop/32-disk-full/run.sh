#!/usr/bin/env bash
# The disk is full, on a small file system of the store's own: new mail is refused with 503 and 452, the process lives, what is
# queued is delivered and told, and mail is taken again within seconds of space. Nothing that was acknowledged is lost.
. "$(dirname "$0")/../lib.sh"
. "$interop/lib/durable.sh"

can_be_root || skip "needs root, or sudo without a password, to mount a small file system"
mkdir "$scratch/data"
as_root mount -t tmpfs -o "size=80m,mode=700,uid=$(id -u)" tmpfs "$scratch/data" 2>/dev/null || skip "cannot mount a file system here"
scenario_clean_up() { as_root umount "$scratch/data"; }
durable_scene
start_waxwing "$sink_port" "${durable_settings[@]}"
durable_login
export WAXWING_PID=$waxwing_pid DATA=$scratch/data
python3 "$interop/32-disk-full/check.py"
