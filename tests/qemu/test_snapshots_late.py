#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Command lines with sockets, ports and displays, which two QEMU processes cannot hold at once:
they are there after a revert as before it, and after a second one, and so after a cold start."""

import os
import re
import socket
import sys

import scene
from scene import harness, oracle, qmp, vm


def free_port():
    """A TCP port that was free a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def reach(address, want=b""):
    """Connects (once QEMU listens) and reads until `want`, a regular expression, has come."""
    def connected():
        try:
            return qmp.connect(address)
        except OSError:
            return None
    data = b""
    with harness.poll(connected, 5, f"somebody to listen on {address}") as sock:
        while want and not re.search(want, data):
            more = sock.recv(4096)
            assert more, f"{address} was closed after {data!r}"
            data += more
    return data


def around_reverts(p, check):
    """check() before, and after each of two reverts and a cold start with a third."""
    p.serial.wait_tick(4)
    saved = scene.create(p, "s1")
    check()
    for _ in range(2):
        scene.revert(p, saved)
        check()
    harness.equal(p.stop(), 0, "exit status")
    p.start()
    p.serial.wait_more(3)
    check()
    scene.revert(p, saved)
    check()
    p.serial.wait_more(3)


def test_a_second_serial_line_on_a_unix_socket(t):
    path = t.path("serial.sock")
    p = vm.Proxy(t, oracle.make_disks(t.dir), ["-serial", f"unix:{path},server=on,wait=off"])
    p.start()
    around_reverts(p, lambda: reach(f"unix:{path}"))


def test_the_guest_talks_over_the_socket_of_its_serial_line(t):
    """The oracle's own line is the socket: what it prints there is read, before and after."""
    path = t.path("serial.sock")
    for style in ("chardev", "short"):
        words = (["-chardev", f"socket,id=ser,path={path},server=on,wait=off",
                  "-serial", "chardev:ser"] if style == "chardev"
                 else ["-serial", f"unix:{path},server=on,wait=off"])
        p = vm.Proxy(t, oracle.make_disks(t.dir, prefix=style), words, name=style, base=[
            "-accel", vm.ACCEL, "-m", "32", "-nodefaults", "-display", "none"])
        p.start()

        def tick():
            found = re.search(rb"tick (\d+)\r?\n", reach(f"unix:{path}", rb"\ntick \d+\r?\n"))
            return int(found.group(1))
        tick()
        saved = scene.create(p, "s1")
        ran_to = tick()
        for _ in range(2):
            while ran_to < saved.count + 30:
                ran_to = tick()
            p.command("snapshot-revert", {"name": "s1", "discard": True}, timeout=30)
            ran_to = tick()
            assert saved.count <= ran_to < saved.count + 30, (saved.count, ran_to)
            saved.untouched()
        harness.equal(p.stop(), 0, "exit status")


def asides(p):
    """The sockets in the state folder that wait to be moved into place."""
    return [path.name for path in p.state.iterdir() if path.name.startswith("late-")]


def test_sockets_that_qemu_cannot_be_given_later_are_moved_into_place(t):
    """QEMU has no chardev-change for a virtio port, a monitor, or a mux."""
    paths = {name: t.path(f"{name}.sock") for name in ("agent", "monitor", "mux")}
    p = vm.Proxy(t, oracle.make_disks(t.dir), [
        "-device", "virtio-serial-pci",
        "-chardev", f"socket,id=agent,path={paths['agent']},server=on,wait=off",
        "-device", "virtserialport,chardev=agent,name=org.example.agent",
        "-monitor", f"unix:{paths['monitor']},server=on,wait=off",
        "-chardev", f"socket,id=mux,path={paths['mux']},server=on,wait=off,mux=on",
        "-serial", "chardev:mux", "-mon", "chardev=mux"])
    p.start()

    def check():
        reach(f"unix:{paths['agent']}")
        reach(f"unix:{paths['monitor']}", rb"\(qemu\) ")
        reach(f"unix:{paths['mux']}")
        harness.equal(asides(p), [], "sockets left aside")
    around_reverts(p, check)


def test_a_port_that_cannot_be_given_over_is_refused_before_anything_happens(t):
    port = free_port()
    p = scene.start(t, args=[
        "-device", "virtio-serial-pci",
        "-chardev", f"socket,id=agent,host=127.0.0.1,port={port},server=on,wait=off",
        "-device", "virtserialport,chardev=agent,name=org.example.agent"])
    scene.create(p, "s1")
    mark, pid, before = scene.Mark(p), p.qemu_pid(), scene.contents(p)
    error = p.qmp.refused("snapshot-revert", {"name": "s1", "discard": True})
    harness.equal((error.reason, error.data.get("argument")), ("needs-replace", "-chardev"),
                  "refusal")
    mark.went_on()
    harness.equal((p.qemu_pid(), scene.contents(p)), (pid, before), "process, files")
    reach(f"tcp:127.0.0.1:{port}")


def test_forwarded_ports(t):
    ports = [free_port(), free_port()]
    p = vm.Proxy(t, oracle.make_disks(t.dir), [
        "-netdev", f"user,id=n0,hostfwd=tcp:127.0.0.1:{ports[0]}-:22,"
        f"hostfwd=tcp:127.0.0.1:{ports[1]}-10.0.2.15:80",
        "-device", "virtio-net-pci,netdev=n0,romfile="])
    p.start()

    def check():
        for port in ports:
            reach(f"tcp:127.0.0.1:{port}")
        shown = re.findall(r"HOST_FORWARD\].*127\.0\.0\.1 +(\d+)", p.qmp.hmp("info usernet"))
        harness.equal(sorted(map(int, shown)), sorted(ports), "forwarded ports")
    around_reverts(p, check)


def test_vnc_on_a_port_and_on_a_socket(t):
    port = free_port()
    while not 5900 < port < 65000:
        port = free_port()
    path = t.path("vnc.sock")
    for name, value, address in (("tcp", f"127.0.0.1:{port - 5900}", f"tcp:127.0.0.1:{port}"),
                                 ("unix", f"unix:{path}", f"unix:{path}")):
        p = vm.Proxy(t, oracle.make_disks(t.dir, prefix=name), name=name, base=[
            "-accel", vm.ACCEL, "-m", "32", "-nodefaults", "-device", "VGA", "-vnc", value,
            "-chardev", f"file,id=serial0,path={t.path(name + '.serial')},append=on",
            "-serial", "chardev:serial0"])
        p.start()
        around_reverts(p, lambda address=address: reach(address, rb"RFB 003\.\d{3}\n"))
        harness.equal(p.stop(), 0, "exit status")


def test_the_debugger_s_port(t):
    port = free_port()
    p = vm.Proxy(t, oracle.make_disks(t.dir), ["-gdb", f"tcp:127.0.0.1:{port}"])
    p.start()

    def check():
        # Whoever connects stops the guest.
        reach(f"tcp:127.0.0.1:{port}")
        harness.poll(lambda: scene.status(p) == "paused", 5, "the debugger to stop the guest")
        p.command("cont")
    around_reverts(p, check)


def test_standard_input_and_output_of_a_serial_port(t):
    """Said, and as -nographic has it; what is typed while a revert goes on is for the first process."""
    for name, words in (("said", ["-display", "none", "-serial", "stdio"]),
                        ("implied", ["-nographic", "-monitor", "none"])):
        p = vm.Proxy(t, oracle.make_disks(t.dir, prefix=name), name=name, base=[
            "-accel", vm.ACCEL, "-m", "32", "-net", "none", *words])
        reader, writer = os.pipe()
        with open(p.serial.path, "ab") as out:
            p.start(stdin=reader, stdout=out)
        p.serial.wait_tick(4)
        saved = scene.create(p, "s1")
        for _ in range(2):
            scene.revert(p, saved)
            p.serial.wait_more(3)
            harness.equal([device["filename"] for device in p.command("query-chardev")
                           if device["label"] == "serial0"], ["stdio"], "serial port")
        os.write(writer, b"x")
        p.serial.wait_more(3)
        harness.equal(p.stop(), 0, "exit status")
        os.close(reader)
        os.close(writer)


def test_the_log(t):
    """Of each process in turn: no two write to it at a time."""
    log = t.path("qemu.log")
    p = vm.Proxy(t, oracle.make_disks(t.dir), ["-d", "cpu_reset", "-D", log])
    p.start()
    p.serial.wait_tick(4)
    assert log.stat().st_size > 0, "nothing is logged"
    saved = scene.create(p, "s1")
    before = log.read_bytes()
    scene.revert(p, saved)
    p.command("human-monitor-command", {"command-line": "log in_asm"})
    harness.poll(lambda: b"IN:" in log.read_bytes(), 5, "the second process to log")
    if vm.qemu_version() < (10,):       # which begins it anew
        assert log.read_bytes().startswith(before), "what the first one had logged is gone"


def test_the_monitors_of_the_command_line(t):
    """They are the proxy's, which stays."""
    unix, port = t.path("mon.sock"), free_port()
    p = vm.Proxy(t, oracle.make_disks(t.dir), [
        "-qmp", f"unix:{unix},server=on,wait=off",
        "-chardev", f"socket,id=m,host=127.0.0.1,port={port},server=on,wait=off",
        "-mon", "chardev=m,mode=control"])
    p.start()
    kept = p.client(f"unix:{unix}")

    def check():
        for address in (f"unix:{unix}", f"tcp:127.0.0.1:{port}"):
            with qmp.Client(address) as client:
                harness.equal(client.command("query-status")["running"], True, address)
    p.serial.wait_tick(4)
    saved = scene.create(p, "s1")
    for _ in range(2):
        check()
        scene.revert(p, saved)
        harness.equal(kept.command("query-status")["running"], True, "a connection that was there")
    check()
    harness.equal(p.stop(), 0, "exit status")
    assert not os.path.exists(unix), "the socket's path is still there"


if __name__ == "__main__":
    sys.exit(harness.run([value for name, value in list(globals().items())
                          if name.startswith("test_")]))
