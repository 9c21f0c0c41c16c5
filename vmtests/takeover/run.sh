#!/bin/sh
# Proves `mailstack apply --take-over` and `deactivate` on Debian's Sendmail, Postfix and Exim, each as its package installs it:
#
#     sh vmtests/takeover/run.sh [MAILSTACK-BINARY] [DIRECTORY] [MTA...]
#
# Without systemd in namespaces of their own, and with systemd as process 1, over a reboot (vmtests/systemd/run.sh). The
# roots lie below DIRECTORY, target/private-roots, and are made on first use. Nothing of this host is touched. WITHOUT=systemd
# or WITHOUT=bare leaves one out, ONLY=guest or ONLY=engine does one of the scripts, KILLS=sendmail kills after every step for that
# MTA without systemd alone. Ends with 77 where this host cannot, which is said.
set -eu
# TRACE=-x shows each command in the host.
export TRACE="${TRACE:-}"

here=$(cd "$(dirname "$0")" && pwd)
binary=$(realpath "${1:-$here/../../target/release/mailstack}")
roots=${2:-$here/../../target/private-roots}
[ $# -le 2 ] || { shift 2; set -- "$@"; mtas=$*; }
[ "$(id -u)" = 0 ] || { echo "SKIPPED: taking over from another MTA: it needs root" >&2; exit 77; }
mkdir -p "$roots"
roots=$(cd "$roots" && pwd)

# bare MTA SCRIPT
bare() {
    work=$(mktemp -d "$roots/before-$1.bare-XXXXXX")
    trap 'rm -rf "$work"' EXIT
    mkdir "$work/upper" "$work/work" "$work/root"
    status=0
    unshare --fork --kill-child --pid --mount --uts --ipc --net sh -eu -c '
        root=$1/root
        mount --make-rprivate /
        mount -t overlay overlay -o "lowerdir=$2,upperdir=$1/upper,workdir=$1/work" "$root"
        install -m 755 "$3" "$root/usr/bin/mailstack"
        mkdir "$root/root/takeover" && cp "$4"/guest.sh "$4"/engine.sh "$4"/lib.sh "$root/root/takeover"
        case "${KILLS:-all}" in all | "$5") ;; *) : >"$root/root/takeover/no-kills" ;; esac
        hostname mta.corp.example
        echo mta.corp.example >"$root/etc/hostname"
        printf "127.0.0.1 localhost\n::1 localhost\n192.0.2.10 mta.corp.example mta\n" >"$root/etc/hosts"
        : >"$root/etc/resolv.conf"
        mount -t proc proc "$root/proc"
        mount -t sysfs sysfs "$root/sys"
        mount -t tmpfs -o mode=755 tmpfs "$root/dev"
        for name in null zero full random urandom tty; do
            : >"$root/dev/$name" && mount --bind "/dev/$name" "$root/dev/$name"
        done
        ln -s /proc/self/fd "$root/dev/fd"
        mount -t tmpfs -o mode=755 tmpfs "$root/run"
        mkdir "$root/run/lock"
        ip link set lo up && ip addr add 192.0.2.10/24 dev lo
        cd "$root" && exec chroot . /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root sh $TRACE "/root/takeover/$6.sh" "$5" bare
    ' sh "$work" "$roots/before-$1" "$binary" "$here" "$1" "$2" || status=$?
    rm -rf "$work"
    trap - EXIT
    [ $status = 0 ] || { echo "FAILED: $1 without systemd ($2.sh)" >&2; exit 1; }
}

for mta in ${mtas:-sendmail postfix exim}; do
    sh "$here/root.sh" "$roots/before-$mta" "$mta"
    [ "${WITHOUT:-}" = bare ] || [ "${ONLY:-guest}" != guest ] || bare "$mta" guest
    [ "${WITHOUT:-}" = systemd ] || [ "${ONLY:-guest}" != guest ] || PHASES="takeover-$mta" sh "$here/../systemd/run.sh" "$binary" "$roots/before-$mta"
    [ "$mta" = sendmail ] && [ "${ONLY:-engine}" = engine ] || continue
    # The same host, and its own Sendmail as the engine.
    [ "${WITHOUT:-}" = bare ] || bare "$mta" engine
    [ "${WITHOUT:-}" = systemd ] || PHASES="engine-$mta" sh "$here/../systemd/run.sh" "$binary" "$roots/before-$mta"
done
