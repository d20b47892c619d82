# SPDX-License-Identifier: GPL-2.0-or-later
"""linux: the small Linux guest of scripts/guest-linux, for the tests that want a real kernel.

    with linux.start(vm.Proxy(t, disks, linux.args(), memory="256")) as guest: ...

with disks from make_disks(); guest.serial then has ticks(), jumps(), wait_tick() and the rest as for
the oracle.  Boots in about 5 s under TCG.
"""

import re
import subprocess
from pathlib import Path

import oracle
from harness import Skip

SCRIPT = Path(__file__).resolve().parent.parent.parent / "scripts" / "guest-linux"
HEAD = 8 * oracle.SECTOR


class Serial(oracle.Serial):
    """"counter mem=N disk=N" is a tick; check() also compares the two."""

    tick = r"^counter mem=(\d+) disk=\d+$"
    boot = r"^boot disk=(\d+) disks="

    def check(self):
        super().check()
        for memory, disk in re.findall(r"^counter mem=(\d*) disk=(\d*)$", self.text(), re.M):
            if memory != disk:
                raise AssertionError(f"memory {memory}, disk {disk}")


def args():
    """QEMU arguments for kernel and initrd; raises Skip when they cannot be had."""
    done = subprocess.run([SCRIPT], capture_output=True, text=True, check=False)
    if done.returncode == 3:
        raise Skip(done.stderr.strip())
    if done.returncode:
        raise AssertionError(done.stderr)
    kernel, initrd = done.stdout.split()
    return ["-kernel", kernel, "-initrd", initrd, "-append", "console=ttyS0 quiet panic=-1"]


def start(guest):
    """Starts a vm.Guest and waits until Linux counts."""
    guest.serial = Serial(guest.serial.path)
    guest.start()
    guest.serial.wait_tick(2, timeout=60)
    return guest


def make_disks(folder, formats=("qcow2",)):
    """Blank disks, for Linux to write on."""
    disks = []
    for number, fmt in enumerate(formats):
        disk = oracle.Disk(Path(folder) / f"disk{number}.{fmt}", fmt, f"d{number}")
        oracle.qemu_img("create", "-q", "-f", fmt, disk.path, oracle.SIZE)
        disks.append(disk)
    return disks
