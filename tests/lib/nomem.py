# SPDX-License-Identifier: GPL-2.0-or-later
"""nomem: a program whose allocations fail where a test wants it.

Model: tests/lib/nomem.c is loaded into the program, and shares a file with the test: arm() says
which allocation from now on fails, and whether those behind it do as well.
"""

import os
import resource
import struct
import subprocess
from pathlib import Path

import harness

SOURCE = Path(__file__).resolve().parent / "nomem.c"
MESSAGE = "error: out of memory"
# so far, the one that fails, all behind it too, failed; every Nth is tried in a child, tried, survived
CONTROL = struct.Struct("=QQQQQQQ")


def possible(program):
    """Raises Skip where that program has a malloc() of its own."""
    with open(program, "rb") as file:
        harness.requires(b"__asan_init" not in file.read(), "a sanitizer has its own malloc()")
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def library(t):
    """The library, built; raises Skip where that cannot be done."""
    path = t.path("nomem.so")
    if path.exists():
        return path
    try:
        done = subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", path, SOURCE],
                              capture_output=True, text=True, check=False)
    except OSError as error:
        raise harness.Skip(f"no gcc: {error}") from None
    assert done.returncode == 0, done.stderr
    return path


class Memory:
    """The memory of one program, called `program`; what a library called `spares` asks for is let be."""

    def __init__(self, t, program, spares=None, name="nomem"):
        path = t.path(f"{name}.control")
        self.report = t.path(f"{name}.report")
        path.write_bytes(bytes(CONTROL.size))
        self.file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        t.cleanup(lambda: os.close(self.file))
        self.env = {"LD_PRELOAD": str(library(t)), "NOMEM": str(path), "NOMEM_PROGRAM": program,
                    "NOMEM_REPORT": str(self.report)}
        if spares:
            self.env["NOMEM_SPARES"] = spares

    def _read(self):
        return CONTROL.unpack(os.pread(self.file, CONTROL.size, 0))

    def count(self):
        """The allocations since arm() or disarm()."""
        return self._read()[0]

    def failed(self):
        return self._read()[3]

    def arm(self, nth, on=False):
        """The nth allocation from now on fails; on: all behind it as well."""
        os.pwrite(self.file, CONTROL.pack(0, nth, int(on), 0, 0, 0, 0), 0)

    def arm_every(self, nth, on=False):
        """Each nth allocation fails in a child that is forked for it."""
        os.pwrite(self.file, CONTROL.pack(0, 0, int(on), 0, nth, 0, 0), 0)

    def children(self):
        """(how many, how many of them ended well, what the others said)."""
        told = self.report.read_text(errors="replace") if self.report.exists() else ""
        return *self._read()[5:7], told.splitlines()

    def disarm(self):
        self.arm(0)
