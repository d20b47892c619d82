# SPDX-License-Identifier: GPL-2.0-or-later
"""trouble: a disk of the host is full, read-only or broken, in the middle of an operation.

Model: one guest for many points.  Its images, its state folder and the folder memory/ are file systems
of their own.  A point is an operation, a trouble, and the step behind which that begins (0: before the
operation); the proxy stands still there.  Then it goes on, and whatever the operation came to: the relay
answers, the guest runs again at once, the cause is told; when the trouble is over the same command works,
nothing is left, and the snapshots are what they were.
"""

import errno
import signal
import subprocess
import threading
import time

import faulty
import hostile
import scene
from scene import harness, oracle, qmp

AGAIN = 0.1             # seconds within which the guest runs again
ANSWER = 0.5            # seconds within which the relay answers

# name: (command, arguments)
OPERATIONS = {
    "create stream": ("snapshot-create", {"name": "x"}),
    "create vmstate": ("snapshot-create", {"name": "x", "memory": "vmstate"}),
    "create none": ("snapshot-create", {"name": "x", "memory": "none"}),
    "revert respawn": ("snapshot-revert", {"name": "s1", "discard": True, "method": "respawn"}),
    "revert in-place": ("snapshot-revert", {"name": "s2", "discard": True, "method": "in-place"}),
    "revert replace": ("snapshot-revert", {"name": "s1", "discard": True, "method": "replace"}),
    "revert save-as": ("snapshot-revert", {"name": "s1", "save-as": "x", "method": "respawn"}),
    "delete active": ("snapshot-delete", {"name": "d2", "direction": "commit"}),
    "delete below": ("snapshot-delete", {"name": "d1", "direction": "commit"}),
    "delete stream": ("snapshot-delete", {"name": "d1", "direction": "stream"}),
}
# Memory is loaded again before the guest can go on, or commands wait for another QEMU.
SLOW_BACK = ("revert in-place", "revert replace")

STATE_FILES = {"state.json", "process.json", "qemu.pid", "qemu.sock", "qemu.bulk.sock", "memory"}
JOB_BYTES = 65537       # what only a job writes at once
RECORDS = (".state.json.tmp", ".journal.json.tmp", ".process.next.json.tmp")
REASONS = {"no-space", "file-unusable", "qemu-failed", "stuck", "cancelled"}


# --- troubles

class Full:
    """No byte left; or so many, which a guest needs that has not written everywhere yet."""

    def __init__(self, folder, leave=0):
        self.folder, self.leave, self.filler = folder, leave, None

    def begin(self):
        # What the guest writes meanwhile takes room too.
        for more in range(4):
            try:
                self.filler = hostile.fill(self.folder, self.leave + (more << 18))
                return
            except OSError as error:
                if error.errno != errno.ENOSPC or more == 3:
                    raise

    def end(self):
        if self.filler:
            self.filler.unlink(missing_ok=True)


class ReadOnly:
    """The file system is mounted anew; False: somebody writes to it just now."""

    def __init__(self, folder):
        self.folder = folder

    def mount(self, how):
        return subprocess.run(["mount", "-o", f"remount,{how}", self.folder], check=False,
                              capture_output=True).returncode == 0

    def begin(self):
        return self.mount("ro")

    def end(self):
        assert self.mount("rw")


class Broken:
    """Calls fail (faulty.Faults.rules)."""

    def __init__(self, faults, *rules):
        self.faults, self.rules = faults, rules

    def begin(self):
        self.faults.rules(*self.rules)

    def end(self):
        self.faults.mend()


def failing(faults, number, call, *names, action="fail", least=0):
    return Broken(faults, *((action, number, call, name, least) for name in names))


TROUBLES = ("state full", "state read-only", "state broken", "state folder broken", "state once broken",
            "memory full", "memory read-only", "memory broken", "memory unsynced",
            "images full", "images read-only", "images broken", "images unsynced")


def troubles(guest):
    """{name: trouble} of this guest, of all these names."""
    faults, eio = guest.faults, errno.EIO
    return {
        "state full": Full(guest.state),
        "state read-only": ReadOnly(guest.state),
        "state broken": failing(faults, eio, "sync", *RECORDS),
        "state folder broken": failing(faults, eio, "sync", guest.state.name),
        "state once broken": failing(faults, eio, "sync", guest.state.name, action="once"),
        "memory full": Full(guest.memory),
        "memory read-only": ReadOnly(guest.memory),
        "memory broken": failing(faults, eio, "data", "*.mem", least=4096),
        "memory unsynced": failing(faults, eio, "sync", "*.mem"),
        "images full": Full(guest.images, 512 << 10),
        "images read-only": failing(faults, errno.EROFS, "create", "*.qcow2"),
        "images broken": failing(faults, eio, "data", "*.qcow2", least=JOB_BYTES),
        "images unsynced": failing(faults, eio, "sync", "*.qcow2"),
    }


# --- the guest

class Guest:
    """s1 has a stream, s2 a vmstate; saved: what they hold."""

    def __init__(self, t, name="vm"):
        self.t = t
        self.images = hostile.mount_tmpfs(t, f"{name}.images", "200m")
        self.state = hostile.mount_tmpfs(t, f"{name}.state", "100m")
        self.memory = hostile.mount_tmpfs(t, f"{name}.state/memory", "100m")
        self.faults = faulty.Faults(t, name)
        t.cleanup(self.faults.mend)
        messages = t.path(f"{name}.messages")
        t.log(messages)
        self.p = p = hostile.Wrapped(
            t, oracle.make_disks(self.images, ("qcow2", "qcow2")),
            {"qemu-system-x86_64": f"exec 2>>'{messages}'"}, name=name, state=self.state,
            options=["--log-level", "debug"])
        self.start()
        p.serial.wait_tick(4)
        self.saved = {}
        for snapshot, memory in (("s1", "stream"), ("s2", "vmstate")):
            self.saved[snapshot] = scene.create(p, snapshot, memory=memory)
            p.serial.wait_more(3)
        self.troubles = troubles(self)

    def start(self):
        self.steps = hostile.Steps(self.p)
        self.steps.start(env=self.faults.env)
        self.other = qmp.Client(self.p.address)
        self.t.cleanup(self.other.close)

    def restart(self):
        """QEMU takes nothing in a file for safe that it could not sync, until it is opened again; and after
        a vmstate that it could not write it keeps that open, and aborts at its own end."""
        self.other.close()
        status = self.p.stop()
        assert status in (0, 128 + signal.SIGABRT), f"exit status {status}"
        self.start()
        self.p.serial.wait_more(3)

    def prepare(self, operation):
        if operation.startswith("delete"):
            for name in ("d1", "d2"):
                scene.create(self.p, name, memory="none")
                self.p.serial.wait_more(2)
        self.p.qmp.drain()
        self.p.qmp.events.clear()


class Relay(threading.Thread):
    """Asks over another connection, again and again; worst: the seconds that an answer took."""

    def __init__(self, client):
        super().__init__(daemon=True)
        self.client, self.worst, self.stop, self.error = client, 0, False, None

    def run(self):
        try:
            while not self.stop:
                started = time.monotonic()
                self.client.command("query-status", timeout=20)
                self.worst = max(self.worst, time.monotonic() - started)
                time.sleep(0.005)
        except (qmp.Timeout, qmp.Closed, qmp.QmpError, OSError) as error:
            self.error = error

    def end(self):
        self.stop = True
        self.join()
        assert self.error is None, f"the relay: {self.error!r}"
        return self.worst


# --- a point

OVER = "over before"


class Over(Exception):
    """The operation was over before, or the trouble cannot be made there."""


def answered(p, cid):
    """The reply, once it is there."""
    try:
        return p.qmp.reply(cid, 0)
    except qmp.Timeout:
        return None


def begin(guest, operation, trouble, step):
    """The command's id, with the trouble there and the proxy on its way."""
    p, steps = guest.p, guest.steps
    command, args = OPERATIONS[operation]
    if step:
        steps.hold(step)
        sent = p.qmp.send(command, args)
        over = []

        def ended():
            over.extend(filter(None, [answered(p, sent)]))
            return bool(over)
        harness.poll(lambda: steps.reached(0) and steps.stands() or ended(), 60,
                     "the step, or the end")
        if over:
            steps.go()
            raise Over(OVER)
        where = steps.held()
        if trouble.begin() is False:
            steps.go()
            p.qmp.reply(sent, 60)
            raise Over("in use")
        guest.t.note(f"{operation}, behind {where}")
    else:
        assert trouble.begin() is not False
        sent = p.qmp.send(command, args)
    return sent


def failed_at(guest, since):
    """When the proxy first noticed, by its log; None: it did not."""
    words = ("taking", "No space", "Read-only", "Input/output", "failed:")
    for when, line in zip(guest.steps.times[since:], guest.steps.lines[since:]):
        if any(word in line for word in words):
            return when
    return None


def standstills(events, after):
    """The seconds that the guest was stopped behind that time, each time."""
    stopped, found = None, []
    for event in events:
        stamp = event["timestamp"]
        when = stamp["seconds"] + stamp["microseconds"] / 1e6
        if event["event"] == "STOP":
            stopped = when
        elif event["event"] == "RESUME" and stopped is not None:
            if when > after:
                found.append(when - max(stopped, after))
            stopped = None
    return found


def runs_again(guest, operation, since, reply):
    """The guest runs, at once."""
    p = guest.p
    limit = (1 if operation in SLOW_BACK else AGAIN) * harness.SLOW
    started = time.monotonic()
    status = scene.status(p)
    while status != "running" and time.monotonic() - started < limit and status != "io-error":
        status = scene.status(p)
    if status == "io-error":            # QEMU itself has found no room for what the guest wrote
        return
    harness.equal(status, "running", f"status behind {reply}")
    failed = failed_at(guest, since)
    if failed is not None:
        late = [s for s in standstills(p.qmp.drain(), failed) if s > limit]
        assert not late, f"the guest stood still for {late} s behind the error: {reply}"


def is_told(guest, operation, reply):
    """A refusal has a reason, and what is stuck is shown and blocks others."""
    p = guest.p
    if "return" in reply:
        return
    error = reply["error"]
    assert error["data"]["reason"] in REASONS, error
    if error["data"]["reason"] != "stuck":
        return
    assert any("problems" in info and info["problems"] for info in p.command("query-snapshots")), \
        f"{operation}: nothing is shown of {error}"
    told = p.qmp.refused("snapshot-create", {"name": "y", "dry-run": True})
    harness.equal(told.reason, "stuck", told.desc)


def again(guest, operation, reply):
    """The trouble is over: the same command works, unless what it was to do has been done by now."""
    p = guest.p
    command, args = OPERATIONS[operation]
    if "return" in reply:
        return
    if scene.status(p) == "io-error":
        p.command("cont")
    try:
        p.command(command, args, timeout=60)
    except qmp.QmpError as error:
        if "start qmp-proxy again" in error.desc:   # a QEMU without another place for its sockets
            guest.restart()
            again(guest, operation, reply)
            return
        done = {"snapshot-create": "duplicate-name", "snapshot-delete": "unknown-snapshot"}
        # What was stuck has been finished first; a snapshot that could not be deleted again is there.
        finished = (error.reason == done.get(command) and
                    reply["error"]["data"]["reason"] == "stuck")
        assert finished or ("save-as" in args and error.reason == "duplicate-name"), \
            f"{operation} again: {error} (before: {reply})"


def is_whole(guest):
    """Nothing is left, and all is what it was."""
    p = guest.p
    if scene.status(p) == "io-error":
        p.command("cont")
    if (guest.state / "journal.json").exists():     # of what is over: the next operation removes it
        scene.create(p, "z", memory="none")
    for name in scene.names(p):
        if name not in guest.saved:
            p.command("snapshot-delete", {"name": name}, timeout=60)
    p.serial.wait_more(3)
    for saved in guest.saved.values():
        saved.untouched()
    scene.check_disks(p)
    harness.equal(p.command("query-jobs"), [], "jobs")
    nodes = [n["node-name"] for n in p.command("query-named-block-nodes", flat=True)]
    layers = {layer.get("node") for layer in scene.state(p)["layers"].values()}
    harness.equal([n for n in nodes if n.startswith("qsnap-") and n not in layers], [], "nodes")
    record = scene.state(p)
    known = {layer["real"] for layer in record["layers"].values()}
    known |= {str(disk.path) for disk in p.disks}
    harness.equal({str(path) for path in guest.images.iterdir()} - known, set(), "images")
    memory = {s["memory"]["file"] for s in record["snapshots"] if "memory" in s}
    harness.equal({str(path) for path in guest.memory.iterdir()}, memory, "memory files")
    harness.equal({path.name for path in guest.state.iterdir()} - STATE_FILES, set(), "state folder")


def point(guest, operation, trouble, step):
    """The reply; Over: there is no such point."""
    guest.prepare(operation)
    chosen, since = guest.troubles[trouble], len(guest.steps.lines)
    relay = None
    try:
        try:
            sent = begin(guest, operation, chosen, step)
            relay = Relay(guest.other)
            since = len(guest.steps.lines)
            guest.steps.go()
            relay.start()
            reply = guest.p.qmp.reply(sent, 60)
            runs_again(guest, operation, since, reply)
            is_told(guest, operation, reply)
        finally:
            if relay:
                worst = relay.end()
            chosen.end()
    except Over:
        is_whole(guest)
        raise
    limit = (10 if operation in SLOW_BACK else ANSWER) * harness.SLOW
    assert worst <= limit, f"{operation}, {trouble}: the relay took {worst:.2f} s"
    again(guest, operation, reply)
    if "unsynced" in trouble or ("memory" in trouble and "error" in reply and
                                 operation in ("create vmstate", "revert in-place")):
        guest.restart()
    is_whole(guest)
    return reply


def finish(guest):
    """The snapshots revert to what they held, and all of it deletes."""
    p = guest.p
    scene.revert(p, guest.saved["s1"])
    scene.revert(p, guest.saved["s2"], method="in-place")
    for name in scene.names(p):
        scene.delete(p, name)
    p.serial.wait_round()
    guest.other.close()
    scene.tidy(p, folder=guest.images, leaks=True)
