#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""snapshot-delete: which way layers are merged, down or up; merges beside the running chain.
Whichever way, every snapshot that is left holds what it held, to the byte, and the guest runs on."""

import os
import sys

import hostile
import scene
from scene import harness, oracle, vm

MIB = 1 << 20


def weigh(p, name, mib, pattern):
    """A snapshot on top of whose layer the guest then has that much more."""
    saved = scene.create(p, name, kind=scene.Whole)
    p.serial.wait_more(3)
    for disk in scene.layout(p):
        scene.write(p, disk, pattern, scene.BEYOND, mib * MIB)
    return saved


def plan(p, name, **args):
    """[(step, target, bytes)] of what moves data."""
    result = p.command("snapshot-delete", {"name": name, "dry-run": True, **args})
    return [(step["step"], step.get("target"), step["bytes"]) for step in result["plan"]
            if "bytes" in step]


def allocated(path):
    return os.stat(path).st_blocks * 512


def image(saved):
    return saved.info["disks"][0]["image"]


def calm(p, run):
    """Whether the guest was stopped meanwhile."""
    p.qmp.drain()
    p.qmp.events.clear()
    run()
    return scene.event_names(p, ("STOP", "RESUME"))


def test_the_smaller_of_the_two_moves(t):
    p = scene.start(t)
    one, two, three, four = (weigh(p, name, mib, 0x40 + mib)
                             for name, mib in (("one", 1), ("two", 6), ("three", 1), ("four", 2)))
    # two's layer is small, three's on it is large: up.  four's is small, on three's large one: down.
    up, down = plan(p, "two"), plan(p, "three")
    harness.equal(up, [("block-stream", "d0", allocated(image(two)))], "what moves")
    harness.equal(down, [("block-commit", "d0", allocated(image(four)))], "what moves")
    stopped = calm(p, lambda: scene.drop(p, two, one, three, four))
    harness.equal(image(three), image(scene.Whole(scene.info(p, "three"))), "three's image")
    assert not os.path.exists(up_path := image(two)), f"{up_path} is still there"
    scene.drop(p, three, one, four)
    harness.equal(stopped[:2], ["STOP", "RESUME"], "drop looks at the disks itself")
    scene.revert(p, four)
    scene.drop(p, one, four)
    scene.drop(p, four)
    p.serial.wait_round()
    scene.tidy(p)


def test_the_guest_is_not_stopped_for_what_lies_below_its_active_layer(t):
    p = scene.start(t)
    saved = scene.row(p, "one", "two", "three", "four")
    for name, direction in (("two", "stream"), ("three", "commit"), ("one", "auto")):
        events = calm(p, lambda n=name, d=direction: scene.delete(p, n, direction=d))
        harness.equal(events, [], f"events of the guest in a delete of {name}")
    saved[3].same(p)
    # Up into the active layer it need not be stopped either; down out of it, it has to be.
    harness.equal(calm(p, lambda: scene.delete(p, "four", direction="commit")), ["STOP", "RESUME"],
                  "events of the guest")
    p.serial.wait_round()
    scene.tidy(p)


def test_up_into_the_active_layer(t):
    p = scene.start(t, ("qcow2", "raw"), style="blockdev")
    one, two = scene.row(p, "one", "two")
    active = scene.layout(p)
    events = calm(p, lambda: scene.delete(p, "two", direction="stream"))
    harness.equal(events, [], "events of the guest")
    harness.equal(scene.layout(p), active, "active images")
    one.same(p)
    assert two.count >= one.count
    scene.revert(p, one)
    scene.drop(p, one)
    p.serial.wait_round()
    scene.tidy(p)


def test_each_direction_when_asked_for(t):
    p = scene.start(t)
    saved = {one.name: one for one in scene.row(p, "a", "b", "c", "d", "e")}
    for name, direction, gone in (("b", "commit", "c"), ("d", "stream", "d")):
        path = image(scene.Whole(scene.info(p, gone)))
        want = "block-commit" if direction == "commit" else "block-stream"
        harness.equal(plan(p, name, direction=direction)[0][0], want, "step")
        left = [one for one in saved.values() if one.name != name]
        scene.drop(p, saved.pop(name), *left, direction=direction)
        assert not os.path.exists(path), f"{path} is still there"
    scene.revert(p, saved["c"])
    p.serial.wait_more(3)


def test_the_image_of_the_command_line_cannot_be_streamed_away(t):
    p = scene.start(t)
    one, two = scene.row(p, "one", "two")
    path = str(p.disks[0].path)
    error = hostile.refused(p, "direction-unavailable", "snapshot-delete",
                            {"name": "one", "direction": "stream"}, path)
    harness.equal(error.data["file"], path, "file in data")
    one.untouched()
    scene.drop(p, one, two, direction="commit")


# --- beside the running chain

def branch(p, *names):
    """root, then a branch of these names; the guest runs on root again."""
    root, *side = scene.row(p, "root", *names)
    scene.revert(p, root)
    p.serial.wait_more(3)
    return root, side


def calm_drop(p, saved, *remaining, **args):
    """Nothing of it reaches the guest."""
    events = calm(p, lambda: scene.delete(p, saved.name, **args))
    harness.equal(events, [], f"events of the guest in a delete of {saved.name}")
    nodes = [n["node-name"] for n in p.command("query-named-block-nodes", flat=True)]
    harness.equal([n for n in nodes if n.startswith("qsnap-side")], [], "nodes")
    scene.check_disks(p)
    for other in remaining:
        other.same(p)


def test_layers_of_a_side_branch_up_and_down(t):
    p = scene.start(t, ("qcow2", "raw"))
    root, (a, b, c, d) = branch(p, "a", "b", "c", "d")
    calm_drop(p, a, root, b, c, d, direction="stream")
    calm_drop(p, c, root, b, d, direction="commit")
    scene.revert(p, d)
    scene.revert(p, root)
    calm_drop(p, b, root, d)
    scene.revert(p, d)
    scene.drop(p, root, d)
    scene.drop(p, d)
    p.serial.wait_round()
    scene.tidy(p)


def test_a_side_branch_while_the_guest_is_paused(t):
    p = scene.start(t, style="blockdev")
    root, (a, b, c) = branch(p, "a", "b", "c")
    p.command("stop")
    calm_drop(p, b, root, a, c)
    calm_drop(p, a, root, c)
    p.command("cont")
    scene.revert(p, c)
    scene.drop(p, root, c)
    p.serial.wait_more(3)
    scene.tidy(p)


def test_a_side_branch_of_a_disk_with_an_iothread(t):
    disk = oracle.make_disks(t.dir)[0]
    args = ["-object", "iothread,id=io0", *disk.args("blockdev")[:2],
            "-device", f"virtio-blk-pci,id=v0,drive={disk.node},iothread=io0"]
    p = vm.Proxy(t, [], args)
    p.disks = [disk]
    p.start()
    p.serial.wait_tick(4)
    root, (a, b, c) = branch(p, "a", "b", "c")
    calm_drop(p, b, root, a, c)
    calm_drop(p, a, root, c, direction="commit")
    scene.drop(p, root, c)
    scene.revert(p, c)
    p.serial.wait_more(3)
    scene.tidy(p)


def test_the_first_image_below_a_branch_point(t):
    """It stays, so that the branch point's layer is committed into it; the other branch then stands on
    the first image as well, with not a byte moved."""
    for fmt in ("qcow2", "raw"):
        folder = t.path(fmt)
        folder.mkdir()
        p = vm.Proxy(t, oracle.make_disks(folder, (fmt,)), name=fmt).start()
        p.serial.wait_tick(4)
        root, point, left, leaf = scene.row(p, "root", "point", "left", "leaf")
        scene.revert(p, point)
        p.serial.wait_more(3)
        right = scene.create(p, "right", kind=scene.Whole)
        gone = image(point)
        moves = plan(p, "root")
        harness.equal([(step, bytes_ > 0) for step, _target, bytes_ in moves],
                      [("block-commit", True), ("header-rewrite", False)], "what moves")
        before = scene.checksum(image(leaf))
        calm_drop(p, root, point, left, leaf, right)
        assert not os.path.exists(gone), f"{gone} is still there"
        harness.equal(scene.checksum(image(leaf)), before, "the leaf's image")
        for saved in (left, right, leaf):
            scene.revert(p, saved)
        scene.drop(p, point, left, leaf, right)
        scene.revert(p, right)
        for saved in (left, leaf, right):
            scene.drop(p, saved)
        p.serial.wait_round()
        scene.tidy(p, folder=folder)


def test_a_side_branch_whose_image_is_in_use_elsewhere(t):
    """Nothing is done to it, and the reason is told; without the other process it can be done."""
    p = scene.start(t)
    root, (a, b) = branch(p, "a", "b")
    other = vm.Qemu(t, [oracle.Disk(image(b), "qcow2", "d0")], ["-S"], name="other").start()
    still = hostile.Still(p)
    error = p.qmp.refused("snapshot-delete", {"name": "a"}, timeout=30)
    assert "lock" in error.desc, error
    still.check()
    other.stop()
    b.freeze()                      # the other QEMU has opened it for writing
    calm_drop(p, a, root, b)


def test_what_a_dry_run_says_is_what_is_done(t):
    """The steps of the log are those of the plan, in its order; and the dry run itself did nothing."""
    p = vm.Proxy(t, oracle.make_disks(t.dir), options=("--log-level", "debug")).start()
    p.serial.wait_tick(4)
    root, (a, b) = branch(p, "a", "b")
    for saved, left in ((a, (root, b)), (root, (b,)), (b, ())):
        still = hostile.Still(p)
        steps = [step["step"] for step in
                 p.command("snapshot-delete", {"name": saved.name, "dry-run": True})["plan"]]
        still.check()
        at = len(p.log.read_text())
        scene.delete(p, saved.name)
        done = [line.split("step ", 1)[1].removesuffix(": done")
                for line in p.log.read_text()[at:].splitlines()
                if "step " in line and line.endswith(": done")]
        harness.equal(done, steps, f"steps of a delete of {saved.name}")
        for other in left:
            other.same(p)


def test_attached_to_a_qemu_that_somebody_else_started(t):
    foreign = vm.Qemu(t, oracle.make_disks(t.dir), name="foreign").start()
    foreign.qmp.close()
    p = vm.Attached(t, foreign.address, name="front").start()
    p.serial = foreign.serial
    p.serial.wait_tick(4)
    saved = scene.row(p, "a", "b", "c", "d", memory="none")
    for name, direction in (("b", "stream"), ("c", "commit"), ("d", "stream"), ("a", "auto")):
        gone = next(one for one in saved if one.name == name)
        saved.remove(gone)
        scene.drop(p, gone, *saved, direction=direction)
    p.serial.wait_round()
    harness.equal(scene.layout(p), {"d0": (str(foreign.disks[0].path), "qcow2")}, "disks")


if __name__ == "__main__":
    sys.exit(harness.run([test for name, test in list(globals().items())
                          if name.startswith("test_")]))
