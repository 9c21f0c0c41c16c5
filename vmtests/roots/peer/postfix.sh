# Postfix, with smtp-source and smtp-sink. Debian's configuration, which chroots its services into the queue.
unpack "$root" postfix $BASE $CERTIFIER $KERBEROS libdb5.3 libicu72 libnsl2 libsasl2-2 libstdc++6 libgcc-s1 zlib1g
furnish "$root"
cp "$root/usr/share/postfix/master.cf.dist" "$root/etc/postfix/master.cf"
cp "$root/usr/share/postfix/dynamicmaps.cf" "$root/etc/postfix/dynamicmaps.cf"
queue="$root/var/spool/postfix"
for name in active bounce corrupt defer deferred flush hold incoming private saved trace; do
    mkdir -p "$queue/$name" && own 211:0 "$queue/$name" && chmod 0700 "$queue/$name"
done
mkdir -p "$queue/maildrop" "$queue/public" "$queue/pid" "$queue/etc" "$root/var/lib/postfix"
own 211:216 "$queue/maildrop" "$queue/public" && chmod 1730 "$queue/maildrop" && chmod 2710 "$queue/public"
own 211:211 "$root/var/lib/postfix"
own 0:216 "$root/usr/sbin/postdrop" "$root/usr/sbin/postqueue"
chmod 2755 "$root/usr/sbin/postdrop" "$root/usr/sbin/postqueue"
script "$root" configure <<'CONFIGURE'
#!/bin/sh
set -eu
cat >/etc/postfix/main.cf <<MAIN
compatibility_level = 3.6
myhostname = postfix.peer.example
mydestination =
mynetworks = 0.0.0.0/0 [::]/0
relayhost = [$1]:$2
inet_interfaces = all
inet_protocols = ipv4
alias_maps =
biff = no
smtpd_relay_restrictions = permit_mynetworks, reject
MAIN
if [ "${3-}" = tls ]; then
    /certify postfix.peer.example
    cat >>/etc/postfix/main.cf <<MAIN
smtpd_tls_security_level = may
smtpd_tls_cert_file = /etc/ssl/peer.pem
smtpd_tls_key_file = /etc/ssl/peer.key
smtp_tls_security_level = may
tls_random_source = dev:/dev/urandom
MAIN
fi
cp /etc/hosts /etc/resolv.conf /etc/nsswitch.conf /etc/services /var/spool/postfix/etc/
CONFIGURE
script "$root" serve <<'SERVE'
#!/bin/sh
rm -f /var/spool/postfix/pid/master.pid
# Its master never ends its children before it ends itself.
exec /usr/lib/postfix/sbin/master -d
SERVE
