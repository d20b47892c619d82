# SPDX-License-Identifier: GPL-2.0-or-later
"""conformance_play: plays a script to a QEMU of its own and to one behind the proxy, and compares.

Model: a Pair is two guests with the same arguments, each in a folder of its own so that relative
names mean the same to both.  A Scene is one connection, a Step some writes and the lines that they
are answered with.  Every step is closed by a command whose answer (END) says that all came; so an
answer too many counts for the step that caused it.  Only then the lines are compared.

Rules: time stamps are the one thing that is normalised.  A step says with n how many lines, or with
until what line, must come before another byte is sent.
"""

import array
import contextlib
import re
import select
import socket
import subprocess
import time
from pathlib import Path

import harness
import qmp
import vm

NEGOTIATE = b'{"execute":"qmp_capabilities"}\n'
OOB = b'{"execute":"qmp_capabilities","arguments":{"enable":["oob"]}}\n'
STAMP = re.compile(rb'("timestamp": \{\s*"seconds": )\d+(,\s*"microseconds": )\d+')
MONITORS = ("a", "b", "pretty")
ARGS = [
    "-accel", "tcg", "-machine", "pc", "-m", "16", "-nodefaults", "-display", "none", "-S",
    "-name", "same,debug-threads=on", "-uuid", "6ec4b1a4-3a87-4a5d-9e5e-0102030405ff",
    "-bios", "bios.bin", "-rtc", "base=2020-01-01,clock=vm",
    "-device", "qemu-xhci,id=xhci", "-blockdev", "null-co,node-name=null0,size=1048576",
    "-device", "virtio-blk-pci,id=disk0,drive=null0",
    "-qmp", "unix:a,server=on,wait=off", "-qmp", "unix:b,server=on,wait=off",
    "-chardev", "socket,id=pretty,path=pretty,server=on,wait=off",
    "-mon", "chardev=pretty,mode=control,pretty=on"]


class Fd:
    """A write whose first byte carries these files (in the guest's folder), opened for it."""

    def __init__(self, data, *names):
        self.data, self.names = data, names


class Repeat:
    """A command that is sent again until its answer has the word; only the last answer counts."""

    def __init__(self, data, word):
        self.data, self.word = data, word


class Step:
    """writes: bytes, Fd, Repeat, None (end of our side), or the number of lines that must have come before
    the next.  n: lines that come before anything else is sent; until: what the last of them has."""

    def __init__(self, *writes, n=1, until=None):
        self.writes, self.n, self.until = writes, n, until

    def __str__(self):
        data = [getattr(write, "data", write) for write in self.writes]
        if len(data) > 12:
            data = [f"{len(data)} writes", b"".join(data)]
        return " | ".join(f"{part[:300]!r}" if isinstance(part, bytes) else str(part)
                          for part in data)


class Scene:
    """One connection.  first: the negotiation, or b"" for none."""

    def __init__(self, name, steps, first=NEGOTIATE, monitor="a"):
        self.name, self.steps, self.first, self.monitor = name, steps, first, monitor


class Wire:
    """A connection that gives lines (messages on a pretty monitor) with their line ends."""

    def __init__(self, guest, monitor="a"):
        self.guest, self.pretty, self.timeout = guest, monitor == "pretty", 20
        self.sock = qmp.connect(guest.folder / monitor, self.timeout)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        self.buffer, self.ended = b"", False
        self.count = 0

    def close(self):
        self.sock.close()

    def write(self, item):
        """What a peer that has gone does not take is dropped: the lines tell."""
        with contextlib.ExitStack() as files, contextlib.suppress(BrokenPipeError,
                                                                  ConnectionResetError):
            if item is None:
                self.sock.shutdown(socket.SHUT_WR)
            elif isinstance(item, Fd):
                fds = [files.enter_context(open(self.guest.folder / name, "r+b")).fileno()
                       for name in item.names]
                rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))
                sent = self.sock.sendmsg([item.data], [rights])
                self.sock.sendall(item.data[sent:])
            else:
                self.sock.sendall(item)

    def _take(self):
        """A whole line from the buffer, or None."""
        end = b"\n}\r\n" if self.pretty else b"\n"
        at = self.buffer.find(end)
        if at < 0:
            return None
        line, self.buffer = self.buffer[:at + len(end)], self.buffer[at + len(end):]
        return STAMP.sub(rb"\g<1>0\g<2>0", line)

    def line(self, timeout=None):
        """The next line; None after the end.  Raises qmp.Timeout."""
        end = time.monotonic() + (self.timeout if timeout is None else timeout) * harness.SLOW
        while not self.ended:
            line = self._take()
            if line is not None:
                return line
            if not select.select([self.sock], [], [], max(0, end - time.monotonic()))[0]:
                raise qmp.Timeout(f"no line in time; so far {self.buffer[:200]!r}")
            try:
                data = self.sock.recv(1 << 20)
            except ConnectionResetError:        # QEMU ended with input unread
                data = b""
            self.buffer += data
            self.ended = not data
        return self._take() or (self.buffer or None)

    def lines_until(self, n=0, until=None):
        """n lines, or all up to one that holds until; fewer at the end of the connection."""
        lines = []
        while until is not None or len(lines) < n:
            line = self.line()
            if line is None:
                self.buffer = b""
                return lines + [b"(end of file)"]
            lines.append(line)
            if until is not None and until in line:
                break
        return lines

    def step(self, step):
        """The lines that the step is answered with."""
        lines = []
        for write in step.writes:
            if isinstance(write, Repeat):
                lines += self.repeat(write)
            elif isinstance(write, int):
                lines += self.lines_until(write - len(lines))
            else:
                self.write(write)
        if None in step.writes:
            return lines + self.lines_until(1 << 30)
        lines += self.lines_until(step.n - len(lines), step.until)
        return lines + self.sync()

    def repeat(self, item):
        def answer():
            self.write(item.data)
            lines = self.lines_until(1)
            return lines if item.word in lines[0] else None
        return harness.poll(answer, self.timeout, f"{item.data!r} to be answered with {item.word!r}")

    def sync(self, before=b""):
        """All lines that are still due."""
        self.count += 1
        self.write(before + b'{"execute":"no-such-end","id":"END-%d"}\n' % self.count)
        return self.lines_until(until=b'"END-%d"' % self.count)[:-1]


class Pair:
    """The same guest under QEMU alone and under the proxy."""

    def __init__(self, t, options=()):
        self.guests = []
        for cls, name, extra in ((Direct, "direct", {}), (Proxied, "proxied", {"listen": None,
                                                                              "options": options})):
            folder = t.path(name)
            folder.mkdir()
            # cli; hlt; and again: a guest that runs and changes nothing.
            (folder / "bios.bin").write_bytes(bytes(0xfff0) + b"\xfa\xf4\xeb\xfd" + bytes(12))
            for file in ("one", "two", "three"):
                (folder / file).write_bytes(file.encode() * 100)
            guest = cls(t, base=ARGS, name=name, **extra)
            guest.folder, guest.address = folder, f"unix:{folder}/a"
            self.guests.append(guest)
        self.direct, self.proxied = self.guests
        self.exchanges, self.wrong = 0, []

    def images(self, *commands):
        """qemu-img, in both folders, before the start."""
        for guest in self.guests:
            for command in commands:
                subprocess.run([vm.oracle.QEMU_IMG, *command.split()], cwd=guest.folder, check=True,
                               stdout=subprocess.DEVNULL)
        return self

    def start(self):
        for guest in self.guests:
            guest.start(connect=False, env=self._environment())
        for guest in self.guests:
            harness.poll(lambda guest=guest: self._answers(guest), 20, f"{guest.name} to answer")
        return self

    def _environment(self):
        """A QEMU that was unpacked beside the installed one would load that one's modules, and
        end, when asked for all types: it finds its own first, and empty files for all others."""
        own = next(Path(vm.QEMU).parent.glob("../root/usr/lib/*/qemu"), None)
        folder = self.direct.folder / "modules"
        if own is not None and not folder.exists():
            folder.mkdir()
            for module in Path("/").glob("usr/lib/*/qemu/*.so"):
                (folder / module.name).touch()
            for module in own.iterdir():
                (folder / module.name).unlink(missing_ok=True)
                (folder / module.name).symlink_to(module.resolve())
        return {"QEMU_MODULE_DIR": str(folder)} if own is not None else None

    @staticmethod
    def _answers(guest):
        try:
            wire = Wire(guest, "b")
        except OSError:
            assert guest.process.poll() is None, f"{guest.name} ended at its start"
            return False
        try:
            return wire.line()
        finally:
            wire.close()

    def open(self, scene):
        """Two connections, greeting read and compared, the scene's negotiation sent."""
        wires = [Wire(guest, scene.monitor) for guest in self.guests]
        first = Step(scene.first, n=2 if scene.first else 1)
        self.compare(scene.name, first, [wire.step(first) if scene.first else [wire.line()]
                                         for wire in wires])
        return wires

    def compare(self, name, step, answers):
        """Compares two lists of lines; a difference is kept for check()."""
        direct, proxied = answers
        self.exchanges += sum(b'"event"' not in line for line in direct)
        if direct == proxied:
            return
        text = [f"--- {name}: {step}"]
        for number in range(max(len(direct), len(proxied))):
            lines = [lines[number] if number < len(lines) else b"(nothing)" for lines in answers]
            if lines[0] != lines[1]:
                at = next((at for at, two in enumerate(zip(*lines)) if two[0] != two[1]),
                          min(map(len, lines)))
                at = max(0, at - 150)
                text += [f"  line {number}, from byte {at}"] + [
                    f"  {who}: {line[at:at + 400]!r}" for who,
                    line in zip(("QEMU ", "proxy"), lines)]
                break
        self.wrong.append("\n".join(text))

    def play(self, scene):
        wires = self.open(scene)
        try:
            for step in scene.steps:
                answers = []
                for wire in wires:
                    try:
                        answers.append(wire.step(step))
                    except qmp.Timeout as error:
                        if wire.guest is self.direct:
                            raise AssertionError(f"script: {scene.name}: {step}: {error}") from None
                        answers.append([f"(timeout: {error})".encode(), *self._resync(wire)])
                self.compare(scene.name, step, answers)
        finally:
            for wire in wires:
                wire.close()

    @staticmethod
    def _resync(wire):
        """Back to a state in which the next step means what it says."""
        wire.timeout = 5        # the first was given its time
        try:
            return wire.sync(b"\xff")
        except qmp.Timeout as error:
            return [f"(nothing more: {error})".encode()]

    def check(self, what="script"):
        count = f"{self.exchanges} answers compared"
        assert not self.wrong, f"{what}: {len(self.wrong)} differ\n" + "\n".join(self.wrong)
        return count


class Direct(vm.Qemu):
    """QEMU, in its folder."""

    def command_line(self):
        return ["env", "-C", str(self.folder), vm.QEMU, *self.qemu_args]


class Proxied(vm.Proxy):
    """The proxy, in its folder."""

    def command_line(self):
        return ["env", "-C", str(self.folder), *super().command_line()]
