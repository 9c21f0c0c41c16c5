#!/bin/sh
# A host whose own Sendmail is the engine, from within: sh engine.sh sendmail bare|before|after
#
# `bare` where no systemd runs: an apply is killed after each of its steps, and two are at work at once. `before` and `after`
# the reboot of a host that has systemd: the units of all roles.
set -eu

mta=$1
declaration=/root/host.toml
. "$(dirname "$0")/lib.sh"
mailhost=/srv/mailhost
inbox=$mailhost/var/mail/carol

# declare ROLE OCTETS [LINE...]: with a limit by which generations are told apart.
declare_role() {
    role=$1; octets=$2; shift 2
    {
        # Sendmail asks for its own name, and no name server answers here: it is in /etc/hosts.
        printf 'schema = 1\nrole = "%s"\nengine = "sendmail"\nhostname = "%s"\n' "$role" "$(hostname)"
        printf 'mail_host = "[192.0.2.25]"\n'
        [ $# = 0 ] || printf '%s\n' "$@"
        printf '[limits]\nmessage_size = %s\n' "$octets"
    } >$declaration
}
is_live() { grep -q "^O MaxMessageSize=$1\$" "$2" || fail "$2 is not of this declaration ($1)"; }
# The daemon that mailstack started, and no other.
daemon() {
    if systemd; then systemctl show --property=MainPID --value mailstack.service; else cut -d ' ' -f 1 /run/mailstack/sendmail-daemon.pid; fi
}
runs() {
    until_ok "status is good ($1)" mailstack status
    is_live "$octets" /etc/mail/sendmail.cf
    until_ok "the daemon is mailstack's ($1)" is_only_daemon
    hand_in bob "$1"
    arrives bob "$1"
}
is_only_daemon() {
    [ -d "/proc/$(daemon)" ] && [ "$(ss -Htlnp 'sport = :25' | grep -o 'pid=[0-9]*' | sort -u)" = "pid=$(daemon)" ]
}
is_its_own() {
    until_ok "Sendmail listens ($1)" answers
    [ ! -e /var/lib/mailstack/current ] || fail "mailstack is live"
    picture_is /root/picture "the host is not as it was ($1)"
    hand_in alice "$1"
    arrives alice "$1"
}

refuses_and_takes_over() {
    ends 7 mailstack apply $declaration
    told "Sendmail runs" "/etc/mail/sendmail.cf was not written by mailstack" "--take-over"
    picture_is /root/picture "a refusal changed something"
    # Its own queue is gone on with: nothing has to be drained.
    hand_in 'bob@[198.51.100.99]' waits -Am -odq
    must "the take-over" mailstack apply --take-over $declaration
    runs taken
    mailstack queue list | grep -q '198.51.100.99' || fail "what waited is gone"
    rm -f /var/spool/mqueue/??*
    must "a second apply" mailstack apply $declaration
    told "nothing to do"
    say "Sendmail is taken over by mailstack, and goes on with its queue"
}

changes_and_rolls_back() {
    declare_role loopback 5000000 'aliases.staff = "bob"'
    must "plan" mailstack plan $declaration
    told "^rebuild  etc/mail/aliases.db: etc/mail/aliases changed" "^restart  sendmail: .*etc/mail/aliases, etc/mail/aliases.db.*sendmail.cf.* changed" \
        "^+O MaxMessageSize=5000000" "^-O MaxMessageSize=4000000" "^+staff"
    must "a change" mailstack apply $declaration
    runs changed
    must "plan" mailstack plan $declaration
    told "^nothing  sendmail: it runs, and nothing changed"
    must "rollback" mailstack rollback
    declare_role loopback 4000000
    runs rolled-back
    sed 's/^role.*/role = "gateway"\nlisten = ["198.51.100.77:25"]/; /^mail_host/d' $declaration >/root/broken.toml
    # A gateway reads files that a loopback does not.
    ends 7 mailstack apply /root/broken.toml
    told "/etc/mail/access was not written by mailstack"
    ends 4 mailstack apply --take-over /root/broken.toml
    told "is live again"
    runs rolled-back-by-itself
    say "a change, rollback, and a start that fails and goes back"
}

drift_is_named() {
    printf '# edited\n' >>/etc/mail/sendmail.cf
    sed -i "s/^define(.confMAX_MESSAGE_SIZE.*/# edited/" /var/lib/mailstack/current/etc/mail/sendmail.mc
    rm /var/lib/mailstack/current/etc/mail/local-host-names
    ends 7 mailstack status
    told "etc/mail/sendmail.cf was edited" "+# edited" "etc/mail/sendmail.mc was edited" "-define(.confMAX_MESSAGE_SIZE" \
        "etc/mail/local-host-names is gone" "mailstack apply"
    must "apply repairs" mailstack apply $declaration
    runs repaired
    say "drift is named, with a diff of each file"
}

two_at_once() {
    declare_role loopback 4100000
    rm -f /tmp/lines && mkfifo /tmp/lines
    mailstack apply $declaration 2>/tmp/lines &
    first=$!
    exec 8</tmp/lines
    read -r line <&8
    kill -STOP $first
    ends 6 mailstack apply $declaration
    told "process $first holds it"
    cp $declaration /root/second.toml && sed -i 's/4100000/4200000/' /root/second.toml
    mailstack apply --wait /root/second.toml >/tmp/second 2>&1 &
    second=$!
    until_ok "the second waits for the lock" grep -q locks_lock_inode_wait\\\|flock /proc/$second/wchan /proc/$second/stack
    kill -CONT $first
    cat <&8 >/dev/null
    wait $first || fail "the first failed"
    wait $second || { cat /tmp/second >&2; fail "the second failed"; }
    exec 8<&-
    octets=4200000
    runs after-two
    say "of two at once one is told who holds the lock, and one that waits goes next"
}

killed_applies() {
    # In turn, so that each has something to do.
    settle() {
        must "apply again after a kill ($1)" mailstack apply --wait $declaration
        runs "killed-$1"
        must "again, to settle ($1)" mailstack apply $declaration
        told "nothing to do"
        declare_role loopback $((octets + 1000))
    }
    declare_role loopback 6000000
    killed mailstack apply $declaration
    say "an apply that is killed after any of $lines steps is made good by the next"
    settle() {
        must "the take-over again ($1)" mailstack apply --wait --take-over $declaration
        runs "taken-$1"
        must "deactivate" mailstack deactivate
        is_its_own "given-$1"
    }
    must "deactivate" mailstack deactivate
    killed mailstack apply --take-over $declaration
    say "a take-over of Sendmail by itself, too ($lines steps)"
}

# --- under systemd

start_mailhost() {
    mkdir -p $mailhost/etc $mailhost/var/mail
    cp /etc/passwd $mailhost/etc/passwd
    echo 'carol:x:1500:1500::/home/carol:/bin/sh' >>$mailhost/etc/passwd
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
}
stop_mailhost() { must "the mail host ends" mailstack --root $mailhost stop; }
by_alice() {
    runuser -u alice -- sh -c "printf 'To: root\nSubject: $1\n\nbody\n' | sendmail -t -i" >/tmp/said 2>&1 || fail "sendmail ended so"
    [ ! -s /tmp/said ] || { cat /tmp/said >&2; fail "an ordinary user is told something"; }
}
reaches() { until_ok "$1 reaches the mail host" holds "Subject: $1" $inbox; }
active() { [ "$(systemctl show --property=ActiveState --value "$1")" = active ]; }

client() {
    [ -z "$(ss -Htln 'sport = :25' | grep -v 192.0.2.25)" ] || fail "a client listens"
    ! active mailstack.service || fail "a client has a daemon"
    case $2 in
    timer) active mailstack-queue.timer || fail "the timer does not wait" ;;
    resident) active mailstack-queue.service || fail "the runner does not stay"; [ ! -e /etc/systemd/system/mailstack-queue.timer ] || fail "never two at once" ;;
    esac
    until_ok "status is good ($1)" mailstack status
    by_alice "$1-by-alice"
    reaches "$1-by-alice"
    stop_mailhost
    by_alice "$1-waits"
    find /var/spool/mqueue-client -name 'qf*' | grep -q . || fail "nothing waits"
    start_mailhost
    # The first retry is due after a second.
    until_ok "it may be tried again" sh -c '! find /var/spool/mqueue-client -name "qf*" -newermt "-2 seconds" | grep -q .'
    # Now, and not when its time has come.
    if [ "$2" = timer ]; then systemctl start mailstack-queue.service; else systemctl restart mailstack-queue.service; fi
    reaches "$1-waits"
    say "$1: mail flows, and what waited is sent"
}

roles() {
    for role in nullclient msp; do
        for flush in timer resident; do
            declare_role $role 3000000 "queue.flush = \"$flush\"" 'queue.first_retry = "1s"' 'masquerade.domain = "corp.example"'
            must "apply of the $role, $flush" mailstack apply $declaration
            client "$role-$flush" $flush
        done
    done
    must "rollback" mailstack rollback
    client rolled-back timer
    declare_role msp 3000000 'queue.flush = "resident"' 'queue.first_retry = "1s"' 'masquerade.domain = "corp.example"'
    must "apply for the reboot" mailstack apply $declaration
}

echo "== Sendmail as the engine, $2"
case $2 in
bare | before)
    id -u mailstack >/dev/null 2>&1 || useradd --system --no-create-home --shell /usr/sbin/nologin mailstack
    rm -f /var/mail/alice /var/mail/bob
    declare_role loopback 4000000
    start_mta
    picture >/root/picture
    refuses_and_takes_over
    changes_and_rolls_back
    drift_is_named
    if systemd; then
        start_mailhost
        roles
    else
        two_at_once
        killed_applies
    fi
    ;;
after)
    start_mailhost
    active mailstack-queue.service || fail "the runner did not come up with the host"
    client rebooted resident
    stop_mailhost
    declare_role loopback 4000000
    must "apply of the loopback" mailstack apply $declaration
    runs after-the-reboot
    must "deactivate" mailstack deactivate
    [ ! -e /var/lib/mailstack/current ] || fail "mailstack is live"
    is_its_own given-back
    say "over a reboot, and back"
    ;;
esac
