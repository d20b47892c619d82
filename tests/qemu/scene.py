# SPDX-License-Identifier: GPL-2.0-or-later
"""scene: what the tests of snapshots share.

Model: a Saved is a snapshot as a test knows it: the turn of the guest's counter at which its disks
were frozen, read from the frozen images themselves, and the checksums of those files.  A revert is
right when the guest, from its memory, goes on with that turn, agrees with its disks (it says TORN
otherwise), and the active images hold what it prints.

Rule: nothing is taken from the proxy's word alone: files are looked at with qemu-img and hashlib,
the running chain with query-block.
"""

import hashlib
import json
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "lib"))

# pylint: disable=wrong-import-position
import harness
import oracle
import qmp  # pylint: disable=unused-import
import vm

OURS = "/machine/peripheral/"


def start(t, formats=("qcow2",), args=(), ticks=4, **guest):
    """A running oracle under the proxy."""
    p = vm.Proxy(t, oracle.make_disks(t.dir, formats), args, **guest)
    p.start()
    p.serial.wait_tick(ticks)
    return p


def checksum(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


class Saved:
    """count: the highest turn on its disks; sums: {path: checksum} of the layers it froze, and of its
    memory."""

    def __init__(self, info):
        self.info, self.name = info, info["name"]
        self.freeze()
        counts = [oracle.Image(disk["image"], disk["format"]).count for disk in info["disks"]
                  if self.counts(disk["device"])]
        # Stopped between two disks of one turn, they differ by that turn.
        assert not counts or max(counts) - min(counts) <= 1, f"{self.name}: not one turn: {counts}"
        self.count = max(counts, default=0)

    def counts(self, _disk):
        """Does the guest count on that disk?"""
        return True

    def freeze(self):
        files = [disk["image"] for disk in self.info["disks"]]
        files += [self.info["memory"]["file"]] if "memory" in self.info else []
        self.sums = {path: checksum(path) for path in files}

    def untouched(self, deleted=False):
        """A frozen file is never written to; one whose name is deleted has no memory any more."""
        for path, value in self.sums.items():
            if deleted and path == self.info["memory"]["file"]:
                continue
            assert checksum(path) == value, f"{self.name}: {path} was changed"

    def reload(self, p):
        """After a delete, its layers may be other files: they have to hold the same."""
        count = self.count
        self.__init__(info(p, self.name))
        harness.equal(self.count, count, f"turn on the disks of {self.name}")


class Whole(Saved):
    """A Saved that knows every byte of its disks.  bytes: {disk: checksum of what it reads as}."""

    def freeze(self):
        super().freeze()
        self.bytes = {disk["device"]: content(disk["image"], disk["format"])
                      for disk in self.info["disks"]}

    def same(self, p):
        """After a delete: in whatever files, to the byte what it was."""
        before = self.bytes
        self.reload(p)
        harness.equal(self.bytes, before, f"contents of {self.name}")


BEYOND = 5 << 20        # the guest leaves its disks alone from here on


def content(path, fmt, start=0):
    """The checksum of what an image reads as, with all that lies below it."""
    with tempfile.TemporaryDirectory(prefix="qp-read-") as folder:
        raw = Path(folder) / "raw"
        oracle.qemu_img("convert", "-U", "-f", fmt, "-O", "raw", path, raw)
        return hashlib.sha256(raw.read_bytes()[start:]).hexdigest()


def beyond(p):
    """{disk: checksum} of what runs, where the guest does not write."""
    running = status(p) == "running"
    if running:
        p.command("stop")
    found = {disk: content(path, driver, BEYOND) for disk, (path, driver) in layout(p).items()}
    if running:
        p.command("cont")
    return found


def write(p, disk, pattern, offset, size):
    """Writes to a disk behind the guest's back, through QEMU as the guest would."""
    device = next(entry["qdev"] for entry in p.command("query-block")
                  if disk in (entry["device"], entry["qdev"].removeprefix(OURS).split("/")[0]))
    p.qmp.hmp(f'qemu-io -d {device} "write -P {pattern} {offset} {size}"')


def row(p, *names, **args):
    """Snapshots one after the other, a Whole each, with turns of the guest between them."""
    saved = []
    for number, name in enumerate(names):
        saved.append(create(p, name, kind=Whole, **args))
        p.serial.wait_more(3)
        for disk in layout(p):
            write(p, disk, 0x30 + number, BEYOND, 1 << 17)
            write(p, disk, 0x60 + number, BEYOND + (number + 1 << 18), 1 << 17)
    return saved


def drop(p, saved, *remaining, **args):
    """Deletes one; the others hold what they held, and so does what runs."""
    before = beyond(p)
    delete(p, saved.name, **args)
    check_disks(p)
    harness.equal(beyond(p), before, "what was written to the running disks")
    for other in remaining:
        other.same(p)


def create(p, name, kind=Saved, **args):
    """Makes a snapshot; a Saved."""
    arguments = {"name": name, **{key.replace("_", "-"): value for key, value in args.items()}}
    return kind(p.command("snapshot-create", arguments, timeout=30)["snapshot"])


def info(p, name):
    return p.command("query-snapshots", {"name": name})[0]


def names(p):
    return [snapshot["name"] for snapshot in p.command("query-snapshots")]


def status(p):
    return p.command("query-status")["status"]


def delete(p, name, **args):
    """Deletes it; the guest must not notice."""
    since = p.serial.size()
    result = p.command("snapshot-delete", {"name": name, **args}, timeout=30)
    harness.equal(result["deleted"], [name], "deleted")
    assert name not in names(p)
    harness.equal(p.serial.jumps(since), [], "jumps in a delete")


def revert(p, saved, skip=(), by="respawn", **args):
    """Reverts to a snapshot with memory, and sees that the guest is where it was.  skip: disks that
    the guest does not count on; by: the method that this has to come out as."""
    arguments = {"name": saved.name, **{key.replace("_", "-"): args[key] for key in args}}
    if "save_as" not in args:
        arguments.setdefault("discard", True)
    if status(p) == "running":
        step_aside(p, saved)
    mark = Mark(p)
    result = p.command("snapshot-revert", arguments, timeout=30)
    harness.equal(result["method"], args.get("method", by), f"method ({result['reasons']})")
    saved.untouched()
    if status(p) == "running":
        mark.went_back_to(saved)
        check_disks(p, skip)
    return result


def step_aside(p, saved):
    """Lets the guest run to where a revert to the snapshot must show as a jump."""
    p.serial.wait_more(2)
    if -5 < saved.count - p.serial.last() < 40:
        p.serial.wait_tick(saved.count + 5, since=p.serial.size())


class Mark:
    """A place on the serial line, before something that may turn the guest back."""

    def __init__(self, p):
        # At the end of a line, and both from one look: the guest may be in the middle of the next.
        self.p, self.since = p, p.serial.whole()
        self.last = p.serial.last(self.since)

    def run(self):
        """The ticks behind the last jump, once there are four; None before."""
        self.p.serial.check()
        ticks = [self.last] + self.p.serial.ticks(self.since)
        first = len(ticks) - 1
        while first > 0 and ticks[first - 1] == ticks[first] - 1:
            first -= 1
        return ticks[first:] if first > 0 and len(ticks) - first >= 4 else None

    def went_back_to(self, saved):
        run = harness.poll(self.run, 15, f"ticks after turn {saved.count}, not {self.last}")
        # A line that is half printed at the stop is lost between the two processes.
        assert saved.count <= run[0] <= saved.count + 2, (
            f"{saved.name} froze turn {saved.count}, the guest went on with {run[0]}")

    def went_on(self):
        """The guest runs, and was at no time anything but running forwards."""
        self.p.serial.wait_more(4)
        harness.equal(self.p.serial.jumps(self.since), [], "jumps")


def layout(p):
    """{label: (file, driver)} of every inserted disk, as QEMU tells it (it runs in t.dir)."""
    found = {}
    for entry in p.command("query-block"):
        if "inserted" in entry:
            label = entry["device"]
            if not label:
                label = entry["qdev"].removeprefix(OURS).split("/")[0]
            name = entry["inserted"]["file"]
            if name.startswith("json:"):    # a layer below is named otherwise than in the header
                name = json.loads(name.removeprefix("json:")).get("file", {}).get("filename", name)
            if name.startswith("blkdebug:"):
                name = name.rsplit(":", 1)[1]
            path = str(p.test.dir / name)
            found[label] = (path, entry["inserted"]["drv"])
    return found


def check_disks(p, skip=()):
    """The active images hold what the guest prints."""
    p.serial.check()
    running = status(p) == "running"
    if running:
        p.command("stop")
    last = p.serial.last()
    for label, (path, driver) in layout(p).items():
        if label not in skip:
            count = oracle.Image(path, driver).count
            assert abs(count - last) <= 1, f"{label} ({path}) has turn {count}, the guest {last}"
    if running:
        p.command("cont")


def state(p):
    return json.loads((p.state / "state.json").read_text())


def contents(p):
    """{path: checksum} of everything that a command could leave behind or change.  The active
    layers, which the guest writes to, count only as being there."""
    active = {path for path, _driver in layout(p).values()}
    found = {}
    for path in [*p.test.dir.iterdir(), *p.state.rglob("*")]:
        if path.is_file() and path not in (p.serial.path, p.log):
            found[str(path)] = None if str(path) in active else checksum(path)
    return found


def tidy(p, *foreign, folder=None, leaks=None):
    """Stops the VM; what lies on the disk then is what the record says, and is sound.  foreign:
    files of the test that are none of its layers; folder: where its images are, if not in t.dir;
    leaks: QEMU could not write, or was killed (which p knows of itself), and may have left clusters
    that nothing refers to."""
    kept = names(p)
    memory = {s["memory"]["file"] for s in p.command("query-snapshots") if "memory" in s}
    p.serial.check()
    harness.equal(p.stop(), 0, "exit status")
    record = state(p)
    layers = {layer["real"]: layer for layer in record["layers"].values()}
    images = {str(path) for path in (folder or p.test.dir).iterdir()
              if path.suffix in (".qcow2", ".raw")}
    wanted = set(layers) | {str(disk.path) for disk in p.disks}
    harness.equal(sorted(images - set(map(str, foreign))), sorted(wanted), "image files")
    harness.equal({str(path) for path in (p.state / "memory").iterdir()}, memory, "memory files")
    harness.equal([s["name"] for s in record["snapshots"]], kept, "recorded snapshots")
    assert not (p.state / "journal.json").exists(), "an open journal"
    for path, layer in layers.items():
        check_image(path, layer, record, p.killed if leaks is None else leaks)


def check_image(path, layer, record, leaks=False):
    """qemu-img check, and a header that names the layer below and its format.  Leaks that are allowed
    are given back; whatever else is wrong still fails."""
    facts = json.loads(oracle.qemu_img("info", "--output=json", "-f", layer["format"], path))
    if layer["format"] == "qcow2":
        oracle.qemu_img("check", "-q", *(("-r", "leaks") if leaks else ()), "-f", "qcow2", path)
    if layer.get("base") or layer.get("foreign"):
        return
    if layer["parent"] is None:         # a client has streamed everything into it
        assert "backing-filename" not in facts, facts
        return
    below = record["layers"][layer["parent"]]
    harness.equal(facts.get("backing-filename"), layer.get("backing", below["path"]),
                  f"backing file of {path}")
    harness.equal(facts.get("backing-filename-format"), below["format"], f"its format in {path}")


def event_names(p, wanted):
    """The names of the events so far, of those wanted."""
    return [event["event"] for event in p.qmp.drain() if event["event"] in wanted]
