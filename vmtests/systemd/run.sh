#!/bin/sh
# Proves the systemd path of `mailstack apply` for all roles, on a real systemd as process 1:
#
#     sh vmtests/systemd/run.sh [MAILSTACK-BINARY] [DIRECTORY]
#
# The phases are PHASES, all of guest.sh if it is not set; `package` tries the Debian package in place of the binary, and
# `takeover-MTA` and `engine-MTA` are phases of vmtests/takeover, in a root that has that MTA.
# Boots an overlay of the private root (made on first use) in namespaces of its own, runs guest.sh in it, and reboots it
# in between. Everything lies below DIRECTORY, target/private-roots/systemd. Nothing of this host is touched.
# Ends with 0 when all is proven, 1 when something is not, 77 when this host cannot boot it, which is said.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
binary=$(realpath "${1:-$here/../../target/release/mailstack}")
root=${2:-$here/../../target/private-roots/systemd}
cgroup=

skip() {
    echo "SKIPPED: the boot under systemd: $1" >&2
    exit 77
}

end() {
    trap - EXIT INT TERM
    down
    [ -z "$cgroup" ] || find "$cgroup" -depth -type d -exec rmdir {} + 2>/dev/null || true
    umount -l "$work/root" 2>/dev/null || true
    rm -rf "$work/upper" "$work/work" "$work/root"
}

# The process that is 1 in the guest; nothing before it is there.
init() {
    child=$(cat "/proc/$boot/task/$boot/children" 2>/dev/null) && set -- $child && [ $# = 1 ] && echo "$1"
}

guest() {
    nsenter --target "$(init)" --all env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root "$@"
}

up() {
    ( echo 0 >"$cgroup/cgroup.procs" && exec unshare --fork --kill-child --pid --mount --uts --ipc --net --cgroup \
        sh "$here/boot.sh" "$work/root" ) >>"$work/console" 2>&1 9>&- &
    boot=$!
    tries=0
    until [ -n "$(init)" ] && state=$(guest systemctl is-system-running --wait 2>/dev/null) || [ "${state:-}" = degraded ]; do
        tries=$((tries + 1))
        if [ $tries -gt 150 ] || ! kill -0 $boot 2>/dev/null; then
            tail -n 30 "$work/console" >&2
            skip "systemd does not come up here; its console is above"
        fi
        sleep 0.2
    done
}

down() {
    [ -n "${boot:-}" ] || return 0
    guest systemctl --force poweroff >/dev/null 2>&1 || kill "$boot" 2>/dev/null || true
    wait "$boot" 2>/dev/null || true
    boot=
}

[ "$(id -u)" = 0 ] || skip "it needs root"
unified=$(findmnt -n -t cgroup2 -o TARGET | head -n 1)
[ -n "$unified" ] || skip "no cgroup2 is mounted"
cgroup=$unified/mailstack-boot-$$
mkdir "$cgroup" 2>/dev/null || skip "$unified cannot be written"
unshare --pid --fork --mount --net --cgroup true 2>/dev/null || { rmdir "$cgroup"; skip "namespaces are refused"; }

mkdir -p "$(dirname "$root")"
# One at a time; what an interrupted run left is swept.
exec 9>"$root.lock"
flock 9
sh "$here/root.sh" "$root" 9>&-
root=$(realpath "$root")
rm -rf "$root".boot-*
work=$(mktemp -d "$root.boot-XXXXXX")
trap end EXIT
trap 'exit 1' INT TERM
mkdir "$work/upper" "$work/work" "$work/root"
mount -t overlay overlay -o "lowerdir=$root,upperdir=$work/upper,workdir=$work/work" "$work/root" ||
    skip "no overlay file system"
install -m 755 "$binary" "$work/root/usr/bin/mailstack"
echo web01.corp.example >"$work/root/etc/hostname"
printf '127.0.0.1 localhost\n::1 localhost\n192.0.2.10 web01.corp.example web01\n' >"$work/root/etc/hosts"
: >"$work/root/etc/resolv.conf"
install -m 755 "$here/guest.sh" "$work/root/root/guest.sh"
mkdir -p "$work/root/root/takeover"
cp "$here"/../takeover/guest.sh "$here"/../takeover/engine.sh "$here"/../takeover/lib.sh "$work/root/root/takeover"
[ "${KILLS:-all}" = all ] || : >"$work/root/root/takeover/no-kills"
case " ${PHASES:-} " in *" package "*)
    install -m 755 "$here/package.sh" "$work/root/root/package.sh"
    for version in 1 2; do
        DPKG_DEB_COMPRESSOR_TYPE=none sh "$here/../../engine/deploy/debian/build.sh" "$binary" "$work/root/root" "${version}" >/dev/null
    done
    ;;
esac

up
for phase in ${PHASES:-client receiving-mbox receiving-maildir}; do
    for part in before after; do
        script=guest.sh what=$phase
        case $phase in
        package) script=package.sh ;;
        takeover-*) script=takeover/guest.sh what=${phase#takeover-} ;;
        engine-*) script=takeover/engine.sh what=${phase#engine-} ;;
        esac
        if ! guest sh "/root/$script" "$what" "$part"; then
            guest journalctl --no-pager --lines=60 >&2 || true
            echo "FAILED: $phase, $part the reboot" >&2
            exit 1
        fi
        [ $part = after ] || { down; up; }
    done
done
echo "proven under $(guest systemctl --version | head -n 1)"
rm -f "$work/console"
end
rmdir "$work"
