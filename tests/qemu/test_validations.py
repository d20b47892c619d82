#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What has to be established before layers are merged, point by point (D1 to D9).

  D1  a delete of what cannot be deleted is refused without ambiguity
  D2  a disk is the one on record, by its name in the running VM
  D3  paths are not used to find images
  D4  an image whose identity cannot be established is not touched
  D5  the images to merge are those of the snapshots, and in the running chain
  D6  they are open in QEMU, or in nobody else's hands (test_validations_hand.py)
  D7  the recorded chain is an ordered superset of the running one
  D8  an image that was replaced under the same name is not the same (test_validations_hand.py)
  D9  what users did to the chain by hand is noticed (test_validations_hand.py)

Elsewhere: D1: every tree, test_snapshots_trees.py; D2, detached, or under another name: "a disk that
is gone or has another name", test_refusals.py; D5, more images on top than on record, and D9, a commit
of the active layer by hand: "a chain that is not the one on record", there; D8, a frozen image that was
written or replaced: there as well, and while the VM was off: test_cold_start.py; an overlay with
another backing file: test_cold_start.py; D4, a file over a block device: "an overlay of a block
device", test_delete_images.py; a client's own job: "a job of a client", test_refusals.py."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import hostile
import scene
from scene import harness, oracle, qmp, vm

DELETE = ("snapshot-delete", {"name": "one"})
BOTH = (("snapshot-revert", {"name": "one", "discard": True}), DELETE)


def tool(name):
    """qemu-nbd, of the QEMU under test."""
    path = Path(oracle.QEMU_IMG).with_name(name) if "/" in oracle.QEMU_IMG else Path(name)
    harness.requires(shutil.which(path), f"no {name}")
    return str(path)


def beside(t, *command):
    """Another process for the length of the test; ended by cleanup."""
    process = subprocess.Popen([str(word) for word in command], stdin=subprocess.DEVNULL,
                               stderr=open(t.path("beside.log"), "ab"))
    t.log(t.path("beside.log"))

    def end():
        process.kill()
        process.wait()
    t.cleanup(end)
    return end


# --- D1

def standing(t, args, name):
    """A VM that has not run yet, with a disk that is attached by these arguments."""
    return vm.Proxy(t, [], ["-S", *args, "-device", "virtio-blk-pci,id=v0,drive=top"],
                    name=name)


def test_d1_what_is_no_chain_of_images_is_refused(t):
    """Refused at the snapshot, so that there is nothing that could not be deleted."""
    one, two, small = (t.path(name) for name in ("one.raw", "two.raw", "small.vmdk"))
    for path, fmt in ((one, "raw"), (two, "raw"), (small, "vmdk")):
        oracle.qemu_img("create", "-q", "-f", fmt, path, "8M")
    file = "driver=raw,file.driver=file,file.filename="
    for word, args in (
            ("quorum", ["-blockdev", f"{file}{one},node-name=a", "-blockdev",
                        f"{file}{two},node-name=b", "-blockdev", "driver=quorum,node-name=top,"
                        "children.0=a,children.1=b,vote-threshold=2"]),
            ("blkverify", ["-blockdev", f"driver=file,node-name=a,filename={one}", "-blockdev",
                           f"driver=file,node-name=b,filename={two}", "-blockdev",
                           "driver=blkverify,node-name=top,test=a,raw=b"]),
            ("throttle", ["-object", "throttle-group,id=slow", "-blockdev",
                          f"{file}{one},node-name=a", "-blockdev",
                          "driver=throttle,node-name=top,throttle-group=slow,file=a"]),
            ("vmdk", ["-blockdev", "driver=vmdk,node-name=top,file.driver=file,file.filename="
                      f"{small}"]),
            ("blkdebug", ["-blockdev", "driver=qcow2,node-name=top,file.driver=blkdebug,file.image."
                          f"driver=file,file.image.filename={t.path('q.qcow2')}"])):
        if word == "blkdebug":
            oracle.qemu_img("create", "-q", "-f", "qcow2", t.path("q.qcow2"), "8M")
        with standing(t, args, word) as p:
            error = hostile.refused(p, "unsupported-disk", "snapshot-create", {"name": "one"})
            assert error.data.get("disk") or error.data.get("node"), error
            harness.equal(p.qmp.refused("snapshot-delete", {"name": "one"}).reason,
                          "unknown-snapshot", "a delete of what was never made")


# --- D2

class Sticks:
    """A VM that has not run yet, with two USB sticks: the guest would count on them."""

    def __init__(self, t):
        self.disks = oracle.make_disks(t.dir, ["qcow2"] * 3)
        args = ["-S", "-device", "qemu-xhci"]
        for disk in self.disks[1:]:
            args += [*disk.args("blockdev")[:2], "-device",
                     f"usb-storage,id=s{disk.id},drive={disk.node}"]
        self.p = vm.Proxy(t, self.disks[:1], args).start()
        self.p.command("snapshot-create", {"name": "one"})

    def overlay(self, disk):
        nodes = self.p.command("query-named-block-nodes", flat=True)
        return [n["node-name"] for n in nodes if n["node-name"].startswith("qsnap-") and
                f"/{disk.path.stem}." in n["file"] and n["drv"] == "qcow2"][0]

    def pull(self, disk):
        """Takes it out; the name of its active node."""
        node = self.overlay(disk)
        self.p.command("device_del", id=f"s{disk.id}")
        self.p.qmp.wait_event(lambda event: event["event"] == "DEVICE_DELETED" and
                              event["data"].get("device") == f"s{disk.id}")
        return node

    def plug(self, device, node):
        self.p.command("device_add", {"driver": "usb-storage", "id": device, "drive": node})

    def refused(self, *words, reason="disk-gone"):
        for command, args in BOTH:
            hostile.refused(self.p, reason, command, args, *words)


def test_d2_a_disk_that_came_back_with_another_image(t):
    """Under its own name and under another, with the old node-name and with a new one."""
    s = Sticks(t)
    p, disk = s.p, s.disks[1]
    node = s.pull(disk)
    other = t.path("other.qcow2")
    oracle.qemu_img("create", "-q", "-f", "qcow2", other, oracle.SIZE)
    new = {"driver": "qcow2", "file": {"driver": "file", "filename": str(other)}}
    p.command("blockdev-add", {**new, "node-name": "new"})
    s.plug("sd1", "new")
    s.refused("'sd1'")
    p.command("device_del", id="sd1")
    p.qmp.wait_event("DEVICE_DELETED")
    p.command("blockdev-del", {"node-name": "new"})
    # The very same names of device and node, and another image.
    p.command("blockdev-del", {"node-name": node})
    p.command("blockdev-del", {"node-name": disk.node})
    p.command("blockdev-add", {**new, "node-name": disk.node})
    s.plug("sd1", disk.node)
    s.refused("'sd1'", reason="chain-mismatch")


def test_d2_two_disks_that_have_changed_places(t):
    s = Sticks(t)
    nodes = [s.pull(disk) for disk in s.disks[1:]]
    s.plug("sd1", nodes[1])
    s.plug("sd2", nodes[0])
    s.refused("'sd")


def test_d2_a_disk_that_was_added_since_is_none_of_the_snapshot(t):
    p = scene.start(t)
    one, two = scene.row(p, "one", "two")
    oracle.qemu_img("create", "-q", "-f", "qcow2", t.path("late.qcow2"), oracle.SIZE)
    late = scene.checksum(t.path("late.qcow2"))
    p.command("blockdev-add", {"driver": "qcow2", "node-name": "late", "file": {
        "driver": "file", "filename": str(t.path("late.qcow2"))}})
    p.command("device_add", {"driver": "virtio-blk-pci", "id": "late", "drive": "late"})
    scene.delete(p, "one")
    two.same(p)
    assert one.count <= two.count
    p.serial.wait_round()
    scene.tidy(p, t.path("late.qcow2"))
    harness.equal(scene.checksum(t.path("late.qcow2")), late, "the new disk")


# --- D3

def linked(t, folder):
    """A VM whose command line names its image, in that folder, by a symbolic link."""
    folder.mkdir(exist_ok=True)
    image = oracle.make_disks(folder, prefix="real")[0].path
    link = t.path("disk.qcow2")
    link.symlink_to(image)
    p = vm.Proxy(t, [oracle.Disk(link, "qcow2", "d0")]).start()
    p.serial.wait_tick(4)
    return p, link, image


def test_d3_a_link_that_leads_to_another_image_now(t):
    p, link, image = linked(t, t.dir)
    one, two = scene.row(p, "one", "two")
    other = t.path("other.qcow2")
    shutil.copy2(image, other)
    before = scene.checksum(other)
    link.unlink()
    link.symlink_to(other)
    for command, args in BOTH:
        hostile.refused(p, "chain-mismatch", command, args, "'d0'")
    harness.equal(scene.checksum(other), before, "the other image")
    link.unlink()
    os.link(image, t.path("another-name.qcow2"))    # the same file under one name more
    link.symlink_to(t.path("another-name.qcow2"))
    scene.drop(p, one, two)
    scene.revert(p, two)
    scene.drop(p, two)
    p.serial.wait_round()
    harness.equal(scene.checksum(other), before, "the other image")


def test_d3_a_link_into_another_folder(t):
    p, _link, image = linked(t, t.path("images"))
    one, two, three = scene.row(p, "one", "two", "three")
    scene.drop(p, two, one, three)
    scene.revert(p, three)
    scene.drop(p, one, three)
    scene.drop(p, three)
    p.serial.wait_round()
    harness.equal(list(image.parent.iterdir()), [image], "images")


# --- D4

def exported(t, image, fmt):
    sock = t.path("nbd.sock")
    beside(t, tool("qemu-nbd"), "--persistent", "--shared=9", "-k", sock, "-f", fmt, image)
    harness.poll(sock.exists, 10, "qemu-nbd")
    return f"nbd+unix:///?socket={sock}"


def test_d4_a_disk_on_another_machine(t):
    """Nothing says which image an NBD server has behind its name, nor that it will be the same one
    tomorrow."""
    away = t.path("away")
    away.mkdir()
    uri = exported(t, oracle.make_disks(away, ("raw",))[0].path, "raw")
    with vm.Proxy(t, [], ["-drive", f"file={uri},format=raw,if=virtio,id=d0"]) as p:
        p.serial.wait_tick(4)
        error = hostile.refused(p, "unsupported-disk", "snapshot-create", {"name": "one"}, "d0")
        assert "d0" in error.data["disk"], error


def test_d4_an_image_of_its_own_on_a_base_on_another_machine(t):
    """A chain may mix types: the disk's own image is a file, the one below it is not."""
    base = oracle.make_disks(t.dir, ("raw",))[0].path
    uri = exported(t, base, "raw")
    own = oracle.Disk(t.path("own.qcow2"), "qcow2", "d0")
    oracle.qemu_img("create", "-q", "-f", "qcow2", "-F", "raw", "-b", uri, own.path)
    p = vm.Proxy(t, [own]).start()
    p.serial.wait_tick(4)
    before = scene.checksum(base)
    mark = scene.Mark(p)
    try:
        one = scene.create(p, "one", kind=scene.Whole)
    except qmp.QmpError as error:
        assert error.reason in ("unsupported-disk", "chain-mismatch"), error
        assert "nbd" in error.desc or "'d0'" in error.desc, error
        t.note(f"refused: {error.desc}")
        mark.went_on()
        harness.equal(scene.names(p), [], "snapshots")
    else:
        two = scene.row(p, "two")[0]
        scene.drop(p, one, two)
        scene.revert(p, two)
        scene.drop(p, two)
    harness.equal(scene.checksum(base), before, "the base")


# --- D5, D7: the recorded chain and the running one

class Three:
    """one, two, three on L1, L2, L3; the guest stands still on L4."""

    def __init__(self, t):
        self.p = scene.start(t)
        self.saved = scene.row(self.p, "one", "two", "three")
        self.p.command("stop")
        path = scene.layout(self.p)["d0"][0]
        self.file = next(n["node-name"] for n in self.p.command("query-named-block-nodes", flat=True)
                         if n["file"] == path and n["drv"] == "file")

    def put_on(self, below):
        """The active layer on another node than before."""
        self.p.command("blockdev-reopen", {"options": [
            {"driver": "qcow2", "node-name": "qsnap-4", "file": self.file, "backing": below}]})

    def refused(self):
        for name in ("one", "two", "three"):
            hostile.refused(self.p, "chain-mismatch", "snapshot-delete", {"name": name}, "'d0'")
        hostile.refused(self.p, "chain-mismatch", *BOTH[0], "'d0'")

    def goes_on(self):
        self.p.command("cont")
        scene.drop(self.p, self.saved[1], self.saved[0], self.saved[2])
        scene.revert(self.p, self.saved[2])
        self.p.serial.wait_round()
        scene.tidy(self.p)


def test_d5_an_image_of_a_snapshot_that_is_not_in_the_running_chain(t):
    three = Three(t)
    three.put_on("qsnap-2")
    three.refused()
    three.put_on("qsnap-3")
    three.goes_on()


def test_d5_an_image_in_the_running_chain_that_is_not_on_record(t):
    """In the middle, where nothing on top shows it."""
    three = Three(t)
    extra = t.path("extra.qcow2")
    oracle.qemu_img("create", "-q", "-u", "-f", "qcow2", "-F", "qcow2", "-b", "nothing", extra,
                    oracle.SIZE)
    three.p.command("blockdev-add", {"driver": "qcow2", "node-name": "extra", "backing": "qsnap-3",
                                     "file": {"driver": "file", "filename": str(extra)}})
    three.put_on("extra")
    three.refused()
    three.put_on("qsnap-3")
    three.p.command("blockdev-del", {"node-name": "extra"})
    extra.unlink()
    three.goes_on()


def test_d7_a_chain_in_another_order(t):
    """Here it is the record that has the other order; the comparison is the same."""
    three = Three(t)
    p = three.p
    p.kill()

    def swap(record):
        layers = record["layers"]
        layers["L4"]["parent"], layers["L2"]["parent"], layers["L3"]["parent"] = "L2", "L3", "L1"
    hostile.edit_state(p, swap)
    p.start()
    three.refused()


def test_d7_snapshots_one_to_six(t):
    """1 and 5 are deleted, 7 is made and stays; 6 may be deleted, and 3, and all the others."""
    p = scene.start(t)
    saved = {s.name: s for s in scene.row(p, *[f"n{number}" for number in range(1, 7)])}
    for name in ("n1", "n5"):
        scene.drop(p, saved.pop(name))
    saved["n7"] = scene.row(p, "n7")[0]
    for name in ("n6", "n3"):
        gone = saved.pop(name)
        scene.drop(p, gone, *saved.values())
    scene.revert(p, saved["n4"])
    for name in ("n2", "n7", "n4"):
        gone = saved.pop(name)
        scene.drop(p, gone, *saved.values())
    p.serial.wait_round()
    harness.equal([path.name for path in t.dir.glob("*.qcow2")], ["disk0.qcow2"], "images")
    scene.tidy(p)


if __name__ == "__main__":
    sys.exit(harness.run([test for name, test in list(globals().items())
                          if name.startswith("test_")]))
