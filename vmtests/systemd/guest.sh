#!/bin/sh
# One phase of the proof, within the booted guest: sh guest.sh client|receiving-mbox|receiving-maildir before|after
#
# `before` and `after` the reboot. The mail host is a second mailstack below /srv/mailhost, on 192.0.2.25.
set -eu

mailhost=/srv/mailhost
inbox=$mailhost/var/mail/carol

say() { echo "ok: $*"; }
fail() { echo "not ok: $*" >&2; exit 1; }
must() { what=$1; shift; "$@" >/tmp/said 2>&1 || { status=$?; cat /tmp/said >&2; fail "$what (status $status): $*"; }; }
never() { what=$1; shift; ! "$@" >/dev/null 2>&1 || fail "$what: $*"; }
ends() { want=$1; shift; status=0; "$@" >/tmp/said 2>&1 || status=$?; [ $status = "$want" ] || { cat /tmp/said >&2; fail "status $status and not $want: $*"; }; }
# Until a command succeeds, 40 s at most.
until_ok() {
    what=$1; shift; tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -le 400 ] || fail "within 40 s: $what"
        sleep 0.1
    done
    say "$what"
}
active() { [ "$(systemctl show --property=ActiveState --value "$1")" = active ]; }
inactive() { [ "$(systemctl show --property=ActiveState --value "$1")" = inactive ]; }
pid() { systemctl show --property=MainPID --value mailstack.service; }
holds() { grep -q -- "$1" "$2" 2>/dev/null; }
# A file of a Maildir has it.
holds_one() { grep -rq -- "$1" "$2" 2>/dev/null; }
mail_as() { user=$1; to=$2; subject=$3; runuser -u "$user" -- sh -c "printf 'To: $to\nSubject: $subject\n\nbody\n' | sendmail -t -i"; }
# All that systemd and mailstack keep on disk, with its times.
trace() { find /etc /var/lib/mailstack /usr/sbin/sendmail ! -name '*lock*' -printf '%p %T@ %l\n' | sort; }
# One number of /proc/PID/status.
of_status() { sed -n "s/^$2:[[:space:]]*//p" "/proc/$1/status"; }

start_mailhost() {
    mkdir -p $mailhost/etc $mailhost/var/mail
    id -u mailstack >/dev/null 2>&1 || systemd-sysusers - <<'USERS'
u mailstack - "mailstack mail transfer agent" /var/spool/mailstack /usr/sbin/nologin
USERS
    cp /etc/passwd $mailhost/etc/passwd
    grep -q '^carol:' $mailhost/etc/passwd || echo 'carol:x:1500:1500::/home/carol:/bin/sh' >>$mailhost/etc/passwd
    cp /etc/group $mailhost/etc/group
    chgrp mail $mailhost/var/mail && chmod 2775 $mailhost/var/mail
    cat >/root/mailhost.toml <<'HOST'
schema = 1
role = "gateway"
hostname = "mailhost.corp.example"
listen = ["192.0.2.25:25"]
local_domains = ["corp.example"]
aliases.root = "carol"
aliases.postmaster = "carol"
relay.networks = ["192.0.2.10/32"]
HOST
    must "the mail host starts" mailstack --root $mailhost apply /root/mailhost.toml
    say "the mail host runs"
}

stop_mailhost() { must "the mail host ends" mailstack --root $mailhost stop; }

# The declaration that `init` prints, with this site's mail host.
declare_role() {
    mailstack init "$1" | sed 's/^mail_host = .*/mail_host = "[192.0.2.25]"/' >/root/host.toml
}

units_are_linked() {
    for unit in "$@"; do
        [ "$(readlink "/etc/systemd/system/$unit")" = "/var/lib/mailstack/current/etc/systemd/system/$unit" ] ||
            fail "/etc/systemd/system/$unit is $(readlink "/etc/systemd/system/$unit")"
    done
    find /etc/systemd/system -type l -lname '*generations*' | grep . && fail "links that name one generation"
    say "units are links through current: $*"
}

# A second apply of the same.
changes_nothing() {
    before=$(trace) && was=$(pid)
    must "apply again" mailstack apply /root/host.toml
    holds "nothing to do" /tmp/said || { cat /tmp/said; fail "a second apply did something"; }
    [ "$before" = "$(trace)" ] || fail "a second apply wrote something"
    [ "$was" = "$(pid)" ] || fail "a second apply started something"
    say "a second apply writes nothing and starts nothing"
}

status_is_good() {
    must "status" mailstack status
    holds "$1" /tmp/said || { cat /tmp/said; fail "status does not say: $1"; }
    say "status: $1"
}

# A start that fails only under systemd: the generation before is live again, and runs.
broken_start_rolls_back() {
    live=$(readlink /var/lib/mailstack/current)
    mkdir -p /run/systemd/system/mailstack.service.d
    printf '[Service]\nExecStartPre=/bin/sh -c "! grep -q 26MiB /var/lib/mailstack/current/host.toml"\n' \
        >/run/systemd/system/mailstack.service.d/break.conf
    { cat /root/host.toml; printf '[limits]\nmessage_size = "26MiB"\n'; } >/root/broken.toml
    ends 4 mailstack apply /root/broken.toml
    [ "$live" = "$(readlink /var/lib/mailstack/current)" ] || fail "it did not go back"
    rm -r /run/systemd/system/mailstack.service.d && systemctl daemon-reload
    changes_nothing
    say "a broken start goes back, and ends with 4"
}

change_and_rollback() {
    live=$(readlink /var/lib/mailstack/current) && was=$(pid)
    { cat /root/host.toml; printf '[limits]\nmessage_size = "27MiB"\n'; } >/root/changed.toml
    must "a change" mailstack apply /root/changed.toml
    [ "$live" != "$(readlink /var/lib/mailstack/current)" ] || fail "the change is not live"
    now=$(pid)
    [ "$now" != 0 ] && [ "$now" != "$was" ] || fail "a change did not restart it ($was, then $now)"
    must "rollback" mailstack rollback
    [ "$live" = "$(readlink /var/lib/mailstack/current)" ] || fail "rollback did not go back"
    [ "$(pid)" != "$now" ] || fail "rollback did not restart it"
    say "a change restarts, rollback goes back"
}

first_apply_broken_leaves_nothing() {
    mkdir -p /run/systemd/system/mailstack.service.d
    printf '[Service]\nExecStartPre=/bin/false\n' >/run/systemd/system/mailstack.service.d/break.conf
    ends 4 mailstack apply /root/host.toml
    rm -r /run/systemd/system/mailstack.service.d
    [ ! -e /var/lib/mailstack/current ] || fail "something is live"
    find /etc/systemd/system /etc/sysusers.d /etc/tmpfiles.d -lname '/var/lib/mailstack/*' | grep . && fail "links are left"
    systemctl daemon-reload
    say "a first start that fails leaves nothing behind"
}

client_hands_in() {
    mail_as root root "$1-by-root"
    mail_as alice root "$1-by-alice"
    until_ok "mail by root arrives" holds "Subject: $1-by-root" $inbox
    until_ok "mail by an ordinary user arrives" holds "Subject: $1-by-alice" $inbox
    holds "^Return-Path: <alice@corp.example>" $inbox || holds "^From alice@corp.example" $inbox || fail "the sender is not alice"
    say "the sender is who handed it in"
}

client_runs_unprivileged() {
    main=$(pid)
    [ "$(of_status "$main" CapPrm)" = 0000000000000000 ] || fail "the client has capabilities"
    [ "$(stat -c %U "/proc/$main")" = mailstack ] || fail "the client is not mailstack's"
    say "the client runs as mailstack, without a capability"
}

client_before() {
    for role in nullclient msp; do
        start_mailhost
        declare_role $role
        must "apply of the $role" mailstack apply /root/host.toml
        units_are_linked mailstack.service mailstack.socket mailstack-queue.service mailstack-queue.timer
        client_runs_unprivileged
        until_ok "$role: it ends when it has nothing to do" inactive mailstack.service
        active mailstack.socket && active mailstack-queue.timer || fail "socket or timer do not wait"
        status_is_good "waits for mail"
        inactive mailstack.service || fail "status started it"
        changes_nothing
        client_hands_in "$role"
        change_and_rollback
        broken_start_rolls_back
    done
    drop_directory
    mail_waits_for_the_mail_host
    must "stop" mailstack stop
    inactive mailstack.socket && inactive mailstack.service || fail "stop left something running"
    ends 7 mailstack status
    mail_as alice root while-stopped
}

drop_directory() {
    systemctl stop mailstack-queue.timer mailstack.socket mailstack.service
    mail_as alice root dropped-by-alice
    mail_as root root dropped-by-root
    [ "$(find /var/spool/mailstack-drop -type f | wc -l)" = 2 ] || fail "the drop directory has not got it"
    systemctl start mailstack.socket
    systemctl start mailstack-queue.service
    until_ok "a queue run takes what was dropped" holds "Subject: dropped-by-alice" $inbox
    until_ok "root's too" holds "Subject: dropped-by-root" $inbox
    until_ok "the drop directory is empty" sh -c '! find /var/spool/mailstack-drop -type f | grep -q .'
    systemctl start mailstack-queue.timer
}

mail_waits_for_the_mail_host() {
    stop_mailhost
    mail_as alice root waited
    until_ok "mail waits" sh -c 'mailq | grep -q carol\\\|root@'
    start_mailhost
    # The timer comes at last; here its service is asked at once.
    systemctl start mailstack-queue.service
    until_ok "a queue run sends what waited" holds "Subject: waited" $inbox
}

client_after() {
    start_mailhost
    active mailstack.socket && active mailstack-queue.timer || fail "socket and timer did not come up with the host"
    # The timer's first run is due five minutes after the boot.
    until_ok "nothing runs after the boot" inactive mailstack.service
    [ "$(find /var/spool/mailstack-drop -type f | wc -l)" = 1 ] || fail "the drop directory lost what was in it"
    # As if that time had come.
    must "the timer can be hurried" sh -c 'mkdir -p /run/systemd/system/mailstack-queue.timer.d &&
        printf "[Timer]\nOnBootSec=1s\nAccuracySec=1s\n" >/run/systemd/system/mailstack-queue.timer.d/now.conf &&
        systemctl daemon-reload && systemctl restart mailstack-queue.timer'
    until_ok "the timer flushes" holds "Subject: while-stopped" $inbox
    rm -r /run/systemd/system/mailstack-queue.timer.d && systemctl daemon-reload
    client_hands_in rebooted
}

receiving_runs_with_its_rights() {
    main=$(pid)
    [ "$(stat -c %U "/proc/$main")" = mailstack ] || fail "the daemon is not mailstack's"
    for set in CapPrm CapEff CapInh CapAmb; do
        [ "$(of_status "$main" $set)" = 0000000000000000 ] || fail "the daemon has capabilities in $set"
    done
    helpers=$(cat "/proc/$main/task/$main/children")
    [ -n "$helpers" ] || fail "there is no helper"
    # CAP_CHOWN, CAP_SETGID and CAP_SETUID.
    for helper in $helpers; do
        [ "$(of_status "$helper" CapPrm)" = 00000000000000c1 ] || fail "a helper has $(of_status "$helper" CapPrm)"
        [ "$(of_status "$helper" NoNewPrivs)" = 1 ] || fail "a helper can gain privileges"
    done
    say "the daemon has no capability, each helper has three"
}

listens() { ss -Htln "sport = :25" | awk '{print $4}' | grep -v '^192.0.2.25:' | sort | tr '\n' ' '; }

receiving_works() {
    store=$1
    until_ok "the daemon runs" active mailstack.service
    receiving_runs_with_its_rights
    mail_as alice bob "$2-local-by-alice"
    mail_as root carol@corp.example "$2-to-mailhost"
    until_ok "local mail is delivered: $store" holds_one "Subject: $2-local-by-alice" "$store"
    [ "$(stat -c %U "$(grep -rl "$2-local-by-alice" "$store")")" = bob ] || fail "the mailbox is not bob's"
    until_ok "other mail goes to the mail host" holds "Subject: $2-to-mailhost" $inbox
}

# declare_receiving ROLE FORMAT
declare_receiving() {
    declare_role "$1"
    case $1 in
    gateway) sed -i 's/^\[relay\]/listen = ["192.0.2.10:25"]\n&/; s/\[internalmail.corp.example\]/[192.0.2.25]/; s/"192.168.10.0/"198.51.100.0/' /root/host.toml ;;
    esac
    [ "$2" = mbox ] || printf '\n[mailboxes]\nformat = "maildir"\npath = "Maildir"\n' >>/root/host.toml
}

receiving_before() {
    start_mailhost
    previous=$(readlink /var/lib/mailstack/current || true)
    for role in loopback gateway; do
        declare_receiving $role "$1"
        [ -n "$previous" ] || first_apply_broken_leaves_nothing
        must "apply of the $role" mailstack apply /root/host.toml
        previous=$(readlink /var/lib/mailstack/current)
        units_are_linked mailstack.service mailstack.socket
        [ ! -e /etc/systemd/system/mailstack-queue.timer ] || fail "the timer of a client is left"
        case $role in
        loopback) [ "$(listens)" = "127.0.0.1:25 [::1]:25 " ] || fail "it listens on $(listens)" ;;
        gateway) [ "$(listens)" = "192.0.2.10:25 " ] || fail "it listens on $(listens)" ;;
        esac
        receiving_works "$2" "$role-$1"
        changes_nothing
        change_and_rollback
        broken_start_rolls_back
        receiving_works "$2" "$role-$1-again"
    done
}

receiving_after() {
    start_mailhost
    receiving_works "$2" "rebooted-$1"
    status_is_good "192.0.2.10:25"
    must "stop" mailstack stop
    inactive mailstack.socket && inactive mailstack.service || fail "stop left something running"
    [ -z "$(listens)" ] || fail "it still listens"
    must "apply after stop" mailstack apply /root/host.toml
    receiving_works "$2" "started-$1"
}

echo "== $1, $2 the reboot"
case $1 in
client) "client_$2" ;;
receiving-mbox) "receiving_$2" mbox /var/mail ;;
receiving-maildir) "receiving_$2" maildir /home/bob/Maildir ;;
esac
