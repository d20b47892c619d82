#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Records how real QEMUs answer clients' bytes, for test_recorded.py, which needs none.

Inputs are those of inputs.py (random ones from --seed) and what the fuzzers found to be different
(tests/fuzz/corpus).  Commands that are known to QEMU get a name that it does not know, as the reply
then shows which name it read; inputs with other commands that do something are left out.

record.py --qemu 'PROGRAM OPTIONS' [--qemu ...] [--dump framer_dump] [--seed N]
"""

import argparse
import json
import os
import random
import shlex
import sys
import tempfile

import diff_framer
import inputs
import recording

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "fuzz"))

# pylint: disable=wrong-import-position
import corpus  # noqa: E402

RENAMED = [(b"query-name", b"query-nome"), (b"query-version", b"query-vorsion"),
           (b"query-status", b"query-stotus")]
# How many of each kind; the fixed ones are all taken.
COUNTS = {"requests": 700, "messages": 300, "mutated": 900, "token soup": 350, "noise": 400,
          "envelopes": 220, "envelopes with oob": 220}
INPUT_MAX = 12000


def renamed(data):
    for known, unknown in RENAMED:
        data = data.replace(known, unknown)
    return data


def gather(seed):
    """{(oob, input): None}, in order and without what comes twice."""
    rng = random.Random(seed)
    cases = {}
    for name, make, oob, chunk in inputs.GROUPS:
        if name.startswith("hand-made") and chunk == 1:
            continue
        made = make(rng, COUNTS.get(name, 0))
        if name == "hand-made":
            cases.update(((oob, data), None) for data in made)
        cases.update(((oob, renamed(data)), None) for data in made)
    for data in corpus.garbage() + corpus.found("framer", bare=True) + corpus.found("request"):
        cases.setdefault((False, renamed(data)))
    return [case for case in cases if len(case[1]) <= INPUT_MAX]


def without_deeds(cases, dump, qemu):
    """The cases whose commands do nothing to QEMU."""
    listed = qemu.answers(b'{"execute":"query-commands"}', 0)[0]["return"]
    known = {entry["name"] for entry in listed}
    kept = []
    for oob in (False, True):
        mine = [data for its_oob, data in cases if its_oob == oob]
        stream = b"".join(data + diff_framer.sync(i) for i, data in enumerate(mine))
        answers = diff_framer.split(diff_framer.dump(dump, stream, oob, 65536), len(mine))
        for data, ours in zip(mine, answers):
            names = {answer.get("command") for answer in ours} & known
            if all(name.startswith("query-") for name in names):
                kept.append((oob, data))
    return kept


def play(command, cases, dump, safe=None):
    """The version, the cases that may be played, and the answers to them."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for oob in (False, True):
            qemu = diff_framer.Qemu(command, folder, oob)
            try:
                version = "{major}.{minor}.{micro}".format(**qemu.version)
                safe = safe or without_deeds(cases, dump, qemu)
                for i, case in enumerate(safe):
                    if case[0] == oob:
                        found[case] = qemu.answers(case[1], i)
            finally:
                qemu.close()
    return version, safe, found


def without_values(answers):
    """What a command returned is its own business."""
    return [dict(answer, **{"return": {}}) if "return" in answer else answer for answer in answers]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--qemu", action="append", help="program, with options; several")
    parser.add_argument("--dump", default=os.path.join(HERE, "framer_dump"))
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", default=recording.PATH)
    options = parser.parse_args()
    sys.setrecursionlimit(10000)

    versions, safe, played = [], None, []
    for command in options.qemu or ["qemu-system-x86_64"]:
        version, safe, found = play(command, gather(options.seed), options.dump, safe)
        versions.append(version)
        played.append({case: without_values(found[case]) for case in safe})
    cases, different = [], 0
    for oob, data in safe:
        theirs = [json.dumps(answers[oob, data]) for answers in played]
        agreed = len(set(theirs)) == 1
        different += not agreed
        cases.append((oob, data, {"" if agreed else version: answers[oob, data]
                                  for version, answers in zip(versions, played)}))
    recording.write(options.out, cases, [
        f"How QEMU {' and '.join(versions)} answer: see recording.py.  Made by record.py, "
        f"seed {options.seed}.", f"{len(cases)} inputs, answered differently: {different}"])
    if recording.read(options.out) != sorted(cases, key=lambda case: case[0]):
        raise RuntimeError(f"{options.out} does not say what was recorded")
    print(f"{len(cases)} inputs, QEMU {' and '.join(versions)} differ in {different}: "
          f"{os.path.getsize(options.out)} bytes in {shlex.quote(options.out)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
