#!/bin/sh
# Makes a Debian package of a built mailstack: sh engine/deploy/debian/build.sh BINARY DIRECTORY [VERSION]
#
# Prints the path of the package. Manual pages, completions, schemas, users and directories come from the program itself.
# Needs dpkg-deb and gzip, and no root. The same binary gives the same package: times are SOURCE_DATE_EPOCH, or 1.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
binary=$(realpath "${1:?the mailstack to package}")
mkdir -p "${2:?the directory to put the package into}"
out=$(realpath "$2")
version=${3:-$("$binary" --version | cut -d ' ' -f 2)}
architecture=$(dpkg --print-architecture)
stage=$(mktemp -d "${TMPDIR:-/tmp}/mailstack-deb-XXXXXX")
trap 'rm -rf "$stage"' EXIT
umask 022
chmod 755 "$stage"

put() { mkdir -p "$stage/$(dirname "$2")" && install -m "$1" /dev/stdin "$stage/$2"; }
link() { mkdir -p "$stage/$(dirname "$2")" && ln -s "$1" "$stage/$2"; }

put 755 usr/bin/mailstack <"$binary"
# As `mailstack apply` puts them, which finds them in their place.
for name in sbin/sendmail bin/mailq bin/newaliases; do link /usr/bin/mailstack "usr/$name"; done
link ../sbin/sendmail usr/lib/sendmail

# What every generation needs, whatever the role; the units are the generation's own, for each role has others.
"$binary" init loopback >"$stage/host.toml"
"$binary" build "$stage/host.toml" -o "$stage/generation" >/dev/null 2>&1
for kind in sysusers.d tmpfiles.d; do put 644 "usr/lib/$kind/mailstack.conf" <"$stage/generation/etc/$kind/mailstack.conf"; done
rm -r "$stage/host.toml" "$stage/generation"

reference() { "$binary" reference "$1"; }
for page in mailstack.1 host.toml.5 topology.toml.5; do
    reference "$page" | gzip -9n | put 644 "usr/share/man/man${page##*.}/$page.gz"
done
reference bash | put 644 usr/share/bash-completion/completions/mailstack
reference zsh | put 644 usr/share/zsh/vendor-completions/_mailstack
reference fish | put 644 usr/share/fish/vendor_completions.d/mailstack.fish
for language in host topology nullclient msp loopback gateway; do
    "$binary" schema $language | put 644 usr/share/mailstack/schema/$language.schema.json
done
for role in nullclient msp loopback gateway; do
    "$binary" init $role | put 644 usr/share/doc/mailstack/examples/$role.toml
done
put 644 usr/share/doc/mailstack/README.md <"$here/../../../README.md"
reference commands | put 644 usr/share/doc/mailstack/REFERENCE.md

for script in postinst prerm postrm; do put 755 DEBIAN/$script <"$here/$script"; done
libc=$(objdump -T "$binary" 2>/dev/null | sed -n 's/.*GLIBC_\([0-9.]*\).*/\1/p' | sort -V | tail -n 1)
put 644 DEBIAN/control <<CONTROL
Package: mailstack
Version: $version
Architecture: $architecture
Maintainer: mailstack <mailstack@localhost>
Section: mail
Priority: optional
Installed-Size: $(du -sk --exclude=DEBIAN "$stage" | cut -f 1)
Depends: libc6 (>= ${libc:-2.36}), libgcc-s1, systemd | systemd-standalone-sysusers
Suggests: m4, sendmail-cf
Provides: mail-transport-agent
Conflicts: mail-transport-agent
Replaces: mail-transport-agent
Description: mail transfer agent that is declared and proven
 One typed TOML file names what the host is for: null client, submission only,
 loopback MTA or relay gateway. mailstack apply turns it into a running MTA that
 was proven before it went live, and goes back where it was not.
CONTROL
(cd "$stage" && find usr -type f -exec md5sum {} + | LC_ALL=C sort -k 2) | put 644 DEBIAN/md5sums
export SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-1}"
find "$stage" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
dpkg-deb --root-owner-group --build "$stage" "$out/mailstack_${version}_$architecture.deb" >/dev/null
echo "$out/mailstack_${version}_$architecture.deb"
