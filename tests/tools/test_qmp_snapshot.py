#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""qmp-snapshot against a small fake proxy: what it sends, prints and exits with.

Environment: QMP_SNAPSHOT_BIN, the program (default ./qmp-snapshot); and what tests/lib/harness.py
reads.
"""

import json
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lib"))

# pylint: disable=wrong-import-position
from fake_proxy import Fake  # noqa: E402
from harness import equal, run  # noqa: E402
from snapshot_tool import FOREST, ask, call, info  # noqa: E402


def test_list_is_a_table(test):
    fake = Fake(test, FOREST)
    when = "2023-11-14 22:13:20"
    rows = [
        "   NAME       PARENT                       CREATED              STATE    MEMORY   DISKS  "
        "DESCRIPTION",
        "   installed  -                            2023-11-14 22:13:20  running  1.5 GiB  1      "
        "after the installer",
        f"*  patched    installed                    {when}  running  -        1      -",
        f"   süß        patched                      {when}  paused   -        1      -",
        f" ! broken     installed                    {when}  running  -        1      -",
        f"   other      a parent that was forgotten  {when}  running  -        0      -",
    ]
    equal(ask(test, fake, "list").splitlines(), rows)
    equal(len(fake.requests), 1)
    equal(fake.requests[0]["execute"], "query-snapshots")
    equal(fake.requests[0].get("arguments", {}), {})
    fake.answer = []
    equal(ask(test, fake, "list"), "There are no snapshots.\n")
    equal(ask(test, fake, "tree"), "There are no snapshots.\n")


def test_tree_draws_branches(test):
    fake = Fake(test, FOREST)
    want = ["installed", "├─ patched  (current)", "│  └─ süß", "└─ broken  (2 problems)", "other"]
    equal(ask(test, fake, "tree").splitlines(), want)
    plain = ["installed", "|- patched  (current)", "|  `- süß", "`- broken  (2 problems)", "other"]
    equal(ask(test, fake, "tree", env={"LC_ALL": "C"}).splitlines(), plain)


def test_tree_draws_each_snapshot_once_whatever_the_parents_are(test):
    deep = [info("n0")] + [info(f"n{i}", f"n{i - 1}") for i in range(1, 3000)]
    fake = Fake(test, deep)
    names = [re.search(r"n\d+$", row)[0] for row in ask(test, fake, "tree").splitlines()]
    equal(sorted(names), sorted(i["name"] for i in deep))
    fake.answer = [info("a", "b"), info("b", "a"), info("c", "c"), info("", ""), info("d", "")]
    rows = ask(test, fake, "tree").splitlines()
    equal(sorted(re.sub(r"^[ │├└─]*", "", row) for row in rows), ["-", "a", "b", "c", "d"])


def test_show_prints_all_members(test):
    fake = Fake(test, [FOREST[0]])
    equal(ask(test, fake, "show", "installed").splitlines(), [
        "name:         installed", "description:  after the installer", "current:      no",
        "parent:       -", "children:     patched", "              broken",
        "created:      2023-11-14 22:13:20", "run state:    running", "origin:       created",
        "memory:       /state/m1", "              stream", "              1.5 GiB", "disks:",
        "  virtio0: /images/o1.qcow2 (qcow2, node o1)"])
    equal(fake.requests[-1]["arguments"], {"name": "installed"})
    fake.answer = [info("x", operation="snapshot-delete", problems=["p one", "p two"], disks=[])]
    out = ask(test, fake, "show", "x")
    for part in ("operation:    snapshot-delete\n", "memory:       none\n",
                 "problems:     p one\n              p two\n"):
        assert part in out, out
    fake.answer = []
    assert "no snapshot x" in ask(test, fake, "show", "x", code=1)


def test_verify_says_ok_or_the_problems(test):
    fake = Fake(test, FOREST[:3])
    equal(ask(test, fake, "verify"), "installed: ok\npatched: ok\nsüß: ok\n")
    equal(fake.requests[-1]["arguments"], {"verify": True})
    fake.answer = FOREST[2:4]
    equal(ask(test, fake, "verify", "broken", code=1),
          "süß: ok\nbroken: image /images/x is gone\nbroken: no memory\n")
    equal(fake.requests[-1]["arguments"], {"name": "broken", "verify": True})


def test_options_become_members(test):
    fake = Fake(test, {})
    rows = [
        (["create", "s1"], "snapshot-create", {}),
        (["create", "s1", "--description", "a b", "--disk", "d1", "--disk=d2", "--memory", "none",
          "--live", "--job-id", "j", "--dry-run"], "snapshot-create",
         {"description": "a b", "disks": ["d1", "d2"], "memory": "none", "live": True,
          "job-id": "j", "dry-run": True}),
        (["--discard", "revert", "s1", "--state", "paused", "--method=respawn", "--save-as", "s2"],
         "snapshot-revert",
         {"discard": True, "state": "paused", "method": "respawn", "save-as": "s2"}),
        (["delete", "--children", "only", "--direction", "stream", "--metadata-only", "--", "s1"],
         "snapshot-delete",
         {"children": "only", "direction": "stream", "metadata-only": True}),
        (["explain", "delete", "s1", "--children", "keep"], "snapshot-delete",
         {"children": "keep", "dry-run": True}),
    ]
    for words, command, arguments in rows:
        fake.answer = {"plan": []} if "dry-run" in arguments else {}
        ask(test, fake, *words)
        equal(fake.requests[-1]["execute"], command)
        equal(fake.requests[-1]["arguments"], {"name": "s1", **arguments}, str(words))
    ask(test, fake, "create", "--", "-x")
    equal(fake.requests[-1]["arguments"], {"name": "-x"})


def test_results_are_told_in_a_sentence(test):
    fake = Fake(test, {"snapshot": FOREST[0]})
    equal(ask(test, fake, "create", "s1"), "Created s1: 1 disk, memory 1.5 GiB.\n")
    fake.answer = {"snapshot": FOREST[1], "method": "respawn"}
    equal(ask(test, fake, "create", "s1"), "Created s1 (method respawn): 1 disk, memory none.\n")
    equal(ask(test, fake, "revert", "s1"), "Reverted to s1 (method respawn).\n")
    fake.answer = {"deleted": ["s1", "s2"]}
    equal(ask(test, fake, "delete", "s1"), "Deleted s1, s2.\n")
    fake.answer = {}
    equal(ask(test, fake, "delete", "s1"), "Deleted s1.\n")
    equal(ask(test, fake, "delete", "s1", "--job-id", "j1"), "Started as job j1.\n")


def test_explain_numbers_the_plan(test):
    plan = [{"step": "stop", "command": "stop", "undo": True},
            {"step": "overlay", "command": "blockdev-add", "target": "virtio0", "undo": True,
             "bytes": 196616},
            {"step": "switch", "command": "transaction", "target": "virtio0", "undo": False,
             "commit-point": True},
            {"step": "unlink", "target": "/images/old", "undo": False, "bytes": 0}]
    fake = Fake(test, {"plan": plan})
    want = ["  1. stop     stop          -            undo: yes",
            "  2. overlay  blockdev-add  virtio0      undo: yes, 192.0 KiB",
            "  3. switch   transaction   virtio0      undo: no, COMMIT POINT",
            "  4. unlink   -             /images/old  undo: no",
            "4 steps, 192.0 KiB to move. What fails before step 3 is undone, what fails after it "
            "is finished."]
    equal(ask(test, fake, "explain", "revert", "s1").splitlines(), want)
    equal(ask(test, fake, "revert", "s1", "--dry-run").splitlines(), want)
    fake.answer = {"plan": plan[:1]}
    equal(ask(test, fake, "explain", "create", "s1").splitlines()[1:], ["1 step, nothing to move."])
    fake.answer = {"plan": []}
    equal(ask(test, fake, "explain", "create", "s1"), "There is nothing to do.\n")
    fake.answer = {"snapshot": FOREST[0]}
    assert "documented form" in ask(test, fake, "explain", "create", "s1", code=3)


def test_json_prints_the_return(test):
    fake = Fake(test, FOREST)
    equal(json.loads(ask(test, fake, "--json", "list")), FOREST)
    fake.answer = {"plan": [], "new": [1, 9007199254740993, {"a": None}]}
    equal(json.loads(ask(test, fake, "create", "s1", "--json")), fake.answer)


def test_refusal_prints_sentence_and_reason(test):
    fake = Fake(test, {"error": {"class": "GenericError", "desc": "There is \x1b[2J no 's1'",
                                 "data": {"reason": "unknown-snapshot", "name": "s1"}}})
    equal(ask(test, fake, "delete", "s1", code=1),
          "qmp-snapshot: There is ?[2J no 's1' (unknown-snapshot)\n")
    fake.answer = {"error": {"class": "CommandNotFound", "desc": "not found"}}
    assert "is it a qmp-proxy" in ask(test, fake, "list", code=1)
    fake.answer = {"error": {}}
    equal(ask(test, fake, "list", "--json", code=1), "qmp-snapshot: -\n")


def test_control_characters_do_not_reach_the_terminal(test):
    fake = Fake(test, [info("a\x1b]0;x\x07b", description="x\ny\u009bz\x7f", problems=["\r\x00p"])])
    for words in (["list"], ["tree"], ["show", "a"], ["verify"]):
        out = ask(test, fake, *words, code=1 if words == ["verify"] else 0)
        assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f]", out), repr(out)
        assert "a?]0;x?b" in out, out
    assert "x y?z?" in ask(test, fake, "list")


def test_wrong_types_are_printed_as_a_dash(test):
    odd = [{}, {"name": 5, "created": 7, "disks": 3, "problems": "x", "memory": []}, None, [],
           {"created": {"seconds": 1 << 62}, "children": [1], "disks": [{}, 4],
            "memory": {"size": -1}}]
    fake = Fake(test, odd)
    for words in (["list"], ["tree"], ["verify"], ["show", "x"]):
        ask(test, fake, *words)
    fake.answer = {"plan": [5, {}, {"bytes": "x", "undo": 1, "commit-point": "y"}]}
    ask(test, fake, "explain", "create", "x")
    fake.answer = {"deleted": [1], "snapshot": 3, "method": []}
    equal(ask(test, fake, "delete", "x"), "Deleted -.\n")
    fake.answer = "x"
    for words in (["list"], ["create", "x"]):
        assert "documented form" in ask(test, fake, *words, code=3)


def test_wrong_command_lines_are_refused_before_connecting(test):
    fake = Fake(test, {})
    rows = ["", "lis", "list x", "show", "show a b", "create", "verify a b", "create a b",
            "explain", "explain list", "explain create", "explain explain create x",
            "create x --method auto", "list --dry-run", "revert x --live", "delete x --discard",
            "revert x --disk d", "create x --what", "create x --memory", "list --live=1", "--timeout 0 list",
            "--timeout -1 list", "--timeout x list", "--timeout inf list", "--timeout nan list",
            "--timeout 1x list", "list -s"]
    for row in rows:
        code, out, error = call(test, *row.split(), env={"QMP_SNAPSHOT_ADDRESS": fake.address})
        equal((code, out), (2, ""), row)
        assert "--help" in error, row
    code, _, error = call(test, b"create", b"\xff", env={"QMP_SNAPSHOT_ADDRESS": fake.address})
    equal(code, 2)
    assert "UTF-8" in error
    for env in ({}, {"QMP_SNAPSHOT_ADDRESS": ""}):
        code, _, error = call(test, "list", env=env)
        equal(code, 2)
        assert "QMP_SNAPSHOT_ADDRESS" in error
    equal(fake.requests, [])


def test_help_and_manual_name_the_same_options(test):
    code, out, error = call(test, "--help")
    equal((code, error), (0, ""))
    options = set(re.findall(r"--[a-z][a-z-]*", out))
    manual = (HERE.parent.parent / "proxy/qmp-snapshot.pod").read_text(encoding="utf-8")
    equal(options, set(re.findall(r"^=item .*?B<(--[a-z][a-z-]*)>", manual, re.M)))
    words = re.findall(r"^  ([a-z]+) ", out, re.M)
    equal(sorted(words), sorted(re.findall(r"^=item B<([a-z]+)>", manual, re.M)))
    equal(len(options), 18)
    equal(call(test, "-h")[1], out)
    for option in ("-V", "--version"):
        assert re.fullmatch(r"qmp-snapshot \(qmp-proxy\) \S+\n", call(test, option)[1])


if __name__ == "__main__":
    sys.exit(run([value for name, value in list(globals().items()) if name.startswith("test_")]))
