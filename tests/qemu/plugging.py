# SPDX-License-Identifier: GPL-2.0-or-later
"""plugging: what the tests of the configuration share.

The guest is a boot sector that knows nothing of hot-plugging: what is unplugged is of kinds that QEMU
takes out at once (SCSI, USB), and what hot-plugged disks hold is written by QEMU itself.
"""

import scene
from scene import harness, oracle, vm

SCSI = ["-device", "virtio-scsi-pci,id=scsi0", "-device", "virtio-serial-pci,id=serial"]
BEYOND, SIZE = 9 << 20, 64 << 10        # where the tests write


class Saved(scene.Whole):
    """The guest counts on the disks that it has booted with."""

    def counts(self, disk):
        return disk in ("d0", "d1")


def create(p, name):
    return scene.create(p, name, kind=Saved)


def peripherals(p):
    return sorted(entry["name"] for entry in p.command("qom-list", path="/machine/peripheral")
                  if entry["type"].startswith("child<"))


def plug_node(p, name, fmt="qcow2"):
    """A new image and its node; the image."""
    path = p.test.path(f"{name}.{fmt}")
    if not path.exists():
        oracle.qemu_img("create", "-q", "-f", fmt, path, oracle.SIZE)
    p.command("blockdev-add", {"driver": fmt, "node-name": name, "discard": "unmap",
                               "file": {"driver": "file", "filename": str(path)}})
    return path


def plug_scsi(p, name, fmt="qcow2", **more):
    """A new SCSI disk sNAME on the node NAME; its image."""
    path = plug_node(p, name, fmt)
    p.command("device_add", {"driver": "scsi-hd", "id": f"s{name}", "drive": name, **more})
    return path


def unplug(p, device):
    p.command("device_del", id=device)
    p.qmp.wait_event(lambda event: event["event"] == "DEVICE_DELETED" and
                     event["data"].get("device") == device)


def reads(p, disk, pattern):
    """Does the disk hold that, where the tests write?"""
    with vm.paused(p):
        path, driver = scene.layout(p)[disk]
        raw = p.test.path("read")
        oracle.qemu_img("convert", "-U", "-f", driver, "-O", "raw", path, raw)
        with open(raw, "rb") as file:
            file.seek(BEYOND)
            harness.equal(set(file.read(SIZE)), {pattern}, f"bytes of {disk}")
        raw.unlink()


def write(p, disk, pattern):
    scene.write(p, disk, pattern, BEYOND, SIZE)


def config(p):
    return scene.state(p)["config"]


def refused(p, reason, name, *words, **args):
    """Refused by reason, with those words, and nothing has changed."""
    before, devices = scene.contents(p), peripherals(p)
    error = p.qmp.refused("snapshot-revert", {"name": name, "discard": True, **args})
    harness.equal(error.reason, reason, f"reason ({error.desc})")
    for word in words:
        assert word in error.desc, f"no {word} in: {error.desc}"
    harness.equal(scene.contents(p), before, "files")
    harness.equal(peripherals(p), devices, "devices")
