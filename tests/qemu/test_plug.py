#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A few points of tests/long/kill_sweep.py, of all kinds, drawn by SEED; and those at which something was lost once.
(All of them: make check-long.)  A failure prints the options of kill_sweep.py that repeat it."""

import os
import random
import sys
from pathlib import Path

from scene import harness, oracle

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "long"))

# pylint: disable=wrong-import-position
import kill_sweep
import moment
import parallel
from plug_scene import KINDS, OPERATIONS, Point, kinds_of

SEED = os.environ.get("SEED", "1")
POINTS = 5 if harness.BRIEF else 10
NEXT = ".process.next.json.tmp to process.next.json"
JOURNAL = ".journal.json.tmp to journal.json"


def known(rows):
    """A QEMU was on record only after it ran, so that one whose proxy died in between was left behind, or,
    dead, its names in the state folder; a second
    QEMU that stood still behind the commit point took the place of one that ran."""
    for operation, call, what, kind in (("respawn", "pidfd_open", "process", "hot"),
                                        ("respawn", "renameat", NEXT, "hot"),
                                        ("respawn", "renameat", JOURNAL, "second-stopped"),
                                        ("replace", "renameat", JOURNAL, "second-stopped")):
        places = rows.get(operation, [])
        if kind == "second-stopped":
            places = kill_sweep.second_lives(places)
        places = [place for place in places if (place.call, place.what) == (call, what)]
        if places:
            yield Point(operation, kind, places[-1], "behind")


def drawn(rows):
    """Of each kind in turn."""
    rng = random.Random(f"{SEED} points")
    for number in range(POINTS):
        kind = KINDS[number % len(KINDS)]
        operations = [name for name in rows if kind in kinds_of(name)]
        if operations:
            operation = rng.choice(operations)
            yield rng.choice(kill_sweep.points_of(operation, kind, rows[operation]))


def main():
    if not moment.usable():
        print("1..0 # SKIP no strace")
        return 0
    oracle.boot_image()
    runner = parallel.Runner(4)
    others = [name for name in OPERATIONS if name not in ("respawn", "replace")]
    rows = kill_sweep.watched(runner, ["respawn", "replace", *random.Random(SEED).sample(others, 2)])
    points = list(known(rows)) + list(drawn(rows))
    runner.run([kill_sweep.test(runner, number, point, True) for number, point in enumerate(points)])
    kill_sweep.summary(KINDS, runner.results, rows)
    return runner.finish()


if __name__ == "__main__":
    sys.exit(main())
