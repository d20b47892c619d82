# SPDX-License-Identifier: GPL-2.0-or-later
"""recording: what a real QEMU answered to a client's bytes, in a file (recording.txt).

Model: a case is (oob, input, {version: answers}); an answer is the reply as a dict.  Where the
versions agree, which is nearly everywhere, there is one list of answers, under "".

File: a line for each case, its columns separated by TABs and written as escaped.py says: the input,
then the answers, then @VERSION where the others answer otherwise.  "== oob" begins those of a
client that has negotiated oob.  An answer is a letter with the rest of a sentence that QEMU is
known for, or with all of it:

    C NAME    taken: there is no such command        J ...   JSON parse error, ...
    + ...     taken: the command refused             j ...   JSON ...
    +         taken: the command returned            Q ...   QMP input ...

or "=" and the number of one of the frequent answers, which "=" lists before the cases.  Behind it
may come "#ID", the id of the reply as JSON, and "xN" when there are N alike in a row.  After each
input comes 0xFF, which QEMU answers as well.  That last answer is left out where it is the usual
one, of a stream that is between two tokens; "!" says that it is not.
"""

import collections
import itertools
import json
import os

from escaped import escape, read_lines, unescape

PATH = os.path.join(os.path.dirname(os.path.abspath(__file__)), "recording.txt")
NOT_FOUND = "The command {} has not been found"
OPENINGS = [("J", "JSON parse error, "), ("j", "JSON "), ("Q", "QMP input "), ("+", "")]
END = {"error": {"class": "GenericError", "desc": "JSON parse error, stray '\ufffd'"}}
FREQUENT = 15       # an answer that is there so often has a number


def _text(answer):
    """An answer without its id."""
    error = answer.get("error")
    if error is None:
        return "+"
    if error["class"] == "CommandNotFound":
        before, after = NOT_FOUND.split("{}")
        desc = error["desc"]
        if not (desc.startswith(before) and desc.endswith(after)):
            raise ValueError(f"not QEMU's words: {desc!r}")
        return escape(("C " + desc[len(before):-len(after)]).encode())
    if error["class"] != "GenericError":
        raise ValueError(f"unknown class in {answer}")
    letter, opening = next(pair for pair in OPENINGS if error["desc"].startswith(pair[1]))
    return escape(f"{letter} {error['desc'][len(opening):]}".encode())


def _answer(text):
    letter, _, rest = unescape(text).decode().partition(" ")
    if text == "+":
        return {"return": {}}
    if letter == "C":
        return {"error": {"class": "CommandNotFound", "desc": NOT_FOUND.format(rest)}}
    return {"error": {"class": "GenericError", "desc": dict(OPENINGS)[letter] + rest}}


def _write_case(data, answers, version, numbers):
    usual = bool(answers) and answers[-1] == END
    columns = [escape(data)]
    for answer, alike in itertools.groupby(answers[:-1] if usual else answers):
        text = _text(answer)
        columns.append(f"={numbers[text]}" if text in numbers else text)
        if "id" in answer:
            columns.append("#" + escape(json.dumps(answer["id"]).encode()))
        count = len(list(alike))
        columns += [f"x{count}"] if count > 1 else []
    return "\t".join(columns + ([] if usual else ["!"]) + (["@" + version] if version else []))


def _read_case(line, frequent):
    first, *columns = line.split("\t")
    answers, version, usual = [], "", True
    for column in columns:
        if column.startswith("@"):
            version = column[1:]
        elif column == "!":
            usual = False
        elif column.startswith("#"):
            answers[-1]["id"] = json.loads(unescape(column[1:]))
        elif column.startswith("x"):
            answers += [answers[-1]] * (int(column[1:]) - 1)
        else:
            answers.append(_answer(frequent[int(column[1:])] if column.startswith("=") else column))
    return unescape(first), version, answers + ([END] if usual else [])


def write(path, cases, comment):
    """Writes a file of cases, those without oob first."""
    counts = collections.Counter(_text(answer) for _, _, answers in cases
                                 for theirs in answers.values() for answer in theirs)
    frequent = [text for text, count in counts.most_common() if count >= FREQUENT and len(text) > 2]
    numbers = {text: number for number, text in enumerate(frequent)}
    with open(path, "w", encoding="ascii") as file:
        file.write("# SPDX-License-Identifier: GPL-2.0-or-later\n")
        for line in comment:
            file.write(f"# {line}\n")
        for text in frequent:
            file.write(f"=\t{text}\n")
        for wanted in (False, True):
            file.write("== oob\n" if wanted else "== no oob\n")
            for oob, data, answers in cases:
                if oob == wanted:
                    for version, theirs in answers.items():
                        file.write(_write_case(data, theirs, version, numbers) + "\n")


def read(path=PATH):
    """The cases of a file."""
    cases, oob, frequent = {}, None, []
    for line in read_lines(path):
        if line.startswith("== "):
            oob = line == "== oob"
        elif oob is None:
            frequent.append(line.split("\t")[1])
        else:
            data, version, answers = _read_case(line, frequent)
            cases.setdefault((oob, data), {})[version] = answers
    return [(oob, data, answers) for (oob, data), answers in cases.items()]
