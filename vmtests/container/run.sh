#!/bin/sh
# Tries the container image and the compose file on this machine's Docker engine: sh vmtests/container/run.sh BINARY
#
# BINARY is the static mailstack. A null client, a gateway and a host with mailboxes; nothing is pulled, and everything
# ends with the run. Ends with 77 where there is no Docker engine or no compose, which is said.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
files=$here/../../engine/deploy/container
binary=$(realpath "${1:?the static mailstack}")
export MAILSTACK_IMAGE="mailstack-test-$$"
project=mailstacktest$$
limit=$((15 * 1024 * 1024))

skip() { echo "SKIPPED: the container image: $1" >&2; exit 77; }
say() { echo "ok: $*"; }
fail() { echo "not ok: $*" >&2; compose logs --no-color --tail=40 >&2 || true; exit 1; }
# Until a command succeeds, 60 s at most.
until_ok() {
    what=$1; shift; tries=0
    until "$@" >/dev/null 2>&1; do
        tries=$((tries + 1))
        [ $tries -le 300 ] || fail "within 60 s: $what"
        sleep 0.2
    done
    say "$what"
}

docker info >/dev/null 2>&1 || skip "no Docker engine answers"
if docker compose version >/dev/null 2>&1; then
    compose() { docker compose --project-name "$project" --file "$files/compose.yaml" "$@"; }
elif command -v docker-compose >/dev/null; then
    compose() { docker-compose --project-name "$project" --file "$files/compose.yaml" "$@"; }
else
    skip "no docker compose here"
fi
end() {
    trap - EXIT INT TERM
    compose down --volumes --timeout 5 >/dev/null 2>&1 || true
    docker rm --force "$MAILSTACK_IMAGE-root" >/dev/null 2>&1 || true
    docker rmi --force "$MAILSTACK_IMAGE" >/dev/null 2>&1 || true
}
trap end EXIT
trap 'exit 1' INT TERM

id() { compose ps --quiet "$1"; }
healthy() { [ "$(docker inspect --format '{{.State.Health.Status}}' "$(id "$1")")" = healthy ]; }
in_host() { host=$1; shift; docker exec --interactive "$(id "$host")" /usr/bin/mailstack "$@"; }
# There is no shell and no cat in the image.
mailbox() { docker cp "$(id mailbox):/var/mail/mailstack" - | tar -xO; }
arrived() { mailbox | grep -q "^Subject: $1"; }
waits() { in_host gateway queue list --json | grep -q corp.example; }
send() { printf 'To: root@corp.example\nSubject: %s\n\nbody\n' "$1" | in_host client sendmail -t -i; }
# From this machine, an address that the gateway does not trust: the reply to RCPT. No domain exists here, so the
# sender is the null sender.
rcpt() {
    python3 -c '
import smtplib, sys
smtp = smtplib.SMTP("172.29.25.2", 25, "outsider.example", timeout=60)
smtp.ehlo()
smtp.mail(sys.argv[1])
print(smtp.rcpt(sys.argv[2])[0])
smtp.quit()' "$1" "$2"
}

sh "$files/build.sh" "$binary" "$MAILSTACK_IMAGE" >/dev/null
size=$(docker image inspect --format '{{.Size}}' "$MAILSTACK_IMAGE")
[ "$size" -lt $limit ] || fail "the image has $size octets, more than $limit"
say "the image has $((size / 1024)) KiB"
status=0
said=$(docker run --rm --read-only "$MAILSTACK_IMAGE" 2>&1) || status=$?
[ $status != 0 ] && echo "$said" | grep -q /etc/mailstack/host.toml || fail "without a declaration it ends with $status: $said"

# Root with the capabilities that Docker gives may not see whose sockets are whose: the MTA has given up its rights.
alone="$MAILSTACK_IMAGE-root"
as_root() {
    docker run --user 0:0 --volume "$files/hosts/gateway.toml:/etc/mailstack/host.toml:ro" "$@" "$MAILSTACK_IMAGE" 2>&1
}
as_root --detach --name "$alone" --hostname gateway.corp.example >/dev/null || fail "a container of root's"
until_ok "root's container is live" docker exec "$alone" /usr/bin/mailstack status
docker exec "$alone" /usr/bin/mailstack status | grep -q '^unchecked .*CAP_SYS_PTRACE' ||
    fail "it does not say what it could not check"
docker exec "$alone" /usr/bin/mailstack apply /etc/mailstack/host.toml 2>&1 | grep -q 'nothing to do' ||
    fail "applying again finds something to do"
status=0
said=$(as_root --rm --network "container:$alone") || status=$?
[ $status != 0 ] && echo "$said" | grep -q '0.0.0.0:25' || fail "it takes a port that another one has ($status): $said"
say "root without CAP_SYS_PTRACE applies, says what it could not check, and takes no port that another one has"
docker rm --force "$alone" >/dev/null

compose up --detach >/dev/null 2>&1 || fail "compose up"
for host in client gateway mailbox; do
    until_ok "$host is healthy" healthy $host
    docker inspect --format '{{.Config.User}} {{.HostConfig.ReadonlyRootfs}}' "$(id $host)" | grep -q '^10025:10025 true$' ||
        fail "$host is root, or can write its root"
done

send first
until_ok "mail goes from the client by the gateway to the mailbox" arrived first
mailbox | grep -q '^From: .*mailstack@corp.example' || fail "the sender is not masqueraded: $(mailbox | grep '^From: ')"
[ "$(rcpt "" root@corp.example)" = 250 ] || fail "the gateway refuses mail for its domain"
# 450 where no name server says what the name of this machine is.
case "$(rcpt "" b@other.example)" in
    550 | 450) ;;
    *) fail "the gateway relays for strangers" ;;
esac
say "it takes mail for its domain, and relays for no stranger"

compose stop mailbox >/dev/null 2>&1
send second
until_ok "mail waits while the mailbox is down" waits
# An attempt under way has 20 s to come to its end; one that is killed ends with 137.
compose stop --timeout 40 gateway >/dev/null 2>&1
[ "$(docker inspect --format '{{.State.ExitCode}}' "$(docker ps --all --quiet --filter "name=${project}.gateway")")" = 0 ] ||
    fail "it does not end with 0"
say "SIGTERM ends it, with 0"
compose rm --force gateway >/dev/null 2>&1
compose up --detach >/dev/null 2>&1 || fail "compose up again"
until_ok "a new gateway is healthy" healthy gateway
until_ok "the new mailbox is healthy" healthy mailbox
in_host gateway queue flush >/dev/null
until_ok "what waited in the volume arrives" arrived second
