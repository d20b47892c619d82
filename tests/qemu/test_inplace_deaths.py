#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""As test_recovery.py, of a snapshot whose memory is a vmstate, and of a revert in place: the proxy, QEMU or
both are killed behind a step.  STEPS=all tries every step; by default one of some, chosen by SEED.  And what
breaks when the snapshot is loaded already, or while what was is loaded again."""

import os
import sys

FEW = "STEPS" not in os.environ
os.environ.setdefault("STEPS", "1")

# pylint: disable=wrong-import-position
import hostile
import scene
import test_recovery
from scene import harness, oracle, vm
from test_inplace import IN_PLACE, clean, in_place

KINDS = ("cold", "qemu", "alone", "later")
DEATHS = {
    "revert in place": KINDS,
    "create of a vmstate": KINDS[2:] if FEW else KINDS,
    "revert in place that saves first": KINDS[2:3] if FEW else KINDS,
    "revert of a vmstate by respawn": KINDS[2:3] if FEW else KINDS,
}


def stepped(t, **guest):
    """(Proxy, Steps, Saved): a guest with the snapshot s1, and some turns behind it."""
    p, steps = hostile.stepped(t, ("qcow2", "raw"), **guest)
    saved = scene.create(p, "s1", memory="vmstate")
    p.serial.wait_more(3)
    return p, steps, saved


def usable(p, saved):
    """The guest is where it was and goes on, and the same command works now."""
    clean(p)
    p.serial.wait_more(4)
    scene.check_disks(p)
    in_place(p, saved)
    clean(p)


def test_a_record_that_cannot_be_written_brings_back_what_was(t):
    p, steps, saved = stepped(t)
    steps.go()
    block = hostile.no_record_can_be_written(p)
    error = p.qmp.refused("snapshot-revert", IN_PLACE, timeout=50)
    harness.equal(error.reason, "file-unusable", error.desc)
    block.rmdir()
    usable(p, saved)
    scene.tidy(p)


def test_cancelled_when_it_is_loaded(t):
    p, steps, saved = stepped(t)
    for step in ("memory-keep", "drive-switch", "memory-load"):
        mark = scene.Mark(p)
        steps.hold(step)
        p.command("snapshot-revert", {**IN_PLACE, "job-id": "j"})
        steps.held()
        sent = p.qmp.send("job-cancel", {"id": "j"})
        steps.go()
        p.qmp.reply(sent)
        job = p.wait_job("j")
        assert "cancelled" in job.get("error", ""), f"{step}: {job}"
        p.command("job-dismiss", {"id": "j"})
        mark.went_on()
        clean(p)
    usable(p, saved)


def test_no_room_is_left_while_what_is_is_saved(t):
    folder = hostile.mount_tmpfs(t, "small", "70M")
    p, steps, saved = stepped(t, state=folder / "state")
    steps.hold("clients-hold")
    sent = p.qmp.send("snapshot-revert", IN_PLACE)
    steps.held()
    mark, filler = scene.Mark(p), hostile.fill(folder, 300 << 10)
    steps.go()
    reply = p.qmp.reply(sent, 40)
    harness.equal(reply.get("error", {}).get("data", {}).get("reason"), "qemu-failed", str(reply))
    mark.went_on()
    filler.unlink()
    usable(p, saved)
    p.stop()


def test_a_proxy_that_dies_on_the_way_back(t):
    """The snapshot was loaded, the record could not be written, and what was is loaded again."""
    p, steps, saved = stepped(t)
    for step in ("state-write", "drive-return", "memory-return", "job-dismiss"):
        block = hostile.no_record_can_be_written(p)
        steps.hold("state-write")
        p.qmp.send("snapshot-revert", IN_PLACE)
        steps.held()
        mark = scene.Mark(p)
        if step != "state-write":
            steps.hold_next(step)
            steps.held()
        p.kill()
        steps.go()
        block.rmdir()
        steps = hostile.Steps(p)
        steps.start()
        harness.poll(lambda: not (p.state / "journal.json").exists(), 20, "the recovery to end")
        mark.went_on()
        clean(p)
    usable(p, saved)


def test_attached_and_the_proxy_dies(t):
    q = vm.Qemu(t, oracle.make_disks(t.dir, ("qcow2", "raw")), style="blockdev", name="q")
    q.start()
    q.serial.wait_tick(4)
    q._close_clients()                  # pylint: disable=protected-access
    p = vm.Attached(t, q.address, options=["--log-level", "debug"])
    p.serial, p.qemu_pid = q.serial, lambda: q.process.pid
    steps = hostile.Steps(p)
    steps.start()
    saved = scene.create(p, "s1")
    p.serial.wait_more(3)
    for step in ("drive-switch", "memory-load"):
        mark = scene.Mark(p)
        steps.hold(step)
        p.qmp.send("snapshot-revert", IN_PLACE)
        steps.held()
        p.kill()
        steps.go()
        steps = hostile.Steps(p)
        steps.start()
        harness.poll(lambda: not (p.state / "journal.json").exists(), 20, "the recovery to end")
        mark.went_on()
    usable(p, saved)
    p.stop()
    q.stop()


TESTS = [test for name, test in list(globals().items()) if name.startswith("test_") and callable(test)]
TESTS += [test_recovery.make(operation, kind) for operation, kinds in DEATHS.items() for kind in kinds]


if __name__ == "__main__":
    sys.exit(harness.run(TESTS))
