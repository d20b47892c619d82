#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The tree s1-(s2-s3),(s4-s5), deleted in each order, with reverts between.

After every delete each snapshot that is left still holds, in whatever files, the turn that it froze;
every revert goes back to that turn, memory and disks; in the end only the first images are left.

Environment: ORDERS=N of the 120 orders, drawn from SEED (default 1; N: 2 here, all in check-long);
ORDER=s3,s1,...: only that one.  A failure names the order and the reverts."""

import itertools
import os
import random
import sys

import scene
from scene import harness

FORMATS = ("qcow2", "raw")
NAMES = ("s1", "s2", "s3", "s4", "s5")
SEED = int(os.environ.get("SEED", "1"))


def chosen():
    if os.environ.get("ORDER"):
        return [tuple(os.environ["ORDER"].split(","))]
    orders = list(itertools.permutations(NAMES))
    random.Random(SEED).shuffle(orders)
    return orders[:int(os.environ.get("ORDERS", "2"))]


def tree(p):
    """{name: Saved}; the guest runs on s5."""
    saved = {}

    def snapshots(*names):
        for name in names:
            saved[name] = scene.create(p, name)
            p.serial.wait_more(4)
    snapshots("s1", "s2", "s3")
    scene.revert(p, saved["s1"])
    p.serial.wait_more(4)
    snapshots("s4", "s5")
    return saved


def delete_all(p, order, draw, story):
    saved = tree(p)
    for name in order:
        saved.pop(name)
        story.append(f"delete {name}")
        scene.delete(p, name)
        scene.check_disks(p)
        for other in saved.values():
            other.reload(p)
        if saved and draw.random() < 0.5:
            back = draw.choice(sorted(saved))
            story.append(f"revert {back}")
            scene.revert(p, saved[back])
            p.serial.wait_more(3)
    p.serial.wait_more(4)
    left = {path.name for path in p.test.dir.iterdir() if path.suffix in (".qcow2", ".raw")}
    harness.equal(left, {disk.path.name for disk in p.disks}, "images")
    scene.tidy(p)


def make(order):
    def test(t):
        draw, story = random.Random(f"{SEED} {order}"), []
        try:
            delete_all(scene.start(t, FORMATS), order, draw, story)
        finally:
            t.note(f"SEED={SEED} ORDER={','.join(order)}: {', '.join(story)}")
    test.__name__ = "test_deleted_in_the_order_" + "_".join(order)
    return test


if __name__ == "__main__":
    sys.exit(harness.run([make(order) for order in chosen()], timeout=120))
