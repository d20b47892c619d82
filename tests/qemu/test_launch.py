#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What the user's command line asks for: where the proxy listens, how it ends, what it refuses."""

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


def arguments_of(pid):
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode().split("\0")


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def sockets_of(pid):
    """Inodes of the sockets that a process holds."""
    folder = Path(f"/proc/{pid}/fd")
    links = [os.readlink(folder / name) for name in os.listdir(folder)]
    return {int(link[8:-1]) for link in links if link.startswith("socket:[")}


def launched(t, *args, address=None, **options):
    """A proxy without -l, known at an address that QEMU's arguments name."""
    proxy = vm.Proxy(t, args=args, listen=None, **options)
    proxy.address = address or f"unix:{t.path('own.sock')}"
    return proxy


def run(t, *words, qemu=True, **options):
    """Runs the proxy until it ends by itself: (status, what it said)."""
    words = [vm.PROXY_BIN, "-d", t.path("run.state"), *words]
    words += ["--", vm.QEMU, "-nodefaults"] if qemu else []
    options.setdefault("cwd", t.dir)
    done = subprocess.run(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                          stderr=subprocess.STDOUT, timeout=20 * harness.SLOW, check=False,
                          **options)
    return done.returncode, done.stdout


# ---- monitors ----

def check_served(proxy):
    """A client at its address is served, and QEMU itself knows nothing of that address."""
    equal(proxy.command("query-snapshots"), [], "snapshots")
    equal(proxy.client().command("query-status")["status"], "running", "a second client")
    where = proxy.address.split(":", 1)[1]
    words = arguments_of(proxy.qemu_pid())
    assert not [word for word in words if where in word or word == "-qmp"], words


def test_qmp_on_a_unix_socket_is_taken_over(t):
    path = t.path("own.sock")
    proxy = launched(t, "-qmp", f"unix:{path},server=on,wait=off").start()
    check_served(proxy)
    equal(proxy.stop(), 0, "exit status")
    assert not path.exists(), "the socket stayed"


def test_qmp_on_tcp_is_taken_over(t):
    port = free_port()
    for number, form in enumerate(("tcp:127.0.0.1:{},server,nowait", "tcp:localhost:{},server=on,"
                                   "wait=off,nodelay=on")):
        proxy = launched(t, "-qmp", form.format(port), address=f"tcp:127.0.0.1:{port}",
                         name=f"vm{number}").start()
        check_served(proxy)
        proxy.stop()


def test_mon_with_its_chardev_is_taken_over_and_others_stay(t):
    human = t.path("human.sock")
    proxy = launched(t, "-chardev", f"socket,id=c0,path={t.path('own.sock')},server=on,wait=off",
                     "-mon", "chardev=c0,mode=control,id=m0",
                     "-monitor", f"unix:{human},server=on,wait=off").start()
    check_served(proxy)
    assert "c0" not in [chardev["label"] for chardev in proxy.command("query-chardev")]
    with qmp.connect(human) as sock:
        harness.poll(lambda: b"(qemu)" in sock.recv(4096), 5, "the monitor for people")


def test_several_monitors_and_listeners_serve_at_once(t):
    paths = [t.path(name) for name in ("qmp", "mon", "listen", "bare")]
    port = free_port()
    proxy = launched(t, "-qmp", f"unix:{paths[0]},server=on,wait=off",
                     "-chardev", f"socket,id=c,path={paths[1]},server,nowait",
                     "-mon", "c,mode=control",
                     options=["-l", f"unix:{paths[2]},server=on,wait=off", "-l", paths[3],
                              "-l", f"tcp:127.0.0.1:{port}"], address=f"unix:{paths[0]}").start()
    clients = [proxy.client(where) for where in (*paths, f"tcp:127.0.0.1:{port}")]
    clients[0].command("stop")
    for client in clients:
        client.wait_event("STOP")
        equal(client.command("query-status")["status"], "paused", "status")
    proxy.stop()
    assert not [path for path in paths if path.exists()], "sockets stayed"


def test_with_wait_on_qemu_starts_when_a_client_comes(t):
    path = t.path("own.sock")
    for number, words in enumerate((("-qmp", f"unix:{path},server=on"),
                                    ("-chardev", f"socket,id=c,path={path},server=on,wait=on",
                                     "-mon", "chardev=c,mode=control"))):
        proxy = launched(t, *words, name=f"vm{number}").start(connect=False)
        harness.poll(path.exists, 10, "the socket")
        equal(proxy.all_pids(), [proxy.process.pid], "processes before a client came")
        proxy.qmp = harness.poll(proxy._try_client, 10, "the monitor to answer")  # pylint: disable=protected-access
        check_served(proxy)
        proxy.stop()


def check_talk(file):
    """The proxy is at the other end of a connection that no Client made."""
    assert b'"QMP"' in file.readline()
    file.write(b'{"execute":"qmp_capabilities","id":1}{"execute":"query-snapshots"}')
    file.flush()
    equal(file.readline(), b'{"return": {}, "id": 1}\r\n', "negotiation")
    equal(file.readline(), b'{"return": []}\r\n', "snapshots")


def test_a_monitor_in_client_mode_is_connected_to_its_peer(t):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(t.path("own.sock")))
        server.listen()
        server.settimeout(10 * harness.SLOW)    # the accepted socket has none
        proxy = launched(t, "-chardev", f"socket,id=c,path={t.path('own.sock')}", "-mon",
                         "chardev=c,mode=control").start(connect=False)
        with server.accept()[0] as sock, sock.makefile("rwb") as file:
            check_talk(file)
            words = arguments_of(proxy.qemu_pid())
            assert not [word for word in words if "own.sock" in word], words
            file.write(b'{"execute":"quit"}')
            file.flush()
            assert b'"SHUTDOWN"' in file.readline()
        equal(proxy.wait(), 0, "exit status")


def test_a_monitor_in_client_mode_connects_again_when_told_to(t):
    proxy = launched(t, "-chardev", f"socket,id=c,path={t.path('late')},reconnect=1", "-mon",
                     "chardev=c,mode=control", options=["-l", t.path("own.sock")]).start()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(t.path("late")))
        server.listen()
        server.settimeout(10 * harness.SLOW)
        for _ in range(2):
            with server.accept()[0] as sock, sock.makefile("rwb") as file:
                check_talk(file)
    equal(proxy.command("query-status")["running"], True, "running")


def test_qmp_pretty_is_pretty(t):
    path = t.path("own.sock")
    words = ["-qmp-pretty", f"unix:{path},server=on,wait=off"]
    proxy = launched(t, *words).start(connect=False)

    def talk():
        client = qmp.Client(f"unix:{path}", negotiate=False)
        with client, client.sock.makefile("rb") as file:
            client.send_raw('{"execute":"qmp_capabilities"}{"execute":"query-status"}'
                            '{"execute":"no-such-end"}')
            client.sock.shutdown(socket.SHUT_WR)
            return file.read()
    harness.poll(path.exists, 10, "the socket")
    ours = talk()
    proxy.stop()
    vm.Qemu(t, args=words, name="direct").start()
    equal(ours, talk(), "what a client reads")


def test_an_inherited_listening_socket_is_served_and_kept_from_qemu(t):
    server = socket.socket(socket.AF_UNIX)
    with server:
        server.bind(str(t.path("own.sock")))
        server.listen()
        fd, inode = server.fileno(), os.fstat(server.fileno()).st_ino
        proxy = launched(t, "-chardev", f"socket,id=charmonitor,fd={fd},server=on,wait=off", "-mon",
                         "chardev=charmonitor,id=monitor,mode=control").start(
                             connect=False, pass_fds=[fd])
    proxy.qmp = harness.poll(proxy._try_client, 10, "the monitor to answer")
    check_served(proxy)
    assert inode in sockets_of(proxy.process.pid) - sockets_of(proxy.qemu_pid()), "who holds it"


def test_an_inherited_connected_socket_is_served(t):
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            inode = os.fstat(theirs.fileno()).st_ino
            proxy = launched(t, "-chardev", f"socket,id=mon,fd={theirs.fileno()}", "-mon",
                             "chardev=mon,mode=control", options=["-l", t.path("own.sock")])
            proxy.start(connect=False, pass_fds=[theirs.fileno()])
        ours.settimeout(10 * harness.SLOW)
        with ours.makefile("rwb") as file:
            check_talk(file)
        assert inode not in sockets_of(proxy.qemu_pid()), "QEMU holds it"
        proxy.client().command("quit")
        equal(proxy.wait(), 0, "exit status")


def test_sockets_have_the_modes_that_were_asked_for(t):
    own, plain, wide = (t.path(name) for name in ("own.sock", "plain", "wide"))
    old = os.umask(0o027)
    try:
        launched(t, "-qmp", f"unix:{own},server=on,wait=off",
                 options=["-l", plain, "-l", f"unix:{wide},mode=0660,group=root"]).start()
    finally:
        os.umask(old)
    modes = [oct(stat.S_IMODE(path.stat().st_mode)) for path in (own, plain, wide)]
    equal(modes, ["0o750", "0o600", "0o660"], "modes of -qmp (as the umask), -l, -l mode=0660")


def test_tcp_beyond_loopback_is_refused_unless_insecure(t):
    for where in ("tcp:0.0.0.0:0", "tcp:[::]:0", "tcp:192.0.2.1:4444"):
        status, text = run(t, "-l", where)
        assert status in (1, 2) and "insecure=on" in text, (where, status, text)
        equal(harness.marked_processes(t.marker), {}, "processes")
    port = free_port()
    vm.Proxy(t, listen=f"tcp:127.0.0.1:{port}", options=["-l", "tcp:0.0.0.0:0,insecure=on"]).start()


# ---- the end ----

def test_the_exit_status_is_that_of_qemu(t):
    def ended(how, want, *args):
        proxy = vm.Proxy(t, args=args, name=f"vm{want}").start()
        how(proxy)
        equal(proxy.wait(), want, f"exit status, not {want}")
        assert not (proxy.state / "qemu.pid").exists(), "qemu.pid stayed"
    ended(lambda p: p.qmp.send("quit"), 0)
    ended(lambda p: os.kill(p.qemu_pid(), signal.SIGKILL), 137)
    ended(lambda p: p.qmp.send("human-monitor-command", {"command-line": "o /b 0xf4 0x10"}), 33,
          "-device", "isa-debug-exit,iobase=0xf4")


def test_a_qemu_that_cannot_start_is_heard_and_its_status_returned(t):
    args = ["-device", "no-such-device"]
    alone = subprocess.run([vm.QEMU, "-nodefaults", *args], capture_output=True, text=True,
                           check=False, timeout=20)
    status, text = run(t, "--", vm.QEMU, "-nodefaults", *args, qemu=False)
    equal(status, alone.returncode, "exit status")
    assert alone.stderr.splitlines()[-1] in text, text
    status, text = run(t, "--", t.path("no-qemu"), qemu=False)
    assert status not in (0, 2) and "no-qemu" in text, (status, text)


def test_a_signal_ends_qemu_cleanly(t):
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        name = number.name.lower()
        proxy = vm.Proxy(t, oracle.make_disks(t.dir, ("qcow2", "raw"), prefix=name), name=name)
        proxy.start().serial.wait_tick(20)
        last = proxy.serial.last()
        proxy.signal(number)
        equal(proxy.qmp.wait_event("SHUTDOWN")["data"], {"guest": False, "reason": "host-signal"},
              name)
        equal(proxy.wait(), 0, f"exit status after {name}")
        for disk in proxy.disks:
            count = oracle.Image(disk.path, disk.format).count
            assert count >= last - 1, f"{disk.path} holds {count}, the guest printed {last}"
        oracle.qemu_img("check", "-q", "-f", "qcow2", proxy.disks[0].path)


def test_a_second_signal_ends_a_qemu_that_hangs(t):
    proxy = vm.Proxy(t).start()
    os.kill(proxy.qemu_pid(), signal.SIGSTOP)
    proxy.signal()
    proxy.qmp.sock.settimeout(0.3)
    assert not proxy.qmp.closed(0.3) and proxy.process.poll() is None, "ended at the first signal"
    proxy.signal()
    equal(proxy.wait(), 137, "exit status")


def test_under_nohup_the_proxy_survives_a_hangup(t):
    proxy = vm.Proxy(t).start(preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    proxy.signal(signal.SIGHUP)
    assert not proxy.qmp.closed(0.3), "ended"
    equal(proxy.client().command("query-status")["running"], True, "running")


# ---- what is said ----

def test_wrong_options_end_with_2_and_a_sentence(t):
    for words in (("-x",), ("--no-such-option",), ("-n", ""), ("--log-level", "loud"),
                  ("-c", "unix:/x"), ("-p", "/x")):
        status, text = run(t, *words)
        equal(status, 2, f"status of {words}: {text}")
        assert text.startswith(("qmp-proxy: ", vm.PROXY_BIN)) and len(text) > 30, (words, text)
    for words, word in (((), "-c"), (("--",), "-c"), (("-c", "unix:/x"), "-l"), (("-l",), "-l")):
        status, text = run(t, *words, qemu=False)
        equal(status, 2, f"status of {words}: {text}")
        assert word in text or "'l'" in text, (words, text)
    for where in ("tcp:1.2.3.4", "tcp:localhost:x", "x,mode=9", "unix:", "x,no-such=1", "fd:x"):
        status, text = run(t, "-l", where)
        assert status in (1, 2) and text.startswith("qmp-proxy: "), (where, status, text)
    status, text = run(t, "-l", "/no/such/folder/sock")
    assert status == 1 and "/no/such/folder/sock" in text, (status, text)


def test_help_and_version(t):
    status, text = run(t, "--help", qemu=False)
    equal(status, 0, "status of --help")
    for option in ("-l", "-n", "-d", "-c", "--log-level"):
        assert option in text, option
    for word in ("--version", "-V"):
        status, text = run(t, word, qemu=False)
        assert status == 0 and text.startswith("qmp-proxy ") and text.count("\n") == 1, text


if __name__ == "__main__":
    sys.exit(harness.run([test for name, test in list(globals().items())
                          if name.startswith("test_")], timeout=60))
