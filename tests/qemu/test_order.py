#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The order in which a client's commands begin and are answered, and what becomes of those that wait
when it goes.  Where QEMU's own queue is the model, a plain QEMU beside the proxy shows it."""

import json
import os
import signal
import socket
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "lib"))

# pylint: disable=wrong-import-position
import harness
import oracle
import qmp
import vm
from harness import equal


def request(command, ident, /, **arguments):
    return json.dumps({"execute": command, "id": ident,
                       "arguments": {k.replace("_", "-"): v for k, v in arguments.items()}})


def add_object(ident):
    return request("object-add", ident, qom_type="secret", id=ident, data="x")


def objects(client):
    return {entry["name"] for entry in client.command("qom-list", {"path": "/objects"})}


def blocked(t, guest, name):
    """A node-name's worth of a command that holds QEMU's main loop until the FIFO is opened."""
    fifo = t.path(f"{guest.name}-{name}.fifo")
    os.mkfifo(fifo)
    return fifo, request("blockdev-add", name, driver="blkdebug", node_name=name,
                         config=str(fifo), image={"driver": "null-co"})


def let_go(fifo):
    with open(fifo, "wb"):
        pass


# ---- beginning ----

def test_commands_of_one_write_see_what_those_before_them_did(t):
    client = vm.Proxy(t).start().qmp
    turns = 20
    for turn in range(turns):
        name = f"o{turn}"
        client.send_raw(add_object(name) + request("qom-get", f"{name}-get", path=f"/objects/{name}",
                                                   property="type") +
                        request("object-del", f"{name}-del", id=name) + add_object(name) +
                        request("query-status", f"{name}-status"))
    for turn in range(turns):
        for ident in ("", "-get", "-del", "", "-status"):
            reply = client.recv()
            equal(reply["id"], f"o{turn}{ident}", "id")
            assert "return" in reply, reply
    equal(len(objects(client) & {f"o{turn}" for turn in range(turns)}), turns, "objects")


def test_snapshot_commands_take_their_turn_among_others(t):
    disks = oracle.make_disks(t.dir, ("qcow2",))
    proxy = vm.Proxy(t, disks).start()
    proxy.serial.wait_tick(5)
    client = proxy.client(timeout=60)
    client.send_raw(add_object("before") + request("snapshot-create", "c1", name="s1") +
                    add_object("between") + request("snapshot-create", "c2", name="s2") +
                    request("query-snapshots", "q") + request("snapshot-delete", "d1", name="s1") +
                    request("query-snapshots", "q2") + request("snapshot-delete", "d2", name="s2"))
    client.sock.shutdown(socket.SHUT_WR)    # as a shell's one-liner does
    replies = []
    for want in ("before", "c1", "between", "c2", "q", "d1", "q2", "d2"):
        reply = client.reply(want)
        assert "return" in reply, reply
        replies.append(reply["return"])
    equal([s["name"] for s in replies[4]], ["s1", "s2"], "snapshots in the middle")
    equal([s["name"] for s in replies[6]], ["s2"], "snapshots later")
    assert client.closed(), "not closed when all is answered"
    equal({"before", "between"} - objects(proxy.qmp), set(), "objects that are missing")
    proxy.serial.check()


def test_what_had_not_begun_when_the_client_went_is_not_done(t):
    watch = f"unix:{t.path('watch.sock')}"
    for guest, second in ((vm.Proxy(t, name="proxy"), None),
                          (vm.Qemu(t, name="plain", args=["-qmp", watch + ",server=on,wait=off"]),
                           watch)):
        client = guest.start().qmp
        watcher = guest.client(second)
        fifo, block = blocked(t, guest, "slow")
        client.send_raw(block + add_object("second") + add_object("third"))
        pending = harness.poll(lambda: unanswered(watcher), 10, "QEMU to be busy")
        client.close()
        let_go(fifo)
        watcher.reply(pending)
        nodes = {n["node-name"] for n in watcher.command("query-named-block-nodes")}
        assert "slow" in nodes, "what had begun was not finished"
        equal(objects(watcher) & {"second", "third"}, set(), f"{guest.name}: done without a client")


def unanswered(client):
    """The id of a question that QEMU's main loop does not answer just now; None: it does."""
    ident = client.send("query-name")
    try:
        client.reply(ident, 0.3)
        return None
    except qmp.Timeout:
        return ident


def test_as_many_commands_wait_as_in_qemu_before_nothing_more_is_read(t):
    for guest in (vm.Proxy(t, name="proxy").start(), vm.Qemu(t, name="plain").start()):
        guest._close_clients()
        for waiting, overtakes in ((7, True), (8, False)):
            client = guest.client(oob=True)
            fifo, block = blocked(t, guest, f"slow{waiting}")
            client.send_raw(block + "".join(request("query-name", n) for n in range(waiting)) +
                            '{"exec-oob":"query-yank","id":"oob"}')
            if overtakes:
                equal(client.recv()["id"], "oob", f"{guest.name}: first with {waiting} waiting")
            else:
                try:
                    late = client.recv(0.5)
                    raise AssertionError(f"{guest.name} answers {late['id']} with {waiting} waiting")
                except qmp.Timeout:
                    pass
            let_go(fifo)
            want = [f"slow{waiting}", *range(waiting)] + ([] if overtakes else ["oob"])
            got = [client.recv()["id"] for _ in want]
            if overtakes:
                equal(got, want, f"{guest.name}: order")
            else:               # it is read as soon as there is room
                equal([ident for ident in got if ident != "oob"], want[:-1], "order")
                assert got.index("oob") > 0, got
            client.close()


def test_an_out_of_band_command_gets_through_while_an_operation_runs(t):
    disks = oracle.make_disks(t.dir, ("qcow2",))
    proxy = vm.Proxy(t, disks).start()
    proxy.serial.wait_tick(5)
    client = proxy.client(oob=True, timeout=60)
    client.send_raw(request("snapshot-create", "c", name="s1") +
                    '{"exec-oob":"query-yank","id":"oob"}' + request("query-status", "after"))
    ids = []
    while "after" not in ids:
        message = client.recv()
        if "event" not in message:
            ids.append(message["id"])
    equal(ids, ["oob", "c", "after"], "order of the replies")


def test_what_is_known_at_once_is_not_held_up_by_an_open_out_of_band_command(t):
    proxy = vm.Proxy(t).start()
    client = proxy.client(oob=True)
    client.command("query-commands")            # known from now on
    for turn in range(20):
        for behind in ('{"execute":"query-commands","id":"i"}', '{"execute":1,"id":"i"}'):
            client.send_raw('{"exec-oob":"yank","arguments":{"instances":[]},"id":"o"}' + behind)
            equal(sorted(client.recv()["id"] for _ in range(2)), ["i", "o"], f"turn {turn}")


def test_an_operation_begins_when_what_came_before_is_done(t):
    """A large command takes QEMU a while to read; a snapshot of another client waits for it."""
    disks = oracle.make_disks(t.dir, ("qcow2",))
    proxy = vm.Proxy(t, disks).start()
    proxy.serial.wait_tick(5)
    slow, other = proxy.client(timeout=60), proxy.client(timeout=60)
    for turn in range(3):
        slow.send_raw(request("object-add", "slow", qom_type="secret", id=f"o{turn}",
                              data="x" * 150000))
        for _ in range(30):             # by then the proxy has read it, and QEMU has not
            other.command("query-status")
        created = other.send("snapshot-create", {"name": f"s{turn}", "memory": "none"})
        assert "return" in other.reply(created, 60)
        assert f"o{turn}" in objects(other), "it was not waited for"
        assert "return" in slow.reply("slow")
    proxy.serial.check()


def test_a_client_that_is_stopped_half_way_gets_the_rest_later(t):
    """More than fits into the socket, read slowly: nothing is lost, doubled or out of order."""
    proxy = vm.Proxy(t).start()
    client = proxy.client(timeout=60)
    count = 60
    os.kill(proxy.process.pid, signal.SIGSTOP)
    try:
        client.send_raw("".join(request("query-qmp-schema", n) if n % 4 == 0 else
                                request("query-name", n) for n in range(count)))
    finally:
        os.kill(proxy.process.pid, signal.SIGCONT)
    equal([client.recv()["id"] for _ in range(count)], list(range(count)), "order")


if __name__ == "__main__":
    sys.exit(harness.run([test for name, test in list(globals().items())
                          if name.startswith("test_")], timeout=90))
