#!/bin/sh
# From mailstack through another MTA to mailstack, in namespaces of their own:
#   sh interop.sh MAILSTACK ROOTS PEER tls|clear DIRECTORY
# No name server answers here, so the domain of the senders is said to be one.
# a (127.0.0.1:2501) hands everything to the peer (port 25), which hands it to b (127.0.0.1:2502), where alice reads.
# Two messages go in at a: one of ASCII, one whose sender is beyond it. What came of them lies in DIRECTORY.
set -eu
mailstack=$1 roots=$2 peer=$3 mode=$4 work=$5
ip link set lo up
# Those inside are users of their own.
chmod 0755 "$work"
mkdir -p "$work/a/etc" "$work/b/etc"
cp -a "$roots/$peer" "$work/peer"
# A name that resolves to itself, for whoever asks about those that connect.
printf '127.0.0.1 localhost %s.peer.example\n' "$peer" >"$work/peer/etc/hosts"

tls=
[ "$mode" = clear ] || {
    mkdir -p "$work/b/etc/tls"
    chroot "$work/peer" /certify b.mailstack.example >/dev/null 2>&1
    cp "$work/peer/etc/ssl/peer.pem" "$work/b/etc/tls/cert.pem"
    cp "$work/peer/etc/ssl/peer.key" "$work/b/etc/tls/key.pem"
    chmod 0600 "$work/b/etc/tls/key.pem"
    chown 0:0 "$work/b/etc/tls/key.pem"
    tls='tls.certificate = "/etc/tls/cert.pem"
tls.key = "/etc/tls/key.pem"'
}
cat >"$work/a.toml" <<TOML
schema = 1
role = "gateway"
hostname = "a.mailstack.example"
mail_host = "[127.0.0.1]"
listen = ["127.0.0.1:2501"]
access."From:corp.example" = "OK"
TOML
cat >"$work/b.toml" <<TOML
schema = 1
role = "gateway"
hostname = "b.mailstack.example"
listen = ["127.0.0.1:2502"]
local_domains = ["corp.example"]
access."From:corp.example" = "OK"
$tls
TOML
for host in a b; do
    printf 'root:x:0:0:root:/root:/bin/sh\nmailstack:x:64990:64990::/:/bin/false\nalice:x:64991:64991::/:/bin/sh\n' \
        >"$work/$host/etc/passwd"
    printf 'root:x:0:\nmail:x:8:\nmailstack:x:64990:\nalice:x:64991:\n' >"$work/$host/etc/group"
    printf '127.0.0.1 localhost\n' >"$work/$host/etc/hosts"
    : >"$work/$host/etc/resolv.conf"
    mkdir -p "$work/$host/var/mail" && chgrp 8 "$work/$host/var/mail" && chmod 2775 "$work/$host/var/mail"
    "$mailstack" build "$work/$host.toml" -o "$work/$host.generation" >/dev/null 2>&1
    "$mailstack" run --root "$work/$host" --config "$work/$host.generation/etc/mailstack/mta.toml" \
        2>"$work/$host.log" &
done
configure=
[ "$mode" = clear ] || configure=tls
chroot "$work/peer" /configure 127.0.0.1 2502 $configure >"$work/peer.log" 2>&1
chroot "$work/peer" /serve >>"$work/peer.log" 2>&1 &

python3 - "$work" <<'PYTHON'
import smtplib, socket, sys, time
def wait(port):
    for _ in range(300):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.1)
    sys.exit(f"nobody listens at port {port}")
for port in (2501, 2502, 25):
    wait(port)
body = "From: <%s>\r\nTo: <alice@corp.example>\r\nSubject: %s\r\n\r\n.\r\n..\r\nQUIT\r\n\u00e9 " + "x" * 900 + "\r\n"
for sender, subject in (("bob@corp.example", "plain"), ("j\u00f6rg@corp.example", "beyond")):
    with smtplib.SMTP("127.0.0.1", 2501, "c.mailstack.example", timeout=30) as client:
        client.ehlo()
        options = ["BODY=8BITMIME", "RET=HDRS", "ENVID=env1"]
        if subject == "beyond":
            options.append("SMTPUTF8")
            client.command_encoding = "utf-8"
        client.mail(sender, options)
        client.rcpt("alice@corp.example", ["NOTIFY=FAILURE", "ORCPT=rfc822;alice@corp.example"])
        # Not data(): it would stuff what is counted in octets.
        code, text = client.data((body % (sender, subject)).encode())
        if code != 250:
            sys.exit(f"{subject}: {code} {text}")
PYTHON

# Both are done where each of them is in the mailbox or came back.
has() { grep -aq "$1" "$2" 2>/dev/null; }
for _ in $(seq 600); do
    mail="$work/b/var/mail/alice"
    if has '^Subject: plain' "$mail" && { has '^Subject: beyond' "$mail" || has 'dsn=5.6.7' "$work/a.log"; }; then
        break
    fi
    sleep 0.1
done
cp "$work/b/var/mail/alice" "$work/mailbox" 2>/dev/null || : >"$work/mailbox"
