# SPDX-License-Identifier: GPL-2.0-or-later
"""moment: the places of a process's run at which something outside it changes, and a blow at one.

Model: watch() takes the row of system calls of one run, of all threads, with strace.  A Place is one of
them that changes something: a file, a folder, a process, a socket's name, or what QEMU was told.  A
Blow is armed at a place and a side of it: "before", where the process is killed as it enters the call, which
then is not done; "behind", where it gets SIGSTOP as the call is done and stands still, with all threads,
until it is killed or continued.

Rules: a place is named THREAD:CALL:NTH.  Threads are numbered in the order of their ids and children are
not followed; NTH is strace's own counter, of the calls of that name of that thread.  How often a run asks QEMU
is never quite the same, so a blow may fall on a neighbour of its place: what it fell on is what hit() says.
A fork that finds a signal waiting begins again when that is handled, so there is no "behind" it; what the
process does next with its child is a place of its own.
"""

import collections
import os
import re
import shutil
import subprocess

import harness

# A leading ? lets strace pass over a name that this architecture does not have.
CALLS = ("write pwrite64 writev pwritev pwritev2 sendmsg sendto fsync fdatasync sync_file_range openat "
         "rename renameat renameat2 unlink unlinkat link linkat symlinkat mkdir mkdirat ftruncate "
         "fallocate fchmod fchown utimensat copy_file_range kill pidfd_send_signal clone clone3 "
         "vfork fork wait4 pidfd_open bind").split()
SIDES = ("before", "behind")
FORKS = ("clone", "clone3", "vfork", "fork")
LINE = re.compile(r"^(?:(\d+) +)?(\w+)\((.*)$", re.M)
COMMAND = re.compile(r'\{\\"execute\\":\\"([\w-]+)')
PATH = re.compile(r'"([^"]*)"')
TARGET = re.compile(r"^(\d+)<(.*?)>[,) ]")
ASKS = re.compile(r"query-|qom-list|qom-get|x-debug-query")
STOPPED = "--- stopped by SIGSTOP ---"
KILLED = "+++ killed by SIGKILL +++"

Place = collections.namedtuple("Place", "thread call nth what")


def usable():
    return shutil.which("strace") is not None


def threads(pid):
    return sorted(int(tid) for tid in os.listdir(f"/proc/{pid}/task"))


def name_of(path):
    return path.rsplit("/", 1)[-1]


def changes(call, rest):
    """What the call changes, in a word or two; None: nothing.  rest: its line behind the "("."""
    if re.search(r"\) += -1 E", rest):
        return None
    target = TARGET.match(rest)
    if call in ("write", "pwrite64", "writev", "pwritev", "pwritev2", "sendmsg", "sendto"):
        told = COMMAND.search(rest)
        if told and not ASKS.match(told[1]):
            return told[1]
        # The log, and what wakes a thread, change nothing.
        return name_of(target[2]) if target and target[2][0] == "/" and int(target[1]) > 2 else None
    if call == "openat":
        return name_of(PATH.search(rest)[1]) if "O_CREAT" in rest else None
    if call in ("kill", "pidfd_send_signal"):
        return "signal" if "SIGKILL" in rest or "SIGTERM" in rest else None
    if call in FORKS:
        return "process" if "CLONE_THREAD" not in rest else None
    if call in ("wait4", "pidfd_open"):     # what has been forked runs by then, or has ended
        return "process" if "WNOHANG" not in rest else None
    paths = PATH.findall(rest)
    if paths:
        return " to ".join(name_of(path) for path in paths)
    return name_of(target[2]) if target else ""


class Strace:
    """strace on some threads; log is what it wrote."""

    def __init__(self, folder, tids, *options):
        self.log, self.noise = folder / "strace.log", folder / "strace.err"
        args = ["strace", "-o", str(self.log), "-y", "-s", "64", *options]
        for tid in tids:
            args += ["-p", str(tid)]
        self.log.write_text("")
        with open(self.noise, "wb") as noise:
            self.process = subprocess.Popen(args, stdin=subprocess.DEVNULL, stderr=noise)
        self.wanted = len(tids)

    def attach(self):
        """Waits until it watches all threads; raises Skip where it is not allowed to."""
        def settled():
            done = self.noise.read_text().count(" attached") >= self.wanted
            return done or self.process.poll() is not None
        harness.poll(settled, 10, "strace to attach")
        if self.process.poll() is not None:
            raise harness.Skip(f"strace: {self.noise.read_text().strip()}")

    def text(self):
        return self.log.read_text(errors="replace")

    def end(self):
        """Lets go of the threads, and leaves no file."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for path in (self.log, self.noise):
            path.unlink(missing_ok=True)


def row(text, number):
    """The places that a log of strace shows.  number: {thread id: number}; None: the id is not shown."""
    places, seen = [], {}
    for tid, call, rest in LINE.findall(text):
        key = (number.get(int(tid) if tid else None), call)
        seen[key] = seen.get(key, 0) + 1
        what = changes(call, rest)
        if what is not None:
            places.append(Place(*key, seen[key], what))
    return places


def watch(folder, pid, action):
    """The places of the run that action() brings about."""
    tids = threads(pid)
    trace = Strace(folder, tids, "-e", "trace=" + ",".join("?" + name for name in CALLS))
    try:
        trace.attach()
        action()
        return row(trace.text(), {tid: number for number, tid in enumerate(tids)})
    finally:
        trace.end()


class Blow:
    """At a Place, on one side of it, of a process that comes there."""

    def __init__(self, place, side):
        self.place, self.side = place, side
        self.trace = self.text = None

    def __str__(self):
        return f"{self.side} {self.place.call} {self.place.nth} of thread {self.place.thread}"

    def arm(self, folder, pid):
        """Before the operation begins."""
        thread, call, nth = self.place[:3]
        signal = "KILL" if self.side == "before" else "STOP"
        self.trace = Strace(folder, [threads(pid)[thread]], "-e", f"trace={call}",
                            "-e", f"inject={call}:signal={signal}:when={nth}")
        self.trace.attach()

    def fallen(self):
        self.text = self.trace.text()
        return (KILLED if self.side == "before" else STOPPED) in self.text

    def wait(self, over):
        """Behind its beginning: true when the blow has fallen, false when over() said first that
        the operation is."""
        fallen = harness.poll(lambda: self.fallen() or (over() and "over"), 60, f"{self}, or the end", 0.002)
        return fallen is True or self.fallen()      # it may have come in between

    def hit(self):
        """The Place that it fell on; None: a call that changes nothing."""
        lines = self.text.splitlines()
        calls = [at for at, line in enumerate(lines) if LINE.match(line)]
        places = row("\n".join(lines[:calls[-1] + 1]), {None: self.place.thread})
        return places[-1] if places and places[-1].nth == self.place.nth else None

    def end(self):
        if self.trace:
            self.trace.end()
            self.trace = None
