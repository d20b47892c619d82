#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the proxy listens and what it stands before: sockets of every kind, a QEMU that comes and
goes, and one that is slow to come."""

import fcntl
import grp
import json
import os
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "lib"))

# pylint: disable=wrong-import-position
import harness
import oracle
import qmp
import vm
from harness import equal

STATUS = b'{"execute":"query-status","id":1}\n'


def attached(t):
    """Stands before the QEMU at q.sock."""
    return vm.Attached(t, f"unix:{t.path('q.sock')}", name="p")


def serves(client):
    equal(client.command("query-status")["status"] in ("running", "prelaunch"), True, "served")


# ---- listeners ----

def test_a_unix_socket_has_the_mode_and_group_that_were_asked_for(t):
    group = grp.getgrgid(os.getegid()).gr_name
    for options, mode in (("", 0o600), (f",mode=0660,group={group}", 0o660), (",mode=0666", 0o666)):
        name = f"vm{mode:o}"
        path = t.path(name + ".sock")
        proxy = vm.Proxy(t, name=name, listen=f"unix:{path}{options}")
        proxy.start(connect=False)
        proxy.address = f"unix:{path}"
        client = harness.poll(proxy._try_client, 10, "the monitor to answer")
        info = path.stat()
        assert stat.S_ISSOCK(info.st_mode)
        equal(stat.S_IMODE(info.st_mode), mode, f"mode with '{options}'")
        equal(info.st_gid, os.getegid(), "group")
        serves(client)
        proxy.stop()
        assert not path.exists(), "the socket stayed"
    proxy = vm.Proxy(t, listen=f"unix:{t.path('x.sock')},group=no-such-group")
    proxy.start(connect=False)
    assert proxy.wait() != 0
    assert "no-such-group" in proxy.log.read_text()


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def test_tcp_on_loopback_serves_and_elsewhere_is_refused(t):
    port = free_port()
    proxy = vm.Proxy(t, listen=f"tcp:127.0.0.1:{port}").start()
    serves(proxy.qmp)
    serves(proxy.client())
    for address in (f"tcp:0.0.0.0:{free_port()}", f"tcp:192.0.2.1:{free_port()}"):
        bad = vm.Proxy(t, name="bad", listen=address).start(connect=False)
        assert bad.wait() != 0
        text = bad.log.read_text()
        assert "loopback" in text and "insecure=on" in text, text


def pass_fd(sock, number):
    """preexec_fn: the child has sock as that descriptor."""
    def prepare():
        os.dup2(sock.fileno(), number)
        os.set_inheritable(number, True)
    return prepare


def test_an_inherited_descriptor_is_listened_on(t):
    path = t.path("mine.sock")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        sock.listen(5)
        proxy = vm.Proxy(t, listen="fd:7")
        proxy.start(connect=False, preexec_fn=pass_fd(sock, 7), close_fds=False)
        proxy.address = f"unix:{path}"
        serves(harness.poll(proxy._try_client, 10, "the monitor to answer"))
        proxy.stop()
        assert path.exists(), "a socket that is not the proxy's was removed"
    for fd, make in ((9, None), (8, socket.socketpair)):
        pair = make() if make else None
        bad = vm.Proxy(t, name="bad", listen=f"fd:{fd}").start(
            connect=False, close_fds=False, preexec_fn=pass_fd(pair[0], fd) if pair else None)
        assert bad.wait() != 0
        assert f"escriptor {fd}" in bad.log.read_text()


def test_socket_activation_is_listened_on_and_not_passed_on(t):
    path = t.path("active.sock")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        sock.listen(5)
        proxy = vm.Proxy(t, listen=None)
        line = proxy.command_line()
        # The pid is only known behind the fork.
        script = 'export LISTEN_PID=$$; exec "$@"'
        proxy.command_line = lambda: ["/bin/sh", "-c", script, "sh", *line]
        proxy.start(connect=False, preexec_fn=pass_fd(sock, 3), close_fds=False,
                    env={"LISTEN_FDS": "1", "LISTEN_FDNAMES": "qmp"})
        proxy.address = f"unix:{path}"
        serves(harness.poll(proxy._try_client, 10, "the monitor to answer"))
        env = Path(f"/proc/{proxy.qemu_pid()}/environ").read_bytes()
        assert b"LISTEN_" not in env, "QEMU was told of descriptors that it has not"


def test_an_abstract_socket_of_qemus_arguments_is_taken_over(t):
    name = f"qmp-proxy-test-{os.getpid()}"
    for tight in ("on", "off"):
        proxy = vm.Proxy(t, name="vm" + tight, listen=None, args=[
            "-chardev", f"socket,id=c,path={name},abstract=on,tight={tight},server=on,wait=off",
            "-mon", "chardev=c,mode=control"])
        proxy.start(connect=False)
        address = "\0" + name if tight == "on" else ("\0" + name).ljust(108, "\0")
        sock = socket.socket(socket.AF_UNIX)

        def connect():
            try:
                sock.connect(address)
                return True
            except ConnectionRefusedError:
                return False
        harness.poll(connect, 10, "the abstract socket")
        sock.sendall(b'{"execute":"qmp_capabilities"}' + STATUS)
        sock.settimeout(10 * harness.SLOW)
        data = b""
        while data.count(b"\n") < 3:
            data += sock.recv(4096)
        assert b'"id": 1}' in data, data
        sock.close()
        proxy.stop()


def test_stdio_of_qemus_arguments_is_taken_over(t):
    proxy = vm.Proxy(t, listen=None, args=["-qmp", "stdio"])
    proxy.start(connect=False, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    stdin, stdout = proxy.process.stdin, proxy.process.stdout
    greeting = json.loads(stdout.readline())
    assert "QMP" in greeting
    stdin.write(b'{"execute":"qmp_capabilities"}' + STATUS)
    stdin.flush()
    equal(json.loads(stdout.readline()), {"return": {}}, "negotiation")
    equal(json.loads(stdout.readline())["id"], 1, "reply")
    stdin.write(b'{"execute":"quit","id":2}')
    stdin.flush()
    equal(json.loads(stdout.readline())["event"], "SHUTDOWN", "event")
    equal(json.loads(stdout.readline()), {"return": {}, "id": 2}, "reply to quit")
    equal(stdout.read(), b"", "what is behind it")
    equal(proxy.wait(), 0, "exit status")


def test_a_file_or_nothing_on_stdin_is_read_to_its_end(t):
    script = t.path("script")
    script.write_bytes(b'{"execute":"qmp_capabilities"}' + STATUS * 30 + b'{"execute":"quit"}')
    proxy = vm.Proxy(t, listen=None, args=["-qmp", "stdio"], name="file")
    out = t.path("out")
    with open(script, "rb") as stdin, open(out, "wb") as stdout:
        proxy.start(connect=False, stdin=stdin, stdout=stdout)
        equal(proxy.wait(), 0, "exit status")
    lines = [json.loads(line) for line in out.read_bytes().splitlines()]
    equal(sum(line.get("id") == 1 for line in lines), 30, "answers")
    equal(lines[-1], {"return": {}}, "the last one")
    proxy = vm.Proxy(t, args=["-qmp", "stdio"], name="null").start()    # /dev/null is its stdin
    serves(proxy.qmp)


def test_a_pipe_is_left_as_it_was_found(t):
    proxy = vm.Proxy(t, listen=None, args=["-qmp", "stdio"])
    read_end, write_end = os.pipe()
    try:
        proxy.start(connect=False, stdin=subprocess.PIPE, stdout=write_end)
        proxy.process.stdin.write(b'{"execute":"qmp_capabilities"}{"execute":"quit"}')
        proxy.process.stdin.flush()
        equal(proxy.wait(), 0, "exit status")
        equal(fcntl.fcntl(write_end, fcntl.F_GETFL) & os.O_NONBLOCK, 0, "flags of standard output")
    finally:
        os.close(read_end)
        os.close(write_end)


# ---- QEMU that comes and goes ----

def test_a_client_that_comes_before_qemu_is_served_when_it_is_there(t):
    proxy = attached(t)
    proxy.start(connect=False)
    early = harness.poll(lambda: _connect(proxy), 10, "the proxy to listen")
    early.send_raw(b'{"execute":"qmp_capabilities"}' + STATUS)
    harness.poll(lambda: "q.sock" in proxy.log.read_text(), 10, "the proxy to say what it waits for")
    own = vm.Qemu(t, name="q").start()
    own._close_clients()                # QEMU's monitor is free for the proxy
    assert "QMP" in early.recv(10)
    equal([early.recv(10).get("id") for _ in range(2)], [None, 1], "ids of the replies")


def _connect(proxy):
    try:
        return proxy.client(negotiate=False)
    except OSError:
        return None


def test_a_qemu_that_comes_back_is_served_again(t):
    own = vm.Qemu(t, name="q").start()
    own._close_clients()
    proxy = attached(t).start()
    for turn in range(3):
        client = proxy.client()
        serves(client)
        waiting = client.send("query-status")
        client.reply(waiting)
        if turn % 2:
            own.process.kill()
        else:
            client.reply(client.send("quit"))
        own.wait()
        assert client.closed(), "the client was not told by the end of its connection"
        early = proxy.client(negotiate=False)
        early.send_raw(b'{"execute":"qmp_capabilities"}' + STATUS)
        own = vm.Qemu(t, name="q").start(connect=False)
        assert "QMP" in early.recv(10)
        equal([early.recv(10).get("id") for _ in range(2)], [None, 1], "ids of the replies")
        early.close()
    equal(proxy.process.poll(), None, "the proxy")


def test_a_foreign_qemu_that_dies_in_an_operation_leaves_nothing_open(t):
    disks = oracle.make_disks(t.dir, ("qcow2",))
    own = vm.Qemu(t, disks, name="q", memory="256").start()
    own._close_clients()
    proxy = attached(t).start()
    for turn, delay in enumerate((0.0, 0.01, 0.03, 0.1)):
        client = proxy.client()
        client.send("snapshot-create", {"name": f"s{turn}", "memory": "none", "job-id": f"j{turn}"})
        try:
            client.closed(delay / harness.SLOW)
        except AssertionError:
            pass                        # its answer
        own.process.kill()
        own.wait()
        own = vm.Qemu(t, disks, name="q", memory="256").start(connect=False)
        client = harness.poll(proxy._try_client, 10, "QEMU to be back")
        for job in client.command("query-jobs"):
            harness.poll(lambda job=job: concluded(client, job["id"]), 10, f"{job['id']} to conclude")
            client.command("job-dismiss", {"id": job["id"]})
    equal(proxy.process.poll(), None, "the proxy")
    proxy.signal()
    equal(proxy.wait(), 0, "exit status")


def concluded(client, ident):
    return {job["id"]: job["status"] for job in client.command("query-jobs")}[ident] == "concluded"


def test_sigterm_in_an_operation_ends_a_proxy_that_is_attached(t):
    disks = oracle.make_disks(t.dir, ("qcow2",))
    own = vm.Qemu(t, disks, name="q", memory="512").start()
    own._close_clients()
    proxy = attached(t).start()
    proxy.qmp.send("snapshot-create", {"name": "s", "memory": "stream"})
    proxy.qmp.wait_event(lambda event: event["event"] in ("STOP", "JOB_STATUS_CHANGE"), 10)
    proxy.signal()
    equal(proxy.wait(), 0, "exit status")
    own._close_clients()
    client = harness.poll(own._try_client, 10, "QEMU to answer")
    equal(client.command("query-status")["status"], "running", "the guest")


def test_an_occupied_monitor_is_named_and_served_when_it_is_free(t):
    own = vm.Qemu(t, name="q").start()          # its own client is connected
    proxy = attached(t)
    proxy.start(connect=False)
    client = harness.poll(lambda: _connect(proxy), 10, "the proxy to listen")
    harness.poll(lambda: "does not greet" in proxy.log.read_text(), 15, "the warning")
    own._close_clients()
    assert "QMP" in client.recv(10)


def test_a_qemu_that_closes_its_monitor_and_lives_is_connected_to_again(t):
    proxy = vm.Proxy(t).start()
    other = proxy.client(oob=True)
    yanks = [i["id"] for i in other.command("query-yank") if i["type"] == "chardev"]
    pid = proxy.qemu_pid()
    for turn in range(3):
        client = proxy.client()
        # Its own reply is lost with the connection, as it is for a client of QEMU itself.
        client.send("yank", {"instances": [{"type": "chardev", "id": yanks[0]}]})
        assert client.closed(), "whose command was lost is not told"
        fresh = proxy.client()
        serves(fresh)
        serves(other)
        fresh.command("stop")
        other.wait_event("STOP")
        fresh.command("cont")
    equal(proxy.qemu_pid(), pid, "QEMU's pid")


def test_while_qemu_is_stopped_from_outside_clients_wait_and_then_go_on(t):
    proxy = vm.Proxy(t).start()
    os.kill(proxy.qemu_pid(), signal.SIGSTOP)
    try:
        late = proxy.client()           # greeted and negotiated by the proxy alone
        waiting = late.send("query-status")
        try:
            late.recv_raw(0.3)
            raise AssertionError("an answer without QEMU")
        except qmp.Timeout:
            pass
    finally:
        os.kill(proxy.qemu_pid(), signal.SIGCONT)
    equal(late.reply(waiting)["return"]["running"], True, "running")


if __name__ == "__main__":
    sys.exit(harness.run([test for name, test in list(globals().items())
                          if name.startswith("test_")], timeout=60))
