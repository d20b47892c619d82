#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""snapshot-delete dies before it has merged: the proxy, QEMU or both are killed behind a step.

With FULL=1 behind each step, by each death in DEATHS; without, behind those where most is at stake."""

import os
import signal
import sys

import faulty
import hostile
import scene
from faulty import Row
from scene import harness, oracle
from test_recovery import ends_or_stands, kill_pids, pids_of

FULL = bool(os.environ.get("FULL"))
DEATHS = os.environ.get("DEATHS", "proxy qemu both").split()
MOST = 60               # no plan here has as many steps


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
    sample("commit of the active layer", ("both", "state-write", 2), ("proxy", "state-write", 1),
           ("proxy", "job-dismiss", 2)),
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
    p.start(env=faults.env)
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


def test_a_proxy_that_dies_while_qemu_img_rewrites_a_header(t):
    """qemu-img goes on; the next proxy waits for it, and then looks which record the header fits."""
    slow = t.path("slow")
    p = hostile.Wrapped(t, oracle.make_disks(t.dir, ("qcow2", "raw")),
                        {"qemu-img": f"if [ -e '{slow}' ]; then rm '{slow}'; sleep 1; fi"},
                        options=["--log-level", "debug"])
    p.start()
    p.serial.wait_tick(4)
    saved = scene.row(p, "root", "a", "b")
    p.command("snapshot-revert", {"name": "a", "discard": True}, timeout=30)
    p.serial.wait_more(3)
    slow.touch()
    p.qmp.send("snapshot-delete", {"name": "root"})
    harness.poll(lambda: not slow.exists(), 20, "qemu-img to begin")
    p.kill()
    p.start()
    harness.poll(lambda: not (p.state / "journal.json").exists(), 20, "the journal's end")
    harness.poll(lambda: len(p.all_pids()) == 2, 5, "qemu-img to end")
    if "root" in scene.names(p):
        p.command("snapshot-delete", {"name": "root"}, timeout=30)
    for one in saved[1:]:
        one.same(p)
        p.command("snapshot-revert", {"name": one.name, "discard": True}, timeout=30)
    scene.tidy(p, leaks=True)


TESTS = [test for name, test in list(globals().items()) if name.startswith("test_")] + KILLS


if __name__ == "__main__":
    sys.exit(harness.run(TESTS))
