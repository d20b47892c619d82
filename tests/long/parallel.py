# SPDX-License-Identifier: GPL-2.0-or-later
"""parallel: runs tests of the harness side by side, and prints TAP as they end.

Model: each test is a child process of its own, with its own temporary folder, marker and time limit.
What a test wants to hand back it gives to result(), in the child; the parent has it in results.

Rules: the plan comes at the end, as TAP allows, since more tests may follow from the first ones.  Children
leave by _exit(), so that what the parent clears up at its end is cleared up once.
"""

import atexit
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

import harness


class Runner:
    """Runs tests, jobs at a time.  results: {name of a test: what it handed back}."""

    def __init__(self, jobs):
        self.jobs, self.results = jobs, {}
        self.count = self.failed = 0
        self._folder = Path(tempfile.mkdtemp(prefix="qp-runs-"))
        atexit.register(shutil.rmtree, self._folder, True)
        self._running = {}      # pid -> (test, when it was begun)
        signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))

    def result(self, test, value):
        """In the child: what run() puts into results."""
        (self._folder / f"{test}.json").write_text(json.dumps(value))

    def run(self, tests):
        """Runs them all."""
        waiting = list(reversed(tests))
        try:
            while waiting or self._running:
                while waiting and len(self._running) < self.jobs:
                    self._begin(waiting.pop())
                pid, status = os.wait()
                if pid in self._running:
                    self._ended(*self._running.pop(pid), os.waitstatus_to_exitcode(status))
        finally:                # told to end: so are they, and clear up behind themselves
            for pid in self._running:
                os.kill(pid, signal.SIGTERM)
            while self._running:
                self._running.pop(os.wait()[0], None)

    def _begin(self, test):
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            self._child(test)
        self._running[pid] = (test, time.monotonic())

    def _child(self, test):
        code = 2
        try:
            out = os.open(self._folder / f"{test.__name__}.out", os.O_WRONLY | os.O_CREAT, 0o600)
            os.dup2(out, 1)
            ok, suffix = harness.run_one(test, test.timeout)
            print(f"suffix:{suffix}")
            code = 0 if ok else 1
        except BaseException:   # pylint: disable=broad-except
            traceback.print_exc(file=sys.stdout)
        finally:
            sys.stdout.flush()
            os._exit(code)

    def _ended(self, test, begun, code):
        name, suffix = test.__name__, ""
        out = self._folder / f"{name}.out"
        for line in out.read_text(errors="replace").splitlines():
            if line.startswith("suffix:"):
                suffix = line.removeprefix("suffix:")
            else:
                print(line if line.startswith("#") else f"# {line}")
        out.unlink()
        path = self._folder / f"{name}.json"
        if path.exists():
            self.results[name] = json.loads(path.read_text())
        self.count += 1
        self.failed += code != 0
        title = name.removeprefix("test_").replace("_", " ")
        print(f"# {title}: {time.monotonic() - begun:.2f} s")
        print(f"{'not ok' if code else 'ok'} {self.count} - {title}{suffix}", flush=True)

    def finish(self):
        """Prints the plan; the exit code."""
        print(f"1..{self.count}" if self.count else "Bail out! nothing to run", flush=True)
        return 1 if self.failed or not self.count else 0
