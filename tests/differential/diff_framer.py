#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Does the framer answer a client's bytes as QEMU does?

Plays hand-made and seeded random inputs to a real QEMU and to framer_dump, and compares number,
order and text of the answers.  After each input comes 0xFF, which resets both, and a command that
says where the answers to the next input begin.  Prints TAP.
"""

import argparse
import json
import os
import random
import shlex
import socket
import subprocess
import sys
import tempfile
import time

import inputs

# Answers that depend on the command and not on the message that it came in.
NOT_COMMAND = ("JSON ", "QMP input ")


class Qemu:
    """A QEMU without a machine, and one connection to its monitor."""

    def __init__(self, command, folder, oob):
        self.path = os.path.join(folder, "qmp.sock")
        self.process = subprocess.Popen(
            shlex.split(command) + ["-machine", "none", "-display", "none", "-nodefaults",
                                    "-qmp", f"unix:{self.path},server=on,wait=off"],
            stdin=subprocess.DEVNULL)
        try:
            self.sock = self.connect()
            self.lines = self.sock.makefile("rb")
            self.version = self.greeting()["version"]["qemu"]
            enable = {"enable": ["oob"]} if oob else {}
            self.sock.sendall(json.dumps({"execute": "qmp_capabilities",
                                          "arguments": enable}).encode())
            self.lines.readline()
        except BaseException:
            self.process.kill()
            self.process.wait()
            raise

    def greeting(self):
        """QEMU has been seen to say something else first, on a machine that was very busy."""
        while True:
            line = self.lines.readline()
            if not line:
                raise RuntimeError("QEMU closed the connection without a greeting")
            if "QMP" in (said := loads(line)):
                return said["QMP"]
            print(f"before its greeting QEMU said {line!r}", file=sys.stderr)

    def connect(self):
        deadline = time.monotonic() + 30
        while True:
            sock = socket.socket(socket.AF_UNIX)
            try:
                sock.connect(self.path)
                sock.settimeout(1800)
                return sock
            except OSError:
                sock.close()
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.01)

    def answers(self, data, i):
        self.sock.sendall(data + sync(i))
        found = []
        while True:
            line = self.lines.readline()
            if not line:
                raise RuntimeError("QEMU closed the connection")
            answer = loads(line)
            if "event" in answer:
                continue
            if answer.get("id") == f"sync-{i}":
                return found
            found.append(answer)

    def close(self):
        self.sock.close()
        self.process.kill()
        self.process.wait()


def loads(line):
    # QEMU prints what is too large for a double as inf, which is no JSON.
    text = line.decode("utf-8").replace('"id": inf', '"id": 1e999').replace(
        '"id": -inf', '"id": -1e999')
    return json.loads(text, parse_int=number)


def number(digits):
    """QEMU has int64 and uint64, and makes a double of what is beyond."""
    exact = int(digits)
    return exact if -(1 << 63) <= exact < 1 << 64 else float(digits)


def sync(i):
    return b'\xff\n{"execute":"query-name","id":"sync-%d"}\n' % i


def dump(program, data, oob, chunk):
    command = [program] + (["--oob"] if oob else []) + ["--chunk", str(chunk)]
    output = subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True).stdout
    return [loads(line) for line in output.splitlines()]


def split(answers, count):
    """The framer's answers, one list for each input."""
    parts, part = [], []
    for answer in answers:
        if "command" in answer and answer.get("id") == f"sync-{len(parts)}":
            parts.append(part)
            part = []
        else:
            part.append(answer)
    assert not part and len(parts) == count, "the framer lost a command between two inputs"
    return parts


def same_text(a, b):
    # A sentence of ours is cut earlier than QEMU's.
    return a == b or (len(b.encode()) > 960 and a.encode()[:850] == b.encode()[:850])


def same(ours, theirs):
    """Is the answer of QEMU the one that the framer tells?"""
    if ("id" in ours) != ("id" in theirs) or ours.get("id") != theirs.get("id"):
        return False
    error = theirs.get("error")
    if "error" in ours:
        return (error is not None and error["class"] == ours["error"]["class"]
                and same_text(ours["error"]["desc"], error["desc"]))
    if error is None:
        return True
    if error["class"] == "CommandNotFound" and "already complete" not in error["desc"]:
        return error["desc"] == f"The command {ours['command']} has not been found"
    return not error["desc"].startswith(NOT_COMMAND)


def equal(ours, theirs, oob):
    if len(ours) != len(theirs):
        return False
    if not oob:
        return all(same(a, b) for a, b in zip(ours, theirs))
    # exec-oob overtakes, so only the answers count and not their order.
    rest = list(theirs)
    for a in ours:
        match = next((b for b in rest if same(a, b)), None)
        if match is None:
            return False
        rest.remove(match)
    return True


def compare(name, cases, options, oob, chunk):
    """Runs the cases on one QEMU; returns what differs."""
    data = b"".join(case + sync(i) for i, case in enumerate(cases))
    ours = split(dump(options.dump, data, oob, chunk), len(cases))
    with tempfile.TemporaryDirectory() as folder:
        qemu = Qemu(options.qemu, folder, oob)
        try:
            version = "{major}.{minor}.{micro}".format(**qemu.version)
            different = []
            for i, case in enumerate(cases):
                theirs = qemu.answers(case, i)
                if not equal(ours[i], theirs, oob):
                    different.append((case, ours[i], theirs))
        finally:
            qemu.close()
    return f"{name}: {len(cases)} inputs as QEMU {version} has them", different


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--qemu", default="qemu-system-x86_64", help="program, with options")
    parser.add_argument("--dump", default=os.path.join(here, "framer_dump"))
    parser.add_argument("--count", type=int, default=300, help="random inputs of each kind")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--large", action="store_true", help="also the limits that take minutes")
    options = parser.parse_args()
    sys.setrecursionlimit(10000)

    rng = random.Random(options.seed)
    groups = [(name, make(rng, options.count), oob, chunk)
              for name, make, oob, chunk in inputs.GROUPS]
    if options.large:
        groups.append(("large", inputs.large(), False, 65536))
    print(f"1..{len(groups)}")
    failed = 0
    for number, (name, cases, oob, chunk) in enumerate(groups, 1):
        title, different = compare(name, cases, options, oob, chunk)
        print(f"{'not ok' if different else 'ok'} {number} - {title}", flush=True)
        failed += bool(different)
        for case, ours, theirs in different[:5]:
            print(f"# input {case[:300]!r}\n#   ours {ours[:4]!r}\n#   QEMU {theirs[:4]!r}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
