# SPDX-License-Identifier: GPL-2.0-or-later
"""by_hand: snapshots on a plain QEMU, in the order in which it is done without a proxy.

Model: a Hand is one QEMU with one client that knows the file which each disk has on top, and does
create, revert and delete with QEMU's own commands and qemu-img.  Each returns a Took.

Rule: it is a fair match: the quickest ways that QEMU has (memory through a descriptor, no limit on
the bandwidth, events where there are any, 1 ms between two looks where there are none), and no
fsync, checksum or look at the result, which the proxy does.
"""

import os
import time

import harness
import oracle
import vm

LOOK = 0.001
BANDWIDTH = 1 << 60


class Took:
    """Milliseconds: whole, and standstill (None: the guest was not stopped)."""

    def __init__(self, begin, standstill=None):
        self.begin, self.standstill = begin, standstill
        self.whole = (time.monotonic() - begin) * 1000


def event_time(event):
    """By QEMU's own clock, in seconds."""
    return event["timestamp"]["seconds"] + event["timestamp"]["microseconds"] / 1e6


def standstill(client):
    """Milliseconds between the STOP and the RESUME that the client was sent; None without any."""
    events = [event for event in client.drain() if event["event"] in ("STOP", "RESUME")]
    client.events.clear()
    if not events:
        return None
    harness.equal([event["event"] for event in events], ["STOP", "RESUME"], "events")
    return (event_time(events[1]) - event_time(events[0])) * 1000


class Hand(vm.Qemu):
    """style is always "drive"."""

    def __init__(self, test, disks=(), args=(), **guest):
        super().__init__(test, **guest)
        self.disks, self.more, self.extra = list(disks), list(args), []
        self.number = 0

    def command_line(self):
        line = super().command_line()
        return line + oracle.disk_args(self.disks) + self.more + self.extra

    def start(self, *_args, **_kwargs):
        super().start(connect=False)
        self.qmp = harness.poll(self._try_client, 10, "the monitor to answer", LOOK)
        self.command("migrate-set-capabilities",
                     {"capabilities": [{"capability": "events", "state": True}]})
        return self

    def _file(self, disk):
        self.number += 1
        return self.test.path(f"{self.name}-{disk.id}-{self.number}.qcow2")

    def _overlay(self, disk):
        """What the disk will have on top."""
        return oracle.Disk(self._file(disk), "qcow2", disk.id)

    def _migrated(self, status):
        # Status none and setup come first, for as long as it takes.
        self.qmp.wait_event(lambda event: event["event"] == "MIGRATION" and
                            event["data"]["status"] in ("completed", "failed"), 60)
        harness.poll(lambda: self.command("query-status")["status"] == status, 10, status, LOOK)

    def create(self, memory=None, disks=None):
        """stop, migrate, transaction, cont; without memory the transaction alone."""
        self.qmp.drain().clear()
        begin = time.monotonic()
        above = {disk.id: self._overlay(disk) for disk in disks or self.disks}
        if memory:
            with open(memory, "wb") as file:
                self.command("migrate-set-parameters", {"max-bandwidth": BANDWIDTH})
                self.command("getfd", fdname="memory", fds=[file.fileno()])
                self.command("stop")
                stopped = event_time(self.qmp.wait_event("STOP"))
                self.command("migrate", uri="fd:memory")
            self._migrated("postmigrate")
        self.command("transaction", {"actions": [
            {"type": "blockdev-snapshot-sync",
             "data": {"device": ident, "snapshot-file": str(disk.path), "format": "qcow2"}}
            for ident, disk in above.items()]})
        took = Took(begin)
        if memory:
            self.command("cont")
            took = Took(begin, (event_time(self.qmp.wait_event("RESUME")) - stopped) * 1000)
        self.disks = [above.get(disk.id, disk) for disk in self.disks]
        return took

    def revert(self, memory, frozen):
        """stop, SIGKILL, new overlays on the frozen disks, a new QEMU, load, cont."""
        old = self.disks
        begin = time.monotonic()
        self.command("stop")
        killed = time.time()
        self._end_hard()
        self.disks = [self._overlay(disk) for disk in frozen]
        for disk, below in zip(self.disks, frozen):
            oracle.qemu_img("create", "-q", "-f", "qcow2", "-b", below.path, "-F", below.format,
                            disk.path)
        self.extra = ["-S", "-incoming", "defer"]
        self.start()
        with open(memory, "rb") as file:
            self.command("getfd", fdname="memory", fds=[file.fileno()])
            self.command("migrate-incoming", uri="fd:memory")
        self._migrated("paused")
        self.command("cont")
        took = Took(begin, (event_time(self.qmp.wait_event("RESUME")) - killed) * 1000)
        for disk in old:
            if disk.path not in [below.path for below in frozen]:
                os.unlink(disk.path)
        return took

    def delete(self, before):
        """The disks' top files go into those that they had before, by block-commit."""
        self.qmp.drain().clear()
        begin = time.monotonic()
        for disk in self.disks:
            if disk.path in [below.path for below in before]:
                continue
            self.command("block-commit", {"job-id": "commit", "device": disk.id})
            self.qmp.wait_event("BLOCK_JOB_READY", 120)
            self.command("block-job-complete", {"device": "commit"})
            done = self.qmp.wait_event("BLOCK_JOB_COMPLETED", 120)
            assert "error" not in done["data"], done
            os.unlink(disk.path)
        self.disks = list(before)
        return Took(begin, standstill(self.qmp))
