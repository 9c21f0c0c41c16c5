# mailstack itself, in a root like the others. Its program is put into usr/bin by who has built it.
unpack "$root" $BASE libgcc-s1
furnish "$root"
ln -sf ../bin/mailstack "$root/usr/sbin/sendmail"
script "$root" configure <<'CONFIGURE'
#!/bin/sh
# /configure HOP PORT [nullclient]: a gateway, or a host that only sends.
set -eu
rm -rf /etc/mailstack /generation; mkdir -p /etc/mailstack
cat >/etc/mailstack/host.toml <<MAIN
schema = 1
role = "${3-gateway}"
hostname = "mailstack.peer.example"
mail_host = "[$1]:$2"
queue.connections_per_destination = 20
MAIN
[ "${3-gateway}" != nullclient ] || echo 'masquerade.domain = "peer.example"' >>/etc/mailstack/host.toml
[ "${3-gateway}" != gateway ] || cat >>/etc/mailstack/host.toml <<MAIN
listen = ["0.0.0.0:25"]
relay.networks = ["10.0.0.0/8"]
limits.connections = 1000
limits.connections_per_client = 1000
MAIN
/usr/bin/mailstack build /etc/mailstack/host.toml -o /generation >/dev/null
mkdir -p /var/lib/mailstack
rm -rf /var/lib/mailstack/current && ln -s /generation /var/lib/mailstack/current
CONFIGURE
script "$root" serve <<'SERVE'
#!/bin/sh
exec /usr/bin/mailstack run 2>>/var/log/mailstack.log
SERVE
