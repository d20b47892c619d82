#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The plug is pulled at every system call of every operation that changes something.

Each operation is run once with nothing in its way; every call of it that changes something (moment.py) is a
place, and each place makes points: one for each kind of death (plug_scene.py), a hot one before and one behind
the call, the others behind it.  A point is a guest of its own.  What must be true afterwards is in plug_checks.py.

    kill_sweep.py [--points N] [--seed S] [--kinds hot,cold,...] [--only WORD] [--jobs N] [--quick] [--list]
    kill_sweep.py --at POINT

--points N: an even choice of N points of each kind, shifted by the seed (default: all).  --only WORD: of
operations with WORD in their names.  tests/qemu/test_plug.py tries a few of them.
A failure prints the options that repeat it.  At the end it prints how many points of each kind were killed, how
many places they were, and how long recoveries took; a point at which the operation was over is skipped.
"""

import argparse
import os
import random
import statistics
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "qemu"), str(HERE.parent / "lib")]

# pylint: disable=wrong-import-position
import moment
import parallel
import plug_checks
import plug_scene
from plug_scene import KINDS, OPERATIONS
from scene import harness, oracle, vm

TIMEOUT = 150


# --- which points there are

def watch(runner, operation):
    """A test: the run of an operation that nothing breaks, handed back as its places."""
    def function(t):
        s = plug_scene.Scene(t, operation)
        places = moment.watch(t.dir, s.p.process.pid, s.command)
        assert len(places) > 10, f"only {places}"
        runner.result(function.__name__, places)
        s.p.stop()
    function.__name__, function.timeout = f"test_watch_{operation}", TIMEOUT
    return function


def watched(runner, names):
    """{operation: its places}, of those that could be watched."""
    tests = [watch(runner, name) for name in names]
    runner.run(tests)
    return {name: [moment.Place(*place) for place in runner.results[function.__name__]]
            for name, function in zip(names, tests) if function.__name__ in runner.results}


def second_lives(places):
    """The places between the first word to a second QEMU and its being the VM."""
    begun = [number for number, place in enumerate(places) if place.what == "qmp_capabilities"]
    ended = [number for number, place in enumerate(places) if "qemu.next.sock to" in place.what]
    return places[begun[0]:ended[0]] if begun and ended else []


def points_of(operation, kind, places):
    """All that there are."""
    if kind.startswith("second"):
        places = second_lives(places)
    if kind == "second-stopped":    # behind the end of the first it is the VM, and stands as long as it stands
        places = [place for place in places if place.what != "signal"]
    sides = moment.SIDES if kind == "hot" else moment.SIDES[1:]
    return [plug_scene.Point(operation, kind, place, side) for place in places for side in sides
            if kind != "hot" or side == "before" or place.call not in moment.FORKS]


def even(points, number, rng):
    """number of them, evenly spread."""
    if number is None or number >= len(points):
        return points
    step = len(points) / number
    return [points[int(step * (at + rng.random()))] for at in range(number)]


def choose(options, rows):
    """The points to try, of all operations and kinds."""
    found = []
    for kind in options.kinds:
        every = [point for operation, places in rows.items() if kind in plug_scene.kinds_of(operation)
                 for point in points_of(operation, kind, places)]
        found += even(every, options.points, random.Random(f"{options.seed} {kind}"))
    return found


# --- one of them

def test(runner, number, point, quick=False):
    def function(t):
        s = plug_scene.Scene(t, point.operation, point.kind)
        try:
            hit = plug_scene.strike(s, point)
            took = plug_checks.look(s, point, number if quick else None)
        except harness.Skip:
            raise
        except Exception:
            t.note(f"QEMU {'.'.join(map(str, vm.qemu_version()))}, {point.place.what}; again: "
                   f"kill_sweep.py --at {plug_scene.option(point)}")
            raise
        runner.result(function.__name__, {
            "kind": point.kind, "recovery": took, "at": plug_scene.option(point),
            "ended": getattr(s, "took", None), "place": hit and [point.operation, *hit]})
    function.__name__ = f"test_{point.kind}_{number:04}_{point.operation}"
    function.timeout = TIMEOUT
    return function


# --- what is printed

def spread(what, values, unit):
    """values: [(number, at)]"""
    if values:
        most, at = max(values)
        middle = statistics.median(value for value, _ in values)
        print(f"# {what}: median {middle:.0f} {unit}, most {most:.0f} {unit}, at {at}")


def summary(kinds, results, rows):
    done = [result for result in results.values() if isinstance(result, dict)]
    numbers = ", ".join(f"{kind} {sum(result['kind'] == kind for result in done)}"
                        for kind in kinds)
    print(f"# points: {numbers}")
    places = {tuple(result["place"]) for result in done if result["place"]}
    total = sum(len(places) for places in rows.values())
    beside = sum(not result["place"] for result in done)
    print(f"# places: {len(places)} different, of {total} seen; {beside} points fell on a call that changes "
          "nothing")
    spread("recovery", [(result["recovery"], result["at"]) for result in done if result["recovery"]], "ms")
    spread("end without the second", [(result["ended"] * 1000, result["at"]) for result in done
                                      if result["ended"]], "ms")


def show(options, rows):
    for operation, places in rows.items():
        numbers = ", ".join(f"{kind} {len(points_of(operation, kind, places))}" for kind in options.kinds
                            if kind in plug_scene.kinds_of(operation))
        print(f"# {operation}: {len(places)} places, {numbers}")
    for kind in options.kinds:
        number = sum(len(points_of(operation, kind, places)) for operation, places in rows.items()
                     if kind in plug_scene.kinds_of(operation))
        print(f"# {kind}: {number} points")


def arguments(argv):
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, help="of each kind (default: all)")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--kinds", default=",".join(KINDS))
    parser.add_argument("--only", default="", help="operations with this in their names")
    parser.add_argument("--jobs", type=int, default=2 * (os.cpu_count() or 1))
    parser.add_argument("--list", action="store_true", help="only how many points there are")
    parser.add_argument("--quick", action="store_true", help="reverts to one of the old snapshots, not to all")
    parser.add_argument("--at", type=plug_scene.parse, help="this point alone, as a failure prints it")
    options = parser.parse_args(argv)
    options.kinds = options.kinds.split(",")
    for kind in options.kinds:
        if kind not in KINDS:
            parser.error(f"no such kind: {kind}")
    return options


def main(argv=None):
    options = arguments(argv)
    if not moment.usable():
        print("1..0 # SKIP no strace")
        return 0
    oracle.boot_image()
    runner = parallel.Runner(options.jobs)
    if options.at:
        runner.run([test(runner, 0, options.at, options.quick)])
        summary([options.at.kind], runner.results, {})
        return runner.finish()
    rows = watched(runner, [name for name in OPERATIONS if options.only in name])
    if options.list:
        show(options, rows)
    else:
        runner.run([test(runner, number, point, options.quick)
                    for number, point in enumerate(choose(options, rows))])
        summary(options.kinds, runner.results, rows)
    return runner.finish()


if __name__ == "__main__":
    sys.exit(main())
