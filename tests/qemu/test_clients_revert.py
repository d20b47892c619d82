#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Clients through a revert by a second process: they stay connected, no answer is lost, doubled or late,
events tell the story in order, and what they have set in QEMU stays set."""

import json
import sys
import threading
import time

import scene
import test_fit as fit
from hostile import refused
from scene import harness, oracle, qmp, vm
from test_snapshots import only_boot

REVERTS = 4
WINDOW = 6              # requests of a client that are on their way
TOLD = ("STOP", "RESUME", "SNAPSHOT_REVERTED")


class Talker(threading.Thread):
    """A client that always has some queries on the way, and notes all that it hears."""

    def __init__(self, client, done, name):
        super().__init__(daemon=True)
        self.client, self.done, self.name = client, done, name
        self.sent, self.answers, self.events = [], [], []
        self.slowest, self.error, self.waiting = 0, None, {}

    def ask(self):
        cid = f"{self.name}-{len(self.sent)}"
        query = ("query-status", "query-block", "query-migrate-parameters")[len(self.sent) % 3]
        self.sent.append(cid)
        self.waiting[cid] = (query, time.monotonic())
        self.client.send_raw(json.dumps({"execute": query, "id": cid}))

    def hear(self):
        message = self.client.recv(5)
        if "event" in message:
            self.events.append(message["event"])
            return
        cid = message["id"]
        self.answers.append(cid)
        query, since = self.waiting.pop(cid)    # fails for one that comes twice
        self.slowest = max(self.slowest, (time.monotonic() - since) * 1000)
        assert "return" in message, message
        if query == "query-status":
            assert message["return"]["status"] in ("running", "paused"), message

    def run(self):
        try:
            while not self.done.is_set():
                while len(self.waiting) < WINDOW:
                    self.ask()
                self.hear()
            while self.waiting:
                self.hear()
        except Exception as error:      # pylint: disable=broad-except
            self.error = error


class Comer(threading.Thread):
    """Clients that come, ask and go."""

    def __init__(self, address, done):
        super().__init__(daemon=True)
        self.address, self.done = address, done
        self.count, self.slowest, self.error = 0, 0, None

    def run(self):
        try:
            while not self.done.is_set():
                since = time.monotonic()
                with qmp.Client(self.address) as client:
                    client.command("query-status")
                self.slowest = max(self.slowest, (time.monotonic() - since) * 1000)
                self.count += 1
        except Exception as error:      # pylint: disable=broad-except
            self.error = error


class Setter(threading.Thread):
    """A client that changes something all the time.  accepted: the last value that QEMU took."""

    def __init__(self, client, done):
        super().__init__(daemon=True)
        self.client, self.done = client, done
        self.accepted, self.taken, self.refused, self.error = None, 0, 0, None

    def run(self):
        try:
            for value in range(1000, 2000000):
                if self.done.wait(0.001):   # not at every moment: others are to have their turn
                    return
                try:
                    self.client.command("migrate-set-parameters", {"downtime-limit": value % 2000})
                    self.accepted = value % 2000
                    self.taken += 1
                except qmp.QmpError as error:
                    harness.equal((error.reason, error.data["operation"]),
                                  ("operation-running", "snapshot-revert"), "refusal")
                    self.refused += 1
        except Exception as error:      # pylint: disable=broad-except
            self.error = error


def test_no_answer_is_lost_doubled_or_late_through_reverts(t):
    p = scene.start(t, ("qcow2", "raw"), memory="256")
    # Were they on in the second process as well, its migration would be heard of.
    p.command("migrate-set-capabilities", {"capabilities": [{"capability": "events", "state": True}]})
    saved = scene.create(p, "s1")
    done = threading.Event()
    talkers = [Talker(p.client(oob=number == 0), done, f"c{number}") for number in range(4)]
    comer, setter = Comer(p.address, done), Setter(p.client(), done)
    threads = [*talkers, comer, setter]
    for thread in threads:
        thread.start()
    try:
        for _ in range(REVERTS):
            p.serial.wait_more(2)
            mark = scene.Mark(p)
            p.command("snapshot-revert", {"name": "s1", "discard": True}, timeout=30)
            mark.went_back_to(saved)
    finally:
        done.set()
        for thread in threads:
            thread.join(30)
    harness.equal([str(thread.error) for thread in threads if thread.error], [], "errors")
    for talker in talkers:
        harness.equal(talker.answers, talker.sent, f"answers to {talker.name}, in order")
        talker.events += [event["event"] for event in talker.client.drain()]
        harness.equal([event for event in talker.events if event != "JOB_STATUS_CHANGE"],
                      [*TOLD] * REVERTS, f"events of {talker.name}")
        harness.equal(talker.client.command("query-status")["running"], True, "still connected")
    slowest = max(thread.slowest for thread in (*talkers, comer))
    t.note(f"{sum(len(talker.answers) for talker in talkers)} answers and {comer.count} new clients "
           f"through {REVERTS} reverts, the slowest after {slowest:.0f} ms; {setter.taken} changes "
           f"taken, {setter.refused} refused")
    assert slowest < 500 * harness.SLOW, f"an answer took {slowest:.0f} ms"
    assert setter.taken and setter.refused and comer.count > REVERTS, (setter.taken, setter.refused)
    harness.equal(p.command("query-migrate-parameters")["downtime-limit"], setter.accepted,
                  "what was taken last")
    # What a client has negotiated is its own still.
    harness.equal(talkers[0].client.command("query-yank", oob=True),
                  talkers[0].client.command("query-yank"), "out of band")
    error = talkers[1].client.refused("query-yank", oob=True)
    assert "exec-oob" in error.desc, error
    scene.check_disks(p)


# ---- settings ----

def settings(p):
    capabilities = p.command("query-migrate-capabilities")
    return ({entry["capability"]: entry["state"] for entry in capabilities},
            p.command("query-migrate-parameters"))


def switch(p, **capabilities):
    p.command("migrate-set-capabilities", {"capabilities": [
        {"capability": name.replace("_", "-"), "state": state}
        for name, state in capabilities.items()]})


def test_migration_settings_are_those_of_the_moment_of_the_revert(t):
    disks = oracle.make_disks(t.dir, ("qcow2", "raw"))
    p = vm.Proxy(t, (), ["-boot", "strict=on", *only_boot(disks[0]), *disks[1].args("device")])
    p.start()
    p.serial.wait_tick(4)
    fresh = settings(p)
    switch(p, events=True, xbzrle=True)
    p.command("migrate-set-parameters", {"downtime-limit": 1234, "tls-hostname": "then"})
    saved = scene.create(p, "s1", disks=["d0"])     # the other disk is open in both, inactive
    switch(p, events=False, multifd=True, xbzrle=False, auto_converge=True)
    p.command("migrate-set-parameters", {"max-bandwidth": 54321, "multifd-channels": 3,
                                         "tls-hostname": "now", "announce-max": 600})
    now = settings(p)
    assert now[0] != fresh[0] and now[1] != fresh[1], now
    whole = scene.create(p, "s2", disks=["d0"])
    scene.revert(p, saved, skip=("d1",))
    harness.equal(settings(p), now, "behind a revert")
    scene.revert(p, whole, skip=("d1",), state="paused")
    harness.equal(settings(p), now, "behind the next")
    p.command("cont")
    switch(p, multifd=False, auto_converge=False)
    p.command("migrate-set-parameters", fresh[1])
    scene.revert(p, whole, skip=("d1",))
    harness.equal(settings(p), fresh, "as they were at first")


def test_settings_that_the_next_version_lacks_are_left_and_those_it_refuses_are_told(t):
    old, new = fit.pair()
    p, exchange = fit.linked(t, old)
    saved = scene.create(p, "s1")
    switch(p, multifd=True, xbzrle=True, block=True)        # together: only in the old one
    p.command("migrate-set-parameters", {"downtime-limit": 7, "block-incremental": True})
    before = settings(p)
    p.command("snapshot-revert", {"name": "s1", "discard": True, "state": "prelaunch"}, timeout=30)
    harness.equal(settings(p), before, "behind a boot")
    p.command("cont")
    p.serial.wait_more(4)
    exchange(new)
    refused(p, "qemu-failed", "snapshot-revert", {"name": "s1", "discard": True}, "settings-carry",
            timeout=30)
    harness.equal(settings(p), before, "settings of the guest that goes on")
    switch(p, xbzrle=False)
    scene.revert(p, saved)
    harness.equal(fit.qemu_of(p), new, "version")
    capabilities, parameters = settings(p)
    harness.equal([name for name, state in capabilities.items() if state], ["multifd"], "set")
    assert "block-incremental" not in parameters, "the new version has it: choose another"
    harness.equal(parameters["downtime-limit"], 7, "a parameter of both")


if __name__ == "__main__":
    sys.exit(harness.run([value for name, value in list(globals().items())
                          if name.startswith("test_")]))
