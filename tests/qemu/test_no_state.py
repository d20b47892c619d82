#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A state folder that cannot be written: the VM runs and its clients are served, what would have to be
recorded is refused with the reason, and no process is left that nobody would find."""

import os
import subprocess
import sys

import faulty
import hostile
import scene
from scene import harness, oracle, vm


def mounted(folder, how):
    """Mounts it "ro" or "rw"."""
    subprocess.run(["mount", "-o", f"remount,{how}", folder], check=True)


def places(t):
    """The environment of a proxy whose temporary folders can be looked at, and that folder."""
    run = t.path("run")
    run.mkdir()
    return {"XDG_RUNTIME_DIR": str(run)}, run


def serves(p):
    """Two clients at once, and what changes the VM."""
    with p.client() as other:
        harness.equal(other.command("query-status")["status"], "running", "status")
        p.command("stop")
        harness.equal(other.command("query-status")["status"], "paused", "status")
        other.command("cont")
        assert other.command("query-commands"), "no commands"
    p.serial.wait_more(3)


def refuses(p, reason, *words):
    """Every operation; what only looks is answered."""
    for command, args in (("snapshot-create", {"name": "x"}),
                          ("snapshot-delete", {"name": "s1"}),
                          ("snapshot-revert", {"name": "s1", "discard": True})):
        error = p.qmp.refused(command, args)
        harness.equal(error.reason, reason, f"{command}: {error.desc}")
        for word in words:
            assert word in error.desc, error.desc
    return p.command("query-snapshots")


def ends_with_the_proxy(t, p):
    """Nobody would find it again."""
    p.kill()
    harness.poll(lambda: not harness.marked_processes(t.marker), 10, "QEMU to end")


def test_no_folder_can_be_made(t):
    disk = hostile.mount_tmpfs(t, "host", "80m")
    mounted(disk, "ro")
    env, run = places(t)
    p = vm.Proxy(t, oracle.make_disks(t.dir), state=disk / "deep" / "vm")
    p.start(env=env)
    p.serial.wait_tick(3)
    serves(p)
    harness.equal(refuses(p, "file-unusable", "Read-only", "start qmp-proxy again"), [], "snapshots")
    harness.equal(len(list(run.iterdir())), 1, "temporary folders")
    harness.equal(p.stop(), 0, "exit status")
    harness.equal(list(run.iterdir()), [], "temporary folders")
    p.start(env=env)
    p.serial.wait_more(2)
    ends_with_the_proxy(t, p)
    mounted(disk, "rw")
    p.start(env=env)
    p.serial.wait_more(3)
    saved = scene.create(p, "s1")
    scene.revert(p, saved)


def test_a_folder_that_can_only_be_read(t):
    """The guest starts on the layers that are on record."""
    state = hostile.mount_tmpfs(t, "state", "60m")
    env, run = places(t)
    p = vm.Proxy(t, oracle.make_disks(t.dir), state=state)
    p.start(env=env)
    p.serial.wait_tick(3)
    saved = scene.create(p, "s1")
    p.serial.wait_more(3)
    layout = scene.layout(p)
    p.stop()
    mounted(state, "ro")
    p.start(env=env)
    p.serial.wait_more(3)
    harness.equal(scene.layout(p), layout, "disks")
    serves(p)
    shown = refuses(p, "file-unusable", "Read-only")
    harness.equal([info["name"] for info in shown], ["s1"], "snapshots")
    saved.untouched()
    p.stop()
    harness.equal(list(run.iterdir()), [], "temporary folders")
    mounted(state, "rw")
    p.start(env=env)
    p.serial.wait_more(3)
    scene.revert(p, saved)
    p.serial.wait_more(3)
    scene.tidy(p)


def test_a_folder_that_is_full_at_the_start(t):
    """With room again the same proxy works."""
    state = hostile.mount_tmpfs(t, "state", "60m")
    args = ["-device", "virtio-scsi-pci,id=scsi"]
    p = vm.Proxy(t, oracle.make_disks(t.dir), args, state=state)
    p.start()
    p.serial.wait_tick(3)
    saved = scene.create(p, "s1")
    p.command("object-add", {"qom-type": "rng-builtin", "id": "rng0"})      # on record
    p.stop()
    filler = hostile.fill(state)
    p.start()
    p.serial.wait_more(3)
    serves(p)
    refuses(p, "no-space", "No space left")
    filler.unlink()
    scene.create(p, "s2")
    harness.equal(scene.state(p)["config"], [], "configuration of a QEMU that is gone")
    assert p.qemu_pid(), "process.json tells of nobody"
    scene.revert(p, saved)
    p.serial.wait_more(3)
    # This one is found again.
    p.kill()
    mark = scene.Mark(p)
    p.start()
    mark.went_on()
    scene.tidy(p)


def test_an_interrupted_operation_when_the_record_cannot_be_written_at_the_start(t):
    """The guest starts; what the journal says is settled when there is room."""
    p, steps = hostile.stepped(t)
    s1 = scene.create(p, "s1")
    p.serial.wait_more(3)
    steps.hold("transaction")
    p.qmp.send("snapshot-create", {"name": "s2", "memory": "none"})
    steps.held()
    p.serial.wait_more(3)
    last = p.serial.last()
    pid = p.qemu_pid()
    p.kill()
    steps.go()
    p.killed = True
    os.kill(pid, 9)
    harness.poll(lambda: vm.ended(pid), 10, "QEMU to be gone")
    block = hostile.no_record_can_be_written(p)
    for _ in range(2):                          # each start decides the same
        mark = scene.Mark(p)
        p.start()
        boots = harness.poll(lambda: p.serial.boots(mark.since), 20, "the guest to boot")
        assert abs(boots[-1] - last) <= 4, f"booted with turn {boots[-1]}, the guest was at {last}"
        p.serial.wait_more(3)
        assert (p.state / "journal.json").exists(), "the journal is gone"
        error = p.qmp.refused("snapshot-create", {"name": "s3"})
        harness.equal(error.reason, "file-unusable", error.desc)
        last = p.serial.last()
        ends_with_the_proxy(t, p)
    p.start()
    p.serial.wait_more(3)
    block.rmdir()
    scene.create(p, "s3")
    assert not (p.state / "journal.json").exists(), "an open journal"
    harness.equal(scene.names(p), ["s1", "s3"], "snapshots")
    scene.revert(p, s1)
    p.serial.wait_more(3)
    scene.tidy(p)


# --- a second QEMU

def test_a_second_qemu_that_cannot_be_recorded(t):
    """It is not started: if the proxy died nobody would find it."""
    state = hostile.mount_tmpfs(t, "state", "60m")
    p, steps = hostile.stepped(t, state=state)
    saved = scene.create(p, "s1")
    p.serial.wait_more(3)
    still = hostile.Still(p)
    steps.hold("overlay-create")
    sent = p.qmp.send("snapshot-revert", {"name": "s1", "discard": True})
    steps.held()
    filler = hostile.fill(state)
    steps.go()
    error = p.qmp.reply(sent, 30)["error"]
    harness.equal(error["data"]["reason"], "no-space", error)
    assert "process.next.json" in error["desc"], error
    filler.unlink()
    still.check()
    scene.revert(p, saved)


def test_a_second_qemu_is_found_when_there_was_no_room_at_the_switch(t):
    """Whether the record finds room behind it or not."""
    state = hostile.mount_tmpfs(t, "state", "60m")
    p, steps = hostile.stepped(t, state=state)
    saved = scene.create(p, "s1")
    p.serial.wait_more(3)
    steps.hold("process-end")
    sent = p.qmp.send("snapshot-revert", {"name": "s1", "discard": True})
    steps.held()
    filler = hostile.fill(state)
    mark = scene.Mark(p)
    steps.go()
    reply = p.qmp.reply(sent, 30)
    assert "return" in reply or reply["error"]["data"]["reason"] == "stuck", reply
    mark.went_back_to(saved)
    p.kill()
    mark = scene.Mark(p)
    p.start()
    mark.went_on()
    filler.unlink()
    scene.create(p, "s2")                       # settles the revert first
    scene.revert(p, saved)
    p.serial.wait_more(3)
    scene.tidy(p)


# --- a folder that cannot be synced

def test_a_commit_that_may_not_be_on_the_disk_is_taken_back(t):
    """And stays so when the proxy is killed on that way."""
    faults = faulty.Faults(t, "proxy")
    messages = t.path("messages")
    p = hostile.Wrapped(t, oracle.make_disks(t.dir),
                        {"qemu-system-x86_64": f"exec 2>>'{messages}'"},
                        options=["--log-level", "debug"])
    steps = hostile.Steps(p)
    steps.start(env=faults.env)
    p.serial.wait_tick(3)
    saved = scene.create(p, "s1")
    p.serial.wait_more(5)
    steps.hold("check-next")
    p.qmp.send("snapshot-revert", {"name": "s1", "discard": True})
    steps.held()
    faults.rules(("once", faulty.EIO, "sync", p.state.name))
    steps.hold_next("cont")
    steps.held()
    assert faults.fired(), "nothing was synced"
    mark = scene.Mark(p)
    p.kill()
    steps.go()
    p.start(env=faults.env)
    mark.went_on()
    harness.poll(lambda: not (p.state / "journal.json").exists(), 20, "the recovery")
    scene.revert(p, saved)
    p.serial.wait_more(3)
    scene.tidy(p)


TESTS = [test for name, test in list(globals().items()) if name.startswith("test_")]


if __name__ == "__main__":
    sys.exit(harness.run(TESTS))
