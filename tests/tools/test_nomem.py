#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Each allocation of the unit-tested parts fails, alone or with all that follow: the program says that
there is no memory, and ends by that; or it did not matter, and every assertion holds all the same.
What must not be: a crash, a wrong result, a hang.

SAMPLES (default 150) allocations of each unit test are tried, evenly spread, or all where it has no more.
Those that work with files and the event loop are run anew for each, and so fewer.
"""

import os
import signal
import subprocess
import sys
from concurrent import futures
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "lib"))

import harness  # pylint: disable=wrong-import-position
import nomem    # pylint: disable=wrong-import-position

BUILD = Path(os.environ.get("QMP_PROXY_BIN", "qmp-proxy")).resolve().parent
TOP = Path(__file__).resolve().parent.parent.parent
SAMPLES = int(os.environ.get("SAMPLES", "150"))
FULL = SAMPLES > 1000

# They change nothing but their own memory: tried in children that are forked at the allocation.
PURE = """address args args_corpus args_disks args_rewrite config config_args err expect fdnames fit fitting
framer graph merge_record merge_sizes message observe observe_jobs planner planner_config planner_delete
planner_images planner_inplace planner_refused planner_replace planner_revert planner_side planner_start
pretty qemuopts request schema settings splice state""".split()
# Such, but a run takes seconds.
LONG = "graph_refused planner_merge planner_merge_refused planner_recover planner_walk subtree".split()
# How many runs of those that have to be run anew, of some tenths of a second each.
AGAIN = {"durable": 10, "runner_progress": 15, "store": 25}
running = set()         # processes
AGAIN_FULL = {"durable": 1000, "runner": 150, "runner_main": 150, "runner_progress": 1000, "store": 1000}


def program(name):
    path = BUILD / "tests" / "unit" / f"test_{name}"
    harness.requires(path.exists(), f"{path} is not built")
    return path


def memory(t, name):
    return nomem.Memory(t, f"test_{name}", spares="libcmocka", name=name)


def run(t, name, environment):
    """Runs a unit test."""
    folder = t.path(f"tmp-{name}")
    folder.mkdir(exist_ok=True)
    with subprocess.Popen([program(name)], cwd=BUILD, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, errors="replace", start_new_session=True,
                          env={**os.environ, **environment, "srcdir": str(TOP),
                               "TMPDIR": str(folder)}) as process:
        running.add(process)
        out, err = process.communicate()
    running.discard(process)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def end(pool):
    """Nothing of the sweep goes on, wherever it was broken off."""
    pool.shutdown(wait=False, cancel_futures=True)
    for process in list(running):
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    pool.shutdown()


def counted(t, name):
    """(Memory, how many allocations a run has)."""
    has = memory(t, name)
    done = run(t, name, has.env)
    harness.equal(done.returncode, 0, f"exit status of {name} with memory: {done.stderr}")
    return has, has.count()


def forked(t, name, on):
    """(tried, survived, [what was wrong])."""
    has, count = counted(t, name)
    # An odd step, as allocations come in pairs.
    has.arm_every(count // SAMPLES | 1, on)
    done = run(t, name, has.env)
    tried, survived, bad = has.children()
    if done.returncode != 0:
        bad.append(f"the test itself failed: {done.stdout[-500:]} {done.stderr[-500:]}")
    return tried, survived, [f"{name}: {line}" for line in bad]


def again(t, name, on):
    """The same, run anew for each."""
    has, count = counted(t, name)
    most = min(count, (AGAIN_FULL if FULL else AGAIN)[name])
    survived, bad = 0, []
    for i in range(most):
        nth = i * count // most + 1
        has.arm(nth, on)
        done = run(t, name, has.env)
        survived += done.returncode == 0
        if done.returncode not in (0, -6) or done.returncode and nomem.MESSAGE not in done.stderr:
            bad.append(f"{name}: {nth} status {done.returncode} {done.stderr[-500:]}")
    return most, survived, bad


def sweep(t, function, names):
    nomem.possible(program(names[0]))
    nomem.library(t)
    tried = survived = 0
    bad = []
    pool = futures.ThreadPoolExecutor(os.cpu_count())
    t.cleanup(lambda: end(pool))
    for on in (False, True):
        for one, well, wrong in pool.map(lambda name, on=on: function(t, name, on), names):
            tried, survived, bad = tried + one, survived + well, bad + wrong
    t.note(f"{tried} allocations failed in {len(names)} unit tests, {survived} of them did not matter")
    harness.equal(bad[:20], [], f"{len(bad)} ends that are wrong")
    assert tried > survived, "no allocation that failed mattered"


def test_each_allocation_fails_in_what_changes_only_memory(t):
    sweep(t, forked, PURE + LONG if FULL else PURE)


def test_each_allocation_fails_in_what_works_with_files_and_the_loop(t):
    sweep(t, again, list(AGAIN_FULL if FULL else AGAIN))


for test in (test_each_allocation_fails_in_what_changes_only_memory,
             test_each_allocation_fails_in_what_works_with_files_and_the_loop):
    test.timeout = 20000 if FULL else 300

if __name__ == "__main__":
    sys.exit(harness.run([test_each_allocation_fails_in_what_changes_only_memory,
                          test_each_allocation_fails_in_what_works_with_files_and_the_loop]))
