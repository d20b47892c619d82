# SPDX-License-Identifier: GPL-2.0-or-later
"""harness: runs test functions, prints TAP, and makes sure that nothing outlives a test.

Model: a test is a function of one argument, the Test: its temporary folder, its clean-up, the logs
to show when it fails.  Its name says a behaviour; its result is that it returns (ok), raises Skip
(ok # SKIP), or raises anything else (not ok).

Rules: wait with poll(), never sleep for a condition; every process a test starts inherits a marker
in its environment, and one that is still there at the end is killed and fails the test.

A test file ends with:

    if __name__ == "__main__":
        sys.exit(harness.run([test_one, test_two]))

Environment: ONLY=WORD runs the tests with WORD in their name; QMP_PROXY_KEEP=1 keeps the folders
of failed tests; QMP_PROXY_SLOW=N multiplies all time limits (valgrind, a loaded machine); BRIEF=1: the longest
tests take a smaller sample; SAMPLE=N: of a file with more than three tests one in N is run, chosen by their
names (both for CI's second version of QEMU).
"""

import os
import re
import shutil
import signal
import sys
import tempfile
import time
import traceback
import uuid
import zlib
from pathlib import Path

MARKER = "QMP_PROXY_TEST_MARKER"
SLOW = float(os.environ.get("QMP_PROXY_SLOW", "1"))
BRIEF = bool(os.environ.get("BRIEF"))
SAMPLE = int(os.environ.get("SAMPLE", "1"))
LOG_LINES = 150
# What a sanitizer or valgrind writes to a log, which fails the test whatever else it found.
REPORTS = re.compile(r"ERROR: \w+Sanitizer|runtime error: |^==\d+== +(?:Invalid|definitely)", re.M)


class Skip(Exception):
    """The test cannot run here; the text says why."""


class TestTimeout(Exception):
    """The whole test took longer than it may."""


class Test:
    """What a test function is given."""

    def __init__(self, name):
        self.name = name
        # Short on purpose: the path of a unix socket has at most 107 bytes.
        self.dir = Path(tempfile.mkdtemp(prefix="qp-"))
        self.marker = uuid.uuid4().hex
        self.logs = []
        self._cleanups = []

    def path(self, name):
        return self.dir / name

    def log(self, path):
        """Shows the end of this file when the test fails."""
        if path not in self.logs:
            self.logs.append(path)

    def cleanup(self, function):
        """Calls function() at the end of the test, the last given first."""
        self._cleanups.append(function)

    def note(self, text):
        print("# " + str(text).replace("\n", "\n# "), flush=True)

    def _finish(self):
        """Runs the clean-up; the errors found in it."""
        errors = []
        while self._cleanups:
            try:
                self._cleanups.pop()()
            except Exception as error:  # pylint: disable=broad-except
                errors.append(f"clean-up: {type(error).__name__}: {error}")
        for path in self.logs:
            if Path(path).is_file() and REPORTS.search(Path(path).read_text(errors="replace")):
                errors.append(f"memory error reported in {path}")
        try:
            # A process that was told to end a moment ago may need that moment.
            poll(lambda: not marked_processes(self.marker), 2, "processes to end")
        except AssertionError:
            for pid, command in marked_processes(self.marker).items():
                errors.append(f"process left running: {pid} {command}")
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        return errors


def poll(condition, timeout, what, step=0.01):
    """Calls condition() until it gives something true, which is returned."""
    end = time.monotonic() + timeout * SLOW
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {timeout * SLOW:g} s for {what}")
        time.sleep(step)


def requires(condition, why):
    if not condition:
        raise Skip(why)


def equal(got, want, what="value"):
    if got != want:
        raise AssertionError(f"{what}: got {got!r}, expected {want!r}")


def process_marked(pid, marker):
    """Whether pid is a living process that inherited the marker."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            return f"{MARKER}={marker}".encode() in file.read().split(b"\0")
    except OSError:
        return False


def marked_processes(marker):
    """{pid: command line} of everything started under the marker.  Zombies have no environment."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid() and process_marked(entry, marker):
            try:
                with open(f"/proc/{entry}/cmdline", "rb") as file:
                    found[int(entry)] = file.read().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                pass
    return found


def _show_log(test, path):
    try:
        lines = Path(path).read_text(errors="replace").splitlines()
    except OSError as error:
        test.note(f"--- {path}: {error.strerror}")
        return
    test.note(f"--- {path} ({len(lines)} lines, the last {min(len(lines), LOG_LINES)})")
    for line in lines[-LOG_LINES:]:
        test.note("  " + line)


def _alarm(_signal, _frame):
    raise TestTimeout("the test as a whole took too long")


def _call(function, test, timeout):
    """Calls the test and its clean-up, each with a time limit: (errors, reason to skip or None)."""
    errors, skip = [], None
    signal.signal(signal.SIGALRM, _alarm)
    signal.setitimer(signal.ITIMER_REAL, timeout * SLOW)
    try:
        function(test)
    except Skip as reason:
        skip = str(reason)
    except Exception:   # pylint: disable=broad-except
        errors.append(traceback.format_exc())
    finally:            # also when the program is told to end
        signal.setitimer(signal.ITIMER_REAL, 60 * SLOW)
        try:
            errors += test._finish()
        except TestTimeout as error:
            errors.append(f"clean-up: {error}")
        signal.setitimer(signal.ITIMER_REAL, 0)
    return errors, skip


def run_one(function, timeout):
    """Runs one test: (ok, text behind the name)."""
    test = Test(function.__name__)
    os.environ[MARKER] = test.marker
    errors, skip, keep = [], None, False
    try:
        errors, skip = _call(function, test, timeout)
        for error in errors:
            test.note(error.rstrip())
        for path in test.logs if errors else ():
            _show_log(test, path)
        keep = errors and os.environ.get("QMP_PROXY_KEEP")
    finally:
        os.environ.pop(MARKER, None)
        if keep:
            test.note(f"kept: {test.dir}")
        else:
            shutil.rmtree(test.dir, ignore_errors=True)
    return not errors, f" # SKIP {skip}" if skip is not None and not errors else ""


def _sample(tests):
    """One in SAMPLE of them, the same ones each time."""
    if len(tests) < 4:
        return tests
    ordered = sorted(tests, key=lambda test: zlib.crc32(test.__name__.encode()))
    chosen = ordered[::SAMPLE]
    return [test for test in tests if test in chosen]


def run(tests, timeout=120):
    """Runs the test functions, prints TAP; the exit code of the test file."""
    word = os.environ.get("ONLY", "")
    tests = _sample([test for test in tests if word in test.__name__])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))
    print(f"1..{len(tests)}" if tests else f"Bail out! no test with {word!r} in its name", flush=True)
    failed = 0
    for number, function in enumerate(tests, 1):
        started = time.monotonic()
        ok, suffix = run_one(function, getattr(function, "timeout", timeout))
        failed += not ok
        name = function.__name__.removeprefix("test_").replace("_", " ")
        print(f"# {name}: {time.monotonic() - started:.2f} s")
        print(f"{'ok' if ok else 'not ok'} {number} - {name}{suffix}", flush=True)
    return 1 if failed or not tests else 0
