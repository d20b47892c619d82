#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""snapshot-revert on a real QEMU: memory and disks go back together, and nothing else is lost."""

import sys
from pathlib import Path

import hostile
import scene
from scene import harness, qmp, vm

SWITCHES = ("STOP", "RESUME", "SNAPSHOT_CREATED", "SNAPSHOT_REVERTED", "SNAPSHOT_DELETED")


def test_revert_to_the_older_one_then_to_the_newer_one(t):
    """The newer one is then on a side branch of what runs."""
    p = scene.start(t, ("qcow2", "raw"))
    older = scene.create(p, "older")
    p.serial.wait_more(10)
    newer = scene.create(p, "newer")
    assert newer.count > older.count
    p.serial.wait_more(10)
    scene.revert(p, older)
    newer.untouched()
    harness.equal(scene.info(p, "older")["children"], ["newer"], "children")
    p.serial.wait_more(5)
    scene.revert(p, newer)
    older.untouched()
    p.serial.wait_round()
    third = scene.create(p, "third")
    harness.equal(third.info["parent"], "newer", "parent")
    scene.revert(p, older)
    for saved in (newer, third, older):
        scene.revert(p, saved)
        for other in (older, newer, third):
            other.untouched()
        harness.equal([s["name"] for s in p.command("query-snapshots") if s["current"]],
                      [saved.name], "current")
    p.serial.wait_more(5)
    scene.tidy(p)


def test_revert_to_the_same_one_again_and_again(t):
    p = scene.start(t, ("raw",))
    saved = scene.create(p, "s1")
    files = None
    for _ in range(4):
        scene.revert(p, saved)
        now = sorted(path.suffix for path in t.dir.iterdir())
        harness.equal(now, files or now, "files")
        files = now
    p.serial.wait_more(5)
    scene.tidy(p)


def test_branches_grow_from_one_snapshot(t):
    p = scene.start(t, ("qcow2", "qcow2"), style="blockdev")
    root = scene.create(p, "root")
    tips = []
    for name in ("left", "middle", "right"):
        p.serial.wait_more(4 + 3 * len(tips))
        tips.append(scene.create(p, name))
        scene.revert(p, root)
    harness.equal(scene.info(p, "root")["children"], ["left", "middle", "right"], "children")
    for tip in reversed(tips):
        scene.revert(p, tip)
    for saved in (root, *tips):
        saved.untouched()
    p.serial.wait_more(5)
    scene.tidy(p)


def test_what_is_discarded_is_there_until_the_revert_is_confirmed(t):
    """The overlays with what the guest did since the last snapshot, step by step."""
    p, steps = hostile.stepped(t, ("qcow2", "raw"))
    saved = [scene.create(p, "one")]
    p.serial.wait_more(4)
    saved.append(scene.create(p, "two"))
    scene.revert(p, saved[0])           # it has a child now, and runs on a branch beside it
    p.serial.wait_more(8)
    plan = [step["step"] for step in p.command("snapshot-revert", {
        "name": "one", "discard": True, "dry-run": True})["plan"]]
    discarded = [path for path, _driver in scene.layout(p).values()]
    held = [step for number, step in enumerate(plan) if step not in plan[:number]]
    sent = None
    for step in held[:held.index("files-remove")]:
        steps.hold_next(step) if sent else steps.hold(step)
        sent = sent or p.qmp.send("snapshot-revert", {"name": "one", "discard": True})
        steps.held()
        for path in discarded:
            assert Path(path).exists(), f"{path} was removed behind {step}, before the end"
    steps.go()
    assert "return" in p.qmp.reply(sent, 20)
    for path in discarded:
        assert not Path(path).exists(), f"{path} was discarded, and is there"
    for one in (*saved, saved[1]):
        scene.revert(p, one)
        for other in saved:
            other.untouched()
    p.serial.wait_more(4)
    scene.tidy(p)


def test_unsaved_state_is_not_lost_without_being_asked(t):
    p = scene.start(t)
    scene.create(p, "s1")
    p.serial.wait_more(3)
    before = scene.contents(p)
    mark = scene.Mark(p)
    for args in ({}, {"discard": False}):
        error = p.qmp.refused("snapshot-revert", {"name": "s1", **args})
        harness.equal((error.cls, error.reason), ("GenericError", "unsaved-state"), "refusal")
    mark.went_on()
    harness.equal(scene.contents(p), before, "files")
    harness.equal(scene.event_names(p, SWITCHES), ["STOP", "RESUME", "SNAPSHOT_CREATED"], "events")


def test_save_as_keeps_the_present_state(t):
    p = scene.start(t, ("qcow2", "raw"))
    first = scene.create(p, "first")
    p.serial.wait_more(10)
    last = p.serial.last()
    p.qmp.drain().clear()
    scene.revert(p, first, save_as="kept")
    harness.equal(scene.event_names(p, SWITCHES)[:4],
                  ["STOP", "SNAPSHOT_CREATED", "RESUME", "SNAPSHOT_REVERTED"], "events")
    harness.equal(scene.names(p), ["first", "kept"], "snapshots")
    kept = scene.Saved(scene.info(p, "kept"))
    assert last <= kept.count < last + 60, (last, kept.count)
    harness.equal((kept.info["parent"], kept.info["run-state"]), ("first", "running"), "kept")
    scene.revert(p, kept)
    p.serial.wait_round()
    scene.revert(p, first)
    scene.revert(p, kept, save_as="kept-too")
    harness.equal(scene.info(p, "kept-too")["parent"], "first", "parent")
    scene.tidy(p)


def test_save_as_of_a_paused_guest(t):
    p = scene.start(t)
    first = scene.create(p, "first")
    p.serial.wait_more(6)
    p.command("stop")
    scene.revert(p, first, save_as="kept")
    kept = scene.Saved(scene.info(p, "kept"))
    harness.equal(kept.info["run-state"], "paused", "run state of what was kept")
    scene.revert(p, kept)
    harness.equal(scene.status(p), "paused", "status")
    mark = scene.Mark(p)
    p.command("cont")
    mark.went_back_to(kept)


def damage(memory):
    """Alters one byte in the middle, and nothing else about the file."""
    data = bytearray(Path(memory).read_bytes())
    data[len(data) // 2] ^= 0xff
    Path(memory).write_bytes(data)


def test_save_as_with_a_revert_that_fails_leaves_the_guest_running_and_no_snapshot(t):
    p = scene.start(t, ("qcow2", "raw"))
    saved = scene.create(p, "s1")
    damage(saved.info["memory"]["file"])
    p.serial.wait_more(5)
    mark = scene.Mark(p)
    before = scene.contents(p)
    error = p.qmp.refused("snapshot-revert", {"name": "s1", "save-as": "kept"}, timeout=30)
    harness.equal(error.reason, "memory-changed", "reason")
    harness.equal(scene.status(p), "running", "status")
    harness.equal(scene.names(p), ["s1"], "snapshots")
    mark.went_on()
    p.serial.wait_more(5)
    scene.check_disks(p)
    after = scene.contents(p)
    harness.equal(sorted(set(after) - set(before)), [], "files that were left behind")
    harness.equal(sorted(set(before) - set(after)), [], "files that are gone")
    damage(saved.info["memory"]["file"])        # as it was
    scene.revert(p, saved)
    p.serial.wait_more(5)
    scene.tidy(p)


def test_a_revert_that_fails_leaves_the_guest_as_it_was(t):
    p = scene.start(t)
    saved = scene.create(p, "s1")
    damage(saved.info["memory"]["file"])
    before = scene.contents(p)
    pid = p.qemu_pid()
    p.qmp.drain().clear()
    mark = scene.Mark(p)
    error = p.qmp.refused("snapshot-revert", {"name": "s1", "discard": True}, timeout=30)
    harness.equal(error.reason, "memory-changed", "reason")
    mark.went_on()
    harness.equal((scene.contents(p), p.qemu_pid()), (before, pid), "files, process")
    harness.equal(scene.event_names(p, SWITCHES), [], "events")


def test_events_of_a_revert_reach_every_client_in_order(t):
    p = scene.start(t)
    saved = scene.create(p, "s1")
    other = p.client()
    silent = p.client(negotiate=False)
    assert "QMP" in silent.recv()
    p.qmp.drain().clear()
    scene.revert(p, saved)
    for client in (p.qmp, other):
        names = [event["event"] for event in client.drain() if event["event"] in SWITCHES]
        harness.equal(names[:3], ["STOP", "RESUME", "SNAPSHOT_REVERTED"], "events")
    harness.equal(other.command("query-status")["status"], "running", "the other client's status")
    harness.equal([event["event"] for event in silent.drain()], [], "events before negotiation")
    silent.command("qmp_capabilities")
    harness.equal(silent.command("query-status")["running"], True, "running")
    unwanted = {event["event"] for event in other.events} - {*SWITCHES, "JOB_STATUS_CHANGE"}
    harness.equal(unwanted, set(), "events that tell of steps")


def test_a_command_sent_during_a_revert_is_answered(t):
    p = scene.start(t)
    saved = scene.create(p, "s1")
    p.serial.wait_more(3)
    other = p.client()
    ident = p.qmp.send("snapshot-revert", {"name": "s1", "discard": True})
    slowest, answers = 0, 0
    reply = {}
    while reply.get("id") != ident:
        try:
            reply = p.qmp.recv(0)
        except qmp.Timeout:
            result, milliseconds = vm.timed(other.command, "query-status")
            assert result["status"] in ("running", "paused", "prelaunch"), result
            slowest, answers = max(slowest, milliseconds), answers + 1
    assert "return" in reply, reply
    t.note(f"{answers} answers, the slowest after {slowest:.0f} ms")
    assert answers > 3 and slowest < 500 * harness.SLOW, (answers, slowest)
    saved.untouched()
    p.serial.wait_more(4)


def test_the_process_changes_and_the_old_one_is_gone(t):
    p = scene.start(t)
    saved = scene.create(p, "s1")
    pid = p.qemu_pid()
    scene.revert(p, saved)
    assert p.qemu_pid() not in (pid, None), pid
    harness.equal(p.all_pids(), sorted([p.process.pid, p.qemu_pid()]), "processes")


if __name__ == "__main__":
    sys.exit(harness.run([value for name, value in list(globals().items())
                          if name.startswith("test_")]))
