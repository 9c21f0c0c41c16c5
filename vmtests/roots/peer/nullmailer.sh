# nullmailer: its sendmail queues, its daemon delivers.
unpack "$root" nullmailer $BASE $GNUTLS libstdc++6 libgcc-s1
furnish "$root"
spool="$root/var/spool/nullmailer"
own 8:0 "$root/usr/sbin/nullmailer-queue" "$root/usr/bin/mailq" "$spool" "$spool/failed" "$spool/queue" "$spool/tmp"
chmod 4755 "$root/usr/sbin/nullmailer-queue" "$root/usr/bin/mailq"
rm -f "$spool/trigger"
mkfifo -m 0600 "$spool/trigger" && own 8:0 "$spool/trigger"
script "$root" configure <<'CONFIGURE'
#!/bin/sh
set -eu
echo nullmailer.peer.example >/etc/mailname
tls=
[ "${3-}" != tls ] || tls=" --starttls --insecure"
echo "$1 smtp --port=$2$tls" >/etc/nullmailer/remotes
CONFIGURE
script "$root" serve <<'SERVE'
#!/bin/sh
exec chroot --userspec=8:8 / /usr/sbin/nullmailer-send
SERVE
