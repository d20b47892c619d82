#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A full, read-only or broken disk of the host, behind every step of every operation.

Model: a test is an operation and a trouble (tests/qemu/trouble.py, which tells what has to be true), with a
guest of its own; its points are the steps of the operation: 0 is before it, N behind the Nth.

    disk_sweep.py [--list] [--only WORD] [--jobs N] [--steps A-B]

--only: tests with this in their names, as --list prints them; --steps: only these points of each.
"""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "qemu"), str(HERE.parent / "lib")]

# pylint: disable=wrong-import-position
import shares
import trouble
from scene import harness

MOST = 60               # no operation has as many steps
TIMEOUT = 1800


def name_of(operation, kind):
    return f"{operation}_{kind}".replace(" ", "-")


TESTS = {name_of(operation, kind): (operation, kind) for operation in trouble.OPERATIONS
         for kind in trouble.TROUBLES}


def sweep(t, operation, kind, steps):
    guest, points = trouble.Guest(t), 0
    for step in steps:
        try:
            reply = trouble.point(guest, operation, kind, step)
        except trouble.Over as why:
            t.note(f"{operation}, {kind}, {step}: {why}")
            if str(why) == trouble.OVER:
                break
            continue
        except Exception as error:
            raise AssertionError(f"step {step}: {error}; again: disk_sweep.py --only "
                                 f"{name_of(operation, kind)} --steps {step}-{step}") from error
        points += 1
        told = reply["error"]["desc"] if "error" in reply else "done"
        t.note(f"{operation}, {kind}, {step}: {told}")
    t.note(f"points: {points}")
    trouble.finish(guest)


def test(name, steps):
    operation, kind = TESTS[name]

    def function(t):
        sweep(t, operation, kind, steps)
    function.__name__ = "test_" + name
    function.timeout = TIMEOUT
    return function


def main():
    parser = shares.parser(__doc__)
    parser.add_argument("--steps", default=f"0-{MOST}", help="the first and the last point")
    options = parser.parse_args()
    chosen = [name for name in TESTS if options.only in name]
    if options.names:
        chosen = options.names.split(",")
    if not chosen:
        parser.error(f"nothing has {options.only!r} in its name")
    if options.list:
        print("\n".join(chosen))
        return 0
    first, last = map(int, options.steps.split("-"))
    if options.names:
        return harness.run([test(name, range(first, last + 1)) for name in chosen], TIMEOUT)
    return shares.run(__file__, chosen, options, "--steps", options.steps)


if __name__ == "__main__":
    sys.exit(main())
