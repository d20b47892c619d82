#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What others have done to the images behind the proxy's back (D6, D8, D9 of test_validations.py).

Model: after it, every delete and every revert is either right or refused by reason, and then has
changed nothing; whatever was not destroyed by hand is not lost."""

import os
import shutil
import sys
from pathlib import Path

import hostile
import scene
from scene import harness, oracle, qmp, vm


def aside(path):
    """A copy with the same bytes and times takes the file's place; where the old one is now."""
    away = Path(path).parent / "aside"
    away.mkdir(exist_ok=True)
    shutil.copy2(path, f"{path}.copy")
    os.rename(path, away / Path(path).name)
    os.rename(f"{path}.copy", path)
    return away / Path(path).name


def write_in_place(path):
    """One byte of a file is another."""
    with open(path, "r+b") as file:
        file.seek(-1, os.SEEK_END)
        byte = file.read(1)[0] ^ 0xff
        file.seek(-1, os.SEEK_END)
        file.write(bytes([byte]))


def either(p, command, args, timeout=30):
    """What the command returned, or None: it was refused by reason, and the guest runs on."""
    mark = scene.Mark(p)
    before = scene.layout(p)
    try:
        return p.command(command, args, timeout=timeout)
    except qmp.QmpError as error:
        assert error.reason and error.reason != "bad-plan", error
        harness.equal(scene.layout(p), before, "images behind a refusal")
        if scene.status(p) == "running":
            mark.went_on()
        p.test.note(f"{command} {args['name']}: {error.reason}: {error.desc}")
        return None


def all_right_or_refused(p, saved, spoiled=()):
    """Every snapshot is reverted to, and deleted; what was done is right.  spoiled: those whose
    contents were destroyed by hand: no revert to one may be let through."""
    left = {one.name: one for one in saved}
    done = []
    for name in left:
        one = left[name]
        mark = scene.Mark(p)
        if scene.status(p) == "running":
            scene.step_aside(p, one)
            mark = scene.Mark(p)
        if either(p, "snapshot-revert", {"name": name, "discard": True}):
            assert name not in spoiled, f"reverted to {name}, which was destroyed by hand"
            mark.went_back_to(one)
            scene.check_disks(p)
            done.append(f"revert {name}")
    for name in list(left):
        if either(p, "snapshot-delete", {"name": name}):
            done.append(f"delete {name}")
            del left[name]
        harness.equal(scene.names(p), list(left), "snapshots")
        scene.check_disks(p)
        for other in left.values():
            if other.name not in spoiled:
                other.same(p)
    p.test.note(f"done: {', '.join(done) or 'nothing'}")
    p.serial.wait_round()
    return left


# --- D6

def test_d6_a_side_branch_that_another_process_has_open(t):
    """QEMU's own locks are what tells."""
    p = scene.start(t)
    root, low, high = scene.row(p, "root", "low", "high")
    scene.revert(p, root)
    p.serial.wait_more(3)
    held = vm.Qemu(t, [oracle.Disk(low.info["disks"][0]["image"], "qcow2", "d0")], ["-S"],
                   name="held")
    child = vm.Qemu(t, [oracle.Disk(high.info["disks"][0]["image"], "qcow2", "d0")], ["-S"],
                    name="child")
    for other in (held, child):
        other.start()
        either(p, "snapshot-delete", {"name": "low"})
        high.same(p)
        root.same(p)
        scene.check_disks(p)
        other.stop()
    if "low" in scene.names(p):
        scene.delete(p, "low")
    high.same(p)
    scene.revert(p, high)
    scene.drop(p, root, high)
    scene.drop(p, high)
    p.serial.wait_round()
    harness.equal([path.name for path in t.dir.glob("*.qcow2")], ["disk0.qcow2"], "images")
    scene.tidy(p)


# --- D8

def on_golden(t):
    golden = oracle.make_disks(t.dir, prefix="golden")[0].path
    own = oracle.Disk(t.path("own.qcow2"), "qcow2", "d0")
    oracle.qemu_img("create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", golden, own.path)
    p = vm.Proxy(t, [own]).start()
    p.serial.wait_tick(4)
    return p, golden


def test_d8_the_image_below_the_vms_own_was_replaced(t):
    """QEMU has the old file open; a second QEMU, and the next start, would open the new one."""
    p, golden = on_golden(t)
    one, two = scene.row(p, "one", "two")
    old = aside(golden)
    error = hostile.refused(p, "image-changed", "snapshot-revert",
                            {"name": "one", "discard": True}, golden)
    harness.equal(error.data["file"], str(golden), "file in data")
    hostile.refused(p, "image-changed", "snapshot-delete", {"name": "one"}, golden)
    old.rename(golden)
    scene.drop(p, one, two)
    scene.revert(p, two)


def test_d8_the_image_below_the_vms_own_was_written_to(t):
    p, golden = on_golden(t)
    one = scene.row(p, "one", "two")[0]
    before, times = golden.read_bytes(), golden.stat()
    write_in_place(golden)
    error = hostile.refused(p, "image-changed", "snapshot-revert",
                            {"name": "one", "discard": True}, golden)
    harness.equal(error.data["file"], str(golden), "file in data")
    golden.write_bytes(before)
    os.utime(golden, ns=(times.st_atime_ns, times.st_mtime_ns))
    scene.revert(p, one)


def test_d8_the_active_image_was_replaced(t):
    """QEMU writes to a file that no name leads to: what is merged into it ends with QEMU."""
    p = scene.start(t)
    scene.row(p, "one", "two")
    path = scene.layout(p)["d0"][0]
    old = aside(path)
    for command, args in (("snapshot-create", {"name": "three"}),
                          ("snapshot-delete", {"name": "one"}),
                          ("snapshot-delete", {"name": "two"})):
        error = hostile.refused(p, "image-changed", command, args, path)
        harness.equal(error.data["file"], path, "file in data")
    os.replace(old, path)
    scene.delete(p, "two")
    p.serial.wait_round()
    scene.check_disks(p)


def test_d8_a_layer_of_a_side_branch_was_replaced(t):
    p = scene.start(t)
    root, low, high = scene.row(p, "root", "low", "high")
    scene.revert(p, root)
    path = low.info["disks"][0]["image"]
    old = aside(path)
    write_in_place(path)
    for name in ("low", "high"):
        either(p, "snapshot-delete", {"name": name, "dry-run": True})
    either(p, "snapshot-delete", {"name": "low"})
    hostile.refused(p, "image-changed", "snapshot-revert", {"name": "high", "discard": True}, path)
    assert scene.names(p)[:1] == ["root"], scene.names(p)
    if "low" in scene.names(p):
        os.replace(old, path)
        scene.drop(p, low, root, high)
        scene.revert(p, high)
    p.serial.wait_more(3)


# --- D9

def job(p, command, **args):
    """A client's own merge, to its end."""
    p.command(command, {"job-id": "mine", **args})
    p.qmp.wait_event(lambda event: event["event"] == "BLOCK_JOB_COMPLETED" and
                     event["data"]["device"] == "mine" and "error" not in event["data"])
    harness.poll(lambda: not p.command("query-jobs"), 10, "the job to be gone")


def test_d9_a_commit_by_hand_in_the_middle_of_the_chain(t):
    """three's layer goes into two's: two is destroyed, three is in another file."""
    p = scene.start(t)
    saved = scene.row(p, "one", "two", "three")
    job(p, "block-commit", **{"device": "d0", "top-node": "qsnap-3", "base-node": "qsnap-2",
                              "backing-file": saved[1].info["disks"][0]["image"]})
    before = scene.beyond(p)
    p.command("query-snapshots")
    p.command("query-snapshots", {"verify": True})
    harness.equal(scene.beyond(p), before, "what runs")
    all_right_or_refused(p, saved, spoiled=("two", "three"))


def test_d9_a_commit_by_hand_down_to_the_first_image(t):
    p = scene.start(t)
    saved = scene.row(p, "one", "two", "three")
    base = next(n["node-name"] for n in p.command("query-named-block-nodes", flat=True)
                if n["file"] == str(p.disks[0].path) and n["drv"] == "qcow2")
    job(p, "block-commit", **{"device": "d0", "top-node": "qsnap-3", "base-node": base,
                              "backing-file": str(p.disks[0].path)})
    all_right_or_refused(p, saved, spoiled=("one", "two", "three"))


def test_d9_a_stream_by_hand_into_the_active_layer(t):
    """Two layers are no longer in the chain; their files are as they were."""
    p = scene.start(t)
    saved = scene.row(p, "one", "two", "three")
    base = next(n["node-name"] for n in p.command("query-named-block-nodes", flat=True)
                if n["file"] == str(p.disks[0].path) and n["drv"] == "qcow2")
    job(p, "block-stream", **{"device": "d0", "base-node": base,
                              "backing-file": str(p.disks[0].path)})
    for one in saved:
        one.untouched()
    before = scene.beyond(p)
    left = all_right_or_refused(p, saved)
    if len(left) == len(saved):
        for one in saved:
            one.untouched()
        harness.equal(scene.beyond(p), before, "what runs")


def test_d9_a_stream_by_hand_of_the_whole_chain(t):
    p = scene.start(t)
    saved = scene.row(p, "one", "two")
    job(p, "block-stream", device="d0")
    for one in saved:
        one.untouched()
    all_right_or_refused(p, saved)


def test_d9_a_stream_by_hand_in_the_middle(t):
    """two's layer goes up into three's, whose snapshot reads the same as before."""
    p = scene.start(t)
    saved = scene.row(p, "one", "two", "three")
    base = next(n["node-name"] for n in p.command("query-named-block-nodes", flat=True)
                if n["file"] == str(p.disks[0].path) and n["drv"] == "qcow2")
    job(p, "block-stream", **{"device": "qsnap-3", "base-node": base,
                              "backing-file": str(p.disks[0].path)})
    saved[0].untouched()
    saved[1].untouched()
    saved[2].same(p)
    left = all_right_or_refused(p, saved)
    harness.equal(left, {}, "what could not be deleted")


if __name__ == "__main__":
    sys.exit(harness.run([test for name, test in list(globals().items())
                          if name.startswith("test_")]))
