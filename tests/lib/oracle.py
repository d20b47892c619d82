# SPDX-License-Identifier: GPL-2.0-or-later
"""oracle: the boot-sector guest of tests/guest/oracle.S, its disks and its serial line.

Model: a Disk is what the command line names: a path, its format, an id.  A Serial reads what the
guest printed: "boot N disks=N", "tick N", and "TORN ..." or "IOERR ..." when memory and disks
disagree.  An Image is what an image (with its backing chain) holds: the counter and its history.

Rule: the numbers here are those of oracle.S.
"""

import atexit
import hashlib
import os
import re
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

from harness import poll

SECTOR = 512
HEAD = 200 * SECTOR             # offset of the counter on every disk
RING = 256 * SECTOR             # offset of the history
RING_STEP = 128 * SECTOR
RING_SIZE = 64
SIZE = 16 << 20
MAGIC = b"QMPTICK\0"

QEMU_IMG = os.environ.get("QEMU_IMG", "qemu-img")
_built = None


def qemu_img(*args, timeout=60):
    """Runs qemu-img; its output."""
    done = subprocess.run([QEMU_IMG, *map(str, args)], capture_output=True, text=True,
                          timeout=timeout, check=False)
    if done.returncode:
        raise AssertionError(f"qemu-img {' '.join(map(str, args))}: {done.stderr.strip()}")
    return done.stdout


def boot_image():
    """The raw boot disk, built once for each test program."""
    global _built               # pylint: disable=global-statement
    if _built is None:
        folder = tempfile.mkdtemp(prefix="qp-oracle-")
        atexit.register(shutil.rmtree, folder, True)
        script = Path(__file__).resolve().parent.parent / "guest" / "build"
        subprocess.run([script, folder], check=True, stdout=subprocess.DEVNULL)
        _built = Path(folder) / "oracle.img"
    return _built


class Disk:
    """path, format and id (d0, d1, ...) of a disk; node is the node-name with style "blockdev"."""

    def __init__(self, path, fmt, ident):
        self.path, self.format, self.id = Path(path), fmt, ident
        self.node = f"node-{ident}"

    def args(self, style="drive"):
        """QEMU arguments for it.
        drive: -drive if=virtio; device: -drive if=none with a virtio-blk device vID; blockdev: the
        same with -blockdev; ide: -drive if=ide."""
        device = ["-device", f"virtio-blk-pci,id=v{self.id},drive="]
        if style in ("drive", "ide"):
            interface = "virtio" if style == "drive" else "ide"
            return ["-drive", f"file={self.path},format={self.format},if={interface},id={self.id}"]
        if style == "device":
            device[1] += self.id
            return ["-drive", f"file={self.path},format={self.format},if=none,id={self.id}",
                    *device]
        if style == "blockdev":
            device[1] += self.node
            return ["-blockdev", f"driver={self.format},node-name={self.node},"
                    f"file.driver=file,file.filename={self.path}", *device]
        raise ValueError(style)


def make_disks(folder, formats=("qcow2",), prefix="disk"):
    """Disks PREFIX0.FORMAT and on, the first with the guest on it, the others blank."""
    disks = []
    for number, fmt in enumerate(formats):
        disk = Disk(Path(folder) / f"{prefix}{number}.{fmt}", fmt, f"d{number}")
        if number == 0:
            qemu_img("convert", "-f", "raw", "-O", fmt, boot_image(), disk.path)
        else:
            qemu_img("create", "-q", "-f", fmt, disk.path, SIZE)
        disks.append(disk)
    return disks


def disk_args(disks, style="drive"):
    return [arg for disk in disks for arg in disk.args(style)]


class Image:
    """The counter and its history, as an image holds them.  Raises when they contradict.
    sums: with sums_from, checksums of what it reads as from those offsets on."""

    def __init__(self, path, fmt=None, sums_from=()):
        self.path = path
        with tempfile.TemporaryDirectory(prefix="qp-read-") as folder:
            raw = Path(folder) / "raw"
            source = ["-f", fmt] if fmt else []
            # -U: the guest may have it open.  Stop it first, for the sake of what it has cached.
            qemu_img("convert", "-U", *source, "-O", "raw", path, raw)
            with open(raw, "rb") as file:
                self.count, self.born = self._sector(file, HEAD)
                self.ring = [self._sector(file, RING + slot * RING_STEP)[0]
                             for slot in range(RING_SIZE)]
            data = memoryview(raw.read_bytes()) if sums_from else b""
            self.sums = [hashlib.sha256(data[offset:]).hexdigest() for offset in sums_from]
        self._check_ring()

    def _sector(self, file, offset):
        file.seek(offset)
        data = file.read(SECTOR)
        if data[:8] != MAGIC:
            if data.strip(b"\0"):
                raise AssertionError(f"{self.path}: foreign data at {offset}")
            return 0, 0
        count, inverse, born, _drive, lba = struct.unpack_from("<5I", data, 8)
        fill = struct.pack("<I", count) * ((SECTOR - 28) // 4)
        if inverse != count ^ 0xffffffff or lba * SECTOR != offset or data[28:] != fill:
            raise AssertionError(f"{self.path}: torn sector at {offset}")
        return count, born

    def _check_ring(self):
        for turn in range(max(self.born + 1, self.count - RING_SIZE + 1), self.count + 1):
            got = self.ring[turn % RING_SIZE]
            # The guest may have been stopped between the history and the head of the next turn.
            if got != turn and got != self.count + 1:
                raise AssertionError(f"{self.path}: at turn {self.count}, the history of turn "
                                     f"{turn} holds {got}")


class Serial:
    """What the guest printed, from the file that its serial line goes to."""

    tick = r"^tick (\d+)$"
    boot = r"boot (\d+) disks="      # may stand behind a line that was cut by a revert

    def __init__(self, path):
        self.path = Path(path)

    def size(self):
        """The present length in bytes, to give as `since` later."""
        try:
            return self.path.stat().st_size
        except OSError:
            return 0

    def text(self, since=0, until=None):
        """Whole lines from byte `since` on."""
        try:
            data = self.path.read_bytes()[since:until]
        except OSError:
            return ""
        return data[:data.rfind(b"\n") + 1].decode(errors="replace").replace("\r", "")

    def ticks(self, since=0, until=None):
        return [int(n) for n in re.findall(self.tick, self.text(since, until), re.M)]

    def boots(self, since=0):
        """The counters that the guest booted with."""
        return [int(n) for n in re.findall(self.boot, self.text(since), re.M)]

    def whole(self):
        """The present length in bytes, of whole lines."""
        try:
            return self.path.read_bytes().rfind(b"\n") + 1
        except OSError:
            return 0

    def last(self, until=None):
        """The last tick printed, up to that byte, 0 when there is none."""
        return (self.ticks(until=until) or [0])[-1]

    def jumps(self, since=0):
        """[(from, to)] wherever a tick does not follow the one before: reverts show up here."""
        ticks = self.ticks(since)
        return [pair for pair in zip(ticks, ticks[1:]) if pair[1] != pair[0] + 1]

    def check(self):
        """No tear so far."""
        bad = re.findall(r".*(?:TORN|IOERR).*", self.text())
        if bad:
            raise AssertionError(f"the guest saw: {bad[0]}")

    def wait_tick(self, count, since=0, timeout=20):
        """Waits for a tick >= count printed after byte `since`; that tick."""
        def reached():
            self.check()
            ticks = [tick for tick in self.ticks(since) if tick >= count]
            return ticks and ticks[0]
        return poll(reached, timeout, f"tick {count} (last: {self.last()})", 0.02)

    def wait_more(self, ticks=5, timeout=20):
        """Waits for some ticks from now on; the last one."""
        since = self.size()

        def reached():
            self.check()
            return len(self.ticks(since)) >= ticks
        poll(reached, timeout, f"{ticks} more ticks after {self.last()}", 0.02)
        return self.last()

    def wait_round(self, timeout=20):
        """Waits until the guest has looked at all of its history once.  A tear that a turn in
        progress hides from the next look is found within this time."""
        return self.wait_more(RING_SIZE + 6, timeout)
