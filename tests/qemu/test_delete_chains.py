#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""snapshot-delete in long chains, on a base that two VMs share, and on images of unusual make.
Whatever the order, every snapshot that is left holds what it held, to the byte."""

import random
import subprocess
import sys
import time

import scene
from scene import harness, oracle, vm

MIB = 1 << 20
LONG = 32 if harness.BRIEF else 50


class Chain:
    """Many snapshots without memory in a row, and what each of them reads as."""

    def __init__(self, p, count):
        self.p, self.draw, self.sums = p, random.Random(count), {}
        self.saved = {}
        for number in range(1, count + 1):
            name = name_of(number)
            info = p.command("snapshot-create", {"name": name, "memory": "none"})["snapshot"]
            if number % 9 == 4:                 # to be reverted to
                self.saved[name] = scene.Saved(info)
            self.sums[name] = self.look(info)
            p.serial.wait_more(1)
            scene.write(p, "d0", number, scene.BEYOND + (number << 16), 1 << 16)
            scene.write(p, "d0", number, scene.BEYOND, 1 << 16)

    @staticmethod
    def look(info):
        return scene.content(info["disks"][0]["image"], info["disks"][0]["format"])

    def check(self, most=1):
        """Some of those that are left, or all of them."""
        left = {info["name"]: info for info in self.p.command("query-snapshots")}
        harness.equal(sorted(left), sorted(self.sums), "snapshots")
        for name in self.draw.sample(sorted(left), min(most, len(left))):
            harness.equal(self.look(left[name]), self.sums[name], f"what {name} holds")

    def delete(self, *names):
        for name in names:
            scene.delete(self.p, name)
            del self.sums[name]
            self.check()
        self.check(LONG)

    def revert(self, name):
        saved = self.saved[name]
        saved.info = scene.info(self.p, name)   # its layer may be another file by now
        saved.freeze()
        scene.revert(self.p, saved)
        harness.equal(self.look(saved.info), self.sums[name], f"what {name} holds")


def name_of(number):
    return f"s{number:02d}"


def test_a_long_chain(t):
    p = scene.start(t)
    began = time.monotonic()
    chain = Chain(p, LONG)
    harness.equal(len(scene.state(p)["layers"]), LONG + 1, "layers")
    made = time.monotonic()
    middle = LONG // 2 | 1
    chain.delete(name_of(middle), name_of(1), name_of(LONG))
    chain.delete(*map(name_of, range(2, LONG, 2)))
    scene.check_disks(p)
    most = len(scene.state(p)["layers"])
    assert most == len(chain.sums) + 1, f"{most} layers for {len(chain.sums)} snapshots"
    chain.revert("s13")
    chain.delete("s11", "s15", name_of(middle + 6))
    chain.revert(name_of(LONG - 1))
    while chain.sums:
        chain.delete(chain.draw.choice(sorted(chain.sums)))
    t.note(f"{LONG} snapshots in {made - began:.1f} s, deleted in {time.monotonic() - made:.1f} s")
    p.serial.wait_round()
    harness.equal([path.name for path in t.dir.glob("*.qcow2")], ["disk0.qcow2"], "images")
    scene.tidy(p)


class Two:
    """Two VMs under two proxies, each on its own overlay of one golden image."""

    def __init__(self, t):
        self.golden = oracle.make_disks(t.dir, prefix="golden")[0].path
        self.before = self.stamp()
        self.vms = []
        for name in ("left", "right"):
            folder = t.path(name)
            folder.mkdir()
            disk = oracle.Disk(folder / "own.qcow2", "qcow2", "d0")
            oracle.qemu_img("create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", self.golden,
                            disk.path)
            self.vms.append(vm.Proxy(t, [disk], name=name).start())
        for p in self.vms:
            p.serial.wait_tick(4)

    def stamp(self):
        return (scene.checksum(self.golden), self.golden.stat().st_mtime_ns,
                self.golden.stat().st_ino)

    def untouched(self):
        harness.equal(self.stamp(), self.before, "the golden image")


def at_once(vms, *commands):
    """One command to each at the same time; the answers."""
    sent = [p.qmp.send(name, args) for p, (name, args) in zip(vms, commands)]
    for p, cid, command in zip(vms, sent, commands):
        reply = p.qmp.reply(cid, 30)
        assert "return" in reply, f"{p.name}, {command}: {reply}"


def test_a_golden_image_that_two_running_vms_share(t):
    two = Two(t)
    left, right = two.vms
    here = scene.row(left, "one", "two", "three")
    there = scene.row(right, "one", "two")
    mark = scene.Mark(right)
    scene.drop(left, here[0], *here[1:])
    scene.revert(left, here[1])
    scene.drop(left, here[2], here[1])
    mark.went_on()                      # the second VM has seen nothing of it
    for saved in there:
        saved.untouched()
    two.untouched()
    scene.revert(right, there[0])
    for name in ("snapshot-delete", "snapshot-create"):
        at_once(two.vms, (name, {"name": "two"}), ("snapshot-create", {"name": "new"})
                if name == "snapshot-delete" else ("snapshot-delete", {"name": "new"}))
        for p in two.vms:
            p.serial.wait_more(3)
            scene.check_disks(p)
    at_once(two.vms, ("snapshot-revert", {"name": "two", "discard": True}),
            ("snapshot-delete", {"name": "one"}))
    there[1].same(right)
    scene.revert(right, there[1])
    scene.drop(right, there[1])
    scene.delete(left, "two")
    two.untouched()
    for p in two.vms:
        p.serial.wait_round()
        harness.equal([path.name for path in p.disks[0].path.parent.iterdir()], ["own.qcow2"],
                      f"images of {p.name}")
        p.stop()
        scene.check_image(str(p.disks[0].path), {"format": "qcow2", "base": True}, None)
    two.untouched()


MAKES = (("cluster_size=4k", "compat=0.10"),
         ("cluster_size=2M,lazy_refcounts=on", "preallocation=metadata"),
         ("extended_l2=on,cluster_size=128k", "refcount_bits=1,preallocation=full"))


def made(t, number, options):
    """Two disks with images that were made with these options, the guest on the first."""
    disks = [oracle.Disk(t.path(f"make{number}-{i}.qcow2"), "qcow2", f"d{i}")
             for i in range(len(options))]
    oracle.qemu_img("convert", "-f", "raw", "-O", "qcow2", "-o", options[0], oracle.boot_image(),
                    disks[0].path)
    for disk, option in zip(disks[1:], options[1:]):
        oracle.qemu_img("create", "-q", "-f", "qcow2", "-o", option, disk.path, oracle.SIZE)
    return disks


def test_images_of_unusual_make(t):
    for number, options in enumerate(MAKES[2:] if harness.BRIEF else MAKES):
        p = vm.Proxy(t, made(t, number, options), name=f"vm{number}").start()
        p.serial.wait_tick(4)
        one, two, three = scene.row(p, "one", "two", "three")
        scene.drop(p, two, one, three)
        scene.revert(p, one)
        scene.drop(p, one, three)
        scene.revert(p, three)
        scene.drop(p, three)
        p.serial.wait_round()
        harness.equal({path.name for path in t.dir.glob(f"make{number}*")},
                      {disk.path.name for disk in p.disks}, "images")
        p.stop()
        for disk in p.disks:
            oracle.qemu_img("check", "-q", "-f", "qcow2", disk.path)


def inner(path):
    """What an image's internal snapshot reads as."""
    done = subprocess.run([oracle.QEMU_IMG, "convert", "-l", "snapshot.name=inner", "-O", "raw",
                           path, f"{path}.inner"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"the internal snapshot: {done.stderr}"
    return scene.checksum(f"{path}.inner")


def with_internal(t, options):
    disk = oracle.Disk(t.path("disk.qcow2"), "qcow2", "d0")
    oracle.qemu_img("convert", "-f", "raw", "-O", "qcow2", "-o", options, oracle.boot_image(),
                    disk.path)
    oracle.qemu_img("snapshot", "-c", "inner", disk.path)
    return disk


def test_an_image_with_an_internal_snapshot(t):
    """It stays, and holds what it held, when layers are merged into the image around it."""
    disk = with_internal(t, "compat=1.1")
    before = inner(disk.path)
    p = vm.Proxy(t, [disk]).start()
    p.serial.wait_tick(4)
    one, two, three = scene.row(p, "one", "two", "three")
    scene.drop(p, one, two, three)
    scene.revert(p, three)
    scene.drop(p, three, two)
    scene.revert(p, two)
    scene.drop(p, two)
    p.serial.wait_round()
    scene.tidy(p)
    harness.equal(inner(disk.path), before, "the internal snapshot")


def test_an_old_image_with_an_internal_snapshot_that_cannot_grow(t):
    """QEMU grows no image of compat=0.10 that has one: the delete is refused or fails, and all goes
    on; the other snapshots are as good as before."""
    disk = with_internal(t, "compat=0.10")
    before = inner(disk.path)
    p = vm.Proxy(t, [disk]).start()
    p.serial.wait_tick(4)
    one = scene.create(p, "one", kind=scene.Whole)
    p.command("block_resize", device="d0", size=24 * MIB)
    scene.write(p, "d0", 0x5a, 20 * MIB, MIB)
    p.stop()
    p.start()
    p.serial.wait_more(3)
    two = scene.create(p, "two", kind=scene.Whole)
    p.serial.wait_more(3)
    mark = scene.Mark(p)
    error = p.qmp.refused("snapshot-delete", {"name": "one"}, timeout=30)
    assert error.reason, error
    mark.went_on()
    scene.check_disks(p)
    two.same(p)
    scene.revert(p, two)
    p.serial.wait_round()
    harness.equal(scene.names(p), ["one", "two"], "snapshots")
    p.command("snapshot-delete", {"name": "one", "metadata-only": True})
    scene.drop(p, two)
    p.serial.wait_round()
    scene.tidy(p)
    harness.equal(inner(disk.path), before, "the internal snapshot")
    assert one.count <= two.count


if __name__ == "__main__":
    sys.exit(harness.run([test for name, test in list(globals().items())
                          if name.startswith("test_")]))
