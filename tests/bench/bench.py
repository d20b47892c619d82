#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What the proxy costs, and what it saves: measured against the same done by hand on a plain QEMU.

Model: two guests of the same kind, one under qmp-proxy, one on a plain QEMU (by_hand.py).  While
one is measured the other is stopped.  Each round measures by hand, then through the proxy; the
first round only warms up.  Shown are the median of the rounds, the least and the most, and the
ratio of the medians.

  revert   standstill: between STOP and RESUME (by hand: from the kill); whole: until the answer;
           first line: from the command to the first that the guest prints behind the revert
  revert by replace, in place   the same by the proxy alone; in place of a vmstate
  create   with memory; standstill and whole
  delete   of a snapshot with data to move down, by an active commit
  relay    round trips of one request, and of 8 at once

    bench.py [--quick | --full] [--rounds N]

The guest is Linux with 256 MB; --full does revert and create again with 1 GiB; --quick takes the
boot-sector guest and less data.  The last line is JSON.
"""

import argparse
import json
import os
import re
import statistics
import sys
import threading
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "lib")]

# pylint: disable=wrong-import-position
import by_hand
import harness
import linux
import oracle
import vm

MIB = 1 << 20
DATA_SIZE = 1 << 30
DATA_AT = 16            # MiB, behind what the guests write
PIECE = 64              # MiB, of one write
FLIGHT = 8


class Rows:
    """The figures: name -> {"hand": [...], "proxy": [...]}, in the order of the table."""

    def __init__(self):
        self.rows, self.units, self.warm = {}, {}, True

    def add(self, name, unit, side, value):
        if self.warm:
            return
        self.units[name] = unit
        self.rows.setdefault(name, {"hand": [], "proxy": []})[side].append(value)

    def took(self, name, side, took):
        if took.standstill is not None:
            self.add(f"{name}: standstill", "ms", side, took.standstill)
        self.add(f"{name}: whole", "ms", side, took.whole)

    def table(self):
        def cell(values):
            if not values:
                return f"{'-':>10}{'':20}"
            spread = f"({min(values):.1f} - {max(values):.1f})"
            return f"{statistics.median(values):10.1f} {spread:19}"
        print(f"{'':44}{'by hand':>10}{'':20}{'proxy':>10}{'':20}{'ratio':>7}")
        for name, sides in self.rows.items():
            ratio = self.ratio(sides)
            print(f"{name + ', ' + self.units[name]:44}{cell(sides['hand'])}"
                  f"{cell(sides['proxy'])}{f'{ratio:.3f}' if ratio else '-':>7}")

    @staticmethod
    def ratio(sides):
        if not sides["hand"] or not sides["proxy"]:
            return None
        return statistics.median(sides["proxy"]) / statistics.median(sides["hand"])

    def data(self):
        return [{"name": name, "unit": self.units[name], "ratio": self.ratio(sides),
                 **{side: [round(value, 3) for value in values] for side, values in sides.items()}}
                for name, sides in self.rows.items()]


class Watch:
    """When the serial line had which length; `with` it around what makes the guest jump back."""

    def __init__(self, serial):
        self.serial, self.seen = serial, []
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._end = False

    def __enter__(self):
        self.since = self.serial.size()
        self._thread.start()
        return self

    def _run(self):
        length = self.since
        while not self._end:
            now = self.serial.size()
            if now != length:
                self.seen.append((time.monotonic(), now))
                length = now
            time.sleep(0.001)

    def __exit__(self, *_):
        self._end = True
        self._thread.join()

    def first_line(self):
        """Waits for the first tick that does not follow the one before; when its line was there."""
        pattern = re.compile(self.serial.tick.rstrip("$").encode() + rb"\r?\n", re.M)

        def jumped():
            last = self.serial.last_before
            for line in pattern.finditer(self.serial.path.read_bytes()[self.since:]):
                if int(line.group(1)) <= last:
                    return self.since + line.end()
                last = int(line.group(1))
            return None
        end = harness.poll(jumped, 20, "the guest to print behind the revert", 0.005)
        return harness.poll(lambda: [at for at, size in self.seen if size >= end], 5, "it")[0]


class Pair:
    """The two guests, both stopped unless it is their turn."""

    def __init__(self, t, rows, kind, memory, label):
        self.t, self.rows, self.label = t, rows, label
        self.guests = {}
        for side, make in (("hand", by_hand.Hand), ("proxy", vm.Proxy)):
            disks = self._disks(kind, side)
            args = linux.args() if kind == "linux" else ()
            guest = make(t, disks, args, memory=str(memory), name=f"{side}-{label}")
            if kind == "linux":
                linux.start(guest)
            else:
                guest.start()
                guest.serial.wait_tick(3)
            guest.command("stop")
            self.guests[side] = guest
        self.hand, self.proxy = self.guests["hand"], self.guests["proxy"]

    def _disks(self, kind, side):
        folder = self.t.path(f"{side}-{self.label}-disks")
        folder.mkdir()
        disks = (linux if kind == "linux" else oracle).make_disks(folder, ("qcow2",))
        data = oracle.Disk(folder / "data.qcow2", "qcow2", "d1")
        oracle.qemu_img("create", "-q", "-f", "qcow2", data.path, DATA_SIZE)
        return [*disks, data]

    def rounds(self, count, *measures):
        """measures: (by hand, through the proxy), functions of the guest; None: not measured."""
        for number in range(count + 1):
            self.rows.warm = number == 0
            for measure, guest in zip(measures, (self.hand, self.proxy)):
                if measure is None:
                    continue
                guest.command("cont")
                guest.serial.wait_more(2, timeout=60)
                measure(guest)
                guest.serial.wait_more(1, timeout=60)
                guest.serial.check()
                guest.command("stop")

    def stop(self):
        for guest in self.guests.values():
            guest.stop()

    # what is measured

    def proxy_took(self, guest, command, args):
        guest.qmp.drain().clear()
        begin = time.monotonic()
        guest.command(command, args, timeout=120)
        took = by_hand.Took(begin)
        took.standstill = by_hand.standstill(guest.qmp)
        return took

    def watched(self, name, guest, side, action):
        guest.serial.last_before = guest.serial.last()
        with Watch(guest.serial) as watch:
            took = action()
            first = watch.first_line()
        self.rows.took(name, side, took)
        self.rows.add(f"{name}: first line", "ms", side, (first - took.begin) * 1000)

    def by_proxy(self, title, name, method, count):
        """Beside the respawn above: of the same guest, by the proxy alone."""
        self.rounds(count, None, lambda g: self.watched(
            f"revert {title} {self.label}", g, "proxy", lambda: self.proxy_took(
                g, "snapshot-revert", {"name": name, "discard": True, "method": method})))

    def other_methods(self, count):
        """By replace and in place; the bytes of the vmstate."""
        self.by_proxy("by replace", "base", "replace", count)
        self.proxy.command("cont")
        saved = self.proxy.command("snapshot-create", {"name": "here", "memory": "vmstate"},
                                   timeout=60)["snapshot"]
        self.proxy.command("stop")
        self.by_proxy("in place", "here", "in-place", count)
        return saved["memory"]["size"]

    def revert(self, count):
        name, memory = f"revert {self.label}", self.t.path("hand.mem")
        frozen = list(self.hand.disks)
        for guest in self.guests.values():
            guest.command("cont")
            guest.serial.wait_more(1, timeout=60)
        self.hand.create(memory)
        saved = self.proxy.command("snapshot-create", {"name": "base"}, timeout=60)["snapshot"]
        for guest in self.guests.values():
            guest.command("stop")

        self.rounds(count,
                    lambda g: self.watched(name, g, "hand", lambda: g.revert(memory, frozen)),
                    lambda g: self.watched(name, g, "proxy", lambda: self.proxy_took(
                        g, "snapshot-revert", {"name": "base", "discard": True})))
        return {"hand": os.path.getsize(memory), "proxy": saved["memory"]["size"]}

    def create(self, count):
        name, memory = f"create {self.label}", self.t.path("hand.mem")

        def by_hand_(guest):
            before = list(guest.disks)
            self.rows.took(name, "hand", guest.create(memory))
            guest.delete(before)

        def through(guest):
            self.rows.took(name, "proxy", self.proxy_took(guest, "snapshot-create", {"name": "c"}))
            guest.command("snapshot-delete", {"name": "c"}, timeout=60)
        self.rounds(count, by_hand_, through)

    def delete(self, count, mib):
        name = f"delete with {mib} MB"

        def fill(guest):
            for piece in range(0, mib, PIECE):
                self.pattern = self.pattern % 255 + 1
                guest.qmp.timeout = 60
                guest.qmp.hmp(f'qemu-io d1 "write -P {self.pattern} {DATA_AT + piece}M {PIECE}M"')

        def by_hand_(guest):
            before = list(guest.disks)
            guest.create(disks=[disk for disk in before if disk.id == "d1"])
            fill(guest)
            self.rows.took(name, "hand", guest.delete(before))

        def through(guest):
            guest.command("snapshot-create", {"name": "d", "disks": ["d1"], "memory": "none"},
                          timeout=60)
            fill(guest)
            self.rows.took(name, "proxy", self.proxy_took(
                guest, "snapshot-delete", {"name": "d", "direction": "commit"}))
        self.pattern = 0
        self.rounds(count, by_hand_, through)

    def relay(self, count, times):
        """Both guests stand still: nothing but the requests is on the line."""
        for number in range(count + 1):
            self.rows.warm = number == 0
            for name, command, flight, share in (
                    ("query-status", "query-status", 1, 1.0),
                    (f"{FLIGHT} query-status at once", "query-status", FLIGHT, 0.5),
                    ("query-qmp-schema", "query-qmp-schema", 1, 0.05)):
                for side, guest in self.guests.items():
                    took = round_trips(guest.qmp, command, flight, max(int(times * share), 5))
                    self.rows.add(f"{name}: p50", "us", side, percentile(took, 50))
                    self.rows.add(f"{name}: p99", "us", side, percentile(took, 99))


def percentile(values, percent):
    values = sorted(values)
    return values[min(len(values) - 1, len(values) * percent // 100)]


def round_trips(client, command, flight, times):
    """Microseconds of each; the replies are counted, not parsed."""
    client.drain().clear()
    request = b'{"execute": "%s"}\n' % command.encode() * flight
    took, sock = [], client.sock
    sock.settimeout(20)
    for _ in range(times):
        begin, lines = time.perf_counter(), 0
        sock.sendall(request)
        while lines < flight:
            data = sock.recv(MIB)
            assert data, "connection closed"
            lines += data.count(b"\n")
        took.append((time.perf_counter() - begin) * 1e6)
    return took


def bench(options, rows, facts):
    def run(t):
        kind = "oracle" if options.quick else "linux"
        memory = 32 if options.quick else 256
        pair = Pair(t, rows, kind, memory, f"{memory} MB")
        facts["saved bytes"] = pair.revert(options.rounds)
        facts["saved bytes"]["vmstate"] = pair.other_methods(options.rounds)
        pair.create(options.rounds)
        pair.delete(options.rounds, 64 if options.quick else 256)
        pair.relay(options.rounds, 100 if options.quick else 300)
        pair.stop()
        if options.full:
            pair = Pair(t, rows, kind, 1024, "1 GiB")
            facts["saved bytes, 1 GiB"] = pair.revert(options.rounds)
            facts["saved bytes, 1 GiB"]["vmstate"] = pair.other_methods(options.rounds)
            pair.create(options.rounds)
            pair.stop()
    run.timeout = 1200
    run.__name__ = "test_bench"
    return run


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true")
    size.add_argument("--full", action="store_true")
    parser.add_argument("--rounds", type=int, help="default 7, with --quick 5")
    options = parser.parse_args()
    options.rounds = options.rounds or (5 if options.quick else 7)
    rows = Rows()
    facts = {"qemu": ".".join(map(str, vm.qemu_version())), "rounds": options.rounds,
             "guest": "oracle" if options.quick else "linux", "load before": os.getloadavg()[0]}
    begin = time.monotonic()
    status = harness.run([bench(options, rows, facts)])
    facts.update({"seconds": round(time.monotonic() - begin), "load behind": os.getloadavg()[0]})
    rows.table()
    print(json.dumps({**facts, "failed": bool(status), "rows": rows.data()}))
    return status


if __name__ == "__main__":
    sys.exit(main())
