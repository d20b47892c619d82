#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""snapshot-delete with all kinds of images: formats and buses, raw and shared bases, block devices,
disks that grow and shrink, and what qcow2 can be made with.  Which of the two files of a merge
stays is not looked at: every snapshot that is left holds what it held, to the byte."""

import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

import hostile
import scene
from scene import harness, oracle, vm

MIB = 1 << 20


def with_args(t, disks, args, **guest):
    """A running guest on disks that `args` attach."""
    p = vm.Proxy(t, [], args, **guest)
    p.disks = disks
    p.start()
    p.serial.wait_tick(4)
    return p


def three_buses(t, style, name):
    disks = oracle.make_disks(t.dir, ("qcow2", "raw", "qcow2"), prefix=name)
    args = ["-device", "virtio-scsi-pci,id=scsi"]
    devices = ("virtio-blk-pci,bootindex=0", "ide-hd,bus=ide.0", "scsi-hd,bus=scsi.0")
    for disk, device in zip(disks, devices):
        node = disk.node if style == "blockdev" else disk.id
        args += disk.args("blockdev" if style == "blockdev" else "device")[:2]
        args += ["-device", f"{device},id=v{disk.id},drive={node}"]
    return with_args(t, disks, args, name=name)


def only_the_first_are_left(p, *below, folder=None):
    """below: images that are not the VM's own, but under them."""
    p.serial.wait_round()
    left = {str(path) for path in (folder or p.test.dir).iterdir()
            if path.suffix in (".qcow2", ".raw")}
    harness.equal(left, {str(path) for path in [*below, *(d.path for d in p.disks)]}, "images")
    scene.tidy(p, folder=folder)


def in_order(p, order, back):
    """Snapshots in a row, deleted in that order; `back`: what to revert to behind each."""
    if harness.BRIEF:
        order, back = order[:3], back[:2]
    saved = {one.name: one for one in scene.row(p, *sorted(order))}
    for name, to in itertools.zip_longest(order, back):
        gone = saved.pop(name)
        scene.drop(p, gone, *saved.values())
        if to in saved:
            scene.revert(p, saved[to])
            p.serial.wait_more(3)
    p.disks = [disk for disk in p.disks if disk.path.name.startswith(p.name)]
    p.serial.wait_round()


def test_three_disks_on_three_buses_from_the_middle_outwards(t):
    p = three_buses(t, "drive", "vm")
    in_order(p, "cbeda", "ead")
    only_the_first_are_left(p)


def test_three_disks_on_three_buses_as_nodes_and_with_a_branch_at_each_step(t):
    p = three_buses(t, "blockdev", "vm")
    in_order(p, "bdaec", "cace")
    only_the_first_are_left(p)


def overlay_of(t, base, fmt, name="own.qcow2", *options):
    path = t.path(name)
    oracle.qemu_img("create", "-q", "-f", "qcow2", "-F", fmt, "-b", base, *options, path)
    return oracle.Disk(path, "qcow2", "d0")


def stamp(path):
    return scene.checksum(path), path.stat().st_mtime_ns, path.stat().st_ino


def test_an_overlay_of_a_raw_image(t):
    """base.raw <- middle.qcow2 <- own.qcow2, of which only the last is the VM's."""
    base = oracle.make_disks(t.dir, ("raw",), prefix="base")[0].path
    middle = overlay_of(t, base, "raw", "middle.qcow2").path
    own = overlay_of(t, middle, "qcow2")
    before = stamp(base), stamp(middle)
    p = with_args(t, [own], own.args())
    one, two, three = scene.row(p, "one", "two", "three")
    scene.drop(p, one, two, three)
    scene.revert(p, two)
    scene.drop(p, two, three)
    scene.revert(p, three)
    scene.drop(p, three)
    only_the_first_are_left(p, base, middle)
    harness.equal((stamp(base), stamp(middle)), before, "the images below")


def test_images_in_a_folder_that_is_named_from_where_qemu_runs(t):
    """What QEMU was told to open below the first image is another string then than what a header says."""
    for style in ("drive", "blockdev"):
        folder = t.path(style)
        folder.mkdir()
        base = oracle.make_disks(folder, ("raw",), prefix="base")[0].path
        own = overlay_of(t, base.name, "raw", f"{style}/own.qcow2")
        p = with_args(t, [], oracle.Disk(Path(style, "own.qcow2"), "qcow2", "d0").args(style),
                      name=style)
        p.disks = [own]
        one, two, three, four = scene.row(p, "one", "two", "three", "four")
        scene.drop(p, two, one, three, four)
        scene.revert(p, three)
        p.stop()
        p.start()
        p.serial.wait_more(3)
        scene.drop(p, three, one, four)
        scene.revert(p, four)
        for saved in (one, four):
            scene.drop(p, saved)
        only_the_first_are_left(p, base, folder=folder)


def loop_device(t, image, node):
    """A block device over a file, and a node for it in the test's folder, whose overlays can lie
    beside it.  Gone at the end of the test."""
    done = subprocess.run(["losetup", "-f", "--show", image], capture_output=True, text=True,
                          check=False)
    harness.requires(done.returncode == 0, f"losetup: {done.stderr.strip()}")
    device = done.stdout.strip()
    t.cleanup(lambda: subprocess.run(["losetup", "-d", device], check=True))
    os.mknod(node, 0o600 | 0o060000, os.stat(device).st_rdev)
    return device


def boot_file(t, name="host"):
    """A raw image with the guest, in a folder of its own."""
    folder = t.path(name)
    folder.mkdir()
    return oracle.make_disks(folder, ("raw",))[0].path


def test_a_block_device_as_the_first_image(t):
    for style in ("drive", "blockdev"):
        folder = t.path(style)
        folder.mkdir()
        disk = oracle.Disk(folder / "disk.raw", "raw", "d0")
        loop_device(t, boot_file(t, f"{style}.host"), disk.path)
        args = disk.args(style)
        if style == "blockdev":
            args[1] = args[1].replace("file.driver=file", "file.driver=host_device")
        p = with_args(t, [disk], args, name=style)
        one, two, three = scene.row(p, "one", "two", "three")
        scene.drop(p, two, one, three)
        scene.revert(p, one)
        scene.revert(p, three)
        scene.drop(p, one, three)
        scene.drop(p, three)
        only_the_first_are_left(p, folder=folder)


def test_an_overlay_of_a_block_device(t):
    """D4: two kinds of storage in one chain, a file over a device that is not the VM's own."""
    host = boot_file(t)
    node = t.path("device.raw")
    loop_device(t, host, node)
    own = overlay_of(t, node, "raw")
    before = scene.checksum(host)
    p = with_args(t, [own], own.args())
    one, two = scene.row(p, "one", "two")
    scene.revert(p, one)
    scene.drop(p, one, two)
    scene.revert(p, two)
    scene.drop(p, two)
    only_the_first_are_left(p, node)
    harness.equal(scene.checksum(host), before, "the device")


def resize(p, disk, size):
    p.command("block_resize", device=disk, size=size)


def test_a_block_device_that_is_too_small_for_what_is_on_it(t):
    """The disk was grown since, and a device does not grow by itself."""
    host, disk = boot_file(t), oracle.Disk(t.path("disk.raw"), "raw", "d0")
    device = loop_device(t, host, disk.path)
    p = with_args(t, [disk], disk.args())
    one = scene.create(p, "one", kind=scene.Whole)
    resized(p, 24)
    scene.write(p, "d0", 0x5a, 20 * MIB, MIB)
    two = scene.create(p, "two", kind=scene.Whole)
    p.serial.wait_more(4)
    error = hostile.refused(p, "unsupported-disk", "snapshot-delete", {"name": "one"}, disk.path)
    harness.equal(error.data["file"], str(disk.path), "file in data")
    one.untouched()
    scene.drop(p, two, one)                     # above the device there is room
    scene.revert(p, one)
    # As the refusal says: with a larger device it can be done.
    resized(p, 24)
    scene.write(p, "d0", 0x5b, 20 * MIB, MIB)
    os.truncate(host, 24 * MIB)
    subprocess.run(["losetup", "-c", device], check=True)
    scene.drop(p, one)
    only_the_first_are_left(p)


def size_now(p):
    return p.command("query-block")[0]["inserted"]["image"]["virtual-size"] // MIB


def sizes(p):
    """{snapshot: size of its disk}, by its image and by the record; "now": by QEMU."""
    found, record = {}, scene.state(p)
    for snapshot in record["snapshots"]:
        layer = record["layers"][snapshot["disks"]["drive:d0"]]
        facts = json.loads(oracle.qemu_img("info", "-U", "--output=json", "-f", layer["format"],
                                           layer["real"]))
        found[snapshot["name"]] = facts["virtual-size"] // MIB
        harness.equal(layer["size"], facts["virtual-size"], f"recorded size of {snapshot['name']}")
    found["now"] = size_now(p)
    return found


def resized(p, size):
    """Another size, and a new start: a block_resize is a change of the configuration, and nothing
    can be reverted to a snapshot that was made behind one in the same process."""
    if size_now(p) != size:
        resize(p, "d0", size * MIB)
        harness.equal(p.stop(), 0, "exit status")
        p.start()
        p.serial.wait_more(3)
        harness.equal(size_now(p), size, "size behind a cold start")


def sized(p, *steps):
    """Snapshots "s16", ... at these sizes in MiB, each with a mark at its end."""
    saved = {}
    for size in steps:
        resized(p, size)
        scene.write(p, "d0", size, (size - 1) * MIB, MIB)
        p.serial.wait_more(3)
        saved[f"s{size}"] = scene.create(p, f"s{size}", kind=scene.Whole)
        harness.equal(size_now(p), size, "size behind a snapshot")
    return saved


def through_sizes(t, order, back, *steps):
    """All of the snapshots are deleted in that order, with reverts between; the VM."""
    p = scene.start(t)
    saved = sized(p, *steps)
    resized(p, 40)
    want = {**{name: int(name[1:]) for name in saved}, "now": 40}
    for name, to in zip(order, (*back, None)):
        gone = saved.pop(name)
        scene.drop(p, gone, *saved.values())
        del want[name]
        harness.equal(sizes(p), want, f"sizes behind the delete of {name}")
        if to:
            scene.revert(p, saved[to])
            want["now"] = want[to]
            harness.equal(sizes(p), want, f"sizes behind a revert to {to}")
    return p


def test_a_disk_that_grew(t):
    only_the_first_are_left(through_sizes(t, ("s24", "s16", "s32"), ("s16", "s32"), 16, 24, 32))


def test_a_disk_that_grew_and_is_merged_from_the_root_up(t):
    only_the_first_are_left(through_sizes(t, ("s16", "s24", "s32"), ("s32", None), 16, 24, 32))


def test_a_disk_that_shrank(t):
    """The first image is larger: what stands on it stays, as one layer without a name."""
    p = through_sizes(t, ("s32", "s24", "s20"), ("s20", None), 32, 24, 20)
    p.serial.wait_round()
    harness.equal(len(list(t.dir.glob("*.qcow2"))), 2, "images")
    scene.tidy(p)


def test_a_disk_that_shrank_and_grew_again(t):
    """What was cut off must not come back from below."""
    p = scene.start(t)
    saved = sized(p, 32, 24)
    resized(p, 32)
    last = scene.create(p, "last", kind=scene.Whole)
    scene.drop(p, saved["s24"], saved["s32"], last)
    scene.revert(p, last)
    scene.drop(p, saved["s32"], last)
    harness.equal(sizes(p), {"last": 32, "now": 32}, "sizes")
    scene.revert(p, last)
    scene.drop(p, last)
    only_the_first_are_left(p)


if __name__ == "__main__":
    sys.exit(harness.run([test for name, test in list(globals().items())
                          if name.startswith("test_")]))
