#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""How long the guest stood still, as the answer tells, against QEMU's own STOP and RESUME."""

import sys
import time

import scene
from scene import harness

COARSE = 100 * harness.SLOW     # milliseconds between an event and what the proxy sees of it


def stood(p):
    """Milliseconds between the STOP and the RESUME that came."""
    at = []
    for name in ("STOP", "RESUME"):
        stamp = p.qmp.wait_event(name)["timestamp"]
        at.append(stamp["seconds"] * 1000 + stamp["microseconds"] / 1000)
    return at[1] - at[0]


def run(p, command, **args):
    """The answer; its figure has to be right."""
    p.qmp.drain().clear()
    begin = time.monotonic()
    result = p.command(command, {key.replace("_", "-"): value for key, value in args.items()},
                       timeout=30)
    whole = (time.monotonic() - begin) * 1000
    real = stood(p)
    assert isinstance(result["standstill"], int), result
    assert real - COARSE <= result["standstill"] <= min(real + COARSE, whole), (result, real, whole)
    assert f"{command}: the guest stood still for {result['standstill']} ms" in p.log.read_text()
    return result


def none(p, command, **args):
    """There is no such figure."""
    result = p.command(command, {key.replace("_", "-"): value for key, value in args.items()},
                       timeout=30)
    assert "standstill" not in result, result


def test_the_answer_tells_how_long_the_guest_stood_still(t):
    p = scene.start(t, ("qcow2", "raw"), options=["--log-level", "info"])
    run(p, "snapshot-create", name="s1")
    p.serial.wait_more(3)
    run(p, "snapshot-revert", name="s1", discard=True)
    p.serial.wait_more(3)
    run(p, "snapshot-delete", name="s1")
    p.serial.wait_more(3)


def test_save_as_and_the_revert_are_one_standstill(t):
    p = scene.start(t, ("qcow2", "raw"), options=["--log-level", "info"])
    run(p, "snapshot-create", name="s1")
    p.serial.wait_more(3)
    run(p, "snapshot-revert", name="s1", save_as="s2")


def test_without_one_the_answer_says_nothing_of_it(t):
    p = scene.start(t)
    none(p, "snapshot-create", name="live", memory="none")
    none(p, "snapshot-create", name="dry", dry_run=True)
    p.command("snapshot-create", {"name": "s1"}, timeout=30)
    none(p, "snapshot-revert", name="s1", discard=True, dry_run=True)
    none(p, "snapshot-revert", name="s1", discard=True, state="paused")     # it does not go on
    none(p, "snapshot-create", name="s2")
    none(p, "snapshot-revert", name="s1", discard=True, state="running")    # nobody was stopped
    p.command("stop")
    none(p, "snapshot-delete", name="s2")
    none(p, "snapshot-delete", name="s1")


if __name__ == "__main__":
    sys.exit(harness.run([test for name, test in list(globals().items())
                          if name.startswith("test_")]))
