#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A bad neighbour: a client of the proxy that takes more than its share, until its standard input
ends.  Prints "ready" when it has begun, and at the end what it saw, as JSON.

    neighbour.py ADDRESS deaf|flood|token|large|dying|crowd[N]
"""

import json
import select
import socket
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "lib"))

# pylint: disable=wrong-import-position
import qmp

NEGOTIATE = b'{"execute":"qmp_capabilities"}\n'
STATUS = b'{"execute":"query-status"}\n'
over = threading.Event()


def ready():
    print("ready", flush=True)


def connect(address):
    sock = qmp.connect(address)
    sock.settimeout(0.2)
    return sock


def send(sock, data):
    """As much as goes; False when the neighbour is to stop or was thrown out."""
    view = memoryview(data)
    while view and not over.is_set():
        try:
            view = view[sock.send(view):]
        except (TimeoutError, socket.timeout):
            continue
        except OSError:
            return False
    return not over.is_set()


def deaf(address):
    """Asks for much and reads nothing; when thrown out, comes again."""
    first, times = True, 0
    while not over.is_set():
        with connect(address) as sock:
            going = send(sock, NEGOTIATE + b'{"execute":"query-qmp-schema"}' * 100)
            if first:
                ready()
                first = False
            while going:
                going = send(sock, b'{"execute":"query-qmp-schema"}' * 100)
            times += 1
            over.wait(0.01)
    return {"thrown out": times}


def flood(address):
    """As many small commands as the proxy takes."""
    answers = 0
    with connect(address) as sock:
        sock.settimeout(None)
        sock.sendall(NEGOTIATE)
        sock.recv(1 << 16)
        ready()
        sock.setblocking(False)
        out = b""
        while not over.is_set():
            readable, writable, _ = select.select([sock], [sock], [], 0.2)
            if readable:
                answers += sock.recv(1 << 16).count(b"\n")
            if writable:
                out = out or STATUS * 100
                out = out[sock.send(out):]
    return {"answers": answers}


def token(address):
    """A string without an end, again and again."""
    sent = 0
    with connect(address) as sock:
        send(sock, NEGOTIATE + b'{"execute":"query-status","arguments":{"x":"')
        ready()
        while send(sock, b"x" * (1 << 16)):
            sent += 1 << 16
    return {"sent": sent}


def large(address):
    """Commands of a megabyte, which QEMU reads byte by byte, one behind the other."""
    answers = 0
    with connect(address) as sock:
        send(sock, NEGOTIATE)
        command = b'{"execute":"query-status","arguments":{"x":"%s"}}' % (b"x" * (1 << 20))
        going = send(sock, command)
        ready()
        while going:
            try:
                answers += sock.recv(1 << 16).count(b"\n")
            except (TimeoutError, socket.timeout):
                going = not over.is_set()
                continue
            going = send(sock, command)
    return {"answers": answers}


def dying(address):
    """Comes, says half a message, goes."""
    first, times = True, 0
    while not over.is_set():
        for half in (b"", b"{", NEGOTIATE[:-5], NEGOTIATE + STATUS * 5 + b'{"execute":"que',
                     NEGOTIATE + b'{"execute":"human-monitor-command","arguments":{"comm',
                     NEGOTIATE + b'{"execute":"query-qmp-schema"}' * 20):
            with connect(address) as sock:
                send(sock, half)
            times += 1
        if first:
            ready()
            first = False
        over.wait(0.005)
    return {"died": times}


def crowd(address, count):
    """Comes so many times at once, and stays."""
    socks = [qmp.connect(address) for _ in range(count)]
    greeted = 0
    for sock in socks:
        sock.settimeout(10)
        greeted += b'"QMP"' in sock.recv(4096)
    ready()
    over.wait()
    for sock in socks:
        sock.close()
    return {"greeted": greeted}


def main():
    address, kind = sys.argv[1:]
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    if kind.startswith("crowd"):
        result = crowd(address, int(kind[5:] or 1000))
    else:
        result = {"deaf": deaf, "flood": flood, "token": token, "large": large, "dying": dying}[kind](address)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
