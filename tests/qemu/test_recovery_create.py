#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A create is broken off, and by the next start something else is not as it was.  What the guest has written to
the new overlays is not given up for that, whatever it is."""

import sys
from pathlib import Path

import hostile
import scene
from scene import harness, oracle, vm


def broken_off(t, formats=("qcow2",), **args):
    """(Proxy, the overlay of d0, the guest's last turn): everything was killed when the guest ran on overlays."""
    p, steps = hostile.stepped(t, formats)
    scene.create(p, "s0")
    p.serial.wait_more(2)
    before = set(t.dir.glob("disk0.*.qcow2"))
    steps.hold("memory-seal")
    p.qmp.send("snapshot-create", {"name": "s1", **args})
    steps.held()
    p.serial.wait_more(10)
    made = set(t.dir.glob("disk0.*.qcow2")) - before
    harness.equal(len(made), 1, "overlays")
    overlay = made.pop()
    power_cut(p)
    steps.go()
    return p, overlay, p.serial.last()


def power_cut(p):
    """Until nothing has an image open."""
    pids = p.pids()
    p.end_hard()
    for pid in pids:
        harness.poll(lambda pid=pid: vm.ended(pid), 10, f"process {pid} to be gone")


def starts(p):
    """The proxy ends, or the guest boots: with that turn."""
    since = p.serial.size()
    p.start(connect=False)
    harness.poll(lambda: p.process.poll() is not None or p.serial.boots(since), 30, "a start or an end")
    return (p.serial.boots(since) or [None])[0]


def goes_on(p, last):
    turn = starts(p)
    assert turn is not None, "the start was refused"
    assert abs(turn - last) <= 3, f"booted with turn {turn}, the guest was at {last}"
    p.qmp = harness.poll(p._try_client, 10, "the monitor to answer")   # pylint: disable=protected-access
    harness.equal(scene.names(p), ["s0"], "snapshots")
    p.serial.wait_more(3)
    scene.check_disks(p)


def test_another_disk_whose_header_does_not_fit(t):
    """The start is refused for that, and the overlays are on record all the same."""
    p, overlay, last = broken_off(t, ("qcow2", "qcow2"), disks=["d0"])
    other = p.disks[1].path
    above = Path(scene.state(p)["layers"][scene.state(p)["disks"]["drive:d1"]["active"]]["real"])
    spelled = f"{other.parent}/./{other.name}"
    oracle.qemu_img("rebase", "-u", "-f", "qcow2", "-F", "qcow2", "-b", spelled, above)
    harness.equal(starts(p), None, "turn that it booted with")
    assert overlay.exists(), "the overlay is gone"
    power_cut(p)
    oracle.qemu_img("rebase", "-u", "-f", "qcow2", "-F", "qcow2", "-b", other, above)
    goes_on(p, last)


def test_an_overlay_whose_header_does_not_fit(t):
    """It is neither one that was never finished nor one to go on with: for a person to say."""
    p, overlay, last = broken_off(t)
    below = scene.state(p)["disks"]["drive:d0"]["active"]
    below = Path(scene.state(p)["layers"][below]["path"])
    oracle.qemu_img("rebase", "-u", "-f", "qcow2", "-F", "qcow2", "-b", p.disks[0].path, overlay)
    for _ in range(2):
        harness.equal(starts(p), None, "turn that it booted with")
        assert overlay.exists(), "the overlay is gone"
        assert (p.state / "journal.json").exists(), "the journal is gone"
        power_cut(p)
    oracle.qemu_img("rebase", "-u", "-f", "qcow2", "-F", "qcow2", "-b", below, overlay)
    goes_on(p, last)


TESTS = [test_another_disk_whose_header_does_not_fit, test_an_overlay_whose_header_does_not_fit]


if __name__ == "__main__":
    sys.exit(harness.run(TESTS))
