# One of the servers of run.sh, named by the first argument, on 127.0.0.13 without TLS.
. "$(dirname "$0")/../lib.sh"

peer=$1
here=$(dirname "$0")

# configured FILE…: with addresses and ports filled in, on standard output.
configured() { fill "$@" | sed -e "s|@NEXT@|$next_port|g" -e "s|@BACK@|$back_port|g"; }

prepare_postfix() {
    debian_root postfix postdrop
    three_states postfix.test
    local queue=$server_root/var/spool/postfix
    configured "$interop/01-postfix/main.cf" "$here/postfix.cf" >"$scratch/main.cf"
    { fill "$interop/01-postfix/master.cf" && echo "smtp unix - - n - - smtp"; } >"$scratch/master.cf"
    as_root cp "$scratch/main.cf" "$scratch/master.cf" "$server_root/etc/postfix/"
    as_root mkdir -p "$queue"/{active,bounce,corrupt,defer,deferred,flush,hold,incoming,maildrop,pid,private,public,saved,trace} \
        "$server_root/var/lib/postfix"
    as_root chown 2002 "$queue"/{active,bounce,corrupt,defer,deferred,flush,hold,incoming,private,saved,trace} \
        "$server_root/var/lib/postfix"
    as_root chown 2002:2003 "$queue"/{maildrop,public}
    as_root chmod 700 "$queue"/{active,bounce,corrupt,defer,deferred,flush,hold,incoming,private,saved,trace}
    as_root chmod 730 "$queue/maildrop"
    as_root chmod 710 "$queue/public"
    logs+=("$server_root/var/log/maillog")
    background_in_root "$scratch/master.log" /usr/lib/postfix/sbin/master -c /etc/postfix -d
}

prepare_exim() {
    debian_root Debian-exim
    three_states exim.test
    configured "$interop/02-exim/exim.conf" |
        sed -e "/^begin routers/r $here/exim-routers.conf" -e "/^begin transports/r $here/exim-transports.conf" >"$scratch/exim.raw"
    configured "$scratch/exim.raw" >"$scratch/exim.conf"
    as_root mkdir -p "$server_root/etc/exim4" "$server_root/var/spool/exim4" "$server_root/var/log/exim"
    as_root cp "$scratch/exim.conf" "$server_root/etc/exim4/exim4.conf"
    as_root chmod 644 "$server_root/etc/exim4/exim4.conf"
    as_root chown 2002:2002 "$server_root/var/spool/exim4" "$server_root/var/log/exim"
    as_root chmod u+s "$server_root/usr/sbin/exim4"
    logs+=("$server_root/var/log/exim/mainlog" "$server_root/var/log/exim/paniclog")
    background_in_root "$scratch/exim.log" /usr/sbin/exim4 -bdf
}

prepare_opensmtpd() {
    . "$interop/03-opensmtpd/opensmtpd.sh"
    prepare_opensmtpd
    command -v cc >/dev/null || skip "no C compiler for the repair that Debian's OpenSMTPD needs under OpenSSL 3"
    quietly cc -shared -fPIC -O1 -o "$scratch/openssl3.so" "$interop/03-opensmtpd/openssl3.c" -ldl
    as_root cp "$scratch/openssl3.so" "$server_root/openssl3.so"
    configured "$here/smtpd.conf" >"$scratch/smtpd.conf"
    as_root cp "$scratch/smtpd.conf" "$server_root/etc/smtpd.conf"
    start_opensmtpd LD_PRELOAD=/openssl3.so
}

start_sink next --host 127.0.0.31
next_port=$sink_port
back_port=$(free_port)
"prepare_$peer"
wait_until 20 "the receiver on ${address[plain]}" answers_smtp "${address[plain]}"
printf '%s\n' 'sender.waxwing.test A 127.0.0.1' 'bounces.sender.test MX 10 sender.waxwing.test' \
    'bounces.sender.test TXT v=spf1 a:sender.waxwing.test ~all' >>"$scratch/zone"
start_dns
start_waxwing "$smtp_port" WAXWING_BOUNCE_LISTEN="127.0.0.1:$back_port"
python3 "$here/check.py" "$peer"
