#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Every command that the proxy itself sends fits the schema of the QEMU that it talks to.

Model: guests run with --log-level trace, which shows each of those commands; their log is read, and
lib/qapi.py holds each line against query-qmp-schema, as a QEMU without a proxy answers it.  The
tests below make the proxy do all that it can do; each says which commands it must have seen, so
that none passes because nothing was sent.
"""

import re
import sys

import hostile
import scene
import test_snapshots_late as late
from scene import harness, oracle, qmp, vm

import qapi

TRACE = ["--log-level", "trace"]
LINE = re.compile(r"to QEMU: (.*)")
QUERIES = {"query-status", "query-block", "query-named-block-nodes", "x-debug-query-block-graph",
           "query-jobs"}
CREATE = QUERIES | {"blockdev-add", "transaction", "migrate", "getfd", "stop", "cont",
                    "migrate-set-parameters", "query-migrate", "query-migrate-capabilities",
                    "query-migrate-parameters"}
REVERT = QUERIES | {"getfd", "migrate-incoming", "query-migrate", "stop", "cont"}
MERGE = {"block-commit", "job-complete", "job-finalize", "job-dismiss"}
UNDO = {"block-commit", "block-job-cancel", "job-dismiss", "blockdev-del", "closefd",
        "migrate_cancel"}
# What QEMU may say of a command that we use.
KNOWN = {("unstable", "x-debug-query-block-graph")}
# QEMU's words for arguments that do not fit (qapi/qobject-input-visitor.c, qapi/qmp-dispatch.c).
MISFIT = re.compile(r"^(Parameter '.*' (is missing|is unexpected|does not accept value .*)|"
                    r"Invalid parameter type for '.*', expected: .*|"
                    r"The command .* has not been found|QMP input member '.*' is unexpected)$")

_schemas = {}


def plain_schema(t):
    """query-qmp-schema of the QEMU under test, from one without a proxy."""
    if vm.QEMU not in _schemas:
        with vm.Qemu(t, name="plain") as plain:
            _schemas[vm.QEMU] = plain.command("query-qmp-schema")
    return qapi.Schema(_schemas[vm.QEMU])


def sent(p):
    """The commands that the proxy has sent, in their order, as they were logged."""
    lines = [found.group(1) for line in p.log.read_text(errors="replace").splitlines()
             if (found := LINE.search(line))]
    return [qapi.strict(line) for line in lines]


def check(t, p, wanted):
    """All that the proxy of this guest sent fits, and these commands are among it."""
    schema, messages = plain_schema(t), sent(p)
    bad = [f"{complaint} (in {message})" for message in messages
           for complaint in schema.request(message)]
    harness.equal(bad, [], "complaints")
    harness.equal(sorted(schema.marked - KNOWN), [], "deprecated or unstable")
    seen = {message["execute"] for message in messages}
    harness.equal(sorted(wanted - seen), [], "commands that were not seen")
    t.note(f"{p.name}: {len(messages)} commands, {len(seen)} distinct: {' '.join(sorted(seen))}")


# ---- the judge ----

FITS = (
    ("query-status", {}),
    ("qmp_capabilities", {"enable": ["oob"]}),
    ("human-monitor-command", {"command-line": "info status", "cpu-index": 0}),
    ("device_add", {"driver": "no-such-device", "whatever": 1}),
    ("blockdev-add", {"driver": "null-co", "node-name": "n0", "size": 1 << 20}),
    ("blockdev-add", {"driver": "raw", "node-name": "n1", "file": "n0"}),
    ("blockdev-add", {"driver": "raw", "node-name": "n2", "file": {"driver": "null-co"}}),
    ("blockdev-add", {"driver": "qcow2", "file": "n0", "backing": None}),
    ("blockdev-del", {"node-name": "n2"}),
    ("transaction", {"actions": []}),
    ("transaction", {"actions": [{"type": "blockdev-snapshot",
                                  "data": {"node": "none", "overlay": "n0"}}],
                     "properties": {"completion-mode": "individual"}}),
    ("block-commit", {"device": "none", "job-id": "j", "speed": 0, "auto-finalize": False}),
    ("migrate-set-capabilities", {"capabilities": [{"capability": "events", "state": True}]}),
    ("migrate-set-parameters", {"max-bandwidth": 1 << 30}),
    ("chardev-change", {"id": "none", "backend": {"type": "null", "data": {}}}),
    ("set_password", {"protocol": "vnc", "password": "x", "display": "none"}),
    ("migrate-set-parameters", {"tls-creds": None}),
    ("query-named-block-nodes", {"flat": True}),
)
MISFITS = (
    ("no-such-command", {}),
    ("query-status", {"x": 1}),
    ("getfd", {}),
    ("getfd", {"fdname": 1}),
    ("getfd", {"fdname": "a", "fd": 1}),
    ("job-cancel", {"id": None}),
    ("qmp_capabilities", {"enable": ["psychic"]}),
    ("qmp_capabilities", {"enable": "oob"}),
    ("qmp_capabilities", {"enable": {"oob": True}}),
    ("device_add", {"id": "x"}),
    ("blockdev-add", {"node-name": "n3"}),
    ("blockdev-add", {"driver": "no-such-driver", "node-name": "n3"}),
    ("blockdev-add", {"driver": "null-co", "node-name": "n3", "size": "big"}),
    ("blockdev-add", {"driver": "null-co", "node-name": "n3", "size": True}),
    ("blockdev-add", {"driver": "null-co", "node-name": "n3", "size": 1.5}),
    ("blockdev-add", {"driver": "null-co", "node-name": "n3", "filename": "x"}),
    ("blockdev-add", {"driver": "null-co", "node-name": "n3", "size": 1 << 64}),
    ("blockdev-add", {"driver": "null-co", "node-name": "n3", "read-only": "yes"}),
    ("blockdev-add", {"driver": "raw", "node-name": "n3"}),
    ("blockdev-add", {"driver": "raw", "node-name": "n3", "file": 7}),
    ("blockdev-add", {"driver": "raw", "node-name": "n3", "file": None}),
    ("blockdev-add", {"driver": "raw", "node-name": "n3", "file": {"driver": "file"}}),
    ("blockdev-add", {"driver": "raw", "node-name": "n3", "file": {"driver": "null-co", "x": 1}}),
    ("transaction", {"actions": {}}),
    ("transaction", {"actions": [7]}),
    ("transaction", {"actions": [{"type": "blockdev-snapshot"}]}),
    ("transaction", {"actions": [{"type": "no-such-action", "data": {}}]}),
    ("transaction", {"actions": [{"type": "blockdev-snapshot", "data": {"node": "x"}}]}),
    ("transaction", {"actions": [{"type": "blockdev-snapshot", "data":
                                  {"node": "x", "overlay": "y", "device": "z"}}]}),
    ("migrate-set-capabilities", {"capabilities": [{"capability": "events"}]}),
    ("migrate-set-capabilities", {"capabilities": [{"capability": "events", "state": 1}]}),
    ("migrate-set-parameters", {"tls-creds": 1}),
    ("chardev-change", {"id": "none", "backend": {"type": "null"}}),
    ("set_password", {"protocol": "vnc", "password": "x", "connected": "maybe"}),
)


def test_the_validator_and_qemu_are_of_one_opinion(t):
    schema = plain_schema(t)
    with vm.Qemu(t) as qemu:
        for fits, cases in ((True, FITS), (False, MISFITS)):
            for name, arguments in cases:
                try:
                    qemu.command(name, arguments)
                    error = None
                except qmp.QmpError as answer:
                    error = answer.desc
                theirs = not error or not MISFIT.match(error)
                ours = schema.command(name, arguments)
                harness.equal((theirs, not ours), (fits, fits),
                              f"{name} {arguments}: {error}; {ours}: (QEMU, validator)")


def test_the_validator_looks_at_whole_messages(t):
    schema = plain_schema(t)
    for message in ({"execute": "query-status"}, {"execute": "query-status", "id": [None]},
                    {"exec-oob": "migrate-pause"}):
        harness.equal(schema.request(message), [], f"{message}")
    for message in ([], {}, {"execute": 1}, {"execute": "stop", "exec-oob": "stop"},
                    {"exec-oob": "query-status"}, {"execute": "stop", "argument": {}},
                    {"execute": "stop", "arguments": None}):
        assert schema.request(message), f"no complaint about {message}"
    for text in ('{"a":1,"a":1}', '{"a":[{"b":1,"b":2}]}', '{"a":NaN}', '{"a":1', "{'a':1}"):
        try:
            qapi.strict(text)
        except ValueError:
            continue
        raise AssertionError(f"no complaint about {text}")


def test_what_is_marked_is_noticed(t):
    """Of a schema of our own, which has a mark on everything that can have one."""
    schema = qapi.Schema([
        {"name": "cmd", "meta-type": "command", "arg-type": "1", "ret-type": "2",
         "features": ["deprecated"]},
        {"name": "1", "meta-type": "object", "members": [
            {"name": "old", "type": "str", "default": None, "features": ["deprecated", "other"]},
            {"name": "one-of", "type": "3", "default": None}]},
        {"name": "2", "meta-type": "object", "members": []},
        {"name": "3", "meta-type": "enum", "values": ["a", "b"],
         "members": [{"name": "a"}, {"name": "b", "features": ["unstable"]}]},
        {"name": "str", "meta-type": "builtin", "json-type": "string"}])
    harness.equal((schema.dangling(), schema.command("cmd", {"one-of": "a"}), schema.marked),
                  ([], [], {("deprecated", "cmd")}), "marked")
    schema.command("cmd", {"one-of": "b", "old": "x"})
    harness.equal(schema.marked, {("deprecated", "cmd"), ("deprecated", "cmd.old"),
                                  ("unstable", "cmd.one-of=b")}, "marked")


# ---- what the proxy does ----

def start(t, name="vm", formats=("qcow2", "raw"), args=(), **guest):
    return vm.Proxy(t, oracle.make_disks(t.dir, formats, prefix=name), args, name=name,
                    options=TRACE, **guest).start()


def test_creates_fit_in_every_state_of_the_guest(t):
    for style in ("drive", "blockdev"):
        p = start(t, style, args=["-S"], style=style)
        scene.create(p, "prelaunch")
        p.command("migrate-set-capabilities",       # a client's, which a save must do without
                  {"capabilities": [{"capability": "xbzrle", "state": True}]})
        p.command("cont")
        p.serial.wait_tick(4)
        scene.create(p, "running")
        scene.create(p, "disks", memory="none")
        p.command("snapshot-create", {"name": "none", "dry-run": True})
        one = scene.create(p, "one", disks=["d0" if style == "drive" else "node-d0"])
        p.command("stop")
        scene.create(p, "paused")
        p.command("query-snapshots", {"verify": True}, timeout=30)
        p.command("cont")
        # The disk that the snapshot leaves out is open in both processes.
        p.command("snapshot-revert", {"name": one.name, "discard": True}, timeout=30)
        harness.equal(p.stop(), 0, "exit status")
        check(t, p, CREATE | REVERT | {"migrate-set-capabilities"})


def test_reverts_and_deletes_fit(t):
    p = start(t)
    p.serial.wait_tick(4)
    root = scene.create(p, "root")
    scene.create(p, "left")
    scene.revert(p, root)
    p.command("snapshot-revert", {"name": "left", "save-as": "kept"}, timeout=30)
    for state in ("paused", "prelaunch", "running", "as-saved"):
        p.command("snapshot-revert", {"name": "left", "discard": True, "state": state}, timeout=30)
    for name in ("middle", "top"):
        p.serial.wait_more(2)
        scene.create(p, name)
    scene.delete(p, "middle")
    p.command("stop")
    scene.delete(p, "top")
    p.command("cont")
    for name in ("kept", "root", "left"):           # a branch, a branch point, the last
        scene.delete(p, name)
    p.serial.wait_more(2)
    harness.equal(p.stop(), 0, "exit status")
    activate = {"blockdev-set-active"} if vm.qemu_version()[0] >= 10 else set()
    check(t, p, CREATE | REVERT | MERGE | activate)


def cancelled(p, steps, command, args, step):
    """Begins the operation as a job and cancels it when it has come to that step."""
    steps.hold(step)
    p.command(command, {**args, "job-id": "j1"})
    steps.held()
    cancel = p.qmp.send("job-cancel", {"id": "j1"})     # there when it goes on
    steps.go()
    harness.equal(p.qmp.reply(cancel).get("return"), {}, f"cancel of {command} at {step}")
    assert p.wait_job("j1").get("error"), f"{command} was not cancelled at {step}"
    p.command("job-dismiss", {"id": "j1"})


def test_what_is_taken_back_fits(t):
    p, steps = hostile.stepped(t, ("qcow2", "raw"), memory="1024", level="trace")
    scene.create(p, "s1")
    for command, args, step in (
            ("snapshot-create", {"name": "s2"}, "blockdev-add"),
            ("snapshot-create", {"name": "s2"}, "migrate"),
            ("snapshot-revert", {"name": "s1", "discard": True}, "migrate-incoming"),
            ("snapshot-delete", {"name": "s1"}, "block-commit")):
        p.serial.wait_more(2)
        cancelled(p, steps, command, args, step)
    # Nothing can be recorded: what the guest has written since is merged back.
    block = hostile.no_record_can_be_written(p)
    p.qmp.refused("snapshot-create", {"name": "s3", "memory": "none"}, timeout=30)
    block.rmdir()
    p.serial.wait_more(3)
    harness.equal(p.stop(), 0, "exit status")
    check(t, p, CREATE | UNDO | {"job-complete"})


def test_what_a_new_proxy_finishes_or_takes_back_fits(t):
    seen = set()
    for number, (command, args, step) in enumerate((
            ("snapshot-create", {"name": "s2"}, "transaction"),
            ("snapshot-create", {"name": "s2"}, "migrate"),
            ("snapshot-create", {"name": "s2", "memory": "none"}, "blockdev-add"),
            ("snapshot-revert", {"name": "s1", "discard": True}, "stop"),
            ("snapshot-delete", {"name": "s1"}, "block-commit"))):
        p, steps = hostile.stepped(t, ("qcow2", "raw"), prefix=f"n{number}", name=f"vm{number}",
                                   level="trace")
        scene.create(p, "s1")
        steps.hold(step)
        p.qmp.send(command, args)
        steps.held()
        p.kill()
        steps.go()
        p.start()
        harness.poll(lambda p=p: not (p.state / "journal.json").exists(), 15, "the recovery")
        p.serial.wait_more(3)
        later = p.log.read_text().split("found QEMU running")[1]
        seen |= {qapi.strict(line)["execute"] for line in LINE.findall(later)}
        harness.equal(p.stop(), 0, "exit status")
        p.start()                                   # cold
        p.serial.wait_more(3)
        harness.equal(p.stop(), 0, "exit status")
        check(t, p, QUERIES)
    t.note(f"in recoveries: {' '.join(sorted(seen))}")
    wanted = QUERIES | UNDO - {"block-commit"} | {"cont"}
    harness.equal(sorted(wanted - seen), [], "commands that no recovery sent")


def test_what_is_bound_late_fits(t):
    port, gdb, path, vnc = (late.free_port(), late.free_port(), t.path("serial.sock"),
                            t.path("vnc.sock"))
    p = vm.Proxy(t, oracle.make_disks(t.dir), options=TRACE, base=[
        "-accel", vm.ACCEL, "-m", "32", "-nodefaults", "-device", "VGA", "-vnc", f"unix:{vnc}",
        "-chardev", f"file,id=serial0,path={t.path('vm.serial')},append=on",
        "-serial", "chardev:serial0", "-serial", f"unix:{path},server=on,wait=off",
        "-netdev", f"user,id=n0,hostfwd=tcp:127.0.0.1:{port}-:22",
        "-device", "virtio-net-pci,netdev=n0,romfile=", "-gdb", f"tcp:127.0.0.1:{gdb}"]).start()
    p.serial.wait_tick(4)
    saved = scene.create(p, "s1")
    for _ in range(2):
        scene.revert(p, saved)
        for address in (f"unix:{path}", f"tcp:127.0.0.1:{port}", f"unix:{vnc}"):
            late.reach(address)
    harness.equal(p.stop(), 0, "exit status")
    check(t, p, REVERT | {"chardev-change", "display-update", "human-monitor-command"})


if __name__ == "__main__":
    sys.exit(harness.run([test for name, test in list(globals().items())
                          if name.startswith("test_")]))
