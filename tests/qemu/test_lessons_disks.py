#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Where others lose data, continued from test_lessons.py: a full or broken host, and deletes."""

import sys

import faulty
import hostile
import scene
from scene import harness, oracle, vm
from test_delete_jobs import guest_events, image, left_marked, outrun, own_jobs, progress, quiet
from test_delete_images import resized, size_now

MIB = 1 << 20


def test_e4_a_delete_without_room_marks_the_snapshot_and_can_be_finished(t):
    """libvirt: the base is half merged and nothing is marked; a later revert succeeds, with mixed content,
    and unlinks the overlay that was still good."""
    images = hostile.mount_tmpfs(t, "images", "80m")
    p = vm.Proxy(t, oracle.make_disks(images), options=["--log-level", "debug"])
    steps = hostile.Steps(p)
    steps.start()
    root, other = scene.row(p, "root", "other")
    p.serial.wait_round(60)             # its own clusters are all there: it needs no room
    mark, before = scene.Mark(p), scene.beyond(p)
    steps.hold("snapshot-mark")
    sent = p.qmp.send("snapshot-delete", {"name": "root", "direction": "commit"})
    steps.held()
    filler = hostile.fill(images, 32 << 10)
    steps.go()
    reply = p.qmp.reply(sent, 40)
    assert "No space left" in reply["error"]["desc"], reply
    mark.went_on()
    left_marked(p, "root", other)       # a revert is refused, it can be deleted
    filler.unlink()
    scene.drop(p, root, other)
    harness.equal(scene.beyond(p), before, "the running disk")
    scene.revert(p, other)
    scene.tidy(p, folder=images)


def test_e5_a_proxy_killed_in_mid_commit_leaves_no_snapshot_that_lies(t):
    """libvirt: the jobs are cancelled, the half-merged snapshot is not flagged, and a revert to it succeeds.
    Here the next proxy finds QEMU, the job and the journal: the snapshot is gone, or marked and good for
    nothing but the delete, which finishes."""
    p, faults = faulty.start(t, ("qcow2", "qcow2"))
    one, two = scene.row(p, "one", "two")
    before, mark = scene.beyond(p), scene.Mark(p)
    # The first disk's job is ready, and has written all; the second one's has begun.
    faults.rules(("hold", 0, "data", image(two, "d1"), 65537))
    p.qmp.send("snapshot-delete", {"name": "two", "direction": "commit"})
    harness.poll(lambda: p.log.read_text().count("step block-commit\n") == 2, 15, "both jobs")
    p.kill()
    faults.mend()
    p.start()
    harness.poll(lambda: not (p.state / "journal.json").exists(), 20, "the journal to be closed")
    mark.went_on()
    if "two" in scene.names(p):
        left_marked(p, "two", one)
        scene.drop(p, two, one)
    harness.equal(scene.beyond(p), before, "the running disks")
    scene.revert(p, one)
    p.serial.wait_more(3)
    scene.tidy(p)


def test_e6_a_death_between_two_unlinks_leaves_a_vm_that_boots(t):
    """libvirt: the metadata names a file that is deleted, and the VM never boots again.  Here all disks are
    merged and recorded before the first file goes."""
    faults = faulty.Faults(t)
    p = vm.Proxy(t, oracle.make_disks(t.dir, ("qcow2", "qcow2")), options=["--log-level", "debug"])
    p.start(env=faults.env)
    p.serial.wait_tick(4)
    one = scene.row(p, "one")[0]
    gone = [path for path, _driver in scene.layout(p).values()]
    faults.rules(("hold", 0, "unlink", gone[1]))
    p.qmp.send("snapshot-delete", {"name": one.name, "direction": "commit"})
    harness.poll(lambda: not vm.Path(gone[0]).exists(), 15, "the first of the files to go")
    assert vm.Path(gone[1]).exists(), "both are gone"
    p.kill()
    last = p.serial.last()
    p.kill_qemu()
    faults.mend()
    since = p.serial.size()
    p.start()
    boots = harness.poll(lambda: p.serial.boots(since), 20, "the guest to boot")
    assert abs(boots[0] - last) <= 3, (boots, last)
    harness.poll(lambda: not vm.Path(gone[1]).exists(), 10, "the second file to go as well")
    p.serial.wait_more(4)
    scene.check_disks(p)
    scene.tidy(p)


def test_e11_what_others_do_not_delete(t):
    """libvirt: a snapshot with several children, a current one that is no leaf, a subtree, one outside of the
    running chain: not supported."""
    p = scene.start(t)
    root, a, b = scene.row(p, "root", "a", "b")
    scene.revert(p, root)
    c, d = scene.row(p, "c", "d")
    scene.drop(p, root, a, b, c, d)     # two children
    scene.drop(p, a, b, c, d)           # beside what runs
    scene.revert(p, c)
    scene.drop(p, c, b, d)              # the current one, which d stands on
    scene.revert(p, b)
    e, _f = scene.row(p, "e", "f")
    scene.revert(p, d)
    result = p.command("snapshot-delete", {"name": "b", "children": "include"}, timeout=30)
    harness.equal(sorted(result["deleted"]), ["b", "e", "f"], "deleted")
    assert e.count > b.count
    d.same(p)
    scene.drop(p, d)
    harness.equal([path.name for path in t.dir.glob("*.qcow2")], ["disk0.qcow2"], "images")
    scene.tidy(p)


# --- E12: checks that come too late, or not at all

def test_e12a_every_check_comes_before_the_first_change(t):
    """incus: some checks ran when the first disk was changed already.  The second disk is wrong here."""
    p = scene.start(t, ("qcow2", "qcow2"))
    one, two = scene.row(p, "one", "two")
    oracle.qemu_img("create", "-q", "-f", "qcow2", t.path("other"), oracle.SIZE)
    frozen = vm.Path(image(two, "d1"))
    good = frozen.rename(t.path("good"))
    t.path("other").rename(frozen)
    for command in ("snapshot-delete", "snapshot-revert"):
        hostile.refused(p, "image-changed", command,
                        {"name": "two", **({"discard": True} if "revert" in command else {})}, frozen)
    good.rename(frozen)
    scene.drop(p, two, one)
    scene.revert(p, one)
    scene.tidy(p)


def test_e12b_the_error_of_a_job_is_read_before_it_is_dismissed(t):
    """incus: the job was gone before anybody asked why it had failed, and the failure went unseen."""
    p, faults = faulty.start(t)
    one, two = scene.row(p, "one", "two")
    faults.rules(("fail", faulty.EIO, "data", image(two), 65537))
    error = p.qmp.refused("snapshot-delete", {"name": "two", "direction": "commit"}, timeout=30)
    harness.equal(error.reason, "qemu-failed", error.desc)
    assert "Input/output error" in error.desc, error.desc
    faults.mend()
    left_marked(p, "two", one)
    scene.drop(p, two, one)
    scene.tidy(p, leaks=True)


def test_e12c_a_persistent_bitmap_is_seen_before_a_commit(t):
    """incus: a commit into a base with a persistent bitmap fails, for ever."""
    p = scene.start(t, style="blockdev")
    bitmap = {"node": p.disks[0].node, "name": "backup"}
    p.command("block-dirty-bitmap-add", {**bitmap, "persistent": True})
    one = scene.row(p, "one")[0]
    error = hostile.refused(p, "unsupported-disk", "snapshot-delete", {"name": "one"}, "bitmap")
    assert "block-dirty-bitmap-remove" in error.desc, error.desc
    harness.equal(scene.info(p, "one")["problems"], [], "problems")
    scene.revert(p, one)
    scene.tidy(p)


def test_e12d_what_is_larger_is_not_committed_into_what_is_smaller_as_it_is(t):
    """Proxmox: the target was smaller than the child, and the merge failed half-way.  Here it has its size
    before anything moves."""
    p = scene.start(t)
    one = scene.row(p, "one")[0]
    resized(p, 24)
    scene.write(p, "d0", 0x77, 20 * MIB, MIB)
    p.serial.wait_more(2)
    scene.drop(p, one)
    harness.equal(size_now(p), 24, "size in MiB")
    scene.tidy(p)


def test_e12e_a_filter_between_device_and_image_is_seen(t):
    """Proxmox: a throttle filter stood between the device and the image, and the job was started on the wrong
    node.  Refused before anything is changed."""
    disk = oracle.make_disks(t.dir)[0]
    args = ["-object", "throttle-group,id=slow", *disk.args("blockdev")[:2], "-blockdev",
            f"driver=throttle,node-name=top,throttle-group=slow,file={disk.node}",
            "-device", "virtio-blk-pci,id=v0,drive=top"]
    p = vm.Proxy(t, [], args).start()
    p.serial.wait_tick(4)
    still = hostile.Still(p, without=("files",))    # the guest writes to one, which is nowhere said
    error = p.qmp.refused("snapshot-create", {"name": "one"})
    harness.equal(error.reason, "unsupported-disk", error.desc)
    assert "throttle" in error.desc, error.desc
    still.check()


def test_e13_a_commit_under_load_ends(t):
    """KubeVirt: the commit of the active layer never gets ready while the guest writes.  Here there is a bound;
    until then the guest is not stopped and the delete can be cancelled, then it stands still for the last
    bit."""
    p, faults, one = outrun(t, "vm", 2)
    mark = scene.Mark(p)
    p.command("snapshot-delete", {"name": "one", "job-id": "j1"})
    harness.poll(lambda: (progress(p) or (0, 0))[0] > 0, 15, "progress")
    harness.equal((own_jobs(p)[0]["status"], guest_events(p)), ("running", []), "before the bound")
    p.command("job-cancel", {"id": "j1"})
    assert "cancelled" in p.wait_job("j1")["error"]
    p.command("job-dismiss", {"id": "j1"})
    left_marked(p, one.name)
    quiet(p)
    result, milliseconds = vm.timed(p.command, "snapshot-delete", {"name": "one"}, timeout=60)
    harness.equal(guest_events(p), ["STOP", "RESUME"], "events")
    assert milliseconds >= 2000 and 0 <= result["standstill"] <= milliseconds - 2000, (result, milliseconds)
    faults.mend()
    mark.went_on()
    p.serial.wait_more(3)
    scene.tidy(p, folder=t.path("vm.images"))


if __name__ == "__main__":
    sys.exit(harness.run([test for name, test in list(globals().items())
                          if name.startswith("test_e")]))
