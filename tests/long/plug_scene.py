# SPDX-License-Identifier: GPL-2.0-or-later
"""plug_scene: a guest, an operation on it, and the plug that is pulled in the middle.

Model: the guest counts on two disks (qcow2 and raw) and has the snapshots s1, s2 and s3 in a row; for some
operations it runs on a branch of one of them, whose snapshot is s4.  Each layer holds data that
nothing else does.  A Point is an operation, a kind of death, and a Blow's place and side.

Kinds: "hot": the proxy is killed and QEMU goes on; "cold": everything at once, as in a power cut (but for the
page cache); "qemu": QEMU alone; "second-killed": the second QEMU of a revert, before it is the VM;
"second-stopped": it gets SIGSTOP there and does nothing any more.

Rules: the scene is made anew for each point, so that a point is the same whenever it is tried.  strike()
returns when what dies is dead, and nothing has been started again.
"""

import collections
import os
import signal
import time

import moment
import scene
from scene import harness, oracle, qmp, vm

KINDS = ("hot", "cold", "qemu", "second-killed", "second-stopped")
SNAPSHOTS = ("s1", "s2", "s3")
# How long an operation may take whose second QEMU does nothing any more: what its start may take is the most.
SECOND_LIMIT = 40
CREATE, REVERT, DELETE = "snapshot-create", "snapshot-revert", "snapshot-delete"

# memory: of the snapshots that are there; branch: the one that the guest has gone off from.
Operation = collections.namedtuple("Operation", "command args memory branch", defaults=("stream", None))


def _revert(method, memory="stream", **args):
    keep = {} if args else {"discard": True}
    return Operation(REVERT, {"name": "s1", "method": method, **keep,
                              **{key.replace("_", "-"): args[key] for key in args}}, memory)


def _delete(name, branch=None, **args):
    return Operation(DELETE, {"name": name, **args}, "stream", branch)


OPERATIONS = {
    "create": Operation(CREATE, {"name": "s5"}),
    "create-none": Operation(CREATE, {"name": "s5", "memory": "none"}),
    "create-vmstate": Operation(CREATE, {"name": "s5", "memory": "vmstate"}, "vmstate"),
    "respawn": _revert("respawn"),
    "respawn-save": _revert("respawn", save_as="s5"),
    "respawn-vmstate": _revert("respawn", "vmstate"),
    "replace": _revert("replace"),
    "replace-save": _revert("replace", save_as="s5"),
    "in-place": _revert("in-place", "vmstate"),
    "in-place-save": _revert("in-place", "vmstate", save_as="s5"),
    "delete-top": _delete("s3"),
    "delete-top-stream": _delete("s3", direction="stream"),
    "delete-middle": _delete("s2", direction="commit"),
    "delete-middle-stream": _delete("s2", direction="stream"),
    "delete-root": _delete("s1"),
    "delete-point": _delete("s1", "s1"),
    "delete-side": _delete("s2", "s1", direction="commit"),
    "delete-side-stream": _delete("s2", "s1", direction="stream"),
    "delete-below-point": _delete("s1", "s2"),
    "delete-subtree": _delete("s2", "s1", children="include"),
}

Point = collections.namedtuple("Point", "operation kind place side")


def option(point):
    """What --at takes."""
    place = point.place
    return f"{point.operation}/{point.kind}/{place.thread}:{place.call}:{place.nth}/{point.side}"


def parse(text):
    operation, kind, place, side = text.split("/")
    thread, call, nth = place.split(":")
    if operation not in OPERATIONS or kind not in KINDS or side not in moment.SIDES:
        raise ValueError(text)
    return Point(operation, kind, moment.Place(int(thread), call, int(nth), ""), side)


def kinds_of(operation):
    """Those that there are in it: an operation without a second QEMU cannot lose it."""
    made = OPERATIONS[operation]
    second = made.command == REVERT and made.args["method"] in ("respawn", "replace")
    return KINDS if second else KINDS[:3]


class Held:
    """A snapshot, and what it holds.  count: the turn on its disks; sums: {path: checksum} of the files that it
    froze; bytes: {disk: {0: checksum of what it reads as, BEYOND: of that where the guest does not write}}."""

    def __init__(self, info):
        self.info, self.name = info, info["name"]
        files = [disk["image"] for disk in info["disks"]]
        files += [info["memory"]["file"]] if "memory" in info else []
        self.sums = {path: scene.checksum(path) for path in files}
        self.bytes, counts = {}, []
        for disk in info["disks"]:
            image = oracle.Image(disk["image"], disk["format"], (0, scene.BEYOND))
            self.bytes[disk["device"]] = image.sums
            counts.append(image.count)
        # Stopped between two disks of one turn, they differ by that turn.
        assert max(counts) - min(counts) <= 1, f"{self.name}: not one turn: {counts}"
        self.count = max(counts)

    def untouched(self):
        """A frozen file is never written to."""
        for path, value in self.sums.items():
            assert scene.checksum(path) == value, f"{self.name}: {path} was changed"


class Scene:
    """The guest, its snapshots (saved), and what became of the operation: reply, None without one."""

    def __init__(self, t, operation, kind=None):
        self.t, self.operation = t, OPERATIONS[operation]
        # IDE is a tenth of the work for QEMU's emulator.  But this guest asks for no flush there, so that what
        # it wrote is on the disk only if no QEMU is killed that runs.
        self.p = vm.Proxy(t, oracle.make_disks(t.dir, ("qcow2", "raw")),
                          style="ide" if kind == "hot" else "drive",
                          options=["--log-level", "debug"])
        self.p.start()
        self.p.serial.wait_tick(2)
        self.saved = {}
        for number, name in enumerate(SNAPSHOTS):
            self.save(name, number)
        if self.operation.branch:
            self.p.command(REVERT, {"name": self.operation.branch, "discard": True}, timeout=30)
            self.p.serial.wait_more(2)
            self.save("s4", 3)
        self.reply, self.last, self.since, self.booted = None, 0, 0, False

    def save(self, name, number):
        """One more snapshot, and data and turns on top of it.  While it is looked at the guest stands, and takes
        no time of others."""
        p = self.p
        info = p.command(CREATE, {"name": name, "memory": self.operation.memory}, timeout=30)["snapshot"]
        p.command("stop")
        self.saved[name] = Held(info)
        for disk in p.disks:
            scene.write(p, disk.id, 0x30 + number, scene.BEYOND, 1 << 17)
            scene.write(p, disk.id, 0x60 + number, scene.BEYOND + (number + 1 << 18), 1 << 17)
        p.command("cont")
        p.serial.wait_more(3)

    def command(self):
        """Runs the operation with nothing in its way."""
        return self.p.command(self.operation.command, self.operation.args, timeout=60)

    def qemus(self):
        """Every one that is alive, also one that the proxy knows nothing of."""
        serial = str(self.p.serial.path)
        return [pid for pid, line in harness.marked_processes(self.t.marker).items()
                if serial in line and not line.startswith(vm.PROXY_BIN + " ")]

    def second(self):
        """The pid of a second QEMU, None: there is none."""
        main = self.p.qemu_pid()
        return next((pid for pid in self.qemus() if pid != main), None)

    def alive(self):
        return self.p.process is not None and self.p.process.poll() is None


def strike(s, point):
    """Begins the operation and pulls the plug at the point: the Place that the blow fell on.  Raises Skip
    when the operation was over before, or there was nothing to kill."""
    p, blow = s.p, moment.Blow(point.place, point.side)
    blow.arm(s.t.dir, p.process.pid)
    try:
        sent = p.qmp.send(s.operation.command, s.operation.args)

        def over():
            if s.reply is None:
                try:
                    s.reply = p.qmp.reply(sent, 0)
                except (qmp.Timeout, qmp.Closed):
                    pass
            return s.reply is not None

        if not blow.wait(over):
            raise harness.Skip(f"over before {blow}")
        if point.kind in ("hot", "cold"):
            _kill_proxy(s, point, blow)
        elif point.kind == "qemu":
            _kill_qemu(s, over)
        else:
            _hit_second(s, point, over)
        s.last, s.since = p.serial.last(), p.serial.size()
        return blow.hit()
    finally:
        blow.end()


def _kill(pid, number=signal.SIGKILL):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def _kill_proxy(s, point, blow):
    s.p.kill()
    if point.kind == "hot":
        return
    # After a power cut nothing is left, not even a process that is about to end.
    s.p.killed = s.booted = True

    killed = set()

    def gone():
        left = [pid for pid in harness.marked_processes(s.t.marker)
                if pid != blow.trace.process.pid]
        for pid in left:
            _kill(pid)
        killed.update(left)
        return not left and all(vm.ended(pid) for pid in killed)     # with all threads: they hold its locks
    harness.poll(gone, 10, "all processes to be gone")


def _goes_on(s, pid, over, limit, what):
    """Lets the proxy go on, until it has ended, or has answered and has a QEMU other than pid.  When it
    ends it has to be by QEMU's death."""
    p, begun = s.p, time.monotonic()
    p.signal(signal.SIGCONT)
    harness.poll(lambda: p.process.poll() is not None or (over() and set(s.qemus()) - {pid}), limit, what,
                 0.005)
    if not s.alive():
        status = p.wait()
        assert status in (128 + signal.SIGKILL, 1), f"exit status {status}"
        p._close_clients()          # pylint: disable=protected-access
        p.process = None
        s.booted = True
        harness.poll(lambda: not s.qemus(), 5, "no QEMU to be left")
    return time.monotonic() - begun


def _kill_qemu(s, over):
    """The VM's QEMU, while the proxy stands still, which then goes on.  It ends as QEMU did, but for one
    end that a revert was about to bring about itself."""
    p, pid = s.p, s.p.qemu_pid()
    if pid is None:                 # between two QEMUs
        pid = s.second()
    if pid is None:
        raise harness.Skip("no QEMU at that place")
    p.killed = True
    _kill(pid)
    _goes_on(s, pid, over, 40, "the proxy to end with QEMU, or the operation without it")


def _hit_second(s, point, over):
    """The second QEMU, while the proxy stands still.  The operation has to end, one way or the other."""
    p = s.p
    pid = s.second()
    if pid is None:
        raise harness.Skip("no second QEMU at that place")
    p.killed = True
    _kill(pid, signal.SIGSTOP if point.kind == "second-stopped" else signal.SIGKILL)
    s.took = _goes_on(s, pid, over, SECOND_LIMIT, "the end of the operation, or the proxy's")
    if point.kind == "second-stopped" and "error" in (s.reply or {}):
        harness.poll(lambda: vm.ended(pid), 5, "the second QEMU to be gone")
