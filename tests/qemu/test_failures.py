#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What breaks in the middle of an operation.  The old guest goes on as if nothing had been, nothing
is left behind, and the same command works once the cause is gone.  A revert, step by step, is in
test_revert_steps.py."""

import ctypes
import ctypes.util
import json
import signal
import sys
import threading
import time
from pathlib import Path

import hostile
import scene
from scene import harness, oracle, qmp, vm

REVERT = {"name": "s1", "discard": True}


def fails(p, command, args, *words, reason="qemu-failed", timeout=50, without=()):
    """The command breaks off; all is as it was.  The QmpError."""
    still = hostile.Still(p, ("RESET", "SHUTDOWN"), without)
    error = p.qmp.refused(command, args, timeout=timeout)
    harness.equal(error.reason, reason, error.desc)
    for word in words:
        assert word in error.desc, f"{word!r} is not in: {error.desc}"
    still.check()
    return error


def with_snapshot(t, script=None, formats=("qcow2",), **guest):
    """(Proxy, Saved): a guest with a snapshot s1, QEMU behind a wrapper."""
    disks = oracle.make_disks(t.dir, formats)
    p = hostile.Wrapped(t, disks, {"qemu-system-x86_64": script or ""}, **guest).start()
    p.serial.wait_tick(4)
    return p, scene.create(p, "s1")


def when(condition, lines):
    """Shell: these lines for a QEMU that has `condition` in its command line and while "bad" is
    there."""
    return f'if [ -e bad ]; then case " $* " in *"{condition}"*) {lines};; esac; fi'


def test_revert_to_a_corrupt_stream_with_a_fitting_checksum(t):
    p, saved = with_snapshot(t)
    memory = Path(saved.info["memory"]["file"])
    good = memory.read_bytes()
    harness.equal(xxh3(good), scene.state(p)["snapshots"][0]["memory"]["xxh3"], "checksum")
    # QEMU itself can only tell by the form: a flipped bit in RAM is for the checksum to find.
    for bad in (bytes(2000) + good[2000:], good[:4] + b"\xff" + good[5:], good[:5] + good[600:],
                good[:len(good) // 2], b""):
        restart_with(p, memory, bad)
        fails(p, "snapshot-revert", REVERT)
    restart_with(p, memory, good)
    scene.revert(p, saved)


def restart_with(p, memory, data):
    """Other saved memory for s1, with the checksum that fits."""
    p.stop()
    memory.write_bytes(data)
    hostile.edit_state(p, lambda record: record["snapshots"][0]["memory"].update(
        xxh3=xxh3(data), size=len(data)))
    p.start()
    p.serial.wait_more(3)


def xxh3(data):
    """As the record has it: 16 hexadecimal digits."""
    name = ctypes.util.find_library("xxhash") or "libxxhash.so.0"
    try:
        function = ctypes.CDLL(name).XXH3_64bits
    except OSError as error:
        raise harness.Skip(f"no xxHash: {error}") from None
    function.restype, function.argtypes = ctypes.c_uint64, (ctypes.c_char_p, ctypes.c_size_t)
    return f"{function(data, len(data)):016x}"


def test_a_revert_that_saves_first_and_then_fails(t):
    p, saved = with_snapshot(t, when(" -incoming ", "exit 7"))
    t.path("bad").touch()
    files = set(scene.contents(p))
    # The record counts the layers that there ever were.
    fails(p, "snapshot-revert", {"name": "s1", "save-as": "kept"}, "second QEMU",
          without=("files",))
    harness.equal(set(scene.contents(p)), files, "files")
    t.path("bad").unlink()
    scene.revert(p, saved, save_as="kept")
    harness.equal(scene.names(p), ["s1", "kept"], "snapshots")


def test_no_room_while_memory_is_saved(t):
    """Found out only by QEMU: the room goes after the proxy has looked."""
    state = hostile.mount_tmpfs(t, "state", "60m")
    p, steps = hostile.stepped(t, state=state)
    for step in ("memory-create", "getfd"):
        still = hostile.Still(p, ("RESET", "SHUTDOWN"))
        steps.hold(step)
        sent = p.qmp.send("snapshot-create", {"name": "s1"})
        steps.held()
        filler = hostile.fill(state, 100 << 10)
        steps.go()
        reply = p.qmp.reply(sent, 40)
        assert "error" in reply, reply
        filler.unlink()
        still.check()
    saved = scene.create(p, "s1")
    scene.revert(p, saved)


def test_no_room_while_layers_are_merged(t):
    images = hostile.mount_tmpfs(t, "images", "60m")
    disks = oracle.make_disks(images, ("qcow2",))
    p = vm.Proxy(t, disks, options=["--log-level", "debug"])
    steps = hostile.Steps(p)
    steps.start()
    p.serial.wait_tick(2)
    scene.create(p, "s1")
    p.serial.wait_tick(80)              # from here the guest writes in place
    mark = scene.Mark(p)
    steps.hold("snapshot-mark")
    sent = p.qmp.send("snapshot-delete", {"name": "s1"})
    steps.held()
    filler = hostile.fill(images, 256 << 10)
    steps.go()
    reply = p.qmp.reply(sent, 40)
    assert "No space left" in reply["error"]["desc"], reply
    mark.went_on()
    # A layer that is half merged is worth nothing to the snapshot: only delete it.
    harness.equal(p.qmp.refused("snapshot-revert", REVERT).reason, "being-deleted", "revert")
    filler.unlink()
    scene.delete(p, "s1")
    p.serial.wait_round()
    scene.check_disks(p)
    harness.equal([path.name for path in images.iterdir()], ["disk0.qcow2"], "images")


def test_a_record_that_cannot_be_written(t):
    """Each operation, when its last word cannot be put on disk."""
    p = scene.start(t)
    saved = scene.create(p, "s1")
    block = hostile.no_record_can_be_written(p)
    still = hostile.Still(p, ("RESET", "SHUTDOWN"))
    p.qmp.refused("snapshot-create", {"name": "s2"}, timeout=20)
    p.serial.wait_more(3)
    p.qmp.refused("snapshot-delete", {"name": "s1"}, timeout=20)
    block.rmdir()
    still.check()
    p.serial.wait_round()
    scene.check_disks(p)
    scene.revert(p, saved)


def test_a_record_that_cannot_be_written_behind_the_switch_of_a_revert(t):
    """The new guest is there, and clients are served whatever the host's disk does."""
    p = scene.start(t)
    saved = scene.create(p, "s1")
    p.serial.wait_more(5)
    block = hostile.no_record_can_be_written(p)
    mark = scene.Mark(p)
    p.qmp.send("snapshot-revert", REVERT)
    mark.went_back_to(saved)
    with p.client() as other:
        harness.equal(other.command("query-status", timeout=5)["status"], "running", "status")
        block.rmdir()
        other.command("query-block", timeout=5)
    p.serial.wait_more(3)
    p.stop()
    p.start()                           # finished by what the journal says
    p.serial.wait_more(3)
    scene.check_disks(p)
    harness.equal(scene.names(p), ["s1"], "snapshots")


def test_memory_that_qemu_refuses_to_save(t):
    """A migration blocker that comes too late to be seen before, by another monitor; there has been a
    migration that went well, whose status is still to be seen."""
    monitor = t.path("monitor.sock")
    p, steps = hostile.stepped(t, args=["-monitor", f"unix:{monitor},server=on,wait=off"])
    p.command("snapshot-create", {"name": "s1"})
    oracle.qemu_img("create", "-q", "-f", "vdi", t.path("blocker.vdi"), "1M")
    still = hostile.Still(p, ("RESET", "SHUTDOWN"), ("nodes",))
    steps.hold("getfd")
    sent = p.qmp.send("snapshot-create", {"name": "s2"})
    steps.held()
    with qmp.connect(f"unix:{monitor}") as sock:
        sock.sendall(b"drive_add -n 0 driver=vdi,node-name=blocker,file.driver=file,"
                     b"file.filename=blocker.vdi\n")
        text = b""
        while text.count(b"(qemu)") < 2:
            text += sock.recv(4096)
    started = time.monotonic()
    steps.go()
    error = p.qmp.reply(sent, 20)["error"]
    assert error["data"]["reason"] == "qemu-failed" and "vdi" in error["desc"], error
    assert time.monotonic() - started < 5 * harness.SLOW, "the guest stood still"
    still.check()
    # From now on it is known before anything is done.
    for status in ("running", "paused"):
        if status == "paused":
            p.command("stop")
        hostile.refused(p, "migration-blocked", "snapshot-create", {"name": "s2"}, "vdi")
        hostile.refused(p, "migration-blocked", "snapshot-revert", {"name": "s1", "save-as": "s2"},
                        "vdi")
    p.command("cont")
    p.serial.wait_more(2)


def test_clients_that_vanish_while_they_are_served(t):
    p = scene.start(t)
    p.command("snapshot-create", {"name": "s1"})
    for turn in range(30):
        for command, args in (("query-snapshots", {}), ("query-snapshots", {"verify": True}),
                              ("snapshot-create", {"name": "x", "dry-run": True}),
                              ("query-block", {}), ("snapshot-delete", {"name": "nope"})):
            client = p.client()
            p.clients.remove(client)
            client.send(command, args)
            if turn % 2:
                time.sleep(0.001 * (turn % 5))
            client.close()
    p.serial.wait_more(2)
    client = p.client()
    client.send("snapshot-create", {"name": "s2"})
    client.close()
    harness.poll(lambda: "s2" in scene.names(p), 10, "the snapshot of a client that is gone")
    client = p.client()
    client.send("snapshot-revert", REVERT)
    client.close()
    p.qmp.wait_event("SNAPSHOT_REVERTED")
    p.serial.wait_more(3)
    harness.poll(lambda: p.fd_count() < 40, 5, "descriptors to be closed")


def test_clients_that_come_and_go_during_reverts(t):
    p = scene.start(t)
    scene.create(p, "s1")
    stop, bad = threading.Event(), []

    def hammer():
        while not stop.is_set():
            try:
                with qmp.Client(p.address, timeout=10) as client:
                    client.command("query-status")
            except Exception as error:  # pylint: disable=broad-except
                bad.append(repr(error))
                return
    threads = [threading.Thread(target=hammer) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(12):
            p.command("snapshot-revert", REVERT, timeout=30)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    harness.equal(bad, [], "errors of the clients")
    p.serial.wait_more(3)


def test_a_signal_during_an_operation_ends_qemu_with_the_proxy(t):
    for step in ("process-start", "stop", "commit", "process-end", "process-switch", "cont"):
        p, steps = hostile.stepped(t, name=f"vm-{step}")
        scene.create(p, "s1")
        steps.hold(step)
        p.qmp.send("snapshot-revert", REVERT)
        steps.held()
        p.signal(signal.SIGTERM)
        steps.go()
        harness.equal(p.wait(10), 0, f"exit status behind {step}")
        # The test's own process is all that is left, at once.
        harness.equal(harness.marked_processes(t.marker), {}, f"processes behind {step}")
        for image in t.dir.glob("disk*"):
            image.unlink()


def stale_journal(t, name, cold):
    """A revert is done, its journal could not be removed, and the record has moved on."""
    p, steps = hostile.stepped(t, name=name, folder=t.path(name), prefix="d")
    journal = p.state / "journal.json"
    saved = scene.create(p, "s1")
    p.serial.wait_more(3)
    steps.hold("state-write")
    sent = p.qmp.send("snapshot-revert", {"name": "s1", "discard": True})
    steps.held()
    text = journal.read_bytes()
    assert json.loads(text)["committed"], "no committed journal"
    steps.go()
    assert "return" in p.qmp.reply(sent, 30), "the revert"
    p.command("blockdev-snapshot-sync", {"device": "d0", "snapshot-file": str(t.path(name) / "c.qcow2"),
                                         "snapshot-node-name": "client"})
    record = scene.state(p)
    p.serial.wait_more(8)                   # turns that only the client's overlay has
    p.kill()
    if cold:
        p.kill_qemu()
    journal.write_bytes(text)
    last, since = p.serial.last(), p.serial.size()
    p.start()
    harness.poll(lambda: not journal.exists(), 20, "the journal to be closed")
    p.serial.wait_more(3)
    harness.equal(scene.state(p)["layers"], record["layers"], "layers on record")
    if cold:
        assert abs(p.serial.boots(since)[0] - last) <= 3, (p.serial.boots(since), last)
    scene.check_disks(p)
    scene.revert(p, saved)
    p.serial.wait_more(3)
    scene.tidy(p, folder=t.path(name))


def test_a_journal_that_is_still_there_does_not_turn_the_record_back(t):
    for name in ("hot", "cold"):
        t.path(name).mkdir()
        stale_journal(t, name, name == "cold")


if __name__ == "__main__":
    sys.exit(harness.run([test for name, test in list(globals().items())
                          if name.startswith("test_")]))
