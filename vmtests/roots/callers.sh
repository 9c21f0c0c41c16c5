#!/bin/sh
# Unpacks the programs of Debian that hand mail in into a private root: sh vmtests/roots/callers.sh DIRECTORY
#
# cron, bsd-mailx, mutt and git send-email, each with every library it loads, and `call`, which runs one as its users
# do. There is no MTA in it: a test lays its sendmail there. Running it again does nothing.
set -eu

root=${1:?the directory to unpack into}
. "$(dirname "$0")/lib.sh"
if [ -e "$root/.complete" ]; then
    exit 0
fi
mkdir -p "$root"
root=$(cd "$root" && pwd)
# shellcheck disable=SC2086 # lists of packages
unpack "$root" $BASE $KERBEROS $GNUTLS libgcc-s1 cron cron-daemon-common libpam0g libpam-modules libaudit1 libcap-ng0 \
    libcrypt1 libtirpc3 libnsl2 bsd-mailx libbsd0 libmd0 liblockfile1 liblockfile-bin mutt libgpg-error0 libgpgme11 libassuan0 \
    libgsasl18 libidn12 libgssglue1 libntlm0 libncursesw6 libtinfo6 libtokyocabinet9 libbz2-1.0 zlib1g git git-email perl perl-base \
    perl-modules-5.36 libperl5.36 liberror-perl libmailtools-perl libdb5.3 libgdbm6 libgdbm-compat4
furnish "$root"
mkdir -p "$root/etc/pam.d" "$root/var/spool/cron/crontabs" "$root/var/tmp"
printf 'account required pam_permit.so\nsession required pam_permit.so\nauth required pam_permit.so\n' >"$root/etc/pam.d/cron"
[ "$(id -u)" != 0 ] || chown 0:0 "$root/etc/pam.d" "$root/etc/pam.d/cron"
[ -e "$root/usr/bin/mail" ] || ln -s bsd-mailx "$root/usr/bin/mail"
script "$root" call <<'CALL'
#!/bin/sh
# call WHO: hands one message in as WHO does.
set -eu
export LC_ALL=C HOME=/root TERM=dumb
cd /root
case $1 in
cron)
    # A job that is due when cron starts; what it prints is mailed.
    printf 'MAILTO=ops@far.example\n@reboot root printf "line\\n.\\nafter the dot\\n"\n' >/etc/crontab
    rm -f /run/crond.reboot /run/crond.pid
    cron -f &
    sleep 3
    kill $!
    ;;
mailx) printf 'hello\n.\nafter the dot\n' | mail -s 'from mailx' -c carol@far.example -b dave@far.example bob@far.example ;;
mailx-r) printf 'hello\n' | mail -r bounces@corp.example -s 'with a sender' bob@far.example ;;
mutt) printf 'hello\n.\nafter the dot\n' | mutt -n -F /dev/null -e 'set from=ada@corp.example use_envelope_from=yes copy=no' \
    -s 'from mutt' -b dave@far.example -- bob@far.example ;;
git)
    printf 'From 0123456789012345678901234567890123456789 Mon Sep 17 00:00:00 2001\nFrom: Ada <ada@corp.example>\nDate: Fri, 20 Nov 2026 16:03:22 +0000\nSubject: [PATCH] a dot\n\nWords.\n---\n.\n-- \n2.39\n' >0001.patch
    git -c user.name=Ada -c user.email=ada@corp.example -c sendemail.confirm=never -c sendemail.suppresscc=all -c sendemail.smtpServer=/usr/sbin/sendmail \
        send-email --quiet --envelope-sender=auto --to=bob@far.example --cc=carol@far.example --bcc=dave@far.example 0001.patch
    ;;
esac
CALL
: >"$root/.complete"
