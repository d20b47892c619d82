#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A second QEMU that does nothing at a revert.  It takes as long as the proxy waits, so the guests
are tried at the same time."""

import os
import signal
import sys

import hostile
import scene
from scene import harness, oracle

MUTE = 'if [ -e bad ]; then case " $* " in *" -incoming "*) exec sleep 300;; esac; fi'
REVERT = {"name": "s1", "discard": True}


def second(p, timeout=10):
    """The pid of the QEMU of that guest that a revert has started."""
    def find():
        return [pid for pid, line in harness.marked_processes(p.test.marker).items()
                if " -incoming " in line and str(p.serial.path) in line]
    return harness.poll(find, timeout, "the second QEMU")[0]


def test_revert_with_a_second_qemu_that_hangs(t):
    mute = hostile.Wrapped(t, oracle.make_disks(t.dir, prefix="mute"),
                           {"qemu-system-x86_64": MUTE}, name="mute").start()
    frozen, steps = hostile.stepped(t, name="frozen", prefix="frozen")
    saved = {p: scene.create(p, "s1") for p in (mute, frozen)}
    still = {p: hostile.Still(p, ("RESET", "SHUTDOWN"), ("processes", "files")) for p in saved}
    t.path("bad").touch()
    sent = {mute: mute.qmp.send("snapshot-revert", REVERT)}
    steps.hold("getfd")
    sent[frozen] = frozen.qmp.send("snapshot-revert", REVERT)
    steps.held()
    os.kill(second(frozen), signal.SIGSTOP)
    steps.go()
    for p, cid in sent.items():
        assert "error" in p.qmp.reply(cid, 60), p.name
    t.path("bad").unlink()
    for p, before in still.items():
        before.check()
        scene.revert(p, saved[p])
    harness.equal(len(harness.marked_processes(t.marker)), 4, "processes: two proxies, two QEMUs")


if __name__ == "__main__":
    sys.exit(harness.run([test_revert_with_a_second_qemu_that_hangs]))
