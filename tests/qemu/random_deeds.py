# SPDX-License-Identifier: GPL-2.0-or-later
"""random_deeds: what the random driver does: the four commands with drawn arguments, and what clients
do to the VM beside them."""

import os
import random

import byhand
import plugging
import random_model as model
import random_vm
import scene
from scene import harness
from random_model import Snap

MOST = 6                # snapshots at a time
FAULTS = {"snapshot-create": ("proxy", "qemu", "both", "hangup", "cancel"),
          "snapshot-revert": ("proxy", "qemu", "both", "hangup", "cancel", "second"),
          "snapshot-delete": ("proxy", "qemu", "both", "hangup", "cancel")}


class Deeds(random_vm.Driver):
    deeds = {"create": 5, "revert": 6, "delete": 4, "own_snapshot": 2, "own_job": 1, "plug": 1,
             "unplug": 1, "write": 2}

    def step(self):
        """One deed, whichever can be done now."""
        self.number += 1
        draw = self.draw_for("deed")
        names = [name for name in self.deeds if getattr(self, "can_" + name, lambda: True)()]
        name = draw.choices(names, [self.deeds[name] for name in names])[0]
        getattr(self, name)(draw)

    def draw_for(self, what):
        return random.Random(f"{self.seed} {self.number} {what}")

    def fault(self, draw, command):
        if draw.random() < 0.5:
            return None
        return draw.choice(FAULTS[command] + (("full", "full") if self.small else ()))

    def maybe_stop(self, draw, fault):
        """Operations on a guest that is paused."""
        if not fault and draw.random() < 0.15:
            self.say("stop")
            self.p.command("stop")

    # --- the commands

    def can_create(self):
        return len(self.tree.snaps) < MOST

    def create(self, draw):
        args = {"name": f"s{self.number}"}
        if draw.random() < 0.08 and self.tree.snaps:
            args["name"] = draw.choice(sorted(self.tree.snaps))
        memory = draw.choice((None, "stream", "vmstate", "vmstate", "none"))
        if memory:
            args["memory"] = memory
        fault = self.fault(draw, "snapshot-create")
        self.maybe_stop(draw, fault)
        after = self.tree.copy()
        after.add(Snap(args["name"], self.tree.current, devices=self.devices))
        self.attempt("snapshot-create", args, after,
                     model.create_refusals(self.tree, args), fault)

    def can_revert(self):
        return bool(self.tree.snaps)

    def revert(self, draw):
        args = {"name": draw.choice(sorted(self.tree.snaps))}
        method = draw.choice(("auto", "auto", "auto", "in-place", "respawn", "replace"))
        if method == "replace" and self.tree.snaps[args["name"]].partial:
            method = "auto"             # possible, and the disks are then of two turns
        if method != "auto":
            args["method"] = method
        state = draw.choice(("as-saved", "as-saved", "running", "paused", "prelaunch"))
        if state != "as-saved":
            args["state"] = state
        if draw.random() < 0.3 and len(self.tree.snaps) < MOST:
            args["save-as"] = f"k{self.number}"
        elif draw.random() < 0.95:
            args["discard"] = True
        self.revert_with(args, self.fault(draw, "snapshot-revert"), draw)

    def revert_with(self, args, fault=None, draw=None):
        after = self.tree.copy()
        if "save-as" in args:
            after.add(Snap(args["save-as"], self.tree.current, devices=self.devices))
        after.current = args["name"]
        if draw:
            self.maybe_stop(draw, fault)
        refusals = model.revert_refusals(self.tree, args, self.devices, self.hot)
        return self.attempt("snapshot-revert", args, after, refusals, fault)

    can_delete = can_revert

    def delete(self, draw):
        args = {"name": draw.choice(sorted(self.tree.snaps))}
        children = draw.choice(("keep", "keep", "keep", "include", "only"))
        direction = draw.choice(("auto", "auto", "commit", "stream"))
        if children != "keep":
            args["children"] = children
        if direction != "auto":
            args["direction"] = direction
        if draw.random() < 0.1:
            args["metadata-only"] = True
        self.delete_with(args, self.fault(draw, "snapshot-delete"), draw)

    def delete_with(self, args, fault=None, draw=None):
        after = self.tree.copy()
        after.remove(self.tree.doomed(args["name"], args.get("children", "keep")))
        if draw:
            self.maybe_stop(draw, fault)
        return self.attempt("snapshot-delete", args, after,
                            model.delete_refusals(self.tree, args), fault)

    # --- clients

    can_own_snapshot = can_create

    def own_snapshot(self, draw):
        """With QEMU's own commands: of one disk, or of all of them in one transaction."""
        p, node = self.p, f"o{self.number}"
        self.mark()
        disks = self.disks() + self.plugged()
        one = draw.choice(self.disks())
        if len(disks) == 1 or draw.random() < 0.3:
            if draw.random() < 0.5:
                byhand.by_file(p, one, self.folder / f"{node}.qcow2", node=node)
            else:
                byhand.by_node(p, one, self.folder / f"{node}.qcow2", node)
            disks, partial = [one], len(disks) > 1
        else:
            byhand.together(p, self.folder, {disk: f"{node}{disk if number else ''}"
                                             for number, disk in enumerate(disks)})
            partial = False
        self.say(f"a client's snapshot {node} of {disks}")
        self.tree.add(Snap(node, self.tree.current, devices=self.devices))
        self.tree.snaps[node].partial = partial
        self.after_client()
        return node, one

    def own_job(self, draw):
        """A client's commit of an overlay that it has just made, or a stream."""
        p = self.p
        if draw.random() < 0.5:
            disk = draw.choice(self.disks())
            lower = model.chain(*scene.layout(p)[disk])[1:]
            base = draw.choice(lower) if lower else None
            self.say(f"a client's stream of {disk} down to {base}")
            self.mark()
            if base:
                byhand.job(p, "block-stream", device=self.job_name(disk),
                           **{"base-node": self.node_of(base)})
            return self.after_client()
        node, disk = self.own_snapshot(draw)
        below = next(entry["image"] for entry in self.infos()[node]["disks"]
                     if entry["device"] == disk)
        self.p.serial.wait_more(2)
        self.mark()
        self.say(f"a client's commit of {disk} into {below}")
        byhand.job(p, "block-commit", device=self.job_name(disk),
                   **{"base-node": self.node_of(below)})
        self.close(below, node)
        for snap in self.tree.snaps.values():
            for entry in self.infos()[snap.name]["disks"]:
                if below in model.chain(entry["image"], entry["format"]):
                    snap.damaged = True
        self.foreign += [path for path in self.folder.glob(f"{node}*.qcow2")
                         if str(path) not in {file for file, _ in scene.layout(p).values()}]
        return self.after_client()

    def close(self, below, node):
        """Its own overlay, as a client does that has opened it: else QEMU keeps it, on what runs."""
        for entry in self.p.command("query-named-block-nodes", flat=True):
            if entry["node-name"].startswith(node) and entry.get("backing_file") == below:
                self.p.command("blockdev-del", {"node-name": entry["node-name"]})

    def job_name(self, disk):
        return disk if self.style == "drive" else byhand.active(self.p, disk)

    def node_of(self, path):
        return next(node["node-name"] for node in self.p.command("query-named-block-nodes", flat=True)
                    if node["file"] == path and node["drv"] in ("qcow2", "raw"))

    def can_plug(self):
        return not self.small and len(self.devices) < 2

    def plug(self, draw):
        """A disk that the guest does not know of, or a port."""
        self.mark()
        if draw.random() < 0.5:
            name = f"hot{self.number}"
            self.foreign.append(plugging.plug_scsi(self.p, name, draw.choice(("qcow2", "raw"))))
            device = f"s{name}"
            scene.write(self.p, device, self.number % 251 + 1, scene.BEYOND, 1 << 16)
        else:
            device = f"port{self.number}"
            self.p.command("device_add", {"driver": "virtserialport", "id": device})
        self.say(f"plug {device}")
        self.devices |= {device}
        self.refresh()
        self.after_client()

    def can_unplug(self):
        return bool(self.devices)

    def unplug(self, draw):
        device = draw.choice(sorted(self.devices))
        self.say(f"unplug {device}")
        self.mark()
        plugging.unplug(self.p, device)
        if device.startswith("s") and draw.random() < 0.7:
            self.p.command("blockdev-del", {"node-name": device.removeprefix("s")})
        self.devices -= {device}
        self.refresh()
        self.after_client()

    def write(self, draw):
        """To the disks, where the guest does not write."""
        for label in scene.layout(self.p):
            scene.write(self.p, label, self.number % 251 + 1,
                        scene.BEYOND + draw.randrange(64) * (1 << 16), 1 << draw.randrange(12, 19))
        self.say("write")
        self.refresh()

    def mark(self):
        self.turn, self.since, self.died = self.p.serial.last(), self.p.serial.size(), False
        self.jumped = None

    def after_client(self):
        """The guest has not noticed, and what is on record is what is there."""
        self.settle()
        shape = model.shape_of(self.p.command("query-snapshots"))
        harness.equal(shape, self.tree.shape(), "snapshots")
        self.whereabouts(None, False)
        self.look(None, {})

    # --- the end

    def finish(self):
        """Each snapshot reverts to its turn, all of them delete, and nothing is left."""
        p = self.p
        for name in sorted(self.tree.snaps):
            self.number += 1
            snap = self.tree.snaps[name]
            args = {"name": name, "discard": True}
            _reasons, must = model.revert_refusals(self.tree, args, self.devices, self.hot)
            done = self.revert_with(args)
            assert done or must or snap.memory == "vmstate" or self.hot, f"{name} was not reverted to"
        # What was deleted with metadata-only is merged by the next delete.
        after = self.tree.copy()
        after.add(Snap("last", self.tree.current, devices=self.devices))
        self.number += 1
        assert self.attempt("snapshot-create", {"name": "last", "memory": "none"}, after), "no snapshot"
        while self.tree.snaps:
            self.number += 1
            name = self.draw_for("end").choice(sorted(self.tree.snaps))
            assert self.delete_with({"name": name}), f"{name} was not deleted"
        p.serial.wait_more(8)
        recorded = {layer["real"] for layer in scene.state(p)["layers"].values()}
        for path in scene.layout(p).values():
            layers = model.chain(*path)
            assert len(layers) == 1, f"layers that are left: {layers}"
        foreign = [path for path in self.foreign if os.path.exists(path) and str(path) not in recorded]
        scene.tidy(p, *foreign, folder=self.folder)
