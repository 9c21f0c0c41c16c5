#!/bin/sh
# Unpacks other MTAs of Debian, each into a private root of its own: sh vmtests/roots/peers.sh DIRECTORY [PEER...]
#
# Peers: postfix (with smtp-source and smtp-sink), exim, opensmtpd, sendmail; and those that only hand mail on: dma,
# nullmailer, msmtp. All of them where none is named. Nothing is installed, no maintainer script runs. Running it
# again does nothing. Entering a root, and taking ownership in it, needs root; do it in a network namespace, since the
# daemons listen on port 25 of all its addresses. In the root DIRECTORY/PEER lie two programs:
#
#   chroot DIRECTORY/PEER /configure HOP PORT [tls]   all mail goes to the address HOP; relays for everyone;
#                                                     tls: offers STARTTLS with /etc/ssl/peer.pem, uses it where offered
#   chroot DIRECTORY/PEER /serve                      runs the daemon in the foreground, until SIGTERM
#
# /usr/sbin/sendmail in it hands mail in. dma and msmtp have no daemon. The daemons log to /dev/log in the root
# where somebody listens there, Exim to /var/log/exim4.
# For instance, Postfix before a sink (without the sink it defers):
#
#   sh vmtests/roots/peers.sh target/private-roots postfix
#   unshare --net --mount --pid --fork sh -c '
#       cd target/private-roots && ip link set lo up && chroot postfix /configure 127.0.0.1 2525
#       chroot postfix /usr/sbin/smtp-sink -u alice -c 127.0.0.1:2525 1024 & chroot postfix /serve &
#       sleep 2; chroot postfix /usr/sbin/smtp-source -m 100 -s 10 -c 127.0.0.1:25; sleep 2'
set -eu

here=$(cd "$(dirname "$0")" && pwd)
. "$here/lib.sh"
directory=${1:?the directory to unpack into}
shift
[ $# -gt 0 ] || set -- postfix exim opensmtpd sendmail dma nullmailer msmtp
mkdir -p "$directory"
directory=$(cd "$directory" && pwd)
for peer in "$@"; do
    [ -f "$here/peer/$peer.sh" ] || { echo "no such peer: $peer" >&2; exit 64; }
    root="$directory/$peer"
    recipe=$(cat "$here/lib.sh" "$here/peer/$peer.sh" | cksum)
    if [ "$(cat "$root/.peer" 2>/dev/null)" != "$recipe" ]; then
        . "$here/peer/$peer.sh"
        echo "$recipe" >"$root/.peer"
    fi
done
