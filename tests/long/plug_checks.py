# SPDX-License-Identifier: GPL-2.0-or-later
"""plug_checks: what has to be true when a plug was pulled in the middle of an operation.

Model: look() starts the proxy again if it is not there and sees that the operation is settled, in time; the
guest goes on from where it was, or from where a revert puts it; no file, socket or process is there that no
record names; every snapshot that is listed holds to the byte what it held, and reverts to it; all of it deletes
down to one layer.

Rules: nothing is taken from the proxy's word alone (scene.py).  A snapshot may be missing only when it was being
deleted, and there be one more only when it was being made.
"""

import stat
import time

import scene
from plug_scene import CREATE, DELETE, REVERT, Held
from scene import harness, oracle, qmp

STATE_FILES = {"state.json", "process.json", "qemu.pid", "qemu.sock", "qemu.bulk.sock", "memory"}
# What durable writes leave when they are broken off; the next one of the same file takes it over.
HALF_WRITTEN = {".state.json.tmp", ".journal.json.tmp", ".process.json.tmp", ".qemu.pid.tmp",
                ".process.next.json.tmp"}
NEAR = 3                # turns that a guest may be ahead of what it printed
RECOVERY = 2            # seconds from a proxy's start until what it found is settled


def look(s, point, reverts=None):
    """All of it.  reverts: a number that says to which one of the snapshots that were there before it is
    reverted; None: to all.  Milliseconds that a hot recovery took, None: there was none."""
    begun = time.monotonic()
    if not s.alive():
        s.p.start(wait=20)
    settled(s.p)
    took = (time.monotonic() - begun) * 1000 if point.kind == "hot" else None
    check_guest(s)
    check_files(s, HALF_WRITTEN)
    check_snapshots(s, reverts)
    check_deletes(s)
    if took:
        assert took < RECOVERY * 1000 * harness.SLOW, f"settled only after {took:.0f} ms"
    return took


def settled(p):
    """Waits until no operation is open.  A refused query would raise."""
    def closed():
        return not any(info.get("operation") for info in p.command("query-snapshots"))
    harness.poll(closed, 20, "the operation to be settled", 0.005)
    harness.poll(lambda: not (p.state / "journal.json").exists(), 20, "the journal to be closed", 0.005)


def back_to(s):
    """The turn that the revert goes back to; None: it is no revert."""
    return s.saved["s1"].count if s.operation.command == REVERT else None


def check_guest(s):
    """It goes on from where it was, or from where the revert puts it."""
    p, back = s.p, back_to(s)
    harness.poll(lambda: scene.status(p) == "running", 15, "the guest to run")
    # Past its commit point a revert comes back with the snapshot's memory; a replace, before it, with what it has kept.
    kept = back is not None
    if s.booted:
        harness.poll(lambda: p.serial.boots(s.since) or kept and p.serial.ticks(s.since)[3:], 30,
                     "the guest to boot")
    p.serial.wait_more(3)
    scene.check_disks(p)
    boots = p.serial.boots(s.since)
    if boots:
        assert s.booted and len(boots) == 1, f"boots with the turns {boots}"
        near = [boots[0] - turn for turn in (s.last, back) if turn is not None]
        assert any(abs(gap) <= NEAR for gap in near), \
            f"booted with turn {boots[0]}, it was at {s.last}, the snapshot at {back}"
    else:
        check_turns(s, [s.last] + p.serial.ticks(s.since), back)
    nodes = [node["node-name"] for node in p.command("query-named-block-nodes", flat=True)]
    harness.equal([node for node in nodes if node.startswith("qsnap-side")], [], "nodes left open")
    harness.equal(len(s.qemus()), 1, "QEMUs")
    harness.poll(lambda: len(p.all_pids()) == 2, 5, "no process but the proxy and QEMU to be left")


def check_turns(s, ticks, back):
    """Forwards, and back only to the snapshot, once at most.  (A line that is half printed when QEMU ends is
    lost.)"""
    jumps = [jump for jump in zip(ticks, ticks[1:]) if jump[1] - jump[0] not in (1, 2)]
    wrong = [jump for jump in jumps if back is None or not 0 <= jump[1] - back <= NEAR]
    assert not wrong and len(jumps) <= 1, f"the guest jumped: {jumps}, the snapshot is {back}"


def check_files(s, litter=()):
    """Nothing but what the record names lies there, and all of it does.  litter: what else may."""
    p, record = s.p, scene.state(s.p)
    layers = {layer["real"] for layer in record["layers"].values()}
    layers |= {str(disk.path) for disk in p.disks}
    images = {str(path) for path in s.t.dir.iterdir() if path.suffix in (".qcow2", ".raw")}
    harness.equal(sorted(images - layers), [], "images that no record names")
    harness.equal(sorted(layers - images), [], "images on record that are not there")
    memory = {info["memory"]["file"] for info in record["snapshots"] if "memory" in info}
    harness.equal({str(path) for path in (p.state / "memory").iterdir()}, memory, "memory files")
    harness.equal({path.name for path in p.state.iterdir()} - STATE_FILES - set(litter),
                  set(), "state folder")
    harness.equal(sorted(path.name for path in s.t.dir.iterdir()
                         if path.suffix not in (".qcow2", ".raw")),
                  sorted([p.log.name, p.serial.path.name, f"{p.name}.sock", p.state.name]),
                  "the folder of the images")
    assert stat.S_ISSOCK((s.t.dir / f"{p.name}.sock").stat().st_mode), "no socket"


def check_snapshots(s, reverts=None):
    """Each that is listed holds what it held and reverts to it, or is one that is being deleted."""
    p, listed = s.p, scene.names(s.p)
    command, args = s.operation.command, s.operation.args
    p.command("stop")       # from here on it runs only where it is looked at
    going = {args["name"]} if command == DELETE else set()
    if args.get("children") == "include":
        going.add("s3")
    coming = {args["name"]} if command == CREATE else {args.get("save-as")}
    harness.equal(set(s.saved) - set(listed) - going, set(), "snapshots that are lost")
    harness.equal(set(listed) - set(s.saved) - coming, set(), "snapshots that nobody made")
    for name in listed:
        try:
            p.command(REVERT, {"name": name, "discard": True, "dry-run": True})
        except qmp.QmpError as error:
            if error.reason != "being-deleted" or name not in going:
                raise
            p.command(DELETE, {"name": name}, timeout=30)
            assert name not in scene.names(p), f"{name} is there after its delete"
    listed = scene.names(p)
    old = [name for name in listed if name in s.saved]
    held = {name: Held(scene.info(p, name)) for name in listed}
    for name in old:
        if command != DELETE:       # which may put the same into other files
            s.saved[name].untouched()
        harness.equal((held[name].count, held[name].bytes), (s.saved[name].count, s.saved[name].bytes),
                      f"turn and contents of {name}")
    for name in listed:
        if reverts is None or name not in old or old.index(name) == reverts % len(old):
            revert(p, held[name])


def check_disks(p, held=None):
    """The active images hold what the guest prints, which stands; and where it does not write, what the snapshot
    held."""
    last = p.serial.last()
    for label, (path, driver) in scene.layout(p).items():
        image = oracle.Image(path, driver, (scene.BEYOND,) if held else ())
        assert abs(image.count - last) <= 1, f"{label} ({path}) has turn {image.count}, the guest {last}"
        if held:
            harness.equal(image.sums[0], held.bytes[label][1],
                          f"what lies on {label} behind a revert to {held.name}")


def revert(p, saved):
    """By whichever method: the guest, which stands, goes on from the snapshot's turn, or boots with it; and is
    stopped again."""
    last, since = p.serial.last(), p.serial.size()
    p.command(REVERT, {"name": saved.name, "discard": True}, timeout=30)
    saved.untouched()
    if "memory" not in saved.info:
        turn = harness.poll(lambda: p.serial.boots(since), 15, "the guest to boot")[0]
        assert abs(turn - saved.count) <= 1, f"booted with turn {turn}, not {saved.count}"
    p.serial.wait_more(2)
    if "memory" in saved.info:
        ticks = [last] + p.serial.ticks(since)
        assert saved.count <= ticks[1] <= saved.count + 2, \
            f"{saved.name} froze turn {saved.count}, the guest went {ticks}"
    p.command("stop")
    p.serial.check()
    check_disks(p, saved)


def check_deletes(s):
    """Everything deletes, and one layer is left, which holds all that the guest counts."""
    p = s.p
    p.command("cont")
    for name in scene.names(p):
        p.command(DELETE, {"name": name}, timeout=30)
    depths = {entry["device"]: entry["inserted"]["backing_file_depth"]
              for entry in p.command("query-block") if "inserted" in entry}
    harness.equal(depths, {disk.id: 0 for disk in p.disks}, "layers below the active ones")
    check_files(s)
    p.serial.wait_more(2)
    scene.check_disks(p)
    scene.tidy(p)
