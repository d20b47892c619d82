#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What query-qmp-schema says of the four commands and three events is what they do; and QEMU's own
snapshot-save, -load and -delete (internal snapshots) work through the proxy as without it."""

import re
import sys

import hostile
import scene
from scene import harness, oracle, qmp, vm

import qapi

COMMANDS = {"snapshot-create", "snapshot-revert", "snapshot-delete", "query-snapshots"}
EVENTS = {"SNAPSHOT_CREATED": {"name"}, "SNAPSHOT_DELETED": {"name"},
          "SNAPSHOT_REVERTED": {"name", "method", "run-state", "respawned"}}
MISFIT = re.compile(r"^(Parameter '.*' (is missing|is unexpected|does not accept value .*)|"
                    r"Invalid parameter type for '.*', expected: .*)$")


def schema_of(p):
    return qapi.Schema(p.command("query-qmp-schema"))


# ---- the schema and the commands ----

def test_the_schema_is_whole_and_has_the_commands_and_events(t):
    with vm.Proxy(t) as p:
        schema = schema_of(p)
        harness.equal(schema.dangling(), [], "the schema's own faults")
        listed = [entry["name"] for entry in p.command("query-commands")]
        harness.equal(schema.names("command"), set(listed), "commands of schema and query-commands")
        harness.equal(sorted(COMMANDS - set(listed)), [], "commands that are not listed")
        harness.equal(sorted(set(EVENTS) - schema.names("event")), [], "events that are not listed")
        for name, members in EVENTS.items():
            shown = schema.by_name[schema.by_name[name]["arg-type"]]["members"]
            harness.equal({member["name"] for member in shown}, members, f"members of {name}")
            harness.equal([m for m in shown if "default" in m], [], f"optional ones of {name}")
        for name in COMMANDS:
            shown = schema.by_name[schema.by_name[name]["arg-type"]]
            harness.equal(shown["meta-type"], "object", f"arguments of {name}")


def test_an_enum_lists_its_values_for_old_readers_and_new(t):
    with vm.Proxy(t) as p:
        schema = schema_of(p)
        for name in schema.names("enum"):
            entry = schema.by_name[name]
            if "members" in entry:
                names = [member["name"] for member in entry["members"]]
                harness.equal(names, entry["values"], name)
            harness.equal(len(set(entry["values"])), len(entry["values"]), f"values of {name}")


# Every member of every command, right and wrong.
ARGUMENTS = {
    "snapshot-create": ({"name": "s1"}, {
        "name": ("s1", 1), "description": ("a b", 1), "disks": (["d0"], "d0"),
        "memory": ("none", "all"), "live": (False, "no"), "job-id": ("j1", 7),
        "dry-run": (True, 1)}),
    "snapshot-revert": ({"name": "s1"}, {
        "name": ("s1", None), "state": ("paused", "stopped"), "method": ("respawn", "fast"),
        "discard": (True, "true"), "save-as": ("s2", True), "job-id": ("j1", []),
        "dry-run": (True, None)}),
    # The schema has job-id of QEMU's own command as mandatory; ours does without.
    "snapshot-delete": ({"name": "s1", "job-id": "j0"}, {
        "name": ("s1", {}), "children": ("keep", "all"), "direction": ("commit", ""),
        "metadata-only": (True, "x"), "job-id": ("j1", 1.5), "dry-run": (True, 0)}),
    "query-snapshots": ({}, {"name": ("s1", 1), "verify": (True, "yes")}),
}


def variations(base, members):
    """[(arguments, whether they fit)]"""
    found = [({**base, name: right}, True) for name, (right, _) in members.items()]
    found += [({**base, name: wrong}, False) for name, (_, wrong) in members.items()]
    return found + [(base, True), ({**base, "no-such-member": 1}, False)]


def test_the_commands_take_what_the_schema_says_and_nothing_else(t):
    """There is no such snapshot, or the name is taken: what fits is refused for another reason."""
    p = scene.start(t)
    scene.create(p, "s1")
    scene.delete(p, "s1")
    schema, mark = schema_of(p), scene.Mark(p)
    for command, (base, members) in ARGUMENTS.items():
        entry = schema.by_name[schema.by_name[command]["arg-type"]]
        shown = {m["name"] for m in entry["members"]} - {"tag", "devices"}
        harness.equal(shown, set(members), f"members of {command}")
        for arguments, fits in variations(base, members):
            if command == "snapshot-create":
                arguments = {"dry-run": True, **arguments}
            error = None
            try:
                p.command(command, arguments)
            except qmp.QmpError as answer:
                error = answer.desc
            ours = schema.command(command, arguments)
            harness.equal((not error or not MISFIT.match(error), not ours), (fits, fits),
                          f"{command} {arguments}: {error}; {ours}: (proxy, schema)")
            for job in p.command("query-jobs"):
                p.wait_job(job["id"])
                p.command("job-dismiss", {"id": job["id"]})
        if base:
            error = p.qmp.refused(command, {})
            assert MISFIT.match(error.desc), error.desc
    harness.equal(scene.names(p), [], "snapshots")
    mark.went_on()


def test_what_comes_back_is_what_the_schema_says(t):
    """Results and events of real operations; and, to see that the checking works, of QEMU's own."""
    p = scene.start(t, ("qcow2", "raw"), style="blockdev")
    schema = schema_of(p)
    p.qmp.drain().clear()

    def run(command, **args):
        arguments = {key.replace("_", "-"): value for key, value in args.items()}
        result = p.command(command, arguments, timeout=30)
        shown = {"job-id": "j0", **arguments} if command == "snapshot-delete" else arguments
        bad = schema.command(command, shown) + schema.returned(command, result)
        harness.equal(bad, [], f"{command} {arguments}")
    run("snapshot-create", name="s1", description="the first", dry_run=True)
    run("snapshot-create", name="s1", description="the first")
    run("snapshot-create", name="s2", memory="none", disks=["node-d0"])
    run("snapshot-revert", name="s1", discard=True, dry_run=True)
    run("snapshot-revert", name="s1", save_as="s3", state="paused")
    run("query-snapshots", verify=True)
    run("snapshot-delete", name="s2", dry_run=True)
    run("snapshot-delete", name="s2")
    run("snapshot-create", name="s4", job_id="j1")
    p.wait_job("j1")
    run("query-snapshots", name="s4")
    for command in ("query-jobs", "query-block", "query-named-block-nodes", "query-status",
                    "query-migrate", "query-commands", "query-chardev", "query-version"):
        run(command)
    seen = p.qmp.drain()
    harness.equal([complaint for event in seen
                   for complaint in schema.event(event["event"], event.get("data", {}))], [],
                  "complaints about events")
    missing = set(EVENTS) - {event["event"] for event in seen}
    harness.equal(sorted(missing), [], "events that did not come")
    harness.equal([event["event"] for event in seen if event["event"] in EVENTS],
                  ["SNAPSHOT_CREATED", "SNAPSHOT_CREATED", "SNAPSHOT_CREATED", "SNAPSHOT_REVERTED",
                   "SNAPSHOT_DELETED", "SNAPSHOT_CREATED"], "events of snapshots")


# ---- QEMU's internal snapshots ----

def internal(path):
    """The tags of an image's internal snapshots.  -U: QEMU has it open."""
    listed = oracle.qemu_img("snapshot", "-l", "-U", path)
    return re.findall(r"^\d+ +(\S+)", listed, re.M)


def run_job(p, command, ident, **args):
    """One of QEMU's snapshot jobs, to its end; its error or None."""
    arguments = {"job-id": ident, **args}
    harness.equal(p.command(command, arguments), {}, f"answer of {command}")
    job = p.wait_job(ident)
    harness.equal(job["type"], command, "type of the job")
    p.command("job-dismiss", {"id": ident})
    return job.get("error")


def one_life(p):
    """Saves, loads and deletes an internal snapshot; everything that a client sees of it."""
    node, path, seen = p.disks[0].node, p.disks[0].path, []
    p.serial.wait_tick(4)
    p.qmp.drain().clear()
    for tag in ("one", "two"):
        last = p.serial.last()
        seen.append(run_job(p, "snapshot-save", f"save-{tag}", tag=tag, vmstate=node,
                            devices=[node]))
        p.serial.wait_more(3)
        harness.equal(internal(path)[-1:], [tag], "tags after a save")
    p.serial.wait_tick(last + 12)
    p.command("stop")
    seen.append(run_job(p, "snapshot-load", "load", tag="two", vmstate=node, devices=[node]))
    since, before = p.serial.size(), p.serial.last()
    p.command("cont")
    p.serial.wait_more(4)
    first = p.serial.ticks(since)[0]
    assert last <= first < before, f"loaded turn {last}, the guest went on with {first}"
    seen.append(run_job(p, "snapshot-delete", "delete", tag="one", devices=[node]))
    harness.equal(internal(path), ["two"], "tags after a delete")
    seen.append(run_job(p, "snapshot-delete", "again", tag="two", devices=[]))
    seen.append(run_job(p, "snapshot-delete", "wrong", tag="two", devices=["no-such-node"]))
    harness.equal(internal(path), ["two"], "tags after a delete of nothing")
    seen.append(p.qmp.refused("snapshot-delete", {"job-id": "x"}).desc)
    seen.append(p.qmp.refused("snapshot-delete", {}).desc)
    seen.append(p.qmp.refused("snapshot-delete", {"job-id": "x", "tag": 1, "devices": []}).desc)
    seen.append(p.qmp.refused("snapshot-delete", {"job-id": "1", "tag": "x", "devices": []}).desc)
    events = p.qmp.drain()
    for ident in ("save-one", "save-two", "load", "delete", "again", "wrong"):
        seen.append((ident, [event["data"]["status"] for event in events
                             if event["event"] == "JOB_STATUS_CHANGE"
                             and event["data"]["id"] == ident]))
    seen.append(run_job(p, "snapshot-delete", "last", tag="two", devices=[node]))
    harness.equal(internal(path), [], "tags in the end")
    p.serial.check()
    return seen


def test_internal_snapshots_live_and_die_as_without_the_proxy(t):
    seen = []
    for kind in (vm.Qemu, vm.Proxy):
        name = kind.__name__.lower()
        with kind(t, oracle.make_disks(t.dir, prefix=name), style="blockdev", name=name) as guest:
            if kind is vm.Qemu:
                guest.wait_job = lambda ident, g=guest: vm.Proxy.wait_job(g, ident)
            seen.append(one_life(guest))
            if kind is vm.Proxy:
                harness.equal(scene.names(guest), [], "snapshots of ours")
        oracle.qemu_img("check", "-q", "-f", "qcow2", guest.disks[0].path)
    harness.equal(seen[1], seen[0], "what a client sees through the proxy")
    harness.equal(seen[1][:4], [None] * 4, "errors of the jobs that had to work")


def test_a_delete_with_both_forms_is_an_error_and_changes_nothing(t):
    p = scene.start(t, style="blockdev")
    node = p.disks[0].node
    harness.equal(run_job(p, "snapshot-save", "save", tag="t1", vmstate=node, devices=[node]), None,
                  "error of the save")
    p.serial.wait_more(2)
    saved = scene.create(p, "s1")
    still = hostile.Still(p)
    for both in ({"tag": "t1"}, {"devices": [node]}, {"tag": "t1", "devices": [node]},
                 {"tag": "t1", "devices": [node], "job-id": "j1"}, {"tag": None},
                 {"tag": "s1", "children": "keep"}, {"devices": [], "dry-run": True}):
        error = p.qmp.refused("snapshot-delete", {"name": "s1", **both})
        harness.equal(error.cls, "GenericError", f"{both}")
        for word in ("'name'", "'tag'", "'devices'"):
            assert word in error.desc, f"{word} is not in: {error.desc}"
    still.check()
    harness.equal(internal(p.disks[0].path), ["t1"], "tags")
    # Each form alone still works, with a name that the other has as well.
    saved.untouched()
    scene.delete(p, "s1")
    harness.equal(run_job(p, "snapshot-delete", "d1", tag="t1", devices=[node]), None, "error")
    harness.equal((scene.names(p), internal(p.disks[0].path)), ([], []), "what is left")


def test_a_tag_and_a_name_that_are_the_same_are_two_snapshots(t):
    p = scene.start(t, style="blockdev")
    node, path = p.disks[0].node, p.disks[0].path
    harness.equal(run_job(p, "snapshot-save", "save", tag="same", vmstate=node, devices=[node]),
                  None, "error of the save")
    scene.create(p, "same", memory="none")
    harness.equal(internal(path), ["same"], "tags")
    p.command("snapshot-delete", {"name": "same"}, timeout=30)
    harness.equal((scene.names(p), internal(path)), ([], ["same"]), "without the name")
    scene.create(p, "same", memory="none")
    # The node is the frozen layer now, which QEMU has open without the right to write.
    error = run_job(p, "snapshot-delete", "d1", tag="same", devices=[node])
    assert error, "QEMU has changed a frozen layer"
    harness.equal(scene.names(p), ["same"], "snapshots of ours")


if __name__ == "__main__":
    sys.exit(harness.run([test for name, test in list(globals().items())
                          if name.startswith("test_")]))
