#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""A soak: one guest on two disks, operations and client traffic for an hour, and nothing grows.

Model: a lap begins with a revert by respawn, so that it has a QEMU of its own, and goes on with ROUNDS
rounds in that process: creates of all three kinds, reverts in place, one that saves, a snapshot and a
block job of a client, a cancelled job, refusals, deletes in a drawn order.  A round ends as it began:
one layer a disk, no snapshot.  Meanwhile four clients come, ask, hang up and talk nonsense
(tests/qemu/traffic.py).  SAMPLES times in all (each minute of an hour), at the end of a lap and with
the clients held, what could grow is counted; each QEMU is then behind the same number of operations.

What may not grow, behind a warm-up of a fifth of the samples, the second half compared with the first:
    equal       descriptors and threads of the proxy, descriptors and nodes of QEMU, files, processes,
                layers, snapshots and jobs: the highest of each half
    RSS_SLACK   KiB by which the proxy's median RSS may be higher, and twice as much its slope over the
                whole (least squares), which is told per hour as well
    QEMU_SLACK  the same for QEMU's, a process of which is as old as the other
    BYTES_SLACK bytes of the record (numbers get a digit longer)
    DISK_SLACK  bytes that the images take
Within a lap, the descriptors and nodes of QEMU are the same after each round.

Environment: SOAK_SECONDS (default 3600); SEED (default 1); SHOW=1: each sample as it is taken.
"""

import os
import random
import statistics
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "qemu"), str(HERE.parent / "lib")]

# pylint: disable=wrong-import-position
import byhand
import scene
from scene import harness, oracle, qmp, vm
from traffic import Traffic

SECONDS = int(os.environ.get("SOAK_SECONDS", "3600"))
SEED = int(os.environ.get("SEED", "1"))
SAMPLES = 60
ROUNDS = 3
RSS_SLACK, QEMU_SLACK = 512, 4096
BYTES_SLACK, DISK_SLACK = 256, 8 << 20
EQUAL = ("descriptors", "threads", "QEMU's descriptors", "nodes", "files", "processes", "layers",
         "snapshots", "jobs")


def status_of(pid, field):
    text = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in text.splitlines() if line.startswith(field)))


def descriptors(pid):
    return len(os.listdir(f"/proc/{pid}/fd"))


def nodes(p):
    return len(p.command("query-named-block-nodes", {"flat": True}))


def sample(p, folder, since, operations):
    """What is counted, at a moment when nobody does anything."""
    files = [path for path in p.test.dir.rglob("*") if not path.is_dir()]
    images = [path for path in files if path.parent == folder]
    return {"second": int(time.monotonic() - since), "operations": operations,
            "rss": p.rss_kib(), "descriptors": p.fd_count(),
            "threads": status_of(p.process.pid, "Threads:"),
            "QEMU's rss": status_of(p.qemu_pid(), "VmRSS:"),
            "QEMU's descriptors": descriptors(p.qemu_pid()), "nodes": nodes(p),
            "files": len(files), "processes": len(p.all_pids()),
            "layers": len(scene.state(p)["layers"]), "snapshots": len(scene.names(p)),
            "jobs": len(p.command("query-jobs")),
            "record": (p.state / "state.json").stat().st_size,
            "images": sum(path.stat().st_blocks * 512 for path in images)}


# --- what is done

class Laps:
    """The guest and its rounds; operations counts the four commands, refused or not."""

    def __init__(self, t, folder):
        self.draw, self.folder, self.operations, self.number = random.Random(SEED), folder, 0, 0
        self.p = vm.Proxy(t, oracle.make_disks(folder, ("qcow2", "raw")), name="soak",
                          options=["--log-level", "error"])
        self.p.start()
        self.p.serial.wait_tick(4)

    def create(self, name, **args):
        self.operations += 1
        saved = scene.create(self.p, name, **args)
        self.p.serial.wait_more(1)
        return saved

    def revert(self, saved, **args):
        self.operations += 1
        scene.revert(self.p, saved, **args)

    def refused(self, reason, command, **args):
        self.operations += 1
        arguments = {key.replace("_", "-"): value for key, value in args.items()}
        error = self.p.qmp.refused(command, arguments)
        harness.equal(error.reason, reason, f"{command} {arguments}: {error.desc}")

    def lap(self):
        """Ends as it began, in another QEMU."""
        self.revert(self.create("lap"), by="respawn")
        scene.delete(self.p, "lap")
        seen = set()
        for _ in range(ROUNDS):
            self.round()
            pid = self.p.qemu_pid()
            seen.add((pid, descriptors(pid), nodes(self.p)))
        harness.equal(len(seen), 1, f"QEMU, its descriptors and its nodes over the rounds: {seen}")
        self.p.serial.check()
        os.truncate(self.p.serial.path, 0)      # QEMU appends
        self.p.serial.wait_more(1)

    def round(self):
        p = self.p
        first = self.create("first", memory="vmstate")
        self.create("second")
        self.cancelled()
        self.revert(first, by="in-place")
        self.clients()
        self.create("bare", memory="none")
        self.refusals()
        self.revert(first, save_as="kept", by="in-place")
        left = scene.names(p)
        self.draw.shuffle(left)
        for name in left:
            self.operations += 1
            scene.delete(p, name)
        scene.check_disks(p)
        p.qmp.drain().clear()

    def clients(self):
        """A snapshot and a block job of a client's own."""
        p, path = self.p, self.folder / "own.qcow2"
        self.number += 1
        byhand.by_file(p, "d0", path, node=f"own{self.number}")
        p.serial.wait_more(1)
        below = scene.info(p, f"own{self.number}")["disks"][0]["image"]
        node = next(n["node-name"] for n in p.command("query-named-block-nodes", flat=True)
                    if n["file"] == below and n["drv"] == "qcow2")
        if self.draw.random() < 0.5:
            byhand.job(p, "block-stream", device="d0", **{"base-node": node})

    def cancelled(self):
        """Too late or not, it ends."""
        self.operations += 1
        self.p.command("snapshot-create", {"name": "never", "job-id": "j"})
        try:
            self.p.command("job-cancel", id="j")
        except qmp.QmpError as error:
            harness.equal(error.reason, "busy", error.desc)
        self.p.wait_job("j")
        self.p.command("job-dismiss", id="j")

    def refusals(self):
        self.refused("duplicate-name", "snapshot-create", name="first")
        self.refused("bad-name", "snapshot-create", name="a/b")
        self.refused("unknown-disk", "snapshot-create", name="x", disks=["none"])
        self.refused("unsaved-state", "snapshot-revert", name="first")
        self.refused("unknown-snapshot", "snapshot-delete", name="none")
        self.refused("needs-replace", "snapshot-revert", name=f"own{self.number}", discard=True)
        for name in ("first", "second", "bare"):
            self.operations += 2
            self.p.command("snapshot-revert", {"name": name, "discard": True, "dry-run": True})
            self.p.command("snapshot-delete", {"name": name, "dry-run": True})


# --- what is judged

def slope(samples, key):
    """Per hour, by least squares."""
    seconds = [one["second"] for one in samples]
    line = statistics.linear_regression(seconds, [one[key] for one in samples])
    return line.slope * 3600


def judge(samples):
    """(figures, what has grown)"""
    judged = samples[len(samples) // 5:]
    half = len(judged) // 2
    early, late = judged[:half], judged[half:]
    figures, grown = [], []
    for key in EQUAL:
        before, after = (max(one[key] for one in part) for part in (early, late))
        figures.append(f"{key} {before} -> {after}")
        if after > before:
            grown.append(figures[-1])
    hours = (judged[-1]["second"] - judged[0]["second"]) / 3600
    for key, slack in (("rss", RSS_SLACK), ("QEMU's rss", QEMU_SLACK), ("record", BYTES_SLACK),
                       ("images", DISK_SLACK)):
        before, after = (statistics.median(one[key] for one in part) for part in (early, late))
        rate = slope(judged, key)
        figures.append(f"{key} {before:.0f} -> {after:.0f} ({rate:+.1f} per hour)")
        if after > before + slack or rate * hours > 2 * slack:
            grown.append(figures[-1])
    return figures, grown


def test_soak(t):
    folder = t.path("images")
    folder.mkdir()
    laps, samples = Laps(t, folder), []
    p = laps.p
    laps.lap()
    own, since = p.fd_count(), time.monotonic()
    with Traffic(p, SEED, pace=0.5) as traffic:
        while time.monotonic() - since < SECONDS:
            laps.lap()
            if time.monotonic() - since < len(samples) * SECONDS / SAMPLES:
                continue
            traffic.pause()
            traffic.check()
            harness.poll(lambda: p.fd_count() <= own, 5, f"the proxy to be back at {own} descriptors")
            samples.append(sample(p, folder, since, laps.operations))
            if os.environ.get("SHOW"):
                t.note(samples[-1])
            traffic.resume()
    t.note(f"{laps.operations} operations, {traffic.done} visits of clients, slowest query "
           f"{traffic.slowest:.2f} s, {len(samples)} samples")
    assert len(samples) >= 10, f"only {len(samples)} samples: too short"
    figures, grown = judge(samples)
    for figure in figures:
        t.note(figure)
    t.note(f"first {samples[0]}, last {samples[-1]}")
    assert not grown, grown
    p.serial.wait_round(120)
    scene.tidy(p, folder=folder)


if __name__ == "__main__":
    sys.exit(harness.run([test_soak], timeout=SECONDS * 1.2 + 300))
