#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""An operation that could neither be finished nor taken back: its cause is shown, others are refused, and
each of these tries once more."""

import sys

import hostile
import scene
from scene import harness

REVERT = {"name": "s1", "discard": True}


def stuck(t):
    """(Proxy, Saved, what is in the way): a revert whose record could not be written."""
    p = scene.start(t)
    saved = scene.create(p, "s1")
    p.serial.wait_more(5)
    block = hostile.no_record_can_be_written(p)
    mark = scene.Mark(p)
    error = p.qmp.refused("snapshot-revert", REVERT, timeout=30)
    harness.equal(error.reason, "stuck", error.desc)
    mark.went_back_to(saved)
    return p, saved, block


def is_shown(p):
    problems = scene.info(p, "s1")["problems"]
    assert any("state.json" in text for text in problems), problems


def settled(p):
    assert not (p.state / "journal.json").exists(), "an open journal"
    for info in p.command("query-snapshots"):
        harness.equal(info["problems"], [], f"problems of {info['name']}")


def test_it_is_tried_again_by_the_next_command(t):
    p, saved, block = stuck(t)
    for command, args in (("snapshot-create", {"name": "s2"}),
                          ("snapshot-create", {"name": "s2", "job-id": "j"}),
                          ("snapshot-create", {"name": "s2", "dry-run": True}),
                          ("snapshot-delete", {"name": "s1"}), ("snapshot-revert", REVERT)):
        error = p.qmp.refused(command, args, timeout=30)
        harness.equal(error.reason, "stuck", f"{command} {args}")
        assert "state.json" in error.desc, error.desc
        is_shown(p)
    harness.equal(p.command("query-jobs"), [], "jobs")
    p.serial.wait_more(3)
    block.rmdir()
    # What changes nothing does not try, and neither does a wrong command.
    harness.equal(p.qmp.refused("snapshot-create", {"name": "s2", "dry-run": True}).reason, "stuck",
                  "a dry run")
    p.qmp.refused("snapshot-create", {"nam": "s2"})
    is_shown(p)
    p.qmp.drain()
    p.qmp.events.clear()
    scene.create(p, "s2")
    names = scene.event_names(p, ("SNAPSHOT_REVERTED", "SNAPSHOT_CREATED"))
    harness.equal(names, ["SNAPSHOT_REVERTED", "SNAPSHOT_CREATED"], "events")
    settled(p)
    scene.revert(p, saved)
    p.serial.wait_more(3)
    scene.tidy(p)


def test_with_a_job_it_is_one_job(t):
    p, saved, block = stuck(t)
    block.rmdir()
    harness.equal(p.command("snapshot-create", {"name": "s2", "job-id": "j"}, timeout=30), {}, "answer")
    job = p.wait_job("j")
    assert "error" not in job, job
    p.command("job-dismiss", {"id": "j"})
    settled(p)
    scene.revert(p, saved)


def test_a_client_that_leaves_meanwhile(t):
    p, saved, block = stuck(t)
    for name in ("s2", "s3"):
        client = p.client()
        client.send("snapshot-create", {"name": name})
        client.close()
        p.clients.remove(client)
        p.serial.wait_more(3)
        if name == "s2":
            harness.poll(lambda: scene.info(p, "s1")["problems"], 20, "it to be stuck again")
            block.rmdir()
    harness.poll(lambda: "s3" in scene.names(p), 20, "the snapshot of a client that is gone")
    harness.poll(lambda: not (p.state / "journal.json").exists(), 20, "the end")
    settled(p)
    scene.revert(p, saved)


def test_commands_that_it_has_to_wait_for(t):
    """A job of a client is not disturbed: the wait is for what is under way."""
    p, saved, block = stuck(t)
    block.rmdir()
    with p.client() as other:
        sent = [other.send("query-block") for _ in range(4)]
        created = p.qmp.send("snapshot-create", {"name": "s2"})
        assert all("return" in other.reply(cid, 20) for cid in sent)
        refused = other.send("device_del", {"id": "nobody"})
        reply, again = p.qmp.reply(created, 30), other.reply(refused, 20)
    assert "return" in reply, reply
    assert "error" in again, again
    settled(p)
    scene.revert(p, saved)


def test_a_start_tries_again_too(t):
    p, saved, block = stuck(t)
    p.kill()
    mark = scene.Mark(p)
    p.start()
    mark.went_on()
    harness.poll(lambda: p.qmp.refused("snapshot-create", {"name": "s2"}, timeout=30).reason == "stuck", 20,
                 "the start's own try to fail, and one more")
    p.kill()
    block.rmdir()
    p.start()
    harness.poll(lambda: not (p.state / "journal.json").exists(), 20, "the recovery")
    settled(p)
    scene.revert(p, saved)
    p.serial.wait_more(3)
    scene.tidy(p)


TESTS = [test for name, test in list(globals().items()) if name.startswith("test_")]


if __name__ == "__main__":
    sys.exit(harness.run(TESTS))
