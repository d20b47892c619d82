#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Disks that come and go: what was plugged is part of a snapshot, and there again, or gone again,
behind a revert."""

import sys

import byhand
import scene
from plugging import (SCSI, Saved, config, create, peripherals, plug_node, plug_scsi, reads, refused,
                      unplug, write)
from scene import harness, oracle


def test_hot_plugged_disk_comes_back_with_what_it_held(t):
    """It has layers of its own; unplugged, plugged, reverted twice and to another snapshot."""
    p = scene.start(t, ("qcow2", "raw"), SCSI)
    plug_scsi(p, "hot")
    write(p, "shot", 0x11)
    one = create(p, "one")
    harness.equal(sorted(d["device"] for d in one.info["disks"]), ["d0", "d1", "shot"], "disks")
    write(p, "shot", 0x22)
    p.serial.wait_more(3)
    two = create(p, "two")
    write(p, "shot", 0x33)
    for saved, pattern in ((one, 0x11), (one, 0x11), (two, 0x22), (one, 0x11)):
        scene.revert(p, saved, skip=("shot",))
        reads(p, "shot", pattern)
        harness.equal(peripherals(p), ["scsi0", "serial", "shot"], "devices")
        write(p, "shot", 0x44)
        p.serial.wait_more(2)
    unplug(p, "shot")
    p.serial.wait_more(2)
    scene.revert(p, two, skip=("shot",))
    reads(p, "shot", 0x22)
    for saved in (one, two):
        saved.same(p)
    # The names that clients know mean what they meant: it can be taken out for good.
    unplug(p, "shot")
    scene.revert(p, one, skip=("shot",))
    reads(p, "shot", 0x11)
    p.serial.wait_round()
    scene.tidy(p)


def test_hot_plugged_virtio_disk(t):
    """On PCI, where it stays until the guest lets go of it: which this guest never does."""
    p = scene.start(t)
    plug_node(p, "hot", "raw")
    p.command("device_add", {"driver": "virtio-blk-pci", "id": "vhot", "drive": "hot"})
    write(p, "vhot", 0x11)
    one = create(p, "one")
    write(p, "vhot", 0x22)
    p.command("device_del", id="vhot")
    p.serial.wait_more(2)
    # Asked for, and not done: it is part of this snapshot.
    two = create(p, "two")
    harness.equal(sorted(d["device"] for d in two.info["disks"]), ["d0", "vhot"], "disks")
    for saved, pattern in ((one, 0x11), (two, 0x22), (one, 0x11)):
        scene.revert(p, saved, skip=("vhot",))
        reads(p, "vhot", pattern)
        harness.equal(peripherals(p), ["vhot"], "devices")
    p.serial.wait_round()
    scene.tidy(p)


def test_disk_plugged_after_the_snapshot_is_gone(t):
    p = scene.start(t, args=SCSI)
    bare = create(p, "bare")
    plug_scsi(p, "hot")
    p.command("device_add", {"driver": "virtio-rng-pci", "id": "rng"})
    write(p, "shot", 0x11)
    scene.revert(p, bare)
    harness.equal(peripherals(p), ["scsi0", "serial"], "devices")
    harness.equal(config(p), [], "configuration")
    # It has layers, and comes back with them.
    plug_scsi(p, "hot")
    reads(p, "shot", 0x11)
    with_it = create(p, "with")
    write(p, "shot", 0x22)
    scene.revert(p, bare)
    harness.equal(peripherals(p), ["scsi0", "serial"], "devices")
    assert "node:hot" not in scene.state(p)["disks"], "a disk that the VM does not have"
    p.serial.wait_more(3)
    later = create(p, "later")
    scene.revert(p, with_it, skip=("shot",))
    reads(p, "shot", 0x11)
    with_it.same(p)
    scene.revert(p, later)
    harness.equal(peripherals(p), ["scsi0", "serial"], "devices")
    for name in ("with", "later", "bare"):
        scene.delete(p, name)
    p.serial.wait_round()
    scene.tidy(p)


def test_disk_of_the_command_line_that_was_unplugged(t):
    """It is missing in the snapshots since, and back behind a revert to an older one."""
    disk = oracle.Disk(t.path("extra.qcow2"), "qcow2", "extra")
    oracle.qemu_img("create", "-q", "-f", "qcow2", disk.path, oracle.SIZE)
    # The BIOS does not know this controller, and the guest does not count on its disk.
    p = scene.start(t, args=["-device", "lsi53c810,id=scsi0", *disk.args("blockdev")[:2],
                             "-device", f"scsi-hd,bus=scsi0.0,id=sextra,drive={disk.node}"])
    write(p, "sextra", 0x11)
    full = create(p, "full")
    write(p, "sextra", 0x22)
    unplug(p, "sextra")
    p.serial.wait_more(3)
    less = create(p, "less")
    harness.equal([d["device"] for d in less.info["disks"]], ["d0"], "disks")
    for _ in range(2):
        scene.revert(p, full, skip=("sextra",))
        harness.equal(peripherals(p), ["scsi0", "sextra"], "devices")
        reads(p, "sextra", 0x11)
        scene.revert(p, less)
        harness.equal(peripherals(p), ["scsi0"], "devices")
        p.serial.wait_more(2)
    assert "device_del" in [c["execute"] for c in config(p)], config(p)
    scene.revert(p, full, skip=("sextra",))
    harness.equal(config(p), [], "configuration")
    p.serial.wait_round()
    scene.tidy(p)


def test_disk_that_is_plugged_by_the_node_of_a_layer(t):
    """Which is what query-block says that the disk was on."""
    p = scene.start(t, args=SCSI)
    plug_scsi(p, "hot")
    write(p, "shot", 0x11)
    one = create(p, "one")
    node = next(entry["inserted"]["node-name"] for entry in p.command("query-block")
                if entry["qdev"] == "shot")
    unplug(p, "shot")
    p.command("device_add", {"driver": "scsi-hd", "id": "shot", "drive": node})
    two = create(p, "two")
    write(p, "shot", 0x22)
    for saved in (two, one, two):
        scene.revert(p, saved, skip=("shot",))
        reads(p, "shot", 0x11)
    p.serial.wait_round()
    scene.tidy(p)


def test_save_as_keeps_the_present_devices(t):
    p = scene.start(t, args=SCSI)
    bare = create(p, "bare")
    plug_scsi(p, "hot")
    write(p, "shot", 0x11)
    scene.revert(p, bare, save_as="plugged")
    harness.equal(peripherals(p), ["scsi0", "serial"], "devices")
    plugged = Saved(scene.info(p, "plugged"))
    p.serial.wait_more(3)
    scene.revert(p, plugged, skip=("shot",))
    reads(p, "shot", 0x11)
    write(p, "shot", 0x22)
    unplug(p, "shot")
    # Nothing would have what was written to it.
    error = p.qmp.refused("snapshot-revert", {"name": "bare", "save-as": "lost"})
    harness.equal(error.reason, "unsaved-state", error.desc)
    scene.revert(p, bare, save_as="less", discard=True)
    scene.revert(p, plugged, skip=("shot",))
    reads(p, "shot", 0x11)
    p.serial.wait_round()
    scene.tidy(p)


def test_unplugged_disk_is_closed_and_its_layers_are_guarded(t):
    """As if there were no overlays: the client takes out its own node.  It cannot open the image again
    for writing, which its snapshots stand on; their deletion goes on as well as it can."""
    p = scene.start(t, args=SCSI)
    bare = create(p, "bare")
    image = plug_scsi(p, "hot")
    write(p, "shot", 0x11)
    one = create(p, "one")
    write(p, "shot", 0x22)
    create(p, "two")
    nodes = {"driver": "qcow2", "node-name": "again", "file": {"driver": "file", "filename": str(image)}}
    unplug(p, "shot")
    p.command("blockdev-del", {"node-name": "hot"})
    left = [n["node-name"] for n in p.command("query-named-block-nodes", flat=True)
            if "hot" in n["file"]]
    harness.equal(left, [], "nodes of the disk")
    error = p.qmp.refused("blockdev-add", nodes)
    harness.equal(error.reason, "chain-mismatch", error.desc)
    p.command("blockdev-add", {**nodes, "read-only": True})
    p.command("blockdev-del", {"node-name": "again"})
    one.untouched()
    harness.equal(config(p), [], "configuration")
    scene.revert(p, one, skip=("shot",))
    reads(p, "shot", 0x11)
    scene.revert(p, bare)
    # "two" stands on it, in a disk that the VM does not have: merged when it does.
    scene.delete(p, "one")
    two = Saved(scene.info(p, "two"))
    scene.revert(p, two, skip=("shot",))
    reads(p, "shot", 0x22)
    p.serial.wait_more(2)
    scene.delete(p, "bare")
    two = Saved(scene.info(p, "two"))
    scene.revert(p, two, skip=("shot",))
    reads(p, "shot", 0x22)
    p.serial.wait_round()
    scene.tidy(p)


def test_node_of_an_unplugged_disk_is_in_the_way_of_a_boot_beside_it(t):
    """It is open for writing without a device, too.  A second QEMU that loads memory may wait for it."""
    p = scene.start(t, args=SCSI)
    plug_scsi(p, "hot")
    create(p, "with")
    unplug(p, "shot")
    boots = scene.create(p, "boots", memory="none")
    loads = create(p, "loads")
    refused(p, "needs-replace", "boots", "'hot'", "blockdev-del")
    scene.revert(p, loads)
    for method in ({"method": "replace"}, {}):
        byhand.boots(p, boots, **method)
        harness.equal("hot" in [n["node-name"] for n in p.command("query-named-block-nodes", flat=True)],
                      True, "the node")
        p.command("blockdev-del", {"node-name": "hot"})
    p.serial.wait_round()
    scene.tidy(p)


def test_another_proxy_and_a_cold_start(t):
    """A proxy that finds its QEMU knows what is plugged; the next process has what the command line
    says, and its snapshots have what they had."""
    p = scene.start(t, args=SCSI)
    plug_scsi(p, "hot")
    plug_scsi(p, "gone")
    write(p, "shot", 0x11)
    p.kill()
    p.start()
    unplug(p, "sgone")
    one = create(p, "one")
    harness.equal(sorted(d["device"] for d in one.info["disks"]), ["d0", "shot"], "disks")
    write(p, "shot", 0x22)
    scene.revert(p, one, skip=("shot",))
    reads(p, "shot", 0x11)
    harness.equal(p.stop(), 0, "exit status")
    p.start()
    p.serial.wait_more(3)
    harness.equal(peripherals(p), ["scsi0", "serial"], "devices")
    cold = create(p, "cold")
    scene.revert(p, one, skip=("shot",))
    reads(p, "shot", 0x11)
    scene.revert(p, cold)
    harness.equal(peripherals(p), ["scsi0", "serial"], "devices")
    p.serial.wait_round()
    scene.tidy(p, t.path("gone.qcow2"))


if __name__ == "__main__":
    sys.exit(harness.run([test for name, test in list(globals().items())
                          if name.startswith("test_")]))
