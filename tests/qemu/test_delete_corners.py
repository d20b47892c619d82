#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Corners in which an interruption or a slow disk meets a delete, or what settles it.  No write of
the guest is ever lost."""

import os
import signal
import socket
import subprocess
import sys

import hostile
import scene
from scene import harness, oracle, qmp


def end_qemu(p):
    pid = p.qemu_pid()
    os.kill(pid, signal.SIGKILL)
    harness.poll(lambda: not os.path.exists(f"/proc/{pid}"), 10, "QEMU to be gone")


def boots_from(p, last):
    """The same command line again: the guest boots from where its disks were."""
    since = p.serial.size()
    p.start()
    p.serial.wait_more(3)
    boots = p.serial.boots(since)
    assert len(boots) == 1 and abs(boots[0] - last) <= 3, f"booted {boots}, the guest was at {last}"


def host_goes_down(p):
    """The proxy, then QEMU; the guest's last turn."""
    p.kill()
    last = p.serial.last()
    end_qemu(p)
    return last


# --- an answer too late

def test_an_answer_that_comes_too_late(t):
    """What was begun is taken back, but bytes may have moved: the snapshot is not whole again."""
    p, steps = hostile.stepped(t)
    a = scene.create(p, "a", kind=scene.Whole)
    p.serial.wait_more(2)
    scene.write(p, "d0", 0x55, scene.BEYOND, 4 << 20)
    b = scene.create(p, "b", kind=scene.Whole)
    steps.hold("snapshot-mark")
    sent = p.qmp.send("snapshot-delete", {"name": "a", "direction": "commit"})
    steps.held()
    pid = p.qemu_pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        steps.go()
        harness.poll(lambda: any("steps back" in line for line in steps.lines), 45, "the way back")
    finally:
        os.kill(pid, signal.SIGCONT)
    harness.equal(p.qmp.reply(sent, 60)["error"]["data"]["reason"], "timeout", "reason")
    if not scene.state(p)["snapshots"][0].get("deleting"):
        a.same(p)
    else:
        hostile.refused(p, "being-deleted", "snapshot-revert", {"name": "a", "discard": True})
    scene.drop(p, a, b)


test_an_answer_that_comes_too_late.timeout = 120


# --- a start while the images are not there yet

def start_without(p, folder):
    """A start that has to refuse, and keeps what it needs for the next one."""
    away = folder.with_name("away")
    folder.rename(away)
    p.start(connect=False)
    assert p.wait(10) != 0, "it has started without its images"
    p.process = None
    away.rename(folder)


def in_folder(t):
    folder = t.path("images")
    folder.mkdir()
    return *hostile.stepped(t, folder=folder), folder


def test_a_create_and_a_start_before_the_images_are_mounted(t):
    p, steps, folder = in_folder(t)
    steps.hold("transaction")
    p.qmp.send("snapshot-create", {"name": "s1", "memory": "none"})
    steps.held()
    p.serial.wait_more(8)               # turns that only the overlay has
    last = host_goes_down(p)
    steps.go()
    start_without(p, folder)
    boots_from(p, last)
    p.serial.wait_round()
    scene.tidy(p, folder=folder)


def test_a_delete_and_a_start_before_the_images_are_mounted(t):
    p, steps, folder = in_folder(t)
    a, _b, c = scene.row(p, "a", "b", "c")
    steps.hold("job-finalize")
    p.qmp.send("snapshot-delete", {"name": "b", "direction": "commit"})
    steps.held()                        # the header names another layer than the record
    last = host_goes_down(p)
    steps.go()
    start_without(p, folder)
    boots_from(p, last)
    a.same(p)
    c.same(p)
    scene.delete(p, "b")
    scene.revert(p, c)
    p.serial.wait_round()
    scene.tidy(p, folder=folder)


if __name__ == "__main__":
    sys.exit(harness.run([test for name, test in list(globals().items())
                          if name.startswith("test_")]))
