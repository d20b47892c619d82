#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's own fault injection below layers that are merged: a sample of tests/long/blkdebug_sweep.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "long"))

# pylint: disable=wrong-import-position
import blkdebug_sweep as sweep
from blkdebug_sweep import harness

POINTS = (("write_aio", "EIO", "once"), ("flush_to_disk", "EIO", "always"),
          ("l2_update", "ENOSPC", "always"), ("cluster_alloc", "ENOSPC", "once"),
          ("read_aio", "EIO", "once"), ("pwritev", "EIO", "always"),
          ("refblock_alloc", "ENOSPC", "always"), ("l2_load", "EIO", "always"))


def test_a_sample_of_events(t):
    chosen = POINTS[::2] if harness.BRIEF else POINTS
    said = sweep.sweep(t, chosen)
    # Else the rules were not in force.
    for kind in ("stream", "below", "active"):
        assert any(f"{kind}: The job" in line for line in said), f"{kind} was never refused: {said}"


test_a_sample_of_events.timeout = 240


def test_a_filter_below_the_active_layer_is_refused(t):
    """It would be lost when another layer is put on top."""
    guest = sweep.Guest(t)
    guest.again()
    guest.q.stop()
    args = ["-blockdev", f"driver=file,node-name=f0,filename={guest.chain[-1]}",
            "-blockdev", "driver=blkdebug,node-name=g0,image=f0",
            "-blockdev", "driver=qcow2,node-name=n0,file=g0",
            "-device", "virtio-blk-pci,id=vd0,drive=n0"]
    guest.q.start_with(args)
    guest.connect()
    error = guest.p.qmp.refused("snapshot-create", {"name": "x", "memory": "none"})
    harness.equal(error.reason, "unsupported-disk", error.desc)
    guest.q.serial.wait_more(3)


TESTS = [test for name, test in list(globals().items()) if name.startswith("test_")]


if __name__ == "__main__":
    sys.exit(harness.run(TESTS))
