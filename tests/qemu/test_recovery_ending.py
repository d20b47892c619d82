#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A proxy is started while a QEMU is ending, or where what it finds cannot be judged: the second QEMU of a revert is
the VM behind the commit point, and before that nothing."""

import ctypes
import json
import os
import signal
import sys

import hostile
import scene
from scene import harness, vm

PTRACE_DETACH, PTRACE_SEIZE, PTRACE_O_TRACEEXIT = 17, 0x4206, 0x40
WALL = 0x40000000


class Ending:
    """A process that has been killed, and keeps its files and sockets until end()."""

    def __init__(self, pid):
        self.pid = pid
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
        done = self.libc.ptrace(PTRACE_SEIZE, pid, None, PTRACE_O_TRACEEXIT)
        harness.requires(done == 0, "no ptrace() here")

    def kill(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, WALL)

    def end(self):
        self.libc.ptrace(PTRACE_DETACH, self.pid, None, None)


def killed_at(t, step):
    """(Proxy, Saved, pid of the second QEMU, Mark, Ending of the first): at that step of a revert all but the second
    QEMU has been killed, and the first has not ended yet."""
    p, steps = hostile.stepped(t)
    saved = scene.create(p, "s1")
    p.serial.wait_more(4)
    steps.hold(step)
    p.qmp.send("snapshot-revert", {"name": "s1", "discard": True})
    steps.held()
    second = json.loads((p.state / "process.next.json").read_text())["pid"]
    mark, first = scene.Mark(p), Ending(p.qemu_pid())
    p.kill()
    steps.go()
    first.kill()
    return p, saved, second, mark, first


def found_ending(p, first):
    p.start(connect=False)
    harness.poll(lambda: "found QEMU running" in p.log.read_text(errors="replace"), 20, "QEMU to be found")
    first.end()
    p.qmp = harness.poll(p._try_client, 30, "the monitor to answer")


def test_behind_the_commit_point_the_second_qemu_follows_one_that_is_ending(t):
    p, saved, second, mark, first = killed_at(t, "commit")
    found_ending(p, first)
    mark.went_back_to(saved)
    harness.equal(p.qemu_pid(), second, "pid of QEMU")
    scene.check_disks(p)
    scene.tidy(p)


def test_before_the_commit_point_the_second_qemu_is_not_left_beside_the_vm(t):
    p, _saved, second, mark, first = killed_at(t, "check-disks")
    found_ending(p, first)
    harness.poll(lambda: p.serial.boots(mark.since), 20, "the guest to boot")
    assert vm.ended(second), "the second QEMU lives on"
    p.serial.wait_more(3)
    scene.check_disks(p)
    scene.tidy(p)


def gone(t):
    """killed_at() behind the commit point, with the end of the first QEMU."""
    p, saved, second, mark, first = killed_at(t, "commit")
    first.end()
    harness.poll(lambda: vm.ended(first.pid), 10, "the first QEMU to be gone")
    return p, saved, second, mark


def refused_to_start(p, second, words):
    p.start(connect=False)
    harness.equal(p.wait(), 1, "exit status")
    log = p.log.read_text(errors="replace")
    assert words in log.splitlines()[-1], log[-500:]
    assert not vm.ended(second), "the VM was ended"


def goes_on(p, saved, second, mark):
    p.start()
    mark.went_back_to(saved)
    harness.equal(p.qemu_pid(), second, "pid of QEMU")
    scene.check_disks(p)
    scene.tidy(p)


def test_a_second_qemu_that_is_the_vm_is_not_taken_over_by_another_command_line(t):
    p, saved, second, mark = gone(t)
    mine = p.qemu_args
    p.qemu_args = [*mine, "-no-user-config"]
    refused_to_start(p, second, f"(pid {second}) is running with another command line")
    p.qemu_args = mine
    goes_on(p, saved, second, mark)


def test_a_second_qemu_that_may_be_the_vm_is_not_ended(t):
    """The journal says which it is, and cannot be read."""
    p, saved, second, mark = gone(t)
    journal, away = p.state / "journal.json", p.state / "away.json"
    journal.rename(away)
    journal.write_text("[")
    refused_to_start(p, second, "journal.json")
    away.rename(journal)
    goes_on(p, saved, second, mark)


if __name__ == "__main__":
    sys.exit(harness.run([test_behind_the_commit_point_the_second_qemu_follows_one_that_is_ending,
                          test_before_the_commit_point_the_second_qemu_is_not_left_beside_the_vm,
                          test_a_second_qemu_that_is_the_vm_is_not_taken_over_by_another_command_line,
                          test_a_second_qemu_that_may_be_the_vm_is_not_ended]))
