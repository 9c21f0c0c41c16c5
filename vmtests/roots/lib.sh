# Sourced by peers.sh: how a private root is made.
#
# A root is a directory that chroot can enter: one MTA of Debian, every library it loads, its users, its queues.
# Nothing is installed and no maintainer script runs: packages are downloaded with apt-get and unpacked with dpkg.

# What a shell script in a root needs, and the libraries behind it.
BASE="libc6 coreutils dash netbase libacl1 libattr1 libgmp10 libselinux1 libpcre2-8-0 libssl3"
# What serves TLS makes its own certificate.
CERTIFIER="openssl"
KERBEROS="libtirpc3 libgssapi-krb5-2 libkrb5-3 libk5crypto3 libkrb5support0 libcom-err2 libkeyutils1"
GNUTLS="libgnutls30 libp11-kit0 libidn2-0 libunistring2 libtasn1-6 libnettle8 libhogweed6 libffi8"

# unpack ROOT PACKAGE...: the packages, downloaded once, unpacked into the root.
unpack() {
    into=$1
    shift
    cache="$(dirname "$into")/packages"
    mkdir -p "$into" "$cache"
    missing=
    for package in "$@"; do
        ls "$cache/$package"_*.deb >/dev/null 2>&1 || missing="$missing $package"
    done
    # One call: each reads all package lists.
    [ -z "$missing" ] || (cd "$cache" && apt-get -q -o APT::Sandbox::User=root download $missing >/dev/null)
    for package in "$@"; do
        dpkg -x "$cache/$package"_*.deb "$into"
    done
}

# furnish ROOT: accounts, names and the directories that every system has. Names are answered by /etc/hosts alone.
furnish() {
    root=$1
    cat >"$root/etc/passwd" <<'PASSWD'
root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
mail:x:8:8:mail:/var/mail:/usr/sbin/nologin
postfix:x:211:211:Postfix:/var/spool/postfix:/usr/sbin/nologin
Debian-exim:x:212:212:Exim:/var/spool/exim4:/usr/sbin/nologin
opensmtpd:x:213:213:OpenSMTPD:/var/lib/opensmtpd/empty:/usr/sbin/nologin
opensmtpq:x:214:214:OpenSMTPD queue:/var/lib/opensmtpd/empty:/usr/sbin/nologin
mailstack:x:215:215:mailstack:/nonexistent:/usr/sbin/nologin
alice:x:1001:1001:Alice:/home/alice:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
PASSWD
    cat >"$root/etc/group" <<'GROUP'
root:x:0:
daemon:x:1:
mail:x:8:
postfix:x:211:
Debian-exim:x:212:
opensmtpd:x:213:
opensmtpq:x:214:
mailstack:x:215:
postdrop:x:216:
alice:x:1001:
nogroup:x:65534:
GROUP
    printf '127.0.0.1 localhost\n::1 localhost\n' >"$root/etc/hosts"
    printf 'hosts: files\npasswd: files\ngroup: files\n' >"$root/etc/nsswitch.conf"
    : >"$root/etc/resolv.conf"
    mkdir -p "$root/dev" "$root/proc" "$root/tmp" "$root/run" "$root/root" "$root/home/alice" "$root/var/mail" \
        "$root/var/log" "$root/var/spool" "$root/var/lib"
    [ -e "$root/var/run" ] || ln -s /run "$root/var/run"
    chmod 1777 "$root/tmp"
    chmod 0755 "$root" "$root/etc"
    own 0:0 "$root" "$root/etc"
    own 1001:1001 "$root/home/alice"
    own 0:8 "$root/var/mail"
    [ -e "$root/dev/null" ] || [ "$(id -u)" != 0 ] || {
        mknod -m 0666 "$root/dev/null" c 1 3
        mknod -m 0666 "$root/dev/urandom" c 1 9
    }
    certificate "$root"
}

# own OWNER FILE...: as root; without it the files stay with the caller.
own() {
    owner=$1
    shift
    [ "$(id -u)" != 0 ] || chown "$owner" "$@"
}

# certificate ROOT: puts the program /certify into the root: the certificate and key that a peer serves TLS with.
certificate() {
    cat >"$1/certify" <<'CERTIFY'
#!/bin/sh
# /etc/ssl/peer.pem and /etc/ssl/peer.key, signed by itself, for the name that is given.
set -eu
[ -e /etc/ssl/peer.pem ] || openssl req -x509 -newkey rsa:2048 -nodes -days 30 -subj "/CN=$1" \
    -addext "subjectAltName=DNS:$1" -keyout /etc/ssl/peer.key -out /etc/ssl/peer.pem 2>/dev/null
chmod 0600 /etc/ssl/peer.key
CERTIFY
    chmod 0755 "$1/certify"
}

# script ROOT NAME: a program at the top of the root, from standard input.
script() {
    cat >"$1/$2"
    chmod 0755 "$1/$2"
}
