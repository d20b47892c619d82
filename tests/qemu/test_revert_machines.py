#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Reverts on each machine type and each bus that a disk can be on, with what command lines have besides.

Model: a row is a machine and the arguments by which its two disks are there.  The guest counts on both,
through the BIOS; both also get patterns behind its back where it does not write, and read to the byte as
at the snapshot behind each revert.
"""

import subprocess
import sys
from pathlib import Path

import cmdlines
import hostile
import plugging
import scene
from scene import harness, oracle, qmp, vm

FLASH = 64 << 10


class Saved(scene.Whole):
    """The guest counts on its two disks."""

    def counts(self, disk):
        return disk in ("d0", "d1", "h0", "h1")


def drives(disks, device=None, interface="none"):
    """-drive for each disk, and -device, with {n} and {id}."""
    words = []
    for number, disk in enumerate(disks):
        words += ["-drive", f"file={disk.path},format={disk.format},if={interface},id={disk.id}"]
        words += ["-device", device.format(n=number, id=disk.id)] if device else []
    return words


def nodes(disks, device):
    """-blockdev and -device for each disk."""
    words = []
    for number, disk in enumerate(disks):
        words += [*disk.args("blockdev")[:2], "-device", device.format(n=number, id=disk.node)]
    return words


def cdrom(t):
    path = t.path("cd.iso")
    path.write_bytes(b"C" * (1 << 20))
    return ["-cdrom", str(path)]


def flash(t, fmt):
    """The BIOS in a flash chip that nobody writes to, and a chip for variables."""
    said = subprocess.run([vm.QEMU, "-L", "help"], capture_output=True, text=True, check=True).stdout
    bios = next(path for folder in [*said.split(), "/usr/share/seabios"]
                if (path := Path(folder) / "bios-256k.bin").exists())
    raw, variables = t.path("raw"), t.path(f"variables.{fmt}")
    raw.write_bytes(b"V" * FLASH)
    oracle.qemu_img("convert", "-f", "raw", "-O", fmt, raw, variables)
    raw.unlink()
    return ["-drive", f"if=pflash,format=raw,readonly=on,file={bios}",
            "-drive", f"if=pflash,format={fmt},file={variables}"]


class Port:
    """-netdev user with a forwarded port."""

    def __init__(self):
        self.port = cmdlines.free_port()
        self.words = ["-netdev", f"user,id=net,hostfwd=tcp:127.0.0.1:{self.port}-:22",
                      "-device", "virtio-net-pci,netdev=net,romfile="]

    def check(self, _p):
        harness.poll(self.connects, 5, "the forwarded port")

    def connects(self):
        try:
            qmp.connect(f"tcp:127.0.0.1:{self.port}").close()
            return True
        except OSError:
            return False


class Hot:
    """A disk that clients had plugged before the snapshot, and have unplugged since."""

    def before(self, p):
        plugging.plug_scsi(p, "hot", bus="s.0")
        plugging.write(p, "shot", 0x51)

    def since(self, p):
        plugging.write(p, "shot", 0x52)
        plugging.unplug(p, "shot")

    def check(self, p):
        plugging.reads(p, "shot", 0x51)


class Flash:
    """What a flash chip holds is in memory as well: QEMU writes that to the image when it goes on."""

    def label(self, p):
        return next(label for label, (path, _fmt) in scene.layout(p).items() if "variables" in path)

    def since(self, p):
        scene.write(p, self.label(p), 0x58, 4096, 4096)

    def check(self, p):
        with vm.paused(p):
            path, fmt = scene.layout(p)[self.label(p)]
            oracle.qemu_img("convert", "-U", "-f", fmt, "-O", "raw", path, p.test.path("read"))
            data = p.test.path("read").read_bytes()
        assert data.strip(b"V") == b"" and len(data) == FLASH, "what the flash chip holds"


def rows(t, disks):
    """{name: (machine, words, [what else is looked at])}"""
    port = Port()
    return {
        "pc_ide_and_a_cdrom": (
            "pc", [*drives(disks, interface="ide"), *cdrom(t), "-boot", "order=cd,menu=off"]),
        "pc_virtio_blk_in_an_iothread_and_flash": (
            "pc", ["-object", "iothread,id=io", *flash(t, "raw"),
                   *nodes(disks, "virtio-blk-pci,id=h{n},iothread=io,drive={id}")], Flash()),
        "pc_virtio_scsi_and_a_plugged_disk": (
            "pc", ["-device", "virtio-scsi-pci,id=s",
                   *nodes(disks, "scsi-hd,bus=s.0,id=h{n},drive={id}")], Hot()),
        "q35_ahci_by_drive": (
            "q35", [*drives(disks, interface="ide"), *cdrom(t), "-boot", "c"]),
        "q35_ahci_by_node": (
            "q35", nodes(disks, "ide-hd,bus=ide.{n},id=h{n},drive={id}")),
        "q35_virtio_scsi_in_an_iothread": (
            "q35", ["-object", "iothread,id=io", "-device", "virtio-scsi-pci,id=s,iothread=io",
                    *drives(disks, "scsi-hd,bus=s.0,id=h{n},drive={id}")]),
        "q35_virtio_blk_a_network_and_flash_in_qcow2": (
            "q35", [*drives(disks, interface="virtio"), *flash(t, "qcow2"), *port.words], Flash(),
            port),
    }


NAMES = ("pc_ide_and_a_cdrom", "q35_virtio_blk_a_network_and_flash_in_qcow2",
         "pc_virtio_scsi_and_a_plugged_disk", "q35_ahci_by_node", "q35_virtio_scsi_in_an_iothread",
         "pc_virtio_blk_in_an_iothread_and_flash", "q35_ahci_by_drive")
COUNTED = ("d0", "d1", "h0", "h1")


def write(p, pattern):
    for disk in scene.layout(p):
        if disk in COUNTED:
            scene.write(p, disk, pattern, scene.BEYOND, 1 << 17)


def held(p):
    """What is on the disks that the guest counts on, where it does not write."""
    return {disk: sums for disk, sums in scene.beyond(p).items() if disk in COUNTED}


def reverts(t, name):
    disks = oracle.make_disks(t.dir, ("qcow2", "raw"))
    machine, words, *extra = rows(t, disks)[name]

    def ask(moment):
        for one in extra:
            getattr(one, moment, lambda _p: None)(p)
    p = vm.Proxy(t, [], ["-machine", machine, *words]).start()
    p.serial.wait_tick(4)
    assert " disks=2" in p.serial.text(), "the guest does not count on both disks"
    others = {"shot", *scene.layout(p)} - {*COUNTED}
    saved, before = {}, {}
    ask("before")
    for number, snapshot in enumerate(("one", "two")):
        write(p, 0x31 + number)
        before[snapshot] = held(p)
        saved[snapshot] = scene.create(p, snapshot, kind=Saved)
        p.serial.wait_more(3)
        ask("since" if number == 0 else "")
    write(p, 0x41)
    for snapshot in ("one", "two"):
        scene.revert(p, saved[snapshot], skip=others)
        harness.equal(held(p), before[snapshot], f"disks behind a revert to {snapshot}")
        ask("check" if snapshot == "one" else "")
    p.serial.wait_round()
    harness.equal(p.stop(), 0, "exit status")


def test_nvme(t):
    """QEMU cannot migrate it: there is no snapshot with memory, and that is said before the guest is
    stopped.  Without memory there is."""
    disks = oracle.make_disks(t.dir, ("qcow2", "raw"))
    # The BIOS leaves such sectors alone: what is on the disk comes from QEMU.
    words = nodes(disks[1:], "nvme,serial=x,id=n1,drive={id},logical_block_size=8192,"
                  "physical_block_size=8192")
    p = vm.Proxy(t, disks[:1], ["-machine", "q35", *words]).start()
    p.serial.wait_tick(4)
    assert " disks=1" in p.serial.text(), "the guest counts on it"
    for more in ({}, {"dry-run": True}, {"memory": "stream"}, {"disks": ["d0"]}):
        hostile.refused(p, "migration-blocked", "snapshot-create", {"name": "no", **more}, "nvme",
                        "memory: none")
    plugging.write(p, "n1", 0x51)
    saved = scene.create(p, "s1", kind=Saved, memory="none")
    plugging.write(p, "n1", 0x52)
    p.serial.wait_more(6)
    since = p.serial.size()
    hostile.refused(p, "migration-blocked", "snapshot-revert", {"name": "s1", "save-as": "no"}, "nvme")
    p.command("snapshot-revert", {"name": "s1", "discard": True}, timeout=20)
    boots = harness.poll(lambda: p.serial.boots(since), 15, "the guest to boot")
    assert saved.count - 1 <= boots[0] <= saved.count, (boots, saved.count)
    plugging.reads(p, "n1", 0x51)
    saved.untouched()
    p.serial.wait_more(4)
    p.command("snapshot-delete", {"name": "s1"}, timeout=20)
    plugging.reads(p, "n1", 0x51)
    scene.check_disks(p, skip=("n1",))
    harness.equal(p.stop(), 0, "exit status")


def make(name):
    def test(t):
        reverts(t, name)
    test.__name__ = "test_" + name
    return test


if __name__ == "__main__":
    sys.exit(harness.run([test_nvme, *map(make, NAMES[:4] if harness.BRIEF else NAMES)]))
