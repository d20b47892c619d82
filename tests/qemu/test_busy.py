#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""While an operation runs: queries are answered at once, what goes against it is refused with its
name, the rest passes; and nobody who leaves in the meantime does any harm."""

import sys

import hostile
import scene
from scene import harness, oracle, qmp, vm

# The first step of an operation waits for as long as this file is there.
GATE = 'while [ -e gate ]; do sleep 0.01; done'
CONFLICTS = (
    ("cont", {}), ("stop", {}), ("system_reset", {}), ("system_wakeup", {}),
    ("blockdev-add", {"driver": "null-co", "node-name": "n"}), ("blockdev-del", {"node-name": "n"}),
    ("device_add", {"driver": "virtio-rng-pci"}), ("device_del", {"id": "x"}),
    ("object-add", {"qom-type": "iothread", "id": "x"}), ("chardev-remove", {"id": "x"}),
    ("netdev_del", {"id": "x"}), ("block_resize", {"device": "d0", "size": 1 << 30}),
    ("migrate", {"uri": "exec:cat >/dev/null"}), ("migrate_cancel", {}),
    ("migrate-set-parameters", {"max-bandwidth": 1}),
    ("migrate-set-capabilities", {"capabilities": []}),
    ("transaction", {"actions": []}), ("block-commit", {"device": "d0"}),
    ("block-stream", {"device": "d0"}),
    ("drive-mirror", {"device": "d0", "target": "x", "sync": "full"}),
    ("blockdev-snapshot-sync", {"device": "d0", "snapshot-file": "x"}),
    ("snapshot-save", {"job-id": "j", "tag": "x", "vmstate": "x", "devices": []}),
    ("snapshot-load", {"job-id": "j", "tag": "x", "vmstate": "x", "devices": []}),
    ("snapshot-delete", {"job-id": "j", "tag": "x", "devices": []}),
    ("human-monitor-command", {"command-line": "savevm x"}),
    ("human-monitor-command", {"command-line": "  commit all"}),
    ("snapshot-create", {"name": "s9"}), ("snapshot-create", {"name": "s1", "dry-run": True}),
    ("snapshot-revert", {"name": "s1", "discard": True}), ("snapshot-delete", {"name": "s1"}))


class Gated:
    """A guest with a snapshot s1, and a second operation that waits behind a gate."""

    def __init__(self, t):
        self.t = t
        self.p = hostile.Wrapped(t, oracle.make_disks(t.dir, ("qcow2", "raw")), {"qemu-img": GATE})
        self.p.start()
        self.p.serial.wait_tick(4)
        self.saved = scene.create(self.p, "s1")
        self.other = self.p.client()

    def begin(self, command, **args):
        self.t.path("gate").touch()
        self.sent = self.p.qmp.send(command, args)
        harness.poll(lambda: self.helpers() or self.p.qmp.drain(), 10, "the operation to begin")
        harness.poll(self.helpers, 10, "the operation to wait")

    def helpers(self):
        return [pid for pid, line in harness.marked_processes(self.t.marker).items()
                if "qemu-img" in line]

    def end(self, timeout=30):
        self.t.path("gate").unlink()
        reply = self.p.qmp.reply(self.sent, timeout)
        assert "return" in reply, reply
        return reply["return"]


def test_what_conflicts_is_refused_with_the_name_of_the_operation(t):
    g = Gated(t)
    for command, args in (("snapshot-create", {"name": "s2"}),
                          ("snapshot-revert", {"name": "s1", "discard": True})):
        g.begin(command, **args)
        for conflict, arguments in CONFLICTS:
            error = g.other.refused(conflict, arguments)
            harness.equal(error.reason, "operation-running", f"{conflict}: {error.desc}")
            assert command in error.desc and f"'{args['name']}'" in error.desc, error.desc
            harness.equal((error.data["operation"], error.data["snapshot"]),
                          (command, args["name"]), "data")
        g.end()
        g.p.serial.wait_more(3)
    for name in ("s1", "s2"):
        scene.delete(g.p, name)
    scene.check_disks(g.p)


def test_queries_are_answered_at_once(t):
    g = Gated(t)
    plain = [c["name"] for c in g.other.command("query-commands") if c["name"].startswith("query-")]
    works = []
    for name in plain:
        try:
            g.other.command(name)
            works.append(name)
        except qmp.QmpError:
            pass                        # needs an argument, or a device that is not there
    assert len(works) > 30, works
    for command, args in (("snapshot-create", {"name": "s2"}),
                          ("snapshot-revert", {"name": "s1", "discard": True})):
        g.begin(command, **args)
        slow = {}
        for name in works:
            try:
                _, spent = vm.timed(g.other.command, name, timeout=2)
            except qmp.Timeout:
                g.other = g.p.client()
                spent = 2000
            if spent > 500:
                slow[name] = spent
        g.end()
        harness.equal(slow, {}, f"queries slower than 500 ms during {command}")


def test_harmless_commands_pass(t):
    g = Gated(t)
    g.begin("snapshot-create", name="s2")
    for command, args in (("human-monitor-command", {"command-line": "info status"}),
                          ("send-key", {"keys": [{"type": "qcode", "data": "a"}]}),
                          ("qom-list", {"path": "/"}), ("trace-event-get-state", {"name": "x*"})):
        g.other.command(command, args)
    g.end()


def test_the_operation_is_seen_as_a_job(t):
    g = Gated(t)
    g.begin("snapshot-create", name="s2")
    harness.equal([(j["type"], j["status"]) for j in g.other.command("query-jobs")],
                  [("snapshot-create", "running")], "jobs")
    g.end()
    harness.equal(g.other.command("query-jobs"), [], "jobs")
    still = hostile.Still(g.p)
    t.path("gate").touch()
    g.p.command("snapshot-create", {"name": "s3", "job-id": "j1"})
    harness.poll(g.helpers, 10, "the operation to wait")
    harness.equal(g.other.refused("snapshot-create", {"name": "s4", "job-id": "j2"}).reason,
                  "operation-running", "a second job")
    g.other.command("job-cancel", id="j1")
    t.path("gate").unlink()
    assert "cancelled" in g.p.wait_job("j1")["error"]
    g.p.command("job-dismiss", id="j1")
    still.check()


def test_clients_that_leave_while_the_operation_runs(t):
    g = Gated(t)
    for name in ("s2", "s3", "s4"):
        g.begin("snapshot-create", name=name)
        for command, args in (("query-snapshots", {}), ("query-snapshots", {"name": "s1"}),
                              ("query-block", {}), ("snapshot-create", {"name": "x"})):
            client = qmp.Client(g.p.address)
            # An answer that is not read: the end of the connection is then a reset.
            client.send("query-status")
            g.other.command("query-status")
            client.send(command, args)
            g.other.command("query-status")
            client.close()
        g.end()
    client = qmp.Client(g.p.address)
    g.t.path("gate").touch()
    client.send("snapshot-create", {"name": "s5"})
    harness.poll(g.helpers, 10, "the operation to wait")
    client.close()
    g.t.path("gate").unlink()
    harness.poll(lambda: "s5" in scene.names(g.p), 10, "the snapshot of a client that is gone")
    scene.revert(g.p, g.saved)


if __name__ == "__main__":
    sys.exit(harness.run([test for name, test in list(globals().items())
                          if name.startswith("test_")]))
