"""A name server on 127.0.0.1 for the two engines: the few names of answers.toml, and no others."""
import socket, struct

NAMES = {
    ("corp.example", 15): (10, "gw.corp.example"),
    ("gw.corp.example", 1): "203.0.113.2",
    ("good.example", 1): "203.0.113.77",
    ("bad.example", 1): "203.0.113.77",
    ("worse.example", 1): "203.0.113.77",
    ("far.example", 1): "203.0.113.77",
    ("tuba.example", 1): "203.0.113.2",
    ("mail.outside.example", 1): "203.0.113.10",
    ("outside.example", 1): "203.0.113.10",
    # 203.0.113.20 has no name; that of .30 is another's; .40 is on a list.
    ("forged.example", 1): "203.0.113.77",
    ("listed.example", 1): "203.0.113.40",
    ("40.113.0.203.bl.dnsbl.example", 1): "127.0.0.2",
    ("10.113.0.203.in-addr.arpa", 12): "mail.outside.example",
    ("30.113.0.203.in-addr.arpa", 12): "forged.example",
    ("40.113.0.203.in-addr.arpa", 12): "listed.example",
    ("5.10.168.192.in-addr.arpa", 12): "inside.corp.example",
    ("inside.corp.example", 1): "192.168.10.5",
}
EXIST = {name for name, _ in NAMES}


def written(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"


def data(kind, value):
    if kind == 1:
        return socket.inet_aton(value)
    if kind == 15:
        return struct.pack(">H", value[0]) + written(value[1])
    return written(value)


server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.1", 53))
while True:
    query, client = server.recvfrom(4096)
    at, labels = 12, []
    while query[at]:
        labels.append(query[at + 1:at + 1 + query[at]].decode("latin-1").lower())
        at += 1 + query[at]
    name, kind = ".".join(labels), struct.unpack(">H", query[at + 1:at + 3])[0]
    value = NAMES.get((name, kind))
    code = 0 if name in EXIST else 3
    reply = query[:2] + struct.pack(">HHHHH", 0x8580 | code, 1, int(value is not None), 0, 0) + query[12:at + 5]
    if value is not None:
        found = data(kind, value)
        reply += b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 60, len(found)) + found
    server.sendto(reply, client)
