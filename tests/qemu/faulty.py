# SPDX-License-Identifier: GPL-2.0-or-later
"""faulty: a guest whose QEMU has trouble with its files where a test wants it.

Model: tests/lib/iofault.c is loaded into QEMU (or the proxy) and asks a file of rules at each
write.  rules() replaces that file at once; mend() takes it away.  What waits goes on by that.
"""

import errno
import subprocess
from pathlib import Path

import hostile
import scene
from scene import harness, oracle

SOURCE = Path(__file__).resolve().parent.parent / "lib" / "iofault.c"
EIO, ENOSPC = errno.EIO, errno.ENOSPC


def library(t):
    """The library, built; raises Skip where that cannot be done."""
    path = t.path("iofault.so")
    try:
        done = subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", path, SOURCE, "-ldl",
                               "-lpthread"], capture_output=True, text=True, check=False)
    except OSError as error:
        raise harness.Skip(f"no gcc: {error}") from None
    assert done.returncode == 0, done.stderr
    return path

NAMES = ("root", "a", "b")          # of snapshots in a row

# kind: (snapshot, direction, beside what runs, whose image is written to, whose header is);
# None: those of the layer that the guest runs on
KINDS = {
    "commit below": ("a", "commit", False, "a", None),
    "commit of the active layer": ("b", "commit", False, "b", None),
    "stream below": ("a", "stream", False, "b", "b"),
    "stream into the active layer": ("b", "stream", False, None, None),
    "side commit": ("a", "commit", True, "a", None),
    "side stream": ("a", "stream", True, "b", "b"),
    "header rewrite": ("root", "commit", False, "root", "b"),
}


class Row:
    """Three snapshots and the guest on top of them, or on the first, or (header rewrite) on the second:
    then those above are beside it."""

    def __init__(self, t, p, kind):
        self.t, self.p, self.kind = t, p, kind
        self.name, self.direction, self.beside, target, header = KINDS[kind]
        self.saved = {saved.name: saved for saved in scene.row(p, *NAMES)}
        back = "root" if self.beside else "a" if kind == "header rewrite" else None
        if back:
            p.command("snapshot-revert", {"name": back, "discard": True}, timeout=30)
            p.serial.wait_more(3)
        self.others = [s for s in self.saved.values() if s.name != self.name]
        active = next(iter(scene.layout(p).values()))[0]
        self.target = self.image(target) if target else active
        self.header = self.image(header) if header else active
        self.args = {"name": self.name, "direction": self.direction}

    def image(self, name):
        return self.saved[name].info["disks"][0]["image"]

    def marked(self):
        """It is there, and only good for another delete; there is nothing of the operation left."""
        p = self.p
        error = p.qmp.refused("snapshot-revert", {"name": self.name, "discard": True})
        harness.equal(error.reason, "being-deleted", "revert")
        self.clean()

    def clean(self):
        p = self.p
        harness.equal(p.command("query-jobs"), [], "jobs")
        jobs = p.qmp.hmp("info block-jobs")
        assert "qsnap" not in jobs, jobs
        nodes = [n["node-name"] for n in p.command("query-named-block-nodes", flat=True)]
        harness.equal([n for n in nodes if n.startswith("qsnap-side")], [], "nodes")
        assert not (p.state / "journal.json").exists(), "an open journal"

    def others_are_right(self):
        for saved in self.others:
            saved.same(self.p)
        scene.check_disks(self.p)

    def finish(self, **tidy):
        """Deletes it now, and reverts to another."""
        p = self.p
        if self.name in scene.names(p):
            scene.drop(p, self.saved[self.name], *self.others)
        else:
            self.others_are_right()
        scene.revert(p, self.others[-1])
        p.serial.wait_more(3)
        scene.tidy(p, **tidy)


class Faults:
    """The rules of one guest."""

    def __init__(self, t, name="vm"):
        self.path = t.path(f"{name}.rules")
        loaded = library(t)
        self.script = f"export IOFAULT='{self.path}' LD_PRELOAD='{loaded}'"
        # For a proxy that has trouble itself.
        self.env = {"LD_PRELOAD": str(loaded), "IOFAULT": str(self.path),
                    "ASAN_OPTIONS": "verify_asan_link_order=0"}

    def rules(self, *rules):
        """(action, argument, call, name) or (action, argument, call, name, least bytes), each."""
        new = self.path.with_suffix(".new")
        new.write_text("".join(f"{action} {arg} {call} {(least or [0])[0]} {Path(name).name}\n"
                               for action, arg, call, name, *least in rules))
        new.rename(self.path)

    def mend(self):
        self.path.unlink(missing_ok=True)

    def fired(self):
        """Whether the rule "once" has been used up."""
        return not self.path.exists()


def start(t, formats=("qcow2",), ticks=4, folder=None, name="vm", steps=False, options=(), **guest):
    """(Proxy, Faults), or with steps (Proxy, Faults, Steps)."""
    faults = Faults(t, name)
    disks = oracle.make_disks(folder or t.dir, formats)
    script = faults.script
    if steps:
        script += f"\nexec 2>>'{t.path(name + '.messages')}'"
        t.log(t.path(name + ".messages"))
    options = ["--log-level", "debug", *options]
    p = hostile.Wrapped(t, disks, {"qemu-system-x86_64": script}, name=name, options=options,
                        **guest)
    t.cleanup(faults.mend)
    if not steps:
        p.start()
        p.serial.wait_tick(ticks)
        return p, faults
    step = hostile.Steps(p)
    step.start()
    p.serial.wait_tick(ticks)
    return p, faults, step
