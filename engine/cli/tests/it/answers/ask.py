"""Says each dialogue of ask.json to the host and writes down the codes of its answers: answers.json."""
import ctypes, json, os, re, socket, sys, time
from concurrent.futures import ThreadPoolExecutor

work, outside, at_once = sys.argv[1:]
libc = ctypes.CDLL(None, use_errno=True)
inside = os.open("/proc/self/ns/net", os.O_RDONLY)
outside = os.open(outside, os.O_RDONLY)


def enter(namespace):
    if libc.setns(namespace, 0x40000000) != 0:
        sys.exit(os.strerror(ctypes.get_errno()))


def connect(client):
    """A socket stays in the namespace that it was made in; only this thread enters it."""
    enter(inside if client in ("127.0.0.1", "203.0.113.2") else outside)
    server = "127.0.0.1" if client == "127.0.0.1" else "203.0.113.2"
    if client.startswith("192.168."):
        server = "192.168.10.2"
    try:
        return socket.create_connection((server, 25), 60, (client, 0))
    finally:
        enter(inside)


def reply(lines):
    """`CODE` or `CODE D.S.N` of one whole reply."""
    while True:
        line = lines.readline()
        if not line:
            return "closed"
        if line[3:4] != b"-":
            break
    found = re.match(rb"(\d\d\d)(?: ([245]\.\d+\.\d+)(?= |$))?", line.rstrip())
    return b" ".join(part for part in found.groups() if part).decode() if found else repr(line)


def dialogue(client, said):
    stream = connect(client)
    lines = stream.makefile("rb")
    answers = [reply(lines)]
    for line in said:
        if answers[-1] == "closed":
            break
        # `{x*900}` is 900 times x.
        line = re.sub(r"\{(.+?)\*(\d+)\}", lambda found: found[1] * int(found[2]), line, flags=re.S)
        try:
            stream.sendall(line.replace("\n", "\r\n").encode() + b"\r\n")
            answers.append(reply(lines))
        except OSError:
            answers.append("closed")
    stream.close()
    return answers


for _ in range(600):
    try:
        connect("127.0.0.1").close()
        break
    except OSError:
        time.sleep(0.05)
else:
    sys.exit("nobody listens")
with open(f"{work}/ask.json") as file:
    asked = json.load(file)
with ThreadPoolExecutor(int(at_once)) as pool:
    answers = list(pool.map(lambda one: dialogue(one["from"], one["say"]), asked))
with open(f"{work}/answers.json", "w") as file:
    json.dump(answers, file)
