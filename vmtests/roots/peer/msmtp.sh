# msmtp, which has no queue: its sendmail ends when the next hop has the message.
unpack "$root" msmtp $BASE $GNUTLS libgsasl18 libidn12 libgssglue1 libntlm0 libgcrypt20 libgpg-error0 libsecret-1-0 \
    libglib2.0-0 libmount1 libblkid1 zlib1g
furnish "$root"
ln -sf ../bin/msmtp "$root/usr/sbin/sendmail"
script "$root" configure <<'CONFIGURE'
#!/bin/sh
set -eu
printf 'account default\nhost %s\nport %s\ndomain msmtp.peer.example\nauto_from on\nmaildomain msmtp.peer.example\n' \
    "$1" "$2" >/etc/msmtprc
[ "${3-}" != tls ] || printf 'tls on\ntls_certcheck off\n' >>/etc/msmtprc
CONFIGURE
