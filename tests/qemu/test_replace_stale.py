#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""snapshot-revert by replace, where the journal and the VM part: what was kept of the guest must
never be loaded once its disks have gone on."""

import os
import signal
import sys

import hostile
import plugging
import scene
from scene import harness, oracle, vm
from test_failures import with_snapshot
from test_replace import BAD, REPLACE, broken, kept, qemus


def stepped(t, formats=("qcow2", "raw"), **guest):
    p, steps = hostile.stepped(t, formats, **guest)
    return p, steps, scene.create(p, "s1")


def block_journal(p):
    path = p.state / ".journal.json.tmp"
    path.mkdir()
    return path


def start_again(p):
    """Behind the proxy's end."""
    p._close_clients()                  # pylint: disable=protected-access
    p.process = None
    p.start(wait=20)


def boots_near(p, since, last):
    boots = harness.poll(lambda: p.serial.boots(since), 20, "the guest to boot")
    assert last - 1 <= boots[0] <= last + 3, (boots, last)
    p.serial.wait_more(3)
    scene.check_disks(p)


def fails_behind(p, steps, **request):
    """The second QEMU has died, and from then on the journal cannot be written; what blocks it, and the
    answer."""
    p.serial.wait_more(3)
    steps.hold("loaded")
    sent = p.qmp.send("snapshot-revert", {"name": "s1", "method": "replace", **request})
    steps.held()
    blocked = block_journal(p)
    os.kill(qemus(p)[0], signal.SIGKILL)
    steps.go()
    return blocked, p.qmp.reply(sent, 40)


def test_journal_that_cannot_be_written_on_the_way_back(t):
    """What was kept goes instead.  Where a snapshot has it that is not possible, and the operation is
    stuck: a client lets the guest run, and what the journal says is not so."""
    p, steps, saved = stepped(t)
    mark = scene.Mark(p)
    blocked, _answer = fails_behind(p, steps, discard=True)
    mark.went_on()
    harness.equal((kept(p), (p.state / "journal.json").exists()), ([], False), "what is kept")
    blocked.rmdir()
    blocked, answer = fails_behind(p, steps, **{"save-as": "s2"})
    harness.equal(answer["error"]["data"]["reason"], "stuck", "reason")
    p.command("cont")
    p.serial.wait_more(5)
    blocked.rmdir()
    p.kill_qemu(wait=False)
    p.wait(15)
    last, since = p.serial.last(), p.serial.size()
    start_again(p)
    boots_near(p, since, last)
    saved.untouched()
    for name in ("s2", "s1"):
        scene.revert(p, scene.Saved(scene.info(p, name)), method="replace")
    scene.tidy(p, leaks=True)


def test_death_behind_the_commit_point_that_the_journal_cannot_take_back(t):
    """The second QEMU dies between the commit point and the switch, and the journal goes on saying that
    it is committed: then so it is, and the next start brings the snapshot."""
    p, steps, saved = stepped(t)
    p.serial.wait_more(3)
    mark = scene.Mark(p)
    steps.hold("commit")
    p.qmp.send("snapshot-revert", REPLACE)
    steps.held()
    blocked = block_journal(p)
    since = p.serial.size()
    os.kill(qemus(p)[0], signal.SIGKILL)
    steps.go()
    assert p.wait(30) in (1, 137)       # it had died before the switch, or behind it
    blocked.rmdir()
    start_again(p)
    mark.went_back_to(saved)
    harness.equal(p.serial.boots(since), [], "boots")
    scene.check_disks(p)
    saved.untouched()
    scene.revert(p, saved, method="replace")
    scene.tidy(p, leaks=True)


def test_the_one_that_comes_back_dies_with_the_proxy(t):
    """It had loaded what was kept, and opened the images: that is still the present state."""
    p, steps, saved = stepped(t)
    p.serial.wait_more(3)
    mark = scene.Mark(p)
    steps.hold("loaded")
    p.qmp.send("snapshot-revert", REPLACE)
    steps.held()
    os.kill(qemus(p)[0], signal.SIGKILL)
    steps.hold_next("process-switch")
    steps.held()
    pids = qemus(p)
    p.process.kill()
    p.process.wait()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    harness.poll(lambda: not qemus(p), 10, "QEMU's end")
    start_again(p)
    mark.went_on()
    harness.equal(p.serial.boots(mark.since), [], "boots")
    saved.untouched()
    scene.revert(p, saved, method="replace")
    scene.tidy(p, leaks=True)


def test_plugged_disks_come_back(t):
    p = hostile.Wrapped(t, oracle.make_disks(t.dir, ("qcow2", "raw")), {"qemu-system-x86_64": BAD},
                        args=plugging.SCSI).start()
    p.serial.wait_tick(4)
    bare = plugging.create(p, "s1")
    plugging.plug_scsi(p, "hot")
    plugging.write(p, "shot", 0x11)
    p.command("device_add", {"driver": "virtio-rng-pci", "id": "rng"})
    with_it = plugging.create(p, "with")
    plugging.write(p, "shot", 0x22)
    plugging.plug_scsi(p, "other", "raw")
    plugging.write(p, "sother", 0x33)
    devices = plugging.peripherals(p)
    broken(t, p, 1, "exit 3")
    mark = scene.Mark(p)
    error = p.qmp.refused("snapshot-revert", REPLACE, timeout=30)
    assert "ended at its start" in error.desc, error.desc
    mark.went_on()
    harness.equal(plugging.peripherals(p), devices, "devices")
    plugging.reads(p, "shot", 0x22)
    plugging.reads(p, "sother", 0x33)
    scene.check_disks(p, skip=("shot", "sother"))
    plugging.unplug(p, "sother")
    bare.untouched()
    scene.revert(p, with_it, method="replace", skip=("shot",))
    plugging.reads(p, "shot", 0x11)
    plugging.unplug(p, "shot")
    scene.revert(p, bare, method="replace")
    p.serial.wait_more(4)
    scene.tidy(p, t.path("other.raw"))


def test_disk_that_the_snapshot_does_not_cover(t):
    p = hostile.Wrapped(t, oracle.make_disks(t.dir, ("qcow2", "raw")), {"qemu-system-x86_64": BAD}).start()
    p.serial.wait_tick(4)
    p.command("snapshot-create", {"name": "s1", "disks": ["d0"], "memory": "none"})
    p.serial.wait_more(3)
    broken(t, p, 1, "exit 3")
    mark = scene.Mark(p)
    p.qmp.refused("snapshot-revert", REPLACE, timeout=30)
    mark.went_on()
    scene.check_disks(p)
    p.command("stop")
    p.command("snapshot-revert", {**REPLACE, "state": "prelaunch"}, timeout=30)
    harness.equal(scene.status(p), "prelaunch", "status")
    scene.tidy(p)


def test_paused_guest_comes_back_usable(t):
    p, steps, saved = stepped(t)
    p.command("stop")
    mark = scene.Mark(p)
    steps.hold("loaded")
    sent = p.qmp.send("snapshot-revert", REPLACE)
    steps.held()
    os.kill(qemus(p)[0], signal.SIGKILL)
    steps.go()
    assert "error" in p.qmp.reply(sent, 30)
    harness.equal(scene.status(p), "paused", "status")
    p.command("block_resize", {"device": "d0", "size": 1 << 27})
    p.command("snapshot-create", {"name": "s2", "memory": "none"})
    scene.delete(p, "s2")
    p.command("cont")
    mark.went_on()
    scene.revert(p, saved, method="replace")
    # It fails before the first QEMU has ended.
    p.command("stop")
    steps.hold("memory-seal")
    sent = p.qmp.send("snapshot-revert", REPLACE)
    steps.held()
    blocked = block_journal(p)
    steps.go()
    assert "error" in p.qmp.reply(sent, 30)
    blocked.rmdir()
    if vm.qemu_version() >= (10, 0):
        p.command("block_resize", {"device": "d0", "size": 1 << 28})
    p.command("cont")
    p.serial.wait_more(4)
    scene.tidy(p, leaks=True)


def test_save_as_needs_no_way_back_with_another_command_line(t):
    """Its snapshot has what was kept."""
    p, _saved = with_snapshot(t, BAD)
    p.serial.wait_more(3)
    broken(t, p, 99, "exit 3")
    p.qmp.send("snapshot-revert", {"name": "s1", "save-as": "s2", "method": "replace"})
    harness.equal(p.wait(30), 1, "exit status")
    last, since = p.serial.last(), p.serial.size()
    t.path("bad").unlink()
    p.qemu_args += ["-rtc", "base=utc"]
    start_again(p)
    boots_near(p, since, last)
    saved = scene.Saved(scene.info(p, "s2"))
    scene.revert(p, saved, method="replace")
    scene.tidy(p, leaks=True)


if __name__ == "__main__":
    sys.exit(harness.run([test_journal_that_cannot_be_written_on_the_way_back,
                          test_death_behind_the_commit_point_that_the_journal_cannot_take_back,
                          test_the_one_that_comes_back_dies_with_the_proxy,
                          test_plugged_disks_come_back, test_disk_that_the_snapshot_does_not_cover,
                          test_paused_guest_comes_back_usable,
                          test_save_as_needs_no_way_back_with_another_command_line]))
