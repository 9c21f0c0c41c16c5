#!/bin/sh
# A host that has an MTA already, from within: sh guest.sh sendmail|postfix|exim PART
#
# PART: `bare`, where no systemd runs; `before` and `after` the reboot of one that does. /usr/bin/mailstack is there.
set -eu

mta=$1
declaration=/root/host.toml

. "$(dirname "$0")/lib.sh"

# A message that waits until it is asked for.
queue_deliverable() {
    case $mta in
    postfix)
        postconf -e defer_transports=local && postfix reload >/dev/null 2>&1
        hand_in alice "$1"
        until_ok "it waits" sh -c 'find /var/spool/postfix/deferred -type f | grep -q .'
        postconf -# defer_transports && postfix reload >/dev/null 2>&1
        # The line that postconf leaves behind.
        cp -p /root/main.cf /etc/postfix/main.cf
        ;;
    sendmail) hand_in alice "$1" -Am -odq ;;
    exim) hand_in alice "$1" -odq ;;
    esac
    ! queue_is_empty || fail "nothing waits"
}
# One that cannot be delivered: nobody answers there.
queue_undeliverable() {
    case $mta in
    postfix)
        hand_in 'bob@[198.51.100.99]' "$1"
        until_ok "it waits" sh -c 'find /var/spool/postfix/deferred -type f | grep -q .'
        ;;
    sendmail) hand_in 'bob@[198.51.100.99]' "$1" -Am -odq ;;
    exim) hand_in alice "$1" -odq && exim4 -Mf "$(exim4 -bp | awk 'NR==1{print $3}')" >/dev/null && mv /var/mail /var/mail.away ;;
    esac
    ! queue_is_empty || fail "nothing waits"
}
deliverable_again() {
    case $mta in
    postfix) postsuper -d ALL >/dev/null 2>&1 ;;
    sendmail) rm -f /var/spool/mqueue/??* ;;
    exim) mv /var/mail.away /var/mail && exim4 -qff ;;
    esac
    until_ok "its queue is empty" queue_is_empty
}

declare_host() {
    cat >$declaration <<'HOST'
schema = 1
role = "loopback"
hostname = "mta.corp.example"
mail_host = "[198.51.100.99]"
HOST
    # It stays: files of the queue are its.
    id -u mailstack >/dev/null 2>&1 || useradd --system --no-create-home --shell /usr/sbin/nologin mailstack
    [ ! -e /etc/postfix/main.cf ] || cp -p /etc/postfix/main.cf /root/main.cf
    rm -f /var/mail/alice /var/mail/bob
}

is_mailstacks() {
    its_processes >/dev/null && fail "$name runs ($1)"
    starts_with_the_host && fail "$name starts with the host ($1)"
    must "status ($1)" mailstack status
    hand_in bob "$1"
    arrives bob "$1"
    holds "Received: from .* (mailstack)\|by mta.corp.example" /var/mail/bob || fail "it was not mailstack's"
}
is_its_own() {
    until_ok "$name runs ($1)" its_processes
    until_ok "$name listens ($1)" answers
    starts_with_the_host || fail "$name does not start with the host ($1)"
    [ ! -e /var/lib/mailstack/current ] || fail "mailstack is live"
    [ ! -e /var/lib/mailstack/before ] || fail "a record is left"
    picture_is /root/picture "the host is not as it was ($1)"
    hand_in alice "$1"
    arrives alice "$1"
}

refuses() {
    ends 7 mailstack apply $declaration
    told "belongs to another MTA" "listens on" "--take-over" "mailstack deactivate"
    if systemd; then told "$name runs: $unit"; else told "$name runs: " "$name starts with the host: /etc/init.d/$script"; fi
    picture_is /root/picture "a refusal changed something"
    its_processes >/dev/null || fail "a refusal stopped $name"
    say "refused, with what was found and the way out"
}

refuses_mail_that_stays() {
    queue_undeliverable stuck
    ends 7 mailstack apply --take-over --drain 2 $declaration
    told "holds mail of another MTA" "--leave-queue"
    its_processes >/dev/null || fail "$name was stopped"
    [ ! -e /var/lib/mailstack/before ] || fail "something was recorded"
    say "a queue that is not emptied is refused, and nothing is changed"
}

leaves_mail_where_it_is() {
    before=$(find $queue -type f ! -name '*.pid' ! -path '*/pid/*' | wc -l)
    must "a take-over that leaves the queue" mailstack apply --take-over --leave-queue --drain 0 $declaration
    told "mail stays where nobody delivers it"
    [ "$before" -le "$(find $queue -type f ! -path '*/pid/*' | wc -l)" ] || fail "mail is gone"
    must "deactivate" mailstack deactivate
    ! queue_is_empty || fail "mail is gone after the way back"
    say "a queue that is left stays where it is, and is there after the way back"
    deliverable_again
}

# A candidate that was being proven ends with its apply, and the lock is free a moment later: hence --wait.
converges() {
    settle() {
        must "apply again after a kill ($1)" mailstack apply --wait --take-over $declaration
        is_mailstacks "killed-$1"
        must "deactivate" mailstack deactivate
        is_its_own "given-back-$1"
    }
    killed mailstack apply --take-over $declaration
    say "a take-over that is killed after any of $lines steps is made good by the next"
    settle() {
        must "deactivate after a kill ($1)" mailstack deactivate --wait
        is_its_own "back-$1"
    }
    killed mailstack apply --take-over $declaration
    say "a take-over that is killed after any of $lines steps is taken back by deactivate"
    must "apply" mailstack apply --take-over $declaration
    settle() {
        must "deactivate again after a kill ($1)" mailstack deactivate --wait
        is_its_own "deactivated-$1"
        must "apply" mailstack apply --take-over $declaration
    }
    killed mailstack deactivate
    must "deactivate" mailstack deactivate
    is_its_own deactivated
    say "a deactivation that is killed after any of $lines steps is made good by the next"
}

fails_and_is_given_back() {
    sed 's/^role.*/role = "gateway"\nlisten = ["198.51.100.77:25"]/; /^mail_host/d' $declaration >/root/broken.toml
    ends 4 mailstack apply --take-over /root/broken.toml
    is_its_own failed
    say "a take-over whose MTA does not start gives all back"
}

takes_over() {
    queue_deliverable drained
    must "the take-over" mailstack apply --take-over $declaration
    told "is stopped, and does not start any more"
    arrives alice drained
    queue_is_empty || fail "its queue is not empty"
    is_mailstacks taken
    must "a second apply" mailstack apply --take-over $declaration
    told "nothing to do"
    say "taken over; what waited was delivered before"
}

gives_back() {
    hand_in carol@far.example waiting
    until_ok "it waits" sh -c 'mailstack queue list | grep -q carol'
    ends 7 mailstack deactivate
    told "1 messages" "--leave-queue"
    is_mailstacks refused
    must "deactivate" mailstack deactivate --leave-queue
    told "1 messages" "is $name's again"
    is_its_own back
    [ -n "$(find /var/spool/mailstack -type f)" ] || fail "mailstack's queue is gone"
    must "deactivate again" mailstack deactivate
    told "nothing to do"
    must "apply once more" mailstack apply --take-over $declaration
    until_ok "its mail still waits" sh -c 'mailstack queue list | grep -q carol'
    must "the queue is emptied" mailstack queue remove --all
    must "deactivate" mailstack deactivate
    is_its_own at-last
    say "given back, to the byte; mail in mailstack's queue is not left unsaid, nor lost"
}

echo "== $name, $2"
case $2 in
bare | before)
    declare_host
    start_mta
    picture >/root/picture
    hand_in alice first
    arrives alice first
    refuses
    refuses_mail_that_stays
    leaves_mail_where_it_is
    picture_is /root/picture "the test itself changed something"
    fails_and_is_given_back
    takes_over
    gives_back
    [ -e "$(dirname "$0")/no-kills" ] || converges
    [ $2 = before ] || exit 0
    must "apply for the reboot" mailstack apply --take-over $declaration
    is_mailstacks before-the-reboot
    ;;
after)
    until_ok "mailstack comes up" systemctl is-active mailstack.service
    is_mailstacks after-the-reboot
    must "deactivate" mailstack deactivate
    is_its_own after-the-reboot
    say "over a reboot, and back"
    ;;
esac
