#!/bin/sh
# Unpacks QEMU, Debian's cloud kernel and BusyBox for the VM level: sh vmtests/roots/vm.sh DIRECTORY
#
# Nothing is installed: packages are downloaded with apt-get and unpacked with dpkg; libraries that this machine has
# already are its own. DIRECTORY/qemu runs QEMU with them, DIRECTORY/vmlinuz is the kernel, and DIRECTORY/modules has
# its modules in the order in which they are loaded. Running it again does nothing.
set -eu

root=${1:?the directory to unpack into}
if [ -e "$root/.complete" ]; then
    exit 0
fi
rm -rf "$root"
mkdir -p "$root/packages/partial" "$root/usr"
root=$(cd "$root" && pwd)
kernel=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/^ *Depends: \(linux-image-.*-cloud-amd64\)$/\1/p' | head -n 1)
fetch() {
    apt-get -q -y -d -o Debug::NoLocking=1 -o APT::Sandbox::User=root -o Dir::Cache::archives="$root/packages" \
        --no-install-recommends install qemu-system-x86 >"$root/log" 2>&1 &&
        (cd "$root/packages" && apt-get -q -o APT::Sandbox::User=root download "$kernel" busybox-static >>"$root/log" 2>&1)
}
fetch || { apt-get -q update >/dev/null && fetch; } || {
    tail -n 20 "$root/log" >&2
    exit 1
}
for package in "$root"/packages/*.deb; do
    dpkg -x "$package" "$root"
done
rm -rf "$root/packages"

cp "$root"/boot/vmlinuz-* "$root/vmlinuz"
tree=$(echo "$root"/lib/modules/*)
# A module after those that it needs. What is not there is built into the kernel, as ext4 is.
mkdir -p "$root/modules"
count=10
find_module() { find "$tree" -name "$(echo "$1" | sed 's/[_-]/[_-]/g').ko" | head -n 1; }
add() {
    for needed in $(tr '\0' '\n' <"$1" | sed -n 's/^depends=//p' | head -n 1 | tr ',' ' '); do
        found=$(find_module "$needed")
        [ -z "$found" ] || case " $seen " in
        *" $found "*) ;;
        *)
            seen="$seen $found"
            add "$found"
            ;;
        esac
    done
    count=$((count + 1))
    cp "$1" "$root/modules/$count-$(basename "$1")"
}
seen=
for module in virtio virtio_ring virtio_pci virtio_blk virtio_net virtio_console virtio_rng sch_netem; do
    found=$(find_module "$module")
    case " $seen " in
    *" $found "*) ;;
    *) [ -z "$found" ] || { seen="$seen $found"; add "$found"; } ;;
    esac
done
cat >"$root/qemu" <<'QEMU'
#!/bin/sh
# QEMU with the libraries it was unpacked with.
here=$(cd "$(dirname "$0")" && pwd)
export LD_LIBRARY_PATH="$here/usr/lib/x86_64-linux-gnu:$here/lib/x86_64-linux-gnu"
exec "$here/usr/bin/qemu-system-x86_64" -L "$here/usr/share/qemu" -L "$here/usr/share/seabios" "$@"
QEMU
chmod 0755 "$root/qemu"
"$root/qemu" --version >/dev/null
: >"$root/.complete"
