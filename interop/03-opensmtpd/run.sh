#!/usr/bin/env bash
# OpenSMTPD, strict about the protocol and short of extensions: no PIPELINING, no SMTPUTF8, no CHUNKING. One OpenSMTPD from
# Debian's package takes mail on three addresses: with a certificate from an authority that we trust, with a self-signed
# one, and without TLS. Waxwing sends the same message to each of them with each of the four TLS settings. Every event must
# say what docs/tls.md promises, every delivered message must have arrived to the byte, and OpenSMTPD's own Received
# header must agree about how it came.
. "$(dirname "$0")/../lib.sh"
. "$(dirname "$0")/opensmtpd.sh"

prepare_opensmtpd
command -v cc >/dev/null || skip "no C compiler for the repair that Debian's OpenSMTPD needs under OpenSSL 3"
quietly cc -shared -fPIC -O1 -o "$scratch/openssl3.so" "$(dirname "$0")/openssl3.c" -ldl
as_root cp "$scratch/openssl3.so" "$server_root/openssl3.so"
start_opensmtpd LD_PRELOAD=/openssl3.so
twelve_cells opensmtpd.test /var/mail /var/log/smtpd.log
