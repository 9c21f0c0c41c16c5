#!/bin/sh
# Unpacks Debian's xinetd and the inetd of GNU inetutils into a private root: sh vmtests/roots/inetd.sh DIRECTORY
#
# Hosts of a topology that are served by one of them have it from there. Nothing is installed. Running it again does nothing.
set -eu

root=${1:?the directory to unpack into}
. "$(dirname "$0")/lib.sh"
if [ -e "$root/.complete" ]; then
    exit 0
fi
mkdir -p "$root"
root=$(cd "$root" && pwd)
# shellcheck disable=SC2086 # lists of packages
unpack "$root" xinetd inetutils-inetd libwrap0 libnsl2 libselinux1 libpcre2-8-0 $KERBEROS
: >"$root/.complete"
