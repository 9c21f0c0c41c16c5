#!/bin/sh
# Makes a container image of a static mailstack: sh engine/deploy/container/build.sh BINARY [TAG]
#
# Needs docker and tar, no registry and no root. The binary is one that needs no library:
#
#     RUSTFLAGS="-C target-feature=+crt-static" cargo build --release --package mailstack --target x86_64-unknown-linux-gnu
set -eu

here=$(cd "$(dirname "$0")" && pwd)
binary=$(realpath "${1:?the static mailstack}")
tag=${2:-mailstack}
if LC_ALL=C ldd "$binary" 2>/dev/null | grep -q '=>'; then
    echo "$binary needs libraries: build it with RUSTFLAGS=\"-C target-feature=+crt-static\"" >&2
    exit 1
fi
stage=$(mktemp -d "${TMPDIR:-/tmp}/mailstack-image-XXXXXX")
trap 'rm -rf "$stage"' EXIT
umask 022

# Root's: the program, as `mailstack apply` wants it, and who is who.
mkdir -p "$stage/root/usr/bin" "$stage/root/usr/sbin" "$stage/root/etc/mailstack"
install -m 755 "$binary" "$stage/root/usr/bin/mailstack"
for name in sbin/sendmail bin/mailq bin/newaliases; do ln -s /usr/bin/mailstack "$stage/root/usr/$name"; done
cat >"$stage/root/etc/passwd" <<'PASSWD'
root:x:0:0:root:/:/sbin/nologin
mailstack:x:10025:10025:mailstack:/var/mail:/sbin/nologin
PASSWD
printf 'root:x:0:\nmailstack:x:10025:\n' >"$stage/root/etc/group"

# mailstack's: what it writes. All of it is in volumes, so the root may be read-only.
own=$stage/own
mkdir -p "$own/var/lib/mailstack" "$own/var/spool/mailstack" "$own/var/spool/mailstack-drop" "$own/var/mail" \
    "$own/run/mailstack" "$own/tmp"
chmod 700 "$own/var/spool/mailstack"
chmod 3777 "$own/var/spool/mailstack-drop"
chmod 1777 "$own/tmp"

pack() { tar --numeric-owner --sort=name --mtime=@1 --format=gnu "$@"; }
pack -C "$stage/root" --owner=0 --group=0 -cf "$stage/rootfs.tar" usr etc
pack -C "$own" --owner=10025 --group=10025 -rf "$stage/rootfs.tar" var run tmp
cp "$here/Dockerfile" "$stage/"
rm -r "$stage/root" "$own"
docker build --quiet --tag "$tag" "$stage"
