#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A power cut at every call that the proxy makes on files, with everything that it may leave (torn.py).

A session is recorded: creates, reverts of each method, deletes, what clients do, operations that are
taken back, proxies that die and come again.  Then behind each call, for each outcome:

 1. The next proxy can start: state.json and journal.json are whole, and of the versions written (judged
    by the store itself, tests/unit/store_judge.c).
 2. When a step begins, an interruption is settled or a command answered, all that was written to the record
    and the journal before is on the disk: no older version, and no journal that was removed, is found
    from then on.  In between it is the older or the newer one.  So the journal is there before the
    first action and until the end, the commit point before the step behind it, the record before the
    journal goes and before a file goes that the older one names.
 3. What is relied on is there and whole: each image and each saved memory that the record names; and
    that the record of the plan names, when the journal says that the plan is committed; and the
    memory of a guest that the journal says is kept.
 4. Where a record says that an image stands on another one than the record before did, the image was
    fsynced between the end of the job that wrote its header and the record.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import faulty
import hostile
import scene
import torn
from scene import harness, oracle, vm

JUDGE = Path(vm.PROXY_BIN).resolve().parent / "tests" / "unit" / "store_judge"
RECORD, JOURNAL = "state.json", "journal.json"
# Steps behind which a header names another image.
REWRITES = (b"job-finalize", b"job-complete", b"header-rewrite")
FILES = (RECORD, JOURNAL, "process.json", f".{RECORD}.tmp", f".{JOURNAL}.tmp", ".process.json.tmp")


# --- the session

class Session:
    """One guest under a recorder.  state: a folder that the proxy has to make, and those above it."""

    def __init__(self, t, kind=vm.Proxy, env=None, **guest):
        self.t, self.dir = t, t.path("images")
        self.dir.mkdir()
        self.recorder = torn.Recorder(t)
        self.env = {**(env or {}), **self.recorder.env}
        if env:
            self.env["LD_PRELOAD"] += ":" + env["LD_PRELOAD"]
        disks = oracle.make_disks(self.dir, ("qcow2", "raw"))
        self.state = t.path("made") / "by" / "it"
        self.p = kind(t, disks, state=self.state, options=["--log-level", "debug"], **guest)
        self.disk = torn.Disk([t.dir, self.dir])
        self.again()
        self.p.serial.wait_tick(3)

    def again(self):
        self.p.start(env=self.env, wait=15)

    def do(self, name, args, refused=False):
        call = self.p.qmp.refused if refused else self.p.command
        call(name, args, timeout=40)
        self.recorder.mark("answer")
        self.p.serial.wait_more(2)

    def create(self, name, **args):
        self.do("snapshot-create", {"name": name, **args})

    def revert(self, name, refused=False, **args):
        if "save-as" not in args:
            args["discard"] = True
        self.do("snapshot-revert", {"name": name, **args}, refused)

    def delete(self, name, **args):
        self.do("snapshot-delete", {"name": name, **args})

    def settled(self):
        harness.poll(lambda: not (self.state / JOURNAL).exists(), 20, "the journal to be closed")


def comes_again(s, both, go=lambda: None):
    """The proxy is killed, or all of the guest; and comes again."""
    p = s.p
    p.kill()
    go()
    if both:
        for pid in p.pids():
            os.kill(pid, 9)
            harness.poll(lambda pid=pid: vm.ended(pid), 10, "the end of QEMU")
    s.recorder.mark("death")
    s.again()
    s.settled()
    p.command("query-snapshots")        # answered when the folder is on the disk as well
    s.recorder.mark("answer")
    p.serial.wait_more(2)


def dies(s, name, args, file, both):
    """The same in the middle of a command, when that file is there."""
    s.p.qmp.send(name, args)
    harness.poll(file.exists, 20, f"{file}", 0.001)
    comes_again(s, both)


def play_streams(t):
    s = Session(t)
    s.create("a")
    s.create("b", memory="none")
    s.create("c")
    s.revert("a")
    s.revert("c", **{"save-as": "d"})
    s.do("blockdev-snapshot-sync", {"device": "d0", "snapshot-file": str(s.dir / "client.qcow2"),
                                    "snapshot-node-name": "client"})
    s.delete("b")
    s.revert("a", method="replace")
    s.revert("d", method="replace", **{"save-as": "e"})
    s.delete("c", direction="stream")
    s.delete("a")
    s.revert("e")
    s.delete("d", children="include")
    return s


def play_vmstates(t):
    s = Session(t)
    s.create("a", memory="vmstate")
    s.create("b", memory="vmstate")
    s.revert("a", method="in-place")
    s.revert("b", method="in-place", **{"save-as": "c"})
    s.delete("b")
    s.delete("a")
    return s


def play_merges(t):
    """The proxy, and then all of the guest, dies when QEMU has written a header that the record does
    not know yet."""
    s = Session(t, hostile.Wrapped,
                script={"qemu-system-x86_64": f"exec 2>>'{t.path('messages')}'"})
    for name in "abcd":
        s.create(name)
    for name, both in (("b", False), ("c", True)):
        s.p.kill()
        steps = hostile.Steps(s.p)
        steps.start(env=s.recorder.env)
        steps.hold("job-finalize")
        s.p.qmp.send("snapshot-delete", {"name": name, "direction": "stream"})
        steps.held()
        comes_again(s, both, steps.go)
        s.delete(name, direction="stream")
    return s


def dies_before_an_overlay_is_synced(s, faults):
    """All is killed when the last overlay is made, and not known to be on the disk."""
    last = s.dir / "disk1.vm-4.qcow2"
    faults.rules(("hold", 0, "sync", last))
    s.p.qmp.send("snapshot-create", {"name": "w"})
    harness.poll(last.exists, 10, "the last overlay")
    harness.poll(lambda: not any("qemu-img" in line for line in
                                 harness.marked_processes(s.t.marker).values()), 10, "its header")
    comes_again(s, True, faults.mend)
    harness.equal(len(scene.state(s.p)["layers"]), 4, "layers: the overlays were to be kept")


def play_deaths(t):
    faults = faulty.Faults(t)
    s = Session(t, env={**faults.env, "IOFAULT_PROGRAM": "qmp-proxy"})
    dies_before_an_overlay_is_synced(s, faults)
    journal = s.state / JOURNAL
    s.create("a")
    for both in (False, True):
        dies(s, "snapshot-create", {"name": f"x{both}"}, journal, both)
        dies(s, "snapshot-revert", {"name": "a", "discard": True}, journal, both)
        dies(s, "snapshot-revert", {"name": "a", "discard": True}, s.state / "process.next.json", both)
    block = hostile.no_record_can_be_written(s.p)
    s.do("snapshot-create", {"name": "y"}, refused=True)
    block.rmdir()
    s.create("z")
    s.delete("a")
    return s


# --- the judge

class Judge:
    """The store's own opinion of a state folder; asked once for each content."""

    def __init__(self, t):
        harness.requires(JUDGE.exists(), f"{JUDGE} is not built")
        self.folder, self.known = t.path("judged"), {}
        # pylint: disable=consider-using-with
        self.process = subprocess.Popen([JUDGE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        t.cleanup(self.end)

    def end(self):
        self.process.stdin.close()
        self.process.stdout.close()
        harness.equal(self.process.wait(), 0, "exit status of the judge")

    def of(self, files):
        """files: {name: bytes or None} of the state folder."""
        key = tuple(files.items())
        if key not in self.known:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(mode=0o700)
            for name, data in files.items():
                if data is not None:
                    (self.folder / name).write_bytes(data)
            self.process.stdin.write(f"{self.folder}\n")
            self.process.stdin.flush()
            self.known[key] = json.loads(self.process.stdout.readline())
        return self.known[key]


class Versions:
    """Of one file: what it was in turn (None: not there), and from which one on is certain."""

    def __init__(self, path):
        self.path, self.all, self.certain = path, [None], 0

    def play(self, call, disk):
        name, error, _inode, a, b, _what = call
        if error:
            return
        if name in ("rename", "exchange") and b == self.path:
            self.all.append(disk.live[b].data)
        elif name == "unlink" and a == self.path:
            self.all.append(None)

    def settle(self):
        self.certain = len(self.all) - 1

    def allowed(self):
        return self.all[self.certain:]


def named(record):
    """Every file that a record relies on."""
    for layer in record["layers"].values():
        yield layer["real"]
    for snapshot in record["snapshots"]:
        if "memory" in snapshot:
            yield snapshot["memory"]["file"]


class Cut:
    """Looks at the outcomes of a power cut behind each call of a recording."""

    def __init__(self, s):
        self.s, self.disk, self.judge = s, s.disk, Judge(s.t)
        self.state = str(s.state)
        self.record = Versions(f"{self.state}/{RECORD}")
        self.journal = Versions(f"{self.state}/{JOURNAL}")
        self.states = self.places = self.rewritten = self.moved = 0
        self.layers, self.synced = {}, {}       # of the last record; {path: call}
        self.bad = {}

    def headers(self, number, call):
        """Rule 4."""
        name, error, _inode, a, b, what = call
        if name == "log" and any(b": debug: step " + step in what for step in REWRITES):
            self.rewritten = number
        elif name == "sync" and not error:
            self.synced[a] = number
        elif name in ("rename", "exchange") and b == self.record.path and not error:
            before, self.layers = self.layers, json.loads(self.record.all[-1])["layers"]
            for key in before.keys() & self.layers.keys():
                path = self.layers[key]["real"]
                if before[key]["parent"] != self.layers[key]["parent"]:
                    self.moved += 1
                    if self.synced.get(path, -1) < self.rewritten:
                        self.bad.setdefault(f"the header of {Path(path).name} may be an old one",
                                            f"call {number}")

    def certain(self, call):
        """Is all that was written until here relied on from here on?"""
        name, _error, _inode, a, _b, what = call
        return (name == "mark" and a == "answer" or name == "log" and (
            b": debug: step " in what and not what.endswith(b": done\n") or b"was interrupted" in what))

    def run(self):
        where = ""
        for number, call in enumerate(self.s.recorder.calls()):
            if call[0] == "log" and b"step " in call[5]:
                where = call[5].decode().strip().rsplit("step ", 1)[-1]
            self.disk.play(call)
            self.record.play(call, self.disk)
            self.journal.play(call, self.disk)
            self.headers(number, call)
            if self.certain(call):
                self.record.settle()
                self.journal.settle()
            self.places += 1
            self.look(f"call {number}, {call[0]} {call[3]} {call[4]}, behind step {where}")

    def look(self, place):
        for view in self.disk.views():
            folders = set(self.disk.folders.values()) & (set(self.disk.live))
            found = {name: view.there(f"{self.state}/{name}", folders)
                     for name in FILES}
            outcomes = [{}]
            for name, file in found.items():
                each = file.outcomes() if file else [None]
                outcomes = [{**files, name: data} for files in outcomes for data in each]
            for files in outcomes:
                self.states += 1
                why = self.wrong(files, view, folders)
                if why:
                    self.bad.setdefault(why, place)

    def wrong(self, files, view, folders):
        """What is wrong with that outcome, or None."""
        verdict = self.judge.of(files)
        if "refused" in verdict:
            return f"refused: {verdict['refused']}"
        if files[RECORD] not in self.record.allowed():
            return "a record that is none of those allowed"
        if files[JOURNAL] not in self.journal.allowed():
            return f"a journal ({files[JOURNAL] and 'older' or 'missing'}) that is none of those allowed"
        wanted = list(named(verdict["record"]))
        plan = (verdict["journal"] or {}).get("plan", {})
        if verdict["journal"] and verdict["journal"]["committed"]:
            wanted += named(plan["after"])
        elif plan.get("present", {}).get("kept") and "memory" in plan["present"]:
            wanted.append(plan["present"]["memory"]["file"])
        for path in wanted:
            file = view.there(path, folders)
            if file is None:
                return f"{Path(path).name} is relied on, and not there"
            if not file.synced:
                return f"{Path(path).name} is relied on, and may not be whole"
        return None


def cut(s):
    """Every power cut of a session."""
    s.p.serial.check()
    harness.equal(s.p.stop(), 0, "exit status")
    look = Cut(s)
    look.run()
    s.t.note(f"{look.states} states behind {look.places} calls; {len(look.judge.known)} of them differ "
             f"in the state folder; {len(look.record.all) - 1} records, {len(look.journal.all) - 1} journals")
    for why, place in look.bad.items():
        s.t.note(f"{why}: {place}")
    harness.equal(list(look.bad), [], "what was wrong")
    assert look.states > 2 * look.places and len(look.judge.known) > 50, "a recording of nothing"
    return look


def test_power_cuts_of_streams(t):
    cut(play_streams(t))


def test_power_cuts_of_vmstates(t):
    cut(play_vmstates(t))


def test_power_cuts_of_merges_that_are_interrupted(t):
    look = cut(play_merges(t))
    harness.equal(look.moved, 4, "images that stand on another one")


def test_power_cuts_of_a_session_with_deaths(t):
    cut(play_deaths(t))


if __name__ == "__main__":
    sys.exit(harness.run([test_power_cuts_of_streams, test_power_cuts_of_vmstates,
                          test_power_cuts_of_merges_that_are_interrupted,
                          test_power_cuts_of_a_session_with_deaths]))
