#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""snapshot-revert by replace: the first QEMU ends before the second starts.  Whatever goes wrong
then, the guest comes back as it stopped, from the memory that was kept."""

import os
import signal
import sys

import hostile
import scene
from scene import harness, oracle, qmp, vm
from test_failures import with_snapshot

REPLACE = {"name": "s1", "discard": True, "method": "replace"}
EVENTS = ("STOP", "RESUME", "RESET", "SHUTDOWN", "SNAPSHOT_CREATED", "SNAPSHOT_REVERTED")
# So many starts of QEMU go wrong in that way.
BAD = """case " $* " in *" -S "*)
    if [ -e bad ]; then
        n=$(cat bad)
        echo $((n - 1)) > bad
        [ $n -gt 0 ] && . ./fault
    fi;;
esac"""


def kept(p):
    """What was kept of the VM, in the folder of saved memory."""
    return [path.name for path in (p.state / "memory").iterdir() if path.name.startswith(".present")]


def qemus(p):
    """The QEMUs of this guest."""
    return [pid for pid, line in harness.marked_processes(p.test.marker).items()
            if str(p.serial.path) in line and not line.split(" ", 1)[0].endswith("/qmp-proxy")]


def test_there_and_back(t):
    """Both ways, with a port that only one process can have."""
    port = free_port()
    p = scene.start(t, ("qcow2", "raw"), args=[
        "-device", "virtio-serial-pci",
        "-chardev", f"socket,id=agent,host=127.0.0.1,port={port},server=on,wait=off",
        "-device", "virtserialport,chardev=agent,name=org.example.agent"])
    first = scene.create(p, "first")
    p.serial.wait_more(4)
    p.qmp.drain().clear()
    error = p.qmp.refused("snapshot-revert", {"name": "first", "discard": True})
    harness.equal(error.reason, "needs-replace", "reason")
    assert "replace" in error.desc, error.desc
    pid = p.qemu_pid()
    scene.revert(p, first, method="replace")
    assert p.qemu_pid() != pid
    harness.equal(scene.event_names(p, EVENTS)[:3], ["STOP", "RESUME", "SNAPSHOT_REVERTED"], "events")
    second = scene.create(p, "second")
    for saved in (first, second, first):
        scene.revert(p, saved, method="replace")
        harness.equal(kept(p), [], "what is kept")
    result = scene.revert(p, second, method="replace", save_as="third")
    assert result["standstill"] > 0, result
    harness.equal(sorted(scene.names(p)), ["first", "second", "third"], "snapshots")
    harness.equal(scene.info(p, "third")["parent"], "first", "parent of what was saved")
    p.serial.wait_round()
    scene.tidy(p)


def free_port():
    import socket                       # pylint: disable=import-outside-toplevel
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_states(t):
    p = scene.start(t)
    saved = scene.create(p, "s1")
    for wanted in ("paused", "running", "prelaunch", "running"):
        since = p.serial.size()
        if scene.status(p) == "running":
            scene.step_aside(p, saved)
        mark = scene.Mark(p)
        p.command("snapshot-revert", {**REPLACE, "state": wanted}, timeout=30)
        harness.equal(scene.status(p), wanted, "status")
        if wanted == "running":
            mark.went_back_to(saved)
        harness.equal(p.serial.boots(since), [], "boots")
    scene.check_disks(p)


def test_a_client_waits_and_is_answered_once(t):
    """A query in the time in which there is no QEMU at all."""
    p, steps = hostile.stepped(t)
    scene.create(p, "s1")
    p.serial.wait_more(3)
    other = p.client()
    steps.hold("process-end")
    sent = p.qmp.send("snapshot-revert", REPLACE)
    steps.held()
    harness.equal(qemus(p), [], "QEMUs")
    query = other.send("query-status")
    change = other.send("block_resize", {"device": "d0", "size": 1 << 26})
    steps.go()
    assert "return" in p.qmp.reply(sent, 30)
    assert "return" in other.reply(query, 10)
    harness.equal(other.reply(change, 10)["error"]["data"]["reason"], "operation-running", "a change")
    p.serial.wait_more(4)


def test_all_kinds_of_requests_wait(t):
    """With a descriptor, out of band, large, of a client that comes then, of one that goes; twice, since a
    second time is back."""
    p, steps = hostile.stepped(t)
    saved = scene.create(p, "s1")
    for back in (False, True):
        p.serial.wait_more(3)
        mark = scene.Mark(p)
        other, oob, gone = p.client(), p.client(oob=True), p.client()
        steps.hold("process-end")
        sent = p.qmp.send("snapshot-revert", REPLACE, **{"job-id": "back"} if back else {})
        steps.held()
        gone.send("query-block")
        gone.send("x-query-ramblock", fds=[0])
        gone.close()
        late = p.client(negotiate=False)
        with open("/dev/null", "rb") as null:
            waits = [(other, other.send("query-status")),
                     (other, other.send("getfd", {"fdname": "null"}, fds=[null.fileno()])),
                     (other, other.send("closefd", {"fdname": "null"})),
                     (other, other.send("qom-list", {"path": "/" + "x" * 100000})),
                     (oob, oob.send("query-yank", oob=True)), (oob, oob.send("query-name"))]
        cancel = p.qmp.send("job-cancel", id="back") if back else None
        steps.go()
        answers = [client.reply(cid, 30) for client, cid in waits]
        harness.equal(["error" in answer for answer in answers],
                      [False, False, False, True, False, False], f"errors in {answers}")
        late.negotiate()
        late.command("query-status")
        for client in (other, oob, late):
            client.close()
        assert "return" in p.qmp.reply(sent, 30)
        if not back:
            mark.went_back_to(saved)
            continue
        assert "return" in p.qmp.reply(cancel, 10)
        harness.poll(lambda: p.command("query-jobs")[0]["status"] == "concluded", 20, "the job's end")
        assert "cancelled" in p.command("query-jobs")[0]["error"]
        mark.went_on()
        harness.equal(kept(p), [], "what is kept")
    p.command("job-dismiss", id="back")
    # Told to end meanwhile, the proxy brings it back first, and nothing is left behind.
    steps.hold("process-end")
    p.qmp.send("snapshot-revert", REPLACE)
    steps.held()
    waits = p.client(negotiate=False)
    waits.send_raw('{"execute":"qmp_capabilities"}{"execute":"query-status","id":"w"}')
    p.process.send_signal(signal.SIGTERM)
    steps.go()
    harness.equal(p.wait(30), 0, "exit status")
    harness.equal((kept(p), qemus(p), (p.state / "journal.json").exists()), ([], [], False), "left")
    waits.close()


def comes_back(p, saved, error, mark):
    """The revert has failed, and the guest goes on as if nothing had been."""
    assert "error" in error, error
    mark.went_on()
    harness.equal(kept(p), [], "what is kept")
    harness.equal(len(qemus(p)), 1, "QEMUs")
    scene.check_disks(p)
    saved.untouched()
    names = scene.event_names(p, EVENTS)
    assert "SHUTDOWN" not in names and "SNAPSHOT_REVERTED" not in names, names
    p.qmp.events.clear()


def broken(t, p, starts, fault):
    """So many starts of QEMU go wrong."""
    t.path("fault").write_text(fault + "\n")
    t.path("bad").write_text(str(starts))


def test_a_second_qemu_that_does_not_start(t):
    """The way back may need several tries."""
    p, saved = with_snapshot(t, BAD, ("qcow2", "raw"))
    for starts, fault in ((1, "exit 3"), (3, "ulimit -v 50000"), (1, "exec /nonexistent/qemu")):
        p.serial.wait_more(2)
        broken(t, p, starts, fault)
        mark = scene.Mark(p)
        comes_back(p, saved, p.qmp.reply(p.qmp.send("snapshot-revert", REPLACE), 30), mark)
    p.command("stop")
    broken(t, p, 1, "exit 3")
    p.qmp.refused("snapshot-revert", REPLACE, timeout=30)
    harness.equal(scene.status(p), "paused", "status")
    p.command("cont")
    scene.revert(p, saved, method="replace")
    scene.tidy(p)


def test_the_first_one_may_take_longer_to_come_back(t):
    """Than a second QEMU that can be thrown away: it is all that is left."""
    p, saved = with_snapshot(t, BAD, ("qcow2",))
    p.serial.wait_more(2)
    broken(t, p, 2, "[ $n = 2 ] && exit 3; sleep 32")
    mark = scene.Mark(p)
    answer = p.qmp.reply(p.qmp.send("snapshot-revert", REPLACE), 90)
    assert "ending it" not in p.log.read_text(errors="replace"), "it was not waited for"
    comes_back(p, saved, answer, mark)
    scene.tidy(p)


test_the_first_one_may_take_longer_to_come_back.timeout = 150


def test_neither_the_second_nor_the_first_starts(t):
    """The proxy ends, and its next start brings the guest back as it stopped."""
    p, saved = with_snapshot(t, BAD, ("qcow2", "raw"))
    p.serial.wait_more(3)
    broken(t, p, 99, "exit 3")
    mark = scene.Mark(p)
    p.qmp.send("snapshot-revert", REPLACE)
    harness.equal(p.wait(30), 1, "exit status")
    p._close_clients()                  # pylint: disable=protected-access
    p.process = None
    assert kept(p), "nothing is kept"
    # Once more in vain, and with another command line.
    p.start(connect=False)
    harness.equal(p.wait(30), 1, "exit status")
    p.process = None
    t.path("bad").unlink()
    p.qemu_args += ["-rtc", "base=utc"]
    p.start(connect=False)
    harness.equal(p.wait(30), 1, "exit status")
    p.process = None
    assert "another command line" in p.log.read_text().replace("\n", " "), "what was wrong"
    del p.qemu_args[-2:]
    p.start(wait=20)
    mark.went_on()
    harness.equal(p.serial.boots(mark.since), [], "boots")
    saved.untouched()
    scene.revert(p, saved, method="replace")
    scene.tidy(p, leaks=True)


def test_what_was_kept_is_not_whole(t):
    """Then the VM boots on its disks, as after a power cut."""
    p, _saved = with_snapshot(t, BAD)
    p.serial.wait_more(3)
    broken(t, p, 99, "exit 3")
    p.qmp.send("snapshot-revert", REPLACE)
    p.wait(30)
    p._close_clients()                  # pylint: disable=protected-access
    p.process = None
    last, since = p.serial.last(), p.serial.size()
    t.path("bad").unlink()
    alter(p.state / "memory" / kept(p)[0])
    p.start()
    boots = harness.poll(lambda: p.serial.boots(since), 15, "the guest to boot")
    assert last - 1 <= boots[0] <= last + 1, (boots, last)
    p.serial.wait_more(3)
    harness.equal(kept(p), [], "what is kept")
    scene.tidy(p, leaks=True)


def alter(path):
    """Changes the file in its middle, for as long as it takes to go wrong."""
    data = bytearray(path.read_bytes())
    for at in range(len(data) // 2, len(data) // 2 + 4096):
        data[at] ^= 0xff
    path.write_bytes(data)


def test_memory_that_does_not_load(t):
    """The second QEMU chokes on it, or dies of something else, while it loads or right behind that."""
    p, steps = hostile.stepped(t, ("qcow2", "raw"))
    saved = scene.create(p, "s1")
    path = p.state / "memory" / os.path.basename(saved.info["memory"]["file"])
    whole = path.read_bytes()

    def break_at(step, action, again=None):
        p.serial.wait_more(2)
        mark = scene.Mark(p)
        steps.hold(step)
        sent = p.qmp.send("snapshot-revert", REPLACE)
        steps.held()
        action()
        steps.go()
        reply = p.qmp.reply(sent, 40)
        if again:
            again()
        comes_back(p, saved, reply, mark)

    break_at("memory-check", lambda: path.write_bytes(whole[:len(whole) // 2]), lambda: path.write_bytes(whole))
    break_at("memory-check", lambda: alter(path), lambda: path.write_bytes(whole))
    for step in ("process-start", "loaded", "check-disks"):
        break_at(step, lambda: os.kill(qemus(p)[0], signal.SIGKILL))
    # Whoever lets the guest run meanwhile has made what was kept worthless.
    break_at("present-keep", lambda: go_on(p))
    scene.revert(p, saved, method="replace")
    scene.tidy(p, leaks=True)


def go_on(p):
    """From a monitor of one's own."""
    with qmp.Client(f"unix:{p.state}/qemu.bulk.sock") as monitor:
        monitor.command("cont")


def test_save_as_that_fails_then(t):
    """The snapshot that was made first is what the guest comes back from, and goes again."""
    p, saved = with_snapshot(t, BAD, ("qcow2", "raw"))
    p.serial.wait_more(3)
    broken(t, p, 1, "exit 3")
    mark = scene.Mark(p)
    sent = p.qmp.send("snapshot-revert", {"name": "s1", "save-as": "s2", "method": "replace"})
    comes_back(p, saved, p.qmp.reply(sent, 40), mark)
    harness.equal(scene.names(p), ["s1"], "snapshots")
    scene.tidy(p)


def test_no_room_for_what_is_to_be_kept(t):
    folder = hostile.mount_tmpfs(t, "small", "200M")
    p = vm.Proxy(t, oracle.make_disks(t.dir), state=folder / "state", memory="128")
    p.start()
    p.serial.wait_tick(4)
    scene.create(p, "s1")
    filler = hostile.fill(folder, 30 << 20)
    hostile.refused(p, "no-space", "snapshot-revert", REPLACE, "memory")
    filler.unlink()
    p.command("snapshot-revert", REPLACE, timeout=30)


def test_a_persistent_bitmap_is_in_the_way(t):
    """QEMU writes to its image when it loads what was kept; an interruption behind that would look as if the guest
    had run on."""
    p = scene.start(t)
    scene.create(p, "s1")
    node = p.command("query-block")[0]["inserted"]["node-name"]
    p.command("block-dirty-bitmap-add", {"node": node, "name": "b0", "persistent": True})
    hostile.refused(p, "method-unavailable", "snapshot-revert", REPLACE, "block-dirty-bitmap-remove")
    p.command("block-dirty-bitmap-remove", {"node": node, "name": "b0"})
    p.command("snapshot-revert", REPLACE, timeout=30)


if __name__ == "__main__":
    sys.exit(harness.run([test_there_and_back, test_states,
                          test_a_client_waits_and_is_answered_once, test_all_kinds_of_requests_wait,
                          test_a_second_qemu_that_does_not_start,
                          test_the_first_one_may_take_longer_to_come_back,
                          test_neither_the_second_nor_the_first_starts,
                          test_what_was_kept_is_not_whole, test_memory_that_does_not_load,
                          test_save_as_that_fails_then, test_no_room_for_what_is_to_be_kept,
                          test_a_persistent_bitmap_is_in_the_way]))
