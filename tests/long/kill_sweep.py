#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The proxy is killed at many moments of each operation, and the same command line is given again.

Model: a guest on two disks with the snapshots s1, s2 and s3, for some operations with a branch s4 of
s1 or s2 on which it runs; one operation is begun and broken off at a Moment, drawn from the seed so that
the moments of an operation lie evenly over its run.
Kinds: "hot": the proxy alone; "cold": everything at once, as in a power cut (but for the page
cache); "qemu": QEMU alone.  Afterwards, whichever way the operation ended: it is settled; the guest
goes on from where it was, or from where a revert puts it, and sees no tear; every snapshot that is
listed reverts to what it held; no file, socket or process is left that no record names; all of it
deletes down to one layer.

    kill_sweep.py [--points N] [--seed S] [--kinds hot,cold,qemu] [--only WORD] [--at PLACE]

N moments (default 300) for each kind.  A failure prints the options that repeat it; --at, as
THREAD:CALL:NTH, is its exact place, which the seed alone gives only nearly: how often a run waits
is never quite the same.
"""

import argparse
import os
import random
import shutil
import signal
import stat
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "qemu"), str(HERE.parent / "lib")]

# pylint: disable=wrong-import-position
import moment
import scene
from scene import harness, oracle, qmp, vm

SNAPSHOTS = ("s1", "s2", "s3")
OPERATIONS = {
    "create": ("snapshot-create", {"name": "s5"}),
    "revert": ("snapshot-revert", {"name": "s1", "discard": True}),
    "delete_top": ("snapshot-delete", {"name": "s3"}),
    "delete_middle": ("snapshot-delete", {"name": "s2"}),
    "delete_root": ("snapshot-delete", {"name": "s1"}),
    "delete_stream": ("snapshot-delete", {"name": "s2", "direction": "stream"}),
    "delete_stream_top": ("snapshot-delete", {"name": "s3", "direction": "stream"}),
    "delete_side": ("snapshot-delete", {"name": "s2", "direction": "stream"}),
    "delete_side_down": ("snapshot-delete", {"name": "s2", "direction": "commit"}),
    "delete_below_point": ("snapshot-delete", {"name": "s1"}),
    "delete_subtree": ("snapshot-delete", {"name": "s2", "children": "include"}),
}
# Where the guest has branched off, and runs on s4.
BRANCHES = {"delete_side": "s1", "delete_side_down": "s1", "delete_below_point": "s2",
            "delete_subtree": "s1"}
KINDS = ("hot", "cold", "qemu")
STATE_FILES = {"state.json", "process.json", "qemu.pid", "qemu.sock", "qemu.bulk.sock", "memory"}
# What durable writes leave when they are broken off; the next one of the same file takes it over.
HALF_WRITTEN = {".state.json.tmp", ".journal.json.tmp", ".process.json.tmp", ".qemu.pid.tmp"}
NEAR = 3                # turns that a guest may be ahead of what it printed
TIMEOUT = 240
runs = {}               # operation -> what moment.watch() saw of it


class Scene:
    """The guest, and what is known of its snapshots."""

    def __init__(self, t, folder, name, operation):
        self.t, self.folder = t, folder
        self.p = vm.Proxy(t, oracle.make_disks(folder, ("qcow2", "raw")), name=name,
                          options=["--log-level", "debug"])
        self.p.start()
        self.p.serial.wait_tick(3)
        self.saved = {}
        for snapshot in SNAPSHOTS:
            self.save(snapshot)
        if operation in BRANCHES:
            scene.revert(self.p, self.saved[BRANCHES[operation]])
            self.p.serial.wait_more(3)
            self.save("s4")
        self.last = self.since = 0

    def save(self, name):
        self.saved[name] = scene.create(self.p, name)
        self.p.serial.wait_more(3)

    def qemus(self):
        """Every one that is alive, also one that the proxy knows nothing of."""
        serial = str(self.p.serial.path)
        return [pid for pid, line in harness.marked_processes(self.t.marker).items()
                if serial in line and not line.startswith(vm.PROXY_BIN + " ")]

    def note_death(self):
        """Where the guest was when it, or the proxy, died."""
        self.last, self.since = self.p.serial.last(), self.p.serial.size()


def watched(t, operation):
    """The run of an operation that nothing breaks; looked at once."""
    if operation not in runs:
        folder = t.path("watched")
        folder.mkdir()
        s = Scene(t, folder, "watched", operation)
        command, args = OPERATIONS[operation]
        runs[operation] = moment.watch(folder, s.p.process.pid,
                                       lambda: s.p.command(command, args, timeout=60))
        s.p.stop()
        shutil.rmtree(folder)
    return runs[operation]


# --- breaking off

def broken_off(s, operation, kind, where, delay):
    """Begins the operation and breaks it off; false when it was over before."""
    p, replies = s.p, []
    command, args = OPERATIONS[operation]

    def over():
        try:
            replies.append(p.qmp.reply(sent, 0))
        except (qmp.Timeout, qmp.Closed):
            pass
        return bool(replies)

    where.arm(s.folder, p.process.pid)
    try:
        sent = p.qmp.send(command, args)
        if not where.wait(p.process.pid, over):
            return False
        time.sleep(delay)       # so that QEMU has done what it was told, or has not
        if kind == "qemu":
            kill_qemu(s, replies, over)
        else:
            others = s.qemus() if kind == "cold" else []
            p.kill()
            for pid in others:
                kill(pid)
            # After a power cut nothing is left, not even a process that is about to end.
            harness.poll(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in others), 10,
                         "the processes to be gone")
        s.note_death()
    finally:
        where.end()
    return True


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def kill_qemu(s, replies, over):
    """SIGKILL to the VM's QEMU while the proxy stands still, which then goes on.  It ends as QEMU
    did, but for one end that a revert was about to bring about itself."""
    p, pid = s.p, s.p.qemu_pid()
    if pid is not None:
        kill(pid)
    p.signal(signal.SIGCONT)

    def settled():
        return p.process.poll() is not None or (over() and "return" in replies[-1] and
                                                p.qemu_pid() not in (None, pid))
    harness.poll(settled, 30, "the proxy to end with QEMU, or the operation without it")
    if p.process.poll() is None:
        return
    harness.equal(p.wait(), 128 + signal.SIGKILL, "exit status")
    p._close_clients()          # pylint: disable=protected-access
    p.process = None
    harness.poll(lambda: not s.qemus(), 5, "no QEMU to be left")


# --- what must be true afterwards

def settled(p):
    """Waits until no operation is open.  A refused query would raise."""
    def closed():
        return not any(info.get("operation") for info in p.command("query-snapshots"))
    harness.poll(closed, 20, "the operation to be settled")
    harness.poll(lambda: not (p.state / "journal.json").exists(), 20, "the journal to be closed")


def check_guest(s, operation, cold):
    """It goes on from where it was, or from where the revert puts it."""
    p, back = s.p, s.saved["s1"].count if operation == "revert" else None
    harness.poll(lambda: scene.status(p) == "running", 15, "the guest to run")
    if cold and harness.poll(lambda: p.serial.boots(s.since) or back is not None and p.serial.ticks(s.since)[3:],
                             30, "the guest to boot") and not p.serial.boots(s.since):
        # Past the commit point the next start loads the snapshot's memory.
        first = p.serial.ticks(s.since)[0]
        assert 0 <= first - back <= NEAR, f"it goes on with turn {first}, the snapshot is {back}"
    elif cold:
        boots = p.serial.boots(s.since)
        harness.equal(len(boots), 1, "boots")
        near = [boots[0] - last for last in (s.last, back) if last is not None]
        assert any(abs(gap) <= NEAR for gap in near), \
            f"booted with turn {boots[0]}, it was at {s.last}, the snapshot at {back}"
    p.serial.wait_more(4)
    scene.check_disks(p)
    nodes = [node["node-name"] for node in p.command("query-named-block-nodes", flat=True)]
    harness.equal([node for node in nodes if node.startswith("qsnap-side")], [], "nodes left open")
    harness.equal(len(s.qemus()), 1, "QEMUs")
    if not cold:
        harness.equal(p.serial.boots(s.since), [], "boots")
        jumps = [jump for jump in p.serial.jumps(s.since) if jump[1] - jump[0] != 2]
        wrong = [jump for jump in jumps if back is None or not 0 <= jump[1] - back <= NEAR]
        assert not wrong and len(jumps) <= 1, f"the guest jumped: {jumps}, the snapshot is {back}"


def check_files(s, litter=()):
    """Nothing but what the record names lies there, and all of it does.  litter: what else may."""
    p, record = s.p, scene.state(s.p)
    layers = {layer["real"] for layer in record["layers"].values()}
    layers |= {str(disk.path) for disk in p.disks}
    images = {str(path) for path in s.folder.iterdir() if path.suffix in (".qcow2", ".raw")}
    harness.equal(sorted(images - layers), [], "images that no record names")
    harness.equal(sorted(layers - images), [], "images on record that are not there")
    memory = {info["memory"]["file"] for info in record["snapshots"] if "memory" in info}
    harness.equal({str(path) for path in (p.state / "memory").iterdir()}, memory, "memory files")
    harness.equal({path.name for path in p.state.iterdir()} - STATE_FILES - set(litter),
                  set(), "state folder")
    sockets = {path.name for path in s.t.dir.iterdir() if stat.S_ISSOCK(path.lstat().st_mode)}
    harness.equal(sockets, {f"{p.name}.sock"}, "sockets")


def check_snapshots(s, operation):
    """Each snapshot that is listed reverts to what it held, or is one that is being deleted."""
    p, listed = s.p, scene.names(s.p)
    command, args = OPERATIONS[operation]
    going = {args["name"]} if command == "snapshot-delete" else set()
    if args.get("children") == "include":
        going.add("s3")
    harness.equal(set(s.saved) - set(listed) - going, set(), "snapshots that are lost")
    harness.equal(set(listed) - set(s.saved) - {"s5"}, set(), "snapshots that nobody made")
    for name in list(listed):
        try:
            p.command("snapshot-revert", {"name": name, "discard": True, "dry-run": True})
        except qmp.QmpError as error:
            if error.reason != "being-deleted" or name not in going:
                raise
            scene.delete(p, name)
            listed.remove(name)
    for name in listed:
        held = scene.Saved(scene.info(p, name))
        if name in s.saved:
            harness.equal(held.count, s.saved[name].count, f"turn on the disks of {name}")
        scene.revert(p, held)


def check_deletes(s):
    """Everything deletes, and one layer is left."""
    p = s.p
    for name in scene.names(p):
        scene.delete(p, name)
    depths = {entry["device"]: entry["inserted"]["backing_file_depth"]
              for entry in p.command("query-block") if "inserted" in entry}
    harness.equal(depths, {disk.id: 0 for disk in p.disks}, "layers below the active ones")
    check_files(s)
    p.serial.wait_round()
    scene.tidy(p)


def sweep(t, operation, kind, fraction, delay, at):
    where = moment.Moment(([at], 0) if at else watched(t, operation), 0 if at else fraction)
    s = Scene(t, t.dir, "vm", operation)
    try:
        if not broken_off(s, operation, kind, where, delay):
            raise harness.Skip(f"over before {where}")
        t.note(f"{operation} broken off at {where}, {kind}")
        alive = s.p.process is not None and s.p.process.poll() is None
        if not alive:
            s.p.start(wait=20)
        settled(s.p)
        check_guest(s, operation, cold=kind == "cold" or not alive and kind == "qemu")
        check_files(s, HALF_WRITTEN)
        check_snapshots(s, operation)
        check_deletes(s)
    except Exception:
        t.note(f"QEMU {'.'.join(map(str, vm.qemu_version()))}, delay {delay} s; {t.again} "
               f"{where.option()}")
        raise


def tests(options):
    """The points, evenly over the operations and over the run of each."""
    found, names = [], list(OPERATIONS)
    each = -(-options.points // len(names))
    for kind in options.kinds.split(","):
        rng = random.Random(f"{options.seed} {kind}")
        for number in range(options.points):
            operation = names[number % len(names)]
            fraction = (number // len(names) + rng.random()) / each
            found.append(test(kind, number, operation, fraction, rng.choice((0, 0, 0.03)), options))
    return [function for function in found if options.only in function.__name__]


def test(kind, number, operation, fraction, delay, options):
    def function(t):
        t.again = (f"again: kill_sweep.py --points {options.points} --seed {options.seed} "
                   f"--kinds {kind} --only {kind}_{number:03}")
        sweep(t, operation, kind, fraction, delay, options.at)
    function.__name__ = f"test_{kind}_{number:03}_{operation}"
    function.timeout = TIMEOUT
    return function


def place(text):
    thread, call, nth = text.split(":")
    return int(thread), call, int(nth)


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=300, help="moments for each kind")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--only", default="", help="only the points with this in their names")
    parser.add_argument("--at", type=place, help="this place instead of the drawn one")
    options = parser.parse_args()
    for kind in options.kinds.split(","):
        if kind not in KINDS:
            parser.error(f"no such kind: {kind}")
    if not moment.usable():
        print("# no strace: moments by time")
    return harness.run(tests(options))


if __name__ == "__main__":
    sys.exit(main())
