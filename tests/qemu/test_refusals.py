#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What is refused: by which word (data.reason), in a sentence that names the thing, and with
nothing changed: no file, no node, no process, and a guest that never stood still."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import hostile
import scene
from hostile import refused
from scene import harness, oracle, vm

BAD_NAMES = ["", ".", "..", ".hidden", "-x", "a/b", "/a", "../a", "a b", "a\tb", "a\nb", "a*",
             "s\u00e4ule", "\u540d", "\U0001f600", "%s%n", "a;b", "a\"b", "a\\b",
             "x" * 65, "x" * 5000]
COMMANDS = {"snapshot-create": {}, "snapshot-revert": {"discard": True}, "snapshot-delete": {}}


def test_ill_formed_names(t):
    p = scene.start(t)
    still = hostile.Still(p)
    for name in BAD_NAMES:
        for command, rest in COMMANDS.items():
            error = p.qmp.refused(command, {"name": name, **rest})
            harness.equal((error.cls, error.reason), ("GenericError", "bad-name"), repr(name))
            harness.equal(error.data["snapshot"], name, "name in data")
            assert name[:60] in error.desc, error.desc
    error = p.qmp.refused("snapshot-revert", {"name": "s", "save-as": "a/b"})
    harness.equal(error.reason, "bad-name", "save-as")
    for command in COMMANDS:
        assert "name" in p.qmp.refused(command, {"name": "a\0b"}).desc
        # No character at all: half of a surrogate pair.
        p.qmp.send_raw('{"execute": "%s", "arguments": {"name": "\\ud800"}, "id": 7}\n' % command)
        assert "error" in p.qmp.recv(), command
    still.check()
    for name in ("x" * 64, "_", "0", "A.b-c_d"):
        p.command("snapshot-create", {"name": name, "memory": "none"})
        p.command("snapshot-delete", {"name": name})


def test_names_that_are_kept_for_operations(t):
    """A recovery would take what has one for its own, and end or close it."""
    p = scene.start(t)
    extra = t.path("extra")
    oracle.qemu_img("create", "-q", "-f", "qcow2", extra, oracle.SIZE)
    file = {"driver": "file", "filename": str(extra)}
    job = {"device": "d0", "job-id": "qsnap-x"}
    for command, args in (
            ("blockdev-add", {"driver": "qcow2", "node-name": "qsnap-9", "file": file}),
            ("blockdev-add", {"driver": "qcow2", "node-name": "mine", "file": {**file, "node-name": "qsnap-9"}}),
            ("blockdev-add", {"driver": "null-co", "node-name": "qsnap-9", "size": 18446744073709551615}),
            ("block-commit", job), ("block-stream", job), ("block-commit", {"device": "d0", "filter-node-name": "qsnap-f"}),
            ("blockdev-mirror", {**job, "target": "mine", "sync": "full"}),
            ("drive-mirror", {"device": "d0", "target": "x", "sync": "full", "node-name": "qsnap-m"}),
            ("blockdev-create", {"job-id": "qsnap-c", "options": {"driver": "file", "filename": "x", "size": 1}}),
            ("blockdev-snapshot-sync", {"device": "d0", "snapshot-file": "x", "snapshot-node-name": "qsnap-9"}),
            ("transaction", {"actions": [{"type": "blockdev-snapshot-sync", "data": {
                "device": "d0", "snapshot-file": "x", "snapshot-node-name": "qsnap-9"}}]}),
            ("snapshot-save", {"job-id": "qsnap-keep", "tag": "t", "vmstate": "d0", "devices": []}),
            ("snapshot-delete", {"job-id": "qsnap-keep", "tag": "t", "devices": []}),
            ("getfd", {"fdname": "qsnap-memory"}),
            ("human-monitor-command", {"command-line": f"drive_add 0 if=none,file={extra},node-name=qsnap-9"})):
        refused(p, "bad-name", command, args, "'qsnap-")
    p.command("blockdev-add", {"driver": "qcow2", "node-name": "qsnap", "file": file})
    p.command("snapshot-create", {"name": "s1", "memory": "none"})
    active = p.command("query-block")[0]["inserted"]["node-name"]
    assert active.startswith("qsnap-"), active
    p.command("blockdev-add", {"driver": "raw", "node-name": "view", "read-only": True, "file": active})
    for node in ("view", "qsnap"):
        p.command("blockdev-del", {"node-name": node})
    scene.tidy(p, extra)


def test_unknown_and_duplicate_names(t):
    p = scene.start(t)
    p.command("snapshot-create", {"name": "s1"})
    refused(p, "duplicate-name", "snapshot-create", {"name": "s1"}, "'s1'")
    for name in ("s2", "S1", "s1.", "s"):
        error = refused(p, "unknown-snapshot", "snapshot-revert", {"name": name, "discard": True},
                        f"'{name}'")
        harness.equal(error.data["snapshot"], name, "name in data")
        for command in ("snapshot-delete", "query-snapshots"):
            harness.equal(p.qmp.refused(command, {"name": name}).reason, "unknown-snapshot",
                          command)
    for name in ("s1", "new"):
        refused(p, "unsaved-state" if name == "new" else "duplicate-name", "snapshot-revert",
                {"name": "s1"} if name == "new" else {"name": "s1", "save-as": "s1"})


def test_wrong_parameters_are_refused_in_the_words_of_qemu(t):
    p = scene.start(t)
    p.command("snapshot-create", {"name": "s1", "memory": "none"})
    still = hostile.Still(p)
    theirs = p.qmp.refused("block-commit", {"device": "d0", "on-error": "bogus"}).desc
    for command, args, desc in (
            ("snapshot-create", {}, "Parameter 'name' is missing"),
            ("snapshot-revert", {"discard": True}, "Parameter 'name' is missing"),
            ("snapshot-delete", {}, "Parameter 'job-id' is missing"),   # QEMU's own, then
            ("snapshot-create", {"name": 7}, "Invalid parameter type for 'name', expected: string"),
            ("snapshot-create", {"name": None},
             "Invalid parameter type for 'name', expected: string"),
            ("snapshot-delete", {"name": ["s1"]},
             "Invalid parameter type for 'name', expected: string"),
            ("snapshot-create", {"name": "a", "disks": "d0"},
             "Invalid parameter type for 'disks', expected: array"),
            ("snapshot-revert", {"name": "s1", "discard": "true"},
             "Invalid parameter type for 'discard', expected: boolean"),
            ("snapshot-revert", {"name": "s1", "discard": 1},
             "Invalid parameter type for 'discard', expected: boolean"),
            ("snapshot-create", {"name": "a", "dryrun": True}, "Parameter 'dryrun' is unexpected"),
            ("query-snapshots", {"snapshot": "s1"}, "Parameter 'snapshot' is unexpected"),
            ("snapshot-create", {"name": "a", "memory": "bogus"},
             theirs.replace("on-error", "memory")),
            ("snapshot-revert", {"name": "s1", "state": ""},
             theirs.replace("on-error", "state").replace("bogus", ""))):
        error = p.qmp.refused(command, args)
        harness.equal((error.cls, error.desc), ("GenericError", desc), f"{command} {args}")
    for args in ('[]', '7', '"s"', 'null'):
        for command in COMMANDS:
            p.qmp.send_raw('{"execute": "%s", "arguments": %s, "id": 1}\n' % (command, args))
            assert "error" in p.qmp.recv(), (command, args)
    still.check()


def test_what_is_not_there_yet_is_refused_by_its_word(t):
    p = scene.start(t)
    p.command("snapshot-create", {"name": "s1"})
    for reason, command, args, word in (
            ("method-unavailable", "snapshot-revert", {"method": "in-place"}, "stream"),
            ("method-unavailable", "snapshot-revert", {"method": "standby"}, "standby"),
            ("current-branch", "snapshot-delete", {"children": "include"}, "'s1'"),
            ("not-supported", "snapshot-create", {"live": True}, "live"),
            ("unknown-disk", "snapshot-create", {"disks": ["d0", "nope"]}, "'nope'"),
            ("unknown-disk", "snapshot-create", {"disks": ["d0", "d0"]}, "'d0'"),
            ("unknown-disk", "snapshot-create", {"disks": [], "memory": "none"}, "disk"),
            ("unsaved-state", "snapshot-revert", {}, "discard"),
            ("unsaved-state", "snapshot-revert", {"discard": False}, "save-as")):
        name = "s2" if command == "snapshot-create" else "s1"
        discard = {"discard": True} if reason == "method-unavailable" else {}
        refused(p, reason, command, {"name": name, **discard, **args}, word)


def test_delete_in_the_form_of_qemu_reaches_qemu(t):
    p = scene.start(t, style="blockdev")
    node = p.disks[0].node

    def tags():
        nodes = p.command("query-named-block-nodes", flat=True)
        return [s["name"] for n in nodes if n["node-name"] == node
                for s in n["image"].get("snapshots", [])]

    def run(command, job, **args):
        p.command(command, {"job-id": job, "tag": "inner", "devices": [node], **args})
        harness.equal(p.wait_job(job).get("error"), None, f"error of {command}")
        p.command("job-dismiss", id=job)
    run("snapshot-save", "save", vmstate=node)
    harness.equal(tags(), ["inner"], "internal snapshots")
    for both in ({"tag": "inner"}, {"devices": [node]}, {"tag": "inner", "devices": [node]}):
        desc = p.qmp.refused("snapshot-delete", {"name": "s1", "job-id": "j", **both}).desc
        assert "not both" in desc, desc
    harness.equal(tags(), ["inner"], "internal snapshots")
    run("snapshot-delete", "delete")
    harness.equal(tags(), [], "internal snapshots")
    p.serial.wait_more(3)


def test_saved_memory_that_is_not_what_it_was(t):
    p = scene.start(t)
    saved = scene.create(p, "s1")
    path = Path(saved.info["memory"]["file"])
    good = path.read_bytes()
    middle = len(good) // 2
    revert = ("snapshot-revert", {"name": "s1", "discard": True})
    for reason, change in (
            ("memory-missing", lambda: None),
            ("memory-missing", path.mkdir),
            ("memory-missing", lambda: os.mkfifo(path)),
            ("memory-missing", lambda: path.symlink_to(t.path("copy"))),
            ("memory-changed", lambda: path.write_bytes(b"")),
            ("memory-changed", lambda: path.write_bytes(good[:-1])),
            ("memory-changed", lambda: path.write_bytes(good + b"\0")),
            ("memory-changed", lambda: path.write_bytes(
                good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1:]))):
        t.path("copy").write_bytes(good)
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink(missing_ok=True)
        change()
        refused(p, reason, *revert, path)
        dry = p.qmp.refused(revert[0], {**revert[1], "dry-run": True})
        harness.equal(dry.reason, reason, "dry run")
    path.write_bytes(good)
    scene.revert(p, saved)


def overlay_of(p, command, args):
    """The file that the command would make first."""
    plan = p.command(command, {**args, "dry-run": True})["plan"]
    return Path(next(step["target"] for step in plan if step["step"] == "overlay-create"))


def test_a_file_in_the_place_of_the_overlay(t):
    p = scene.start(t)
    p.command("snapshot-create", {"name": "s1"})
    victim = t.path("victim")
    victim.write_text("precious")
    for command, args in (("snapshot-create", {"name": "s2"}),
                          ("snapshot-revert", {"name": "s1", "discard": True})):
        path = overlay_of(p, command, args)
        harness.equal(path.parent, t.dir, "folder of the overlay")
        for make in (lambda: path.write_text("mine"),   # pylint: disable=cell-var-from-loop
                     lambda: path.symlink_to(victim),   # pylint: disable=cell-var-from-loop
                     lambda: path.symlink_to(t.path("nowhere")), lambda: os.mkfifo(path)):
            make()
            refused(p, "file-exists", command, args, path)
            harness.equal(victim.read_text(), "precious", "target of the link")
            assert not t.path("nowhere").exists()
            path.unlink()
        path.mkdir()
        refused(p, "file-exists", command, args, path)
        path.rmdir()


def test_an_overlay_whose_name_is_too_long_for_the_file_system(t):
    disks = [oracle.Disk(t.path("n" * 245 + ".qcow2"), "qcow2", "d0")]
    oracle.qemu_img("convert", "-O", "qcow2", oracle.boot_image(), disks[0].path)
    with vm.Proxy(t, disks) as p:
        p.serial.wait_tick(3)
        refused(p, "file-unusable", "snapshot-create", {"name": "s1"}, "n" * 245)


def test_a_folder_that_cannot_be_written(t):
    folder = t.path("images")
    folder.mkdir()
    with vm.Proxy(t, oracle.make_disks(folder)) as p:
        p.serial.wait_tick(4)
        p.command("snapshot-create", {"name": "s1"})
        done = subprocess.run(["chattr", "+i", folder], capture_output=True, text=True, check=False)
        harness.requires(done.returncode == 0, f"chattr: {done.stderr.strip()}")
        try:
            for command, args in (("snapshot-create", {"name": "s2"}),
                                  ("snapshot-revert", {"name": "s1", "discard": True})):
                refused(p, "file-unusable", command, args, f"'{folder}'")
        finally:
            subprocess.run(["chattr", "-i", folder], check=True)
        p.command("snapshot-create", {"name": "s2"})


def test_no_room_for_memory_or_overlay(t):
    images, state = (hostile.mount_tmpfs(t, name, "60m") for name in ("images", "state"))
    p = vm.Proxy(t, oracle.make_disks(images), state=state).start()
    p.serial.wait_tick(66)              # the guest itself needs no more room from here
    p.command("snapshot-create", {"name": "s1"})
    p.serial.wait_tick(p.serial.last() + 66)
    for folder in (state, images):
        filler = hostile.fill(folder, 600 << 10)
        refused(p, "no-space", "snapshot-create", {"name": "s2"}, f"'{folder}")
        if folder == images:
            refused(p, "no-space", "snapshot-revert", {"name": "s1", "discard": True}, f"'{folder}")
            refused(p, "no-space", "snapshot-delete", {"name": "s1"}, f"'{folder}")
        filler.unlink()
    p.command("snapshot-create", {"name": "s2"})


ALL = (("snapshot-create", {"name": "s2"}), ("snapshot-revert", {"name": "s1", "discard": True}),
       ("snapshot-delete", {"name": "s1"}))


def test_a_disk_that_is_gone_or_has_another_name(t):
    disks = oracle.make_disks(t.dir, ["qcow2", "qcow2"])
    usb = ["-S", "-device", "qemu-xhci,id=bus", "-device", "usb-storage,drive=node-d1,id=stick"]
    # A guest that has not run yet: the oracle would take the stick for a disk to count on.
    p = vm.Proxy(t, disks[:1], [*disks[1].args("blockdev")[:2], *usb]).start()
    p.command("snapshot-create", {"name": "s1"})

    def unplug(device):
        p.command("device_del", id=device)
        p.qmp.wait_event(lambda event: event["event"] == "DEVICE_DELETED" and
                         event["data"].get("device") == device)
    unplug("stick")
    for command, args in ALL:           # it is known that it was unplugged
        p.command(command, {**args, "dry-run": True})
    overlay = [n["node-name"] for n in p.command("query-named-block-nodes", flat=True)
               if n["node-name"].startswith("qsnap-") and "disk1" in n["file"]]
    p.command("device_add", {"driver": "usb-storage", "drive": overlay[0], "id": "other"})
    for command, args in ALL:
        refused(p, "disk-gone", command, args, "'stick'")


def test_a_chain_that_is_not_the_one_on_record(t):
    p = scene.start(t)
    p.command("snapshot-create", {"name": "s1"})
    active = scene.layout(p)["d0"][0]
    odd = t.path("odd.qcow2")
    oracle.qemu_img("create", "-q", "-f", "qcow2", odd, oracle.SIZE)
    p.command("blockdev-snapshot-sync", {"device": "d0", "snapshot-file": str(odd), "mode": "existing"})
    for command, args in ALL:           # nobody would find the layers below it again
        refused(p, "chain-mismatch", command, args, "'d0'")

    def commit(job, **args):
        p.command("block-commit", {"device": "d0", "job-id": job, **args})
        p.qmp.wait_event("BLOCK_JOB_READY")
        p.command("job-complete", id=job)
        p.qmp.wait_event("BLOCK_JOB_COMPLETED")
    commit("back", base=active)
    scene.create(p, "s2")               # taken back by hand, all is well again
    commit("away")                      # swallows what is on record
    p.command("query-snapshots", {"verify": True})     # behind the look at what the job did
    for name in ("s1", "s2"):
        refused(p, "image-changed", "snapshot-revert", {"name": name, "discard": True}, "block-commit")


def test_a_frozen_image_that_was_replaced_or_written(t):
    p = scene.start(t)
    p.command("snapshot-create", {"name": "s1"})
    base = p.disks[0].path
    stamp = base.stat()
    for word, change in (
            ("written", lambda: os.utime(base, ns=(stamp.st_atime_ns, stamp.st_mtime_ns + 1))),
            ("written", lambda: os.truncate(base, stamp.st_size + 1)),
            ("replaced", lambda: shutil.copy2(base, t.path("copy")).rename(base))):
        change()
        error = refused(p, "image-changed", *ALL[1], base, word)
        harness.equal(error.data["file"], str(base), "file in data")
        for command, args in (ALL[0], ALL[2]):
            harness.equal(p.qmp.refused(command, args).reason, "image-changed", command)
        if word == "written":
            os.truncate(base, stamp.st_size)
            os.utime(base, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    # The old file is gone for good; the guest has it open, and must not notice.
    base.unlink()
    refused(p, "image-changed", "snapshot-revert", {"name": "s1", "discard": True}, base, "missing")


def test_arguments_that_are_unknown_or_rule_snapshots_out(t):
    disks = oracle.make_disks(t.dir)
    strip = 'for word; do shift; [ "$word" = -frobnicate ] || set -- "$@" "$word"; done'
    with hostile.Wrapped(t, disks, {"qemu-system-x86_64": strip}, args=["-frobnicate"]) as p:
        p.serial.wait_tick(3)
        refused(p, "unknown-argument", "snapshot-create", {"name": "s1"}, "-frobnicate")
    for extra in (["-snapshot"], ["-readconfig", "/dev/null"]):
        with vm.Proxy(t, disks, extra, name="ruled-out") as p:
            p.serial.wait_more(3)
            refused(p, "unsupported-argument", "snapshot-create", {"name": "s1"}, extra[0])


def test_a_job_of_a_client(t):
    p = scene.start(t)
    p.command("snapshot-create", {"name": "s1"})
    target = t.path("copies") / "d0"
    target.parent.mkdir()
    p.command("drive-mirror", {"device": "d0", "job-id": "copy", "target": str(target),
                               "sync": "full", "speed": 1 << 10})
    for command, args in ALL:
        error = refused(p, "job-running", command, args, "'copy'")
        harness.equal(error.data["job"], "copy", "job in data")
    p.command("block-job-cancel", {"device": "copy", "force": True})
    harness.poll(lambda: not p.command("query-jobs"), 10, "the job to end")
    p.command("snapshot-create", {"name": "s2"})


def test_states_and_configurations_that_do_not_fit(t):
    p = vm.Proxy(t, oracle.make_disks(t.dir), ["-S"]).start()
    refused(p, "wrong-state", "snapshot-create", {"name": "s1", "memory": "stream"}, "memory")
    p.command("cont")
    p.serial.wait_tick(3)
    p.qmp.hmp("object_add iothread,id=late")
    p.command("snapshot-create", {"name": "s1"})
    refused(p, "configuration-changed", "snapshot-revert", {"name": "s1", "discard": True}, "'s1'",
            "human-monitor-command", "object_add")


if __name__ == "__main__":
    sys.exit(harness.run([test for name, test in list(globals().items())
                          if name.startswith("test_")]))
