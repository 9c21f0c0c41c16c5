#!/bin/sh
# Has a program of Debian hand mail in by mailstack's sendmail, in a root of its own, while no MTA runs:
# callers.sh BINARY ROOT GENERATION WHO OUT. Within a mount and a pid namespace; what was handed in is copied to OUT.
set -eu
binary=$1 root=$2 generation=$3 who=$4 out=$5
mount --make-rprivate /
scratch=$(mktemp -d)
mount -t tmpfs tmpfs "$scratch"
mkdir "$scratch/up" "$scratch/work" "$scratch/root"
mount -t overlay overlay -o "lowerdir=$root,upperdir=$scratch/up,workdir=$scratch/work" "$scratch/root"
new=$scratch/root
mkdir -p "$new/usr/sbin" "$new/var/lib/mailstack" "$new/var/spool/mailstack-drop"
: >"$new/usr/sbin/sendmail"
mount --bind "$binary" "$new/usr/sbin/sendmail"
cp -r "$generation" "$new/var/lib/mailstack/current"
chmod 3777 "$new/var/spool/mailstack-drop"
[ -e "$new/usr/lib/sendmail" ] || ln -s ../sbin/sendmail "$new/usr/lib/sendmail"
chroot "$new" /call "$who"
cp "$new"/var/spool/mailstack-drop/drop-* "$out"
