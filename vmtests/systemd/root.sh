#!/bin/sh
# Unpacks a Debian 12 with systemd into a private root, for tests: sh vmtests/systemd/root.sh DIRECTORY
#
# debootstrap is downloaded and unpacked, not installed. Needs root, wget and Debian's archive, takes about a minute. Running it
# again does nothing.
set -eu

root=${1:?the directory to unpack into}
if [ -e "$root/.complete" ]; then
    exit 0
fi
rm -rf "$root" "$root.tool"
mkdir -p "$root.tool"
root=$(cd "$root.tool" && pwd)
root=${root%.tool}
tool=$root.tool
cd "$tool"
download() { apt-get -q -o APT::Sandbox::User=root download debootstrap >/dev/null; }
download || { apt-get -q update >/dev/null && download; }
dpkg -x debootstrap_*.deb .
mirror=$(apt-get indextargets --format '$(REPO_URI) $(RELEASE)' "Created-By: Packages" | sed -n 's/ bookworm$//p' | head -n 1)
if ! DEBOOTSTRAP_DIR=$tool/usr/share/debootstrap sh usr/sbin/debootstrap --variant=minbase \
    --include=systemd,systemd-sysv,m4,sendmail-cf,iproute2,libcap2-bin bookworm "$root" \
    "${mirror:-http://deb.debian.org/debian}" >log 2>&1; then
    tail -n 20 log >&2
    exit 1
fi
useradd -R "$root" -m -s /bin/sh alice
useradd -R "$root" -m -s /bin/sh bob
rm -rf "$root/var/cache/apt" "$root/var/lib/apt/lists" "$tool"
: >"$root/.complete"
