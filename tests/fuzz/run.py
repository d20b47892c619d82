#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Builds the libFuzzer targets and runs them, several at a time; prints TAP.

Model: each target runs in parts, on one corpus: a fast build (-O2) does most of the executions, one
with AddressSanitizer and UBSan does a share of them and the long inputs.  The corpus starts as
corpus.py expands it.

run.py --runs N: so many executions in all; the last test is whether it was as many.
run.py --seconds N: so long in all, with the sanitizers only.

A finding fails its target; its input is printed as base64, and again with: TARGET-BUILD FILE.
Lines "# executions ..." say how many there were.
"""

import argparse
import base64
import concurrent.futures
import math
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import corpus

TOP = Path(__file__).resolve().parent.parent.parent
COMMON = ["-g", "-std=gnu11", "-D_GNU_SOURCE"]
BUILDS = {
    "fast": ["-O2", "-fsanitize=fuzzer"],
    "sanitizer": ["-O1", "-fno-omit-frame-pointer", "-fsanitize=fuzzer,address,undefined",
                  "-fno-sanitize-recover=all"],
}
# Target, build, longest input, thousandths of all executions.  They take about as long as one
# another: an input of the framer is a stream of many messages, read twice.
PARTS = [
    ("framer", "fast", 512, 60), ("framer", "sanitizer", 512, 10), ("framer", "sanitizer", 8192, 1),
    ("request", "fast", 512, 270), ("request", "sanitizer", 512, 60),
    ("request", "sanitizer", 8192, 5),
    ("reply", "fast", 512, 340), ("reply", "sanitizer", 512, 80), ("reply", "sanitizer", 8192, 10),
    ("schema", "fast", 512, 130), ("schema", "sanitizer", 1024, 34),
]
LINE_MAX = 320      # of what is printed of an input; check-long cuts longer ones
# The stacks of allocations cost more than all that is tested.
ENVIRONMENT = dict(os.environ, ASAN_OPTIONS="malloc_context_size=2:quarantine_size_mb=16",
                   UBSAN_OPTIONS="print_stacktrace=1")


class Runner:
    """The processes that run, so that none outlives this one, and their results."""

    def __init__(self, work):
        self.work = work
        self.lock = threading.RLock()
        self.processes = set()
        self.ended = False

    def call(self, command, log, cwd=None):
        """Runs a command with its output in a file; its exit status."""
        with open(log, "wb") as out:
            with self.lock:
                if self.ended:
                    return -1
                process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out,
                                           stderr=subprocess.STDOUT, cwd=cwd, env=ENVIRONMENT)
                self.processes.add(process)
            status = process.wait()
            with self.lock:
                self.processes.discard(process)
        return status

    def end(self, *_):
        """Ends all of them; also on a signal, after which the report says what is missing."""
        with self.lock:
            self.ended = True
            for process in self.processes:
                process.terminate()

    def build(self, name):
        """Compiles what all targets share, then each target."""
        folder = self.work / name
        folder.mkdir()
        compiler = [os.environ.get("CLANG", "clang"), *COMMON, *BUILDS[name], f"-I{TOP}"]
        jansson = shlex.split(subprocess.run(["pkg-config", "--cflags", "--libs", "jansson"],
                                             capture_output=True, text=True, check=True).stdout)
        shared = [TOP / "tests/fuzz/fuzz.c", *sorted((TOP / "qmp").glob("*.c"))]
        commands = [[*compiler, "-c", *shared]]
        commands += [[*compiler, "-o", f"fuzz_{target}", TOP / f"tests/fuzz/fuzz_{target}.c",
                      *[f"{source.stem}.o" for source in shared], *jansson]
                     for target in corpus.TARGETS]
        for command in commands:
            log = folder / "build.log"
            if self.call(list(map(str, command)), log, cwd=folder) != 0:
                return log.read_text(errors="replace")
        return ""

    def part(self, number, limit):
        """Runs one of PARTS until a limit, a list of options; (target, status, executions, log)."""
        target, build, longest, _ = PARTS[number]
        log = self.work / f"{number}-{target}-{build}.log"
        status = self.call([
            str(self.work / build / f"fuzz_{target}"), f"-max_len={longest}", "-len_control=20",
            f"-dict={TOP}/tests/fuzz/qmp.dict", f"-seed={SEED + number}", "-timeout=30",
            "-rss_limit_mb=2048", "-print_final_stats=1", *limit,
            f"-artifact_prefix={self.work}/{number}-found-", str(self.work / "corpus" / target),
        ], log)
        text = log.read_text(errors="replace")
        count = re.search(r"^stat::number_of_executed_units: *(\d+)", text, re.M)
        return target, status, int(count.group(1)) if count else 0, text

    def inputs(self, number):
        return [base64.b64encode(path.read_bytes()).decode()
                for path in self.work.glob(f"{number}-found-*")]


def limits(options):
    """{number of a part: options of libFuzzer}: those that run, the longest first."""
    if options.runs:
        return {i: [f"-runs={math.ceil(options.runs * part[3] / 1000)}",
                    f"-max_total_time={options.most}"]
                for i, part in enumerate(PARTS)}
    chosen = [i for i, part in enumerate(PARTS) if part[1] == "sanitizer" and part[2] < 8192]
    rounds = math.ceil(len(chosen) / options.jobs)
    return {i: [f"-max_total_time={max(1, options.seconds // rounds)}"] for i in chosen}


def report(runner, results):
    """One test for each target; prints what was found, returns the total and the failures."""
    total, failed = 0, 0
    for number, target in enumerate(corpus.TARGETS, 1):
        parts = {i: result for i, result in results.items() if result[0] == target}
        counts = {f"{PARTS[i][1]} {PARTS[i][2]}": result[2] for i, result in parts.items()}
        wrong = {i: result for i, result in parts.items() if result[1] != 0}
        reached = max((int(n) for result in parts.values()
                       for n in re.findall(r"\bcov: (\d+)", result[3])), default=0)
        print(f"# executions fuzz_{target}: {sum(counts.values())}"
              f" ({', '.join(f'{name}: {n}' for name, n in counts.items())}), {reached} edges")
        for i, (_, status, _, log) in wrong.items():
            print("#   " + "\n#   ".join(log.splitlines()[-60:]))
            print(f"# part {i} ended with {status}")
            for text in runner.inputs(i):
                for at in range(0, len(text), LINE_MAX):
                    print(f"# input (base64, from {at}) {text[at:at + LINE_MAX]}")
        ok = parts and not wrong and all(counts.values())
        print(f"{'ok' if ok else 'not ok'} {number} - fuzz_{target}", flush=True)
        total += sum(counts.values())
        failed += not ok
    return total, failed


def run(options, runner):
    plan = limits(options)
    print(f"1..{len(corpus.TARGETS) + 1}", flush=True)
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        names = sorted({PARTS[i][1] for i in plan})
        for name, log in zip(names, pool.map(runner.build, names)):
            if log:
                print("# " + "\n# ".join(log.splitlines()) + f"\nBail out! {name} does not build")
                return 1
        for target in corpus.TARGETS:
            folder = runner.work / "corpus" / target
            folder.mkdir(parents=True)
            corpus.expand(target, folder)
        started = time.monotonic()
        done = {i: pool.submit(runner.part, i, limit) for i, limit in plan.items()}
        results = {i: future.result() for i, future in done.items()}
    total, failed = report(runner, results)
    enough = total >= (options.runs or 1)
    print(f"# executions in total: {total} in {time.monotonic() - started:.0f} s")
    print(f"{'ok' if enough else 'not ok'} {len(corpus.TARGETS) + 1} - "
          f"{options.runs or 1} executions in total")
    return 1 if failed or not enough else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, help="executions of all targets together")
    parser.add_argument("--seconds", type=int, default=60, help="without --runs: how long in all")
    parser.add_argument("--most", type=int, default=3600, help="seconds for one part with --runs")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="at a time")
    parser.add_argument("--work", help="folder that stays, with corpora, programs and logs")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="qmp-fuzz-") as temporary:
        if options.work:
            Path(options.work).mkdir(parents=True)
        runner = Runner(Path(options.work or temporary).resolve())
        signal.signal(signal.SIGTERM, runner.end)
        try:
            return run(options, runner)
        finally:
            runner.end()


SEED = int(os.environ.get("SEED", "1"))

if __name__ == "__main__":
    sys.exit(main())
