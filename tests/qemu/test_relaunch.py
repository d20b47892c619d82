#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The second QEMU of a revert dies when the first is gone and it has not run yet: a third one takes its place, with
the snapshot's memory; the one who asked is told when that is so, and others have only waited."""

import json
import os
import signal
import sys

import hostile
import scene
from scene import harness, qmp, vm
from test_recovery import kill_pids, pids_of

REVERTS = {"respawn": "stream", "replace": "stream", "vmstate": "vmstate"}


def begun(t, kind):
    """(Proxy, Steps, Saved, arguments): a guest with the snapshot s1, and some turns behind it."""
    p, steps = hostile.stepped(t, ("qcow2", "raw"))
    saved = scene.create(p, "s1", memory=REVERTS[kind])
    p.serial.wait_more(3)
    method = "replace" if kind == "replace" else "respawn"
    return p, steps, saved, {"name": "s1", "discard": True, "method": method}


def second(p):
    """Its pid: behind the switch it is the only one."""
    path = p.state / "process.next.json"
    return json.loads((path if path.exists() else p.state / "process.json").read_text())["pid"]


def end(pid):
    os.kill(pid, signal.SIGKILL)
    harness.poll(lambda: vm.ended(pid), 10, f"QEMU ({pid}) to be gone")


def settled(p, saved, mark):
    """It is the snapshot, on its disks, and nothing is left behind."""
    mark.went_back_to(saved)
    scene.check_disks(p)
    harness.poll(lambda: not (p.state / "journal.json").exists(), 10, "the journal's end")
    p.killed = True
    scene.revert(p, saved, method="respawn")
    scene.tidy(p)


def dies(t, kind, step):
    p, steps, saved, args = begun(t, kind)
    other = p.client()
    mark, since = scene.Mark(p), p.serial.size()
    steps.hold(step)
    sent = p.qmp.send("snapshot-revert", args)
    steps.held()
    end(second(p))
    waits = other.send("query-name")
    steps.go()
    result = p.qmp.reply(sent, 40)
    harness.equal(result.get("return", {}).get("method"), args["method"], str(result))
    assert "return" in other.reply(waits, 10)
    harness.equal(p.serial.boots(since), [], "boots")
    settled(p, saved, mark)


def make(kind, step):
    def test(t):
        dies(t, kind, step)
    test.__name__ = f"test_second_of_a_{kind}_that_dies_behind_{step.replace('-', '_')}"
    return test


def test_all_die_behind_the_first_ones_end(t):
    """The next start of the same command line brings the snapshot, with its memory."""
    p, steps, saved, args = begun(t, "respawn")
    mark, since = scene.Mark(p), p.serial.size()
    steps.hold("process-end")
    p.qmp.send("snapshot-revert", args)
    steps.held()
    p.kill()
    steps.go()
    kill_pids(p, pids_of(t, p))
    p.start()
    harness.equal(p.serial.boots(since), [], "boots")
    settled(p, saved, mark)


def test_the_proxy_dies_while_the_third_loads(t):
    """What is found then may not be loaded: a fourth one is."""
    p, steps, saved, args = begun(t, "respawn")
    mark, since = scene.Mark(p), p.serial.size()
    steps.hold("process-end")
    p.qmp.send("snapshot-revert", args)
    steps.held()
    end(second(p))
    steps.hold_next("process-start")
    steps.held()
    third = second(p)
    p.kill()
    steps.go()
    p.start()
    assert vm.ended(third), "the third one lives on"
    harness.equal(p.serial.boots(since), [], "boots")
    settled(p, saved, mark)


def test_one_that_has_run_is_not_done_again(t):
    """It was the VM: its end is the VM's end, and the VM boots from its disks."""
    p, steps, _saved, args = begun(t, "respawn")
    steps.hold("cont")
    p.qmp.send("snapshot-revert", args)
    steps.held()
    p.serial.wait_more(6)
    last, since = p.serial.last(), p.serial.size()
    end(second(p))
    steps.go()
    harness.equal(p.wait(30), 128 + signal.SIGKILL, "exit status")
    p._close_clients()                  # pylint: disable=protected-access
    p.start()
    boots = harness.poll(lambda: p.serial.boots(since), 20, "the guest to boot")
    assert abs(boots[0] - last) <= 3, f"booted with turn {boots[0]}, the guest was at {last}"
    scene.tidy(p, leaks=True)


def test_one_that_was_told_to_end_is_not_done_again(t):
    p, steps, _saved, args = begun(t, "respawn")
    steps.hold("process-switch")
    p.qmp.send("snapshot-revert", args)
    steps.held()
    os.kill(second(p), signal.SIGTERM)
    steps.go()
    harness.equal(p.wait(30), 0, "exit status")


def test_a_second_one_that_only_closes_its_monitor_is_not_replaced(t):
    p, steps, saved, args = begun(t, "respawn")
    mark = scene.Mark(p)
    steps.hold("process-switch")
    sent = p.qmp.send("snapshot-revert", args)
    steps.held()
    pid = second(p)
    with qmp.Client(f"unix:{p.state}/qemu.bulk.sock", oob=True) as other:
        other.command("yank", {"instances": [{"type": "chardev", "id": "qmp-proxy"}]}, oob=True)
    steps.go()
    result = p.qmp.reply(sent, 40)
    assert "return" in result, result
    harness.equal(p.qemu_pid(), pid, "QEMU's pid")
    settled(p, saved, mark)


TESTS = [make(kind, step) for kind in REVERTS for step in ("process-end", "process-switch")
         if (kind, step) != ("replace", "process-end")]
TESTS += [test_all_die_behind_the_first_ones_end, test_the_proxy_dies_while_the_third_loads,
          test_one_that_has_run_is_not_done_again, test_one_that_was_told_to_end_is_not_done_again,
          test_a_second_one_that_only_closes_its_monitor_is_not_replaced]


if __name__ == "__main__":
    sys.exit(harness.run(TESTS))
