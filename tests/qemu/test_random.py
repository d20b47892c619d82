#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Random histories of a VM: operations, what clients do beside them, deaths and full disks, with a model
that says after each what must be there (random_vm.py, random_deeds.py).

SEED=N COUNT=N: the first seed (default 1) and how many (default 10; 5 with BRIEF).  OPERATIONS=N: so many
each (default 3; 0: six to twelve, as the seed says, which is what check-long does).  JOBS=N: seeds at a
time (default 4), each in a process of its own.  A failing seed prints how to play it again and what was done; SHOW=1 prints that of all of them."""

import os
import random
import signal
import subprocess
import sys
import threading

import random_deeds
from scene import harness
from traffic import Traffic

SEED = int(os.environ.get("SEED", "1"))
COUNT = int(os.environ.get("COUNT", "5" if harness.BRIEF else "10"))
OPERATIONS = int(os.environ.get("OPERATIONS", "3"))
JOBS = min(int(os.environ.get("JOBS", "4")), COUNT)
TIMEOUT = 180


def make(seed):
    def test(t):
        draw = random.Random(f"{seed} length")
        count = OPERATIONS or draw.randrange(6, 13)
        driver = random_deeds.Deeds(t, seed)
        try:
            with Traffic(driver.p, seed, deaths=True, pace=0.1, habits=("stays", "hangs_up")) as traffic:
                for _ in range(count):
                    driver.step()
                    traffic.check()
            driver.finish()
        except BaseException:
            t.note(f"again: SEED={seed} COUNT=1 OPERATIONS={OPERATIONS} {sys.argv[0]}")
            t.note("\n".join(driver.story))
            raise
        if os.environ.get("SHOW"):
            t.note("\n".join(driver.story))
    test.__name__ = f"test_seed_{seed}"
    test.timeout = TIMEOUT
    return test


def child(seed, children):
    """One seed in a process of its own: (ok, what it printed)"""
    process = subprocess.Popen([sys.executable, sys.argv[0]], stdout=subprocess.PIPE, text=True,
                               stderr=subprocess.STDOUT, env={**os.environ, "SEED": str(seed),
                                                              "COUNT": "1", "JOBS": "1"})
    children.add(process)
    text = process.communicate()[0]
    children.discard(process)
    return process.returncode == 0, text


def report(number, seed, ok, text):
    for line in text.splitlines():
        if line.startswith("#") or not ok:
            print("# " + line.removeprefix("# "))
    skip = " # SKIP" + text.split("# SKIP", 1)[1].splitlines()[0] if "# SKIP" in text else ""
    print(f"{'ok' if ok else 'not ok'} {number} - seed {seed}{skip}", flush=True)


def several():
    """JOBS seeds at a time, reported as one run."""
    seeds, lock, results, children = list(range(SEED, SEED + COUNT)), threading.Lock(), [], set()

    def end(*_):
        seeds.clear()
        for process in list(children):
            process.terminate()         # it ends what it has started
    signal.signal(signal.SIGTERM, end)
    print(f"1..{COUNT}", flush=True)

    def work():
        while seeds:
            with lock:
                seed = seeds.pop(0) if seeds else None
            if seed is None:
                return
            ok, text = child(seed, children)
            with lock:
                results.append(ok)
                report(len(results), seed, ok, text)
    threads = [threading.Thread(target=work) for _ in range(JOBS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return 0 if results == [True] * COUNT else 1


if __name__ == "__main__":
    if JOBS > 1 and not os.environ.get("ONLY"):
        sys.exit(several())
    sys.exit(harness.run([make(seed) for seed in range(SEED, SEED + COUNT)]))
