#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""snapshot-create and query-snapshots on a real QEMU: what is saved, and which disks."""

import sys
from pathlib import Path

import scene
from scene import harness, oracle, vm

MEMBERS = {"name", "children", "current", "created", "run-state", "origin", "disks", "problems"}
OPTIONAL = {"parent", "description", "memory", "operation"}
SWITCHES = ("STOP", "RESUME", "SNAPSHOT_CREATED")


def test_create_saves_memory_and_all_disks_of_one_moment(t):
    p = scene.start(t, ("qcow2", "raw", "qcow2"))
    before = scene.layout(p)
    saved = scene.create(p, "s1", description="the first")
    harness.equal(scene.event_names(p, SWITCHES), list(SWITCHES), "events")
    info = saved.info
    harness.equal({d["device"]: d["image"] for d in info["disks"]},
                  {label: path for label, (path, _) in before.items()}, "frozen images")
    memory = Path(info["memory"]["file"])
    harness.equal((info["memory"]["format"], info["memory"]["size"]),
                  ("stream", memory.stat().st_size), "memory")
    harness.equal(memory.parent, p.state / "memory", "folder of the memory")
    for label, (path, driver) in scene.layout(p).items():
        harness.equal(driver, "qcow2", f"driver of {label}'s overlay")
        assert path != before[label][0] and Path(path).parent == t.dir, path
    p.serial.wait_more(5)
    harness.equal(p.serial.jumps(), [], "jumps")
    saved.untouched()
    scene.check_disks(p)
    scene.revert(p, saved)
    p.serial.wait_round()
    scene.tidy(p)


def test_every_style_of_disk_is_saved_and_comes_back(t):
    for style in ("device", "blockdev", "ide"):
        disks = oracle.make_disks(t.dir, ("qcow2", "raw"), prefix=style)
        with vm.Proxy(t, disks, style=style, name=style) as p:
            p.serial.wait_tick(4)
            saved = scene.create(p, "s1")
            scene.revert(p, saved)
            p.serial.wait_more(5)
            scene.revert(p, saved)
            harness.equal(sorted(scene.layout(p)),
                          ["vd0", "vd1"] if style == "blockdev" else ["d0", "d1"], "disks")
            scene.delete(p, "s1")
            p.serial.wait_round()
            scene.check_disks(p)
            harness.equal(p.serial.boots(), [0], f"boots with style {style}")
            harness.equal({path for path, _ in scene.layout(p).values()},
                          {str(disk.path) for disk in disks}, f"images with style {style}")


def test_node_names_keep_their_image(t):
    p = scene.start(t, ("qcow2", "qcow2"), style="blockdev")
    node = {d.node: str(d.path) for d in p.disks}

    def images():
        return {n["node-name"]: n["file"] for n in p.command("query-named-block-nodes")
                if n["node-name"] in node}
    saved = scene.create(p, "s1")
    harness.equal({d["node-name"]: d["image"] for d in saved.info["disks"]}, node, "nodes saved")
    harness.equal(images(), node, "nodes after create")
    scene.revert(p, saved)
    harness.equal(images(), node, "nodes after revert")
    scene.delete(p, "s1")
    harness.equal(images(), node, "nodes after delete")


def test_query_snapshots_has_the_members_of_the_contract(t):
    p = scene.start(t)
    harness.equal(p.command("query-snapshots"), [], "snapshots of a new VM")
    first = scene.create(p, "first", description="words").info
    second = scene.create(p, "second").info
    third = scene.create(p, "third", memory="none").info
    listed = p.command("query-snapshots")
    for snapshot in listed:
        assert MEMBERS <= set(snapshot) <= MEMBERS | OPTIONAL, set(snapshot)
        harness.equal(set(snapshot["created"]), {"seconds", "microseconds"}, "created")
        for disk in snapshot["disks"]:
            assert {"device", "image", "format"} <= set(disk) <= {
                "device", "image", "format", "node-name"}, disk
        harness.equal((snapshot["origin"], snapshot["problems"], snapshot["run-state"]),
                      ("created", [], "running"), snapshot["name"])
        assert ("memory" in snapshot) == (snapshot["name"] != "third")
        assert "operation" not in snapshot
        harness.equal(p.command("query-snapshots", {"name": snapshot["name"]}), [snapshot], "one")
    harness.equal([s["name"] for s in listed], ["first", "second", "third"], "order")
    harness.equal([s.get("parent") for s in listed], [None, "first", "second"], "parents")
    harness.equal([s["children"] for s in listed], [["second"], ["third"], []], "children")
    harness.equal([s["current"] for s in listed], [False, False, True], "current")
    harness.equal([s.get("description") for s in listed], ["words", None, None], "descriptions")
    harness.equal(third, listed[2], "what create returned")
    stamps = [(s["created"]["seconds"], s["created"]["microseconds"]) for s in listed]
    assert stamps == sorted(stamps) and len(set(stamps)) == 3, stamps
    assert first["disks"][0]["image"] != second["disks"][0]["image"]


def test_without_memory_the_guest_is_not_stopped_and_a_revert_boots(t):
    p = scene.start(t, ("qcow2", "raw"))
    saved = scene.create(p, "disks", memory="none")
    harness.equal(scene.event_names(p, SWITCHES), ["SNAPSHOT_CREATED"], "events")
    assert "memory" not in saved.info
    harness.equal(list((p.state / "memory").iterdir()), [], "memory files")
    p.serial.wait_more(5)
    since = p.serial.size()
    p.command("snapshot-revert", {"name": "disks", "discard": True}, timeout=30)
    boot = harness.poll(lambda: p.serial.boots(since), 15, "the guest to boot")
    # Power was cut, so to speak, between two disks of one turn.
    assert saved.count - 1 <= boot[0] <= saved.count, (boot, saved.count)
    p.serial.wait_more(4)
    saved.untouched()
    scene.check_disks(p)
    scene.tidy(p)


def test_a_guest_that_never_ran_is_saved_without_memory(t):
    p = vm.Proxy(t, oracle.make_disks(t.dir), ["-S"])
    p.start()
    saved = scene.create(p, "fresh")
    harness.equal((saved.info["run-state"], saved.count), ("prelaunch", 0), "saved")
    assert "memory" not in saved.info
    harness.equal(scene.status(p), "prelaunch", "status")
    p.command("cont")
    last = p.serial.wait_tick(5)
    p.command("snapshot-revert", {"name": "fresh", "discard": True}, timeout=30)
    harness.equal(scene.status(p), "prelaunch", "status after revert")
    harness.equal(p.serial.boots(), [0], "boots")
    since = p.serial.size()
    p.command("cont")
    p.serial.wait_tick(last, since=since)
    harness.equal(p.serial.boots(since), [0], "boots after revert")
    harness.equal(p.serial.jumps(since), [], "jumps")
    saved.untouched()
    scene.tidy(p)


def test_create_of_a_paused_guest_leaves_it_paused(t):
    p = scene.start(t)
    p.command("stop")
    last = p.serial.last()
    p.qmp.drain().clear()
    saved = scene.create(p, "s1")
    harness.equal(scene.event_names(p, SWITCHES), ["SNAPSHOT_CREATED"], "events")
    harness.equal(saved.info["run-state"], "paused", "run state")
    # QEMU 7.2 cannot save a paused guest and say "paused" afterwards: it has become "postmigrate",
    # from which cont goes on as well.
    harness.equal(scene.status(p), "paused" if vm.qemu_version() >= (9,) else "postmigrate",
                  "status")
    scene.check_disks(p)
    harness.equal(p.serial.last(), last, "last tick")
    p.command("cont")
    p.serial.wait_more(5)
    harness.equal(p.serial.jumps(), [], "jumps")
    saved.untouched()
    scene.revert(p, saved)
    harness.equal(scene.status(p), "paused", "status after revert")
    scene.check_disks(p, skip=["d0"])
    mark = scene.Mark(p)
    p.command("cont")
    mark.went_back_to(saved)
    p.serial.wait_more(5)
    scene.tidy(p)


def test_a_paused_guest_is_saved_twice(t):
    """On QEMU 7.2 the second time only without memory: see above."""
    p = scene.start(t)
    p.command("stop")
    scene.create(p, "s1")
    if vm.qemu_version() < (9,):
        error = p.qmp.refused("snapshot-create", {"name": "s2"})
        harness.equal(error.reason, "wrong-state", "reason")
        second = scene.create(p, "s2", memory="none")
    else:
        second = scene.create(p, "s2")
    harness.equal(second.info["run-state"], "paused", "run state")
    p.command("cont")
    p.serial.wait_more(70)
    harness.equal(p.serial.jumps(), [], "jumps")


def only_boot(disk):
    """Arguments for the disk that alone, with -boot strict=on, the BIOS and so the guest sees."""
    words = disk.args("device")
    return words[:-1] + [words[-1] + ",bootindex=0"]


def test_a_disk_that_is_left_out_is_left_alone(t):
    disks = oracle.make_disks(t.dir, ("qcow2", "raw"))
    p = vm.Proxy(t, (), ["-boot", "strict=on", *only_boot(disks[0]), *disks[1].args("device")])
    p.start()
    p.serial.wait_tick(4)
    assert "disks=1" in p.serial.text()
    p.qmp.hmp('qemu-io d1 "write -P 0x11 0 64k"')
    saved = scene.create(p, "s1", disks=["d0"])
    harness.equal([d["device"] for d in saved.info["disks"]], ["d0"], "disks saved")
    harness.equal(scene.layout(p)["d1"], (str(disks[1].path), "raw"), "d1")
    p.qmp.hmp('qemu-io d1 "write -P 0x22 0 64k"')
    for turn in (0x33, 0x44):
        scene.revert(p, saved, skip=["d1"])
        harness.equal(scene.layout(p)["d1"], (str(disks[1].path), "raw"), "d1 after revert")
        harness.equal(disks[1].path.read_bytes()[:65536], b"\x22" * 65536, "what d1 holds")
        p.qmp.hmp(f'qemu-io d1 "write -P {turn} 64k 64k"')
        harness.equal(disks[1].path.read_bytes()[65536:131072], bytes([turn]) * 65536, "written")
    scene.delete(p, "s1")
    p.serial.wait_more(4)



def test_read_only_disks_are_not_touched(t):
    plain, iso = t.path("plain.raw"), t.path("cd.iso")
    for path in (plain, iso):
        path.write_bytes(bytes(range(256)) * 4096)
    before = {path: (scene.checksum(path), path.stat().st_mtime_ns) for path in (plain, iso)}
    p = vm.Proxy(t, (), [
        "-boot", "strict=on", *only_boot(oracle.make_disks(t.dir)[0]),
        "-drive", f"file={iso},format=raw,if=ide,media=cdrom,id=cd0",
        "-drive", f"file={plain},format=raw,if=none,readonly=on,id=ro0",
        "-device", "virtio-blk-pci,drive=ro0"])
    p.start()
    p.serial.wait_tick(4)
    saved = scene.create(p, "s1")
    harness.equal([d["device"] for d in saved.info["disks"]], ["d0"], "disks saved")
    scene.revert(p, saved, skip=["cd0", "ro0"])
    files = scene.layout(p)
    harness.equal((files["cd0"][0], files["ro0"][0]), (str(iso), str(plain)), "read-only images")
    scene.delete(p, "s1")
    p.serial.wait_more(3)
    scene.tidy(p, plain)
    for path, facts in before.items():
        harness.equal((scene.checksum(path), path.stat().st_mtime_ns), facts, str(path))



def test_all_disks_move_in_one_transaction(t):
    p = scene.start(t, ("qcow2", "raw", "raw", "qcow2"))
    plan = p.command("snapshot-create", {"name": "s1", "dry-run": True})["plan"]
    commands = [step.get("command") for step in plan]
    harness.equal(commands.count("transaction"), 1, "transactions")
    assert "blockdev-snapshot" not in commands and "blockdev-snapshot-sync" not in commands
    for number in range(4):                     # at different moments of a turn
        saved = scene.create(p, f"s{number}")
        harness.equal(len(saved.info["disks"]), 4, "disks")
        p.serial.wait_more(2)
    scene.revert(p, saved)
    p.serial.wait_more(4)


def test_dry_run_returns_the_plan_and_changes_nothing(t):
    p = scene.start(t, ("qcow2", "raw"))
    scene.create(p, "s1")
    scene.create(p, "s2")
    p.qmp.drain().clear()
    before = (scene.contents(p), scene.layout(p), scene.state(p), p.command("query-snapshots"))
    pid, descriptors, since = p.qemu_pid(), p.fd_count(), p.serial.size()
    for command, args in (("snapshot-create", {"name": "s3"}),
                          ("snapshot-create", {"name": "s3", "memory": "none"}),
                          ("snapshot-revert", {"name": "s1", "discard": True}),
                          ("snapshot-delete", {"name": "s2"}),
                          ("snapshot-delete", {"name": "s1"})):
        result = p.command(command, {**args, "dry-run": True}, timeout=30)
        assert "snapshot" not in result and "deleted" not in result, result
        commit_points = [step for step in result["plan"] if step.get("commit-point")]
        harness.equal(len(commit_points), 1, f"commit points of {command}")
        for step in result["plan"]:
            assert {"step", "undo"} <= set(step) <= {
                "step", "command", "target", "undo", "bytes", "commit-point"}, step
    harness.equal((scene.contents(p), scene.layout(p), scene.state(p),
                   p.command("query-snapshots")), before, "the VM")
    harness.equal((p.qemu_pid(), p.fd_count()), (pid, descriptors), "process, descriptors")
    harness.equal(p.qmp.drain(), [], "events")
    p.serial.wait_more(3)
    harness.equal(p.serial.jumps(since), [], "jumps")


if __name__ == "__main__":
    sys.exit(harness.run([
        test_create_saves_memory_and_all_disks_of_one_moment,
        test_every_style_of_disk_is_saved_and_comes_back,
        test_node_names_keep_their_image,
        test_query_snapshots_has_the_members_of_the_contract,
        test_without_memory_the_guest_is_not_stopped_and_a_revert_boots,
        test_a_guest_that_never_ran_is_saved_without_memory,
        test_create_of_a_paused_guest_leaves_it_paused,
        test_a_paused_guest_is_saved_twice,
        test_a_disk_that_is_left_out_is_left_alone,
        test_read_only_disks_are_not_touched,
        test_all_disks_move_in_one_transaction,
        test_dry_run_returns_the_plan_and_changes_nothing,
    ]))
