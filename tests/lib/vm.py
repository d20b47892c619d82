# SPDX-License-Identifier: GPL-2.0-or-later
"""vm: a guest for a test, under qmp-proxy (Proxy, Attached) or plain QEMU (Qemu).

Model: a Guest is a command line, a log, a serial line and the process that was started.  It starts
with start() or `with`, and ends with stop(), which `with` and the end of the test call as well.

Rules: ended by pid, and only what carries the test's marker.  A Proxy that SIGTERM does not end in
time fails the test.

Environment: QEMU, QEMU_IMG (what to test with), QMP_PROXY_BIN, QMP_SNAPSHOT_BIN (default: those in
the build folder), ORACLE_ACCEL (default tcg).
"""

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import harness
import oracle
import qmp

QEMU = os.environ.get("QEMU", "qemu-system-x86_64")
ACCEL = os.environ.get("ORACLE_ACCEL", "tcg")
CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL)
SOURCE = Path(__file__).resolve().parent.parent.parent


def _program(variable, name):
    for candidate in (os.environ.get(variable), Path.cwd() / name, SOURCE / name):
        if candidate and os.access(candidate, os.X_OK):
            return str(Path(candidate).resolve())
    return str(SOURCE / name)


PROXY_BIN = _program("QMP_PROXY_BIN", "qmp-proxy")
SNAPSHOT_BIN = _program("QMP_SNAPSHOT_BIN", "qmp-snapshot")


def qemu_version(program=QEMU):
    """(7, 2, 22) of the QEMU under test."""
    text = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    return tuple(int(n) for n in re.search(r"version (\d+)\.(\d+)\.(\d+)", text).groups())


def state_of(pid):
    """R, S, T, Z ... as ps has it; None: it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return None


def qemu_pair():
    """{version: program} of the oldest and the newest QEMU at hand: the one under test, the installed
    one, and what scripts/qemu10 has unpacked before; one entry when they are of one version."""
    cache = Path(os.environ.get("QMP_PROXY_CACHE") or
                 Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "qmp-proxy")
    programs = {shutil.which(program) for program in
                (QEMU, "qemu-system-x86_64", *cache.glob("qemu10-*/bin/qemu-system-x86_64"))}
    found = {qemu_version(program): program for program in programs if program}
    return {version: found[version] for version in (min(found), max(found))}


def ended(pid):
    """Is it gone?  A zombie is: who inherited it from a killed proxy may never reap it.  But as long as
    it has threads they hold its locks."""
    try:
        return state_of(pid) in (None, "Z") and len(os.listdir(f"/proc/{pid}/task")) == 1
    except OSError:
        return True


class Guest:
    """What Proxy and Qemu share."""

    def __init__(self, test, disks=(), args=(), style="drive", memory="32", name="vm", base=None):
        self.test, self.name, self.disks = test, name, list(disks)
        self.log = test.path(f"{name}.log")
        self.serial = oracle.Serial(test.path(f"{name}.serial"))
        # append: a second QEMU of the same guest must not cut short what the first one wrote.
        self.qemu_args = list(base) if base is not None else [
            "-accel", ACCEL, "-m", memory, "-nodefaults", "-display", "none",
            "-chardev", f"file,id=serial0,path={self.serial.path},append=on",
            "-serial", "chardev:serial0"]
        self.qemu_args += oracle.disk_args(self.disks, style) + [str(arg) for arg in args]
        self.address = f"unix:{test.path(name + '.sock')}"
        self.process = None
        self.qmp = None
        self.clients = []
        self.killed = False     # QEMU was, and may have left clusters that nothing refers to
        test.log(self.log)
        test.log(self.serial.path)

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, *_):
        if kind:
            self._end_hard()
        else:
            self.stop()

    def command_line(self):
        raise NotImplementedError

    def start(self, connect=True, env=None, wait=10, **popen):
        """Starts the process; with connect, waits until its monitor answers."""
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self.command_line(), stdin=popen.pop("stdin", subprocess.DEVNULL),
                stdout=popen.pop("stdout", log), stderr=popen.pop("stderr", log),
                cwd=self.test.dir, env={**os.environ, **(env or {})}, **popen)
        self.test.cleanup(self._end_hard)
        if connect:
            self.qmp = harness.poll(self._try_client, wait, "the monitor to answer")
        return self

    def _try_client(self):
        if self.process.poll() is not None:
            raise AssertionError(f"{self.name} ended with {self.process.returncode} at its start")
        try:
            return self.client()
        except (OSError, qmp.Closed):
            return None

    def client(self, address=None, **options):
        """One more qmp.Client, closed at stop()."""
        client = qmp.Client(address or self.address, **options)
        self.clients.append(client)
        return client

    def command(self, name, args=None, **options):
        return self.qmp.command(name, args, **options)

    def pids(self):
        """The processes of this guest that are alive, the one we started first."""
        return [self.process.pid] if self.process and self.process.poll() is None else []

    def signal(self, number=signal.SIGTERM):
        self.process.send_signal(number)

    def wait(self, timeout=15):
        """Waits for the end; the exit status (negative: ended by that signal)."""
        try:
            return self.process.wait(timeout * harness.SLOW)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not end in {timeout} s") from None

    def stop(self, timeout=15):
        """SIGTERM, a bounded wait; the exit status.  Raises when that does not end it, or when it
        had crashed."""
        self._close_clients()
        if self.process is None:
            return None
        if self.process.poll() is None:
            self.signal()
        try:
            status = self.wait(timeout)
        finally:
            self._end_hard()
        if -status in CRASHES:
            raise AssertionError(f"{self.name} crashed: {signal.Signals(-status).name}")
        return status

    def _close_clients(self):
        while self.clients:
            self.clients.pop().close()
        self.qmp = None

    def end_hard(self):
        """SIGKILL to all of it."""
        self.killed = True
        self._end_hard()

    def _end_hard(self):
        self._close_clients()
        for pid in self.pids():         # the proxy first, so that it starts no other
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if self.process is not None:
            self.process.wait()
            self.process = None


class Qemu(Guest):
    """QEMU itself with a monitor at self.address."""

    def command_line(self):
        path = self.address.removeprefix("unix:")
        return [QEMU, *self.qemu_args, "-qmp", f"unix:{path},server=on,wait=off"]


class Proxy(Guest):
    """qmp-proxy in launch mode.  options go before the "--"; listen=None gives no -l."""

    def __init__(self, test, disks=(), args=(), *, options=(), state=None, listen="", **guest):
        super().__init__(test, disks, args, **guest)
        self.state = Path(state or test.path(f"{self.name}.state"))
        self.options = [str(option) for option in options]
        if listen:
            self.address = listen
        self.listen = None if listen is None else self.address

    def command_line(self):
        listen = ["-l", self.listen] if self.listen else []
        return [PROXY_BIN, *listen, "-n", self.name, "-d", str(self.state), *self.options,
                "--", QEMU, *self.qemu_args]

    def start(self, *args, **kwargs):
        # Not a reason to skip: a test run without the program has tested nothing.
        if not os.access(PROXY_BIN, os.X_OK):
            raise AssertionError(f"{PROXY_BIN} is not built")
        return super().start(*args, **kwargs)

    def qemu_pid(self):
        """The running QEMU's pid, from the state folder; None when there is none."""
        try:
            pid = int((self.state / "qemu.pid").read_text())
        except (OSError, ValueError):
            return None
        return pid if harness.process_marked(pid, self.test.marker) else None

    def pids(self):
        """The proxy, the QEMU of qemu.pid, and whatever else of this guest is alive: a second QEMU
        of a revert that broke off names the same serial line or state folder."""
        pids = super().pids()
        own = (str(self.state) + "/", str(self.serial.path))
        for pid, command in harness.marked_processes(self.test.marker).items():
            if pid == self.qemu_pid() or any(path in command for path in own):
                pids.append(pid)
        return list(dict.fromkeys(pids))

    def all_pids(self):
        """Every process of this test: the proxy, its QEMUs, helpers."""
        return sorted(harness.marked_processes(self.test.marker))

    def kill(self):
        """SIGKILL to the proxy alone: QEMU stays."""
        self._close_clients()
        self.process.kill()
        self.process.wait()

    def kill_qemu(self, wait=True):
        """SIGKILL to QEMU alone; waits until it is gone."""
        self.killed = True
        pid = self.qemu_pid()
        os.kill(pid, signal.SIGKILL)
        if wait:
            harness.poll(lambda: ended(pid), 10, f"QEMU ({pid}) to be gone")

    def fd_count(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def rss_kib(self):
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status).group(1))

    def snapshot(self, *args, timeout=60, check=True):
        """Runs the qmp-snapshot client on this guest; the CompletedProcess."""
        done = subprocess.run([SNAPSHOT_BIN, "-s", self.address, *map(str, args)],
                              capture_output=True, text=True, check=False,
                              timeout=timeout * harness.SLOW, stdin=subprocess.DEVNULL)
        if check and done.returncode:
            raise AssertionError(f"qmp-snapshot {' '.join(map(str, args))}: "
                                 f"exit {done.returncode}: {done.stderr.strip()}")
        return done

    def wait_job(self, ident, timeout=30):
        """Waits until the job has concluded; its query-jobs entry."""
        def concluded():
            jobs = {job["id"]: job for job in self.command("query-jobs")}
            if ident not in jobs:
                raise AssertionError(f"no job {ident} among {list(jobs)}")
            return jobs[ident] if jobs[ident]["status"] == "concluded" else None
        return harness.poll(concluded, timeout, f"job {ident} to conclude")


class Attached(Proxy):
    """qmp-proxy before a QEMU that somebody else started, at the address `foreign`."""

    def __init__(self, test, foreign, **guest):
        super().__init__(test, **guest)
        self.foreign = foreign

    def command_line(self):
        return [PROXY_BIN, *self.options, "-c", self.foreign, "-l", self.address, "-n", self.name,
                "-d", str(self.state)]


def paused(guest):
    """with paused(guest): the guest is stopped, its disks are flushed."""
    class Pause:
        def __enter__(self):
            guest.command("stop")

        def __exit__(self, *_):
            guest.command("cont")
    return Pause()


def timed(function, *args, **kwargs):
    """(result, milliseconds)"""
    start = time.monotonic()
    result = function(*args, **kwargs)
    return result, (time.monotonic() - start) * 1000
