#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The proxy is killed where one stage of an operation has ended and the next has not begun, or the VM is not left
alone between two proxies."""

import json
import sys
from pathlib import Path

import faulty
import hostile
import scene
from scene import harness, oracle, qmp, vm
from test_inplace import IN_PLACE
from test_recovery import kill_pids, pids_of

JOURNAL = ".journal.json.tmp"


def taken_back(t):
    """(Proxy, Steps, Faults): a revert that saved first is about to fail; the guest stands
    still, and is to go on."""
    p, faults = vm.Proxy(t, oracle.make_disks(t.dir), options=("--log-level", "debug")), faulty.Faults(t)
    t.cleanup(faults.mend)
    steps = hostile.Steps(p)
    steps.start(env=faults.env)
    p.serial.wait_tick(4)
    saved = scene.create(p, "s1")
    p.serial.wait_more(3)
    with open(saved.info["memory"]["file"], "r+b") as file:
        file.seek(5000)
        file.write(b"XXXXXXXX")
    steps.hold("memory-check")
    sent = p.qmp.send("snapshot-revert", {"name": "s1", "save-as": "s2"})
    steps.held()
    return p, steps, faults, sent


def test_a_guest_whose_revert_was_taken_back_goes_on_behind_a_kill(t):
    """There is always a journal that says that it was running."""
    p, steps, faults, _sent = taken_back(t)
    faults.rules(("hold", 0, "sync", JOURNAL))
    steps.go()
    harness.poll((p.state / JOURNAL).exists, 10, "the next stage's journal to be written")
    mark = scene.Mark(p)
    p.kill()
    faults.mend()
    p.start()
    mark.went_on()
    harness.poll(lambda: not (p.state / "journal.json").exists(), 10, "the recovery to end")
    scene.check_disks(p)
    harness.equal(p.stop(), 0, "exit status")


def test_a_guest_whose_revert_was_taken_back_goes_on_where_no_journal_can_be_written(t):
    p, steps, faults, sent = taken_back(t)
    faults.rules(("fail", faulty.ENOSPC, "sync", JOURNAL))
    mark = scene.Mark(p)
    steps.go()
    assert "error" in p.qmp.reply(sent, 30)
    mark.went_on()
    faults.mend()
    scene.check_disks(p)
    assert not (p.state / "journal.json").exists(), "an open journal"
    scene.delete(p, "s2")
    harness.equal(p.stop(), 0, "exit status")


# ---- by replace ----

def ended_by_replace(t):
    """A Proxy that is killed, with its QEMU, where a revert by replace has ended the guest; the active image, and
    a Mark of the guest."""
    p, steps = hostile.stepped(t)
    scene.create(p, "s1")
    p.serial.wait_more(5)
    active = scene.layout(p)["d0"][0]
    steps.hold("process-start")
    p.qmp.send("snapshot-revert", {"name": "s1", "discard": True, "method": "replace"})
    steps.held()
    kill_pids(p, pids_of(t, p))
    steps.go()
    return p, Path(active), scene.Mark(p)


def kept(p):
    return sorted(path.name for path in (p.state / "memory").iterdir())


def test_memory_that_was_kept_stays_until_the_images_are_there(t):
    """That an image cannot be looked at, as before its file system is mounted, is not that it was written to."""
    p, active, mark = ended_by_replace(t)
    before, away = kept(p), active.with_suffix(".away")
    active.rename(away)
    p.start(connect=False)
    harness.equal(p.wait(), 1, "exit status")
    assert "cannot be told" in p.log.read_text(), "the reason"
    harness.equal(kept(p), before, "memory files")
    away.rename(active)
    p.start()
    mark.went_on()
    harness.equal(p.serial.boots(mark.since), [], "boots")
    scene.check_disks(p)
    scene.tidy(p, leaks=True)


# ---- in place ----

def resumed(t, step, nth=1):
    """Killed where that step would begin; the owner of the VM lets the guest run, by a monitor of his own."""
    p, steps = hostile.stepped(t, ("qcow2", "raw"))
    scene.create(p, "s1", memory="vmstate")
    p.serial.wait_more(5)
    steps.hold(step, nth)
    p.qmp.send("snapshot-revert", IN_PLACE)
    steps.held()
    p.kill()
    steps.go()
    since = p.serial.size()
    with qmp.Client(f"unix:{p.state}/qemu.sock") as other:
        other.command("cont")
    harness.poll(lambda: p.serial.ticks(since)[2:], 10, "the guest to run")
    p.start()
    harness.poll(lambda: not (p.state / "journal.json").exists(), 20, "the recovery to end")
    p.serial.wait_more(4)
    scene.check_disks(p)
    scene.tidy(p)


def test_a_guest_that_runs_with_the_loaded_memory_is_stopped_before_its_disks_change(t):
    resumed(t, "check-disks")


# ---- where no QEMU is left ----

def loaded(t):
    """A Proxy that is killed, with both QEMUs, before the commit point of a revert; the snapshot, and the folder of
    the images."""
    folder = t.path("images")
    folder.mkdir()
    p, steps = hostile.stepped(t, folder=folder)
    saved = scene.create(p, "s1")
    p.serial.wait_more(3)
    steps.hold("settings-carry")
    p.qmp.send("snapshot-revert", {"name": "s1", "discard": True})
    steps.held()
    kill_pids(p, pids_of(t, p))
    steps.go()
    return p, saved, folder


def goes_on(p, saved, folder):
    """Where it was before the revert; and all can be done."""
    last, since = p.serial.last(), p.serial.size()
    p.start()
    boots = harness.poll(lambda: p.serial.boots(since), 20, "the guest to boot")
    assert last - 1 <= boots[0] <= last + 1, (boots, last)
    p.serial.wait_more(3)
    scene.create(p, "s2")
    scene.revert(p, saved)
    scene.tidy(p, folder=folder, leaks=True)


def test_what_a_revert_has_made_is_removed_when_its_file_system_is_there(t):
    """Else it would stay, and be in the way of all that follows."""
    p, saved, folder = loaded(t)
    away = t.path("away")
    folder.rename(away)
    p.start(connect=False)
    harness.equal(p.wait(), 1, "exit status")
    assert (p.state / "journal.json").exists(), "the journal went"
    away.rename(folder)
    goes_on(p, saved, folder)


def test_a_journal_that_says_too_much_is_not_believed(t):
    """Behind its commit point the second QEMU had died and all was taken back, when the journal could not be written
    any more."""
    p, saved, folder = loaded(t)
    path = p.state / "journal.json"
    journal = json.loads(path.read_text())
    path.write_text(json.dumps({**journal, "committed": True}))
    layers = journal["plan"]["after"]
    for disk in layers["disks"].values():
        Path(layers["layers"][disk["active"]]["real"]).unlink()
    goes_on(p, saved, folder)


if __name__ == "__main__":
    sys.exit(harness.run([
        test_a_guest_whose_revert_was_taken_back_goes_on_behind_a_kill,
        test_a_guest_whose_revert_was_taken_back_goes_on_where_no_journal_can_be_written,
        test_memory_that_was_kept_stays_until_the_images_are_there,
        test_a_guest_that_runs_with_the_loaded_memory_is_stopped_before_its_disks_change,
        test_what_a_revert_has_made_is_removed_when_its_file_system_is_there,
        test_a_journal_that_says_too_much_is_not_believed]))
