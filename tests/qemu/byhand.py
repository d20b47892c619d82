# SPDX-License-Identifier: GPL-2.0-or-later
"""byhand: what clients do to the disks with commands of QEMU's own.

Model: machine() is a guest with its images in a folder of its own; by_node(), by_file() and together()
put overlays on its disks as clients do; job() runs a block job; away() does it while there is no proxy."""

import scene
from scene import harness, oracle, qmp, vm


def machine(t, style="drive", formats=("qcow2",), **guest):
    """A guest of that name with its images in a folder of its own: p.folder."""
    folder = t.path(f"in-{style}")
    folder.mkdir()
    p = vm.Proxy(t, oracle.make_disks(folder, formats), name=style, style=style, **guest).start()
    p.folder = folder
    p.serial.wait_tick(4)
    return p


def active(p, disk):
    """The node of the active image."""
    return next(entry["inserted"]["node-name"] for entry in p.command("query-block")
                if disk in (entry["device"], entry["qdev"].removeprefix(scene.OURS).split("/")[0]))


def disks(p):
    return list(scene.layout(p))


def overlay(p, disk, path, node, backing=None):
    """Makes and opens an overlay, as a client does before blockdev-snapshot."""
    below, fmt = scene.layout(p)[disk]
    oracle.qemu_img("create", "-q", "-u", "-f", "qcow2", "-F", fmt, "-b", backing or below, path,
                    oracle.SIZE)
    p.command("blockdev-add", {"driver": "qcow2", "node-name": node, "backing": None,
                               "file": {"driver": "file", "filename": str(path)}})


def by_node(p, disk, path, node, backing=None):
    """blockdev-snapshot."""
    overlay(p, disk, path, node, backing)
    p.command("blockdev-snapshot", {"node": active(p, disk), "overlay": node})


def by_file(p, disk, path, node=None, **args):
    """blockdev-snapshot-sync."""
    named = {"snapshot-node-name": node} if node else {}
    if disk.startswith("v"):            # without a drive QEMU wants both names
        named = {"node-name": active(p, disk), "snapshot-node-name": node}
    else:
        named["device"] = disk
    p.command("blockdev-snapshot-sync", {**named, "snapshot-file": str(path), **args})


def together(p, folder, names):
    """One transaction for all disks; names: {disk: node}."""
    actions = []
    for disk, node in names.items():
        overlay(p, disk, folder / f"{node}.qcow2", node)
        actions.append({"type": "blockdev-snapshot",
                        "data": {"node": active(p, disk), "overlay": node}})
    p.command("transaction", {"actions": actions})


def killed(p):
    """SIGKILL to the proxy, and the same command line again: it finds QEMU."""
    p.kill()
    p.start()


def observed(p, name):
    """The Saved of a snapshot that was observed."""
    info = scene.info(p, name)
    harness.equal((info["origin"], info["run-state"], info["problems"]), ("observed", "running", []),
                  f"of {name}")
    assert "memory" not in info, info
    return scene.Whole(info)


def boots(p, saved, **args):
    """Reverts to a snapshot without memory: the guest boots from its disks."""
    since = p.serial.size()
    p.command("snapshot-revert", {"name": saved.name, "discard": True, **args}, timeout=30)
    saved.untouched()
    found = harness.poll(lambda: p.serial.boots(since), 15, "the guest to boot")
    assert len(found) == 1 and saved.count - 1 <= found[0] <= saved.count, (found, saved.count)
    p.serial.wait_more(4)
    scene.check_disks(p)


def again(p):
    """Ends the VM and starts it again."""
    before, last, since = scene.layout(p), p.serial.last(), p.serial.size()
    harness.equal(p.stop(), 0, "exit status")
    p.start()
    harness.equal(scene.layout(p), before, "images after a cold start")
    found = harness.poll(lambda: p.serial.boots(since), 15, "the guest to boot")
    assert found[0] >= last, f"booted with turn {found[0]}, was at {last}"
    p.serial.wait_more(4)
    scene.check_disks(p)


def away(p, *commands):
    """Kills the proxy, says something to QEMU in its place, and starts it again."""
    p.kill()
    with qmp.Client(f"unix:{p.state / 'qemu.sock'}") as own:
        for command, args in commands:
            own.command(command, args)
            if command.startswith("block-"):
                own.wait_event("BLOCK_JOB_COMPLETED")
    p.start()


def job(p, command, **args):
    """A client's own block job, to its end."""
    p.command(command, {"job-id": "mine", **args})
    if command == "block-commit" and "top-node" not in args:
        p.qmp.wait_event("BLOCK_JOB_READY")
        p.command("job-complete", id="mine")
    p.qmp.wait_event("BLOCK_JOB_COMPLETED")
    harness.poll(lambda: not p.command("query-jobs"), 10, "the job to be gone")


def problems(p):
    return {s["name"]: s["problems"] for s in p.command("query-snapshots", {"verify": True})}
