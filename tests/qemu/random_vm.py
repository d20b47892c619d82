# SPDX-License-Identifier: GPL-2.0-or-later
"""random_vm: a VM that a seed works with: operations, clients and deaths as they fall.

Model: a Driver is a guest and the random_model.Tree of what it should hold.  attempt() is the heart: it
sends one command, lets a fault happen to it (random_attempt.py), waits until it is settled one way or the
other, and then the VM must be what the tree was before it or what it is after it, in each respect: snapshots
as they are listed, files, the guest's turn, its disks.  What an answer said must be so; without one, either
may be.

Rule: each operation draws from a source of its own (seed and number), so that an outcome that time
decides does not change what is drawn later.
"""

import json
import os
import random

import hostile
import random_model as model
import scene
from random_attempt import DEATHS, Attempt
from scene import harness, oracle, qmp, vm

FORMATS = (("qcow2",), ("raw",), ("qcow2", "raw"), ("raw", "qcow2"), ("qcow2", "qcow2"))
# The BIOS does not know this controller: what is plugged there is neither booted from nor counted on.
PLUGS = ["-device", "lsi53c810,id=scsi0", "-device", "virtio-serial-pci,id=serial"]
NEAR = 3                # turns that a guest may be ahead of what it printed
GOING = "It is being deleted"    # in the problems of one whose deletion was broken off
SMALL = 96 << 20        # of the file system that gets full


class Driver:
    def __init__(self, t, seed):
        self.t, self.seed, self.number, self.story = t, seed, 0, []
        self.draw = random.Random(f"{seed}")
        formats = self.draw.choice(FORMATS)
        self.style = self.draw.choice(("drive", "drive", "blockdev"))
        self.small = os.getuid() == 0 and self.draw.random() < 0.25
        self.folder = hostile.mount_tmpfs(t, "small", SMALL) if self.small else t.dir
        self.p = vm.Proxy(t, oracle.make_disks(self.folder, formats), PLUGS, style=self.style,
                          options=["--log-level", "debug"])
        self.tree, self.files, self.devices, self.foreign = model.Tree(), model.Files(), frozenset(), []
        self.story.append(f"{'+'.join(formats)} by {self.style}{', small' if self.small else ''}")
        self.p.start()
        self.p.serial.wait_tick(3)
        self.found = False
        self.refresh()

    def say(self, text):
        self.story.append(text)

    # --- what is there

    def disks(self):
        """Labels of the disks that the guest counts on."""
        return [disk.id if self.style == "drive" else f"v{disk.id}" for disk in self.p.disks]

    def plugged(self):
        return [label for label in scene.layout(self.p) if label not in self.disks()]

    def qemus(self):
        serial = str(self.p.serial.path)
        return [pid for pid, line in harness.marked_processes(self.t.marker).items()
                if serial in line and not line.startswith(vm.PROXY_BIN + " ")]

    def settle(self):
        """Until there is no operation, not even one that only looks yet: another would be refused."""
        p = self.p
        for _ in range(3):              # what a client has sent that is gone has been read behind this
            p.command("query-status")

        def closed():
            try:
                p.command("snapshot-create", {"name": "never", "memory": "none", "dry-run": True})
            except qmp.QmpError as error:
                if error.reason == "operation-running":
                    return False
            return not p.command("query-jobs") and not (p.state / "journal.json").exists()
        harness.poll(closed, 30, "the operation to be settled")
        for info in p.command("query-snapshots"):
            stuck = [text for text in info["problems"] if "finished nor taken back" in text]
            assert not stuck, f"{info['name']}: {stuck}"

    # --- one command

    def attempt(self, command, args, after, refusals=(set(), False), fault=None):
        """after: the tree if it is done; what came of it is self.tree.  True: it was done."""
        p, draw = self.p, random.Random(f"{self.seed} {self.number} fault")
        back = self.tree.snaps.get(args["name"]) if command == "snapshot-revert" else None
        self.say(f"{command} {json.dumps(args)}" + (f", {fault}" if fault else ""))
        if back and back.saved and scene.status(p) == "running":
            scene.step_aside(p, back.saved)
        p.qmp.drain().clear()
        self.turn, self.since, self.died, self.jumped = p.serial.last(), p.serial.size(), False, None
        stood = scene.status(p) in ("paused", "postmigrate")
        reply = Attempt(self, draw, command, args, fault).run()
        self.say("  " + ("no answer" if reply is None else
                         reply["error"]["data"].get("reason", "?") if "error" in reply else "done"))
        self.settle()
        options = self.options(reply, after, refusals, fault, back)
        shape = model.shape_of(p.command("query-snapshots"))
        found = [tree for tree in options if tree.shape() == shape]
        assert found, f"listed {shape}, expected {[tree.shape() for tree in options]}"
        certain = len(found) == 1
        tree = found[0]
        if not fault:
            self.check_status(stood, tree is after and back, args)
        went = self.whereabouts(back, back and certain and tree is after)
        if back and not certain:
            tree = after if went == "back" else found[-1]
        done = tree is after
        self.tree = tree
        if command == "snapshot-delete" and not done:
            self.mark_going(args)
        self.look(done and back or None, args)
        return done

    def options(self, reply, after, refusals, fault, back):
        """The trees that there may be now, the one that means "done" first."""
        may, must = refusals
        if reply and "return" in reply:
            assert not must, f"done, although it had to be refused as {may}"
            return [after]
        options = [self.tree]
        if reply is None or fault in DEATHS:
            assert fault in DEATHS + ("hangup",), "no answer"
            options = [after, self.tree]
        else:
            error = reply["error"]
            reason = error.get("data", {}).get("reason")
            assert reason in may | model.FAULT.get(fault, set()), \
                f"refused as {reason}: {error['desc']} (expected: {may or 'done'})"
            if reason in may:
                return options
        kept = back and [name for name in after.snaps if name not in self.tree.snaps]
        if kept:                        # the revert was taken back, what it had saved first was not
            options.append(self.tree.copy())
            snap = after.snaps[kept[0]]
            options[-1].add(model.Snap(snap.name, self.tree.current, devices=self.devices))
        return options

    def mark_going(self, args):
        """It was broken off: those that it began with are only good for another delete."""
        for name in self.tree.doomed(args["name"], args.get("children", "keep")):
            problems = self.infos()[name]["problems"]
            self.tree.snaps[name].going = any(GOING in problem for problem in problems)

    def infos(self):
        return {info["name"]: info for info in self.p.command("query-snapshots")}

    # --- what must be true afterwards

    def check_status(self, stood, back, args):
        wanted = "paused" if stood else "running"
        if back:
            state = args.get("state", "as-saved")
            wanted = back.target(state)
            if back.boots(state) and wanted != "running":
                wanted = "prelaunch"
        status = scene.status(self.p)   # a QEMU that stood still when its memory was saved says postmigrate
        harness.equal("paused" if status == "postmigrate" else status, wanted, "status")

    def at_death(self):
        """Where the guest was when it, or the proxy, died."""
        serial = self.p.serial
        ticks = [self.turn] + serial.ticks(self.since)
        jumps = [turn for before, turn in zip(ticks, ticks[1:]) if not 1 <= turn - before <= 2]
        if self.died:
            self.jumped = jumps[-1] if jumps else (serial.boots(self.since) or [None])[-1]
            self.turn, self.since = serial.last(), serial.size()

    def whereabouts(self, back, must):
        """Where the guest is: "on", from where it was, or "back" at the turn of the snapshot.  It runs
        afterwards."""
        p, serial = self.p, self.p.serial
        harness.poll(lambda: scene.status(p) not in ("inmigrate", "finish-migrate"), 15,
                     "the guest to be there")
        if scene.status(p) != "running":
            p.command("cont")

        settled = serial.size()         # what was printed before may be another QEMU's

        def run():
            serial.check()
            if len(serial.ticks(settled)) < 4:
                return None
            boots, ticks = serial.boots(self.since), [self.turn] + serial.ticks(self.since)
            first = len(ticks) - 1
            while first > 0 and 1 <= ticks[first] - ticks[first - 1] <= 2:
                first -= 1
            return boots, ticks[first], first
        boots, turn, first = harness.poll(run, 20, f"the guest to run behind turn {self.turn}")
        assert len(boots) <= 1 + self.died, f"boots: {boots}"
        assert not boots or self.died or back, f"booted: {boots}"
        if boots and self.died:
            self.lose()
        near = boots[-1] if boots else turn
        on = first == 0 or bool(boots) and self.died and abs(near - self.turn) <= NEAR
        # A guest that was paused near the snapshot's turn goes back there without a jump.
        gone = back is not None and (
            (first > 0 or boots or must) and -1 <= near - back.saved.count <= NEAR or
            on and self.jumped is not None and -1 <= self.jumped - back.saved.count <= NEAR)
        assert on or gone, (f"the guest is at {near} (boots: {boots}); it was at {self.turn}, "
                            f"the snapshot at {back and back.saved.count}")
        assert not must or gone, f"reverted, and the guest goes on with {near}"
        return "back" if gone else "on"

    def lose(self):
        """A new start has the devices of the command line."""
        self.devices = frozenset()
        self.beyond = {label: value for label, value in self.beyond.items() if label in self.disks()}

    def look(self, back, args):
        """Disks and snapshots are what the tree says.  back: what it was reverted to."""
        p = self.p
        if back:
            self.devices, self.beyond = back.devices, dict(back.saved.beyond)
            if self.died and p.serial.boots(self.since):
                self.lose()
        self.check_devices()
        self.check_disks()
        infos = self.infos()
        for snap in self.tree.snaps.values():
            info = infos[snap.name]
            if snap.saved is None:
                self.learn(snap, info, args)
            elif not snap.damaged and not snap.going:
                harness.equal(info["problems"], [], f"problems of {snap.name}")
                self.files.moved(snap, info)
        harness.equal(len(self.qemus()), 1, "QEMUs")
        harness.equal(p.command("query-jobs"), [], "jobs")

    def running(self):
        """{label: oracle.Image} of the running disks; the guest's turn."""
        p = self.p
        with vm.paused(p):
            last = p.serial.last()
            return {label: oracle.Image(path, driver, (scene.BEYOND,))
                    for label, (path, driver) in scene.layout(p).items()}, last

    def check_disks(self):
        """They hold what the guest prints, and what the driver wrote."""
        self.p.serial.check()
        images, last = self.running()
        for label, image in images.items():
            if label in self.disks():
                assert abs(image.count - last) <= 1, f"{label} has turn {image.count}, the guest {last}"
            if label in self.beyond:
                harness.equal(image.sums[0], self.beyond[label], f"what was written to {label}")

    def refresh(self):
        """The driver has written to them; the stop flushes that."""
        self.beyond = {label: image.sums[0] for label, image in self.running()[0].items()}

    def learn(self, snap, info, args):
        """What a new one froze: the turn that the guest was at."""
        snap.saved = model.Saved(info)
        snap.memory = info.get("memory", {}).get("format")
        snap.nodes = self.hot
        snap.state = info["run-state"]
        harness.equal(info["problems"], [], f"problems of {snap.name}")
        wanted = args.get("memory")
        if wanted and not snap.name == args.get("save-as"):
            harness.equal(snap.memory, None if wanted == "none" else wanted, f"memory of {snap.name}")
        count, now = snap.saved.count, self.p.serial.last()
        late = self.turn + 40 * harness.SLOW if args.get("save-as") else now + NEAR
        assert self.turn - NEAR <= count <= late, \
            f"{snap.name} froze turn {count}, the guest was at {self.turn}, and then at {now}"
        self.files.known[snap.name] = self.files.sums(snap.saved)

    @property
    def hot(self):
        """Nodes of disks that clients have plugged."""
        nodes = self.p.command("query-named-block-nodes", flat=True)
        return [node["node-name"] for node in nodes if node["node-name"].startswith("hot")]

    def check_devices(self):
        entries = self.p.command("qom-list", path="/machine/peripheral")
        found = {entry["name"] for entry in entries if entry["type"].startswith("child<")}
        harness.equal(found - {"scsi0", "serial", "vd0", "vd1"}, set(self.devices), "devices")
