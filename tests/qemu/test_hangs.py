#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A second QEMU that does nothing, or nothing more, at a revert, or is not to do anything yet.  The first test
takes as long as the proxy waits, so its guests are tried at the same time."""

import os
import signal
import sys
import time
from pathlib import Path

import faulty
import hostile
import scene
from scene import harness, oracle, vm

MUTE = 'if [ -e bad ]; then case " $* " in *" -incoming "*) exec sleep 300;; esac; fi'
REVERT = {"name": "s1", "discard": True}


def second(p, timeout=10):
    """The pid of the QEMU of that guest that a revert has started."""
    def find():
        return [pid for pid, line in harness.marked_processes(p.test.marker).items()
                if " -incoming " in line and str(p.serial.path) in line]
    return harness.poll(find, timeout, "the second QEMU")[0]


def half_way(p, steps, number):
    """Reverts, and sends that signal to the second QEMU when it has read a part of the memory; the id
    of the command."""
    memory = Path(scene.info(p, "s1")["memory"]["file"])
    steps.hold("process-start")
    sent = p.qmp.send("snapshot-revert", REVERT)
    steps.held()
    pid = second(p)
    steps.go()

    def reads():
        for fd in Path(f"/proc/{pid}/fd").iterdir():
            if os.readlink(fd) == str(memory):
                text = Path(f"/proc/{pid}/fdinfo/{fd.name}").read_text()
                return int(text.split()[1])
        return 0
    harness.poll(reads, 10, "the second QEMU to read", step=0)
    os.kill(pid, number)
    if number == signal.SIGSTOP:
        harness.poll(lambda: vm.state_of(pid) == "T", 5, "it to stop")
        assert 0 < reads() < memory.stat().st_size, f"{reads()} bytes of {memory} were read"
    return sent


def test_revert_with_a_second_qemu_that_hangs(t):
    mute = hostile.Wrapped(t, oracle.make_disks(t.dir, prefix="mute"),
                           {"qemu-system-x86_64": MUTE}, name="mute").start()
    loading, steps = hostile.stepped(t, name="loading", prefix="loading", memory="1024")
    late, late_steps = hostile.stepped(t, name="late", prefix="late")
    saved = {p: scene.create(p, "s1") for p in (mute, loading, late)}
    still = {p: hostile.Still(p, ("RESET", "SHUTDOWN"), ("processes", "files")) for p in saved}
    sent = half_way(loading, steps, signal.SIGKILL)
    harness.equal(loading.qmp.reply(sent, 20)["error"]["data"]["reason"], "qemu-failed", "killed")
    t.path("bad").touch()
    sent = {mute: mute.qmp.send("snapshot-revert", REVERT),
            loading: half_way(loading, steps, signal.SIGSTOP)}
    late_steps.hold("stop")              # the guest stands still from there
    sent[late] = late.qmp.send("snapshot-revert", REVERT)
    late_steps.held()
    os.kill(second(late), signal.SIGSTOP)
    started = time.monotonic()
    late_steps.go()
    for p in reversed(sent):
        error = p.qmp.reply(sent[p], 60)["error"]
        harness.equal(error["data"]["reason"], "timeout", f"{p.name}: {error}")
        if p == late:
            spent = time.monotonic() - started
            assert spent < 10 * harness.SLOW, f"the guest stood still for {spent} s"
    t.path("bad").unlink()
    for p, before in still.items():
        before.check()
        scene.revert(p, saved[p])
    harness.equal(len(harness.marked_processes(t.marker)), 6, "processes: a proxy and a QEMU each")


def begun(t):
    """(Proxy, Faults of it, Saved): a guest with s1 and turns behind it."""
    faults = faulty.Faults(t, "proxy")
    t.cleanup(faults.mend)
    p = vm.Proxy(t, oracle.make_disks(t.dir), options=["--log-level", "debug"])
    p.start(env=faults.env)
    p.serial.wait_tick(4)
    saved = scene.create(p, "s1")
    p.serial.wait_more(3)
    return p, faults, saved


def held(p, faults, name, then=None):
    """Reverts, and holds the proxy where it makes that file durable, from then() on; the id of the command."""
    if not then:
        faults.rules(("hold", 0, "sync", name))
    sent = p.qmp.send("snapshot-revert", REVERT)
    if then:
        then()
        faults.rules(("hold", 0, "sync", name))
    harness.poll((p.state / name).exists, 10, f"{name} to be written", 0.001)
    return sent


def test_a_second_qemu_does_not_run_before_it_is_on_record(t):
    p, faults, saved = begun(t)
    mark = scene.Mark(p)
    held(p, faults, ".process.next.json.tmp")
    assert len(p.all_pids()) == 3, "it is not there to be put on record"
    assert not any(" -incoming " in line for line in harness.marked_processes(t.marker).values()), "it runs"
    p.kill()
    faults.mend()
    harness.poll(lambda: len(p.all_pids()) == 1, 5, "what was not on record to end")
    p.start()
    harness.poll(lambda: not (p.state / "journal.json").exists(), 20, "the journal's end")
    mark.went_on()
    scene.revert(p, saved)
    scene.tidy(p, leaks=True)


def test_a_second_qemu_that_stands_still_behind_the_commit_point(t):
    """It answered before that, and is asked once more."""
    p, faults, saved = begun(t)
    mark = scene.Mark(p)
    sent = held(p, faults, ".journal.json.tmp", lambda: second(p))
    pid = second(p)
    os.kill(pid, signal.SIGSTOP)
    faults.mend()
    harness.equal(p.qmp.reply(sent, 20)["error"]["data"]["reason"], "timeout", "reason")
    harness.poll(lambda: vm.ended(pid), 5, "it to be gone")
    mark.went_on()
    scene.revert(p, saved)
    scene.tidy(p)


if __name__ == "__main__":
    sys.exit(harness.run([test_revert_with_a_second_qemu_that_hangs,
                          test_a_second_qemu_does_not_run_before_it_is_on_record,
                          test_a_second_qemu_that_stands_still_behind_the_commit_point]))
