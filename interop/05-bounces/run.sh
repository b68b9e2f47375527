#!/usr/bin/env bash
# Failures that are reported after the delivery. A real server takes a message, passes it on as an alias says, is refused by
# the next host, and sends a notification to the return path, which leads back to Waxwing. Postfix, Exim and OpenSMTPD write
# notifications each in its own way; from each the recipient must become failed, once, with what the next host said.
set -u
here=$(cd "$(dirname "$0")" && pwd)
passed=0
for peer in postfix exim opensmtpd; do
    echo "$peer:"
    bash "$here/peer.sh" "$peer"
    case $? in
    0) passed=$((passed + 1)) ;;
    77) ;;
    *) exit 1 ;;
    esac
done
[ "$passed" -gt 0 ] || exit 77
