# Sourced by guest.sh and engine.sh: what a host that has an MTA is asked, from within. $mta names it.

say() { echo "ok: $*"; }
fail() { echo "not ok: $*" >&2; exit 1; }
must() { what=$1; shift; "$@" >/tmp/said 2>&1 || { status=$?; cat /tmp/said >&2; fail "$what (status $status): $*"; }; }
ends() { want=$1; shift; status=0; "$@" >/tmp/said 2>&1 || status=$?; [ $status = "$want" ] || { cat /tmp/said >&2; fail "status $status and not $want: $*"; }; }
told() { for text in "$@"; do grep -q -- "$text" /tmp/said || { cat /tmp/said >&2; fail "it does not say: $text"; }; done; }
holds() { grep -qs -- "$1" "$2"; }
# Until a command succeeds, 60 s at most.
until_ok() {
    what=$1; shift; tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -le 600 ] || fail "within 60 s: $what"
        sleep 0.1
    done
}

case $mta in
sendmail) name=Sendmail script=sendmail unit=sendmail.service process=sendmail-mta queue=/var/spool/mqueue ;;
postfix) name=Postfix script=postfix unit=postfix.service process=master queue=/var/spool/postfix ;;
exim) name=Exim script=exim4 unit=exim4.service process=exim4 queue=/var/spool/exim4/input ;;
esac

systemd() { [ -d /run/systemd/system ]; }
its_processes() { pgrep -x "$process"; }
start_mta() {
    if systemd; then systemctl start $unit; else /etc/init.d/$script start >/dev/null 2>&1 </dev/null; fi
    until_ok "$name runs" its_processes
    until_ok "$name listens" answers
}
answers() { ss -Htln "sport = :25" | grep -q .; }
starts_with_the_host() {
    if systemd; then
        systemctl show --property=UnitFileState --value $unit | grep -qx 'enabled\|generated'
    else
        ls /etc/rc2.d/S01$script >/dev/null 2>&1
    fi
}
# Everything below the administrator's and the packages' directories: kind, owner, mode, size, time, target, content.
picture() {
    find /etc /usr/sbin /usr/bin /usr/lib/sendmail -xdev \( -path /etc/mailstack -o -name mailstack -o -name '.pwd.lock' -o -path /etc/ld.so.cache \) -prune -o \
        -type f -printf '%p %U:%G %m %s %T@\n' | sort
    find /etc /usr/sbin /usr/bin /usr/lib -xdev -type l -printf '%p %U:%G %l\n' | grep -v mailstack | sort
    find /etc -xdev -type d ! -empty -printf '%p %U:%G %m\n' | sort
    find /etc /usr/sbin /usr/bin -xdev -type f ! -name mailstack -exec sha256sum {} + | sort
}
picture_is() { picture >/tmp/now; cmp -s "$1" /tmp/now || { diff "$1" /tmp/now >&2 || true; fail "$2"; }; }

# hand_in TO SUBJECT [FLAG...]
hand_in() {
    to=$1; subject=$2; shift 2
    printf 'To: %s\nSubject: %s\n\nbody\n' "$to" "$subject" | sendmail "$@" -i -f root "$to" >/dev/null 2>&1
}
arrives() { until_ok "$2 arrives" holds "Subject: $2" "/var/mail/$1"; }
queue_is_empty() { ! find $queue /var/spool/mqueue-client -type f \( -name 'qf*' -o -name '*-H' -o -path '*/deferred/*' -o -path '*/incoming/*' -o -path '*/active/*' -o -path '*/maildrop/*' \) 2>/dev/null | grep -q .; }

# killed WORDS...: a command killed after each of its lines. Then `settle N`.
killed() {
    lines=0
    while :; do
        kill_after $lines "$@" && break
        settle $lines
        lines=$((lines + 1))
    done
    settle $lines
    [ $lines -ge 4 ] || fail "only $lines steps were seen: $*"
}
# Whether it had ended before so many lines.
kill_after() {
    count=$1; shift
    rm -f /tmp/lines && mkfifo /tmp/lines
    "$@" >/dev/null 2>/tmp/lines &
    child=$!
    exec 8</tmp/lines
    seen=0
    while [ $seen -lt "$count" ] && read -r line <&8; do seen=$((seen + 1)); done
    kill -9 $child 2>/dev/null || true
    status=0; wait $child 2>/dev/null || status=$?
    exec 8<&-
    [ $seen -lt "$count" ] || [ $status = 0 ]
}
