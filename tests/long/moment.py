# SPDX-License-Identifier: GPL-2.0-or-later
"""moment: stops a process at an exact place of its run, or by time where strace cannot be had.

Model: a run of an operation is the row of system calls that its threads make, taken by watch().
A Moment is a place in that row: "the third fsync of thread 1".  stop() arms strace there; the
process then gets SIGSTOP behind that very call and stands still, all threads of it, until it is
killed or continued.  The counter of `when=` is strace's own, one for each thread and call name.

Rules: only calls that change something or begin a wait are places; between two of them nothing can
be seen from outside.  Threads are numbered in the order of their ids; children are not followed.
"""

import os
import re
import shutil
import signal
import subprocess
import time

import harness

# A leading ? lets strace pass over a name that this architecture does not have.
CALLS = ("write pwrite64 writev sendmsg sendto fsync fdatasync sync_file_range openat rename "
         "renameat renameat2 unlink unlinkat linkat mkdirat ftruncate fallocate kill "
         "pidfd_send_signal clone clone3 vfork fork wait4 waitid connect bind listen accept4 "
         "epoll_wait").split()
LINE = re.compile(r"^(\d+) +(?:[\d.]+ +)?(\w+)\(", re.M)
STOPPED = "--- stopped by SIGSTOP ---"


def threads(pid):
    return sorted(int(tid) for tid in os.listdir(f"/proc/{pid}/task"))


class Strace:
    """strace on some threads; log is what it wrote."""

    def __init__(self, folder, tids, *options):
        self.log, self.noise = folder / "strace.log", folder / "strace.err"
        args = ["strace", "-o", str(self.log), *options]
        for tid in tids:
            args += ["-p", str(tid)]
        self.log.write_text("")
        with open(self.noise, "wb") as noise:
            self.process = subprocess.Popen(args, stdin=subprocess.DEVNULL, stderr=noise)
        self.wanted = len(tids)

    def attached(self):
        """Waits until it watches all threads; false when it is not allowed to."""
        def settled():
            done = self.noise.read_text().count(" attached") >= self.wanted
            return done or self.process.poll() is not None
        harness.poll(settled, 10, "strace to attach")
        return self.process.poll() is None

    def text(self):
        return self.log.read_text(errors="replace")

    def end(self):
        """Lets go of the threads."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def usable():
    return shutil.which("strace") is not None


def watch(folder, pid, action):
    """The places of a run: [(thread, call, nth)], and the milliseconds that action() took.  Without
    strace the places are None."""
    trace, tids, places = None, threads(pid), None
    if usable():
        trace = Strace(folder, tids, "-e", "trace=" + ",".join("?" + name for name in CALLS))
        if not trace.attached():
            trace.end()
            trace = None
    started = time.monotonic()
    action()
    milliseconds = (time.monotonic() - started) * 1000
    if trace:
        trace.end()
        places, seen = [], {}
        # With one thread strace leaves the column of ids out, which two never do.
        for tid, call in LINE.findall(trace.text()):
            key = (tids.index(int(tid)), call)
            seen[key] = seen.get(key, 0) + 1
            places.append((*key, seen[key]))
    return places, milliseconds


class Moment:
    """A place as a fraction (0 to 1) of a watched run."""

    def __init__(self, run, fraction):
        places, milliseconds = run
        self.after = milliseconds * fraction / 1000
        self.place = places[int(fraction * len(places))] if places else None
        self.trace = None

    def __str__(self):
        if self.place is None:
            return f"{self.after * 1000:.0f} ms"
        return "thread {}, {} number {}".format(*self.place)

    def option(self):
        return "--at {}:{}:{}".format(*self.place) if self.place else ""

    def arm(self, folder, pid):
        """Before the operation begins."""
        if self.place is None:
            return
        thread, call, nth = self.place
        self.trace = Strace(folder, [threads(pid)[thread]], "-e", f"trace={call}",
                            "-e", f"inject={call}:signal=STOP:when={nth}")
        assert self.trace.attached(), f"strace: {self.trace.noise.read_text()}"

    def wait(self, pid, over):
        """Behind its beginning: true when the process stands still, false when over() said first
        that the operation is."""
        if self.trace is None:
            time.sleep(self.after)          # the moment itself: there is nothing to wait for
            if over():
                return False
            os.kill(pid, signal.SIGSTOP)
            return True
        stopped = []

        def either():
            stopped[:] = [STOPPED in self.trace.text()]
            return stopped[0] or over()
        harness.poll(either, 60, f"{self}, or the end", 0.002)
        if not stopped[0]:
            # It may have come in between.
            stopped[:] = [STOPPED in self.trace.text()]
        return stopped[0]

    def end(self):
        if self.trace:
            self.trace.end()
            self.trace = None
