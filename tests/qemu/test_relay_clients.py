#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Clients beside each other: events, bad neighbours, out-of-band commands, descriptors, the end."""

import json
import os
import resource
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "lib"))

# pylint: disable=wrong-import-position
import harness
import qmp
import vm
from harness import equal

NEGOTIATE = b'{"execute":"qmp_capabilities"}\n'
STATUS = b'{"execute":"query-status","id":1}'


def latency(client):
    """Milliseconds of one round trip."""
    return vm.timed(client.command, "query-status")[1]


def schema_time(client):
    """Milliseconds that QEMU, on this machine and now, takes for its slowest query."""
    times = []
    for _ in range(5):
        client.send_raw('{"execute":"query-qmp-schema"}')
        times.append(vm.timed(client.recv_raw)[1])
    return sorted(times)[2]


def kib(proxy, field):
    """A field of the proxy's /proc/PID/status: VmRSS, or VmHWM, the most that it ever was."""
    status = Path(f"/proc/{proxy.process.pid}/status").read_text()
    return int(status.split(field + ":")[1].split()[0])


# ---- events ----

def test_events_reach_all_that_negotiated_and_nobody_before(t):
    proxy = vm.Proxy(t).start()
    clients = [proxy.client() for _ in range(4)]
    early = proxy.client(negotiate=False)
    proxy.command("stop")
    equal([event["event"] for event in proxy.qmp.events], ["STOP"], "events before the reply")
    lines = [client.recv_raw() for client in clients]
    equal(len(set(lines)), 1, "different event lines")
    equal(json.loads(lines[0])["event"], "STOP", "event")
    early.negotiate()
    equal(early.drain(), [], "events from before the negotiation")
    proxy.command("cont")
    for client in (*clients, early):
        client.wait_event("RESUME")


def test_the_reply_to_qmp_capabilities_is_the_next_line_in_a_storm_of_events(t):
    proxy = vm.Proxy(t).start()
    done, blown = threading.Event(), []

    def blow(storm):
        while not done.is_set():
            ids = [storm.send(name) for name in ("stop", "cont") * 4]
            for cid in ids:
                storm.reply(cid)
            blown.append(len(storm.events))
            storm.events.clear()
    threads = [threading.Thread(target=blow, args=(proxy.client(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    negotiated, end = 0, time.monotonic() + 20 * harness.SLOW
    try:
        while (negotiated < 100 or sum(blown) < 500) and time.monotonic() < end:
            client = qmp.Client(proxy.address, negotiate=False)
            assert "QMP" in client.recv()
            client.send_raw('{"execute":"qmp_capabilities","id":"__qmp#00000"}\r\n')
            equal(client.recv(), {"return": {}, "id": "__qmp#00000"}, "next line")
            client.close()
            negotiated += 1
    finally:
        done.set()
        for thread in threads:
            thread.join()
    assert negotiated >= 100 and sum(blown) >= 500, f"{negotiated} clients, {sum(blown)} events"


# ---- bad neighbours ----

def test_clients_that_vanish_harm_nobody(t):
    proxy = vm.Proxy(t).start()
    fds = proxy.fd_count()
    for data in (b'{"execute":"query-st', b'{"execute":"query-qmp-schema"}' * 8, b"[[[[", b"",
                 NEGOTIATE + b'{"execute":"query-qmp-schema","id":1}' * 40,
                 NEGOTIATE + STATUS * 3 + b'{"execute":"query-status","id":"'):
        for reset in (False, True):
            for _ in range(5):
                client = qmp.Client(proxy.address, negotiate=False)
                client.send_raw(data)
                if reset:       # with unread data in it the connection is reset, not closed
                    client.recv_raw()
                client.close()
            equal(proxy.command("query-status")["running"], True, "another client")
    harness.poll(lambda: proxy.fd_count() == fds, 10, f"{fds} descriptors, not {proxy.fd_count()}")


def test_a_client_that_never_reads_neither_slows_others_nor_fills_memory(t):
    proxy = vm.Proxy(t).start()
    unit = schema_time(proxy.client())
    before, worst, data = kib(proxy, "VmRSS"), 0, b'{"execute":"query-qmp-schema"}' * 2000
    deaf = proxy.client()
    deaf.sock.setblocking(False)
    end = time.monotonic() + 4 * harness.SLOW
    while time.monotonic() < end:
        try:
            data = data[deaf.sock.send(data):] + STATUS
        except BlockingIOError:
            pass
        except (BrokenPipeError, ConnectionResetError):
            break
        worst = max(worst, latency(proxy.qmp))
    grown = kib(proxy, "VmHWM") - before
    t.note(f"worst round trip {worst:.1f} ms, memory at most +{grown} KiB")
    # A client has 8 commands on the way at most.
    assert worst < 300 + 16 * unit, f"another client waited {worst} ms, a schema takes {unit} ms"
    # Sanitizers keep what was freed: only a bound that tells boundless growth (2,000 x 210 KB).
    assert grown < 150 << 10, f"memory grew by {grown} KiB"
    deaf.close()
    calm = min(latency(proxy.qmp) for _ in range(20))
    assert calm < 50 * harness.SLOW, f"a round trip still takes {calm} ms"


def test_a_hundred_clients_are_served_at_once(t):
    proxy = vm.Proxy(t).start()
    fds = proxy.fd_count()
    clients = [proxy.client() for _ in range(100)]
    ids = [client.send("query-status") for client in clients]
    for client, cid in zip(clients, ids):
        equal(client.reply(cid)["return"]["running"], True, "running")
    proxy.command("stop")
    for client in clients:
        client.wait_event("STOP")
        client.close()
    harness.poll(lambda: proxy.fd_count() == fds, 10, "the descriptors to be closed")


def test_busy_clients_share_qemu_with_one_that_asks_little(t):
    proxy = vm.Proxy(t).start()
    done, served, hogs = threading.Event(), [], [proxy.client() for _ in range(5)]

    # With arguments, so that the proxy does not answer it from what it knows.
    ask = '{"execute":"query-qmp-schema","arguments":{}}'

    def hog(client):        # always has eight on the way
        client.send_raw(ask * 8)
        while not done.is_set():
            client.recv_raw(30)
            served.append(client)
            client.send_raw(ask)
    threads = [threading.Thread(target=hog, args=(client,)) for client in hogs]
    for thread in threads:
        thread.start()
    try:
        harness.poll(lambda: len(served) > 10, 30, "the others to be busy")
        before = len(served)
        for _ in range(3):
            proxy.command("query-status", timeout=30)
        waited = (len(served) - before) / 3
    finally:
        done.set()
        for thread in threads:
            thread.join()
    # In turns it is one of each, and the 4 that QEMU has already; behind all their pipelines, 40.
    assert waited < 20, f"waited for {waited:.0f} commands of others"


def test_running_out_of_descriptors_is_waited_out(t):
    proxy = vm.Proxy(t).start(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE,
                                                                    (64, 64)))

    def cpu():
        stat = Path(f"/proc/{proxy.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")
    crowd = [qmp.connect(proxy.address) for _ in range(100)]
    used = cpu()
    assert not proxy.qmp.closed(1 / harness.SLOW), "the first client was closed"     # for a second
    used = cpu() - used
    equal(proxy.command("query-status")["running"], True, "the first client")
    for sock in crowd:
        sock.close()
    equal(proxy.client().command("query-status")["running"], True, "a new client")
    assert used < 0.2, f"{used} s of processor time in a second of waiting"


# ---- out of band, descriptors ----

def test_an_out_of_band_command_overtakes_and_only_for_who_enabled_it(t):
    proxy = vm.Proxy(t).start()
    oob, plain = proxy.client(oob=True), proxy.client()
    oob.send_raw("".join(json.dumps({"execute": "query-qmp-schema", "id": n}) for n in range(6)) +
                 '{"exec-oob":"query-yank","id":"now"}')
    order = [oob.recv()["id"] for _ in range(7)]
    equal([cid for cid in order if cid != "now"], list(range(6)), "order of the others")
    assert order.index("now") < 3, f"did not overtake: {order}"
    equal(oob.refused("query-status", oob=True).desc,
          "The command query-status does not support OOB", "a command without OOB")
    plain.send_raw('{"exec-oob":"query-yank","id":1}')
    equal(plain.recv()["error"]["desc"], "QMP input member 'exec-oob' is unexpected", "plain")


def add_fd_command(path, cid):
    return json.dumps({"execute": "add-fd", "arguments": {"opaque": str(path)}, "id": cid}).encode()


def test_descriptors_pass_and_work(t):
    proxy = vm.Proxy(t).start()
    target = t.path("memory")
    with open(target, "w+b") as file:
        proxy.command("getfd", fdname="mig", fds=[file.fileno()])
        added = proxy.command("add-fd", opaque="mine", fds=[file.fileno()])
        sets = proxy.command("query-fdsets")
        equal([(s["fdset-id"], s["fds"][0]["opaque"]) for s in sets],
              [(added["fdset-id"], "mine")], "fdsets")
        equal(os.readlink(f"/proc/{proxy.qemu_pid()}/fd/{added['fd']}"), str(target), "the file")
        proxy.command("remove-fd", {"fdset-id": added["fdset-id"]})
    proxy.command("stop")
    proxy.command("migrate", uri="fd:mig")
    harness.poll(lambda: proxy.command("query-migrate").get("status") == "completed", 10, "migrate")
    equal(target.read_bytes()[:4], b"QEVM", "magic of the saved memory")
    equal(proxy.qmp.refused("getfd", fdname="none").desc,
          "No file descriptor supplied via SCM_RIGHTS", "a command without its descriptor")
    fds = proxy.fd_count()
    for _ in range(5):          # descriptors that no command takes are closed
        with tempfile.TemporaryFile() as file:
            proxy.command("query-status", fds=[file.fileno()] * 3)
    assert proxy.fd_count() <= fds + 3, f"descriptors leak: {fds} became {proxy.fd_count()}"


def test_clients_that_pipeline_add_fd_get_their_own_descriptors(t):
    proxy = vm.Proxy(t).start()
    clients = [proxy.client(oob=number == 1) for number in range(3)]
    want = {}
    for turn in range(12):
        for number, client in enumerate(clients):
            path = t.path(f"fd-{number}-{turn}")
            want[number, turn] = str(path)
            with open(path, "wb") as file:
                client.send_raw(STATUS + add_fd_command(path, turn), [file.fileno()])
    for number, client in enumerate(clients):
        for turn in range(12):
            equal(client.recv()["id"], 1, "id of the command between")
            got = client.recv()
            equal(got["id"], turn, "id")
            link = os.readlink(f"/proc/{proxy.qemu_pid()}/fd/{got['return']['fd']}")
            equal(link, want[number, turn], f"descriptor {turn} of client {number}")
    opaque = {fd["opaque"]: fd["fd"] for s in proxy.command("query-fdsets") for fd in s["fds"]}
    equal(sorted(opaque), sorted(want.values()), "what QEMU has")


# ---- large, and the end ----


def test_a_command_and_a_reply_of_a_megabyte_pass(t):
    proxy = vm.Proxy(t, args=["-chardev", "ringbuf,id=ring,size=2M"]).start()
    data = "".join(f"{n:07x}," for n in range(1 << 17))
    proxy.command("ringbuf-write", device="ring", data=data, timeout=40)
    got = proxy.command("ringbuf-read", device="ring", size=len(data), timeout=40)
    assert got == data, f"{len(got)} characters came back, not {len(data)}, or others"


def test_quit_by_one_client_ends_all_after_its_reply(t):
    for turn in range(5):
        proxy = vm.Proxy(t, name=f"vm{turn}").start()
        others, early = [proxy.client() for _ in range(3)], proxy.client(negotiate=False)
        assert "QMP" in early.recv()
        cid = proxy.qmp.send("quit")
        equal(proxy.qmp.reply(cid), {"return": {}, "id": cid}, "reply")
        equal([e["event"] for e in proxy.qmp.events], ["SHUTDOWN"], "events before it")
        assert proxy.qmp.closed(), "no end of file"
        for client in others:
            event = client.wait_event("SHUTDOWN")
            equal(event["data"], {"guest": False, "reason": "host-qmp-quit"}, "event")
            assert client.closed() and not client.events
        assert early.closed() and not early.events
        equal(proxy.wait(), 0, "exit status")


if __name__ == "__main__":
    sys.exit(harness.run([test for name, test in list(globals().items())
                          if name.startswith("test_")], timeout=60))
