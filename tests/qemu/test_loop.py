#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Many operations on one VM: nothing grows, and no history of operations tears the guest."""

import os
import random
import sys

import scene
from scene import harness, oracle, vm

ROUNDS = 20
WARM_UP = 4
SEEDS = [int(seed) for seed in os.environ.get("QMP_PROXY_SEEDS", "1 2").split()]
# What malloc keeps in its bins from round to round, and the pages that this touches.
RSS_SLACK_KIB = 384


class Footprint:
    """What must not grow: files, descriptors, processes, the proxy's memory, the record."""

    def __init__(self, p):
        files = [path for path in [*p.test.dir.iterdir(), *p.state.rglob("*")] if path.is_file()]
        self.counts = {
            "files": len(files),
            "descriptors of the proxy": p.fd_count(),
            "descriptors of QEMU": len(os.listdir(f"/proc/{p.qemu_pid()}/fd")),
            "processes": len(p.all_pids()),
            "layers on record": len(scene.state(p)["layers"]),
            "snapshots": len(scene.names(p)),
            "jobs": len(p.command("query-jobs")),
            "block nodes": len(p.command("query-named-block-nodes")),
        }
        self.rss = p.rss_kib()
        self.record = (p.state / "state.json").stat().st_size


def test_create_revert_delete_twenty_times_grows_nothing(t):
    p = scene.start(t, ("qcow2", "raw"))
    early = None
    for number in range(ROUNDS):
        saved = scene.create(p, f"s{number:02}")
        scene.revert(p, saved)
        scene.delete(p, saved.name)
        p.qmp.drain().clear()
        now = Footprint(p)
        if number == WARM_UP:
            early = now
        if number > WARM_UP:
            harness.equal(now.counts, early.counts, f"footprint after round {number}")
    t.note(f"RSS {early.rss} -> {now.rss} KiB, record {early.record} -> {now.record} bytes")
    assert now.rss <= early.rss + RSS_SLACK_KIB, (early.rss, now.rss)
    # Numbers may get a digit longer.
    assert now.record <= early.record + 64, (early.record, now.record)
    harness.equal({path for path, _driver in scene.layout(p).values()},
                  {str(disk.path) for disk in p.disks}, "images")
    p.serial.wait_round()
    scene.tidy(p)


def test_refused_and_failed_operations_grow_nothing(t):
    p = scene.start(t)
    saved = scene.create(p, "kept")
    early = None
    for number in range(ROUNDS):
        for command, args in (("snapshot-create", {"name": "kept"}),
                              ("snapshot-create", {"name": ""}),
                              ("snapshot-create", {"name": "x", "disks": ["none"]}),
                              ("snapshot-revert", {"name": "kept"}),
                              ("snapshot-revert", {"name": "none", "discard": True}),
                              ("snapshot-delete", {"name": "none"})):
            p.qmp.refused(command, args)
        p.command("snapshot-revert", {"name": "kept", "discard": True, "dry-run": True})
        p.command("snapshot-create", {"name": "x", "dry-run": True})
        descriptors = p.fd_count()
        p.client().close()
        p.clients.pop()
        harness.poll(lambda: p.fd_count() <= descriptors, 5, "the client's descriptor to be closed")
        now = Footprint(p)
        if number == WARM_UP:
            early = now
    harness.equal(now.counts, early.counts, "footprint")
    assert now.rss <= early.rss + RSS_SLACK_KIB, (early.rss, now.rss)
    harness.equal(p.serial.jumps(), [], "jumps")
    scene.revert(p, saved)


class Walk:
    """A random history; after each step all that remains is right."""

    def __init__(self, p, seed):
        self.p, self.random, self.saved, self.number = p, random.Random(seed), {}, 0

    def step(self):
        names = sorted(self.saved)
        deeds = ("create", "revert", "revert", "delete") if names else ("create",)
        deed = self.random.choice(deeds)
        if deed == "create" and len(names) < 6:
            name = f"n{self.number:02}"
            self.number += 1
            self.saved[name] = scene.create(self.p, name)
        elif deed == "revert" and self.random.random() < 0.3:
            name = f"n{self.number:02}"
            self.number += 1
            scene.revert(self.p, self.saved[self.random.choice(names)], save_as=name)
            self.saved[name] = scene.Saved(scene.info(self.p, name))
        elif deed == "revert":
            scene.revert(self.p, self.saved[self.random.choice(names)])
        else:
            name = self.random.choice(names)
            scene.delete(self.p, name)
            del self.saved[name]
            for other in self.saved.values():
                other.reload(self.p)
        for other in self.saved.values():
            other.untouched()
        harness.equal(scene.names(self.p), sorted(self.saved), "snapshots")
        self.p.serial.wait_more(self.random.randrange(1, 8))


def random_walk(t, seed, formats, style, steps):
    t.note(f"seed {seed}")
    # A folder of its own, so that what is left behind is seen.
    folder = t.path(f"seed{seed}")
    folder.mkdir()
    p = vm.Proxy(t, oracle.make_disks(folder, formats), style=style, name=f"vm{seed}")
    p.start()
    p.serial.wait_tick(4)
    walk = Walk(p, seed)
    for _ in range(steps):
        walk.step()
    scene.check_disks(p)
    for saved in walk.saved.values():
        scene.revert(p, saved)
    for name in walk.random.sample(sorted(walk.saved), len(walk.saved)):
        scene.delete(p, name)
    p.serial.wait_round()
    scene.check_disks(p)
    scene.tidy(p, folder=folder)


def test_a_random_history_with_drives(t):
    for seed in SEEDS[::2]:
        random_walk(t, seed, ("qcow2", "raw"), "drive", 14)


def test_a_random_history_with_nodes(t):
    for seed in SEEDS[1::2]:
        random_walk(t, seed, ("raw", "qcow2"), "blockdev", 14)


if __name__ == "__main__":
    sys.exit(harness.run([value for name, value in list(globals().items())
                          if name.startswith("test_")], timeout=240))
