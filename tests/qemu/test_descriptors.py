#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Descriptors that clients pass: names that collide, and what stays behind when a client goes.  Where
QEMU's own monitor is the model, a plain QEMU beside the proxy shows it."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "lib"))

# pylint: disable=wrong-import-position
import harness
import vm
from harness import equal


def pass_file(client, path, name):
    """getfd of a new file under that name."""
    with open(path, "w+b") as file:
        client.command("getfd", fdname=name, fds=[file.fileno()])


def save_to(client, name):
    """Migrates to the descriptor of that name; QEMU then runs on."""
    client.command("stop")
    client.command("migrate", uri=f"fd:{name}")

    def over():
        status = client.command("query-migrate").get("status")
        assert status != "failed", "the migration failed"
        return status == "completed"
    harness.poll(over, 20, "the migration")
    harness.poll(lambda: client.command("query-status")["status"] == "postmigrate", 10, "its end")
    client.command("cont")


def holds_memory(path):
    return path.read_bytes()[:4] == b"QEVM"


def open_files(guest, paths):
    """Which of these files the guest's QEMU has open."""
    pid = guest.qemu_pid() if isinstance(guest, vm.Proxy) else guest.process.pid
    links = {os.readlink(entry.path) for entry in os.scandir(f"/proc/{pid}/fd")}
    return {path.name for path in paths if str(path) in links}


def missing(name, command="closefd"):
    return f"File descriptor named '{name}' {'not' if command == 'closefd' else 'has not been'} found"


def test_equal_names_of_two_clients_lead_to_their_own_descriptors(t):
    proxy = vm.Proxy(t).start()
    clients = [proxy.client() for _ in range(3)]
    files = [t.path(f"memory{n}") for n in range(3)]
    for client, path in zip(clients, files):
        pass_file(client, path, "mig")
    for number, (client, path) in enumerate(zip(clients, files)):
        save_to(client, "mig")
        equal([holds_memory(p) for p in files], [n <= number for n in range(3)], "files written")
        equal(client.refused("migrate", uri="fd:mig").desc, missing("mig", "migrate"), "used twice")
        assert path.exists()


def test_a_clients_name_is_out_of_reach_for_others(t):
    proxy = vm.Proxy(t).start()
    one, two = proxy.client(), proxy.client()
    path = t.path("one")
    pass_file(one, path, "mine")
    for command, arguments in (("closefd", {"fdname": "mine"}), ("migrate", {"uri": "fd:mine"}),
                               ("dump-guest-memory", {"paging": False, "protocol": "fd:mine"}),
                               ("netdev_add", {"type": "socket", "id": "n", "fd": "mine"})):
        error = two.refused(command, arguments)
        assert "'mine'" in error.desc and "qmp-proxy" not in error.desc, error.desc
        equal(open_files(proxy, [path]), {"one"}, f"after {command} of another client")
    other = t.path("two")
    pass_file(two, other, "mine")
    two.command("closefd", fdname="mine")
    equal(open_files(proxy, [path, other]), {"one"}, "after the other closed its own")
    equal(two.refused("closefd", fdname="mine").desc, missing("mine"), "a second time")
    pass_file(one, t.path("newer"), "mine")     # takes the place of the first, as in QEMU
    equal(open_files(proxy, [path, t.path("newer")]), {"newer"}, "after a second getfd")
    one.command("closefd", fdname="mine")
    equal(open_files(proxy, [path, t.path("newer")]), set(), "at the end")


def test_a_name_that_looks_like_one_of_the_proxys_is_a_name_like_any_other(t):
    proxy = vm.Proxy(t).start()
    one, two = proxy.client(), proxy.client()
    paths = {name: t.path(name) for name in ("raw", "odd", "alias", "more")}
    pass_file(one, paths["odd"], "x.qmp-proxy-1")
    pass_file(one, paths["raw"], "x")
    pass_file(two, paths["alias"], "x")
    pass_file(two, paths["more"], "x.qmp-proxy-1")
    equal(open_files(proxy, paths.values()), set(paths), "files that are open")
    for client, name, closed in ((two, "x", "alias"), (one, "x.qmp-proxy-1", "odd"),
                                 (two, "x.qmp-proxy-1", "more"), (one, "x", "raw")):
        client.command("closefd", fdname=name)
        del paths[closed]
        equal(open_files(proxy, [t.path(p) for p in ("raw", "odd", "alias", "more")]), set(paths),
              f"after closing {name}")


def test_a_getfd_that_fails_takes_no_name(t):
    proxy = vm.Proxy(t).start()
    one, two = proxy.client(), proxy.client()
    equal(one.refused("getfd", fdname="x").desc, "No file descriptor supplied via SCM_RIGHTS", "getfd")
    pass_file(two, t.path("file"), "x")
    equal(one.refused("closefd", fdname="x").desc, missing("x"), "closefd of who failed")
    save_to(two, "x")
    assert holds_memory(t.path("file"))


def test_what_takes_no_descriptor_holds_up_nobody(t):
    proxy = vm.Proxy(t).start()
    oob = proxy.client(oob=True)
    with open(t.path("file"), "w+b") as file:
        error = qmp_error(oob, oob.send("getfd", {"fdname": "x"}, oob=True, fds=[file.fileno()]))
    equal(error["desc"], "The command getfd does not support OOB", "out of band")
    equal(proxy.command("query-status")["running"], True, "another client")
    oob.command("getfd", {"fdname": "x"})       # the descriptor is still there for it, as in QEMU
    oob.command("closefd", {"fdname": "x"})
    for command in ("getfd", "closefd", "remove-fd"):
        assert "is missing" in oob.refused(command).desc, command


def qmp_error(client, ident):
    return client.reply(ident)["error"]


def test_names_as_long_as_they_like(t):
    proxy = vm.Proxy(t).start()
    name = "n" * 40000
    pass_file(proxy.qmp, t.path("file"), name)
    other = proxy.client(timeout=60)
    pass_file(other, t.path("other"), name)
    for client in (proxy.qmp, other):
        client.command("closefd", fdname=name, timeout=60)
    equal(open_files(proxy, [t.path("file"), t.path("other")]), set(), "after closefd")


def test_names_stay_when_their_client_goes_as_they_do_in_qemu(t):
    for guest in (vm.Proxy(t, name="proxy").start(), vm.Qemu(t, name="plain").start()):
        guest._close_clients()
        paths = [t.path(f"{guest.name}-{n}") for n in range(3)]
        for path in paths:
            client = guest.client()
            pass_file(client, path, "left")
            client.close()
        client = harness.poll(guest._try_client, 10, "the monitor to answer")
        equal(open_files(guest, paths), {paths[2].name}, f"{guest.name}: files that are open")
        save_to(client, "left")
        assert holds_memory(paths[2])
        equal(client.refused("closefd", fdname="left").desc, missing("left"), "its name is used up")


def test_names_that_two_clients_leave_behind_become_one(t):
    proxy = vm.Proxy(t).start()
    clients, paths = [proxy.client() for _ in range(2)], [t.path("a"), t.path("b")]
    for client, path in zip(clients, paths):
        pass_file(client, path, "left")
    equal(open_files(proxy, paths), {"a", "b"}, "while both are connected")
    for client in clients:
        client.close()
    harness.poll(lambda: len(open_files(proxy, paths)) == 1, 10, "the older one to be closed")
    proxy.command("closefd", fdname="left")
    equal(open_files(proxy, paths), set(), "after closefd")


def test_sets_that_nothing_uses_are_closed_as_qemu_closes_them(t):
    for guest in (vm.Proxy(t, name="proxy").start(), vm.Qemu(t, name="plain").start()):
        free, used = t.path(f"{guest.name}-free"), t.path(f"{guest.name}-used")
        for path in (free, used):
            with open(path, "w+b") as file:
                file.truncate(1 << 20)
                added = guest.command("add-fd", opaque=path.name, fds=[file.fileno()])
        guest.command("blockdev-add", {"driver": "file", "node-name": "n", "filename":
                                       f"/dev/fdset/{added['fdset-id']}"})
        if isinstance(guest, vm.Proxy):     # somebody else is connected: all stay
            other = guest.client()
            guest.qmp.close()
            equal(len(other.command("query-fdsets")), 2, "sets while a client is connected")
        guest._close_clients()
        kept = {"used"} if vm.qemu_version() < (9, 1) else {"free", "used"}
        want = {f"{guest.name}-{word}" for word in kept}

        def sets():
            client = guest._try_client()
            if client is None:
                return None
            try:
                return {fd["opaque"] for s in client.command("query-fdsets") for fd in s["fds"]}
            finally:
                client.close()
        harness.poll(lambda: sets() == want, 5, f"{guest.name}: {want} to stay of the sets")
        client = harness.poll(guest._try_client, 10, "the monitor to answer")
        equal(client.command("query-status")["running"], True, "the guest")


def test_a_revert_forgets_the_names_of_the_qemu_before(t):
    proxy = vm.Proxy(t).start()
    one, two = proxy.client(), proxy.client()
    one.command("snapshot-create", {"name": "s"}, timeout=30)
    pass_file(one, t.path("one"), "x")
    one.command("snapshot-revert", {"name": "s", "discard": True}, timeout=30)
    equal(one.refused("closefd", fdname="x").desc, missing("x"), "the name of the client")
    pass_file(two, t.path("two"), "x")
    save_to(two, "x")
    assert holds_memory(t.path("two"))


if __name__ == "__main__":
    sys.exit(harness.run([test for name, test in list(globals().items())
                          if name.startswith("test_")], timeout=60))
