#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""snapshot-delete when the disk is full, when QEMU cannot write, and when the proxy, QEMU or both are
killed in the middle of it, for each kind of merge.

What must be true then: the guest runs on; the snapshot is gone, or marked and good for nothing but
another delete, which finishes; every other snapshot is what it was, to the byte; no file is left.

FULL=1 kills behind every step of every kind (DEATHS="proxy qemu both", or some of them); by default
at the few that matter most."""

import os
import signal
import sys

import faulty
import hostile
import scene
from faulty import KINDS, NAMES
from scene import harness, oracle
from test_recovery import ends_or_stands, kill_pids, pids_of

FULL = bool(os.environ.get("FULL"))
DEATHS = os.environ.get("DEATHS", "proxy qemu both").split()
MOST = 60               # no plan here has as many steps


class Row:
    """Three snapshots and the guest on top of them, or on the first, or (header rewrite) on the second:
    then those above are beside it."""

    def __init__(self, t, p, kind):
        self.t, self.p, self.kind = t, p, kind
        self.name, self.direction, self.beside, target, header = KINDS[kind]
        self.saved = {saved.name: saved for saved in scene.row(p, *NAMES)}
        back = "root" if self.beside else "a" if kind == "header rewrite" else None
        if back:
            p.command("snapshot-revert", {"name": back, "discard": True}, timeout=30)
            p.serial.wait_more(3)
        self.others = [s for s in self.saved.values() if s.name != self.name]
        active = next(iter(scene.layout(p).values()))[0]
        self.target = self.image(target) if target else active
        self.header = self.image(header) if header else active
        self.args = {"name": self.name, "direction": self.direction}

    def image(self, name):
        return self.saved[name].info["disks"][0]["image"]

    def marked(self):
        """It is there, and only good for another delete; there is nothing of the operation left."""
        p = self.p
        error = p.qmp.refused("snapshot-revert", {"name": self.name, "discard": True})
        harness.equal(error.reason, "being-deleted", "revert")
        self.clean()

    def clean(self):
        p = self.p
        harness.equal(p.command("query-jobs"), [], "jobs")
        jobs = p.qmp.hmp("info block-jobs")
        assert "qsnap" not in jobs, jobs
        nodes = [n["node-name"] for n in p.command("query-named-block-nodes", flat=True)]
        harness.equal([n for n in nodes if n.startswith("qsnap-side")], [], "nodes")
        assert not (p.state / "journal.json").exists(), "an open journal"

    def others_are_right(self):
        for saved in self.others:
            saved.same(self.p)
        scene.check_disks(self.p)

    def finish(self, **tidy):
        """Deletes it now, and reverts to another."""
        p = self.p
        if self.name in scene.names(p):
            scene.drop(p, self.saved[self.name], *self.others)
        else:
            self.others_are_right()
        scene.revert(p, self.others[-1])
        p.serial.wait_more(3)
        scene.tidy(p, **tidy)


def fails(row, words, **args):
    """The delete breaks off for that; the guest runs on.  The steps are taken back."""
    p, mark = row.p, scene.Mark(row.p)
    error = p.qmp.refused("snapshot-delete", {**row.args, **args}, timeout=40)
    harness.equal((error.cls, error.reason), ("GenericError", "qemu-failed"), error.desc)
    assert any(word in error.desc for word in words), error.desc
    mark.went_on()
    row.marked()
    return error


# --- no room

def without_room(t, kind):
    images = hostile.mount_tmpfs(t, "images", "120m")
    p = hostile.vm.Proxy(t, oracle.make_disks(images), options=["--log-level", "debug"])
    steps = hostile.Steps(p)
    steps.start()
    p.serial.wait_tick(4)
    row = Row(t, p, kind)
    # In the layer that moves; a guest that needs room itself would be paused by QEMU.
    p.serial.wait_round()
    before, mark = scene.beyond(p), scene.Mark(p)
    steps.hold("snapshot-mark")
    sent = p.qmp.send("snapshot-delete", row.args)
    steps.held()
    filler = hostile.fill(images, 32 << 10)
    steps.go()
    error = p.qmp.reply(sent, 40)["error"]
    harness.equal(error["data"]["reason"], "qemu-failed", error)
    assert "No space left" in error["desc"], error
    mark.went_on()
    row.marked()
    row.others_are_right()
    harness.equal(scene.beyond(p), before, "the running disk")
    # With the disk full from the start, it is refused before anything is done.
    harness.equal(p.qmp.refused("snapshot-delete", row.args).reason, "no-space", "delete again")
    filler.unlink()
    row.finish(folder=images)


def test_no_room_in_the_first_image(t):
    without_room(t, "header rewrite")


def test_no_room_below_what_runs(t):
    without_room(t, "stream below")


def test_no_room_under_what_runs(t):
    without_room(t, "commit of the active layer")


def test_no_room_beside_what_runs(t):
    without_room(t, "side stream")


# --- writes that fail

DATA = 65537            # what only a job writes at once
IO_ERROR = ("Input/output error",)


def each(t, kinds, run, **guest):
    """Runs it with a guest of its own for each kind; each ends by finish()."""
    for number, kind in enumerate(kinds[::2] if harness.BRIEF else kinds):
        folder = t.path(f"images{number}")
        folder.mkdir()
        p, faults, *steps = faulty.start(t, folder=folder, name=f"vm{number}", **guest)
        row = Row(t, p, kind)
        before = scene.beyond(p)
        run(row, faults, *steps)
        harness.equal(scene.beyond(p), before, "the running disk")
        row.finish(folder=folder, leaks=True)
        for step in steps:
            step.go()


def data_fails(row, faults):
    """For good, twice; then once."""
    for rule, times in (("fail", 2), ("once", 1)):
        faults.rules((rule, faulty.EIO, "data", row.target, DATA))
        for _ in range(times):
            fails(row, IO_ERROR)
        row.others_are_right()
    assert faults.fired(), "nothing was written"


def test_writes_of_a_commit_that_fail(t):
    each(t, ("commit below", "commit of the active layer", "side commit"), data_fails)


def test_writes_of_a_stream_that_fail(t):
    each(t, ("stream below", "stream into the active layer", "side stream"), data_fails)


def anew(row):
    """The same command line again."""
    row.p.stop()
    row.p.start()
    row.p.serial.wait_more(3)


def flush_fails(row, faults):
    """Once; but QEMU takes nothing in this file for safe until it is opened again.  Beside what runs
    the next delete does that."""
    faults.rules(("once", faulty.EIO, "sync", row.target))
    fails(row, IO_ERROR)
    assert faults.fired(), "there was no sync"
    row.others_are_right()
    if not row.beside:
        fails(row, IO_ERROR)
        anew(row)


def test_a_disk_that_does_not_keep_what_a_merge_wrote(t):
    each(t, ("commit below", "side stream", "commit of the active layer"), flush_fails)


def tables_fail(row, faults, steps):
    """The job has copied everything; what leads to it cannot be written."""
    steps.hold("block-commit" if row.direction == "commit" else "block-stream")
    mark = scene.Mark(row.p)
    sent = row.p.qmp.send("snapshot-delete", row.args)
    steps.held()
    faults.rules(("fail", faulty.EIO, "data", row.target))
    steps.go()
    error = row.p.qmp.reply(sent, 30)["error"]
    assert "Input/output error" in error["desc"], error
    faults.mend()
    mark.went_on()
    row.marked()
    row.others_are_right()


def test_tables_that_cannot_be_written_behind_the_data(t):
    each(t, ("commit below", "side stream"), tables_fail, steps=True)


def header_fails(row, faults):
    """At the last step of a merge.  Some versions of QEMU do not survive it in a commit, and in a stream
    they have left the layer although the header names it: no record fits that, and it is over with a
    new start."""
    p = row.p
    faults.rules(("fail", faulty.EIO, "header", row.header))
    error = p.qmp.refused("snapshot-delete", row.args, timeout=40)
    harness.equal(error.reason, "qemu-failed", error.desc)
    faults.mend()
    if "QEMU ended" in error.desc:
        assert row.direction == "commit", error.desc
        p._close_clients()              # pylint: disable=protected-access
        p.wait()
        p.process = None
        p.start()
        p.serial.wait_more(3)
    else:
        assert IO_ERROR[0] in error.desc, error.desc
        p.serial.wait_more(3)
        if not row.beside:
            reason = p.qmp.refused("snapshot-delete", row.args, timeout=30).reason
            harness.equal(reason, "stuck", "another delete")
            anew(row)
    row.marked()
    row.others_are_right()


def test_a_header_that_cannot_be_written(t):
    each(t, ("stream below", "stream into the active layer", "side stream", "commit below"),
         header_fails)


# --- deaths

def kill_all(t, p, steps):
    """Everything of this guest at once, as when the host goes down."""
    pids = pids_of(t, p)
    p.kill()
    steps.go()
    kill_pids(p, pids)


def die(t, p, steps, death):
    if death == "both":
        kill_all(t, p, steps)
    elif death == "proxy":
        p.kill()
        steps.go()
    else:
        p.kill_qemu(wait=False)
        steps.go()
        p._close_clients()              # pylint: disable=protected-access
        harness.equal(p.wait(30), 128 + signal.SIGKILL, "exit status")
        p.process = None


def killed(t, kind, death, step, nth=1):
    """Kills there; false when there is no such step.  step: a name, or a number."""
    p, steps = hostile.stepped(t, ("qcow2", "raw"), name=f"vm{len(t.logs)}", folder=folder_of(t))
    row = Row(t, p, kind)
    before = scene.beyond(p)
    steps.hold(step, nth)
    sent = p.qmp.send("snapshot-delete", row.args)
    if not ends_or_stands(p, steps, sent):
        kill_all(t, p, steps)
        return None
    where = steps.lines[-1].rsplit(" ", 1)[1]
    last = p.serial.last()
    die(t, p, steps, death)
    mark = scene.Mark(p)
    p.start(wait=15)
    try:
        settled(p, row, where, before, mark, last, death)
        row.finish(folder=p.disks[0].path.parent)
    except Exception as error:
        raise AssertionError(f"{kind}, {death} killed at {step} ({where}): {error}") from error
    return where


def folder_of(t):
    folder = t.path(f"images{len(t.logs)}")
    folder.mkdir()
    return folder


def settled(p, row, where, before, mark, last, death):
    """What is there behind the start that follows a death."""
    harness.poll(lambda: not (p.state / "journal.json").exists(), 20, "the recovery to end")
    if death == "proxy":
        mark.went_on()
    else:
        boots = harness.poll(lambda: p.serial.boots(mark.since), 20, "the guest to boot")
        assert abs(boots[-1] - last) <= 4, f"booted with turn {boots[-1]}, the guest was at {last}"
        p.serial.wait_more(3)
    row.clean()
    harness.equal(scene.beyond(p), before, "the running disks")
    if row.name in scene.names(p):
        if where == "snapshot-mark" and "deleting" not in str(scene.state(p)["snapshots"]):
            row.saved[row.name].same(p)
        else:
            row.marked()


def sample(kind, *places):
    """A test: deaths at these places (death, step, nth), or with FULL at all of them."""
    def test(t):
        if not FULL:
            for death, step, nth in places[:1] if harness.BRIEF else places:
                assert killed(t, kind, death, step, nth), f"{kind}: no step {step} {nth}"
            return
        bad = []
        for death in DEATHS:
            step, more = 1, True
            while more:
                try:
                    more = killed(t, kind, death, step)
                except AssertionError as error:
                    bad.append(str(error))
                    t.note(error)
                step += 1
            assert 5 < step < MOST, f"{kind}: {step} steps"
        harness.equal(bad, [], "deaths that were not survived")
    test.timeout = 3600 if FULL else 120
    test.__name__ = "test_killed_in_a_" + kind.replace(" ", "_")
    return test


# The second disk is not as far as the first; or what QEMU did is not on record yet.
KILLS = [
    sample("commit below", ("proxy", "job-finalize", 1), ("both", "state-write", 1)),
    sample("commit of the active layer", ("both", "job-complete", 1), ("proxy", "job-dismiss", 2)),
    sample("stream below", ("qemu", "job-finalize", 2)),
    sample("stream into the active layer", ("both", "job-finalize", 1)),
    sample("side commit", ("proxy", "job-complete", 1)),
    sample("side stream", ("proxy", "block-stream", 2), ("both", "job-finalize", 1)),
    sample("header rewrite", ("proxy", "header-rewrite", 1)),
]


def test_nothing_is_unlinked_before_all_disks_are_done(t):
    """The proxy is killed between two unlinks, and the next one does the second."""
    faults = faulty.Faults(t, "proxy")
    p = hostile.vm.Proxy(t, oracle.make_disks(t.dir, ("qcow2", "qcow2")))
    p.start(env={"LD_PRELOAD": str(faulty.library(t)), "IOFAULT": str(faults.path),
                 "ASAN_OPTIONS": "verify_asan_link_order=0"})
    p.serial.wait_tick(4)
    one, two = scene.row(p, "one", "two")
    first, second = (disk["image"] for disk in two.info["disks"])
    faults.rules(("hold", 0, "unlink", second))
    p.qmp.send("snapshot-delete", {"name": "two", "direction": "stream"})
    harness.poll(lambda: not os.path.exists(first), 20, "the first unlink")
    assert os.path.exists(second), f"{second} is gone"
    record = scene.state(p)
    harness.equal([s["name"] for s in record["snapshots"]], ["one"], "snapshots on record")
    layers = {layer["real"] for layer in record["layers"].values()}
    assert not {first, second} & layers, layers
    p.kill()
    faults.mend()
    p.start()
    harness.poll(lambda: not os.path.exists(second), 20, "the second unlink")
    one.same(p)
    scene.revert(p, one)
    p.serial.wait_more(3)
    scene.tidy(p)


TESTS = [test for name, test in list(globals().items()) if name.startswith("test_")] + KILLS


if __name__ == "__main__":
    sys.exit(harness.run(TESTS))
