# SPDX-License-Identifier: GPL-2.0-or-later
"""faulty: a guest whose QEMU has trouble with its files where a test wants it.

Model: tests/lib/iofault.c is loaded into QEMU (not into the proxy) and asks a file of rules at each
write.  rules() replaces that file at once; mend() takes it away.  What waits goes on by that.
"""

import errno
import subprocess
from pathlib import Path

import hostile
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


class Faults:
    """The rules of one guest."""

    def __init__(self, t, name="vm"):
        self.path = t.path(f"{name}.rules")
        self.script = f"export IOFAULT='{self.path}' LD_PRELOAD='{library(t)}'"

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
