# SPDX-License-Identifier: GPL-2.0-or-later
"""snapshot_tool: runs qmp-snapshot for tests, and snapshots for it to print."""

import os
import subprocess

from harness import equal

BIN = os.path.abspath(os.environ.get("QMP_SNAPSHOT_BIN", "./qmp-snapshot"))


def call(test, *words, env=None, stdout=None):
    """Runs the program: (exit code, standard output, standard error)."""
    full = {k: v for k, v in os.environ.items() if k != "QMP_SNAPSHOT_ADDRESS"}
    full.update({"LC_ALL": "C.UTF-8", "TZ": "UTC"}, **(env or {}))
    done = subprocess.run([BIN, *words], stdin=subprocess.DEVNULL, env=full, timeout=60,
                          stdout=stdout or subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    error = done.stderr.decode(errors="replace")
    if "Sanitizer" in error or "runtime error" in error:
        test.note(error)
        raise AssertionError("the sanitizer found something")
    return done.returncode, (done.stdout or b"").decode(), error


def ask(test, fake, *words, code=0, **more):
    """Runs the program against the fake: its output (standard error when it has to fail)."""
    got, out, error = call(test, "-s", fake.address, *words, **more)
    if got != code:
        test.note(out + error)
    equal(got, code, "exit code of " + " ".join(words))
    if code == 0:
        equal(error, "", "standard error")
    return error if code and not out else out


def info(name, parent=None, **more):
    out = {"name": name, "children": [], "current": False, "run-state": "running",
           "created": {"seconds": 1700000000, "microseconds": 5}, "origin": "created",
           "problems": [],
           "disks": [{"device": "virtio0", "node-name": "o1", "image": "/images/o1.qcow2",
                      "format": "qcow2"}]}
    if parent:
        out["parent"] = parent
    return {**out, **more}


FOREST = [
    info("installed", description="after the installer", children=["patched", "broken"],
         memory={"format": "stream", "file": "/state/m1", "size": 3 << 29}),
    info("patched", "installed", current=True, children=["süß"]),
    info("süß", "patched", **{"run-state": "paused"}),
    info("broken", "installed", problems=["image /images/x is gone", "no memory"]),
    info("other", "a parent that was forgotten", disks=[]),
]
