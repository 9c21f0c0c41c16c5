#!/bin/sh
# One host, run by one engine, asked from itself and from networks that it does not trust, in namespaces of its own:
#   sh run.sh MAILSTACK SENDMAIL-ROOT builtin|sendmail DIRECTORY SESSIONS-AT-ONCE
# DIRECTORY has host.toml and ask.json; answers.json comes beside them.
set -eu
mailstack=$1 sendmail=$2 engine=$3 work=$4 at_once=$5
here=$(dirname "$0")
mount --make-rprivate /
mount -t proc proc /proc
chmod 0755 "$work"
ip link set lo up
# The other network: a client there has none of the host's addresses.
unshare --net sleep 3600 &
outside=$!
until [ "$(readlink "/proc/$outside/ns/net")" != "$(readlink /proc/self/ns/net)" ]; do :; done
ip link add within type veth peer name without netns "$outside"
ip address add 203.0.113.2/24 dev within
ip address add 192.168.10.2/24 dev within
ip link set within up
there() { nsenter --net="/proc/$outside/ns/net" "$@"; }
for address in 203.0.113.10/24 203.0.113.20/24 203.0.113.30/24 203.0.113.40/24 192.168.10.5/24; do
    there ip address add "$address" dev without
done
there ip link set lo up
there ip link set without up
python3 "$here/names.py" &

root=$work/root
if [ "$engine" = sendmail ]; then
    cp -a "$sendmail" "$root"
    printf 'hosts: files dns\npasswd: files\ngroup: files\n' >"$root/etc/nsswitch.conf"
else
    mkdir -p "$root/etc" "$root/var/mail"
    printf 'root:x:0:0:root:/root:/bin/sh\nmailstack:x:64990:64990::/:/bin/false\nalice:x:1001:1001::/:/bin/sh\n' \
        >"$root/etc/passwd"
    printf 'root:x:0:\nmail:x:8:\nmailstack:x:64990:\nalice:x:1001:\n' >"$root/etc/group"
    chgrp 8 "$root/var/mail" && chmod 2775 "$root/var/mail"
fi
rm -f "$root/etc/hosts" "$root/etc/resolv.conf"
printf '127.0.0.1 localhost\n203.0.113.2 gw.corp.example gw\n' >"$root/etc/hosts"
printf 'nameserver 127.0.0.1\n' >"$root/etc/resolv.conf"
echo gw.corp.example >/proc/sys/kernel/hostname
"$mailstack" build "$work/host.toml" -o "$work/generation" >/dev/null 2>"$work/build.log"
if [ "$engine" = sendmail ]; then
    for file in "$work/generation/etc/mail/"*; do
        install -o 201 -g 202 -m 0644 "$file" "$root/etc/mail/"
    done
    for map in access mailertable virtusertable genericstable; do
        [ ! -f "$root/etc/mail/$map" ] || chroot --userspec=201:201 "$root" /bin/sh -c \
            "/usr/libexec/sendmail/makemap hash /etc/mail/$map </etc/mail/$map"
    done
    chroot --userspec=201:201 "$root" /usr/libexec/sendmail/newaliases >/dev/null
    chroot "$root" /usr/libexec/sendmail/sendmail -bD >"$work/log" 2>&1 &
else
    "$mailstack" run --root "$root" --config "$work/generation/etc/mailstack/mta.toml" 2>"$work/log" &
fi
python3 "$here/ask.py" "$work" "/proc/$outside/ns/net" "$at_once"
