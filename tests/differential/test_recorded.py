#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The framer and the checks of a request against QEMU's recorded answers (recording.txt): number,
order, text and id of the errors, and the names of the commands that are taken.  Needs no QEMU.

Environment: QMP_PROXY_BIN (framer_dump is in its build folder), and what harness.py reads.
"""

import os
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lib"))
sys.path.insert(0, str(HERE))

# pylint: disable=wrong-import-position
import diff_framer
import harness
import recording

sys.setrecursionlimit(10000)        # for ids that are nested as deep as QEMU takes
DUMP = Path(os.environ["QMP_PROXY_BIN"]).parent / "tests" / "differential" / "framer_dump"
CASES = recording.read()


def replay(test, oob, chunk):
    """Feeds all inputs, so many bytes at a time; compares with one version at least."""
    cases = [(data, answers) for its_oob, data, answers in CASES if its_oob == oob]
    stream = b"".join(data + diff_framer.sync(i) for i, (data, _) in enumerate(cases))
    ours = diff_framer.split(diff_framer.dump(str(DUMP), stream, oob, chunk), len(cases))
    wrong = [f"input {data[:200]!r}\n  ours {mine[:4]!r}\n  QEMU {answers!r:.600}"
             for mine, (data, answers) in zip(ours, cases)
             if not any(diff_framer.equal(mine, theirs, oob) for theirs in answers.values())]
    test.note(f"{len(cases)} inputs, {sum(map(len, ours))} answers")
    assert not wrong, f"{len(wrong)} are answered otherwise:\n" + "\n".join(wrong[:5])


def test_every_input_is_answered_as_qemu_did(test):
    replay(test, False, 65536)


def test_every_input_is_answered_as_qemu_did_when_it_comes_byte_by_byte(test):
    replay(test, False, 1)


def test_every_input_is_answered_as_qemu_did_when_it_comes_in_pieces(test):
    replay(test, False, 7)


def test_every_input_is_answered_as_qemu_did_with_oob(test):
    replay(test, True, 65536)
    replay(test, True, 3)


def test_the_recording_has_both_versions_and_something_of_everything(test):
    header = recording.PATH and Path(recording.PATH).read_text(encoding="ascii")[:400]
    assert re.search(r"QEMU 7\.2\.\d+ and 10\.0\.\d+ answer", header), header
    answers = [answer for _, _, by_version in CASES for theirs in by_version.values()
               for answer in theirs]
    counts = {
        "inputs": len(CASES),
        "with oob": sum(oob for oob, _, _ in CASES),
        "returned": sum("return" in answer for answer in answers),
        "taken by name": sum(answer.get("error", {}).get("class") == "CommandNotFound"
                             for answer in answers),
        "refused": sum(answer.get("error", {}).get("class") == "GenericError"
                       for answer in answers),
        "with an id": sum("id" in answer for answer in answers)}
    test.note(counts)
    # Less than that and the recording is not the one that record.py makes.
    for what, least in (("inputs", 4000), ("with oob", 200), ("returned", 10),
                        ("taken by name", 800), ("refused", 4000), ("with an id", 800)):
        assert counts[what] >= least, f"{what}: {counts[what]}"


if __name__ == "__main__":
    sys.exit(harness.run([test for name, test in list(globals().items())
                          if name.startswith("test_")], timeout=60))
