#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""qmp-snapshot against a small fake proxy: addresses, time limits, and peers that misbehave.

Environment: QMP_SNAPSHOT_BIN, the program (default ./qmp-snapshot); and what tests/lib/harness.py
reads.
"""

import json
import os
import socket
import sys
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lib"))

# pylint: disable=wrong-import-position
from fake_proxy import Fake, line  # noqa: E402
from harness import equal, requires, run  # noqa: E402
from snapshot_tool import FOREST, ask, call, info  # noqa: E402


LINE_MAX = 16 << 20


def test_address_comes_from_option_or_environment(test):
    fake, other = Fake(test, []), Fake(test, FOREST, path=test.path("other.sock"))
    env = {"QMP_SNAPSHOT_ADDRESS": fake.address}
    equal(call(test, "list", env=env)[:2], (0, "There are no snapshots.\n"))
    equal(call(test, "tree", "-s", "unix:" + other.address, env=env)[1].count("\n"), 5)
    tcp = Fake(test, [], tcp="127.0.0.1")
    equal(ask(test, tcp, "list"), "There are no snapshots.\n")
    tcp.address = tcp.address.replace("127.0.0.1", "localhost")
    equal(ask(test, tcp, "list"), "There are no snapshots.\n")


def test_long_socket_path_is_reached(test):
    folder = test.path("d" * 60) / ("e" * 60)
    folder.mkdir(parents=True)
    os.chdir(folder)
    test.cleanup(lambda: os.chdir("/"))
    fake = Fake(test, [], path="p")
    fake.address = str(folder / "p")
    equal(ask(test, fake, "list"), "There are no snapshots.\n")


def test_no_listener_is_exit_code_3(test):
    closed = socket.socket()
    closed.bind(("127.0.0.1", 0))
    test.cleanup(closed.close)
    for address in (str(test.path("nobody")), f"tcp:127.0.0.1:{closed.getsockname()[1]}", "fd:3",
                    "tcp:127.0.0.1", str(test.dir / ("x" * 300))):
        code, out, error = call(test, "-s", address, "list")
        equal((code, out), (3, ""), address)
        assert error.startswith("qmp-snapshot: "), error


def silent(test, backlog):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(test.path("silent")))
    listener.listen(backlog)
    test.cleanup(listener.close)
    return str(test.path("silent"))


def timed_out(test, address):
    started = time.monotonic()
    code, _, error = call(test, "-s", address, "--timeout", "0.3", "list")
    equal(code, 3)
    took = time.monotonic() - started
    assert 0.25 < took < 10, took
    return error


def test_silence_ends_at_the_deadline(test):
    address = silent(test, 5)
    assert "in time" in timed_out(test, address)
    # greeted, and then nothing
    fake = Fake(test, [])

    def greet(peer):
        peer.sendall(fake.hello)
        while peer.recv(1000):
            pass

    fake.talk = greet
    assert "in time" in timed_out(test, fake.address)


def test_full_backlog_ends_at_the_deadline(test):
    address = silent(test, 0)
    waiting = socket.socket(socket.AF_UNIX)
    test.cleanup(waiting.close)
    waiting.connect(address)
    assert "Cannot connect" in timed_out(test, address)


def test_answer_may_come_late_and_in_pieces(test):
    fake = Fake(test, FOREST, piece=3, before=b"\r\n \n")
    equal(ask(test, fake, "--timeout", "5", "tree").count("\n"), 5)
    release = threading.Event()

    def late(peer):
        peer.sendall(fake.hello)
        lines = peer.makefile("rb")
        for answer in ({}, []):
            request = json.loads(lines.readline())
            if answer == []:
                release.wait(20)
            peer.sendall(line({"return": answer, "id": request["id"]}))

    fake.talk = late
    timer = threading.Timer(0.8, release.set)
    timer.start()
    test.cleanup(timer.join)
    equal(ask(test, fake, "--timeout", "0.4", "list"), "There are no snapshots.\n")


def test_events_and_answers_of_others_are_skipped(test):
    fake = Fake(test, [], before=line({"event": "STOP", "data": {"n": 18446744073709551615}})
                + line({"return": [1], "id": "somebody"}) + line({"return": [2]})
                + line({"error": {"class": "GenericError", "desc": "x"}, "id": 7}))
    equal(ask(test, fake, "list"), "There are no snapshots.\n")


def test_peers_that_speak_no_qmp_are_exit_code_3(test):
    rows = [(b"SSH-2.0-x\r\n", "speak QMP"), (b"[]\n", "speak QMP"), (b"{}\n", "greeting"),
            (b"", "closed"), (b'{"QMP":', "closed"), (b'{"QMP": 1}\n', "greeting"),
            (b"\xff\xfe\n", "speak QMP")]
    fake = Fake(test, [])
    fake.talk = lambda peer: peer.sendall(fake.hello)
    for hello, word in rows:
        fake.hello = hello
        error = ask(test, fake, "list", code=3)
        assert word in error or (word == "closed" and "Cannot" in error), (hello, error)


def test_broken_answers_are_exit_code_3(test):
    fake = Fake(test, b"")
    rows = [(b"", "closed"), (b'{"return": ', "closed"), (b"garbage\n", "speak QMP"),
            (line({"error": {"class": "GenericError", "desc": "bad JSON"}}), "bad JSON")]
    for fake.answer, word in rows:
        error = ask(test, fake, "create", "x", code=3)
        assert word in error, (fake.answer, error)


def test_lines_up_to_16_MiB_are_read(test):
    text = "x" * (LINE_MAX - 1000)
    fake = Fake(test, [info("big", description=text)])
    equal(len(ask(test, fake, "show", "big")) > len(text), True)
    fake.answer = [info("big", description=text + "y" * 2000)]
    assert "16 MiB" in ask(test, fake, "list", code=3)
    fake.answer = b"z" * (LINE_MAX + 100000)
    assert "16 MiB" in ask(test, fake, "list", code=3)


def test_output_that_cannot_be_written_is_told(test):
    requires(os.path.exists("/dev/full"), "no /dev/full")
    fake = Fake(test, FOREST)
    with open("/dev/full", "w", encoding="ascii") as full:
        code, _, error = call(test, "-s", fake.address, "list", stdout=full)
    equal(code, 3)
    assert "cannot write" in error


if __name__ == "__main__":
    sys.exit(run([value for name, value in list(globals().items()) if name.startswith("test_")]))
