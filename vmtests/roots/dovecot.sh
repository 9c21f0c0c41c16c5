#!/bin/sh
# Unpacks Debian's Dovecot into a private root, as an LMTP server: sh vmtests/roots/dovecot.sh DIRECTORY
#
# `serve` in it listens on /run/dovecot/lmtp for the users of the root's passwd file, who get Maildirs below /srv/mail;
# the user `full` is over his quota. Nothing is installed. Running it again does nothing.
set -eu

root=${1:?the directory to unpack into}
. "$(dirname "$0")/lib.sh"
if [ -e "$root/.complete" ]; then
    exit 0
fi
mkdir -p "$root"
root=$(cd "$root" && pwd)
# shellcheck disable=SC2086 # lists of packages
unpack "$root" $BASE $KERBEROS dovecot-core dovecot-lmtpd libapparmor1 libbz2-1.0 libcap2 libcrypt1 libexttextcat-2.0-0 libicu72 \
    libstdc++6 libgcc-s1 liblua5.4-0 liblz4-1 liblzma5 libpam0g libaudit1 libcap-ng0 libsodium23 libstemmer0d libsystemd0 libgcrypt20 \
    libgpg-error0 libunwind8 libwrap0 libnsl2 libzstd1 zlib1g
furnish "$root"
printf 'dovecot:x:221:221::/nonexistent:/usr/sbin/nologin\ndovenull:x:222:222::/nonexistent:/usr/sbin/nologin\nvmail:x:223:223::/srv/mail:/usr/sbin/nologin\n' >>"$root/etc/passwd"
printf 'dovecot:x:221:\ndovenull:x:222:\nvmail:x:223:\n' >>"$root/etc/group"
mkdir -p "$root/srv/mail" "$root/etc/dovecot" "$root/run/dovecot" "$root/var/lib/dovecot"
own 223:223 "$root/srv/mail"
cat >"$root/etc/dovecot/users" <<'USERS'
alice::::::
full:::::::userdb_quota_rule=*:bytes=1
USERS
cat >"$root/etc/dovecot/dovecot.conf" <<'CONF'
protocols = lmtp
ssl = no
log_path = /dev/stderr
base_dir = /run/dovecot
mail_location = maildir:/srv/mail/%u
mail_plugins = quota
plugin {
  quota = count:User quota
  quota_vsizes = yes
}
lmtp_rcpt_check_quota = no
first_valid_uid = 200
passdb {
  driver = passwd-file
  args = /etc/dovecot/users
}
userdb {
  driver = passwd-file
  args = /etc/dovecot/users
  default_fields = uid=vmail gid=vmail home=/srv/mail/%u
}
mailbox_list_index = yes
protocol lmtp {
  mail_plugins = quota
}
service lmtp {
  unix_listener lmtp {
    mode = 0666
  }
}
CONF
script "$root" serve <<'SERVE'
#!/bin/sh
exec dovecot -F
SERVE
: >"$root/.complete"
