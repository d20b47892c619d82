#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The proxy, or QEMU, or both are killed behind every step of every operation, and the same command
line is given again.  What must be true then: the guest lives and goes on from what it had last, on
disks that agree with it; no second QEMU and no file is left; what the record lists can be used.

Kinds of death: "alone" - the proxy alone, QEMU is found running; "cold" - the proxy and then
QEMU, as when the host goes down; "qemu" - QEMU alone, which ends the proxy; "later" - alone, the
guest runs on, and only then cold.

STEPS=all tries every step; by default a few of each operation, chosen by SEED.
"""

import json
import os
import random
import signal
import sys

import hostile
import scene
from scene import harness, oracle, qmp, vm

SEED = os.environ.get("SEED", "1")
STEPS = os.environ.get("STEPS", "3")
# From here on the end of the first QEMU is what a revert wants, if it has not heard of it before.
REPLACES = ("clients-hold", "stop", "check-next", "commit", "process-end")
SWITCHED = ("process-switch", "cont", "clients-release")    # a third one may take the second one's place
MOST = 40                               # no operation has as many steps here
OPERATIONS = {
    "create": ("snapshot-create", {"name": "s2"}),
    "revert": ("snapshot-revert", {"name": "s1", "discard": True}),
    "revert that saves first": ("snapshot-revert", {"name": "s1", "save-as": "s2"}),
    "revert by replace": ("snapshot-revert", {"name": "s1", "discard": True, "method": "replace"}),
    "revert by replace that saves first": ("snapshot-revert", {"name": "s1", "save-as": "s2",
                                                               "method": "replace"}),
    "delete": ("snapshot-delete", {"name": "s1"}),
    # those of test_inplace_deaths.py
    "create of a vmstate": ("snapshot-create", {"name": "s2", "memory": "vmstate"}),
    "revert in place": ("snapshot-revert", {"name": "s1", "discard": True, "method": "in-place"}),
    "revert in place that saves first": ("snapshot-revert", {"name": "s1", "save-as": "s2",
                                                             "method": "in-place"}),
    "revert of a vmstate by respawn": ("snapshot-revert", {"name": "s1", "discard": True,
                                                           "method": "respawn"}),
}
HERE = ("create", "revert", "revert that saves first", "revert by replace",
        "revert by replace that saves first", "delete")

LENGTH = {"revert that saves first": 30, "revert by replace": 27, "revert by replace that saves first": 34}


def pids_of(t, p):
    """The processes of this guest, whoever started them."""
    return [pid for pid, line in harness.marked_processes(t.marker).items()
            if str(p.serial.path) in line or str(p.state) in line]


def kill_pids(p, pids):
    """SIGKILL to all of them, and until they are gone."""
    p.killed = True
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    for pid in pids:
        harness.poll(lambda pid=pid: vm.ended(pid), 10, f"process {pid} to be gone")


class Scene:
    """A guest on two disks with the snapshots s0 and s1, and an operation to break."""

    def __init__(self, t, number, memory):
        self.t = t
        self.dir = t.path(f"n{number}")
        self.dir.mkdir()
        self.p, self.steps = hostile.stepped(t, ("qcow2", "raw"), 3, folder=self.dir,
                                             name=f"vm{number}")
        self.saved = {}
        for name in ("s0", "s1"):
            self.saved[name] = scene.create(self.p, name, memory=memory)
            self.p.serial.wait_more(2)

    def again(self):
        """The same command line again."""
        self.p.start(wait=15)

    def kill_all(self, proxy_first):
        """SIGKILL to everything of this guest."""
        p = self.p
        if proxy_first:
            p.kill()
        self.steps.go()
        kill_pids(p, pids_of(self.t, p))

    def qemus(self):
        mine = str(self.p.serial.path)
        return [pid for pid, line in harness.marked_processes(self.t.marker).items()
                if mine in line and not line.split(" ", 1)[0].endswith("/qmp-proxy")]

    def on_disk(self):
        """Nothing but the record's files lies there."""
        record = scene.state(self.p)
        layers = {layer["real"] for layer in record["layers"].values()}
        images = {str(path) for path in self.dir.iterdir()}
        harness.equal(sorted(images - layers), [], "images that no record names")
        harness.equal(sorted(layers - images), [], "images on record that are not there")
        memory = {s["memory"]["file"] for s in record["snapshots"] if "memory" in s}
        harness.equal({str(path) for path in (self.p.state / "memory").iterdir()}, memory, "memory")
        names = {path.name for path in self.p.state.iterdir()}
        harness.equal(names - {"state.json", "process.json", "qemu.pid", "qemu.sock",
                                  "qemu.bulk.sock", "memory"},
                      set(), "files in the state folder")

    def remaining(self):
        """Each snapshot that the record lists reverts, or says that it is being deleted."""
        for name in scene.names(self.p):
            try:
                self.p.command("snapshot-revert", {"name": name, "discard": True}, timeout=30)
            except qmp.QmpError as error:
                if error.reason != "being-deleted":
                    raise
                self.p.command("snapshot-delete", {"name": name}, timeout=30)
                continue
            self.p.serial.wait_more(3)
            scene.check_disks(self.p)

    def finish(self):
        self.p.serial.wait_more(10)
        self.p.stop()
        self.steps.go()


def cold_content(s, last, reverted, kept=False):
    """Behind a cold start: the guest booted from where its disks were.  reverted: the turn of the
    snapshot, where it may have gone back to, with its memory as well; kept: so it may have come back itself."""
    p = s.p
    boots = harness.poll(lambda: p.serial.boots(s.mark) or reverted is not None and p.serial.ticks(s.mark)[3:],
                         20, "the guest to boot")
    if not p.serial.boots(s.mark):
        # A line that is half printed at the stop is lost between the two processes.
        assert (kept and last + 4 <= boots[0] <= last + 5 or
                reverted + 3 <= boots[0] <= reverted + 5), f"turn {boots[0]} four behind {last} or {reverted}"
        scene.check_disks(p)
        return
    near = abs(boots[-1] - last) <= 3
    back = reverted is not None and abs(boots[-1] - reverted) <= 3
    assert near or back, f"booted with turn {boots[-1]}, the guest was at {last} (or {reverted})"
    p.serial.wait_more(3)
    scene.check_disks(p)


def ends_or_stands(p, steps, sent):
    """Waits; true: it stands still behind the step, false: the operation was over before."""
    while True:
        try:
            p.qmp.reply(sent, 0.005)
            return False
        except qmp.Timeout:
            if steps.reached(0.005) and steps.stands():
                return True


def gap(s):
    """Between two QEMUs, or right behind: what is there of them is killed.  Whichever comes back goes on,
    unless the second one was the VM already."""
    p = s.p
    since = p.serial.size()
    kill_pids(p, s.qemus())
    s.steps.go()
    harness.poll(lambda: p.process.poll() is not None or p.serial.ticks(since)[3:], 30,
                 "the guest to go on, or the proxy's end")
    s.mark = p.serial.size()
    s.kill_all(p.process.poll() is None)
    p._close_clients()
    p.process = None
    s.last = p.serial.last()


def breaks(s, operation, step, kind):
    """Breaks the operation behind its nth step; false when it has no such step."""
    p, steps = s.p, s.steps
    steps.hold(step)
    sent = p.qmp.send(*OPERATIONS[operation])
    if not ends_or_stands(p, steps, sent):
        return None
    name = steps.lines[-1].rsplit(" ", 1)[1]
    before_hold = p.serial.last()
    if kind == "qemu":
        # It is ended by the revert itself, or about to be.
        if ("replace" in operation and (p.qemu_pid() is None or name == "check-present") or
                operation.startswith("revert") and name in SWITCHED):
            gap(s)
            return name
        if (operation.startswith("revert") and name in REPLACES) or p.qemu_pid() is None:
            return None                 # the second one is ready: the revert may go on without it
        p.kill_qemu(wait=False)
        steps.go()
        p._close_clients()
        status = p.wait(30)
        # Behind the switch the guest is the other process.
        harness.equal(status, 128 + signal.SIGKILL, f"exit status behind {name}")
        p.process = None
        harness.poll(lambda: not s.qemus(), 5, f"no QEMU to be left behind {name}")
    elif kind == "cold":
        s.kill_all(True)
    else:
        p.kill()
        steps.go()
    s.last = max(before_hold, p.serial.last()) if kind != "cold" else p.serial.last()
    s.mark = p.serial.size()
    return name


def check_after(s, operation, kind, name):
    p = s.p
    reverted = s.saved["s1"].count if operation.startswith("revert") else None
    s.again()
    if kind == "alone" or kind == "later":
        p.serial.wait_more(4)           # it lives
        harness.equal(len(s.qemus()), 1, f"QEMUs behind {name}")
        scene.check_disks(p)
    if kind == "later":
        p.serial.wait_more(5)
        s.kill_all(True)
        s.last, s.mark = p.serial.last(), p.serial.size()
        s.again()
    if kind != "alone":
        cold_content(s, s.last, reverted, "replace" in operation)
        s.on_disk()
    if scene.names(p) and not any("finished nor taken back" in problem or "interrupted" in problem
                                  for snapshot in p.command("query-snapshots")
                                  for problem in snapshot["problems"]):
        s.remaining()
    s.finish()


def test_second_qemu_that_dies_where_it_is_found(t):
    """Behind the commit point, with the first one still there: that one goes on, and is not taken for
    the second when the proxy dies once more."""
    p, steps = hostile.stepped(t)
    saved = scene.create(p, "s1")
    p.serial.wait_more(3)
    mark, active = scene.Mark(p), scene.layout(p)
    steps.hold("commit")
    p.qmp.send("snapshot-revert", OPERATIONS["revert"][1])
    steps.held()
    second = json.loads((p.state / "process.next.json").read_text())["pid"]
    p.kill()
    steps.go()
    os.kill(second, signal.SIGSTOP)
    steps = hostile.Steps(p)
    steps.hold("process-discard")
    steps.start()
    os.kill(second, signal.SIGKILL)
    steps.held()
    p.kill()
    steps.go()
    p.start()
    mark.went_on()
    harness.equal(scene.layout(p), active, "disks")
    scene.check_disks(p)
    harness.poll(lambda: not (p.state / "journal.json").exists(), 10, "the journal's end")
    scene.revert(p, saved)
    scene.tidy(p, leaks=True)


def chosen(operation, kind):
    """The steps to break behind."""
    if STEPS == "all":
        return range(1, MOST)
    if "," in STEPS or int(STEPS) > 9:
        return [int(step) for step in STEPS.split(",")]
    return sorted(random.Random(f"{SEED} {operation} {kind}").sample(
        range(1, LENGTH.get(operation, 30 if "first" in operation or "in place" in operation else 16)),
        int(STEPS)))


def each_step(t, operation, kind):
    """The operation, broken behind steps of it; what went wrong, and where."""
    bad, tried = {}, 0
    for step in chosen(operation, kind):
        s = Scene(t, step, "stream" if operation in HERE else "vmstate")
        name = breaks(s, operation, step, kind)
        if name is None:
            s.kill_all(True)
            continue
        tried += 1
        try:
            check_after(s, operation, kind, name)
        except (AssertionError, qmp.QmpError, qmp.Closed, OSError) as error:
            bad[f"{step} {name}"] = f"{type(error).__name__}: {error}"
            t.note(f"{kind} {step} {name}: {error}")
            s.kill_all(s.p.process is not None)
    assert tried, f"{operation} has none of the steps {list(chosen(operation, kind))}"
    harness.equal(bad, {}, f"{operation}, {kind}")


def make(operation, kind):
    def test(t):
        each_step(t, operation, kind)
    test.timeout = 600
    test.__name__ = f"test_{operation.replace(' ', '_')}_broken_{kind}"
    return test


def test_a_start_right_behind_a_kill(t):
    """The old QEMU may still be on its way out, or wait for somebody to take its exit status."""
    p = scene.start(t)
    for _ in range(5):
        p.kill()
        p.kill_qemu(wait=False)
        last, since = p.serial.last(), p.serial.size()
        p.start()
        p.serial.wait_more(2)
        harness.equal(len(p.serial.boots(since)), 1, "boots")
        assert p.serial.boots(since)[0] >= last - 1
    p.stop()


def test_a_create_that_is_taken_back_when_the_proxy_dies(t):
    """The overlay was merged back and is stale: the guest has gone on below it."""
    p, steps = hostile.stepped(t)
    block = hostile.no_record_can_be_written(p)
    steps.hold("transaction")
    p.qmp.send("snapshot-create", {"name": "s1", "memory": "none"})
    steps.held()
    p.serial.wait_more(8)               # turns that only the overlay has
    steps.hold_next("undo-check")
    steps.held()
    p.kill()
    steps.go()
    block.rmdir()
    p.start()
    p.serial.wait_more(8)               # turns that only the image below has
    p.kill()
    p.kill_qemu()
    last, since = p.serial.last(), p.serial.size()
    p.start()
    p.serial.wait_more(3)
    assert abs(p.serial.boots(since)[0] - last) <= 3, (p.serial.boots(since), last)
    p.serial.wait_round()
    scene.check_disks(p)


def test_a_proxy_that_dies_while_memory_is_saved(t):
    """QEMU still writes when the next proxy finds it, and would stop the guest at the end."""
    p, steps = hostile.stepped(t, memory="2048")
    p.qmp.send("snapshot-create", {"name": "s1"})
    harness.poll(lambda: any(line.endswith("step migrate") for line in steps.lines), 10,
                 "the migration", step=0.0005)
    p.kill()
    steps.go()
    p.start()
    harness.poll(lambda: p.command("query-migrate").get("status") not in ("active", "setup"), 20,
                 "the end of the migration")
    harness.equal(scene.status(p), "running", "state of the guest")
    p.serial.wait_more(3)
    bandwidth = p.command("query-migrate-parameters")["max-bandwidth"]
    assert bandwidth < 1 << 40, f"max-bandwidth is still {bandwidth}"


def test_overlays_with_data_are_never_removed(t):
    """A create was interrupted, and something else does not fit: there is no reason to unlink what
    the guest has written since."""
    p, steps = hostile.stepped(t)
    scene.create(p, "s0")
    base = p.disks[0].path
    steps.hold("cont")
    p.qmp.send("snapshot-create", {"name": "s1"})
    steps.held()
    p.kill()
    steps.go()
    p.start()
    p.serial.wait_more(8)
    active = scene.layout(p)["d0"][0]
    p.kill()
    p.kill_qemu()
    os.utime(base)                      # as a backup program may do
    p.start(connect=False)
    harness.poll(lambda: p.process.poll() is not None or p.qemu_pid(), 10, "a start or an end")
    assert os.path.exists(active), f"{active} was removed"


TESTS = [test_a_start_right_behind_a_kill, test_second_qemu_that_dies_where_it_is_found,
         test_a_create_that_is_taken_back_when_the_proxy_dies,
         test_overlays_with_data_are_never_removed,
         test_a_proxy_that_dies_while_memory_is_saved]
TESTS += [make(operation, kind) for operation in HERE
          for kind in ("cold", "qemu", "alone", "later")]


if __name__ == "__main__":
    sys.exit(harness.run(TESTS))
