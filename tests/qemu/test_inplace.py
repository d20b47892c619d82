#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Memory as a vmstate, and the revert in place: the QEMU that runs loads it, no process is started, what is
connected stays connected."""

import subprocess
import sys
from pathlib import Path

import plugging
import scene
from hostile import refused
from scene import BEYOND, create, harness, oracle, qmp, revert, vm
from test_failures import fails

IN_PLACE = {"name": "s1", "discard": True, "method": "in-place"}


def in_place(p, saved, **args):
    """Reverts in place; the process is the same.  The result."""
    before = p.qemu_pid()
    p.qmp.drain()
    result = revert(p, saved, by="in-place", **args)
    harness.equal(p.qemu_pid(), before, "QEMU's pid")
    return result


def one_of(saved, device):
    """(file, format) of the layer that it froze."""
    return next((d["image"], d["format"]) for d in saved.info["disks"] if d["device"] == device)


def clean(p):
    """Nothing of an operation is left in QEMU or on the disk."""
    harness.equal(p.command("query-jobs"), [], "jobs")
    jobs = p.qmp.hmp("info block-jobs")
    assert "qsnap" not in jobs, jobs
    nodes = [n["node-name"] for n in p.command("query-named-block-nodes", flat=True)]
    layers = {layer.get("node") for layer in scene.state(p)["layers"].values()}
    left = [n for n in nodes if n.startswith("qsnap-") and n not in layers]
    harness.equal(left, [], "nodes")
    memory = {s["memory"]["file"] for s in p.command("query-snapshots") if "memory" in s}
    harness.equal({str(path) for path in (p.state / "memory").iterdir()}, memory, "memory files")
    assert not (p.state / "journal.json").exists(), "an open journal"


def blank(t, name):
    """One more disk, with nothing on it; its path."""
    path = t.path(name)
    oracle.qemu_img("create", "-q", "-f", "qcow2", path, oracle.SIZE)
    return path


# ---- what it is for ----

def test_a_tree_again_and_again(t):
    """Branches, points that others stand on, save-as, and deletes between."""
    p = scene.start(t, ("qcow2", "raw"))
    one = create(p, "one", memory="vmstate", kind=scene.Whole)
    harness.equal(one.info["memory"]["format"], "vmstate", "format")
    p.serial.wait_more(3)
    two = create(p, "two", memory="vmstate", kind=scene.Whole)
    p.serial.wait_more(3)
    result = in_place(p, one)
    assert result["standstill"] >= 0 and result["reasons"][0].startswith("in-place: "), result
    event = next(e for e in p.qmp.events if e["event"] == "SNAPSHOT_REVERTED")
    harness.equal(event["data"], {"name": "one", "method": "in-place", "run-state": "running",
                                  "respawned": False}, "event")
    in_place(p, two)
    three = create(p, "three", memory="vmstate")
    in_place(p, one, save_as="four")
    clean(p)
    four = scene.Saved(scene.info(p, "four"))
    harness.equal(four.info["memory"]["format"], "vmstate", "memory of save-as")
    in_place(p, four)
    memory = Path(two.info["memory"]["file"])
    scene.drop(p, two, one)
    assert not memory.exists(), f"{memory} is still there"
    three.reload(p)
    in_place(p, three)
    p.serial.wait_more(3)
    clean(p)
    scene.tidy(p)


def test_run_states(t):
    """On another machine type, with its disk on AHCI."""
    p = scene.start(t, args=["-M", "q35"], style="ide")
    one = create(p, "one", memory="vmstate")
    p.command("stop")
    two = create(p, "two", memory="vmstate")
    harness.equal(scene.status(p), "paused", "state behind a create")
    p.command("cont")
    in_place(p, two)
    for name, wanted, status in (("two", "as-saved", "paused"), ("one", "paused", "paused"),
                                 ("two", "running", "running"), ("one", "as-saved", "running")):
        result = p.command("snapshot-revert", {"name": name, "state": wanted, "discard": True}, timeout=30)
        harness.equal((result["method"], scene.status(p)), ("in-place", status), f"{name} {wanted}")
    in_place(p, one)
    del two
    refused(p, "method-unavailable", "snapshot-revert",
            {"name": "one", "state": "prelaunch", "discard": True, "method": "in-place"}, "has run")
    # what shows as one that never ran would be saved without its memory
    refused(p, "method-unavailable", "snapshot-revert",
            {"name": "one", "state": "paused", "discard": True, "method": "respawn"}, "state: running")
    scene.tidy(p)


DEVICES = {
    "scsi": ["-device", "virtio-scsi-pci,id=s0", "-device", "scsi-hd,drive=scsi,bus=s0.0,id=sd0"],
    "lsi": ["-device", "lsi53c895a,id=s1", "-device", "scsi-hd,drive=lsi,bus=s1.0"],
    "usb": ["-device", "qemu-xhci", "-device", "usb-storage,drive=usb,id=u0"],
    "virtio": ["-device", "virtio-blk-pci,drive=virtio,id=vd9"],
}


class AllButLsi(scene.Saved):
    """The guest's firmware does not find the disk on lsi."""

    def counts(self, disk):
        return disk != "lsi"


class AllButShared(scene.Saved):
    """The same of two that share an image."""

    def counts(self, disk):
        return disk == "d0"


def test_each_kind_of_device(t):
    """IDE, from which the guest boots, and what else a device can be given."""
    args = []
    for kind, device in DEVICES.items():
        args += ["-drive", f"file={blank(t, kind + '.qcow2')},format=qcow2,if=none,id={kind}", *device]
    p = scene.start(t, args=args, style="ide")
    one = create(p, "one", kind=AllButLsi, memory="vmstate")
    for kind in DEVICES:
        scene.write(p, kind, 0x55, BEYOND, 1 << 16)
    p.serial.wait_more(2)
    in_place(p, one, skip=("lsi",))
    with vm.paused(p):
        for kind in DEVICES:
            harness.equal(scene.content(*scene.layout(p)[kind], BEYOND),
                          scene.content(*one_of(one, kind), BEYOND), kind)
    clean(p)
    scene.tidy(p)


def test_what_is_connected_stays(t):
    """A serial line, VNC, and a monitor that sees only what changes for the guest."""
    path = t.path("line.sock")
    p = vm.Proxy(t, oracle.make_disks(t.dir), [
        "-serial", f"unix:{path},server=on,wait=off", "-vnc", f"unix:{t.path('vnc.sock')}"],
        style="blockdev")
    p.start()
    p.serial.wait_tick(4)
    saved = create(p, "one", memory="vmstate")
    with qmp.connect(f"unix:{path}") as line, qmp.connect(f"unix:{t.path('vnc.sock')}") as vnc:
        vnc.settimeout(5)
        assert vnc.recv(12).startswith(b"RFB ")
        watcher = p.client()
        result = p.command("snapshot-revert", {"name": "one", "discard": True}, timeout=30)
        harness.equal(result["method"], "in-place", "method")
        vnc.sendall(b"RFB 003.008\n")
        assert vnc.recv(64), "VNC was closed"
        line.setblocking(False)
        try:
            assert line.recv(1), "the serial line was closed"
        except BlockingIOError:
            pass
        p.command("query-status")
        watcher.command("query-status")
        names = [e["event"] for e in watcher.drain() if "JOB" in e["event"] or "STOP" in e["event"]
                 or "RES" in e["event"]]
        harness.equal([name for name in names if name != "JOB_STATUS_CHANGE"], ["STOP", "RESUME"],
                      "events")
        in_place(p, saved)
        ids = [e["data"]["id"] for e in watcher.events if e["event"] == "JOB_STATUS_CHANGE"]
        assert not [ident for ident in ids if ident.startswith("qsnap-")], ids
    # the node of the command line is still the first image
    node = next(n for n in p.command("query-named-block-nodes", flat=True)
                if n["node-name"] == p.disks[0].node)
    harness.equal(node["file"], str(p.disks[0].path), "image of the node")
    scene.tidy(p)


# ---- when it cannot be ----

def test_an_iothread_goes_by_respawn_and_says_why(t):
    drive = blank(t, "blank.qcow2")
    p = vm.Proxy(t, oracle.make_disks(t.dir), [
        "-object", "iothread,id=io", "-drive", f"file={drive},format=qcow2,if=none,id=e0",
        "-device", "virtio-scsi-pci,id=s0,iothread=io", "-device", "scsi-hd,drive=e0,bus=s0.0,id=sd0"], style="ide")
    p.start()
    p.serial.wait_tick(4)
    saved = create(p, "s1", memory="vmstate")
    refused(p, "method-unavailable", "snapshot-revert", IN_PLACE, "e0", "iothread")
    for _ in range(2):
        result = revert(p, saved, skip=("e0",))
        assert "iothread" in result["reasons"][0], result["reasons"]
        harness.equal(len(result["reasons"]), 2, "reasons")
    done = p.snapshot("explain", "revert", "s1", "--discard")
    assert "iothread" in done.stdout and "respawn: " in done.stdout, done.stdout
    clean(p)
    scene.tidy(p)


def test_an_image_of_two_devices_goes_by_respawn(t):
    """Given to one of them, it would still be the old one for the other."""
    device = "scsi-hd,bus=s1.0,drive=shared,share-rw=on,"
    p = scene.start(t, style="ide", args=[
        "-blockdev", f"driver=qcow2,node-name=shared,file.driver=file,file.filename={blank(t, 'blank.qcow2')}",
        "-device", "lsi53c895a,id=s1", "-device", device + "scsi-id=1,id=a0", "-device", device + "scsi-id=2,id=a1"])
    create(p, "s1", kind=AllButShared, memory="vmstate", disks=["d0", "a0"])
    refused(p, "method-unavailable", "snapshot-revert", IN_PLACE, "another device")
    p.command("snapshot-revert", {"name": "s1", "discard": True}, timeout=30)
    now = scene.layout(p)
    harness.equal(now["a0"], now["a1"], "the image of both")


def test_another_configuration_goes_by_respawn(t):
    """A device that was plugged since, a stream, and the command line of another day."""
    p = scene.start(t)
    saved = create(p, "s1", memory="vmstate")
    p.command("device_add", driver="virtio-rng-pci", id="rng9")
    error = refused(p, "method-unavailable", "snapshot-revert", IN_PLACE, "devices")
    harness.equal(error.data["method"], "in-place", "data.method")
    result = revert(p, saved)
    assert "devices" in result["reasons"][0], result["reasons"]
    in_place(p, saved)
    stream = create(p, "s2")
    assert "stream" in revert(p, stream)["reasons"][0]
    harness.equal(p.stop(), 0, "exit status")
    p.qemu_args += ["-device", "virtio-rng-pci,id=rng1"]
    p.start()
    p.serial.wait_more(3)
    assert "command line" in revert(p, saved)["reasons"][0]
    p.serial.wait_more(3)
    scene.tidy(p)


def test_a_device_that_cannot_be_saved(t):
    """nvme cannot be migrated: QEMU says so before anything is done."""
    drive = blank(t, "blank.qcow2")
    p = scene.start(t, args=["-drive", f"file={drive},format=qcow2,if=none,id=e0",
                             "-device", "nvme,drive=e0,serial=x"])
    refused(p, "migration-blocked", "snapshot-create", {"name": "s1", "memory": "vmstate"},
            "non-migratable")


def test_a_plugged_disk(t):
    """It goes back in place; unplugged, it comes back by respawn, and goes back in place there."""
    p = scene.start(t, args=plugging.SCSI)
    plugging.plug_scsi(p, "hot")
    plugging.write(p, "shot", 0x11)
    one = create(p, "one", kind=plugging.Saved, memory="vmstate")
    for unplugged in (False, True, False):
        plugging.write(p, "shot", 0x22)
        if unplugged:
            plugging.unplug(p, "shot")
            result = revert(p, one, skip=("shot",))
            assert "devices" in result["reasons"][0], result["reasons"]
        else:
            in_place(p, one, skip=("shot",))
        plugging.reads(p, "shot", 0x11)
        harness.equal(plugging.peripherals(p), ["scsi0", "serial", "shot"], "devices")
        clean(p)
    one.same(p)
    scene.tidy(p)


# ---- before a QEMU of somebody else ----

def test_attached(t):
    q = vm.Qemu(t, oracle.make_disks(t.dir, ("qcow2", "raw")), style="blockdev", name="q")
    q.start()
    q.serial.wait_tick(4)
    q._close_clients()                  # pylint: disable=protected-access
    p = vm.Attached(t, q.address)
    p.serial = q.serial
    p.start()
    p.qemu_pid = lambda: q.process.pid
    one = create(p, "one")
    harness.equal(one.info["memory"]["format"], "vmstate", "format")
    p.serial.wait_more(3)
    two = create(p, "two")
    in_place(p, one)
    in_place(p, two)
    in_place(p, one, save_as="three")
    clean(p)
    refused(p, "method-unavailable", "snapshot-revert",
            {"name": "one", "discard": True, "method": "respawn"}, "attached")
    # another proxy, of the same QEMU
    p.kill()
    p.start()
    in_place(p, two)
    # a device of which the proxy was told nothing
    p.kill()
    with qmp.Client(q.address) as other:
        other.command("device_add", {"driver": "virtio-rng-pci"})
    p.start()
    refused(p, "method-unavailable", "snapshot-revert", {"name": "two", "discard": True}, "devices",
            "attached")
    scene.check_disks(p)
    p.stop()
    q.stop()


class Elsewhere(vm.Qemu):
    """A QEMU that sees another folder in place of the state folder."""

    def command_line(self):
        folder = self.test.path("vm.state")
        return ["unshare", "-m", "sh", "-c", f"mount -t tmpfs tmpfs '{folder}' && exec \"$@\"", "sh",
                *super().command_line()]


def test_a_qemu_that_does_not_reach_the_state_folder(t):
    harness.requires(subprocess.run(["unshare", "-m", "true"], check=False).returncode == 0, "no unshare")
    t.path("vm.state").mkdir(0o700)
    q = Elsewhere(t, oracle.make_disks(t.dir), name="q")
    q.start()
    q.serial.wait_tick(4)
    q._close_clients()                  # pylint: disable=protected-access
    p = vm.Attached(t, q.address)
    p.serial = q.serial
    p.start()
    fails(p, "snapshot-create", {"name": "s1"}, "No such file", "state folder (-d)")
    assert not list((p.state / "memory").iterdir()), "a file of memory is left"
    p.command("snapshot-create", {"name": "s1", "memory": "none"})
    p.stop()
    q.stop()


if __name__ == "__main__":
    sys.exit(harness.run([test for name, test in list(globals().items()) if name.startswith("test_")]))
