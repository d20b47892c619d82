#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Does the harness tell the truth?  Plain QEMU, no proxy: the oracle ticks, and sees a tear."""

import os
import socket
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

# pylint: disable=wrong-import-position
import harness
import linux
import oracle
import qmp
import vm


def test_oracle_ticks_on_one_disk(t):
    disks = oracle.make_disks(t.dir, ["qcow2"])
    with vm.Qemu(t, disks) as guest:
        guest.serial.wait_tick(20)
        harness.equal(guest.serial.boots(), [0], "boots")
        harness.equal(guest.serial.jumps(), [], "jumps")
        with vm.paused(guest):
            image = oracle.Image(disks[0].path, "qcow2")
            assert abs(image.count - guest.serial.last()) <= 1, image.count


def test_oracle_ticks_on_raw_and_qcow2_beyond_its_ring(t):
    disks = oracle.make_disks(t.dir, ["raw", "qcow2"])
    with vm.Qemu(t, disks) as guest:
        guest.serial.wait_tick(150)
        assert "disks=2" in guest.serial.text()
        with vm.paused(guest):
            counts = [oracle.Image(disk.path, disk.format).count for disk in disks]
        assert abs(counts[0] - counts[1]) <= 1, counts


def test_every_style_of_disk_boots(t):
    for style in ("drive", "device", "blockdev", "ide"):
        disks = oracle.make_disks(t.dir, ["qcow2", "raw"], prefix=style)
        with vm.Qemu(t, disks, style=style, name=style) as guest:
            guest.serial.wait_tick(3)
            assert "disks=2" in guest.serial.text(), style


def test_a_boot_goes_on_from_the_disks(t):
    disks = oracle.make_disks(t.dir, ["qcow2", "qcow2"])
    with vm.Qemu(t, disks) as guest:
        last = guest.serial.wait_tick(70)
    # One more disk, blank, joins in.
    disks += [oracle.Disk(t.path("late.raw"), "raw", "d2")]
    oracle.qemu_img("create", "-q", "-f", "raw", disks[2].path, oracle.SIZE)
    with vm.Qemu(t, disks) as guest:
        guest.serial.wait_more(80)
        boots = guest.serial.boots()
        harness.equal(len(boots), 2, "boots")
        assert boots[1] >= last, boots
        with vm.paused(guest):
            harness.equal(oracle.Image(disks[2].path, "raw").born, boots[1], "born")


def alter(guest, disk, offset, data):
    """Writes data at offset behind the guest's back until it reports a tear, which is returned.

    More than once, as the guest may stand between its look at the place and its own write there."""
    for _ in range(20):
        guest.command("stop")
        with open(disk.path, "r+b") as file:
            file.seek(offset)
            file.write(data)
        guest.command("cont")
        try:
            guest.serial.wait_more(70, timeout=60)
        except AssertionError as error:
            assert "TORN" in guest.serial.text(), error
            return str(error)
    raise AssertionError("the guest did not see the tear")


def altered(t, offset, data):
    """The tear that the oracle reports when the host writes data at offset."""
    disks = oracle.make_disks(t.dir, ["qcow2", "raw"])
    with vm.Qemu(t, disks) as guest:
        guest.serial.wait_tick(70)
        return alter(guest, disks[1], offset, data)


def test_an_altered_head_is_torn(t):
    assert "drive=129 lba=200" in altered(t, oracle.HEAD + 8, b"\xee")


def test_a_lost_history_sector_is_torn(t):
    slot = 5
    assert f"lba={256 + slot * 128}" in altered(t, oracle.RING + slot * oracle.RING_STEP,
                                                bytes(512))


def test_a_single_altered_byte_in_a_sector_is_torn(t):
    assert "disk=4294967295" in altered(t, oracle.HEAD + 400, b"\xee")


def test_older_memory_on_a_newer_disk_is_torn(t):
    """What the oracle is for: the memory of one moment, the disk of another."""
    disks = oracle.make_disks(t.dir, ["qcow2"])
    state = t.path("memory")
    with vm.Qemu(t, disks) as guest:
        guest.serial.wait_tick(5)
        guest.command("stop")
        guest.command("migrate", uri=f"exec:cat > {state}")
        harness.poll(lambda: guest.command("query-status")["status"] == "postmigrate", 10, "save")
        guest.command("cont")
        guest.serial.wait_more(10)
    with vm.Qemu(t, disks, ["-incoming", f"exec:cat {state}"]) as guest:
        harness.poll(lambda: guest.command("query-status")["status"] == "paused", 10, "load")
        guest.command("cont")
        harness.poll(lambda: "TORN" in guest.serial.text(), 10, "the oracle to see the tear")


def test_image_check_finds_a_gap_in_the_history(t):
    disks = oracle.make_disks(t.dir, ["raw"])
    with vm.Qemu(t, disks) as guest:
        guest.serial.wait_tick(70)
    with open(disks[0].path, "r+b") as file:
        file.seek(oracle.RING + 9 * oracle.RING_STEP)
        file.write(bytes(512))
    try:
        oracle.Image(disks[0].path, "raw")
    except AssertionError as error:
        assert "history" in str(error), error
    else:
        raise AssertionError("a lost sector went unseen")


def test_client_takes_replies_events_errors_and_descriptors(t):
    with vm.Qemu(t, oracle.make_disks(t.dir)) as guest:
        guest.command("stop")
        guest.qmp.wait_event("STOP")
        error = guest.qmp.refused("no-such-command")
        harness.equal(error.cls, "CommandNotFound", "class")
        ours, theirs = socket.socketpair()
        with ours, theirs:
            guest.command("getfd", fdname="x", fds=[theirs.fileno()])
            guest.command("closefd", fdname="x")
        harness.equal(guest.qmp.drain(), [], "events")
        guest.command("quit")
        assert guest.qmp.closed()
        harness.equal(guest.wait(), 0, "exit status")


def test_a_process_left_running_is_found_and_killed(t):
    inner = harness.Test("inner")
    os.environ[harness.MARKER] = inner.marker
    try:
        child = subprocess.Popen(["sleep", "60"])
        harness.poll(lambda: harness.marked_processes(inner.marker), 5, "the marker")
        errors = inner._finish()
        assert len(errors) == 1 and "sleep" in errors[0], errors
        harness.equal(child.wait(5), -9, "status of the child")
    finally:
        os.environ[harness.MARKER] = t.marker
        inner.dir.rmdir()


def test_results_are_reported_as_tap(t):
    program = t.path("inner.py")
    program.write_text(
        f"import sys; sys.path.insert(0, {str(Path(__file__).resolve().parent)!r})\n"
        "import harness\n"
        "def test_good(t): t.path('x').write_text('x')\n"
        "def test_bad(t):\n"
        "    t.path('l').write_text('LOGLINE\\n'); t.log(t.path('l')); assert 0, 'why'\n"
        "def test_absent(t): raise harness.Skip('because')\n"
        "def test_slow(t): harness.poll(lambda: 0, 60, 'never')\n"
        "test_slow.timeout = 0.2\n"
        "sys.exit(harness.run([test_good, test_bad, test_absent, test_slow]))\n")
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, check=False,
                          env={**os.environ, "ONLY": "", "TMPDIR": str(t.dir)})
    lines = [line for line in done.stdout.splitlines() if not line.startswith("#")]
    harness.equal(lines, ["1..4", "ok 1 - good", "not ok 2 - bad", "ok 3 - absent # SKIP because",
                          "not ok 4 - slow"], "TAP")
    assert "AssertionError: why" in done.stdout and "LOGLINE" in done.stdout
    harness.equal(done.returncode, 1, "exit code")
    harness.equal([path.name for path in t.dir.iterdir()], ["inner.py"], "files left")


def test_linux_counts_on_two_disks(t):
    disks = linux.make_disks(t.dir, ["qcow2", "raw"])
    guest = linux.start(vm.Qemu(t, disks, linux.args(), memory="256"))
    assert "disks=2" in guest.serial.text()
    with vm.paused(guest):
        guest.serial.check()
    guest.serial.wait_more(3)
    guest.stop()


def test_linux_sees_an_altered_disk(t):
    disks = linux.make_disks(t.dir, ["raw"])
    guest = linux.start(vm.Qemu(t, disks, linux.args(), memory="256"))
    alter(guest, disks[0], linux.HEAD, b"QMPLINUX 1 ")
    guest.stop()


def checker(t, name, files):
    """The output of scripts/NAME on a tree of these files; None when it finds nothing wrong."""
    for path, text in files.items():
        (t.dir / path).parent.mkdir(parents=True, exist_ok=True)
        (t.dir / path).write_text(text)
    script = Path(__file__).resolve().parent.parent.parent / "scripts" / name
    done = subprocess.run([script, t.dir], capture_output=True, text=True, check=False)
    return done.stdout + done.stderr if done.returncode else None


def test_a_wrong_include_is_found(t):
    good = {"qmp/a.c": '#include "qmp/a.h"\n', "policy/b.c": '#include "qmp/a.h"\n',
            "proxy/c.c": '#include "policy/b.h"\n#include <event2/event.h>\n#include <unistd.h>\n'}
    harness.equal(checker(t, "check-layers", good), None, "a good tree")
    for path, line in (("qmp/a.c", '#include "policy/b.h"'), ("qmp/a.c", "# include <event2/x.h>"),
                       ("policy/b.c", '#include "proxy/c.h"'), ("policy/b.c", "#include <unistd.h>"),
                       ("policy/b.c", "#include <sys/stat.h>"), ("proxy/c.c", '#include "c.h"')):
        assert path in (checker(t, "check-layers", {**good, path: line + "\n"}) or ""), (path, line)


def test_a_fault_of_style_is_found(t):
    spdx = "/* SPDX-License-Identifier: GPL-2.0-or-later */\n"
    body = "int f(void)\n{\n" + "    ;\n" * 60 + "}\n"
    harness.equal(checker(t, "check-style", {"a.c": spdx + body}), None, "a good file")
    longer = body.replace("{\n", "{\n    ;\n")
    for text, word in ((body, "SPDX"), (spdx + longer, "f() has 61"), (spdx + "\n" * 400, "401")):
        assert word in (checker(t, "check-style", {"a.c": text}) or ""), word


def test_a_closed_connection_and_a_silent_one_are_told_apart(t):
    ours, theirs = socket.socketpair()
    with ours:
        client = qmp.Client.__new__(qmp.Client)
        client.sock, client._buffer, client.timeout, client.events = theirs, b"", 1, []
        ours.sendall(b'{"a": 1}\r\n{"b"')
        harness.equal(client.recv_raw(), b'{"a": 1}', "line")
        try:
            client.recv_raw(0.05)
            raise AssertionError("no timeout")
        except qmp.Timeout:
            pass
        ours.close()
        try:
            client.recv_raw()
            raise AssertionError("no end")
        except qmp.Closed as end:
            harness.equal(end.rest, b'{"b"', "rest")
        client.close()


if __name__ == "__main__":
    sys.exit(harness.run([test for name, test in list(globals().items())
                          if name.startswith("test_")]))
