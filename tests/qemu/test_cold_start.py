#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The VM is switched off and started again with the same command line, which names the images that
it began with: it comes up on its current layers, or not at all."""

import os
import sys

import scene
from scene import harness, oracle, vm


def again(p, hard=False):
    """Ends the VM and starts it again; the turn that it booted with."""
    before, last, since = scene.layout(p), p.serial.last(), p.serial.size()
    if hard:                            # a power cut: nobody says goodbye
        pid = p.qemu_pid()
        p.end_hard()
        harness.poll(lambda: vm.ended(pid), 5, "QEMU to be gone")
    else:
        harness.equal(p.stop(), 0, "exit status")
    p.start()
    harness.equal(scene.layout(p), before, "images after a cold start")
    boots = harness.poll(lambda: p.serial.boots(since), 15, "the guest to boot")
    harness.equal(len(boots), 1, "boots")
    assert boots[0] >= last, f"booted with turn {boots[0]}, was at {last}"
    p.serial.wait_more(4)
    scene.check_disks(p)
    return boots[0]


def bases(p):
    return {disk.path: scene.checksum(disk.path) for disk in p.disks}


def test_the_disks_are_those_of_the_last_moment(t):
    """With drives and with nodes, after each kind of operation."""
    for style in ("drive", "blockdev"):
        p = vm.Proxy(t, oracle.make_disks(t.dir, ("qcow2", "raw"), prefix=style), name=style,
                     style=style)
        p.start()
        p.serial.wait_tick(4)
        again(p)
        one = scene.create(p, "one")
        frozen = bases(p)
        p.serial.wait_more(4)
        again(p)
        two = scene.create(p, "two")
        p.serial.wait_more(4)
        again(p)
        one.untouched()
        two.untouched()
        harness.equal(bases(p), frozen, "the images that the command line names")
        scene.revert(p, one)            # from a process that was not there at the snapshot
        again(p)
        scene.revert(p, two)
        again(p)
        harness.equal(bases(p), frozen, "the images that the command line names")
        scene.delete(p, "two")
        again(p)
        scene.revert(p, one)
        again(p)
        scene.delete(p, "one")
        harness.equal({path for path, _ in scene.layout(p).values()},
                      {str(disk.path) for disk in p.disks}, "images")
        again(p)
        p.serial.wait_more(4)
        harness.equal(p.stop(), 0, "exit status")


def test_a_power_cut_loses_no_layer(t):
    p = scene.start(t, ("qcow2", "raw"))
    one = scene.create(p, "one")
    frozen = bases(p)
    p.serial.wait_more(4)
    # What the guest wrote is in the host's cache, as its own disk would have it.
    again(p, hard=True)
    two = scene.create(p, "two")
    scene.revert(p, one)
    again(p, hard=True)
    harness.equal(scene.names(p), ["one", "two"], "snapshots")
    scene.revert(p, two)
    harness.equal(bases(p), frozen, "the images that the command line names")
    p.serial.wait_more(5)
    scene.tidy(p)


def test_a_start_right_after_both_were_killed(t):
    """The old QEMU may still be there for a moment, as a process that is ending."""
    p = scene.start(t)
    saved = scene.create(p, "one")
    for _ in range(5):
        p.end_hard()
        since = p.serial.size()
        p.start()
        harness.poll(lambda since=since: p.serial.boots(since), 15, "the guest to boot")
    scene.revert(p, saved)


def refused_start(p, *words):
    """Starts it, and it must not; the words are in what it says."""
    before = len(p.log.read_text())
    p.start(connect=False)
    assert p.wait() not in (0, None)
    text = p.log.read_text()[before:]
    for word in words:
        assert str(word) in text, f"{word} is not in: {text}"
    harness.poll(lambda: p.all_pids() == [], 5, "processes to end")
    p.process = None


def test_a_frozen_image_that_was_written_to_is_not_started_on(t):
    p = scene.start(t, ("qcow2", "raw"))
    saved = scene.create(p, "one")
    p.serial.wait_more(4)
    last = p.serial.last()
    harness.equal(p.stop(), 0, "exit status")
    for disk in p.disks:
        stat, data = disk.path.stat(), disk.path.read_bytes()
        with open(disk.path, "r+b") as file:
            file.seek(1 << 20)
            file.write(b"somebody else's")
        contents = {path: path.read_bytes() for path in t.dir.glob("*.qcow2")}
        refused_start(p, disk.path)
        for path, old in contents.items():
            assert path.read_bytes() == old, f"{path} was written to by a start that was refused"
        disk.path.write_bytes(data)
        os.utime(disk.path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    since = p.serial.size()
    p.start()
    boots = harness.poll(lambda: p.serial.boots(since), 15, "the guest to boot")
    assert boots[0] >= last, boots
    scene.revert(p, saved)


def test_a_frozen_image_that_is_missing_is_missed_at_the_start(t):
    p = scene.start(t)
    scene.create(p, "one")
    harness.equal(p.stop(), 0, "exit status")
    aside = p.disks[0].path.with_suffix(".aside")
    p.disks[0].path.rename(aside)
    refused_start(p, p.disks[0].path)
    aside.rename(p.disks[0].path)
    p.start()
    p.serial.wait_more(4)


def test_an_overlay_with_another_backing_file_is_not_started_on(t):
    p = scene.start(t)
    scene.create(p, "one")
    active = scene.layout(p)["d0"][0]
    harness.equal(p.stop(), 0, "exit status")
    copy = t.path("copy.qcow2")
    copy.write_bytes(p.disks[0].path.read_bytes())
    oracle.qemu_img("rebase", "-u", "-f", "qcow2", "-F", "qcow2", "-b", copy, active)
    refused_start(p, active)
    oracle.qemu_img("rebase", "-u", "-f", "qcow2", "-F", "qcow2", "-b", p.disks[0].path, active)
    p.start()
    p.serial.wait_more(4)
    scene.check_disks(p)


def with_disk(p, path, fmt="qcow2"):
    """The same VM with a command line that names another image for its disk."""
    disk = oracle.Disk(path, fmt, "d0")
    other = vm.Proxy(p.test, [disk], name=p.name)
    other.log, other.serial = p.log, p.serial
    return other


def test_a_command_line_that_names_a_frozen_layer_is_refused(t):
    p = scene.start(t)
    scene.create(p, "one")
    second = scene.layout(p)["d0"][0]
    scene.create(p, "two")
    active = scene.layout(p)["d0"][0]
    harness.equal(p.stop(), 0, "exit status")
    before = {path: scene.checksum(path) for path in t.dir.glob("*.qcow2")}
    refused_start(with_disk(p, second), second)
    harness.equal({path: scene.checksum(path) for path in t.dir.glob("*.qcow2")}, before, "images")
    p.start()
    harness.equal(scene.layout(p)["d0"][0], active, "active image")
    p.serial.wait_more(4)


def test_a_command_line_may_name_the_active_layer(t):
    p = scene.start(t)
    one = scene.create(p, "one")
    p.serial.wait_more(4)
    active = scene.layout(p)["d0"][0]
    last = p.serial.last()
    harness.equal(p.stop(), 0, "exit status")
    other = with_disk(p, active)
    since = p.serial.size()
    other.start()
    harness.equal(scene.layout(other)["d0"][0], active, "active image")
    boots = harness.poll(lambda: other.serial.boots(since), 15, "the guest to boot")
    assert boots[0] >= last, boots
    scene.revert(other, one)
    other.serial.wait_more(4)
    harness.equal(other.stop(), 0, "exit status")
    since = p.serial.size()
    p.start()
    boots = harness.poll(lambda: p.serial.boots(since), 15, "the guest to boot")
    assert one.count <= boots[0], boots
    one.untouched()


def test_images_named_by_a_relative_path_come_up_again(t):
    disks = oracle.make_disks(t.dir)
    relative = oracle.Disk(disks[0].path.name, "qcow2", "d0")
    p = vm.Proxy(t, [relative])         # the harness starts it in the test's folder
    p.start()
    p.serial.wait_tick(4)
    saved = scene.create(p, "one")
    harness.equal(saved.info["disks"][0]["image"], str(disks[0].path), "image")
    p.serial.wait_more(4)
    scene.revert(p, saved)
    last = p.serial.last()
    harness.equal(p.stop(), 0, "exit status")
    since = p.serial.size()
    p.start()
    boots = harness.poll(lambda: p.serial.boots(since), 15, "the guest to boot")
    assert boots[0] >= last, boots
    scene.delete(p, "one")
    p.serial.wait_more(5)
    harness.equal([path.name for path in t.dir.glob("*.qcow2")], ["disk0.qcow2"], "images")


if __name__ == "__main__":
    sys.exit(harness.run([value for name, value in list(globals().items())
                          if name.startswith("test_")]))
