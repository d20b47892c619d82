#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""snapshot-delete while its block jobs run: the barrier between disks, progress, cancelling, a guest
that writes faster than a job copies, and what is said of a job that fails.

The moments are made by holding or slowing QEMU's writes to one file (faulty)."""

import json
import re
import socket
import sys
from pathlib import Path

import faulty
import hostile
import scene
from scene import harness, qmp

MIB = 1 << 20
MERGES = ("block-commit", "block-stream")
# A write of a table may hold up the guest, which reads that file; what only a job writes is larger.
TABLE = 64 << 10


# --- what is seen

class Human:
    """QEMU's own human monitor, past the proxy: the jobs as they are."""

    def __init__(self, t, name="hmp"):
        self.path = t.path(name)
        self.args = ["-monitor", f"unix:{self.path},server=on,wait=off"]

    def jobs(self):
        """{target or node of its "info block-jobs" line: the line}"""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(10 * harness.SLOW)
            sock.connect(str(self.path))
            text = self._read(sock)
            sock.sendall(b"info block-jobs\n")
            text = self._read(sock)
        return re.findall(r"(?:Type|Streaming device) .*", text)

    @staticmethod
    def _read(sock):
        data = b""
        while not data.endswith(b"(qemu) "):
            more = sock.recv(4096)
            assert more, data
            data += more
        return data.decode(errors="replace")


def steps_of(p, since=0):
    """The names of the steps that the proxy has begun, from its log."""
    return re.findall(r"debug: step (\S+)$", p.log.read_text()[since:], re.M)


def wait_step(p, name, since, timeout=15):
    harness.poll(lambda: name in steps_of(p, since), timeout, f"step {name}")


def size_of_log(p):
    return len(p.log.read_text())


def base(p, disk="d0"):
    """The file of the command line, which everything is committed into from above."""
    return next(d.path for d in p.disks if d.id == disk)


def weigh(p, mib, *disks):
    for disk in disks or scene.layout(p):
        scene.write(p, disk, 0x5a, scene.BEYOND, mib * MIB)


def own_jobs(client):
    return [job for job in client.command("query-jobs") if job["type"] == "snapshot-delete"]


def progress(client):
    jobs = own_jobs(client)
    return (jobs[0]["current-progress"], jobs[0]["total-progress"]) if jobs else None


def guest_events(p):
    return scene.event_names(p, ("STOP", "RESUME"))


def quiet(p):
    p.qmp.drain()
    p.qmp.events.clear()


# --- the barrier

def held_at(p, faults, path, name, **args):
    """Begins a delete whose write to that file waits; (id of the command, place in the log)."""
    faults.rules(("hold", 0, "data", path, TABLE + 1))
    since = size_of_log(p)
    return p.qmp.send("snapshot-delete", {"name": name, **args}), since


def barrier(p, faults, human, name, slow, wanted, ends, **args):
    """The job of one disk waits; those before it are ready, and none is ended."""
    sent, since = held_at(p, faults, slow, name, **args)
    jobs = harness.poll(lambda: len(found := human.jobs()) == wanted and found, 15, "the jobs")
    for _ in range(20):                 # a stream holds up the guest as well, where it reads
        harness.equal(len(human.jobs()), wanted, f"the jobs, later (before: {jobs})")
    done = steps_of(p, since)
    harness.equal([step for step in done if step.startswith("job-")], [], f"ended among {done}")
    faults.mend()
    assert "return" in (reply := p.qmp.reply(sent, 30)), reply
    done = [s for s in steps_of(p, since) if s in (*MERGES, *ends, "files-sync")]
    disks = len(p.disks)
    harness.equal(done[disks:], ["files-sync"] + list(ends) * disks, "order")
    harness.equal(human.jobs(), [], "jobs afterwards")
    scene.check_disks(p)


def test_no_disk_is_finished_before_the_last_is_ready(t):
    human = Human(t)
    p, faults = faulty.start(t, ("qcow2", "raw", "qcow2"), args=human.args)
    one, two, three = scene.row(p, "one", "two", "three", memory="none")
    weigh(p, 4, "d1")
    # The active layer down: the second of three is slow.
    slow = {disk["device"]: disk["image"] for disk in three.info["disks"]}["d1"]
    barrier(p, faults, human, "three", slow, 2, ("job-complete",), direction="commit")
    # Below it: the last.
    slow = {disk["device"]: disk["image"] for disk in two.info["disks"]}["d2"]
    active = scene.layout(p)["d2"][0]
    barrier(p, faults, human, "two", active, 3, ("job-finalize",), direction="stream")
    assert not Path(slow).exists()
    one.same(p)
    p.serial.wait_round()
    scene.tidy(p)


# --- progress

def test_one_job_with_the_bytes_of_all_disks(t):
    p, faults = faulty.start(t, ("qcow2", "qcow2"))
    scene.create(p, "one", memory="none")
    weigh(p, 4)
    p.serial.wait_more(2)
    plan = p.command("snapshot-delete", {"name": "one", "dry-run": True})["plan"]
    total = sum(step.get("bytes", 0) for step in plan)
    assert total >= 8 * MIB, plan
    other = p.client()
    quiet(p)
    faults.rules(("slow", 10, "data", base(p)), ("hold", 0, "data", base(p, "d1"), TABLE + 1))
    p.command("snapshot-delete", {"name": "one", "job-id": "j1"})
    seen = []

    def look():
        """All jobs, as another client sees them."""
        jobs = other.command("query-jobs")
        harness.equal([(job["id"], job["type"]) for job in jobs], [("j1", "snapshot-delete")], "jobs")
        harness.equal(other.command("query-block-jobs"), [], "block jobs")
        seen.append((jobs[0]["current-progress"], jobs[0]["total-progress"]))
        return jobs[0]

    # The first disk is done, the second has not begun: half of it.
    # (The guest may stand still meanwhile: what is held is the image that its layer is read through.)
    harness.poll(lambda: look() and seen[-1][0] >= 4 * MIB, 15, f"half of it: {seen[-1:]}")
    for _ in range(20):
        look()
        current, whole = seen[-1]
        assert 4 * MIB <= current <= whole - 4 * MIB, seen[-1]
    faults.rules(("slow", 10, "data", base(p, "d1")))
    harness.poll(lambda: look()["status"] == "concluded", 30, "the end")
    harness.equal(seen[-1][0], seen[-1][1], "progress at the end")
    harness.equal(seen, sorted(seen, key=lambda one: one[0]), "progress")
    assert len({one[0] for one in seen}) > 5, f"seen: {sorted(set(seen))}"
    assert all(0 <= current <= whole for current, whole in seen), seen
    p.command("job-dismiss", {"id": "j1"})
    events = p.qmp.drain()
    hidden = [event for event in events if event["event"].startswith("BLOCK_JOB")
              or "qsnap" in json.dumps(event)]
    harness.equal(hidden, [], "events of the jobs that only serve a step")
    states = [event["data"]["status"] for event in events if event["event"] == "JOB_STATUS_CHANGE"]
    harness.equal(states, ["created", "running", "concluded", "null"], "events of the job")
    scene.check_disks(p)


# --- cancelling

def cancel(p, faults, name, path, nth=1, **args):
    """Begins a delete, and cancels it while its nth job waits to write to that file."""
    faults.rules(("hold", 0, "data", path))
    since, mark = size_of_log(p), scene.Mark(p)
    quiet(p)
    p.command("snapshot-delete", {"name": name, "job-id": "j1", **args})
    harness.poll(lambda: len([step for step in steps_of(p, since) if step in MERGES]) == nth, 15,
                 "the job")
    p.command("job-cancel", {"id": "j1"})
    wait_step(p, "cancel-commit", since)
    faults.mend()
    job = p.wait_job("j1")
    assert "cancelled" in job.get("error", ""), job
    p.command("job-dismiss", {"id": "j1"})
    mark.went_on()
    harness.equal(guest_events(p), [], "events of the guest")
    return steps_of(p, since)


def left_marked(p, name, *others):
    """It is there, is not good for a revert, and everything else is right."""
    problems = scene.info(p, name)["problems"]
    assert any("delete" in problem for problem in problems), problems
    error = p.qmp.refused("snapshot-revert", {"name": name, "discard": True})
    harness.equal(error.reason, "being-deleted", "revert")
    jobs = p.command("query-jobs")
    harness.equal(jobs, [], "jobs")
    nodes = [n["node-name"] for n in p.command("query-named-block-nodes", flat=True)]
    harness.equal([n for n in nodes if n.startswith("qsnap-side")], [], "nodes")
    assert not (p.state / "journal.json").exists(), "an open journal"
    for other in others:
        other.same(p)
    scene.check_disks(p)


def image(saved, disk="d0"):
    return next(one["image"] for one in saved.info["disks"] if one["device"] == disk)


def test_cancelled_while_the_layer_that_the_guest_runs_on_is_merged(t):
    p, faults = faulty.start(t, ("qcow2", "qcow2"))
    one, two = scene.row(p, "one", "two")
    weigh(p, 4)
    before = scene.beyond(p)
    for nth, disk in ((1, "d0"), (2, "d1")):    # the first job runs; it is ready, the second runs
        cancel(p, faults, "two", image(two, disk), nth, direction="commit")
        left_marked(p, "two", one)
        harness.equal(scene.beyond(p), before, "the running disks")
    scene.delete(p, "two")
    harness.equal(scene.beyond(p), before, "the running disks")
    one.same(p)
    scene.revert(p, one)
    p.serial.wait_more(3)
    scene.tidy(p)


def test_cancelled_below_what_runs_and_beside_it(t):
    p, faults = faulty.start(t)
    root, a, b, c = scene.row(p, "root", "a", "b", "c")
    cancel(p, faults, "a", image(b), direction="stream")
    left_marked(p, "a", root, b, c)
    cancel(p, faults, "a", image(a), direction="commit")
    left_marked(p, "a", root, b, c)
    scene.revert(p, root)               # what was in the running chain is now beside it
    cancel(p, faults, "a", image(a), direction="commit")
    left_marked(p, "a", root, b, c)
    cancel(p, faults, "a", image(b), direction="stream")
    left_marked(p, "a", root, b, c)
    scene.drop(p, a, root, b, c)
    scene.revert(p, c)
    p.serial.wait_more(3)
    scene.tidy(p)


# --- a guest that writes faster than the job copies

def outrun(t, name, converge=None):
    """A guest on a layer whose merge never catches up: a write to the file below takes longer than a
    turn, and each turn writes.  (Proxy, Faults)"""
    options = [] if converge is None else ["--converge-timeout", str(converge)]
    p, faults = faulty.start(t, options=options, name=name, folder=folder(t, name))
    one = scene.create(p, "one", kind=scene.Whole)
    p.serial.wait_round()
    quiet(p)
    faults.rules(("slow", 150, "data", base(p)))
    return p, faults, one


def folder(t, name):
    path = t.path(name + ".images")
    path.mkdir()
    return path


def test_a_guest_that_is_never_caught_up_with_is_stopped_in_the_end(t):
    for seconds in (0, 1):
        p, faults, _one = outrun(t, f"vm{seconds}", seconds)
        mark = scene.Mark(p)
        result, ms = scene.vm.timed(p.command, "snapshot-delete", {"name": "one"}, timeout=60)
        faults.mend()
        assert 0 <= result["standstill"] <= ms - 1000 * seconds, (result, ms)
        harness.equal(guest_events(p), ["STOP", "RESUME"], "events")
        assert "does not catch up" in p.log.read_text()
        mark.went_on()
        scene.check_disks(p)
        p.stop()


def test_the_guest_is_not_stopped_as_long_as_there_is_time(t):
    """With the default of a minute: nothing is seen of it for some seconds, and a cancel leaves all as
    it was.  Once the file is as fast as others, the job gets there by itself."""
    p, faults, _one = outrun(t, "vm")
    before = scene.beyond(p)
    quiet(p)
    since = size_of_log(p)
    p.command("snapshot-delete", {"name": "one", "job-id": "j1"})
    harness.poll(lambda: (progress(p) or (0, 0))[0] > 0, 15, "progress")
    p.serial.wait_round()
    harness.equal(guest_events(p), [], "events")
    harness.equal(own_jobs(p)[0]["status"], "running", "the job")
    p.command("job-cancel", {"id": "j1"})
    job = p.wait_job("j1")
    assert "cancelled" in job["error"], job
    p.command("job-dismiss", {"id": "j1"})
    harness.equal(guest_events(p), [], "events")
    assert "stop" not in steps_of(p, since), steps_of(p, since)
    left_marked(p, "one")
    harness.equal(scene.beyond(p), before, "the running disk")
    quiet(p)
    p.qmp.send("snapshot-delete", {"name": "one"}, cid="again")
    p.serial.wait_more(20)
    harness.equal(guest_events(p), [], "events")
    faults.mend()
    result = p.qmp.reply("again", 30)["return"]
    assert isinstance(result["standstill"], int), result
    assert "does not catch up" not in p.log.read_text()
    p.serial.wait_round()
    scene.tidy(p, folder=t.path("vm.images"))


def test_cancelled_when_the_guest_was_stopped_for_a_job(t):
    """It was stopped since the job does not get there; a cancel lets it go on."""
    p, faults, one = outrun(t, "vm", 0)
    mark = scene.Mark(p)
    p.command("snapshot-delete", {"name": "one", "job-id": "j1"})
    p.qmp.wait_event("STOP")
    p.command("job-cancel", {"id": "j1"})
    p.qmp.wait_event("RESUME")
    assert "cancelled" in p.wait_job("j1")["error"]
    p.command("job-dismiss", {"id": "j1"})
    mark.went_on()
    faults.mend()
    left_marked(p, one.name)
    scene.delete(p, "one")
    p.serial.wait_more(3)
    scene.tidy(p, folder=t.path("vm.images"))


# --- a job that fails

def test_a_job_that_fails_is_told_of_in_words(t):
    p, faults = faulty.start(t)
    one, two = scene.row(p, "one", "two", memory="none")
    for direction, path in (("commit", image(two)), ("stream", scene.layout(p)["d0"][0])):
        faults.rules(("fail", faulty.EIO, "data", path, 65537))
        mark = scene.Mark(p)
        error = p.qmp.refused("snapshot-delete", {"name": "two", "direction": direction}, timeout=30)
        harness.equal((error.cls, error.reason), ("GenericError", "qemu-failed"), error.desc)
        assert "Input/output error" in error.desc, error.desc
        p.command("snapshot-delete", {"name": "two", "direction": direction, "job-id": "j1"})
        job = p.wait_job("j1")
        assert "Input/output error" in job["error"], job
        p.serial.wait_more(3)
        harness.equal(p.wait_job("j1"), job, "the job until it is dismissed")
        p.command("job-dismiss", {"id": "j1"})
        harness.equal(p.command("query-jobs"), [], "jobs")
        faults.mend()
        mark.went_on()
        left_marked(p, "two", one)
    scene.drop(p, two, one)
    p.serial.wait_more(3)
    scene.tidy(p)


if __name__ == "__main__":
    sys.exit(harness.run([test for name, test in list(globals().items())
                          if name.startswith("test_")]))
