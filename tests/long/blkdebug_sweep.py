#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""QEMU's own fault injection (blkdebug) below the layers that merges read and write: each of its events
fails, in three kinds of delete.

Model: an oracle on five layers, of which the middle three have a blkdebug node between format and file;
the proxy is attached, since a VM of its own has no such nodes (and a disk whose active layer has one is not
snapshotted at all).  A point is event, error, once or always; it is one run of that QEMU, with the layers as
they were at first, and three deletes:

    stream    a's layer goes up into b's
    below     c's layer goes down into b's, while the guest runs on another
    active    what the guest runs on goes down into b's (it is paused: behind the switch the fault is its own)

The rules are bound to states, and a state is gone to by reading a bit of vmstate, which nobody else does:
odd states are idle, each even one is armed, with one rule, for one delete.

Afterwards, each time: it is done, or refused with a reason; the guest runs on; the other snapshots and the
running disk hold what they held; when the fault is over the same command works (where QEMU itself has
mixed up its layers, or has died, behind a new start of it), and nothing is left.

    blkdebug_sweep.py [--list] [--only WORD] [--jobs N]

--only: points with this in their names, as --list prints them.
"""

import errno
import itertools
import os
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "qemu"), str(HERE.parent / "lib")]

# pylint: disable=wrong-import-position
import hostile
import scene
import shares
from scene import harness, oracle, qmp, vm

# BlkdebugEvent of QEMU 7.2 to 10.0 (qapi/block-core.json), but for vmstate_load, which arms the rules and
# which no delete comes to; "none" is any request at all.
EVENTS = """
    l1_update l1_grow_alloc_table l1_grow_write_table l1_grow_activate_table l2_load l2_update
    l2_update_compressed l2_alloc_cow_read l2_alloc_write read_aio read_backing_aio read_compressed
    write_aio write_compressed vmstate_save cow_read cow_write reftable_load reftable_grow
    reftable_update refblock_load refblock_update refblock_update_part refblock_alloc
    refblock_alloc_hookup refblock_alloc_write refblock_alloc_write_blocks refblock_alloc_write_table
    refblock_alloc_switch_table cluster_alloc cluster_alloc_bytes cluster_free flush_to_os flush_to_disk
    pwritev_rmw_head pwritev_rmw_after_head pwritev_rmw_tail pwritev_rmw_after_tail pwritev pwritev_zero
    pwritev_done empty_image_prepare l1_shrink_write_table l1_shrink_free_l2_clusters cor_write
    cluster_alloc_space none
""".split()
ERRORS = ("EIO", "ENOSPC")
TIMES = ("once", "always")
DELETES = (("stream", {"name": "a", "direction": "stream"}),
           ("below", {"name": "b", "direction": "commit"}),
           ("active", {"name": "c", "direction": "commit"}))
SNAPSHOTS = ("root", "a", "b", "c")
REASONS = {"qemu-failed", "stuck"}
TIMEOUT = 900


def points(word=""):
    """[(event, error, times)]"""
    return [point for point in itertools.product(EVENTS, ERRORS, TIMES) if word in name_of(point)]


def name_of(point):
    return "_".join(point)


def rules(event, error, times):
    """The text of blkdebug's file."""
    lines = []
    for number in range(len(DELETES)):
        idle = 2 * number + 1
        for state in (idle, idle + 1):
            lines.append(f'[set-state]\nevent = "vmstate_load"\nstate = "{state}"\n'
                         f'new_state = "{state + 1}"\n')
        # A rule that has come into force stays so until another one does: one about no sector there is.
        lines.append(f'[inject-error]\nevent = "vmstate_load"\nstate = "{idle + 1}"\n'
                     f'errno = "{errno.EIO}"\nsector = "{1 << 40}"\n')
        lines.append(f'[inject-error]\nevent = "{event}"\nstate = "{idle + 1}"\n'
                     f'errno = "{getattr(errno, error)}"\n'
                     f'once = "{"on" if times == "once" else "off"}"\n')
    return "".join(lines)


class Owner(vm.Qemu):
    """Whoever starts the QEMU: with a chain of its own making, or with the active image alone."""

    def start_on(self, chain, rule_file=None):
        args = []
        for number, path in enumerate(chain):
            below = f",backing=n{number - 1}" if number else ""
            middle = rule_file and 0 < number < len(chain) - 1
            # Nodes that go with the layer: a file that QEMU has open under another name is not removed.
            file = (f"file.driver=blkdebug,file.config={rule_file},file.image.driver=file,"
                    f"file.image.filename={path}" if middle else f"file.driver=file,file.filename={path}")
            args += ["-blockdev", f"driver=qcow2,node-name=n{number},{file}{below},"
                     f"read-only={'off' if number == len(chain) - 1 else 'on'}"]
        self.start_with([*args, "-device", f"virtio-blk-pci,id=vd0,drive=n{len(chain) - 1}"])

    def start_plain(self, path):
        self.start_with(["-drive", f"file={path},format=qcow2,if=none,id=d0",
                         "-device", "virtio-blk-pci,id=vd0,drive=d0"])

    def start_with(self, args):
        self.bare = getattr(self, "bare", self.qemu_args)
        self.qemu_args = self.bare + args
        self.start(connect=False)


def fingerprints(record):
    """The files are others than those that were copied."""
    for layer in record["layers"].values():
        stat = os.stat(layer["real"])
        if "ino" in layer:
            layer["ino"] = stat.st_ino
        if "print" in layer:
            layer["print"] = {"dev": stat.st_dev, "ino": stat.st_ino, "size": stat.st_size, "mtime":
                              f"{stat.st_mtime_ns // 10**9}.{stat.st_mtime_ns % 10**9:09}"}


class Guest:
    """The layers as they are at first are kept aside, and come back for each point."""

    def __init__(self, t):
        self.t = t
        self.q = Owner(t, name="q")
        self.images, self.kept = t.path("images"), t.path("kept")
        self.images.mkdir()
        self.disk = oracle.make_disks(self.images)[0]
        self.p = vm.Attached(t, self.q.address, name="p", options=["--log-level", "debug"])
        self.p.serial, self.p.disks = self.q.serial, [self.disk]
        self.p.start(connect=False)
        self.q.start_on([self.disk.path])
        self.connect()
        self.q.serial.wait_round()
        self.saved = {}
        for number, snapshot in enumerate(SNAPSHOTS):
            self.saved[snapshot] = scene.create(self.p, snapshot, kind=scene.Whole, memory="none")
            self.q.serial.wait_more(3)
            scene.write(self.p, "vd0", 0x41 + number, scene.BEYOND + (number << 16), 160 << 10)
        self.q.serial.wait_round()      # from here on the guest reads nothing of the layers below
        record = scene.state(self.p)
        layers = record["layers"]
        at, self.chain = next(iter(record["disks"].values()))["active"], []
        while at:
            self.chain.insert(0, layers[at]["real"])
            at = layers[at]["parent"]
        self.end()
        shutil.copytree(self.images, self.kept / "images")
        shutil.copytree(self.p.state, self.kept / "state", ignore=lambda *_: ["p.sock"])

    def connect(self):
        """When the proxy has found the QEMU."""
        p = self.p
        p._close_clients()              # pylint: disable=protected-access
        p.qmp = harness.poll(p._try_client, 20, "the proxy to be attached")

    def end(self):
        """Of both."""
        self.p.stop()
        self.q.stop()

    def again(self, rule_file=None):
        """As at first."""
        for kept, place in (("images", self.images), ("state", self.p.state)):
            shutil.rmtree(place)
            shutil.copytree(self.kept / kept, place)
        self.p.state.chmod(0o700)
        hostile.edit_state(self.p, fingerprints)
        self.p.start(connect=False)
        self.q.start_on(self.chain, rule_file)
        self.connect()
        self.q.serial.wait_more(3)

    def active(self):
        record = scene.state(self.p)
        return record["layers"][next(iter(record["disks"].values()))["active"]]["real"]

    def restart(self):
        """QEMU anew, on the active image, without blkdebug."""
        self.q.stop()
        self.q.start_plain(self.active())
        self.connect()
        self.q.serial.wait_more(3)

    def toggle(self):
        """Into the armed state, or out of it; a node that is gone is none of these."""
        for number in range(1, len(self.chain) - 1):
            self.p.qmp.hmp(f'qemu-io n{number} "read -b 0 512"')


def died(guest):
    """Has QEMU not survived it?"""
    return guest.q.process.poll() is not None


def given(guest, args):
    """The reply, armed; None: QEMU has died of it."""
    p = guest.p
    guest.toggle()
    try:
        reply = p.qmp.reply(p.qmp.send("snapshot-delete", args), 60)
        if not died(guest):
            guest.toggle()
        return reply
    except (qmp.Closed, OSError):
        assert guest.q.wait(10) is not None
        return None


def delete(guest, args, paused):
    """Armed, and where it is refused once more; what it was told first."""
    p = guest.p
    before = scene.beyond(p)
    if paused:
        p.command("stop")
    mark = scene.Mark(p)
    reply = given(guest, args)
    if paused and not died(guest):
        harness.equal(scene.status(p), "paused", "status")
        p.command("cont")
    if reply is None or died(guest):
        guest.restart()
        told = "QEMU has died"
    elif "return" in reply:
        mark.went_on()
        told = "done"
    else:
        told = reply["error"]["desc"]
        assert reply["error"]["data"]["reason"] in REASONS, reply
        mark.went_on()
    if told != "done" and args["name"] in scene.names(p):
        try:
            p.command("snapshot-delete", args, timeout=60)
        except qmp.QmpError as error:
            told += f"; again: {error.reason}"
            assert error.reason == "stuck", error
            guest.restart()
            p.command("snapshot-delete", args, timeout=60)
    harness.equal(scene.beyond(p), before, "the running disk")
    return told


def whole(guest, gone):
    """What is left is what it was, and there is no more."""
    p = guest.p
    harness.equal(scene.names(p), [name for name in SNAPSHOTS if name not in gone], "snapshots")
    for snapshot in scene.names(p):
        guest.saved[snapshot].same(p)
    scene.check_disks(p)
    harness.equal(p.command("query-jobs"), [], "jobs")
    assert not (p.state / "journal.json").exists(), "an open journal"
    known = {layer["real"] for layer in scene.state(p)["layers"].values()}
    harness.equal({str(path) for path in guest.images.iterdir()}, known, "images")


def run(guest, point):
    """One point: what each delete was told."""
    guest.t.path("rules.conf").write_text(rules(*point))
    guest.again(guest.t.path("rules.conf"))
    said, gone = [], []
    for kind, args in DELETES:
        try:
            said.append(f"{kind}: {delete(guest, args, kind == 'active')}")
            gone.append(args["name"])
            whole(guest, gone)
        except Exception as error:
            raise AssertionError(f"{kind}: {error}; so far {said}; again: blkdebug_sweep.py --only "
                                 f"{name_of(point)}") from error
    guest.q.serial.wait_round()
    guest.end()
    sound(guest)
    return said


def sound(guest):
    """The images are; clusters that nothing refers to may be there, of writes that have failed."""
    for path in guest.images.iterdir():
        oracle.qemu_img("check", "-q", "-r", "leaks", "-f", "qcow2", path)


def sweep(t, mine):
    """All these points, on the same layers; what was said."""
    guest, said = Guest(t), []
    first = {name: (saved.info, saved.count, saved.bytes, saved.sums)
             for name, saved in guest.saved.items()}
    for point in mine:
        for snapshot, known in first.items():
            saved = guest.saved[snapshot]
            saved.info, saved.count, saved.bytes, saved.sums = known
        said.append(f"{name_of(point)}: {'; '.join(run(guest, point))}")
        t.note(said[-1])
    return said


def test(event, mine):
    def function(t):
        sweep(t, mine)
    function.__name__ = f"test_{event}"
    function.timeout = TIMEOUT
    return function


def main():
    parser = shares.parser(__doc__)
    options = parser.parse_args()
    chosen = points(options.only)
    if not chosen:
        parser.error(f"no point has {options.only!r} in its name")
    if options.list:
        print("\n".join(map(name_of, chosen)))
        return 0
    events = [event for event in EVENTS if any(point[0] == event for point in chosen)]
    if options.names:
        mine = options.names.split(",")
        return harness.run([test(event, [point for point in chosen if point[0] == event])
                            for event in mine], TIMEOUT)
    return shares.run(__file__, events, options)


if __name__ == "__main__":
    sys.exit(main())
