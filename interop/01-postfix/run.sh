#!/usr/bin/env bash
# Postfix, the receiver that much of the world's mail ends at. One Postfix from Debian's package takes mail on three
# addresses: with a certificate from an authority that we trust, with a self-signed one, and without TLS. Waxwing sends the
# same message to each of them with each of the four TLS settings. Every event must say what docs/tls.md promises, every
# delivered message must have arrived to the byte, and Postfix's own Received header must agree about how it came.
. "$(dirname "$0")/../lib.sh"

debian_root postfix postdrop
three_states postfix.test
start_postfix "$(dirname "$0")"
twelve_cells postfix.test /var/mail /var/log/maillog
