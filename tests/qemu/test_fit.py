#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Which QEMU may load what another one has saved: version, machine, accelerator, CPUs, memory size.
Refused is with both values, before anything is changed; the guest never stands still."""

import os
import sys
from pathlib import Path

import hostile
import scene
from hostile import refused
from scene import harness, oracle, vm

DISCARD = {"name": "s1", "discard": True}
BOOT = {**DISCARD, "state": "prelaunch"}


def text(version):
    return ".".join(map(str, version))


def facts(p, name="s1"):
    """What is on record of the process that made the snapshot."""
    snapshot = next(s for s in scene.state(p)["snapshots"] if s["name"] == name)
    return {"qemu": snapshot["qemu"], **snapshot["fit"]}


def machine(p):
    return p.command("qom-get", path="/machine", property="type").removesuffix("-machine")


def words(p):
    """The command line of the process that is the VM."""
    return Path(f"/proc/{p.qemu_pid()}/cmdline").read_bytes().decode().split("\0")


def qemu_of(p):
    version = p.command("query-version")["qemu"]
    return version["major"], version["minor"], version["micro"]


def mismatch(p, args, reason, saved, found):
    error = refused(p, reason, "snapshot-revert", args, saved, found, timeout=30)
    assert str(saved) in error.data["saved"] and str(found) in error.data["found"], error.data
    return error


# ---- one version ----

def test_what_saved_is_on_record_and_an_alias_is_the_machine_that_ran(t):
    version = vm.qemu_version()
    ran = {}
    for given in (None, "pc", "q35", "pc,usb=on"):
        name = (given or "none").replace(",", "-").replace("=", "-")
        p = scene.start(t, args=["-smp", "2", *(["-machine", given] if given else [])], name=name)
        saved = scene.create(p, "s1")
        found = facts(p)
        ran[given] = machine(p)
        harness.equal((found["qemu"], found["machine"], found["accelerator"], found["cpu"],
                       found["cpus"], found["memory"]),
                      (list(version), ran[given], vm.ACCEL, "qemu64-x86_64-cpu", 2, 32 << 20),
                      f"record of -machine {given}")
        assert f"type={ran[given]}" not in words(p), words(p)
        scene.revert(p, saved)
        harness.equal(machine(p), ran[given], f"machine behind a revert of -machine {given}")
        assert f"type={ran[given]}" in words(p), words(p)
        harness.equal("usb=on" in (given or ""),
                      p.command("qom-get", path="/machine", property="usb"), "another option")
        # What is made from that process is the user's again, and pinned in the same way.
        harness.equal(facts(p, scene.create(p, "s2").name)["machine"], ran[given], "machine of s2")
        assert f"type={ran[given]}" not in next(
            s["args"] for s in scene.state(p)["snapshots"] if s["name"] == "s2"), "args of s2"
        p.stop()
    harness.equal([kind for kind in ran if not ran[kind].startswith("pc-")], [], "versioned types")
    assert ran[None] == ran["pc"] != ran["q35"], ran
    p = scene.start(t, args=["-machine", ran["q35"]], name="exact")
    scene.revert(p, scene.create(p, "s1"))
    harness.equal([word for word in words(p) if ran["q35"] in word], [ran["q35"]], "said once")


def twisted(t, args=()):
    """(p, twist): a guest behind a wrapper that adds the words which twist() was given last."""
    extra = t.path("extra")
    extra.touch()
    script = f'set -- $(sed -n 1p {extra}) "$@" $(sed -n 2p {extra})\n'
    p = hostile.Wrapped(t, oracle.make_disks(t.dir), {"qemu-system-x86_64": script}, args=args)
    p.start()
    p.serial.wait_tick(4)

    def twist(behind="", before=""):
        extra.write_text(f"{before}\n{behind}\n")
    return p, twist


def test_a_process_that_turns_out_to_be_another_machine_is_thrown_away(t):
    p, twist = twisted(t)
    saved = scene.create(p, "s1")
    pc, q35 = machine(p), machine(p).replace("i440fx", "q35")
    for what, behind, one, two in (
            ("memory", "-m 48", 32 << 20, 48 << 20),
            ("cpus", "-smp 3", 1, 3),
            ("cpu", "-cpu max", "qemu64-x86_64-cpu", "max-x86_64-cpu"),
            ("machine", f"-machine type={q35}", pc, q35)):
        twist(behind)
        error = mismatch(p, DISCARD, "machine-mismatch", one, two)
        harness.equal(error.data["what"], what, "what differs")
    saved.untouched()
    twist("-m 48")
    # Only memory has to fit.
    p.command("snapshot-revert", BOOT, timeout=30)
    harness.equal(p.command("query-memory-size-summary")["base-memory"], 48 << 20, "memory")
    twist()
    scene.revert(p, saved)


def test_an_accelerator_that_was_fallen_back_from_is_noticed(t):
    harness.requires(vm.ACCEL == "tcg", "the other one is KVM")
    harness.requires(os.access("/dev/kvm", os.R_OK | os.W_OK), "no /dev/kvm")
    p, twist = twisted(t)
    saved = scene.create(p, "s1")
    twist(before="-accel kvm")          # as if it had not been there before: a list, kvm first
    mismatch(p, DISCARD, "machine-mismatch", "tcg", "kvm")
    twist()
    scene.revert(p, saved)


def test_a_program_that_does_not_tell_its_version_is_seen_when_it_runs(t):
    """It is waited for in bounded time, with whatever it has started."""
    how = t.path("how")
    script = f'[ "$1" != --version ] || . {how}\n'
    p = hostile.Wrapped(t, oracle.make_disks(t.dir), {"qemu-system-x86_64": script})
    p.start()
    p.serial.wait_tick(4)
    saved = scene.create(p, "s1")
    for line in ("exit 1", "echo none; exit", "sleep 1000 & sleep 1000", "yes"):
        how.write_text(line + "\n")
        scene.revert(p, saved)
        harness.equal(len(p.all_pids()), 2, f"processes behind '{line}'")


# ---- two versions ----

def linked(t, version, args=(), **guest):
    """A guest whose program is a link, and a function that exchanges it for another version."""
    program = t.path("qemu")

    def exchange(to):
        new = t.path("new")
        new.symlink_to(PAIR[to])
        new.rename(program)

    class Linked(vm.Proxy):
        def command_line(self):
            line = super().command_line()
            line[line.index("--") + 1] = str(program)
            return line

    exchange(version)
    p = Linked(t, oracle.make_disks(t.dir, ("qcow2", "raw")), args, **guest)
    p.start()
    p.serial.wait_tick(4)
    return p, exchange


def pair():
    """(old, new)"""
    harness.requires(len(PAIR) == 2, "one version of QEMU: scripts/qemu10 fetches another")
    return min(PAIR), max(PAIR)


def test_a_newer_qemu_builds_the_machine_that_was_saved_and_no_older_one_loads(t):
    """The program is exchanged while the VM runs, as by an upgrade."""
    old, new = pair()
    p, exchange = linked(t, old, ["-machine", "q35"])
    ran = machine(p)
    first = scene.create(p, "s1")
    p.serial.wait_more(3)
    exchange(new)
    scene.revert(p, first)
    harness.equal((qemu_of(p), machine(p)), (new, ran), "behind the upgrade")
    scene.check_disks(p)
    second = scene.create(p, "s2")
    harness.equal((facts(p, "s2")["qemu"], facts(p, "s2")["machine"]), (list(new), ran), "s2")
    exchange(old)
    mismatch(p, {"name": "s2", "discard": True}, "version-mismatch", text(new), text(old))
    mismatch(p, {"name": "s2", "discard": True, "dry-run": True}, "version-mismatch", text(new),
             text(old))
    # What that version has saved it loads, and the disks of the other it boots with.
    scene.revert(p, first)
    harness.equal((qemu_of(p), machine(p)), (old, ran), "back on the older one")
    p.command("snapshot-revert", {**BOOT, "name": "s2"}, timeout=30)
    harness.equal((qemu_of(p), machine(p)), (old, ran), "booted by the older one")
    p.command("cont")
    p.serial.wait_tick(1, since=p.serial.size())
    exchange(new)
    scene.revert(p, second)
    scene.tidy(p)


def test_an_older_qemu_that_a_cold_start_has_brought_is_refused(t):
    old, new = pair()
    p, exchange = linked(t, new)
    saved = scene.create(p, "s1")
    p.stop()
    exchange(old)
    p.start()
    p.serial.wait_tick(saved.count + 2)
    harness.equal(qemu_of(p), old, "version")
    mismatch(p, DISCARD, "version-mismatch", text(new), text(old))
    saved.untouched()
    p.command("snapshot-revert", BOOT, timeout=30)      # the machine of the older one: it has no other
    harness.equal(scene.status(p), "prelaunch", "status")
    exchange(new)
    scene.revert(p, saved)
    harness.equal((qemu_of(p), machine(p)), (new, facts(p)["machine"]), "the newer one again")


def test_a_machine_that_the_newer_one_has_no_more_is_refused(t):
    old, new = pair()
    gone = "pc-i440fx-2.3"
    p, exchange = linked(t, old, ["-machine", gone])
    saved = scene.create(p, "s1")
    exchange(new)
    error = mismatch(p, DISCARD, "machine-mismatch", gone, text(new))
    harness.equal(error.data["what"], "machine", "what differs")
    exchange(old)
    scene.revert(p, saved)


PAIR = vm.qemu_pair()

if __name__ == "__main__":
    sys.exit(harness.run([value for name, value in list(globals().items())
                          if name.startswith("test_")]))
