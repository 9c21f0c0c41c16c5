# dma, which hands mail on without a daemon: its sendmail queues, and a process of each message delivers.
unpack "$root" dma $BASE
furnish "$root"
own 0:8 "$root/usr/sbin/dma" "$root/usr/lib/dma/dma-mbox-create" "$root/var/spool/dma" "$root/etc/dma" "$root/etc/dma/auth.conf"
chmod 2755 "$root/usr/sbin/dma" && chmod 4754 "$root/usr/lib/dma/dma-mbox-create" && chmod 2770 "$root/var/spool/dma"
: >"$root/etc/aliases"
script "$root" configure <<'CONFIGURE'
#!/bin/sh
set -eu
echo dma.peer.example >/etc/mailname
printf 'SMARTHOST %s\nPORT %s\nMAILNAME /etc/mailname\nAUTHPATH /etc/dma/auth.conf\n' "$1" "$2" >/etc/dma/dma.conf
[ "${3-}" != tls ] || printf 'SECURETRANSFER\nSTARTTLS\nOPPORTUNISTIC_TLS\n' >>/etc/dma/dma.conf
CONFIGURE
