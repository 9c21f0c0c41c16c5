# Exim, the light daemon. Its configuration is written here: Debian's is made by debconf.
unpack "$root" exim4-daemon-light exim4-base $BASE $CERTIFIER $KERBEROS $GNUTLS libcrypt1 libdb5.3 libgnutls-dane0 \
    libidn12 libnsl2 libunbound8 libevent-2.1-7 libnghttp2-14 libpython3.11 libexpat1 libzstd1 zlib1g
furnish "$root"
ln -sf exim4 "$root/usr/sbin/sendmail"
chmod 4755 "$root/usr/sbin/exim4"
mkdir -p "$root/etc/exim4" "$root/var/spool/exim4" "$root/var/log/exim4" "$root/run/exim4"
own 212:212 "$root/var/spool/exim4" "$root/var/log/exim4" "$root/run/exim4"
own 0:0 "$root/etc/exim4"
script "$root" configure <<'CONFIGURE'
#!/bin/sh
set -eu
tls="tls_advertise_hosts ="
[ "${3-}" != tls ] || {
    /certify exim.peer.example
    chown 212:212 /etc/ssl/peer.key
    tls="tls_advertise_hosts = *
tls_certificate = /etc/ssl/peer.pem
tls_privatekey = /etc/ssl/peer.key"
}
cat >/etc/exim4/exim4.conf <<MAIN
primary_hostname = exim.peer.example
daemon_smtp_ports = 25
local_interfaces = 0.0.0.0
acl_smtp_rcpt = relay
host_lookup = *
keep_environment =
rfc1413_query_timeout = 0s
smtp_accept_max = 1000
smtp_accept_queue_per_connection = 0
smtp_connect_backlog = 1000
$tls
begin acl
relay:
  accept
begin routers
hop:
  driver = manualroute
  route_list = * $1 byname
  self = send
  transport = smtp
begin transports
smtp:
  driver = smtp
  port = $2
begin retry
* * F,2h,15m; G,16h,1h,1.5; F,4d,6h
MAIN
CONFIGURE
script "$root" serve <<'SERVE'
#!/bin/sh
exec /usr/sbin/exim4 -bdf -q30m
SERVE
