#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Block jobs that clients run: they are noticed when they end; what they destroyed is named, and
everything else goes on to work.  More of them: test_validations_hand.py (D9)."""

import sys

import byhand
import hostile
import scene
from scene import harness, qmp


def test_a_commit_of_the_clients_own_overlay(t):
    """Snapshot, copy the base, commit back: how clients make backups.  The frozen moment is gone."""
    for style in ("drive", "blockdev"):
        p = byhand.machine(t, style)
        disk = byhand.disks(p)[0]
        zero = scene.row(p, "zero")[0]
        where, back = scene.layout(p)[disk], p.folder / "back.qcow2"
        for _round in range(2):
            below = byhand.active(p, disk)
            byhand.by_file(p, disk, back, node="back")
            p.serial.wait_more(3)
            top = byhand.active(p, disk)
            byhand.job(p, "block-commit", **{"device": disk if style == "drive" else top,
                                      "base-node": below})
            harness.equal(scene.layout(p)[disk], where, "active image")
        found = byhand.problems(p)
        harness.equal(list(found), ["zero", "back", "back-2"], "snapshots")
        harness.equal(found["zero"], [], "what was not touched")
        for name in ("back", "back-2"):
            assert len(found[name]) == 1 and where[0] in found[name][0] and \
                "block-commit" in found[name][0], found
            error = p.qmp.refused("snapshot-revert", {"name": name, "discard": True})
            harness.equal(error.reason, "image-changed", "revert")
            assert where[0] in error.desc, error.desc
        assert back.exists(), "a client's file was removed"
        one = scene.row(p, "one")[0]
        byhand.again(p)
        for name in ("back", "back-2"):
            scene.delete(p, name)
        zero.same(p)
        one.same(p)
        scene.revert(p, zero)
        scene.revert(p, one)
        p.serial.wait_round()
        back.unlink()
        scene.tidy(p, folder=p.folder)


def test_an_overlay_that_is_left_open_behind_a_commit(t):
    """A client that has opened it has to close it: QEMU keeps it, on the image that runs again, and moves
    the disk nowhere as long as it does."""
    p = byhand.machine(t, formats=("qcow2", "raw"))
    zero = scene.row(p, "zero")[0]
    below = byhand.active(p, "d1")
    byhand.together(p, p.folder, {"d0": "mine", "d1": "other"})
    byhand.job(p, "block-commit", device="d1", **{"base-node": below})
    for command, args in (("snapshot-create", {"name": "one"}),
                          ("snapshot-delete", {"name": "zero", "direction": "commit"})):
        if command == "snapshot-delete":
            p.command("snapshot-delete", {"name": "mine", "metadata-only": True})
        p.qmp.refused(command, args)        # before it what the client did is put on record
        still = hostile.Still(p)
        error = p.qmp.refused(command, args)
        harness.equal((error.reason, error.data.get("node")), ("chain-mismatch", "other"), error.desc)
        still.check()
    p.command("blockdev-del", {"node-name": "other"})
    one = scene.create(p, "one")
    zero.same(p)
    scene.revert(p, zero)
    scene.revert(p, one)
    (p.folder / "other.qcow2").unlink()
    scene.tidy(p, folder=p.folder)


def test_a_stream_leaves_everything_as_it_was(t):
    """Into the active image; the layers that it has swallowed are still there for the snapshots."""
    for style in ("drive", "blockdev"):
        p = byhand.machine(t, style)
        disk = byhand.disks(p)[0]
        zero, one, two = scene.row(p, "zero", "one", "two")
        base = one.info["disks"][0]["image"]
        node = next(n["node-name"] for n in p.command("query-named-block-nodes", flat=True)
                    if n["file"] == base and n["drv"] == "qcow2")
        byhand.job(p, "block-stream", device=disk if style == "drive" else byhand.active(p, disk),
            **{"base-node": node})
        harness.equal(byhand.problems(p), {"zero": [], "one": [], "two": []}, "problems")
        byhand.again(p)
        three = scene.row(p, "three")[0]
        for saved in (two, three, zero):
            scene.revert(p, saved)
        scene.drop(p, two, zero, one, three)
        scene.drop(p, zero, one, three)
        scene.revert(p, three)
        p.serial.wait_round()
        scene.tidy(p, folder=p.folder)


def test_a_stream_of_everything(t):
    """The image that the command line names is in the chain no more."""
    for style in ("drive", "blockdev"):
        p = byhand.machine(t, style)
        disk = byhand.disks(p)[0]
        zero, one = scene.row(p, "zero", "one")
        byhand.job(p, "block-stream", device=disk if style == "drive" else byhand.active(p, disk))
        harness.equal(byhand.problems(p), {"zero": [], "one": []}, "problems")
        nodes = [n["node-name"] for n in p.command("query-named-block-nodes", flat=True)]
        harness.equal([n for n in nodes if n.startswith("qsnap-")], [byhand.active(p, disk)], "open layers")
        two = scene.row(p, "two")[0]
        byhand.again(p)
        scene.revert(p, two)
        scene.revert(p, zero)
        scene.drop(p, one, zero, two)
        scene.revert(p, two)
        scene.drop(p, zero, two)
        p.serial.wait_round()
        scene.tidy(p, folder=p.folder)


def test_jobs_while_the_proxy_was_away(t):
    """Nothing but the images tells of them."""
    p = byhand.machine(t)
    zero, one, two = scene.row(p, "zero", "one", "two")
    byhand.away(p, ("block-stream", {"job-id": "mine", "device": "d0"}))
    harness.equal(byhand.problems(p), {"zero": [], "one": [], "two": []}, "problems")
    scene.revert(p, two)
    byhand.away(p, ("block-commit", {"job-id": "mine", "device": "d0", "top-node": "qsnap-3",
                              "base-node": "qsnap-2"}))
    found = byhand.problems(p)
    harness.equal([name for name, said in found.items() if said], ["one", "two"], "damaged")
    scene.revert(p, zero)
    for name in ("two", "one"):
        scene.delete(p, name)
    zero.same(p)
    scene.revert(p, zero)
    p.serial.wait_round()
    scene.tidy(p, folder=p.folder)


def test_a_job_that_is_taken_back_changes_nothing(t):
    p = byhand.machine(t)
    zero = scene.row(p, "zero")[0]
    below = byhand.active(p, "d0")
    byhand.by_file(p, "d0", p.folder / "one.qcow2", node="one")
    before = scene.state(p)
    p.command("block-commit", {"job-id": "mine", "device": "d0", "base-node": below, "speed": 1})
    error = p.qmp.refused("snapshot-delete", {"name": "zero"})
    harness.equal(error.reason, "job-running", "delete beside a job")
    harness.equal(scene.state(p), before, "record")
    p.command("block-job-cancel", {"device": "mine", "force": True})
    p.qmp.wait_event("BLOCK_JOB_CANCELLED")
    harness.poll(lambda: not p.command("query-jobs"), 10, "the job to be gone")
    harness.equal(scene.layout(p)["d0"][0], str(p.folder / "one.qcow2"), "active image")
    zero.untouched()


def test_a_stream_that_waits_to_be_dismissed(t):
    """Until then QEMU does not survive to be asked for its nodes."""
    p = byhand.machine(t, formats=("qcow2", "qcow2"))
    zero, one = scene.row(p, "zero", "one")
    base = next(n["node-name"] for n in p.command("query-named-block-nodes", flat=True)
                if n["file"] == one.info["disks"][0]["image"] and n["drv"] == "qcow2")
    p.command("block-stream", {"job-id": "mine", "device": "d0", "base-node": base,
                               "auto-dismiss": False})
    p.qmp.wait_event("BLOCK_JOB_COMPLETED")
    mark = scene.Mark(p)
    for command, args in (("snapshot-create", {"name": "two"}), ("snapshot-delete", {"name": "one"}),
                          ("snapshot-revert", {"name": "one", "discard": True, "dry-run": True})):
        error = p.qmp.refused(command, args)
        harness.equal(error.reason, "job-running", command)
        assert "mine" in error.desc, error.desc
    byhand.by_file(p, "d1", p.folder / "own.qcow2", node="own")
    mark.went_on()
    p.command("job-dismiss", {"id": "mine"})
    harness.poll(lambda: "own" in scene.names(p), 10, "the client's snapshot to be on record")
    two = scene.create(p, "two")
    for saved in (zero, one, two):
        scene.revert(p, saved)
    p.serial.wait_round()


def test_a_stream_that_has_a_name_of_ours(t):
    """It is another monitor's all the same when it stays."""
    p = byhand.machine(t)
    zero, _one = scene.row(p, "zero", "one")
    base = next(n["node-name"] for n in p.command("query-named-block-nodes", flat=True)
                if n["file"] == zero.info["disks"][0]["image"] and n["drv"] == "qcow2")
    mark = scene.Mark(p)

    def depth():
        return p.command("query-block")[0]["inserted"]["backing_file_depth"]
    before = depth()
    with qmp.Client(f"unix:{p.state / 'qemu.bulk.sock'}") as other:
        other.command("block-stream", {"job-id": "qsnap-mine", "device": "d0", "base-node": base,
                                       "auto-dismiss": False})
    harness.poll(lambda: depth() < before, 10, "the stream to end")
    for _ in range(3):
        error = p.qmp.refused("snapshot-create", {"name": "two"})
        harness.equal(error.reason, "job-running", error.desc)
    mark.went_on()
    p.command("job-dismiss", {"id": "qsnap-mine"})


if __name__ == "__main__":
    sys.exit(harness.run([test for name, test in list(globals().items())
                          if name.startswith("test_")]))
