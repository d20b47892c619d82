#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""What users read against what the programs have: options, refusals, commands.

Environment: QMP_PROXY_BIN, QMP_SNAPSHOT_BIN; and what tests/lib/harness.py reads.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(TOP / "tests" / "lib"))

# pylint: disable=wrong-import-position
from harness import equal, run  # noqa: E402

POD = "".join((TOP / "proxy" / name).read_text() for name in ("qmp-proxy.pod", "qmp-proxy-ref.pod"))
REASONS = set(re.findall(r'^#define REASON_\w+ "([a-z-]+)"', (TOP / "policy/reason.h").read_text(),
                         re.M))


def options_of(program, pod):
    """Long options that --help shows, and those that the manual has."""
    shown = subprocess.run([program, "--help"], capture_output=True, text=True, check=True).stdout
    return set(re.findall(r"--[a-z][a-z-]+", shown)), set(re.findall(r"--[a-z][a-z-]+", pod))


def test_every_refusal_is_in_the_manual(_test):
    section = POD.split("=head1 REFUSALS")[1].split("=head1")[0]
    equal(sorted(re.findall(r"^=item ([a-z-]+)$", section, re.M)), sorted(REASONS), "refusals")


def test_every_refusal_is_in_the_table(_test):
    names = re.findall(r"#define (REASON_[A-Z_]+) ", (TOP / "policy/reason.h").read_text())
    table = re.findall(r"\{ (REASON_[A-Z_]+),", (TOP / "policy/reason.c").read_text())
    equal(sorted(table), sorted(names), "reason_table")


def test_every_refusal_is_used(_test):
    source = "".join(path.read_text() for folder in ("policy", "proxy")
                     for path in sorted((TOP / folder).glob("*.c")) if path.name != "reason.c")
    names = re.findall(r"#define (REASON_[A-Z_]+) ", (TOP / "policy/reason.h").read_text())
    equal([name for name in names if name not in source], [], "refusals that nothing refuses with")


def test_every_option_of_the_proxy_is_in_the_manual(_test):
    shown, documented = options_of(os.environ["QMP_PROXY_BIN"], POD)
    equal(sorted(shown - documented), [], "options without documentation")
    assert len(shown) > 5, shown


def test_every_option_of_the_client_is_in_the_manual(_test):
    pod = (TOP / "proxy" / "qmp-snapshot.pod").read_text()
    shown, documented = options_of(os.environ["QMP_SNAPSHOT_BIN"], pod)
    equal(sorted(shown - documented), [], "options without documentation")
    assert len(shown) > 5, shown


def test_the_manual_has_the_members_that_commands_take(_test):
    rows = re.findall(r"\{ (CREATE|REVERT|DELETE|QUERY), \"([a-z-]+)\"",
                      (TOP / "policy/request.c").read_text())
    later = {"live", "children", "direction"}   # in the schema, and refused as not supported yet
    missing = {name for _, name in rows if f"{name}:" not in POD} - later
    equal(sorted(missing), [], "members without documentation")


def test_what_the_page_on_safety_names_is_there(_test):
    text = (TOP / "SAFETY.md").read_text()
    names = set(re.findall(r"\b((?:tests|scripts)/[\w./]+\w)", text))
    files = {path.name for path in (TOP / "tests").rglob("*")}
    names |= {name for name in re.findall(r"\b(test_\w+\.(?:py|c))", text) if name not in files}
    equal(sorted(name for name in names if not (TOP / name).exists()), [], "names of nothing")
    tests = "".join(path.read_text() for path in (TOP / "tests/qemu").glob("test_lessons*.py"))
    known = {int(number) for number in re.findall(r"^def test_e(\d+)", tests, re.M)}
    equal(known, set(range(1, 16)), "lessons with a test")


if __name__ == "__main__":
    sys.exit(run([
        test_every_refusal_is_in_the_manual,
        test_every_refusal_is_in_the_table,
        test_every_refusal_is_used,
        test_every_option_of_the_proxy_is_in_the_manual,
        test_every_option_of_the_client_is_in_the_manual,
        test_the_manual_has_the_members_that_commands_take,
        test_what_the_page_on_safety_names_is_there,
    ]))
