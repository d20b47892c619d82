#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What comes out of a revert: each state asked for, of snapshots of each kind, taken in each state.

Model: a snapshot is of "memory" (and disks), "disks" alone, or memory "only"; it was taken "prelaunch"
(which has no memory), "running" or "paused".  ends() says what has to come out: the status, and
whether the guest goes on from where it was or boots; or why it is refused.
"""

import itertools
import sys

import scene
from scene import harness, oracle, vm

STATES = ("as-saved", "running", "paused", "prelaunch")
KINDS = {"memory": {}, "disks": {"memory": "none"}, "only": {"disks": []}}


def ends(kind, taken, state):
    """(status, "goes on" or "boots"), or the reason of a refusal."""
    if kind == "only":              # the disks have been written to since
        return "needs-replace" if state == "prelaunch" else "image-changed"
    target = taken if state == "as-saved" else state
    if kind == "memory" and target != "prelaunch":
        return target, "goes on"
    # What has no memory is not paused in the middle of anything: it stands before its first instruction.
    return "running" if target == "running" else "prelaunch", "boots"


def snapshots(p):
    """{(kind, taken): Saved}"""
    saved = {("disks", "prelaunch"): scene.create(p, "disks-prelaunch", memory="none")}
    for kind in ("memory", "only"):
        error = p.qmp.refused("snapshot-create", {"name": "no", "memory": "stream", **KINDS[kind]})
        harness.equal(error.reason, "wrong-state", f"{kind} of a guest that has not run")
    p.command("cont")
    p.serial.wait_tick(4)
    for taken, kind in itertools.product(("running", "paused"), KINDS):
        p.serial.wait_more(6)
        if taken == "paused":
            p.command("stop")
        saved[kind, taken] = scene.create(p, f"{kind}-{taken}", **KINDS[kind])
        harness.equal(saved[kind, taken].info["run-state"], taken, "run state on record")
        if taken == "paused":
            p.command("cont")
    return saved


def stands_still(p):
    since = p.serial.size()
    try:
        p.serial.wait_more(1, timeout=0.2)
    except AssertionError:
        pass
    harness.equal(p.serial.text(since), "", "what a guest prints that stands still")


def booted(p, mark, saved):
    boot = harness.poll(lambda: p.serial.boots(mark.since), 15, "the guest to boot")
    assert saved.count - 1 <= boot[0] <= saved.count, (boot, saved.count)
    p.serial.wait_more(2)


def reverted(p, saved, state, wanted):
    """Reverts; what comes out is what is wanted."""
    status, how = wanted
    if scene.status(p) == "running":
        scene.step_aside(p, saved)
    p.qmp.drain().clear()
    p.qmp.events.clear()
    mark = scene.Mark(p)
    p.command("snapshot-revert", {"name": saved.name, "discard": True, "state": state}, timeout=20)
    harness.equal(scene.status(p), status, "status")
    event = p.qmp.wait_event("SNAPSHOT_REVERTED")["data"]
    harness.equal(event, {"name": saved.name, "method": "respawn", "run-state": status,
                          "respawned": True}, "event")
    if status != "running":
        stands_still(p)
        p.command("cont")
    if how == "boots":
        booted(p, mark, saved)
    else:
        mark.went_back_to(saved)
        harness.equal(p.serial.boots(mark.since), [], "boots")
    saved.untouched()


def test_every_state_of_every_kind_of_snapshot(t):
    p = vm.Proxy(t, oracle.make_disks(t.dir), ["-S"]).start()
    saved = snapshots(p)
    for (kind, taken), state in itertools.product(saved, STATES):
        wanted = ends(kind, taken, state)
        case = f"{kind} taken {taken}, to be {state}: {wanted}"
        try:
            if isinstance(wanted, tuple):
                reverted(p, saved[kind, taken], state, wanted)
                continue
            error = p.qmp.refused("snapshot-revert", {"name": saved[kind, taken].name,
                                                      "discard": True, "state": state})
            harness.equal(error.reason, wanted, error.desc)
            assert "'d0'" in error.desc, error.desc
        except AssertionError as error:
            raise AssertionError(f"{case}: {error}") from error
    p.serial.wait_more(4)
    scene.check_disks(p)
    scene.tidy(p)


def test_memory_alone_of_a_guest_without_disks(t):
    """Nothing can disagree with it."""
    p = vm.Proxy(t, []).start()
    harness.poll(lambda: scene.status(p) == "running", 5, "the guest to run")
    p.command("snapshot-create", {"name": "s1"})
    pid = p.qemu_pid()
    for state in STATES:
        p.command("snapshot-revert", {"name": "s1", "discard": True, "state": state}, timeout=20)
        harness.equal(scene.status(p), "running" if state == "as-saved" else state, "status")
        assert p.qemu_pid() not in (None, pid), "no new process"
        pid = p.qemu_pid()


def test_a_guest_that_was_reverted_while_it_stood_still(t):
    """From paused, postmigrate and prelaunch guests, which have not run since: paused stays paused, and
    what they had was saved first."""
    p = scene.start(t)
    saved = scene.create(p, "s1")
    scene.revert(p, saved, state="paused")
    scene.revert(p, saved, state="paused")
    harness.equal(scene.status(p), "paused", "status")
    p.command("snapshot-revert", {"name": "s1", "discard": True, "state": "prelaunch"}, timeout=20)
    mark = scene.Mark(p)
    p.command("snapshot-revert", {"name": "s1", "save-as": "kept", "state": "running"}, timeout=20)
    kept = scene.Saved(scene.info(p, "kept"))
    harness.equal((kept.info["run-state"], "memory" in kept.info), ("prelaunch", False), "kept")
    mark.went_back_to(saved)
    p.command("stop")
    scene.revert(p, saved)              # as it was saved, although the guest was paused just now
    harness.equal(scene.status(p), "running", "status")
    scene.check_disks(p)


if __name__ == "__main__":
    sys.exit(harness.run([test for name, test in list(globals().items())
                          if name.startswith("test_")]))
