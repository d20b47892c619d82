#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The command lines of the corpus, started: a snapshot, a revert by a second process (beside the first
one, or in its place), and then the same disks under the same names on the same images, and the same ports and sockets as before."""

import json
import os
import re
import shutil
import sys
from pathlib import Path

import cmdlines
import scene
from scene import harness, qmp, vm

DIGITS = re.compile(r"#block\d+|qsnap-\d+")
# Of query-block's `inserted`: how the disk is worked with.
KEPT = ("ro", "encrypted", "detect_zeroes", "write_threshold", "bps", "bps_rd", "bps_wr",
        "iops", "iops_rd", "iops_wr", "bps_max", "iops_max", "iops_rd_max", "group")


def plain(p, name):
    """The file that a name of QEMU's means."""
    while name.startswith("json:"):
        options = json.loads(name.removeprefix("json:"))
        name = options.get("file.filename") or options.get("filename") or (
            options["file"] if isinstance(options.get("file"), str) else
            "json:" + json.dumps(options["file"]))
    return os.path.realpath(p.test.dir / name)


def chain(p, image):
    """The files of a disk from the top, each with its format."""
    found = []
    while image:
        found.append((plain(p, image["filename"]), image["format"]))
        image = image.get("backing-image")
    return found


def cache(inserted):
    """How the host's cache is used.  "writeback" is what the guest's driver has set for the device."""
    flags = inserted.get("cache", {})
    return {key: flags[key] for key in ("direct", "no-flush") if key in flags}


def disks(p):
    """{device or path of the device: how it is worked with, its chain}"""
    found = {}
    for entry in p.command("query-block"):
        inserted = entry.get("inserted", {})
        found[entry["device"] or entry["qdev"].split("/virtio-backend")[0]] = (
            {key: inserted[key] for key in KEPT if key in inserted} | cache(inserted),
            chain(p, inserted.get("image")), entry["removable"], entry["locked"])
    return found


def nodes(p):
    """{node-name: image and driver} of those with a name that somebody gave them."""
    return {node["node-name"]: (plain(p, node["file"]), node["drv"])
            for node in p.command("query-named-block-nodes", flat=True)
            if not DIGITS.fullmatch(node["node-name"])}


def below(found):
    """The same without the layer on top of each disk that is written to."""
    return {key: (how, images[1:] if images and not how["ro"] else images, *rest)
            for key, (how, images, *rest) in found.items()}


def heard(p, address, want):
    """Somebody listens there, and says what is wanted."""
    def connected():
        try:
            return qmp.connect(address)
        except OSError:
            return None
    with harness.poll(connected, 5, f"somebody to listen on {address}") as sock:
        data = b""
        while want and not re.search(want, data):
            more = sock.recv(4096)
            assert more, f"{address} was closed after {data!r}"
            data += more
    if want is None:
        harness.poll(lambda: scene.status(p) == "paused", 5, "the debugger to stop the guest")
        p.command("cont")


def started(t, line):
    """(the guest, what it listens on); it runs."""
    here = cmdlines.Here(line, t.dir)
    if {"-runas", "-run-with"} & set(here.words):
        harness.requires(os.geteuid() == 0, "QEMU can change its user only as root")
        for path in t.dir.iterdir():
            shutil.chown(path, "nobody")
        t.dir.chmod(0o711)
    p = vm.Proxy(t, args=here.words, base=[])
    p.start()
    if scene.status(p) != "running":
        p.command("cont")
    return p, here.listens


def reverts(t, line):
    p, listens = started(t, line)
    first = disks(p)
    for address, want in listens:
        heard(p, address, want)
    p.command("snapshot-create", {"name": "s1"}, timeout=30)
    names, pid = nodes(p), p.qemu_pid()
    harness.equal(below(disks(p)), first, "query-block with overlays")
    if line.kind == "replace":
        error = p.qmp.refused("snapshot-revert", {"name": "s1", "discard": True})
        harness.equal(error.reason, "needs-replace", "reason")
    result = p.command("snapshot-revert", {"name": "s1", "discard": True, "method": line.kind}, timeout=30)
    harness.equal(result["method"], line.kind, "method")
    assert p.qemu_pid() != pid, "no new process"
    harness.equal(scene.status(p), "running", "status")
    harness.equal(below(disks(p)), first, "query-block")
    harness.equal(nodes(p), names, "query-named-block-nodes")
    for address, want in listens:
        heard(p, address, want)
    harness.equal(p.stop(), 0, "exit status")


def no_snapshot(t, line):
    """For what stands in no command line."""
    p, _listens = started(t, line)
    error = p.qmp.refused("snapshot-create", {"name": "s1"})
    harness.equal((error.reason, scene.status(p)), (line.start, "running"), "reason, status")
    harness.equal(p.stop(), 0, "exit status")


def test_of(line):
    def test(t):
        if line.start == "here":
            reverts(t, line)
        else:
            no_snapshot(t, line)
    test.__name__ = "test_" + line.name.replace("-", "_")
    return test


def sample():
    """Those that can be started; of a kind with many, fewer when it is to be brief."""
    lines = [line for line in cmdlines.load() if line.start]
    return lines[::4] if harness.BRIEF else lines


if __name__ == "__main__":
    sys.exit(harness.run([test_of(line) for line in sample()]))
