# SPDX-License-Identifier: GPL-2.0-or-later
"""hostile: what the tests share that try to break an operation.

Model: Still is everything that a refused command must leave alone, looked at before and after.
Steps holds the proxy at an exact step: its log goes into a pipe with room for one line, so that it
writes a line only when the one before was read.  wrapper() stands before the QEMU binary.

Rule: where a test waits for a moment, it is one that the proxy itself reports, not a time.
"""

import fcntl
import json
import os
import shutil
import subprocess
import threading
import time
from pathlib import Path

import scene
from scene import harness, oracle, vm

EVENTS = ("STOP", "RESUME", "RESET", "SHUTDOWN")


class Still:
    """How a VM was before something that must change nothing."""

    def __init__(self, p, events=EVENTS, without=()):
        self.p, self.events, self.without = p, events, without
        self.before = self.look()
        p.qmp.drain()
        p.qmp.events.clear()
        self.mark = scene.Mark(p)

    def look(self):
        p = self.p
        nodes = p.command("query-named-block-nodes", flat=True)
        return {"status": scene.status(p),
                "disks": scene.layout(p),
                "nodes": sorted(n["node-name"] for n in nodes if n["node-name"][0] != "#"),
                "files": scene.contents(p),
                "snapshots": p.command("query-snapshots"),
                "jobs": [(job["id"], job["type"]) for job in p.command("query-jobs")],
                "fds": p.fd_count(),
                "processes": p.all_pids()}

    def check(self):
        after = self.look()
        for key, value in self.before.items():
            if key not in self.without:
                harness.equal(after[key], value, f"{key} afterwards")
        harness.equal(scene.event_names(self.p, self.events), [], "events")
        if after["status"] == "running":
            self.mark.went_on()
        journal = self.p.state / "journal.json"
        assert not journal.exists(), "an open journal"


def refused(p, reason, command, args, *words, timeout=10):
    """The command is refused for that reason, in a sentence with those words, and nothing is
    changed.  The QmpError."""
    still = Still(p)
    error = p.qmp.refused(command, args, timeout=timeout)
    harness.equal((error.cls, error.reason), ("GenericError", reason),
                  f"{command} {args}: {error.desc}")
    for word in words:
        assert str(word) in error.desc, f"{word!r} is not in: {error.desc}"
    still.check()
    return error


def wrapper(t, script, name="wrapped"):
    """A folder whose qemu-system-x86_64 and qemu-img are the real ones behind these lines of shell;
    the path of the first.  script: {program: lines}; the lines may change "$@" or exit."""
    folder = t.path(name)
    folder.mkdir()
    for program, real in (("qemu-system-x86_64", vm.QEMU), ("qemu-img", oracle.QEMU_IMG)):
        path = folder / program
        path.write_text(f"#!/bin/sh\n{script.get(program, '')}\nexec {shutil.which(real)} \"$@\"\n")
        path.chmod(0o755)
    return str(folder / "qemu-system-x86_64")


class Wrapped(vm.Proxy):
    """A Proxy with a wrapper() for its QEMU."""

    def __init__(self, test, disks, script, **guest):
        super().__init__(test, disks, **guest)
        self.binary = wrapper(test, script, f"{self.name}.bin")

    def command_line(self):
        line = super().command_line()
        line[line.index("--") + 1] = self.binary
        return line


def mount_tmpfs(t, name, size):
    """A small file system of its own, gone at the end; raises Skip where that is not allowed."""
    folder = t.path(name)
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder],
                          capture_output=True, text=True, check=False)
    harness.requires(done.returncode == 0, f"cannot mount: {done.stderr.strip()}")
    t.cleanup(lambda: subprocess.run(["umount", "-l", folder], check=True))
    return folder


def free_bytes(folder):
    room = os.statvfs(folder)
    return room.f_bavail * room.f_frsize


def fill(folder, leave=0):
    """Takes the room of a file system, but for some bytes; the file to unlink."""
    path = Path(folder) / "filler"
    with open(path, "wb") as file:
        os.posix_fallocate(file.fileno(), 0, max(free_bytes(folder) - leave, 1))
    return path


class Steps:
    """The proxy's log (--log-level debug), line by line.  Give start(stderr=steps.fd)."""

    def __init__(self, p):
        self.p, self.lines = p, []
        self.times = []         # when each of them came
        self._read, self.fd = os.pipe2(os.O_DIRECT | os.O_CLOEXEC)
        fcntl.fcntl(self.fd, fcntl.F_SETPIPE_SZ, 4096)
        self._match, self._held, self._go = None, threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self, **options):
        self.p.start(stderr=self.fd, connect=False, **options)
        os.close(self.fd)
        self._thread.start()
        self.p.test.cleanup(self.go)
        self.p.qmp = harness.poll(self.p._try_client, 10, "the monitor to answer")
        return self.p

    def _run(self):
        with open(self.p.log, "ab", buffering=0) as log:
            while data := os.read(self._read, 4096):
                log.write(data)
                self.lines += data.decode(errors="replace").splitlines()
                self.times += [time.time()] * (len(self.lines) - len(self.times))
                if self._match and self._match(self.lines[-1]):
                    self._match = None
                    go = self._go
                    self._held.set()
                    go.wait()
        os.close(self._read)

    def hold(self, step, nth=1):
        """From now on: stands still when that step is done (the nth of that name), or has failed,
        and before the next begins.  step: a name, or a number counted from now."""
        self._go = threading.Event()
        self._held.clear()
        seen = [0]

        def match(line):
            if not line.startswith("qmp-proxy: debug: step ") or line.endswith(": done"):
                return False
            name = line.rsplit(" ", 1)[1]
            seen[0] += isinstance(step, int) or name == step
            return seen[0] == (step if isinstance(step, int) else nth)
        self._match = match

    def hold_next(self, step):
        """Goes on from where it stands, to the next stop."""
        before = self._go
        self.hold(step)
        before.set()

    def held(self, timeout=15):
        """Waits until it stands there; the step's line."""
        assert self._held.wait(timeout * harness.SLOW), f"not reached: {self.lines[-5:]}"
        line = self.lines[-1]
        harness.poll(self.stands, timeout, "the proxy to stand still")
        return line.rsplit(" ", 1)[1]

    def reached(self, timeout):
        """Whether it came that far within the time."""
        return self._held.wait(timeout)

    def stands(self):
        """Whether the proxy waits to write a line."""
        with open(f"/proc/{self.p.process.pid}/syscall", encoding="ascii") as file:
            return file.read().split()[1:2] == ["0x2"]  # in write(2, ...)

    def go(self):
        self._match = None
        self._go.set()


def stepped(t, formats=("qcow2",), ticks=4, prefix="disk", folder=None, name="vm",
            level="debug", **guest):
    """A running guest, and the Steps of its proxy.  QEMU's own messages go elsewhere: a QEMU that
    waits for room in the pipe would hold up the proxy."""
    messages = t.path("messages") / name
    messages.parent.mkdir(exist_ok=True)
    away = {"qemu-system-x86_64": f"exec 2>>'{messages}'"}
    p = Wrapped(t, oracle.make_disks(folder or t.dir, formats, prefix), away, name=name,
                options=["--log-level", level], **guest)
    t.log(messages)
    steps = Steps(p)
    steps.start()
    p.serial.wait_tick(ticks)
    return p, steps


def no_record_can_be_written(p):
    """state.json cannot be replaced until the folder returned is removed; the journal can."""
    path = p.state / ".state.json.tmp"
    path.mkdir()
    return path


def edit_state(p, change):
    """Changes the record of a proxy that does not run."""
    path = p.state / "state.json"
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))
