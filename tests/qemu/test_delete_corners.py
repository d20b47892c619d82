#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Corners in which an interruption or a slow disk meets a delete, or what settles it.  No write of
the guest is ever lost."""

import os
import re
import signal
import socket
import subprocess
import sys

import hostile
import scene
from scene import harness, oracle, qmp


def boots_from(p, last):
    """The same command line again: the guest boots from where its disks were."""
    since = p.serial.size()
    p.start()
    p.serial.wait_more(3)
    boots = p.serial.boots(since)
    assert len(boots) == 1 and abs(boots[0] - last) <= 3, f"booted {boots}, the guest was at {last}"


def host_goes_down(p):
    """The proxy, then QEMU; the guest's last turn."""
    p.kill()
    last = p.serial.last()
    p.kill_qemu()
    return last


# --- an answer too late

def test_an_answer_that_comes_too_late(t):
    """What was begun is taken back, but bytes may have moved: the snapshot is not whole again."""
    p, steps = hostile.stepped(t)
    a = scene.create(p, "a", kind=scene.Whole)
    p.serial.wait_more(2)
    scene.write(p, "d0", 0x55, scene.BEYOND, 4 << 20)
    b = scene.create(p, "b", kind=scene.Whole)
    steps.hold("snapshot-mark")
    sent = p.qmp.send("snapshot-delete", {"name": "a", "direction": "commit"})
    steps.held()
    pid = p.qemu_pid()
    os.kill(pid, signal.SIGSTOP)
    try:
        steps.go()
        harness.poll(lambda: any("steps back" in line for line in steps.lines), 45, "the way back")
    finally:
        os.kill(pid, signal.SIGCONT)
    harness.equal(p.qmp.reply(sent, 60)["error"]["data"]["reason"], "timeout", "reason")
    if not scene.state(p)["snapshots"][0].get("deleting"):
        a.same(p)
    else:
        hostile.refused(p, "being-deleted", "snapshot-revert", {"name": "a", "discard": True})
    scene.drop(p, a, b)


test_an_answer_that_comes_too_late.timeout = 120


# --- a start while the images are not there yet

def start_without(p, folder):
    """A start that has to refuse, and keeps what it needs for the next one."""
    away = folder.with_name("away")
    folder.rename(away)
    p.start(connect=False)
    assert p.wait(10) != 0, "it has started without its images"
    p.process = None
    away.rename(folder)


def in_folder(t):
    folder = t.path("images")
    folder.mkdir()
    return *hostile.stepped(t, folder=folder), folder


def test_a_create_and_a_start_before_the_images_are_mounted(t):
    p, steps, folder = in_folder(t)
    steps.hold("transaction")
    p.qmp.send("snapshot-create", {"name": "s1", "memory": "none"})
    steps.held()
    p.serial.wait_more(8)               # turns that only the overlay has
    last = host_goes_down(p)
    steps.go()
    start_without(p, folder)
    boots_from(p, last)
    p.serial.wait_round()
    scene.tidy(p, folder=folder)


def test_a_delete_and_a_start_before_the_images_are_mounted(t):
    p, steps, folder = in_folder(t)
    a, _b, c = scene.row(p, "a", "b", "c")
    steps.hold("job-finalize")
    p.qmp.send("snapshot-delete", {"name": "b", "direction": "commit"})
    steps.held()                        # the header names another layer than the record
    last = host_goes_down(p)
    steps.go()
    start_without(p, folder)
    boots_from(p, last)
    a.same(p)
    c.same(p)
    scene.delete(p, "b")
    scene.revert(p, c)
    p.serial.wait_round()
    scene.tidy(p, folder=folder)


# --- a job that ends while it is looked at

SLOW = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

int fdatasync(int fd)
{
    int (*real)(int) = dlsym(RTLD_NEXT, "fdatasync");

    while (access(getenv("SLOW"), F_OK) == 0) {
        close(creat(getenv("SLOW_SEEN"), 0600));
        usleep(1000);
    }
    return real(fd);
}
"""


def slow_disk(t):
    """Shell for a wrapper: as long as the file "slow" is there no fdatasync() ends."""
    source, library = t.path("slow.c"), t.path("slow.so")
    source.write_text(SLOW)
    done = subprocess.run(["cc", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=False)
    harness.requires(done.returncode == 0, "no compiler")
    return (f"exec 2>>'{t.path('messages')}'; export LD_PRELOAD='{library}' "
            f"SLOW='{t.path('slow')}' SLOW_SEEN='{t.path('seen')}'")


def human(t, line):
    """A command of a human monitor that is not the proxy's; what it says."""
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(str(t.path("human")))
        said = b""
        for text in (b"", line.encode() + b"\n"):
            s.sendall(text)
            said = b""
            while not said.endswith(b"(qemu) "):
                more = s.recv(4096)
                assert more, f"QEMU has ended behind {line}"
                said += more
        return said.decode()


def recovery_held(p):
    """The next proxy, standing still when it has looked at everything and before it acts."""
    steps = hostile.Steps(p)
    # The line behind that one fills the pipe.
    steps._match = lambda line: "found QEMU" in line    # pylint: disable=protected-access
    p.start(stderr=steps.fd, connect=False)
    os.close(steps.fd)
    steps._thread.start()                               # pylint: disable=protected-access
    p.test.cleanup(steps.go)
    assert steps.reached(15), steps.lines
    harness.poll(steps.stands, 15, "the proxy to stand still")
    return steps


def guest_goes_on(p, steps):
    """The proxy gets no further than that; the guest does."""
    steps.hold_next("cont")
    steps.held()
    p.serial.wait_more(8)


def test_a_job_that_catches_up_between_a_look_at_it_and_its_cancel(t):
    """It does not end by itself: the disk stays where the record says."""
    p = hostile.Wrapped(t, oracle.make_disks(t.dir), {"qemu-system-x86_64": slow_disk(t)},
                        args=["-monitor", f"unix:{t.path('human')},server=on,wait=off"],
                        options=["--log-level", "debug"])
    steps = hostile.Steps(p)
    steps.start()
    p.serial.wait_tick(4)
    scene.create(p, "s1")
    p.serial.wait_more(3)
    steps.hold("stop")
    p.qmp.send("snapshot-delete", {"name": "s1", "direction": "commit"})
    steps.held()
    human(t, f'qemu-io d0 "write -P 7 {scene.BEYOND} 64k"')     # something left to flush
    t.path("slow").touch()
    steps.go()
    harness.poll(t.path("seen").exists, 10, "the flush behind job-complete")
    p.kill()
    steps = recovery_held(p)        # it has seen the disk on the overlay
    t.path("slow").unlink()
    base = str(p.disks[0].path)
    assert f"{base} (qcow2)" not in human(t, "info block d0"), "the disk has changed its file"
    guest_goes_on(p, steps)
    boots_from(p, host_goes_down(p))
    p.serial.wait_round()
    scene.tidy(p)


def test_two_disks_one_of_which_has_gone_back(t):
    """The proxy dies while a create is taken back, between the two."""
    p, steps = hostile.stepped(t, ("qcow2", "qcow2"))
    block = hostile.no_record_can_be_written(p)
    steps.hold("transaction")
    p.qmp.send("snapshot-create", {"name": "s1", "memory": "none"})
    steps.held()
    p.serial.wait_more(6)
    steps.hold_next("undo-finalize")
    steps.held()
    p.kill()
    steps.go()
    block.rmdir()
    recovery_held(p).go()
    p.serial.wait_more(8)
    boots_from(p, host_goes_down(p))
    p.serial.wait_round()
    scene.tidy(p)


# --- a stream that has ended

def test_a_stream_that_has_ended_is_nowhere_to_be_seen(t):
    """As long as it waits to be dismissed its filter has no image, and QEMU dies when somebody asks for
    its nodes: a client, a person at the monitor, the proxy that comes after a killed one."""
    p, steps = hostile.stepped(t, args=["-monitor", f"unix:{t.path('human')},server=on,wait=off"])
    root, a, _b, c = scene.row(p, "root", "a", "b", "c")
    steps.hold("job-finalize")
    sent = p.qmp.send("snapshot-delete", {"name": "b", "direction": "stream"})
    steps.held()
    assert "qsnap-" in human(t, "info block -n"), "no nodes"
    steps.go()
    assert "return" in (reply := p.qmp.reply(sent, 20)), reply
    steps.hold("block-stream")
    sent = p.qmp.send("snapshot-delete", {"name": "a", "direction": "stream"})
    steps.held()
    job = re.search(r"qsnap-stream[\w-]+", human(t, "info block-jobs")).group()
    human(t, f"block_job_cancel -f {job}")
    assert "qsnap-" in human(t, "info block -n"), "no nodes"
    steps.go()
    error = p.qmp.reply(sent, 20)["error"]
    assert "not found" in error["desc"], error
    steps.hold("job-finalize")
    p.qmp.send("snapshot-delete", {"name": "a", "direction": "stream"})
    steps.held()
    p.kill()
    steps.go()
    mark = scene.Mark(p)
    p.start()
    harness.poll(lambda: not (p.state / "journal.json").exists(), 10, "the recovery")
    mark.went_on()
    for saved in (root, c):
        saved.same(p)
    if "a" in scene.names(p):
        scene.drop(p, a, root, c)
    harness.equal(scene.names(p), ["root", "c"], "snapshots")
    p.serial.wait_round()
    scene.tidy(p)


# --- taken back half way

def cancelled_half_way(t, name, **guest):
    """A delete of b on two disks, cancelled when one of them is on record."""
    p, steps = hostile.stepped(t, ("qcow2", "qcow2"), **guest)
    saved = scene.row(p, *name)
    steps.hold("state-write")
    p.command("snapshot-delete", {"name": "b", "job-id": "j", "direction": "commit"})
    steps.held()
    sent = p.qmp.send("job-cancel", {"id": "j"})
    steps.go()
    harness.equal(p.qmp.reply(sent, 10).get("return"), {}, "job-cancel")
    assert "cancelled" in p.wait_job("j")["error"]
    p.command("job-dismiss", {"id": "j"})
    assert scene.state(p)["snapshots"][1]["deleting"], "it is taken for whole"
    return p, saved


def left_behind(p):
    """Nodes of layers that are gone."""
    known = [layer["path"] for layer in scene.state(p)["layers"].values()]
    return [node["node-name"] for node in p.command("query-named-block-nodes", {"flat": True})
            if node["drv"] == "qcow2" and node["file"] not in known]


def test_a_cancel_behind_the_first_of_two_merges(t):
    """What is merged stays so; nothing of it is left behind, and it is watched over again."""
    p, (a, b, c) = cancelled_half_way(t, "abc")
    harness.equal(left_behind(p), [], "nodes")
    scene.drop(p, b, a, c)
    active = [path for path, _driver in scene.layout(p).values()]
    harness.equal([layer["real"] for layer in scene.state(p)["layers"].values()
                   if "print" not in layer and layer["real"] not in active], [],
                  "frozen layers without a fingerprint")
    scene.revert(p, c)
    p.serial.wait_round()
    scene.tidy(p)


def test_a_snapshot_behind_a_cancelled_delete(t):
    """The active layer of one disk has changed; no node stands on it that keeps QEMU from the next."""
    p, (a, b) = cancelled_half_way(t, "ab", style="blockdev")
    harness.equal(left_behind(p), [], "nodes")
    c = scene.create(p, "c", kind=scene.Whole)
    scene.drop(p, b, a, c)
    p.serial.wait_round()
    scene.tidy(p)


if __name__ == "__main__":
    sys.exit(harness.run([test for name, test in list(globals().items())
                          if name.startswith("test_")]))
