# OpenSMTPD in a root folder of its own, for this scenario and 04-broken-starttls.

prepare_opensmtpd() {
    debian_root opensmtpd opensmtpq
    new_key=(rsa:2048) # the repair in openssl3.c is for RSA keys
    three_states opensmtpd.test
    fill "$interop/03-opensmtpd/smtpd.conf" >"$scratch/smtpd.conf"
    as_root cp "$scratch/smtpd.conf" "$server_root/etc/smtpd.conf"
    as_root mkdir -p "$server_root/var/lib/opensmtpd/empty" "$server_root/var/spool/smtpd"
    as_root chmod 711 "$server_root/var/spool/smtpd"
    in_root /usr/sbin/smtpd -h 2>&1 | sed -n 's/^version: //p' || true
}

# start_opensmtpd [VARIABLE=VALUE…]: runs it with that in its environment.
start_opensmtpd() {
    background_in_root "$scratch/smtpd.log" "$@" /usr/sbin/smtpd -d -f /etc/smtpd.conf
    as_root ln "$scratch/smtpd.log" "$server_root/var/log/smtpd.log"
}
