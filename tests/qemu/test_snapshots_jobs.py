#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Snapshot operations as jobs, on a real QEMU: query-jobs, job-dismiss, job-cancel, events."""

import json
import sys
from pathlib import Path

import scene
from scene import harness, qmp


def run_as_job(p, command, args, ident):
    """Starts it, waits for its end, dismisses it; its entry of query-jobs at the end."""
    harness.equal(p.command(command, {**args, "job-id": ident}, timeout=30), {}, "the answer")
    job = p.wait_job(ident)
    harness.equal((job["type"], job["status"]), (command, "concluded"), "job")
    harness.equal(p.wait_job(ident), job, "the job while nobody dismisses it")
    p.command("job-dismiss", {"id": ident})
    assert ident not in [entry["id"] for entry in p.command("query-jobs")]
    return job


def statuses(p, ident):
    return [event["data"]["status"] for event in p.qmp.drain()
            if event["event"] == "JOB_STATUS_CHANGE" and event["data"]["id"] == ident]


def test_every_command_runs_as_a_job_until_it_is_dismissed(t):
    p = scene.start(t, ("qcow2", "raw"))
    for command, args in (("snapshot-create", {"name": "s1"}),
                          ("snapshot-revert", {"name": "s1", "save-as": "s2"}),
                          ("snapshot-delete", {"name": "s1"})):
        job = run_as_job(p, command, args, "job-" + command)
        assert "error" not in job, job
        assert job["current-progress"] == job["total-progress"], job
        harness.equal(statuses(p, "job-" + command), ["created", "running", "concluded", "null"],
                      f"events of {command}")
        p.serial.wait_more(4)
    harness.equal(scene.names(p), ["s2"], "snapshots")
    p.serial.wait_more(5)
    scene.check_disks(p)
    scene.tidy(p)


def test_the_answer_comes_before_the_job_is_done(t):
    p = scene.start(t)
    scene.create(p, "s1")
    p.qmp.drain().clear()
    cid = p.qmp.send("snapshot-revert", {"name": "s1", "discard": True, "job-id": "j1"})
    before = []
    while True:
        message = p.qmp.recv()
        if message.get("id") == cid:
            break
        before.append((message["event"], message["data"].get("status")))
    harness.equal(message["return"], {}, "the answer")
    assert ("JOB_STATUS_CHANGE", "concluded") not in before, before
    p.wait_job("j1")
    p.command("job-dismiss", {"id": "j1"})


def test_an_operation_without_an_id_is_a_job_while_it_runs(t):
    p = scene.start(t, memory="256")
    saved = scene.create(p, "s1")
    p.serial.wait_more(3)
    other = p.client()
    p.qmp.drain().clear()
    cid = p.qmp.send("snapshot-revert", {"name": "s1", "discard": True})
    seen, listed, reply = {}, [], {}
    while reply.get("id") != cid:
        try:
            reply = p.qmp.recv(0)
        except qmp.Timeout:
            for job in other.command("query-jobs"):
                seen[job["id"]] = (job["type"], job["status"])
            listed += [s["operation"] for s in other.command("query-snapshots") if "operation" in s]
    assert "return" in reply, reply
    harness.equal(list(seen.values()), [("snapshot-revert", "running")], "jobs while it ran")
    harness.equal(set(listed), {"snapshot-revert"}, "operation in query-snapshots")
    harness.equal(p.command("query-jobs"), [], "jobs afterwards")
    harness.equal("operation" in scene.info(p, "s1"), False, "operation afterwards")
    saved.untouched()
    harness.equal(statuses_of(other), ["created", "running", "concluded", "null"], "events")


def statuses_of(client):
    return [event["data"]["status"] for event in client.drain()
            if event["event"] == "JOB_STATUS_CHANGE"]


def cancel_at_once(p, command, args):
    """Sends the command and its job-cancel in one go; the concluded job, dismissed."""
    p.qmp.drain().clear()
    messages = [{"execute": command, "arguments": {**args, "job-id": "j1"}, "id": "start"},
                {"execute": "job-cancel", "arguments": {"id": "j1"}, "id": "cancel"}]
    p.qmp.send_raw("".join(json.dumps(message) + "\n" for message in messages))
    harness.equal(p.qmp.reply("start", 30).get("return"), {}, f"answer of {command}")
    reply = p.qmp.reply("cancel", 30)
    assert "return" in reply, reply
    job = p.wait_job("j1")
    assert job.get("error"), job
    p.command("job-dismiss", {"id": "j1"})
    harness.equal([e["event"] for e in p.qmp.drain() if e["event"].startswith("SNAPSHOT")], [],
                  "events")


def test_a_cancelled_operation_is_taken_back(t):
    p = scene.start(t, ("qcow2", "raw"), memory="256")
    saved = scene.create(p, "s1")
    scene.create(p, "s2")
    for command, args in (("snapshot-create", {"name": "s3"}),
                          ("snapshot-create", {"name": "s3", "memory": "none"}),
                          ("snapshot-revert", {"name": "s1", "discard": True}),
                          ("snapshot-revert", {"name": "s1", "save-as": "s3"})):
        p.serial.wait_more(3)
        before, pid = (scene.contents(p), scene.layout(p), scene.state(p)), p.qemu_pid()
        mark = scene.Mark(p)
        cancel_at_once(p, command, args)
        harness.equal((scene.contents(p), scene.layout(p), scene.state(p)), before,
                      f"the VM after a cancelled {command}")
        harness.equal((scene.status(p), p.qemu_pid()), ("running", pid), "status, process")
        mark.went_on()
        scene.check_disks(p)
    scene.revert(p, saved)
    p.serial.wait_more(5)
    scene.tidy(p)


def test_a_cancelled_delete_can_be_done_again(t):
    p = scene.start(t, ("qcow2", "raw"))
    one = scene.create(p, "one")
    p.serial.wait_more(4)
    two = scene.create(p, "two")
    p.serial.wait_more(4)
    mark = scene.Mark(p)
    cancel_at_once(p, "snapshot-delete", {"name": "one"})
    harness.equal(scene.names(p), ["one", "two"], "snapshots")
    mark.went_on()
    scene.check_disks(p)
    scene.delete(p, "one")
    assert not Path(one.info["memory"]["file"]).exists()
    two.reload(p)
    scene.revert(p, two)
    p.serial.wait_more(5)
    scene.tidy(p)


def test_a_finished_job_cannot_be_cancelled(t):
    p = scene.start(t)
    p.command("snapshot-create", {"name": "s1", "job-id": "j1"})
    p.wait_job("j1")
    error = p.qmp.refused("job-cancel", {"id": "j1"})
    assert "concluded" in error.desc, error
    harness.equal(scene.names(p), ["s1"], "snapshots")
    # Its id is taken until it is dismissed.
    error = p.qmp.refused("snapshot-create", {"name": "s2", "job-id": "j1"})
    assert "j1" in error.desc, error
    p.command("job-dismiss", {"id": "j1"})
    p.command("snapshot-create", {"name": "s2", "job-id": "j1"})
    p.wait_job("j1")
    harness.equal(scene.names(p), ["s1", "s2"], "snapshots")


def test_a_job_that_fails_says_why(t):
    p = scene.start(t)
    saved = scene.create(p, "s1")
    memory = Path(saved.info["memory"]["file"])
    data = memory.read_bytes()
    memory.write_bytes(data[:-9] + bytes(byte ^ 0xff for byte in data[-9:]))
    mark = scene.Mark(p)
    job = run_as_job(p, "snapshot-revert", {"name": "s1", "discard": True}, "j1")
    assert str(memory) in job["error"], job
    mark.went_on()
    memory.write_bytes(data)
    scene.revert(p, saved)


def test_one_operation_at_a_time(t):
    p = scene.start(t)
    first, second = {"name": "s1", "job-id": "j1"}, {"name": "s2"}
    messages = [{"execute": "snapshot-create", "arguments": first, "id": 1},
                {"execute": "snapshot-create", "arguments": second, "id": 2},
                {"execute": "query-status", "id": 3}]
    p.qmp.send_raw("".join(json.dumps(message) + "\n" for message in messages))
    harness.equal(p.qmp.reply(1)["return"], {}, "the first")
    harness.equal(p.qmp.reply(2)["error"]["data"]["reason"], "operation-running", "the second")
    assert "return" in p.qmp.reply(3)
    assert "error" not in p.wait_job("j1")
    harness.equal(scene.names(p), ["s1"], "snapshots")


def test_an_operation_goes_on_when_its_client_leaves(t):
    p = scene.start(t, ("qcow2", "raw"))
    client = p.client()
    client.send("snapshot-create", {"name": "s1"})
    client.close()
    harness.poll(lambda: scene.names(p) == ["s1"], 15, "the snapshot")
    harness.poll(lambda: not p.command("query-jobs"), 15, "the end of its job")
    saved = scene.Saved(scene.info(p, "s1"))
    scene.revert(p, saved)
    p.serial.wait_more(5)


if __name__ == "__main__":
    sys.exit(harness.run([value for name, value in list(globals().items())
                          if name.startswith("test_")]))
