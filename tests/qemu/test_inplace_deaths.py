#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""As test_recovery.py, of a snapshot whose memory is a vmstate, and of a revert in place: the proxy, QEMU or
both are killed behind a step.  STEPS=all tries every step; by default one of some, chosen by SEED.  And what
breaks when the snapshot is loaded already, or while what was is loaded again."""

import os
import sys

FEW = bool(os.environ.get("BRIEF")) or "STEPS" not in os.environ
if FEW:
    os.environ["STEPS"] = "1"

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


def test_no_way_back_and_the_guest_is_not_let_go_on(t):
    """What was is broken on the disk when it is needed: until a cold start the guest stands."""
    p, steps, saved = stepped(t)
    steps.hold("memory-load")
    p.command("snapshot-revert", {**IN_PLACE, "job-id": "j"})
    steps.held()
    kept = next((p.state / "memory").glob("present-*"))
    with open(kept, "r+b") as file:
        file.seek(300 << 10)
        file.write(b"\xff" * (kept.stat().st_size - (600 << 10)))
    sent = p.qmp.send("job-cancel", {"id": "j"})
    steps.go()
    p.qmp.reply(sent)
    last = p.serial.last()
    for _ in range(2):
        harness.poll(lambda: "finished nor taken back" in p.qmp.refused(
            "snapshot-create", {"name": "x"}).desc, 30, "it to be stuck")
        harness.equal(scene.status(p), "paused", "state of the guest")
        for command, args in (("cont", {}), ("human-monitor-command", {"command-line": "cont"}),
                              ("job-dismiss", {"id": "qsnap-load"}), ("migrate", {"uri": "exec:cat >/dev/null"})):
            harness.equal(p.qmp.refused(command, args).reason, "stuck", command)
        p.kill()
        p.start()                       # it is tried again, and cannot be
    p.kill()
    p.kill_qemu()
    mark = p.serial.size()
    p.start()
    boots = harness.poll(lambda: p.serial.boots(mark), 20, "the guest to boot")
    assert abs(boots[-1] - last) <= 3, f"booted with turn {boots[-1]}, the guest was at {last}"
    usable(p, saved)


def test_stuck_when_memory_and_disks_are_one_again(t):
    """What is left to do is a file: nobody has to be kept from the guest for that."""
    p, steps, saved = stepped(t)
    before = set(t.dir.glob("*.qcow2"))
    steps.hold("memory-load")
    p.command("snapshot-revert", {**IN_PLACE, "job-id": "j"})
    steps.held()
    mark = scene.Mark(p)
    sent = p.qmp.send("job-cancel", {"id": "j"})
    steps.hold_next("memory-return")
    p.qmp.reply(sent)
    steps.held()
    overlay = (set(t.dir.glob("*.qcow2")) - before).pop()
    overlay.unlink()
    overlay.mkdir()                     # which unlink() does not remove
    steps.go()
    p.wait_job("j")
    assert (p.state / "journal.json").exists(), "it was not stuck"
    mark.went_on()
    for command in ("stop", "cont"):
        p.command(command)
    p.kill()
    overlay.rmdir()
    p.start()
    harness.poll(lambda: not (p.state / "journal.json").exists(), 20, "the recovery to end")
    mark.went_on()
    usable(p, saved)
    scene.tidy(p)


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


def test_attached_and_qemu_dies(t):
    """It is started anew on the images that it had: those of the revert go, and nothing is asked of it that
    the other one was to do."""
    q = vm.Qemu(t, oracle.make_disks(t.dir, ("qcow2", "raw")), style="blockdev", name="q")
    q.start()
    q.serial.wait_tick(4)
    q._close_clients()                  # pylint: disable=protected-access
    p = vm.Attached(t, q.address, options=["--log-level", "debug"])
    p.serial = q.serial
    steps = hostile.Steps(p)
    steps.start()
    scene.create(p, "s1")
    p.serial.wait_more(3)
    active = list(scene.layout(p).values())
    steps.hold("memory-load")
    p.qmp.send("snapshot-revert", IN_PLACE)
    steps.held()
    q.end_hard()
    q = vm.Qemu(t, [oracle.Disk(path, fmt, f"d{i}") for i, (path, fmt) in enumerate(active)],
                style="blockdev", name="q")
    mark = q.serial.size()
    q.start(connect=False)
    steps.go()
    harness.poll(lambda: not (p.state / "journal.json").exists(), 20, "the recovery to end")
    p._close_clients()                  # pylint: disable=protected-access
    p.qmp = harness.poll(p._try_client, 10, "the monitor to answer")    # pylint: disable=protected-access
    harness.poll(lambda: q.serial.boots(mark), 20, "the guest to boot")
    p.serial.wait_more(3)
    scene.check_disks(p)
    p.qemu_pid = lambda: q.process.pid
    in_place(p, scene.create(p, "s2"))
    clean(p)
    p.stop()
    q.stop()


TESTS = [test for name, test in list(globals().items()) if name.startswith("test_") and callable(test)]
TESTS += [test_recovery.make(operation, kind) for operation, kinds in DEATHS.items() for kind in kinds]


if __name__ == "__main__":
    sys.exit(harness.run(TESTS))
