#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Every step of a revert up to its commit point, made to fail.

Model: FAULTS has a row for each (step, what goes wrong).  The proxy is held before the step, the fault
is set, the proxy goes on; its log has to say that this step failed and no other.  Then everything is
as it was: the process, the counter, the record, files, processes; and when the fault is gone the guest
can be reverted.

Rule: a step that a plan has and FAULTS has not fails the first test.
"""

import os
import shutil
import signal
import socket
import sys
import types
from pathlib import Path

import faulty
import hostile
import scene
from scene import harness, oracle, vm

# The shell that stands before QEMU reads the file for the second process only.
WRAPPER = '''exec 2>>messages/qemu
case " $* " in *" -S "*) [ ! -e fault ] || . ./fault;; esac'''
# A device that saves nothing: only the list of devices tells that it is missing.
PLUGGED = {"driver": "pci-testdev", "id": "plugged"}
WITHOUT_PLUGGED = '''last=; for word; do shift
case "$word" in *plugged*) last=;; *) set -- "$@" ${last:+"$last"}; last=$word;; esac
done; set -- "$@" ${last:+"$last"}'''


class Saved(scene.Saved):
    def counts(self, disk):
        return disk == "d0"


class Scene:
    """A guest with a disk that it counts on, another one, and a device that was plugged.  Its three
    snapshots have between them all the steps that there are."""

    def __init__(self, t):
        self.t, self.fault, self.hmp = t, t.path("fault"), t.path("hmp.sock")
        disks = oracle.make_disks(t.dir, ("qcow2", "raw"))
        self.p = hostile.Wrapped(
            t, disks[:1], {"qemu-system-x86_64": WRAPPER}, options=["--log-level", "debug"], args=[
                "-monitor", f"unix:{self.hmp},server=on,wait=off", "-device", "lsi53c810,id=scsi",
                *disks[1].args("blockdev")[:2],
                "-device", f"scsi-hd,bus=scsi.0,id=other,drive={disks[1].node}"])
        t.path("messages").mkdir()
        t.log(t.path("messages") / "qemu")
        self.steps = hostile.Steps(self.p)
        self.steps.start()
        self.p.serial.wait_tick(4)
        self.p.command("device_add", PLUGGED)
        self.saved = {"all": scene.create(self.p, "all", Saved),
                      "bare": scene.create(self.p, "bare", Saved, memory="none"),
                      "some": scene.create(self.p, "some", Saved, disks=["d0"])}
        self.client = self.p.client()
        self.name = self.memory = self.overlays = None     # of the row

    def plan(self, name):
        return self.p.command("snapshot-revert", {"name": name, "discard": True,
                                                  "dry-run": True})["plan"]

    def turn_to(self, name):
        """A row begins, with that snapshot; its plan."""
        plan = self.plan(name)
        self.memory = Path(self.saved[name].info.get("memory", {}).get("file", "none"))
        self.overlays = [Path(s["target"]) for s in plan if s["step"] == "overlay-create"]
        return plan

    def second(self):
        """The pid of the second QEMU, which is there."""
        first = self.p.qemu_pid()
        return next(pid for pid, line in harness.marked_processes(self.t.marker).items()
                    if pid != first and str(self.p.serial.path) in line and " -S " in line)


# ---- faults: each is set with the proxy standing before the step; what it returns is called when all is
# over, and takes it away.

def shell(lines):
    """For the start of the second QEMU."""
    def fault(s):
        s.fault.write_text(lines)
        return s.fault.unlink
    return fault


def killed(s):
    pid = s.second()
    os.kill(pid, signal.SIGKILL)
    harness.poll(lambda: vm.ended(pid), 5, "the second QEMU to be gone")


def memory(change):
    """Other bytes in the saved memory, in the same file."""
    def fault(s):
        good, stat = s.memory.read_bytes(), s.memory.stat()

        def write(data):
            s.memory.write_bytes(data)
            os.utime(s.memory, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        write(change(good))
        return lambda: write(good)
    return fault


def middle(data):
    return data[:len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1:]


def behind_ram(data):
    """The name of a device that stands behind the RAM: QEMU finds out when most is loaded."""
    at = data.index(b"\x06serial", len(data) // 2)
    return data[:at] + b"\x06cereal" + data[at + 7:]


def memory_gone(s):
    aside = s.memory.with_suffix(".aside")
    s.memory.rename(aside)
    return lambda: aside.rename(s.memory)


def in_the_way(number):
    """Something lies where an overlay is to be."""
    def fault(s):
        path = s.overlays[number]
        path.symlink_to("nowhere")
        return path.unlink
    return fault


def overlay_gone(s):
    """Of the second disk; the other image that lies there instead is not what the plan has."""
    s.overlays[1].unlink()


def another_image(s):
    """QEMU is given a copy: the same in all but the name."""
    real, copy = s.overlays[0], s.t.path("copy.img")
    shutil.copy(real, copy)
    remove = shell(f'for word; do shift; set -- "$@" "$(echo "$word" | sed "s#{real}#{copy}#")"; done')(s)
    return lambda: (copy.unlink(), remove())


def no_end(s):
    """A client's command that keeps the first QEMU busy: it opens a fifo."""
    fifo = s.t.path("fifo")
    os.mkfifo(fifo)
    sent = s.client.send("pmemsave", {"val": 0, "size": 4096, "filename": str(fifo)})

    def release():
        os.close(os.open(fifo, os.O_RDONLY | os.O_NONBLOCK))
        s.client.reply(sent, 5)
        fifo.unlink()
    return release


def some(fd, size):
    try:
        return os.read(fd, size)
    except BlockingIOError:
        return b""


def dumping(s):
    """Somebody at another monitor has QEMU dump the guest: so long `stop` is refused."""
    fifo = s.t.path("fifo")
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(str(s.hmp))
    sock.sendall(f"dump-guest-memory -d {fifo}\n".encode())
    harness.equal(harness.poll(lambda: some(reader, 4), 5, "the dump"), b"\x7fELF", "the dump")

    def release():
        os.set_blocking(reader, True)
        while os.read(reader, 1 << 20):
            pass
        os.close(reader)
        sock.close()
        fifo.unlink()
        harness.poll(lambda: scene.status(s.p) == "running", 5, "the end of the dump")
    return release


def no_journal(s):
    block = s.p.state / ".journal.json.tmp"
    block.mkdir()
    return block.rmdir


# (step, which of that name; snapshot; reason; fault; before which step it is set, when it is another)
FAULTS = [
    ("memory-check", 0, "all", "memory-changed", memory(middle)),
    ("memory-check", 0, "some", "memory-missing", memory_gone),
    ("overlay-create", 0, "all", "file-exists", in_the_way(0)),
    ("overlay-create", 1, "all", "file-exists", in_the_way(1)),
    ("process-start", 0, "all", "qemu-failed", shell("exit 7")),
    ("process-start", 0, "bare", "qemu-failed", shell("kill -9 $$")),
    ("process-start", 0, "all", "qemu-failed", shell("exec /nonexistent/qemu")),
    ("process-start", 0, "all", "qemu-failed", shell('set -- "$@" -frobnicate')),
    ("process-start", 0, "all", "qemu-failed", shell("ulimit -v 65536")),
    ("process-start", 0, "all", "qemu-failed", overlay_gone),
    ("check-fit", 0, "all", "machine-mismatch", shell('set -- "$@" -m 64'), "process-start"),
    ("check-fit", 0, "all", "qemu-failed", killed),
    ("load-capabilities", 0, "some", "qemu-failed", killed),
    ("getfd", 0, "all", "qemu-failed", killed),
    ("getfd", 0, "all", "file-unusable", memory_gone),
    ("migrate-incoming", 0, "all", "qemu-failed", memory(behind_ram)),
    ("migrate-incoming", 0, "all", "qemu-failed", memory(lambda data: data[:len(data) // 2])),
    ("migrate-incoming", 0, "all", "qemu-failed", memory(lambda data: b"")),
    ("migrate-incoming", 0, "all", "qemu-failed",
     shell('set -- "$@" -global virtio-blk-pci.vectors=7'), "process-start"),
    ("migrate-incoming", 0, "some", "qemu-failed", killed),
    ("loaded", 0, "all", "qemu-failed", killed),
    ("started", 0, "bare", "qemu-failed", killed),
    ("check-disks", 0, "all", "qemu-failed", another_image, "process-start"),
    ("check-disks", 0, "bare", "qemu-failed", killed),
    ("check-devices", 0, "bare", "qemu-failed", shell(WITHOUT_PLUGGED), "process-start"),
    ("check-devices", 0, "all", "qemu-failed", killed),
    ("settings-carry", 0, "all", "qemu-failed", killed),
    ("clients-hold", 0, "all", "busy", no_end, "migrate-incoming"),
    ("stop", 0, "all", "qemu-failed", dumping),
    ("check-next", 0, "all", "qemu-failed", killed),
    ("commit", 0, "all", "file-unusable", no_journal),
    ("commit", 0, "bare", "qemu-failed", killed),
    ("process-end", 0, "all", "qemu-failed", killed),
]
PAUSED = ("overlay-create", "process-start", "migrate-incoming", "check-next", "commit", "process-end")


def index(plan, step, nth=0):
    found = [at for at, row in enumerate(plan) if row["step"] == step]
    assert len(found) > nth, f"no {step} {nth} among {[row['step'] for row in plan]}"
    return found[nth]


def fails(s, step, nth, name, reason, fault, before=None):
    """Carries out a row; the guest is left as it was."""
    plan, p, lines = s.turn_to(name), s.p, len(s.steps.lines)
    at = index(plan, before) if before else index(plan, step, nth)
    still = hostile.Still(p, ("RESET", "SHUTDOWN"))
    if at:
        s.steps.hold(at)
    else:
        mend = fault(s)
    sent = p.qmp.send("snapshot-revert", {"name": name, "discard": True})
    if at:
        harness.equal(s.steps.held(), plan[at - 1]["step"], "step before")
        mend = fault(s)
        s.steps.go()
    error = p.qmp.reply(sent, 20).get("error", {})
    if mend:
        mend()
    harness.equal(error.get("data", {}).get("reason"), reason, f"reason, of {error}")
    failed = [line.split(" step ", 1)[1].split(":")[0] for line in s.steps.lines[lines:]
              if line.startswith("qmp-proxy: info: step ")]
    harness.equal(failed, [step], "steps that failed")
    still.check()


def reverts(s):
    """All is well: to the snapshot that has everything."""
    mark = scene.Mark(s.p)
    s.p.command("snapshot-revert", {"name": "all", "discard": True}, timeout=20)
    mark.went_back_to(s.saved["all"])
    for saved in s.saved.values():
        saved.untouched()


def each(s, rows, paused=False):
    """Carries out the rows, with a revert behind those of each step."""
    bad = {}
    for row, behind in zip(rows, [*rows[1:], (None,)]):
        scene.step_aside(s.p, s.saved["all"])
        if paused:
            s.p.command("stop")
        try:
            fails(s, *row)
        except AssertionError as error:
            bad[f"{row[0]} {row[2]} {FAULTS.index(row)}"] = str(error)
            s.t.note(f"{row}: {error}")
        if paused:
            s.p.command("cont")
        if row[0] != behind[0]:
            reverts(s)
    harness.equal(list(bad), [], "rows that went wrong")


def test_a_revert_that_fails_at_any_step_goes_back(t):
    s = Scene(t)
    for name in s.saved:
        plan = [step["step"] for step in s.plan(name)]
        lacks = {*plan[:plan.index("process-end") + 1]} - {row[0] for row in FAULTS}
        harness.equal(lacks, set(), f"steps of a revert to {name} that no fault is tried at")
    each(s, list({row[0]: row for row in FAULTS}.values()) if harness.BRIEF else FAULTS)
    one = {row[0]: row for row in FAULTS if row[2] == "all"}
    each(s, [one[step] for step in PAUSED], paused=True)


def test_no_room_for_an_overlay_when_it_is_made(t):
    """There was, when the plan was made."""
    images = hostile.mount_tmpfs(t, "images", "60m")
    p, steps = hostile.stepped(t, ("qcow2", "raw"), folder=images)
    saved = scene.create(p, "s1")
    p.serial.wait_tick(80)              # from here the guest writes in place
    for number, step in enumerate(("memory-check", "overlay-create")):
        still = hostile.Still(p, ("RESET", "SHUTDOWN"))
        steps.hold(step)
        sent = p.qmp.send("snapshot-revert", {"name": "s1", "discard": True})
        steps.held()
        filler = hostile.fill(images)
        steps.go()
        error = p.qmp.reply(sent, 20)["error"]
        filler.unlink()
        assert str(images) in error["desc"], error
        harness.equal(error["data"]["reason"], "no-space", f"{number} overlays were made")
        still.check()
    scene.revert(p, saved)


def test_a_clock_that_is_set_back_makes_no_wait_longer(t):
    """For a client's command that does not end, while the guest may stand still."""
    faults = faulty.Faults(t)
    away = {"qemu-system-x86_64": f"exec 2>>'{t.path('messages')}'"}
    p = hostile.Wrapped(t, oracle.make_disks(t.dir), away, options=["--log-level", "debug"])
    s = types.SimpleNamespace(t=t, p=p, steps=hostile.Steps(p))
    s.steps.start(env=faults.env)
    p.serial.wait_tick(4)
    scene.create(p, "s1")
    s.client = p.client()
    s.steps.hold("migrate-incoming")
    sent = p.qmp.send("snapshot-revert", {"name": "s1", "discard": True})
    s.steps.held()
    release = no_end(s)
    faults.rules(("back", 3600, "clock", "clock"))
    s.steps.go()
    failed = "step clients-hold: A command of a client did not end within"
    harness.poll(lambda: any(failed in line for line in s.steps.lines), 15, "the wait to end")
    release()
    harness.equal(p.qmp.reply(sent, 20)["error"]["data"]["reason"], "busy", "reason")
    p.serial.wait_more(3)


def test_a_disk_that_fails_before_the_stop(t):
    """The guest stands still by itself: the revert is taken back, and everything can be done behind that."""
    p, faults, steps = faulty.start(t, steps=True)
    saved = scene.create(p, "s1")
    p.serial.wait_more(3)
    active = scene.layout(p)["d0"][0]
    steps.hold("check-disks")
    sent = p.qmp.send("snapshot-revert", {"name": "s1", "discard": True})
    steps.held()
    faults.rules(("fail", faulty.ENOSPC, "data", active), ("fail", faulty.ENOSPC, "header", active))
    sizes = []

    def stands():
        sizes.append(p.serial.size())
        return len(sizes) > 30 and sizes[-1] == sizes[-30]
    harness.poll(stands, 20, "the guest to stand still")
    steps.go()
    error = p.qmp.reply(sent, 30)["error"]
    assert error["data"]["reason"] != "stuck", error
    harness.equal(scene.status(p), "io-error", "status")
    faults.mend()
    p.command("cont")
    p.serial.wait_more(3)
    scene.check_disks(p)
    scene.revert(p, saved)
    scene.tidy(p, leaks=True)


if __name__ == "__main__":
    sys.exit(harness.run([test for name, test in list(globals().items())
                          if name.startswith("test_")], timeout=240))
