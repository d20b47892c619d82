#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The host's disk is full, read-only or broken, before an operation and in the middle of one.

A sample of what tests/long/disk_sweep.py does behind every step; what has to be true is told in
trouble.py."""

import sys

import trouble
from scene import harness

# (operation, trouble, the step behind which it begins; 0: before the operation)
SAMPLES = {
    "the state folder is full": (
        ("create stream", "state full", 0),
        ("create none", "state full", "transaction"),
        ("delete active", "state full", "job-complete"),
        ("revert respawn", "state full", "process-end"),
        ("revert in-place", "state full", "memory-load"),
        ("revert replace", "state full", "process-end")),
    "the state folder is broken": (
        ("delete below", "state read-only", 0),
        ("create stream", "state read-only", "cont"),
        ("delete active", "state folder broken", "job-complete"),
        ("revert respawn", "state once broken", "check-next"),
        ("revert replace", "state read-only", "check-present")),
    "there is no room for memory": (
        ("create stream", "memory full", "getfd"),
        ("create vmstate", "memory broken", "stop"),
        ("revert in-place", "memory full", "clients-hold"),
        ("revert replace", "memory unsynced", "stop")),
    "the images cannot be written": (
        ("create stream", "images read-only", 0),
        ("delete active", "images full", "snapshot-mark"),
        ("delete below", "images broken", "snapshot-mark"),
        ("revert respawn", "images read-only", 0)),
}


def sample(name, points):
    def test(t):
        guest = trouble.Guest(t)
        for operation, kind, step in points[::2] if harness.BRIEF else points:
            try:
                reply = trouble.point(guest, operation, kind, step)
            except trouble.Over as why:
                raise AssertionError(f"{operation}, {kind}, {step}: {why}") from None
            except Exception as error:
                raise AssertionError(f"{operation}, {kind}, {step}: {error}") from error
            told = reply["error"]["desc"] if "error" in reply else "done"
            t.note(f"{operation}, {kind}, {step}: {told}")
        trouble.finish(guest)
    test.__name__ = "test_" + name.replace(" ", "_")
    return test


TESTS = [sample(name, points) for name, points in SAMPLES.items()]


if __name__ == "__main__":
    sys.exit(harness.run(TESTS))
