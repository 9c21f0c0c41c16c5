# OpenSMTPD.
unpack "$root" opensmtpd $BASE $CERTIFIER libcrypt1 libdb5.3 libevent-2.1-7 libpam0g libaudit1 libcap-ng0 zlib1g
furnish "$root"
mkdir -p "$root/var/spool/smtpd" "$root/etc/ssl"
own 0:0 "$root/var/spool/smtpd" && chmod 0711 "$root/var/spool/smtpd"
own 0:214 "$root/usr/sbin/smtpctl" && chmod 2755 "$root/usr/sbin/smtpctl"
: >"$root/etc/aliases"
script "$root" configure <<'CONFIGURE'
#!/bin/sh
set -eu
listen="listen on 0.0.0.0 port 25"
[ "${3-}" != tls ] || {
    /certify opensmtpd.peer.example
    echo 'pki peer cert "/etc/ssl/peer.pem"
pki peer key "/etc/ssl/peer.key"' >/etc/smtpd.tls
    listen="include \"/etc/smtpd.tls\"
listen on 0.0.0.0 port 25 tls pki peer"
}
echo opensmtpd.peer.example >/etc/mailname
# It would end a session at 100 messages, or 1,000 recipients.
cat >/etc/smtpd.conf <<MAIN
smtp max-message-size 35M
smtp limit max-mails 1000000
smtp limit max-rcpt 10000000
$listen
listen on socket
action hop relay host smtp://$1:$2 helo opensmtpd.peer.example
match from any for any action hop
MAIN
CONFIGURE
script "$root" serve <<'SERVE'
#!/bin/sh
exec /usr/sbin/smtpd -F
SERVE
