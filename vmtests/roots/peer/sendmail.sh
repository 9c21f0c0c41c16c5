# Sendmail, in the root of sendmail.sh, and m4 with the library that makes its sendmail.cf.
sh "$here/sendmail.sh" "$root"
unpack "$root" m4 libsigsegv2 sendmail-cf $CERTIFIER
certificate "$root"
ln -sf ../libexec/sendmail/sendmail "$root/usr/sbin/sendmail"
[ -e "$root/dev/null" ] || [ "$(id -u)" != 0 ] || mknod -m 0666 "$root/dev/null" c 1 3
[ -e "$root/dev/urandom" ] || [ "$(id -u)" != 0 ] || mknod -m 0666 "$root/dev/urandom" c 1 9
script "$root" configure <<'CONFIGURE'
#!/bin/sh
set -eu
tls=
[ "${3-}" != tls ] || {
    /certify sendmail.peer.example
    chown 201:201 /etc/ssl/peer.key
    tls='define(`confSERVER_CERT'"'"', `/etc/ssl/peer.pem'"'"')dnl
define(`confSERVER_KEY'"'"', `/etc/ssl/peer.key'"'"')dnl
define(`confCLIENT_CERT'"'"', `/etc/ssl/peer.pem'"'"')dnl
define(`confCLIENT_KEY'"'"', `/etc/ssl/peer.key'"'"')dnl
define(`confCACERT'"'"', `/etc/ssl/peer.pem'"'"')dnl
define(`confCACERT_PATH'"'"', `/etc/ssl'"'"')dnl'
}
cat >/etc/mail/sendmail.mc <<MAIN
define(\`_NO_MAKEINFO_', 1)dnl
include(\`/usr/share/sendmail/cf/m4/cf.m4')dnl
OSTYPE(\`linux')dnl
define(\`confTRUSTED_USER', \`smmta')dnl
define(\`confDOMAIN_NAME', \`sendmail.peer.example')dnl
define(\`confREFUSE_LA', \`1000')dnl
define(\`confQUEUE_LA', \`1000')dnl
define(\`confTO_IDENT', \`0')dnl
define(\`SMART_HOST', \`esmtp:[$1]')dnl
define(\`ESMTP_MAILER_ARGS', \`TCP \$h $2')dnl
$tls
FEATURE(\`promiscuous_relay')dnl
FEATURE(\`accept_unresolvable_domains')dnl
FEATURE(\`accept_unqualified_senders')dnl
FEATURE(\`nocanonify')dnl
FEATURE(\`no_default_msa')dnl
DAEMON_OPTIONS(\`Port=smtp, Name=MTA, Family=inet')dnl
MAILER(\`smtp')dnl
MAIN
cat >/etc/mail/submit.mc <<MAIN
define(\`_NO_MAKEINFO_', 1)dnl
include(\`/usr/share/sendmail/cf/m4/cf.m4')dnl
define(\`confCF_VERSION', \`Submit')dnl
define(\`__OSTYPE__', \`')dnl
define(\`confDOMAIN_NAME', \`sendmail.peer.example')dnl
define(\`confREFUSE_LA', \`1000')dnl
define(\`confQUEUE_LA', \`1000')dnl
define(\`MSP_QUEUE_DIR', \`/var/spool/mqueue-client')dnl
FEATURE(\`nocanonify')dnl
define(\`confDIRECT_SUBMISSION_MODIFIERS', \`C')dnl
FEATURE(\`msp', \`[127.0.0.1]')dnl
MAIN
for name in sendmail submit; do
    # It warns of the open relay, which is what is wanted here.
    m4 "/etc/mail/$name.mc" >"/etc/mail/$name.cf" 2>/dev/null
done
: >/etc/mail/aliases
: >/etc/mail/local-host-names
CONFIGURE
script "$root" serve <<'SERVE'
#!/bin/sh
exec /usr/libexec/sendmail/sendmail -bD -q30m
SERVE
