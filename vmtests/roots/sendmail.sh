#!/bin/sh
# Unpacks Debian's Sendmail into a private root of its own, for tests: sh vmtests/roots/sendmail.sh DIRECTORY
#
# Nothing is installed and no maintainer script runs: packages are downloaded with apt-get and unpacked with dpkg.
# The root holds the programs with every library they load, Sendmail's users, and empty queues, and can be entered
# with chroot. What takes ownership (the users' queues) needs root; without it the files stay with the caller.
# Running it again does nothing.
set -eu

root=${1:?the directory to unpack into}
packages="sendmail-bin sendmail-base libc6 libdb5.3 libldap-2.5-0 liblockfile1 liblockfile-bin libnsl2 libsasl2-2 libssl3 libwrap0
    libtirpc3 libgssapi-krb5-2 libkrb5-3 libk5crypto3 libkrb5support0 libcom-err2 libkeyutils1 libcrypt1 zlib1g
    libzstd1 libgnutls30 libp11-kit0 libidn2-0 libunistring2 libtasn1-6 libnettle8 libhogweed6 libffi8 libpcre2-8-0 libselinux1 libacl1 libattr1 libgmp10 coreutils dash netbase procmail"

# procmail came later than roots that may be there.
if [ -e "$root/.complete" ] && [ -e "$root/usr/bin/procmail" ]; then
    exit 0
fi
mkdir -p "$root"
root=$(cd "$root" && pwd)
cache="$root.packages"
mkdir -p "$cache"
for package in $packages; do
    if ! ls "$cache/$package"_*.deb >/dev/null 2>&1; then
        (cd "$cache" && apt-get -q -o APT::Sandbox::User=root download "$package" >/dev/null)
    fi
    dpkg -x "$cache/$package"_*.deb "$root"
done

# What the maintainer scripts would make; the numbers only have to be free here.
cat >"$root/etc/passwd" <<'PASSWD'
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
mail:x:8:8:mail:/var/mail:/usr/sbin/nologin
smmta:x:201:201:Mail Transfer Agent:/var/lib/sendmail:/usr/sbin/nologin
smmsp:x:202:202:Mail Submission Program:/var/lib/sendmail:/usr/sbin/nologin
alice:x:1001:1001:Alice:/home/alice:/bin/sh
PASSWD
cat >"$root/etc/group" <<'GROUP'
root:x:0:
daemon:x:1:
mail:x:8:
smmta:x:201:
smmsp:x:202:
alice:x:1001:
GROUP
cat >"$root/etc/hosts" <<'HOSTS'
127.0.0.1 localhost
::1 localhost
HOSTS
# Answers come from /etc/hosts alone: a test reaches no name server.
printf 'hosts: files\npasswd: files\ngroup: files\n' >"$root/etc/nsswitch.conf"
: >"$root/etc/resolv.conf"

mkdir -p "$root/dev" "$root/proc" "$root/tmp" "$root/root" "$root/home/alice" "$root/etc/mail" "$root/var/mail" \
    "$root/var/spool/mqueue" "$root/var/spool/mqueue-client" "$root/var/lib/sendmail/host_status" \
    "$root/run/sendmail/mta" "$root/run/sendmail/msp"
chmod 1777 "$root/tmp"
chmod 0755 "$root" "$root/etc" "$root/etc/mail"
if [ "$(id -u)" = 0 ]; then
    chown 0:0 "$root" "$root/etc"
    chown 201:202 "$root/etc/mail" "$root/var/lib/sendmail" "$root/var/lib/sendmail/host_status"
    chown 201:201 "$root/var/spool/mqueue" "$root/run/sendmail/mta"
    chown 202:202 "$root/var/spool/mqueue-client" "$root/run/sendmail/msp"
    chown 1001:1001 "$root/home/alice"
    chmod 0700 "$root/var/spool/mqueue"
    chmod 2770 "$root/var/spool/mqueue-client"
    chown 0:202 "$root/usr/libexec/sendmail/sendmail" && chmod 2755 "$root/usr/libexec/sendmail/sendmail"
fi
: >"$root/.complete"
