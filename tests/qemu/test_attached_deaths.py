#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Attached to a QEMU that somebody else starts: the proxy dies in an operation, QEMU ends, and its owner starts
it anew, on whichever images.  What that QEMU has open is never removed, and it is not taken for the one before."""

import os
import subprocess
import sys

import hostile
import scene
from scene import harness, oracle, vm
from test_inplace import IN_PLACE, in_place


class Pair:
    """A foreign QEMU and the proxy before it, which is killed and started with it."""

    def __init__(self, t, formats=("qcow2",), tcp=False):
        self.t, self.tcp = t, tcp
        self.disks = oracle.make_disks(t.dir, formats)
        self.q = self.qemu(self.disks)
        self.address = self.listening()
        self.p = vm.Attached(t, self.address, options=["--log-level", "debug"])
        self.p.serial, self.p.qemu_pid = self.q.serial, lambda: self.q.process and self.q.process.pid
        self.front()
        self.p.serial.wait_tick(4)

    def qemu(self, disks, *args):
        extra = ("-qmp", "tcp:127.0.0.1:0,server=on,wait=off") if self.tcp else ()
        q = vm.Qemu(self.t, disks, (*extra, *args), style="blockdev", name="q")
        q.start()
        return q

    def listening(self):
        """The address that the proxy connects to; the test's own connection is closed."""
        address = self.q.address
        if self.tcp:
            name = next(c["filename"] for c in self.q.command("query-chardev") if "tcp:" in c["filename"])
            address = "tcp:" + name.removeprefix("disconnected:tcp:").split(",", 1)[0]
        self.q._close_clients()                 # pylint: disable=protected-access
        return address

    def front(self):
        """The proxy is started (again)."""
        self.steps = hostile.Steps(self.p)
        self.steps.start()

    def broken(self, step, command, args):
        """Proxy and QEMU are killed behind that step; the images that QEMU had then."""
        self.steps.hold(step)
        self.p.qmp.send(command, args)
        self.steps.held()
        self.p.kill()
        self.steps.go()
        client = self.q.client() if not self.tcp else None
        found = [entry["inserted"]["file"] for entry in client.command("query-block")] if client else []
        self.q.end_hard()
        return found

    def anew(self, images, *args):
        """The owner starts QEMU on these images [(path, format)], and then the proxy."""
        mark = self.q.serial.size()
        self.q = self.qemu([oracle.Disk(path, fmt, f"d{i}") for i, (path, fmt) in enumerate(images)], *args)
        address = self.listening()
        if self.tcp:
            self.p.foreign = address
        self.front()
        harness.poll(lambda: not (self.p.state / "journal.json").exists(), 20, "the recovery to end")
        return mark

    def lives(self, mark, images):
        """It boots and runs on these images, which are there, and a snapshot can be made and gone back to."""
        harness.poll(lambda: self.p.serial.boots(mark), 20, "the guest to boot")
        self.p.serial.wait_more(3)
        for path, _format in images:
            assert os.path.exists(path), f"{path} was removed"
        harness.equal(sorted(scene.layout(self.p).values()), sorted((str(p), f) for p, f in images), "images")
        scene.check_disks(self.p)
        in_place(self.p, scene.create(self.p, "after"))

    def stop(self):
        self.p.stop()
        self.q.stop()


def started_on_the_overlays(t, tcp):
    pair = Pair(t, ("qcow2", "raw"), tcp)
    saved = scene.create(pair.p, "s0")
    before = set(t.dir.glob("disk*.vm-*.qcow2"))
    pair.broken("layers-freeze", "snapshot-create", {"name": "s1", "memory": "none"})
    images = [(path, "qcow2") for path in sorted(set(t.dir.glob("disk*.vm-*.qcow2")) - before)]
    harness.equal(len(images), 2, "overlays")
    pair.lives(pair.anew(images), images)
    in_place(pair.p, saved)
    pair.stop()


def test_started_anew_on_the_overlays_of_a_create(t):
    started_on_the_overlays(t, tcp=False)


def test_started_anew_on_the_overlays_of_a_create_over_tcp(t):
    started_on_the_overlays(t, tcp=True)


def test_started_anew_on_the_overlay_of_a_revert(t):
    """The record was not written; the disks say that it was done."""
    pair = Pair(t)
    saved = scene.create(pair.p, "s1")
    pair.p.serial.wait_more(3)
    images = pair.broken("memory-load", "snapshot-revert", IN_PLACE)
    images = [(path, "qcow2") for path in images]
    mark = pair.anew(images)
    pair.lives(mark, images)
    assert abs(pair.p.serial.boots(mark)[0] - saved.count) <= 1, pair.p.serial.boots(mark)
    pair.stop()


def test_started_anew_on_what_a_revert_has_left(t):
    """It is committed, and what it left is on record no more: but the owner knows nothing of that, and starts
    QEMU, stopped, on the image that it had."""
    pair = Pair(t)
    scene.create(pair.p, "s1")
    pair.p.serial.wait_more(3)
    before = list(scene.layout(pair.p).values())
    pair.broken("state-write", "snapshot-revert", IN_PLACE)
    mark = pair.anew(before, "-S")
    assert os.path.exists(before[0][0]), f"{before[0][0]} was removed"
    harness.equal(scene.status(pair.p), "prelaunch", "state of a guest that nobody has started")
    harness.equal(pair.p.qmp.refused("snapshot-create", {"name": "s2"}).reason, "chain-mismatch", "reason")
    pair.p.command("cont")
    harness.poll(lambda: pair.p.serial.boots(mark), 20, "the guest to boot")
    pair.p.serial.wait_more(3)
    scene.check_disks(pair.p)
    pair.stop()


def test_started_anew_on_what_there_was_before_a_create(t):
    """The overlays are of no use, and go."""
    pair = Pair(t, ("qcow2", "raw"))
    saved = scene.create(pair.p, "s0")
    pair.p.serial.wait_more(3)
    images, before = list(scene.layout(pair.p).values()), set(t.dir.glob("disk*"))
    pair.broken("transaction", "snapshot-create", {"name": "s1"})
    assert set(t.dir.glob("disk*")) > before, "no overlays"
    mark = pair.anew(images)
    harness.equal(set(t.dir.glob("disk*")), before, "images")
    pair.lives(mark, images)
    in_place(pair.p, saved)
    pair.stop()


def test_started_anew_in_a_delete(t):
    pair = Pair(t)
    saved = [scene.create(pair.p, name) for name in ("s0", "s1", "s2")]
    pair.p.serial.wait_more(3)
    images = list(scene.layout(pair.p).values())
    pair.broken("block-commit", "snapshot-delete", {"name": "s1", "direction": "commit"})
    mark = pair.anew(images, "-S")
    harness.equal(scene.status(pair.p), "prelaunch", "state of a guest that nobody has started")
    pair.p.command("cont")
    harness.poll(lambda: pair.p.serial.boots(mark), 20, "the guest to boot")
    pair.p.command("snapshot-delete", {"name": "s1"}, timeout=30)
    pair.lives(mark, images)
    for one in saved[::2]:
        one.reload(pair.p)
        in_place(pair.p, one)
    pair.stop()


STANDS_BEFORE = """
import socket, sys, threading
def pump(a, b):
    while data := a.recv(65536):
        b.sendall(data)
    b.shutdown(socket.SHUT_WR)
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
server.listen()
print(flush=True)
while True:
    near, far = server.accept()[0], socket.socket(socket.AF_UNIX)
    far.connect(sys.argv[2])
    for pair in ((near, far), (far, near)):
        threading.Thread(target=pump, args=pair, daemon=True).start()
"""


def stand_before(pair):
    """A program between the proxy and QEMU, ended at the end of the test."""
    path = pair.t.path("between.sock")
    path.unlink(missing_ok=True)
    between = subprocess.Popen([sys.executable, "-c", STANDS_BEFORE, path, pair.q.address.removeprefix("unix:")],
                               stdout=subprocess.PIPE)
    pair.t.cleanup(lambda: (between.kill(), between.wait(), between.stdout.close()))
    between.stdout.readline()
    return between


def test_who_listens_is_not_qemu(t):
    """It is another one when the next proxy comes: QEMU is the same, and the revert is taken back in it."""
    pair = Pair(t)
    pair.p.kill()
    pair.steps.go()
    between = stand_before(pair)
    pair.p.foreign = f"unix:{t.path('between.sock')}"
    pair.front()
    saved = scene.create(pair.p, "s1")
    pair.p.serial.wait_more(3)
    mark = scene.Mark(pair.p)
    pair.steps.hold("drive-switch")
    pair.p.qmp.send("snapshot-revert", IN_PLACE)
    pair.steps.held()
    pair.p.kill()
    pair.steps.go()
    between.kill()
    between.wait()
    stand_before(pair)
    pair.front()
    harness.poll(lambda: not (pair.p.state / "journal.json").exists(), 20, "the recovery to end")
    mark.went_on()
    scene.check_disks(pair.p)
    in_place(pair.p, saved)
    pair.stop()


if __name__ == "__main__":
    sys.exit(harness.run([test_started_anew_on_the_overlays_of_a_create,
                          test_started_anew_on_the_overlays_of_a_create_over_tcp,
                          test_started_anew_on_the_overlay_of_a_revert,
                          test_started_anew_on_what_a_revert_has_left,
                          test_started_anew_on_what_there_was_before_a_create,
                          test_started_anew_in_a_delete, test_who_listens_is_not_qemu]))
