#!/bin/sh
# The Debian package in the booted guest: sh package.sh package before|after
#
# Installed, used, upgraded, over a reboot, removed, installed again, purged. /root holds the package and one of a later
# version.
set -eu

say() { echo "ok: $*"; }
fail() { echo "not ok: $*" >&2; exit 1; }
must() { what=$1; shift; "$@" >/tmp/said 2>&1 || { status=$?; cat /tmp/said >&2; fail "$what (status $status): $*"; }; }
# Until a command succeeds, 40 s at most.
until_ok() {
    what=$1; shift; tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -le 400 ] || { "$@" || true; fail "within 40 s: $what"; }
        sleep 0.1
    done
    say "$what"
}
pid() { systemctl show --property=MainPID --value mailstack.service; }
mail_as() { user=$1; to=$2; subject=$3; runuser -u "$user" -- sh -c "printf 'To: $to\nSubject: $subject\n\nbody\n' | sendmail -t -i"; }
waits() { mailq | grep -q carol@far.example; }
# All that is the program's or its generations', below any directory but the administrator's.
traces() {
    find / -xdev \( -path /proc -o -path /sys -o -path /root -o -path /tmp -o -path /etc/mailstack -o -path /srv \
        -o -path /var/log/journal \) -prune -o \( -name '*mailstack*' -o -lname '*mailstack*' \) -print | sort
}

before() {
    rm /usr/bin/mailstack
    mkdir -p /etc/mailstack
    [ -z "$(traces)" ] || fail "there before: $(traces)"
    must "install" dpkg -i /root/mailstack_1_*.deb
    [ "$(dpkg-query -S /usr/sbin/sendmail)" = "mailstack: /usr/sbin/sendmail" ] || fail "sendmail is not the package's"
    dpkg-query -W -f '${Provides}' mailstack | grep -q mail-transport-agent || fail "it provides no mail-transport-agent"
    dpkg-query -L mailstack | xargs -I{} find {} -maxdepth 0 -type f -perm /6000 | grep . && fail "a setuid or setgid file"
    [ "$(stat -c '%U:%G %a' /var/spool/mailstack)" = "mailstack:mailstack 700" ] || fail "the spool is $(stat -c '%U:%G %a' /var/spool/mailstack)"
    [ "$(stat -c '%U:%G %a' /var/spool/mailstack-drop)" = "mailstack:mailstack 3777" ] || fail "the drop directory"
    must "the package is whole" dpkg -V mailstack
    say "installed: user, directories, programs, nothing setuid or setgid"

    # The far host is down: what is for it waits.
    cat >/etc/mailstack/host.toml <<'HOST'
schema = 1
role = "loopback"
hostname = "web01.corp.example"
mail_host = "[192.0.2.99]"
HOST
    must "apply" mailstack apply /etc/mailstack/host.toml
    must "the package's links are left as they are" dpkg -V mailstack
    mail_as alice bob used
    until_ok "mail is delivered" grep -q "Subject: used" /var/mail/bob
    mail_as alice carol@far.example kept
    until_ok "mail for a host that is down waits" waits

    was=$(pid)
    must "upgrade" dpkg -i /root/mailstack_2_*.deb
    [ "$(pid)" != 0 ] && [ "$(pid)" != "$was" ] || fail "the upgrade did not restart the MTA"
    until_ok "an upgrade keeps the queue" waits
    must "status after the upgrade" mailstack status
}

after() {
    until_ok "it comes up with the host" systemctl is-active mailstack.service
    until_ok "the queue is there after a reboot" waits
    must "remove" dpkg -r mailstack
    grep -q "1 messages stay" /tmp/said || { cat /tmp/said; fail "the removal does not tell of the queue"; }
    systemctl is-active --quiet mailstack.service && fail "it runs after the removal"
    ss -Htln "sport = :25" | grep . && fail "something listens after the removal"
    find /etc /usr -lname '*mailstack*' | grep . && fail "links are left"
    [ -n "$(ls -A /var/spool/mailstack)" ] || fail "the removal took the queue"
    say "removed: nothing runs, nothing leads to it, the queue is there"

    must "install again" dpkg -i /root/mailstack_2_*.deb
    must "apply again" mailstack apply /etc/mailstack/host.toml
    until_ok "the queue is found again" waits
    mail_as alice bob again
    until_ok "mail is delivered again" grep -q "Subject: again" /var/mail/bob

    must "purge" dpkg -P mailstack
    [ -z "$(traces)" ] || fail "left after the purge: $(traces)"
    [ -e /etc/mailstack/host.toml ] && [ -e /var/mail/bob ] || fail "the purge took what is the administrator's"
    say "purged: nothing is left but the declaration and the mailboxes"
}

echo "== the Debian package, $2 the reboot"
"$2"
