#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The proxy, or all of it, is killed, and others do something before it is started again: what is on record already
stays as it is, whether the guest runs is for those to say who have stopped it since, and what somebody has opened
is not removed."""

import json
import os
import signal
import sys

import faulty
import hostile
import scene
from scene import harness, oracle, qmp, vm
from test_inplace import IN_PLACE
from test_recovery import kill_pids, pids_of


def begun(t, memory="vmstate"):
    """(Proxy, Steps, Saved): a guest with the snapshot s1, and some turns behind it."""
    p, steps = hostile.stepped(t, ("qcow2", "raw"))
    saved = scene.create(p, "s1", memory=memory)
    p.serial.wait_more(3)
    return p, steps, saved


def test_a_record_is_not_replaced_by_that_of_the_journal(t):
    """Which was written before there were overlays, and knows less."""
    p, steps, _saved = begun(t)
    steps.hold("state-write")
    p.qmp.send("snapshot-revert", IN_PLACE)
    steps.held()
    p.kill()
    steps.go()
    before = scene.state(p)["layers"]
    assert all("ino" in before[disk["active"]] for disk in scene.state(p)["disks"].values()), before
    kill_pids(p, pids_of(t, p))
    p.start()
    harness.equal(scene.state(p)["layers"], before, "layers on record")
    p.serial.wait_more(4)
    scene.check_disks(p)
    scene.tidy(p, leaks=True)


def stopped_meanwhile(p):
    """The proxy was killed: the guest is stopped by another monitor, and stays so."""
    with qmp.Client(f"unix:{p.state}/qemu.sock") as other:
        other.command("stop")
    p.start()
    harness.poll(lambda: not (p.state / "journal.json").exists(), 20, "the recovery to end")
    harness.equal(scene.status(p), "paused", "a guest that was stopped meanwhile")
    p.command("cont")
    p.serial.wait_more(3)
    scene.check_disks(p)
    scene.tidy(p)


def killed_behind(t, step, args, memory="stream"):
    p, steps, _saved = begun(t, memory)
    steps.hold(step)
    p.qmp.send("snapshot-revert", args)
    steps.held()
    p.serial.wait_more(3)               # it goes on already
    p.kill()
    steps.go()
    stopped_meanwhile(p)


def killed_at_the_end_of_a_create(t, memory):
    """Between its last step and the end of its journal, which is put back for that."""
    p, steps, _saved = begun(t)
    steps.hold("layers-freeze")
    sent = p.qmp.send("snapshot-create", {"name": "s2", "memory": memory})
    steps.held()
    journal = (p.state / "journal.json").read_bytes()
    steps.go()
    p.qmp.reply(sent)
    p.kill()
    (p.state / "journal.json").write_bytes(journal)
    stopped_meanwhile(p)


def test_a_guest_stopped_behind_a_create_stays_so(t):
    killed_at_the_end_of_a_create(t, "stream")


def test_a_guest_stopped_behind_a_create_without_memory_stays_so(t):
    killed_at_the_end_of_a_create(t, "none")


def test_a_guest_stopped_behind_a_revert_stays_so(t):
    killed_behind(t, "state-write", {"name": "s1", "discard": True})


def test_a_guest_stopped_behind_a_revert_in_place_stays_so(t):
    killed_behind(t, "resumed-note", IN_PLACE, "vmstate")


def test_a_guest_that_an_operation_has_stopped_goes_on(t):
    """Committed, and nobody else has stopped it."""
    p, steps, saved = begun(t)
    steps.hold("state-write")
    p.qmp.send("snapshot-revert", IN_PLACE)
    steps.held()
    p.kill()
    steps.go()
    mark = scene.Mark(p)
    p.start()
    mark.went_back_to(saved)
    scene.check_disks(p)
    p.stop()


def test_an_overlay_that_somebody_runs_on_is_left_to_him(t):
    """All of it was killed before the commit point, and a QEMU was started by hand on what was to go."""
    p, steps, _saved = begun(t)
    before = set(t.dir.glob("disk*"))
    steps.hold("check-disks")
    p.qmp.send("snapshot-revert", {"name": "s1", "discard": True, "method": "respawn"})
    steps.held()
    p.kill()
    steps.go()
    kill_pids(p, pids_of(t, p))
    overlays = sorted(set(t.dir.glob("disk*")) - before)
    harness.equal(len(overlays), 2, "overlays")
    q = vm.Qemu(t, [oracle.Disk(path, "qcow2", f"d{i}") for i, path in enumerate(overlays)], name="by-hand")
    q.start()
    p.start()
    p.serial.wait_more(4)
    scene.check_disks(p)
    for path in overlays:
        assert path.exists(), f"{path} was removed"
    q.serial.wait_tick(4)
    q.stop()
    scene.tidy(p, *overlays, leaks=True)


def tried_again(p):
    """What is stuck is, by the same proxy: before QEMU 9.1 the connection is made anew for descriptors that a client
    has left behind (proxy/leftovers.h)."""
    version = p.command("query-version")["qemu"]
    if (version["major"], version["minor"]) >= (9, 1):
        p.kill()
        p.start()
        return
    reading, writing = os.pipe()
    p.qmp.command("add-fd", {"fdset-id": 7}, fds=[reading])
    os.close(reading)
    os.close(writing)
    p._close_clients()                  # pylint: disable=protected-access


def test_a_second_qemu_that_has_ended_is_forgotten_with_its_revert(t):
    """The next operation that is interrupted behind its commit point is finished, not taken back."""
    p, steps, _saved = begun(t, "stream")
    steps.hold("settings-carry")
    p.qmp.send("snapshot-revert", {"name": "s1", "discard": True})
    steps.held()
    second = json.loads((p.state / "process.next.json").read_text())["pid"]
    p.kill()
    steps.go()
    os.kill(second, signal.SIGKILL)
    harness.poll(lambda: vm.ended(second), 10, "the second QEMU to be gone")
    faults = faulty.Faults(t)
    p.start(env=faults.env)
    harness.poll(lambda: not (p.state / "journal.json").exists(), 20, "the recovery to end")
    assert not (p.state / "process.next.json").exists(), "a QEMU that has ended is on record"
    faults.rules(("fail", faulty.ENOSPC, "sync", ".state.json.tmp"))
    error = p.qmp.refused("snapshot-revert", {"name": "s1", "discard": True}, timeout=30)
    harness.equal(error.reason, "stuck", error.desc)
    faults.mend()
    tried_again(p)
    harness.poll(lambda: not (p.state / "journal.json").exists(), 20, "the recovery to end")
    p.qmp = p.client()
    record = scene.state(p)
    harness.equal(sorted(record["layers"][disk["active"]]["real"] for disk in record["disks"].values()),
                  sorted(path for path, _driver in scene.layout(p).values()), "active layers on record")
    p.serial.wait_more(4)
    scene.check_disks(p)
    scene.tidy(p)


def switched_without(t, *rules):
    """A revert whose switch could not write; the next proxy finds the QEMU that has taken over."""
    faults = faulty.Faults(t)
    p = vm.Proxy(t, oracle.make_disks(t.dir, ("qcow2",)))
    p.start(env=faults.env)
    p.serial.wait_tick(4)
    saved = scene.create(p, "s1")
    p.serial.wait_more(3)
    mark = scene.Mark(p)
    faults.rules(*rules)
    reply = p.qmp.reply(p.qmp.send("snapshot-revert", {"name": "s1", "discard": True}), 30)
    mark.went_back_to(saved)
    faults.mend()
    # As long as nothing can be renamed either, the journal stays.
    assert "return" in reply or len(rules) > 1 and reply["error"]["data"]["reason"] == "stuck", reply
    qemu = [pid for pid in p.pids() if pid != p.process.pid]
    p.kill()
    p.serial.wait_more(2)
    p.start()
    harness.equal(p.pids(), [p.process.pid, *qemu], "processes")
    harness.equal([p.qemu_pid()], qemu, "pid on record")
    p.serial.wait_more(3)
    scene.check_disks(p)
    scene.tidy(p)


def test_a_qemu_that_has_taken_over_is_found_where_no_file_could_be_written(t):
    switched_without(t, ("fail", faulty.ENOSPC, "sync", ".process.json.tmp"),
                     ("fail", faulty.ENOSPC, "sync", ".qemu.pid.tmp"))


def test_a_qemu_that_has_taken_over_is_found_where_the_record_could_not_be_renamed(t):
    """By its socket, which goes first."""
    switched_without(t, ("fail", faulty.ENOSPC, "sync", ".process.json.tmp"),
                     ("fail", faulty.EIO, "rename", "process.next.json"))


if __name__ == "__main__":
    sys.exit(harness.run([test_a_record_is_not_replaced_by_that_of_the_journal,
                          test_a_guest_stopped_behind_a_create_stays_so,
                          test_a_guest_stopped_behind_a_create_without_memory_stays_so,
                          test_a_guest_stopped_behind_a_revert_stays_so,
                          test_a_guest_stopped_behind_a_revert_in_place_stays_so,
                          test_a_guest_that_an_operation_has_stopped_goes_on,
                          test_an_overlay_that_somebody_runs_on_is_left_to_him,
                          test_a_second_qemu_that_has_ended_is_forgotten_with_its_revert,
                          test_a_qemu_that_has_taken_over_is_found_where_no_file_could_be_written,
                          test_a_qemu_that_has_taken_over_is_found_where_the_record_could_not_be_renamed]))
