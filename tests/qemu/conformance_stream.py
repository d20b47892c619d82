# SPDX-License-Identifier: GPL-2.0-or-later
"""conformance_stream: a client's random stream, from a seed, and what it is answered with.

Model: a stream is writes, each with a pause before it.  What it says, how it is cut into writes and
how fast it comes are drawn from the seed; nothing in it depends on other clients or changes what
they see.  It ends with 0xFF and a command whose answer has the id END.

Rules: out-of-band answers overtake, so they are compared in their own order."""

import json
import random
import select
import socket
import time

import harness
import qmp
from conformance_play import NEGOTIATE, OOB
from conformance_script import ENVELOPES, GARBAGE_ROWS, STRINGS

END = b'\xff\n{"execute":"no-such-end","id":"END"}\n'
ESCAPED = "'\"\\\n\t\b\x00\x01\x1f"
SPACE = (b"", b"", b"", b" ", b"\n", b"\r\n", b"\r", b"\t", b"  \n ")
# Their answers stay the same while others work.
QUERIES = ("query-version", "query-name", "query-uuid", "query-machines", "query-block",
    "query-kvm",
           "query-pci", "query-migrate-capabilities", "query-command-line-options", "query-target",
           "query-tpm-types", "query-jobs", "query-nothing", "no-such-command", "query-memdev")
CHARS = "ab Z09_-/\\\"'\n\t\b\x00\x01\x1f\x7f\u00e4\u20ac\ufffd\U0001f600%{}[]:,"


def rnd_string(rnd):
    return "".join(rnd.choice(CHARS) for _ in range(rnd.choice((0, 1, 3, 10, 300))))


def rnd_value(rnd, depth=0):
    kind = rnd.randrange(9 if depth < 4 else 7)
    if kind < 3:
        return rnd.choice((0, 1, -1, 255, 1 << 31, (1 << 63) - 1, -(1 << 63), 1 << 63,
            (1 << 64) - 1,
                           rnd.randrange(1 << 64)))
    if kind < 5:
        return rnd_string(rnd)
    if kind < 7:
        return rnd.choice((True, False, None, 0.5, -1.25))
    if kind == 7:
        return [rnd_value(rnd, depth + 1) for _ in range(rnd.randrange(4))]
    return {rnd_string(rnd): rnd_value(rnd, depth + 1) for _ in range(rnd.randrange(3))}


def rnd_text(rnd, value):
    """The value as JSON in one of many ways."""
    if isinstance(value, str) and rnd.random() < 0.3:
        return json.dumps(value, ensure_ascii=False).encode()
    if isinstance(value, str) and rnd.random() < 0.3 and not set(value) & set(ESCAPED):
        return b"'" + value.encode() + b"'"
    space = rnd.choice(SPACE)
    if isinstance(value, list):
        return b"[" + b",".join(space + rnd_text(rnd, item) for item in value) + space + b"]"
    if isinstance(value, dict):
        items = [rnd_text(rnd, key) + space + b":" + rnd_text(rnd, item) for key,
            item in value.items()]
        return b"{" + space + b",".join(items) + b"}"
    return json.dumps(value).encode()


def rnd_id(rnd):
    """An id that QEMU prints as it is written here."""
    while True:
        value = rnd_value(rnd, 2)
        if not isinstance(value, (dict, list)):
            text = json.dumps(value)
            return "".join(part if at % 2 == 0 else "\\u" + part[:4].upper() + part[4:]
                           for at, part in enumerate_escapes(text)).encode()


def enumerate_escapes(text):
    """(0, text) and (1, what is behind \\u), in turn; DEL is escaped by QEMU."""
    text = text.replace("\x7f", "\\u007F")
    out, at = [], 0
    while at < len(text):
        if text[at] == "\\" and text[at + 1] == "u":
            out.append((1, text[at + 2:at + 6]))
            at += 6
        else:
            step = 2 if text[at] == "\\" else 1
            out.append((0, text[at:at + step]))
            at += step
    return out


def rnd_members(rnd, members):
    rnd.shuffle(members)
    space = rnd.choice(SPACE)
    return b"{" + b",".join(space + rnd_text(rnd, key) + space + b":" + space + text
                            for key, text in members) + space + b"}"


def rnd_command(rnd, oob):
    """A command, most of them valid."""
    pick = rnd.random()
    members = []
    if oob and pick < 0.15:
        name = rnd.choice(("yank", "migrate-pause", "query-status", "no-such-command",
            "migrate-recover"))
        members = [("exec-oob", rnd_text(rnd, name)), ("id", b'"oob-%d"' % rnd.randrange(1000))]
        if name == "yank":
            members.append(("arguments", b'{"instances":[]}'))
        return rnd_members(rnd, members)
    if pick < 0.5:
        members = [("execute", rnd_text(rnd, rnd.choice(QUERIES)))]
    elif pick < 0.75:       # QEMU's error shows what it got
        path = rnd_text(rnd, "/" + rnd_string(rnd))
        members = [("execute", b'"qom-get"'),
                   ("arguments", rnd_members(rnd, [("path", path), ("property", b'"p"')]))]
    elif pick < 0.9:
        members = [("execute", rnd_text(rnd, rnd.choice(QUERIES))),
                   ("arguments", rnd_text(rnd, rnd_value(rnd)))]
    else:
        line = rnd.choice(("info version", "info name", "print 1+1", "nothing", "info uuid",
            "xp /64xw 0"))
        members = [("execute", b'"human-monitor-command"'),
                   ("arguments", b'{"command-line":%s}' % rnd_text(rnd, line))]
    if rnd.random() < 0.8:
        members.append(("id", rnd_id(rnd)))
    return rnd_members(rnd, members)


def rnd_item(rnd, oob):
    pick = rnd.random()
    # With oob QEMU queues errors, and asserts when a byte that fills its queue brings two of them.
    if pick < 0.65 or (oob and pick > 0.75):
        return rnd_command(rnd, oob)
    if pick < 0.75:
        data = rnd.choice(ENVELOPES + STRINGS).writes[0]
        return data if b"exec-oob" not in data or not oob else b""
    if pick < 0.85:         # any garbage, and back
        return rnd.choice(GARBAGE_ROWS)[0]
    command = bytearray(rnd_command(rnd, oob))
    at = rnd.randrange(len(command))
    if pick < 0.9:          # cut short
        return bytes(command[:at]) + b"\xff"
    command[at] = rnd.choice((0, 1, 0x20, 0x22, 0x27, 0x2c, 0x3a, 0x5b, 0x5c, 0x7b, 0x7d, 0x7f,
        0x80, 0xc3, 0xff))
    return bytes(command) + rnd.choice((b"\xff", b"\n\xff"))


class Stream:
    """writes: [(pause in seconds, bytes)]."""

    def __init__(self, seed, client):
        rnd = random.Random(f"{seed}/{client}")
        self.oob = rnd.random() < 0.3
        first = rnd.choice((b"", b"", b"foo \xff", b'{"execute":"query-name","id":1}'))
        items = [first + (OOB if self.oob else NEGOTIATE)]
        items += [rnd_item(rnd, self.oob) + rnd.choice(SPACE) for _ in range(rnd.randrange(20, 60))]
        data = b"".join(items) + END
        self.writes, at = [], 0
        sizes = rnd.choice(((1,), (1, 2, 7, 40), (20, 200), (5, 1000, 30000), (100000,)))
        pause = rnd.choice((0, 0, 0.0002, 0.002))
        while at < len(data):
            size = rnd.choice(sizes)
            self.writes.append((pause * rnd.random() if rnd.random() < 0.3 else 0,
                data[at:at + size]))
            at += size

    def data(self):
        return b"".join(write for _, write in self.writes)

    def play(self, address, timeout=30):
        """The lines of the answers: those in band, those out of band."""
        sock = qmp.connect(address, timeout)
        try:
            data = self._exchange(sock, time.monotonic() + timeout * harness.SLOW)
        finally:
            sock.close()
        lines = data.splitlines(keepends=True)
        oob = [line for line in lines if b'"oob-' in line] if self.oob else []
        return [line for line in lines if line not in oob], oob

    def _exchange(self, sock, end):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        sock.setblocking(False)
        todo, got, ready = list(reversed(self.writes)), [b""], 0
        while b'"id": "END"' not in b"".join(got[-2:]):
            now = time.monotonic()
            if now > end:
                raise qmp.Timeout(f"no END; the last that came: {b''.join(got)[-300:]!r}")
            due = todo and now >= ready
            wait = max(0, ready - now) if todo and not due else end - now
            readable, writable, _ = select.select([sock], [sock] if due else [], [], wait)
            if readable:
                got.append(sock.recv(1 << 20))
                if not got[-1]:
                    raise qmp.Closed(b"".join(got)[-300:])
            if writable:
                sent = sock.send(todo[-1][1])
                rest = todo.pop()[1][sent:]
                if rest:
                    todo.append((0, rest))
                ready = now + (todo[-1][0] if todo else 0)
        return b"".join(got)
