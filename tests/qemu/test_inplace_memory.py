#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory that was saved as a vmstate and is broken, or does not fit, and what there is no room for."""

import sys
from pathlib import Path

import faulty
import hostile
import scene
from hostile import refused
from scene import create, harness, oracle, vm
from test_failures import fails, xxh3
from test_inplace import IN_PLACE, clean, in_place


def with_memory(p, data):
    """Other saved memory for s1, with the checksum that fits."""
    p.stop()
    Path(scene.state(p)["snapshots"][0]["memory"]["file"]).write_bytes(data)
    hostile.edit_state(p, lambda record: record["snapshots"][0]["memory"].update(
        xxh3=xxh3(data), size=len(data)))
    p.start()
    p.serial.wait_more(3)


def saved_elsewhere(t, memory="64", tag="qsnap"):
    """What another machine has saved."""
    path = t.path(f"other-{memory}-{tag}")
    oracle.qemu_img("create", "-q", "-f", "qcow2", path, "64K")
    with vm.Qemu(t, oracle.make_disks(t.dir, prefix=f"other{memory}{tag}"), memory=memory,
                 name=f"q{memory}{tag}") as q:
        q.serial.wait_tick(2)
        q.command("blockdev-add", {"node-name": "v", "driver": "qcow2",
                                   "file": {"driver": "file", "filename": str(path)}})
        q.command("snapshot-save", {"job-id": "j", "tag": tag, "vmstate": "v", "devices": ["v"]})
        harness.poll(lambda: q.command("query-jobs")[0]["status"] == "concluded", 10, "the save")
        harness.equal(q.command("query-jobs")[0].get("error"), None, "error of the save")
        q.command("blockdev-del", {"node-name": "v"})
    return path.read_bytes()


def test_broken_memory_is_found_before_anything_stops(t):
    p = scene.start(t)
    saved = create(p, "s1", memory="vmstate")
    memory = Path(saved.info["memory"]["file"])
    good = memory.read_bytes()
    p.serial.wait_more(2)
    altered = bytearray(good)
    altered[len(good) // 2] ^= 1
    for data, word in ((bytes(altered), "checksum"), (good[:-1], "bytes")):
        memory.write_bytes(data)
        refused(p, "memory-changed", "snapshot-revert", IN_PLACE, word)
    problems = p.command("query-snapshots", {"name": "s1", "verify": True})[0]["problems"]
    assert "cut short" in str(problems), problems
    for data in (saved_elsewhere(t, "32", "other"), bytes(70000)):
        with_memory(p, data)
        refused(p, "memory-changed", "snapshot-revert", IN_PLACE, "'qsnap'")
    with_memory(p, good)
    memory.rename(t.path("away"))
    refused(p, "memory-missing", "snapshot-revert", IN_PLACE, str(memory))
    t.path("away").rename(memory)
    in_place(p, saved)
    clean(p)


def test_a_load_that_fails_half_way_leaves_the_guest_as_it_was(t):
    """The memory of another machine, and one whose RAM is garbage half way: what was is loaded again."""
    p = scene.start(t, ("qcow2", "raw"))
    saved = create(p, "s1", memory="vmstate")
    p.serial.wait_more(3)
    good = Path(saved.info["memory"]["file"]).read_bytes()
    half = bytearray(good)
    half[len(good) // 3:len(good) // 2] = b"\xff" * (len(good) // 2 - len(good) // 3)
    for data in (saved_elsewhere(t), bytes(half)):
        with_memory(p, data)
        fails(p, "snapshot-revert", IN_PLACE, "qsnap-load")
        clean(p)
        p.serial.wait_more(10)
        scene.check_disks(p)
    with_memory(p, good)
    in_place(p, saved)
    clean(p)


def test_no_room_for_what_is(t):
    """The present state is saved first; there is no room for that, or it runs out."""
    folder = hostile.mount_tmpfs(t, "small", "64M")
    p = scene.start(t, state=folder / "state")
    saved = create(p, "s1", memory="vmstate")
    filler = hostile.fill(folder, 20 << 20)
    refused(p, "method-unavailable", "snapshot-revert", IN_PLACE, "KiB")
    assert "KiB" in p.command("snapshot-revert", {"name": "s1", "discard": True, "dry-run": True}
                              )["reasons"][0]
    filler.unlink()
    in_place(p, saved)
    clean(p)
    p.stop()


def test_a_guest_that_stopped_by_itself_goes_back(t):
    """The disk of the host is full: QEMU stops the guest, and a revert lets it go on elsewhere."""
    p, faults = faulty.start(t, ("qcow2", "raw"))
    saved = create(p, "s1", memory="vmstate")
    full = scene.layout(p)["d0"][0]
    faults.rules(("fail", faulty.ENOSPC, "data", full))
    harness.poll(lambda: scene.status(p) == "io-error", 20, "the guest to stop")
    refused(p, "method-unavailable", "snapshot-revert", {**IN_PLACE, "state": "paused"}, "io-error")
    result = p.command("snapshot-revert", {"name": "s1", "discard": True}, timeout=30)
    harness.equal((result["method"], scene.status(p)), ("in-place", "running"), str(result["reasons"]))
    faults.mend()
    p.serial.wait_more(5)
    scene.check_disks(p)
    clean(p)
    in_place(p, saved)
    p.killed = True     # leaks in what could not be written
    scene.tidy(p)


TESTS = [test_a_guest_that_stopped_by_itself_goes_back,
         test_broken_memory_is_found_before_anything_stops,
         test_a_load_that_fails_half_way_leaves_the_guest_as_it_was, test_no_room_for_what_is]


if __name__ == "__main__":
    sys.exit(harness.run(TESTS))
