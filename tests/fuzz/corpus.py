#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The seeds of the fuzz targets, kept as a few files of escaped text in corpus/:

  transcript-VERSION.txt  a QMP session with a real QEMU, "> " what went up, "< " what came down
  garbage.txt             what is wrong in the ways that tests/qemu/test_relay.py plays
  TARGET.txt              inputs that libFuzzer found, each of which reaches code that no other does

The fixed inputs of tests/differential/inputs.py come with them.

corpus.py expand TARGET FOLDER: writes them as libFuzzer takes them, a file each.
corpus.py keep TARGET FOLDER: makes TARGET.txt of a folder that libFuzzer has merged (-merge=1).
corpus.py garbage: makes garbage.txt.
"""

import ast
import hashlib
import random
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
CORPUS = HERE / "corpus"
TARGETS = ("framer", "request", "reply", "schema")
sys.path.insert(0, str(HERE.parent / "differential"))

# pylint: disable=wrong-import-position
import inputs  # noqa: E402
from escaped import escape, read_lines, unescape  # noqa: E402

SPDX = "# SPDX-License-Identifier: GPL-2.0-or-later\n"
# The bytes before the text that choose limits and cuts (fuzz_framer.c), or the kind of list.
FRAMER_MODES = (b"\x00\x00", b"\x00\x40", b"\xf0\x03")
KEEP_BYTES = 30000
KEEP_INPUT = 300


def _lines(name):
    path = CORPUS / name
    return [unescape(line) for line in read_lines(path)] if path.exists() else []


def garbage():
    return _lines("garbage.txt")


def found(target, bare=False):
    """What libFuzzer found; bare: without the bytes of a mode."""
    return [data[2:] if bare else data for data in _lines(f"{target}.txt")]


def transcript(direction):
    """Messages of all sessions, ">" requests or "<" replies."""
    messages = []
    for path in sorted(CORPUS.glob("transcript-*.txt")):
        messages += [unescape(line[2:]) for line in read_lines(path)
                     if line.startswith(direction + " ")]
    if not messages:
        raise SystemExit(f"no transcript in {CORPUS}")
    return list(dict.fromkeys(messages))


def fixed():
    return inputs.hand_made(None, 0) + garbage()


def streams():
    requests = transcript(">")
    rng = random.Random(1)
    joined = [b"\r\n".join(rng.sample(requests, 3)) for _ in range(20)]
    joined += [rng.choice(fixed()) + rng.choice(requests) for _ in range(40)]
    for i, data in enumerate(fixed() + requests + joined + transcript("<")):
        yield FRAMER_MODES[i % len(FRAMER_MODES)] + data


def replies():
    ids = (b"", b'"x"', b"1", b"'a\"b'", b'"' + b"\xc0\x80" * 9 + b'"', b'{"b":[1.0,null]}',
           b'"\\u0000"')
    for i, data in enumerate(transcript("<") + garbage()):
        own = ids[i % len(ids)]
        yield bytes([len(own)]) + own + data


def lists():
    """The entries of QEMU's own lists, a few at a time; and that of no entry."""
    entries = [b'{"name": "a"}', b'{"name": "snapshot-create"}', b'{"name":"query-snapshots"}',
               b'{"name": "snapshot-delete", "ret-type": "0", "meta-type": "command"}',
               b'{"name": "[str]", "element-type": "str", "meta-type": "array"}',
               b'{"name": "SnapshotInfo", "members": [], "meta-type": "object"}', b"{}", b"[]",
               b'{"json-type": "string", "name": "str", "meta-type": "builtin"}', b'"x"']
    for data in transcript("<"):
        if data.startswith(b'{"return": [{'):
            entries.append(data[len(b'{"return": ['):data.rindex(b"]")])
    for i, entry in enumerate(entries):
        yield b"\x00[" + entry + b"]"
        yield b"\x01[" + entry + b", " + entries[i - 1] + b"]"
    yield from (b"\x00[]", b"\x01[]", b"\x01{}", b"\x00[1]")


def seeds(target):
    made = {"framer": streams, "reply": replies, "schema": lists,
            "request": lambda: fixed() + transcript(">")}[target]
    return list(dict.fromkeys(found(target) + list(made())))


def expand(target, folder):
    for data in seeds(target):
        (Path(folder) / hashlib.sha1(data).hexdigest()).write_bytes(data)


def keep(target, folder):
    """The shortest first: what a long input alone reaches is not worth its room."""
    known = set(seeds(target)) - set(found(target))
    texts = sorted((escape(path.read_bytes()) for path in Path(folder).iterdir()
                    if path.stat().st_size <= KEEP_INPUT and path.read_bytes() not in known),
                   key=lambda text: (len(text), text))
    kept, size = [], 0
    for text in texts:
        size += len(text) + 1
        if text and size <= KEEP_BYTES:
            kept.append(text)
    (CORPUS / f"{target}.txt").write_text(
        SPDX + f"# Found by fuzz_{target}: corpus.py keep.\n" + "".join(f"{t}\n" for t in kept),
        encoding="ascii")


def collect_garbage():
    """The texts that the test plays, wherever it has a name for them."""
    tree = ast.parse((HERE.parent / "qemu" / "test_relay.py").read_text(encoding="utf-8"))
    texts = [node.value for node in ast.walk(tree)
             if isinstance(node, ast.Constant) and isinstance(node.value, bytes)]
    for node in ast.walk(tree):     # b"{" * 1100
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult) and isinstance(
                node.left, ast.Constant) and isinstance(node.left.value, bytes):
            texts.append(node.left.value * min(node.right.value, 1100))
    texts = [text for text in dict.fromkeys(texts) if text and b"%d" not in text]
    (CORPUS / "garbage.txt").write_text(
        SPDX + "# What test_relay.py plays: corpus.py garbage.\n"
        + "".join(escape(text) + "\n" for text in texts), encoding="ascii")


def main(arguments):
    if arguments == ["garbage"]:
        collect_garbage()
    elif len(arguments) == 3 and arguments[0] in ("expand", "keep") and arguments[1] in TARGETS:
        {"expand": expand, "keep": keep}[arguments[0]](*arguments[1:])
    else:
        sys.exit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
