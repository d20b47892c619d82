# SPDX-License-Identifier: GPL-2.0-or-later
"""random_model: what the random driver (random_vm.py) knows of a VM, and what each command may answer.

Model: a Tree is the snapshots by name, and the one that the guest stands on.  A command changes a copy
of it; what the proxy lists has to be the one tree or the other, never a third.  A Snap is what
a snapshot froze (a Saved: turn, checksums, bytes), and what is known to be wrong with it.

may_refuse() gives the reasons for which a command may be refused just now, and whether it must be.
Every other refusal is a failure of the test.
"""

import copy
import json
from pathlib import Path

import scene
from scene import harness, oracle

COUNTED = ("d0", "d1", "vd0", "vd1")    # the disks that the guest counts on


class Saved(scene.Saved):
    """bytes, beyond: {disk: checksum} of all that it reads as, and of what the guest leaves alone, so that
    only the driver writes to it."""

    def __init__(self, info):
        self.info, self.name = info, info["name"]
        self.freeze()
        images = {disk["device"]: oracle.Image(disk["image"], disk["format"], (0, scene.BEYOND))
                  for disk in info["disks"]}
        self.bytes = {disk: image.sums[0] for disk, image in images.items()}
        self.beyond = {disk: image.sums[1] for disk, image in images.items()}
        counts = [image.count for disk, image in images.items() if disk in COUNTED]
        # Stopped between two disks of one turn, they differ by that turn.
        assert not counts or max(counts) - min(counts) <= 1, f"{self.name}: not one turn: {counts}"
        self.count = max(counts, default=0)


class Snap:
    """saved: None until its files have been looked at."""

    def __init__(self, name, parent, memory=None, state="running", devices=frozenset()):
        self.name, self.parent, self.memory, self.state = name, parent, memory, state
        self.devices = devices          # those that clients had plugged
        self.saved = None
        self.nodes = []                 # of disks that had been plugged, and their device unplugged perhaps
        self.damaged = False            # a client's job has written below it
        self.partial = False            # it has not every disk of the VM
        self.going = False              # its deletion was broken off

    def boots(self, state):
        """Does a revert to it boot the guest?"""
        return self.memory is None or state == "prelaunch"

    def target(self, state):
        return self.state if state == "as-saved" else state


class Tree:
    def __init__(self):
        self.snaps, self.current = {}, None

    def copy(self):
        other = Tree()
        other.snaps = {name: copy.copy(snap) for name, snap in self.snaps.items()}
        other.current = self.current
        return other

    def add(self, snap):
        self.snaps[snap.name] = snap
        self.current = snap.name

    def below(self, name):
        """It, and all that descend from it."""
        found = [name]
        for snap in self.snaps.values():
            if snap.parent == name:
                found += self.below(snap.name)
        return found

    def doomed(self, name, children):
        """What a delete removes."""
        below = self.below(name)
        return {"keep": [name], "include": below, "only": below[1:]}[children]

    def remove(self, names):
        for name in names:
            gone = self.snaps.pop(name)
            for snap in self.snaps.values():
                if snap.parent == name:
                    snap.parent = gone.parent
            if self.current == name:
                self.current = gone.parent

    def shape(self):
        return {name: snap.parent for name, snap in self.snaps.items()}, self.current

    def good(self):
        return [snap for snap in self.snaps.values() if not snap.damaged and not snap.going]


def shape_of(infos):
    """What query-snapshots says, as Tree.shape() has it."""
    shape = {info["name"]: info.get("parent") for info in infos}
    current = [info["name"] for info in infos if info["current"]]
    for info in infos:
        children = {name for name, parent in shape.items() if parent == info["name"]}
        harness.equal(set(info["children"]), children, f"children of {info['name']}")
    assert len(current) < 2, f"current: {current}"
    return shape, current[0] if current else None


# --- what may be refused

# With a fault in the way a command may fail for it, and has then changed nothing.
FAULT = {"full": {"no-space", "qemu-failed", "file-unusable", "timeout", "wrong-state"},
         "second": {"qemu-failed", "unexpected-answer", "timeout"},
         "cancel": {"cancelled"}}


def create_refusals(tree, args):
    if args["name"] in tree.snaps:
        return {"duplicate-name"}, True
    return set(), False


def revert_refusals(tree, args, devices, nodes):
    """devices: what is plugged now; nodes: those of the disks that were."""
    snap, method = tree.snaps.get(args["name"]), args.get("method", "auto")
    state = args.get("state", "as-saved")
    if snap is None:
        return {"unknown-snapshot"}, True
    if args.get("save-as") in tree.snaps:
        return {"duplicate-name"}, True
    if snap.going:
        return {"being-deleted"} | ({"image-changed"} if snap.damaged else set()), True
    may, must = set(), False
    if not args.get("discard") and "save-as" not in args:
        may, must = may | {"unsaved-state"}, True
    if snap.damaged:
        may, must = may | {"image-changed"}, True
    if snap.partial:
        may, must = may | {"needs-replace", "image-changed"}, True
    if snap.boots(state) and nodes and method != "replace":
        may |= {"needs-replace"}        # open for writing in both of two processes
    if method == "in-place":
        if snap.memory != "vmstate" or state == "prelaunch":
            may, must = may | {"method-unavailable"}, True
        elif snap.devices != devices:
            may |= {"method-unavailable", "configuration-changed"}
    elif snap.memory == "vmstate" and (snap.target(state) != "running" or snap.nodes):
        # A new process would show as one that never ran; or it would open what the snapshot does not cover.
        may |= {"method-unavailable"}
    return may, must


def delete_refusals(tree, args):
    name, children = args["name"], args.get("children", "keep")
    if name not in tree.snaps:
        return {"unknown-snapshot"}, True
    may, must = set(), False
    if children != "keep" and tree.current in tree.doomed(name, children):
        may, must = may | {"current-branch"}, True
    if args.get("direction", "auto") != "auto":
        may |= {"direction-unavailable"}
    return may, must


# --- what lies on the disk

class Files:
    """Checksums of files, taken anew only when a file is not the one that it was."""

    def __init__(self):
        self.known = {}

    def sums(self, saved):
        """A scene.Saved's files: {path: something that is equal as long as nobody wrote to it}"""
        found = {}
        for path in saved.sums:
            entry = Path(path).stat() if Path(path).exists() else None
            found[path] = entry and (entry.st_ino, entry.st_size, entry.st_mtime_ns)
        return found

    def check(self, snap):
        """Nobody has written to what it froze."""
        now = self.sums(snap.saved)
        if self.known.get(snap.name) != now:
            snap.saved.untouched()
            self.known[snap.name] = now

    def moved(self, snap, info):
        """After a delete or a job of a client its layers may be other files, which hold the same."""
        images = {disk["image"] for disk in info["disks"]}
        known = {disk["image"] for disk in snap.saved.info["disks"]}
        if images == known and self.known.get(snap.name) == self.sums(snap.saved):
            return
        fresh = Saved(info)
        harness.equal(fresh.count, snap.saved.count, f"turn on the disks of {snap.name}")
        harness.equal(fresh.bytes, snap.saved.bytes, f"contents of {snap.name}")
        snap.saved = fresh
        self.known[snap.name] = self.sums(fresh)


def chain(path, fmt):
    """The files of an image, from the top."""
    facts = json.loads(oracle.qemu_img("info", "-U", "--backing-chain", "--output=json", "-f", fmt, path))
    return [str(Path(one["filename"]).resolve()) for one in facts]
