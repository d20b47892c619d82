#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""snapshot-delete on a real QEMU: files go or are merged, and what remains is what it was."""

import sys
from pathlib import Path

import scene
from scene import harness, oracle, vm

FORMATS = ("qcow2", "raw")


def row(p, *names):
    """Snapshots one after the other, with turns of the guest between them."""
    saved = []
    for name in names:
        saved.append(scene.create(p, name))
        p.serial.wait_more(6)
    return saved


def drop(p, saved, *remaining, **args):
    """Deletes one; its memory is gone, and the others hold what they held."""
    scene.delete(p, saved.name, **args)
    if "memory" in saved.info:
        assert not Path(saved.info["memory"]["file"]).exists(), "its memory is still there"
    scene.check_disks(p)
    for other in remaining:
        other.reload(p)


def images(t):
    return {path.name for path in t.dir.iterdir() if path.suffix in (".qcow2", ".raw")}


def test_the_newest_of_three_is_deleted(t):
    p = scene.start(t, FORMATS)
    one, two, three = row(p, "one", "two", "three")
    active = scene.layout(p)
    p.qmp.drain().clear()
    drop(p, three, one, two, direction="commit")
    harness.equal(p.qmp.wait_event("SNAPSHOT_DELETED")["data"], {"name": "three"}, "event")
    # What ran above it went into it.
    harness.equal(scene.layout(p), {d["device"]: (d["image"], "qcow2")
                                    for d in three.info["disks"]}, "active images")
    for path, _driver in active.values():
        assert not Path(path).exists(), f"{path} is still there"
    harness.equal([s["current"] for s in p.command("query-snapshots")], [False, True], "current")
    p.serial.wait_round()
    scene.revert(p, one)
    scene.revert(p, two)
    p.serial.wait_more(4)
    scene.tidy(p)


def test_one_between_others_is_deleted(t):
    p = scene.start(t, FORMATS)
    one, two, three = row(p, "one", "two", "three")
    gone = [disk["image"] for disk in three.info["disks"]]
    drop(p, two, one, three, direction="commit")
    for path in gone:       # merged into the layer below, which has the third's content now
        assert not Path(path).exists(), f"{path} is still there"
    harness.equal(scene.info(p, "three")["parent"], "one", "parent")
    harness.equal(scene.info(p, "one")["children"], ["three"], "children")
    p.serial.wait_more(5)
    scene.revert(p, one)
    scene.revert(p, three)
    p.serial.wait_more(5)
    scene.tidy(p)


def test_the_root_is_deleted(t):
    p = scene.start(t, FORMATS)
    one, two, three = row(p, "one", "two", "three")
    drop(p, one, two, three)
    harness.equal({d["device"]: d["image"] for d in scene.info(p, "two")["disks"]},
                  {d.id: str(d.path) for d in p.disks}, "the second's images")
    assert "parent" not in scene.info(p, "two")
    p.serial.wait_more(5)
    scene.revert(p, three)
    scene.revert(p, two)
    p.serial.wait_more(4)
    scene.tidy(p)


def test_all_are_deleted_from_the_oldest_on(t):
    p = scene.start(t, FORMATS, style="blockdev")
    left = row(p, "one", "two", "three")
    while left:
        drop(p, left.pop(0), *left)
    harness.equal(images(t), {disk.path.name for disk in p.disks}, "images")
    p.serial.wait_round()
    harness.equal(p.serial.jumps(), [], "jumps")
    scene.tidy(p)


def test_all_are_deleted_from_the_newest_on_while_the_guest_is_paused(t):
    p = scene.start(t, FORMATS)
    left = row(p, "one", "two", "three")
    p.command("stop")
    while left:
        drop(p, left.pop(), *left)
        harness.equal(scene.status(p), "paused", "status")
    harness.equal(images(t), {disk.path.name for disk in p.disks}, "images")
    p.command("cont")
    p.serial.wait_more(5)
    harness.equal(p.serial.jumps(), [], "jumps")
    scene.tidy(p)


def fork(p):
    """root, with a branch "left" beside what runs, "right"."""
    root, left = row(p, "root", "left")
    scene.revert(p, root)
    p.serial.wait_more(4)
    right = scene.create(p, "right")
    p.serial.wait_more(4)
    return root, left, right


def test_a_branch_point_is_kept_without_its_name(t):
    p = scene.start(t, FORMATS)
    root, left, right = fork(p)
    drop(p, root, left, right)
    root.untouched(deleted=True)                # both branches stand on it
    harness.equal([s.get("parent") for s in p.command("query-snapshots")], [None, None], "parents")
    scene.revert(p, left)
    p.serial.wait_more(4)
    scene.revert(p, right)
    root.untouched(deleted=True)
    p.serial.wait_more(5)
    # With one of the branches gone, what was kept is merged.
    drop(p, left, right)
    for disk in left.info["disks"]:
        assert not Path(disk["image"]).exists(), "the side branch is still there"
    scene.revert(p, right)
    p.serial.wait_more(5)
    drop(p, right)
    p.serial.wait_round()
    harness.equal(images(t), {disk.path.name for disk in p.disks}, "images")
    scene.tidy(p)


def test_the_files_of_a_side_branch_go(t):
    p = scene.start(t, FORMATS)
    root, left, right = fork(p)
    active = scene.layout(p)
    drop(p, left, root, right)
    for disk in left.info["disks"]:
        assert not Path(disk["image"]).exists(), "the side branch is still there"
    root.untouched()
    harness.equal(scene.layout(p), active, "active images")
    harness.equal(scene.info(p, "root")["children"], ["right"], "children")
    scene.revert(p, root)
    scene.revert(p, right)
    p.serial.wait_more(5)
    scene.tidy(p)


def test_one_inside_a_side_branch_is_deleted(t):
    """QEMU has its layers not open, so nothing can be merged before it runs again."""
    p = scene.start(t, FORMATS)
    root, low, high = row(p, "root", "low", "high")
    scene.revert(p, root)
    drop(p, low, root, high)
    harness.equal(scene.info(p, "high")["parent"], "root", "parent")
    scene.revert(p, high)
    p.serial.wait_more(5)
    scene.revert(p, root)
    drop(p, high, root)
    harness.equal(len(images(t)), 4, "images: the two first, and what runs on them")
    drop(p, root)
    harness.equal(images(t), {disk.path.name for disk in p.disks}, "images")
    p.serial.wait_more(5)
    scene.tidy(p)


def test_a_subtree_is_deleted_at_once(t):
    """root-(left-(leaf), right); the guest runs on right."""
    p = scene.start(t, FORMATS)
    root, left, leaf = row(p, "root", "left", "leaf")
    scene.revert(p, root)
    right = row(p, "right")[0]
    for name in ("root", "right"):
        error = p.qmp.refused("snapshot-delete", {"name": name, "children": "include"})
        harness.equal(error.reason, "current-branch", f"{name} with its children")
    error = p.qmp.refused("snapshot-delete", {"name": "root", "children": "only"})
    harness.equal(error.reason, "current-branch", "the children of root")
    harness.equal(scene.names(p), ["root", "left", "leaf", "right"], "names after refusals")
    files = [Path(d["image"]) for s in (left, leaf) for d in s.info["disks"]]
    files += [Path(s.info["memory"]["file"]) for s in (left, leaf)]
    p.qmp.drain().clear()
    result = p.command("snapshot-delete", {"name": "left", "children": "only"}, timeout=30)
    harness.equal(result["deleted"], ["leaf"], "deleted below left")
    scene.revert(p, left)
    scene.revert(p, right)
    result = p.command("snapshot-delete", {"name": "left", "children": "include"}, timeout=30)
    harness.equal(result["deleted"], ["left"], "deleted")
    gone = [e["data"]["name"] for e in p.qmp.drain() if e["event"] == "SNAPSHOT_DELETED"]
    harness.equal(gone, ["leaf", "left"], "events")
    harness.equal([str(path) for path in files if path.exists()], [], "files that stayed")
    harness.equal(scene.names(p), ["root", "right"], "names")
    result = p.command("snapshot-delete", {"name": "right", "children": "only"}, timeout=30)
    harness.equal(result["deleted"], [], "deleted where there are no children")
    scene.revert(p, root)
    result = p.command("snapshot-delete", {"name": "root", "children": "only"}, timeout=30)
    harness.equal(result["deleted"], ["right"], "deleted beside the guest")
    p.serial.wait_more(5)
    scene.revert(p, root)
    drop(p, root)
    harness.equal(images(t), {disk.path.name for disk in p.disks}, "images")
    scene.tidy(p)


def test_one_that_runs_in_a_revert_to_it_is_deleted(t):
    p = scene.start(t, FORMATS)
    one, two = row(p, "one", "two")
    scene.revert(p, one)
    p.serial.wait_more(4)
    drop(p, one, two)                           # current, with "two" on a side branch
    scene.revert(p, two)
    p.serial.wait_more(5)
    drop(p, two)
    p.serial.wait_more(5)
    scene.tidy(p)


def test_one_without_memory_is_deleted(t):
    p = scene.start(t, FORMATS)
    one = scene.create(p, "one", memory="none")
    p.serial.wait_more(4)
    two = scene.create(p, "two")
    p.serial.wait_more(4)
    drop(p, one, two)
    scene.revert(p, two)
    p.serial.wait_more(5)
    drop(p, two)
    harness.equal(images(t), {disk.path.name for disk in p.disks}, "images")
    p.serial.wait_more(4)
    scene.tidy(p)


def test_disks_that_differ_in_their_snapshots_are_merged_each_for_itself(t):
    disks = oracle.make_disks(t.dir, ("qcow2", "raw"))
    p = vm.Proxy(t, disks)
    p.start()
    p.serial.wait_tick(4)
    one = scene.create(p, "one", disks=["d0"])
    p.serial.wait_more(4)
    two = scene.create(p, "two")
    p.serial.wait_more(4)
    drop(p, one, two)
    harness.equal({d["device"]: d["image"] for d in two.info["disks"]},
                  {d.id: str(d.path) for d in disks}, "the second's images")
    scene.revert(p, two)
    p.serial.wait_more(5)
    drop(p, two)
    p.serial.wait_more(5)
    harness.equal(images(t), {disk.path.name for disk in disks}, "images")
    scene.tidy(p)


def test_the_images_of_a_shared_base_are_never_written(t):
    """The command line's image is an overlay itself, of a golden image that others use as well."""
    golden = oracle.make_disks(t.dir, ("qcow2",), prefix="golden")[0]
    own = oracle.Disk(t.path("own.qcow2"), "qcow2", "d0")
    oracle.qemu_img("create", "-q", "-f", "qcow2", "-F", "qcow2", "-b", golden.path, own.path)
    before = (scene.checksum(golden.path), golden.path.stat().st_mtime_ns)
    p = vm.Proxy(t, [own])
    p.start()
    p.serial.wait_tick(4)
    one, two = row(p, "one", "two")
    scene.revert(p, one)
    scene.revert(p, two)
    drop(p, one, two)
    scene.revert(p, two)
    drop(p, two)
    p.serial.wait_more(5)
    harness.equal(scene.layout(p)["d0"][0], str(own.path), "active image")
    scene.tidy(p)
    harness.equal((scene.checksum(golden.path), golden.path.stat().st_mtime_ns), before, "golden")


def test_after_the_last_delete_only_the_first_images_are_left(t):
    """Also when several merges have waited for a branch to run again."""
    p = scene.start(t, FORMATS)
    root, low, middle, high = row(p, "root", "low", "middle", "high")
    scene.revert(p, root)
    for saved in (low, middle):
        drop(p, saved, root, high)
    scene.revert(p, high)
    p.serial.wait_more(4)
    drop(p, root, high)
    drop(p, high)
    p.serial.wait_more(4)
    harness.equal(p.serial.boots(), [0], "boots")
    harness.equal(images(t), {disk.path.name for disk in p.disks}, "images")
    scene.tidy(p)


def test_metadata_only_takes_the_name_and_its_memory(t):
    p = scene.start(t, FORMATS)
    one, two = row(p, "one", "two")
    before = scene.layout(p)
    scene.delete(p, "one", **{"metadata-only": True})
    one.untouched(deleted=True)
    harness.equal(scene.layout(p), before, "images")
    assert not Path(one.info["memory"]["file"]).exists()
    scene.revert(p, two)
    drop(p, two)                                # looks at what was left as well
    p.serial.wait_more(5)
    scene.tidy(p)


if __name__ == "__main__":
    sys.exit(harness.run([value for name, value in list(globals().items())
                          if name.startswith("test_")]))
