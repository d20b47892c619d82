#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Where others lose data: what happened to a VM under libvirt 11.3.0 and other managers of snapshots, case
by case, and that it does not happen here.  Each test tells the other's outcome, then asserts ours.
The cases about what is on the host's disk and about deletes are in test_lessons_disks.py."""

import os
import sys
from pathlib import Path

import hostile
import scene
from scene import harness, oracle, qmp, vm
from test_failures import restart_with

REVERT = {"name": "s1", "discard": True}


def test_e1_a_missing_memory_file_is_refused_while_the_guest_runs_on(t):
    """libvirt: the running guest is ended first; only then the file is missed, and there is no guest."""
    p = scene.start(t)
    saved = scene.create(p, "s1")
    memory = Path(saved.info["memory"]["file"])
    away = memory.rename(t.path("away"))
    hostile.refused(p, "memory-missing", "snapshot-revert", REVERT, str(memory))
    assert scene.info(p, "s1")["problems"], "nothing is said of it"
    away.rename(memory)
    scene.revert(p, saved)


def test_e2_a_memory_file_cut_short_costs_neither_guest_nor_image(t):
    """libvirt: the guest is dead, the definition names the frozen base, and the next start writes into it.
    Here length and checksum are looked at first; and what fails to load in spite of a checksum that fits ends
    only the second QEMU."""
    p = scene.start(t, ("qcow2", "raw"))
    saved = scene.create(p, "s1")
    memory = Path(saved.info["memory"]["file"])
    good = memory.read_bytes()
    memory.write_bytes(good[:-1000])
    hostile.refused(p, "memory-changed", "snapshot-revert", REVERT)
    restart_with(p, memory, good[:len(good) // 2])
    still = hostile.Still(p)
    harness.equal(p.qmp.refused("snapshot-revert", REVERT, timeout=50).reason, "qemu-failed", "reason")
    still.check()
    active = {path for path, _driver in scene.layout(p).values()}
    assert not active & set(saved.sums), f"a frozen image is being written: {active}"
    harness.equal(p.stop(), 0, "exit status")
    p.start()                           # and so it stays at the next start
    p.serial.wait_more(4)
    active = {path for path, _driver in scene.layout(p).values()}
    assert not active & set(saved.sums), f"a frozen image is being written: {active}"
    restart_with(p, memory, good)
    saved.untouched()
    scene.revert(p, saved)


def test_e3_without_room_for_the_overlay_a_revert_has_not_begun(t):
    """libvirt: the VM is left paused on the bare base image, and `resume` overwrites the snapshot."""
    images = hostile.mount_tmpfs(t, "images", "80m")
    p = vm.Proxy(t, oracle.make_disks(images, ("qcow2", "qcow2"))).start()
    p.serial.wait_tick(4)
    saved = scene.create(p, "s1")
    p.serial.wait_round(60)             # its own clusters are all there: it needs no room
    filler = hostile.fill(images)
    hostile.refused(p, "no-space", "snapshot-revert", REVERT)
    p.command("stop")
    p.command("cont")
    p.serial.wait_more(3)
    saved.untouched()
    filler.unlink()
    scene.revert(p, saved)
    p.serial.wait_round()
    scene.tidy(p, folder=images)


def two_snapshots(t, **guest):
    """A guest with two snapshots that froze different turns."""
    p = scene.start(t, ("qcow2", "raw"), **guest)
    one = scene.create(p, "one")
    p.serial.wait_more(5)
    two = scene.create(p, "two")
    assert two.count > one.count + 3, (one.count, two.count)
    return p, one, two


def test_e7_excluded_and_read_only_disks_are_left_alone(t):
    """libvirt: a revert gives the excluded disk and the read-only ISO overlays, and a second one deletes
    what the excluded disk held."""
    iso, plain = t.path("cd.iso"), t.path("plain.qcow2")
    iso.write_bytes(os.urandom(1 << 20))
    oracle.qemu_img("create", "-q", "-f", "qcow2", plain, oracle.SIZE)
    # The BIOS does not know this controller, and the guest does not count on its disks.
    p = scene.start(t, args=[
        "-device", "lsi53c810,id=scsi0",
        "-drive", f"file={plain},format=qcow2,if=none,id=plain", "-device", "scsi-hd,drive=plain,id=sp",
        "-drive", f"file={iso},format=raw,if=none,media=cdrom,readonly=on,id=cd",
        "-device", "scsi-cd,drive=cd,id=sc"])
    saved = scene.create(p, "s1", disks=["d0"], memory="none")
    harness.equal([disk["device"] for disk in saved.info["disks"]], ["d0"], "disks")
    scene.write(p, "plain", 0x42, scene.BEYOND, 1 << 20)
    with vm.paused(p):                  # which flushes it
        held, before = scene.content(plain, "qcow2"), scene.checksum(iso)
    for _ in range(2):
        args = {**REVERT, "method": "replace"}     # two processes cannot have it open at once
        since = p.serial.size()
        p.command("snapshot-revert", args, timeout=30)
        harness.poll(lambda since=since: p.serial.boots(since), 20, "the guest to boot")
        p.serial.wait_more(2)
        where = scene.layout(p)
        harness.equal((where["plain"][0], where["cd"][0]), (str(plain), str(iso)), "their images")
        harness.equal(scene.content(plain, "qcow2"), held, "the excluded disk")
    harness.equal(scene.checksum(iso), before, "the ISO")
    saved.untouched()
    scene.tidy(p, plain)


def test_e8_memory_alone_is_refused_when_the_disks_have_changed(t):
    """libvirt: a snapshot of memory only is reverted to although the disks went on, and the guest's file
    systems are corrupt."""
    p = scene.start(t)
    p.command("snapshot-create", {"name": "s1", "disks": []})
    p.serial.wait_more(4)
    hostile.refused(p, "image-changed", "snapshot-revert", REVERT, "'d0'")


def test_e9_a_record_without_a_current_snapshot_is_worked_with(t):
    """libvirt: the daemon crashes on revert and on delete."""
    p, one, two = two_snapshots(t)
    for current in (None, "", "gone"):
        harness.equal(p.stop(), 0, "exit status")
        hostile.edit_state(p, lambda record, current=current: record.update(current=current))
        p.start(connect=False)
        harness.poll(lambda: p.process.poll() is not None or answers(p), 10, "an answer or an end")
        if p.process.poll() is None:
            p.qmp = p.client()
        else:                           # a name that is none: said at the start, before QEMU runs
            harness.equal(p.process.returncode, 1, "exit status")
            assert "damaged" in p.log.read_text(), "why is not said"
            hostile.edit_state(p, lambda record: record.update(current=None))
            p.start()
        p.serial.wait_more(3)
        scene.revert(p, one)
        scene.revert(p, two)
    harness.equal(p.stop(), 0, "exit status")
    hostile.edit_state(p, lambda record: record.update(current=None))
    p.start()
    for saved in (two, one):
        scene.delete(p, saved.name)
    p.serial.wait_round()
    scene.tidy(p)


def answers(p):
    try:
        p.client().close()
        return True
    except (OSError, qmp.Closed):
        return False


def test_e10_reverts_in_quick_succession_have_names_of_their_own(t):
    """libvirt: the second revert within a second ends the guest, and then finds that the overlay's name,
    which is the time, is taken."""
    p, one, two = two_snapshots(t)
    seen = set()
    for saved in (one, two, one, one, two):
        p.command("snapshot-revert", {"name": saved.name, "discard": True}, timeout=30)
        active = {path for path, _driver in scene.layout(p).values()}
        assert not seen & active, f"used twice: {seen & active}"
        seen |= active
    p.serial.wait_more(4)
    scene.check_disks(p)
    for saved in (one, two):
        saved.untouched()
    scene.tidy(p)


def test_e14_an_older_revert_has_its_own_memory_and_its_own_disks(t):
    """os-autoinst: every snapshot's memory goes into one file, since `file:` was given the name of a
    descriptor; an older revert mixes the memory of the last with its own disks (read, not run)."""
    p, one, two = two_snapshots(t)
    files = {saved.info["memory"]["file"] for saved in (one, two)}
    harness.equal(len({os.stat(path).st_ino for path in files}), 2, "memory files")
    harness.equal(len({scene.checksum(path) for path in files}), 2, "what they hold")
    for saved in (one, two, one):
        scene.revert(p, saved)          # the guest says TORN if memory and disks are of two moments
        p.serial.wait_more(8)
    scene.tidy(p)


def test_e15_states_are_waited_for_and_verified(t):
    """Others take status `none` of the incoming side for "done", send `cont` in the state inmigrate, or
    race with finish-migrate.  Here a client that says `cont` all the time gets no error and gets no guest
    on half a memory."""
    p, steps = hostile.stepped(t, ("qcow2", "raw"), memory="256")
    saved = scene.create(p, "s1")
    p.serial.wait_more(4)
    other, since = p.client(), len(steps.lines)
    mark = scene.Mark(p)
    sent, answers_to_cont = p.qmp.send("snapshot-revert", REVERT), []
    reply = None
    while reply is None:
        answers_to_cont.append(other.reply(other.send("cont"), 30))
        try:
            reply = p.qmp.reply(sent, 0)
        except qmp.Timeout:
            pass
    assert "return" in reply, reply
    wrong = [a for a in answers_to_cont if "error" in a and
             a["error"].get("data", {}).get("reason") != "operation-running"]
    harness.equal(wrong, [], "answers to cont")
    mark.went_back_to(saved)
    order = [line.rsplit(" ", 1)[1] for line in steps.lines[since:]
             if "debug: step " in line and not line.endswith(": done")]
    assert order.index("migrate-incoming") < order.index("check-disks") < order.index("commit") \
        < order.index("process-switch") < order.index("cont"), order
    # On the saving side: it is postmigrate before the guest goes on.
    steps.hold("cont")
    sent = p.qmp.send("snapshot-create", {"name": "s2"})
    steps.held()
    steps.go()
    assert "return" in p.qmp.reply(sent, 30), "the create"
    scene.check_disks(p)
    scene.tidy(p)


if __name__ == "__main__":
    sys.exit(harness.run([test for name, test in list(globals().items())
                          if name.startswith("test_e")]))
