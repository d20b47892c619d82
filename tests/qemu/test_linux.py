#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A real Linux guest: its counter in memory and those on its disks go back together."""

import re
import sys

import scene
from scene import harness, oracle, vm

import linux


def disk_counter(path, driver):
    """The number in sector 8 of an image, which the guest writes past its page cache."""
    raw = path + ".read"
    oracle.qemu_img("convert", "-U", "-f", driver, "-O", "raw", path, raw)
    with open(raw, "rb") as file:
        file.seek(linux.HEAD)
        return int(re.match(rb"QMPLINUX (\d+)", file.read(oracle.SECTOR)).group(1))


def went_back_to(p, mark, saved):
    """The counter in memory is that of the frozen disks, or the next one."""
    run = harness.poll(mark.run, 30, "the guest to count again")
    assert saved <= run[0] <= saved + 2, (saved, run)
    with vm.paused(p):
        last = p.serial.last()
        for path, driver in scene.layout(p).values():
            count = disk_counter(path, driver)
            assert abs(count - last) <= 1, f"{path} holds {count}, the guest printed {last}"


def create(p, name):
    """Makes a snapshot; the number on its disks, which is the same on all."""
    info = p.command("snapshot-create", {"name": name}, timeout=60)["snapshot"]
    counts = [disk_counter(disk["image"], disk["format"]) for disk in info["disks"]]
    assert max(counts) - min(counts) <= 1, counts
    return max(counts)


def revert(p, name, saved, **args):
    p.serial.wait_more(2, timeout=30)
    mark = scene.Mark(p)
    p.command("snapshot-revert", {"name": name, "discard": True, **args}, timeout=60)
    went_back_to(p, mark, saved)


def test_memory_and_disks_of_linux_go_back_together(t):
    disks = linux.make_disks(t.dir, ("qcow2", "raw"))
    p = linux.start(vm.Proxy(t, disks, linux.args(), memory="192"))
    older = create(p, "older")
    p.serial.wait_more(6, timeout=30)
    newer = create(p, "newer")
    assert newer > older
    p.serial.wait_more(6, timeout=30)
    revert(p, "older", older)
    p.serial.wait_tick(newer + 5, since=p.serial.size(), timeout=60)
    revert(p, "newer", newer)
    p.command("snapshot-delete", {"name": "older"}, timeout=60)
    p.serial.wait_more(4, timeout=30)
    revert(p, "newer", newer)
    p.command("snapshot-delete", {"name": "newer"}, timeout=60)
    p.serial.wait_more(34, timeout=60)          # its whole history is looked at
    harness.equal(p.serial.boots(), [0], "boots")
    harness.equal({path for path, _driver in scene.layout(p).values()},
                  {str(disk.path) for disk in disks}, "images")
    p.serial.check()
    harness.equal(p.stop(), 0, "exit status")


if __name__ == "__main__":
    sys.exit(harness.run([test_memory_and_disks_of_linux_go_back_together], timeout=240))
