#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A revert starts the command line of the snapshot: until the next start that one is the VM's, whatever the
proxy was given."""

import sys

import hostile
import scene
from scene import harness, oracle
from test_recovery import kill_pids, pids_of

REPLACE = {"name": "s1", "discard": True, "method": "replace"}
MIB = 1 << 20


def size(p):
    return p.command("query-memory-size-summary")["base-memory"]


def reverted(t):
    """(Proxy, Steps, path): given 64 MiB, and reverted to s1, which has 32.  The next second QEMU that loads fails
    when a file is at the path."""
    bad = t.path("bad")
    words = f"exec 2>>'{t.path('messages')}'\n" \
            f"case \"$*\" in *incoming*) if [ -e '{bad}' ]; then rm '{bad}'; exit 1; fi;; esac"
    p = hostile.Wrapped(t, oracle.make_disks(t.dir), {"qemu-system-x86_64": words},
                        options=("--log-level", "debug"))
    p.start()
    p.serial.wait_tick(4)
    saved = scene.create(p, "s1")
    p.serial.wait_more(3)
    p.stop()
    p.qemu_args[p.qemu_args.index("-m") + 1] = "64"
    steps = hostile.Steps(p)
    steps.start()
    p.serial.wait_more(3)
    harness.equal(size(p), 64 * MIB, "memory as given")
    scene.revert(p, saved)
    harness.equal(size(p), 32 * MIB, "memory of s1")
    return p, steps, bad


def test_a_snapshot_of_it_has_that_command_line(t):
    p, _steps, _bad = reverted(t)
    saved = scene.create(p, "s2")
    p.serial.wait_more(3)
    scene.revert(p, saved)
    p.kill()
    p.start()
    saved = scene.create(p, "s3")
    p.serial.wait_more(3)
    scene.revert(p, saved)
    harness.equal(size(p), 32 * MIB, "memory")
    p.stop()
    p.start()
    harness.equal(size(p), 64 * MIB, "memory behind a start")
    p.serial.wait_more(3)
    scene.tidy(p)


def test_a_replace_that_fails_brings_back_what_ran(t):
    p, _steps, bad = reverted(t)
    p.serial.wait_more(3)
    bad.touch()
    mark = scene.Mark(p)
    error = p.qmp.refused("snapshot-revert", REPLACE, timeout=40)
    assert "ended at its start" in error.desc, error.desc
    mark.went_on()
    harness.equal((size(p), p.serial.boots(mark.since)), (32 * MIB, []), "memory, and boots")
    scene.check_disks(p)
    scene.tidy(p)


def test_a_replace_that_is_interrupted_brings_back_what_ran(t):
    """By a start with the command line that the proxy was given."""
    p, steps, _bad = reverted(t)
    p.serial.wait_more(3)
    steps.hold("process-start")
    p.qmp.send("snapshot-revert", REPLACE)
    steps.held()
    kill_pids(p, pids_of(t, p))
    steps.go()
    mark = scene.Mark(p)
    p.start()
    mark.went_on()
    harness.equal((size(p), p.serial.boots(mark.since)), (32 * MIB, []), "memory, and boots")
    scene.check_disks(p)
    scene.tidy(p, leaks=True)


if __name__ == "__main__":
    sys.exit(harness.run([test_a_snapshot_of_it_has_that_command_line,
                          test_a_replace_that_fails_brings_back_what_ran,
                          test_a_replace_that_is_interrupted_brings_back_what_ran]))
