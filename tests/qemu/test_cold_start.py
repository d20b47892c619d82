#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The VM is switched off and started again with the same command line, which names the images that
it began with: it comes up on its current layers, or not at all."""

import os
import sys
from pathlib import Path

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


def on_golden(t, formats=("qcow2", "qcow2")):
    """Disks on top of images that several VMs share; the disks, those images."""
    disks = oracle.make_disks(t.dir, formats, prefix="golden")
    goldens = [disk.path for disk in disks]
    for number, golden in enumerate(goldens):
        disks[number].path, disks[number].format = t.path(f"disk{number}.qcow2"), "qcow2"
        oracle.qemu_img("create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", golden, disks[number].path)
    return disks, goldens


class Aside:
    """Puts something in the place of an image, and that back."""

    def __init__(self, path):
        self.path, self.aside = path, path.with_suffix(".aside")
        path.rename(self.aside)

    def back(self):
        self.path.unlink(missing_ok=True)
        self.aside.rename(self.path)


def written(path):
    """A byte is another; undone with the time of the last change, as a good backup does it."""
    stat, data = path.stat(), path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))

    def back():
        path.write_bytes(data)
        os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    return back


def booted(t, disk):
    """Somebody starts the VM without the proxy."""
    stat, data = disk.path.stat(), disk.path.read_bytes()
    with vm.Qemu(t, [disk], name="plain") as plain:
        plain.serial.wait_tick(2)

    def back():
        disk.path.write_bytes(data)
        os.utime(disk.path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    return back


def other(path, make):
    """Something else lies there."""
    aside = Aside(path)
    make(path, aside.aside)
    return aside.back


def swapped(one, two):
    """Each lies where the other was."""
    def swap():
        aside = one.with_suffix(".swap")
        one.rename(aside)
        two.rename(one)
        aside.rename(two)
    swap()
    return swap


def test_what_somebody_did_in_the_meantime_is_named(t):
    """The image on top is the one that the VM ran on, and nothing below it has changed."""
    disks, goldens = on_golden(t)
    p = vm.Proxy(t, disks).start()
    p.serial.wait_tick(4)
    saved = scene.create(p, "one")
    p.serial.wait_more(3)
    middle = [Path(path) for path, _ in scene.layout(p).values()]
    scene.create(p, "two", memory="none")
    p.serial.wait_more(3)
    top = [Path(path) for path, _ in scene.layout(p).values()]
    last = p.serial.last()
    harness.equal(p.stop(), 0, "exit status")
    new = ("create", "-q", "-f", "qcow2", "-F", "qcow2", "-b")
    for change, path, word in (
            (lambda: booted(t, disks[0]), disks[0].path, "written to"),
            (lambda: written(goldens[1]), goldens[1], "written to"),
            (lambda: other(goldens[0], lambda path, was: path.write_bytes(was.read_bytes())),
             goldens[0], "replaced"),
            (lambda: written(middle[1]), middle[1], "written to"),
            (lambda: other(top[0], lambda path, _: oracle.qemu_img(*new, middle[0], path)), top[0],
             "replaced"),
            (lambda: other(top[1], lambda path, was: path.write_bytes(was.read_bytes())), top[1],
             "replaced"),
            (lambda: other(top[1], lambda path, _: path.symlink_to(top[0])), top[1], "backing file"),
            (lambda: swapped(*top), top[0], "backing file"),
            (lambda: swapped(middle[0], top[0]), top[0], "backing file")):
        back = change()
        contents = {path: path.read_bytes() for path in t.dir.glob("*.qcow2")}
        refused_start(p, path, word)
        for image, old in contents.items():
            assert image.read_bytes() == old, f"{image} was written to by a start that was refused"
        back()
    since = p.serial.size()
    p.start()
    boots = harness.poll(lambda: p.serial.boots(since), 15, "the guest to boot")
    assert boots[0] >= last, (boots, last)
    scene.revert(p, saved)


def test_images_that_no_snapshot_knows_may_change(t):
    """The disk is made anew on a new golden image: that is the user's business."""
    disks, goldens = on_golden(t, ("qcow2",))
    p = vm.Proxy(t, disks).start()
    p.serial.wait_tick(4)
    scene.create(p, "one")
    scene.delete(p, "one")
    harness.equal(p.stop(), 0, "exit status")
    written(goldens[0])
    disks[0].path.unlink()
    oracle.qemu_img("create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", goldens[0], disks[0].path)
    since = p.serial.size()
    p.start()
    p.serial.wait_tick(4, since)
    saved = scene.create(p, "two")
    scene.revert(p, saved)
    p.serial.wait_more(4)
    harness.equal(p.stop(), 0, "exit status")


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


def test_old_images_are_not_booted_from_another_place_or_for_another_record(t):
    """The folder of the images was renamed and the command line with it, or the VM has another name: what snapshots
    stand on would be written to."""
    folder = t.path("a")
    folder.mkdir()
    p = vm.Proxy(t, oracle.make_disks(folder, ("qcow2", "raw")))
    p.start()
    p.serial.wait_tick(4)
    saved = scene.create(p, "s1")
    p.serial.wait_more(3)
    harness.equal(p.stop(), 0, "exit status")
    was, moved = p.qemu_args, t.path("b")
    folder.rename(moved)
    p.qemu_args = [word.replace(f"{folder}/", f"{moved}/") for word in was]
    refused_start(p, moved, folder, "put the images back")
    moved.rename(folder)
    p.qemu_args = was
    other = vm.Proxy(t, name="other")
    other.qemu_args = was
    other.log.touch()
    refused_start(other, p.state, "-d")
    saved.untouched()
    p.start()
    p.serial.wait_more(3)
    scene.revert(p, saved)
    scene.tidy(p, folder=folder)


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
