#!/bin/sh
# Boots the systemd of a root as process 1, in namespaces of its own: sh boot.sh ROOT. Does not return before it is down.
#
# Called within fresh pid, mount, uts, ipc, net and cgroup namespaces, in a cgroup (version 2) of its own.
set -eu

root=$1
mount --make-rprivate /
mount --rbind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for name in null zero full random urandom tty; do
    : >"$root/dev/$name"
    mount --bind "/dev/$name" "$root/dev/$name"
done
mkdir "$root/dev/shm" "$root/dev/pts"
mount -t devpts -o newinstance,ptmxmode=666,mode=620 devpts "$root/dev/pts"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
# Not every kernel has dummy or veth devices.
ip link set lo up
ip addr add 192.0.2.10/24 dev lo
ip addr add 192.0.2.25/24 dev lo
cd "$root"
mkdir -p .old
pivot_root . .old
umount -l .old
exec env -i container=mailstack PATH=/usr/sbin:/usr/bin:/sbin:/bin TERM=dumb \
    /lib/systemd/systemd --log-target=console --log-level=notice --show-status=no --unit=multi-user.target
