#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Snapshots that clients make with commands of QEMU's own.

Model: one is on record when its command is answered, and from then on it is like one of ours without
memory: a revert boots from its disks, a delete merges.

What the record must not do to an answer is in test_conformance.py; block jobs of clients are in
test_observed_jobs.py."""

import sys
import time

import byhand
import hostile
import scene
from scene import harness, oracle, vm


# --- what is recorded

def test_a_snapshot_by_node_is_recorded_before_it_is_answered(t):
    """The overlay's own name, one event behind the answer, and the guest has not noticed."""
    for style in ("drive", "blockdev"):
        p = byhand.machine(t, style)
        disk = byhand.disks(p)[0]
        base = scene.layout(p)[disk][0]
        byhand.overlay(p, disk, p.folder / "one.qcow2", "one")
        p.qmp.drain()
        mark = scene.Mark(p)
        p.command("blockdev-snapshot", {"node": byhand.active(p, disk), "overlay": "one"})
        record = scene.state(p)         # from the disk, at once
        harness.equal([(s["name"], s["origin"]) for s in record["snapshots"]], [("one", "observed")],
                      "on record")
        harness.equal(record["current"], "one", "current")
        harness.equal(record["config"], [], "configuration: the overlay's blockdev-add is no more")
        p.qmp.wait_event(lambda event: event["event"] == "SNAPSHOT_CREATED" and
                         event["data"] == {"name": "one"})
        one = byhand.observed(p, "one")
        harness.equal([d["image"] for d in one.info["disks"]], [base], "frozen image")
        mark.went_on()
        byhand.boots(p, one)
        harness.equal(scene.names(p), ["one"], "snapshots")
        assert not (p.folder / "one.qcow2").exists(), "the overlay that was left"
        scene.tidy(p, folder=p.folder)


def test_a_snapshot_by_file_is_called_after_the_file(t):
    p = byhand.machine(t)
    byhand.by_file(p, "d0", p.folder / "nightly.qcow2")
    one = byhand.observed(p, "nightly.qcow2")
    p.serial.wait_more(4)
    byhand.by_file(p, "d0", p.folder / "other name.qcow2", format="qcow2")
    two = byhand.observed(p, "other_name.qcow2")
    harness.equal(two.info["parent"], one.name, "parent")
    p.serial.wait_more(4)
    byhand.by_file(p, "d0", p.folder / "x.qcow2", node="nightly.qcow2")
    three = byhand.observed(p, "nightly.qcow2-2")
    byhand.again(p)
    scene.drop(p, two, one, three)
    byhand.boots(p, three)
    byhand.boots(p, one)
    for saved in (three, one):
        scene.delete(p, saved.name)
        scene.check_disks(p)
    p.serial.wait_round()
    scene.tidy(p, folder=p.folder)


def test_existing_overlays_with_relative_names(t):
    """mode existing; the header is what it is, and stays so."""
    for style in ("drive", "blockdev"):
        p = byhand.machine(t, style)
        disk = byhand.disks(p)[0]
        folder = p.folder / "sub"
        folder.mkdir()
        oracle.qemu_img("create", "-q", "-u", "-f", "qcow2", "-F", "qcow2", "-b",
                        f"../{p.disks[0].path.name}", folder / "one.qcow2", oracle.SIZE)
        byhand.by_file(p, disk, folder / "one.qcow2", node="one", mode="existing")
        one = byhand.observed(p, "one")
        p.serial.wait_more(3)
        byhand.by_node(p, disk, folder / "two.qcow2", "two", backing="one.qcow2")
        two = byhand.observed(p, "two")
        p.serial.wait_more(3)
        three = scene.create(p, "three", kind=scene.Whole)
        byhand.again(p)
        scene.revert(p, three)
        byhand.again(p)
        byhand.boots(p, two)
        scene.revert(p, three)
        scene.drop(p, one, two, three)
        byhand.boots(p, two)
        scene.drop(p, two, three)
        scene.revert(p, three)
        byhand.again(p)
        harness.equal(p.stop(), 0, "exit status")


def test_one_transaction_is_one_snapshot(t):
    for style in ("drive", "blockdev"):
        p = byhand.machine(t, style, ("qcow2", "raw"))
        first, second = byhand.disks(p)
        byhand.together(p, p.folder, {first: f"{style}-a", second: f"{style}-b"})
        one = byhand.observed(p, f"{style}-a")
        harness.equal(len(one.info["disks"]), 2, "disks")
        p.serial.wait_more(4)
        two = scene.create(p, "two", kind=scene.Whole)
        byhand.together(p, p.folder, {second: f"{style}-c", first: f"{style}-d"})
        three = byhand.observed(p, scene.names(p)[-1])
        byhand.again(p)
        byhand.boots(p, three)
        scene.drop(p, one, two, three)
        scene.revert(p, two)
        byhand.boots(p, three)
        scene.drop(p, two, three)
        scene.tidy(p, folder=p.folder)


def test_snapshots_of_two_commands_are_two(t):
    """Each of one disk only, so that none of them can be booted while the other disk goes on."""
    p = byhand.machine(t, formats=("qcow2", "raw"))
    byhand.by_file(p, "d0", p.folder / "a.qcow2", node="a")
    byhand.by_file(p, "d1", p.folder / "b.qcow2", node="b")
    harness.equal([(s["name"], [d["device"] for d in s["disks"]], s.get("parent"))
                   for s in p.command("query-snapshots")],
                  [("a", ["d0"], None), ("b", ["d1"], "a")], "snapshots")
    error = p.qmp.refused("snapshot-revert", {"name": "a", "discard": True})
    harness.equal(error.reason, "needs-replace", "a revert to one disk of two")
    for name in ("b", "a"):
        scene.delete(p, name)
    scene.tidy(p, folder=p.folder)


def test_among_snapshots_of_ours(t):
    p = byhand.machine(t)
    zero, one = scene.row(p, "zero", "one")
    byhand.by_file(p, "d0", p.folder / "mine.qcow2", node="mine")
    mine = byhand.observed(p, "mine")
    two = scene.row(p, "two")[0]
    harness.equal([s.get("parent") for s in p.command("query-snapshots")],
                  [None, "zero", "one", "mine"], "parents")
    scene.revert(p, one)
    byhand.by_node(p, "d0", p.folder / "side.qcow2", "side")
    side = byhand.observed(p, "side")
    p.serial.wait_more(3)
    byhand.boots(p, mine)
    scene.revert(p, two)
    scene.drop(p, mine, zero, one, two, side)
    scene.drop(p, one, zero, two, side)
    byhand.boots(p, side)
    scene.revert(p, two)
    scene.revert(p, zero)
    p.serial.wait_round()
    scene.tidy(p, folder=p.folder)


def test_what_cannot_be_taken_over_stays_refused(t):
    """The answer is QEMU's all the same, and the chain is as wrong as it was before."""
    other = oracle.make_disks(t.dir, prefix="other")[0].path
    for number, header in enumerate((["-b", str(other), "-F", "qcow2"], [])):
        p = vm.Proxy(t, oracle.make_disks(t.dir, prefix=f"m{number}"), name=f"vm{number}").start()
        p.serial.wait_tick(4)
        scene.create(p, "s1")
        path = t.path(f"odd{number}.qcow2")
        oracle.qemu_img("create", "-q", "-u", "-f", "qcow2", *header, path, oracle.SIZE)
        byhand.by_file(p, "d0", path, mode="existing")
        harness.equal(scene.names(p), ["s1"], "snapshots")
        for command, args in (("snapshot-create", {"name": "s2"}), ("snapshot-delete", {"name": "s1"}),
                              ("snapshot-revert", {"name": "s1", "discard": True})):
            error = p.qmp.refused(command, args)
            harness.equal(error.reason, "chain-mismatch", command)
        assert "is not recorded" in p.log.read_text(), "no warning"
        p.stop()


class Attached(vm.Proxy):
    """Stands before the QEMU of that name."""

    def __init__(self, t, own):
        super().__init__(t, name="attached")
        self.own, self.serial = own, own.serial

    def command_line(self):
        return [vm.PROXY_BIN, "-c", self.own.address, "-l", self.address, "-d", str(self.state)]


def test_before_a_qemu_of_somebody_else(t):
    """The command itself tells which image is new.  Nothing can be reverted to there."""
    own = vm.Qemu(t, oracle.make_disks(t.dir), name="own").start()
    own.serial.wait_tick(4)
    own._close_clients()                # pylint: disable=protected-access
    p = Attached(t, own).start()
    byhand.by_file(p, "d0", t.path("one.qcow2"))
    one = byhand.observed(p, "one.qcow2")
    harness.equal([disk["image"] for disk in one.info["disks"]], [str(t.path("disk0.qcow2"))],
                  "frozen image")
    p.serial.wait_more(3)
    byhand.by_node(p, "d0", t.path("two.qcow2"), "two")
    two = byhand.observed(p, "two")
    p.serial.wait_more(3)
    byhand.killed(p)
    scene.drop(p, one, two)
    scene.drop(p, two)
    harness.equal(scene.layout(p)["d0"][0], str(t.path("disk0.qcow2")), "active image")
    p.serial.wait_round()


# --- the proxy is away, or hears of it otherwise

def test_a_proxy_that_is_killed_right_behind_the_answer(t):
    p = byhand.machine(t)
    byhand.by_file(p, "d0", p.folder / "one.qcow2", node="one")
    p.kill()
    harness.equal([s["name"] for s in scene.state(p)["snapshots"]], ["one"], "on record")
    p.start()
    one = byhand.observed(p, "one")
    mark = scene.Mark(p)
    mark.went_on()
    byhand.by_file(p, "d0", p.folder / "two.qcow2", node="two")
    p.serial.wait_more(3)
    byhand.boots(p, byhand.observed(p, "two"))
    byhand.boots(p, one)
    scene.tidy(p, folder=p.folder)


def test_a_snapshot_that_nobody_has_seen(t):
    """A proxy that comes finds it, and so does an operation."""
    p = byhand.machine(t)
    zero = scene.row(p, "zero")[0]
    byhand.away(p, ("blockdev-snapshot-sync", {"device": "d0", "snapshot-file": f"{p.folder}/one.qcow2"}))
    harness.poll(lambda: scene.names(p) == ["zero", "one.qcow2"], 5, "the snapshot to be recorded")
    one = byhand.observed(p, "one.qcow2")
    p.serial.wait_more(3)
    p.qmp.hmp(f"snapshot_blkdev d0 {p.folder}/two.qcow2 qcow2")
    p.serial.wait_more(3)
    scene.drop(p, zero, one)            # it looks first
    harness.equal(scene.names(p), ["one.qcow2", "two.qcow2"], "snapshots")
    p.qmp.hmp(f"snapshot_blkdev d0 {p.folder}/three.qcow2 qcow2")
    harness.equal(list(byhand.problems(p)), ["one.qcow2", "two.qcow2", "three.qcow2"], "with verify")
    byhand.boots(p, one)
    byhand.again(p)
    scene.tidy(p, folder=p.folder)


def test_others_are_served_while_an_answer_is_held(t):
    """The answers of one client stay in order, and those of another do not wait."""
    p = byhand.machine(t)
    other = p.client()
    p.qmp.send("blockdev-snapshot-sync", {
        "device": "d0", "snapshot-file": str(p.folder / "one.qcow2"), "snapshot-node-name": "one"}, cid=1)
    p.qmp.send("query-name", cid=2)
    harness.equal(other.command("query-status")["status"], "running", "status")
    answers = []
    while len(answers) < 2:
        message = p.qmp.recv()
        if "event" not in message:
            answers.append(message)
    harness.equal([(a["id"], a["return"]) for a in answers], [(1, {}), (2, {})], "answers in order")
    byhand.observed(p, "one")


def test_a_record_that_cannot_be_written_changes_no_answer(t):
    """There is a warning; as soon as there is room, what was missed is found."""
    folder = hostile.mount_tmpfs(t, "small", "256k")
    p = byhand.machine(t, state=folder / "state")
    filler = hostile.fill(folder)
    harness.equal(p.command("blockdev-snapshot-sync", {
        "device": "d0", "snapshot-file": f"{p.folder}/one.qcow2"}), {}, "answer")
    harness.equal(scene.names(p), [], "snapshots")
    assert "cannot record what a client did" in p.log.read_text(), "no warning"
    filler.unlink()
    harness.equal(list(byhand.problems(p)), ["one.qcow2"], "snapshots, when there is room")
    byhand.again(p)


def test_an_answer_is_not_held_for_ever(t):
    """QEMU is busy for a while right behind the snapshot."""
    p = byhand.machine(t)
    other = p.client()
    start = time.monotonic()
    p.qmp.send("blockdev-snapshot-sync", {
        "device": "d0", "snapshot-file": f"{p.folder}/one.qcow2"}, cid=1)
    busy = other.send("human-monitor-command", {"command-line": "sum 0 0x18000000"})
    harness.equal(p.qmp.reply(1, timeout=20)["return"], {}, "answer")
    waited = time.monotonic() - start
    harness.equal("return" in other.reply(busy, timeout=60), True, "the busy command")
    if time.monotonic() - start > 6:
        assert 4.5 < waited < 7, f"the answer came after {waited:.1f} s"
        assert "could not be recorded in 5 s" in p.log.read_text(), "no warning"
    t.note(f"answered after {waited:.1f} s, QEMU was busy for {time.monotonic() - start:.1f} s")
    harness.poll(lambda: scene.names(p) == ["one.qcow2"], 10, "the snapshot to be recorded")
    byhand.boots(p, byhand.observed(p, "one.qcow2"))


if __name__ == "__main__":
    sys.exit(harness.run([test for name, test in list(globals().items())
                          if name.startswith("test_")]))
