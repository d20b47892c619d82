#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""snapshot-delete when the disk is full and when QEMU cannot write, for each kind of merge.

What must be true then: the guest runs on; the snapshot is gone, or marked and good for nothing but
another delete, which finishes; every other snapshot is what it was, to the byte; no file is left."""

import sys

import faulty
import hostile
import scene
from faulty import Row
from scene import harness, oracle


def fails(row, words, **args):
    """The delete breaks off for that; the guest runs on.  The steps are taken back."""
    p, mark = row.p, scene.Mark(row.p)
    error = p.qmp.refused("snapshot-delete", {**row.args, **args}, timeout=40)
    harness.equal((error.cls, error.reason), ("GenericError", "qemu-failed"), error.desc)
    assert any(word in error.desc for word in words), error.desc
    mark.went_on()
    row.marked()
    return error


# --- no room

def without_room(t, kind):
    images = hostile.mount_tmpfs(t, "images", "120m")
    p = hostile.vm.Proxy(t, oracle.make_disks(images), options=["--log-level", "debug"])
    steps = hostile.Steps(p)
    steps.start()
    p.serial.wait_tick(4)
    row = Row(t, p, kind)
    # In the layer that moves; a guest that needs room itself would be paused by QEMU.
    p.serial.wait_round()
    before, mark = scene.beyond(p), scene.Mark(p)
    steps.hold("snapshot-mark")
    sent = p.qmp.send("snapshot-delete", row.args)
    steps.held()
    filler = hostile.fill(images, 32 << 10)
    steps.go()
    error = p.qmp.reply(sent, 40)["error"]
    harness.equal(error["data"]["reason"], "qemu-failed", error)
    assert "No space left" in error["desc"], error
    mark.went_on()
    row.marked()
    row.others_are_right()
    harness.equal(scene.beyond(p), before, "the running disk")
    # With the disk full from the start, it is refused before anything is done.
    harness.equal(p.qmp.refused("snapshot-delete", row.args).reason, "no-space", "delete again")
    filler.unlink()
    row.finish(folder=images)


def test_no_room_in_the_first_image(t):
    without_room(t, "header rewrite")


def test_no_room_below_what_runs(t):
    without_room(t, "stream below")


def test_no_room_under_what_runs(t):
    without_room(t, "commit of the active layer")


def test_no_room_beside_what_runs(t):
    without_room(t, "side stream")


# --- writes that fail

DATA = 65537            # what only a job writes at once
IO_ERROR = ("Input/output error",)


def each(t, kinds, run, **guest):
    """Runs it with a guest of its own for each kind; each ends by finish()."""
    for number, kind in enumerate(kinds[::2] if harness.BRIEF else kinds):
        folder = t.path(f"images{number}")
        folder.mkdir()
        p, faults, *steps = faulty.start(t, folder=folder, name=f"vm{number}", **guest)
        row = Row(t, p, kind)
        before = scene.beyond(p)
        run(row, faults, *steps)
        harness.equal(scene.beyond(p), before, "the running disk")
        row.finish(folder=folder, leaks=True)
        for step in steps:
            step.go()


def data_fails(row, faults):
    """For good, twice; then once."""
    for rule, times in (("fail", 2), ("once", 1)):
        faults.rules((rule, faulty.EIO, "data", row.target, DATA))
        for _ in range(times):
            fails(row, IO_ERROR)
        row.others_are_right()
    assert faults.fired(), "nothing was written"


def test_writes_of_a_commit_that_fail(t):
    each(t, ("commit below", "commit of the active layer", "side commit"), data_fails)


def test_writes_of_a_stream_that_fail(t):
    each(t, ("stream below", "stream into the active layer", "side stream"), data_fails)


def anew(row):
    """The same command line again."""
    row.p.stop()
    row.p.start()
    row.p.serial.wait_more(3)


def flush_fails(row, faults):
    """Once; but QEMU takes nothing in this file for safe until it is opened again.  Beside what runs
    the next delete does that."""
    faults.rules(("once", faulty.EIO, "sync", row.target))
    fails(row, IO_ERROR)
    assert faults.fired(), "there was no sync"
    row.others_are_right()
    if not row.beside:
        fails(row, IO_ERROR)
        anew(row)


def test_a_disk_that_does_not_keep_what_a_merge_wrote(t):
    each(t, ("commit below", "side stream", "commit of the active layer"), flush_fails)


def tables_fail(row, faults, steps):
    """The job has copied everything; what leads to it cannot be written."""
    steps.hold("block-commit" if row.direction == "commit" else "block-stream")
    mark = scene.Mark(row.p)
    sent = row.p.qmp.send("snapshot-delete", row.args)
    steps.held()
    faults.rules(("fail", faulty.EIO, "data", row.target))
    steps.go()
    error = row.p.qmp.reply(sent, 30)["error"]
    assert "Input/output error" in error["desc"], error
    faults.mend()
    mark.went_on()
    row.marked()
    row.others_are_right()


def test_tables_that_cannot_be_written_behind_the_data(t):
    each(t, ("commit below", "side stream"), tables_fail, steps=True)


def header_fails(row, faults):
    """At the last step of a merge.  Some versions of QEMU do not survive it in a commit, and in a stream
    they have left the layer although the header names it: no record fits that, and it is over with a
    new start."""
    p = row.p
    faults.rules(("fail", faulty.EIO, "header", row.header))
    error = p.qmp.refused("snapshot-delete", row.args, timeout=40)
    harness.equal(error.reason, "qemu-failed", error.desc)
    faults.mend()
    if "QEMU ended" in error.desc:
        assert row.direction == "commit", error.desc
        p._close_clients()              # pylint: disable=protected-access
        p.wait()
        p.process = None
        p.start()
        p.serial.wait_more(3)
    else:
        assert IO_ERROR[0] in error.desc, error.desc
        p.serial.wait_more(3)
        if not row.beside:
            reason = p.qmp.refused("snapshot-delete", row.args, timeout=30).reason
            harness.equal(reason, "stuck", "another delete")
            anew(row)
    row.marked()
    row.others_are_right()


def test_a_header_that_cannot_be_written(t):
    each(t, ("stream below", "stream into the active layer", "side stream", "commit below"),
         header_fails)


def test_what_a_qemu_that_flushes_nothing_has_written(t):
    """cache=unsafe: the proxy writes it back itself before it believes in a merge, and hears of it
    when that fails.  (The first merge is into an overlay, which QEMU flushes.)"""
    disk = oracle.make_disks(t.dir)[0]
    args = [arg.replace("if=virtio", "if=virtio,cache=unsafe") for arg in disk.args()]
    assert args != disk.args(), args
    p = hostile.vm.Proxy(t, args=args)
    p.disks = [disk]
    faults = faulty.Faults(t, "proxy")
    p.start(env=faults.env)
    p.serial.wait_tick(4)
    root, a, b = scene.row(p, "root", "a", "b")
    faults.rules(("fail", faulty.EIO, "sync", disk.path))
    scene.drop(p, a, root, b)
    error = p.qmp.refused("snapshot-delete", {"name": "root", "direction": "commit"}, timeout=30)
    assert IO_ERROR[0] in error.desc and str(disk.path) in error.desc, error.desc
    assert scene.state(p)["snapshots"][0]["deleting"], "not marked"
    faults.mend()
    scene.drop(p, root, b)
    scene.drop(p, b)
    scene.tidy(p)


TESTS = [test for name, test in list(globals().items()) if name.startswith("test_")]


if __name__ == "__main__":
    sys.exit(harness.run(TESTS))
