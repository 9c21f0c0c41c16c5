#!/bin/sh
# A Debian 12 that has an MTA as its package installs it, into a private root: sh vmtests/takeover/root.sh DIRECTORY MTA
#
# MTA is sendmail, postfix or exim. The Debian with systemd (vmtests/systemd/root.sh) is copied, and the package is
# installed in it by apt-get with its maintainer scripts and Debian's answers; nothing is started. Needs root and Debian's
# archive. Running it again does nothing.
set -eu

root=${1:?the directory to install into}
mta=${2:?sendmail, postfix or exim}
case $mta in
sendmail) packages="sendmail-bin sensible-mda procps" ;;
postfix) packages="postfix procps" ;;
exim) packages="exim4-daemon-light procps" ;;
*) echo "no such MTA: $mta" >&2; exit 64 ;;
esac
if [ -e "$root/.complete-$mta" ]; then
    exit 0
fi
here=$(cd "$(dirname "$0")" && pwd)
base=$(dirname "$root")/systemd
sh "$here/../systemd/root.sh" "$base"
rm -rf "$root"
cp -a --reflink=auto "$base" "$root"
root=$(cd "$root" && pwd)

# The names that this machine resolves by, and where it has Debian's archive, for as long as apt-get runs.
cp /etc/resolv.conf "$root/etc/resolv.conf"
cp "$root/etc/apt/sources.list" "$root/etc/apt/sources.list.before"
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"
echo mta.corp.example >"$root/etc/mailname"
mount -t proc proc "$root/proc"
trap 'umount "$root/proc"' EXIT
inside() { chroot "$root" env DEBIAN_FRONTEND=noninteractive LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin "$@"; }
options="-q -y -o APT::Sandbox::User=root -o Dpkg::Use-Pty=0"
if ! { inside apt-get $options update && inside apt-get $options --no-install-recommends install $packages; } >"$root.log" 2>&1; then
    tail -n 30 "$root.log" >&2
    exit 1
fi
rm -rf "$root/usr/sbin/policy-rc.d" "$root/var/cache/apt" "$root/var/lib/apt/lists" "$root.log"
mv "$root/etc/apt/sources.list.before" "$root/etc/apt/sources.list"
: >"$root/etc/resolv.conf"
: >"$root/.complete-$mta"
