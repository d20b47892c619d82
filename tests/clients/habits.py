# SPDX-License-Identifier: GPL-2.0-or-later
"""habits: what other projects' clients do on the wire, byte for byte: habits.py FOLDER HOST:PORT

The VM's monitor is FOLDER/qmp.sock and HOST:PORT.  Each habit is a function that plays one client
and prints what came back, as it came; scripts/clients compares that with the same without the
proxy.  A habit is its way to frame, to number, to wait and to hand over descriptors, not its code.
"""

import array
import json
import os
import select
import socket
import sys
import time

LIMIT = 20
CAPABILITIES = b'{"execute":"qmp_capabilities"}'


class Wire:
    """A connection that reads as a habit wants it to."""

    def __init__(self, address):
        if isinstance(address, tuple):
            self.sock = socket.create_connection(address, LIMIT)
        else:
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.settimeout(LIMIT)
            self._connect(address)
        self.rest = b""

    def _connect(self, path):
        """QEMU's backlog is one: whoever comes too early is told EAGAIN."""
        end = time.monotonic() + LIMIT
        while True:
            try:
                return self.sock.connect(path)
            except BlockingIOError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sock.close()

    def send(self, data, fds=()):
        if fds:
            sent = self.sock.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS,
                                               array.array("i", fds))])
            data = data[sent:]
        self.sock.sendall(data)

    def line(self, end=b"\n"):
        while end not in self.rest:
            data = self.sock.recv(4096)
            if not data:
                raise EOFError(self.rest)
            self.rest += data
        found, self.rest = self.rest.split(end, 1)
        return found + end

    def reply(self, end=b"\n"):
        """The next line that is no event."""
        while True:
            found = self.line(end)
            if b'"event":' not in found:
                return found
            show(found)

    def ask(self, data, fds=(), end=b"\n"):
        self.send(data, fds)
        found = self.reply(end)
        show(data, "->", found)
        return found


def show(*words):
    print(*words, flush=True)


def command(name, **arguments):
    """A command as Go's and Perl's encoders write it: no spaces, no newline."""
    message = {"execute": name}
    if arguments:
        message["arguments"] = {key.replace("_", "-"): value for key, value in arguments.items()}
    return json.dumps(message, separators=(",", ":")).encode()


def go_qemu(folder, _tcp):
    """No ids, no newline behind a command, lines of 64 KiB at most, descriptors only with oob."""
    with Wire(f"{folder}/qmp.sock") as wire:
        greeting = wire.line()
        show(greeting)
        wire.ask(CAPABILITIES)
        for name in ("query-status", "query-name", "query-block", "query-cpus-fast"):
            assert len(wire.ask(command(name))) < 65536
        wire.ask(command("cont"))
        wire.ask(command("system_reset"))
        wire.ask(command("stop"))
        if b'"oob"' in greeting:
            reader, writer = os.pipe()
            wire.ask(command("getfd", fdname="go"), [reader])
            wire.ask(command("closefd", fdname="go"))
            wire.ask(command("closefd", fdname="go"))
            os.close(reader)
            os.close(writer)


def ganeti(folder, _tcp):
    """Lines end with CR LF both ways; one at a time, 5 s; looks into query-commands first."""
    with Wire(f"{folder}/qmp.sock") as wire:
        wire.sock.settimeout(5)
        show(wire.line(b"\r\n"))
        wire.ask(b'{"execute": "qmp_capabilities"}\r\n', end=b"\r\n")
        wire.send(b'{"execute": "query-commands"}\r\n')
        known = {entry["name"] for entry in json.loads(wire.reply(b"\r\n"))["return"]}
        for name in ("netdev_add", "device_add", "blockdev-add", "query-pci", "query-status"):
            assert name in known, name
        wire.ask(b'{"execute": "query-pci"}\r\n', end=b"\r\n")
        reader, writer = os.pipe()
        wire.ask(b'{"execute": "getfd", "arguments": {"fdname": "tap-0"}}\r\n', [reader], b"\r\n")
        os.close(reader)
        os.close(writer)
        wire.ask(b'{"execute": "device_del", "arguments": {"id": "none"}}\r\n', end=b"\r\n")


def proxmox(folder, _tcp):
    """A connection per command, "pid:seq" as id, no newline, EAGAIN tried again after 100 ms."""
    for number, name in enumerate(("query-status", "query-blockstats", "query-balloon", "no-such",
                                   "query-migrate", "query-version", "query-backup") * 6):
        with Wire(f"{folder}/qmp.sock") as wire:
            wire.line()
            ident = f"4711:{number}"
            wire.ask(json.dumps({"execute": "qmp_capabilities", "id": ident + "0",
                                 "arguments": {}}).encode())
            wire.ask(json.dumps({"execute": name, "id": ident, "arguments": {}}).encode())


def incus(folder, _tcp):
    """Numbers as ids, 500 ms for a query, a descriptor for each image and for the migration."""
    with Wire(f"{folder}/qmp.sock") as wire:
        wire.line()
        wire.ask(CAPABILITIES)
        wire.sock.settimeout(0.5)
        for number, name in enumerate(("query-status", "query-cpus-fast", "query-pci",
                                       "query-block", "query-hotpluggable-cpus")):
            wire.ask(json.dumps({"execute": name, "id": number}).encode() + b"\n")
        wire.sock.settimeout(LIMIT)
        image = os.open(f"{folder}/image", os.O_RDWR | os.O_CREAT, 0o600)
        os.truncate(image, 1 << 20)
        wire.ask(b'{"execute":"add-fd","arguments":{"fdset-id":5,"opaque":"image"},"id":10}\n',
                 [image])
        os.close(image)
        wire.ask(b'{"execute":"blockdev-add","arguments":{"driver":"file","node-name":"n",'
                 b'"filename":"/dev/fdset/5"},"id":11}\n')
        wire.ask(b'{"execute":"blockdev-del","arguments":{"node-name":"n"},"id":12}\n')
        wire.ask(b'{"execute":"remove-fd","arguments":{"fdset-id":5},"id":13}\n')


def os_autoinst(folder, _tcp):
    """A descriptor by getfd, the memory into it, and query-migrate until it is done."""
    with Wire(f"{folder}/qmp.sock") as wire, open(f"{folder}/memory", "wb") as memory:
        wire.line()
        wire.ask(b'{"execute":"qmp_capabilities"}\n')
        wire.ask(b'{"execute":"migrate-set-capabilities","arguments":{"capabilities":'
                 b'[{"capability":"events","state":false}]}}\n')
        wire.ask(b'{"arguments":{"fdname":"dumpfd"},"execute":"getfd"}\n', [memory.fileno()])
        wire.ask(b'{"arguments":{"uri":"fd:dumpfd"},"execute":"migrate"}\n')
        end = time.monotonic() + LIMIT
        while True:
            wire.send(b'{"execute":"query-migrate"}\n')
            status = json.loads(wire.reply())["return"]["status"]
            if status in ("completed", "failed") or time.monotonic() > end:
                break
            time.sleep(0.05)
        show("migrate", status, os.path.getsize(f"{folder}/memory") > 10000)
        # One line for the monitor of people; text with CR LF in it.
        wire.ask(b'{"execute":"human-monitor-command","arguments":{"command-line":"info name"}}\n')


def virtme_ng(_folder, tcp):
    """TCP, "\\r" ends a command, and what one recv of 1024 bytes brings is the reply."""
    with Wire(tcp) as wire:
        show(wire.sock.recv(1024))
        for text in (b'{ "execute": "qmp_capabilities" }\r', b'{ "execute": "query-status" }\r',
                     b'{ "execute": "query-name" }\r'):
            wire.send(text)
            show(text, "->", wire.sock.recv(1024))


def libvirt(folder, _tcp):
    """CR LF behind each command, the next only after the reply."""
    with Wire(f"{folder}/qmp.sock") as wire:
        wire.line(b"\r\n")
        for number, name in enumerate(("qmp_capabilities", "query-version", "query-target",
                                       "query-iothreads", "query-cpus-fast",
                                       "query-named-block-nodes", "query-replay")):
            wire.ask(f'{{"execute":"{name}","id":"libvirt-{number}"}}\r\n'.encode(), end=b"\r\n")


def govmm(folder, _tcp):
    """Everything is a stream of JSON values: no line is looked for, spaces do not matter."""
    decoder = json.JSONDecoder()
    with Wire(f"{folder}/qmp.sock") as wire:
        text, values = "", []
        wire.send(b'  {"execute": "qmp_capabilities"}\t\n\n {"execute":\n"query-status"\n}\n\n')
        while len(values) < 3:
            text += wire.sock.recv(7).decode()
            try:
                value, used = decoder.raw_decode(text.lstrip())
            except ValueError:
                continue
            text = text.lstrip()[used:]
            values.append(value)
        show(values)


def slow(folder, _tcp):
    """A byte at a time, and a reader that takes its time: a person, or a serial line."""
    with Wire(f"{folder}/qmp.sock") as wire:
        wire.line()
        for text in (CAPABILITIES, command("query-qmp-schema"), command("query-status")):
            for position in range(len(text)):
                wire.send(text[position:position + 1])
        show(wire.reply())
        size = 0
        while select.select([wire.sock], [], [], 0.5)[0]:
            size += len(wire.sock.recv(8192))
            time.sleep(0.001)
        show(size > 100000)


def impatient(folder, _tcp):
    """Connects and goes, at once or in the middle of a word.  The next one notices nothing.

    (After a whole command QEMU itself may give the next one the answer.)"""
    for part in (b"", b'{"execute":"qmp_'):
        with Wire(f"{folder}/qmp.sock") as wire:
            wire.send(part)
    libvirt(folder, None)


def main():
    folder, (host, port) = sys.argv[1], sys.argv[2].rsplit(":", 1)
    for habit in (go_qemu, ganeti, proxmox, incus, virtme_ng, libvirt, govmm, slow, impatient,
                  os_autoinst):
        show(f"== {habit.__name__}")
        habit(folder, (host, int(port)))


if __name__ == "__main__":
    main()
