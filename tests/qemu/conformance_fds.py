# SPDX-License-Identifier: GPL-2.0-or-later
"""conformance_fds: the part of the session that passes descriptors, and what QEMU has open after
each step of it."""

import collections
import os
import re

from conformance_play import NEGOTIATE, OOB, Fd, Scene, Step
from conformance_script_vm import q, text

FILES = ("one", "two", "three")
Q = text("query-status")
ADD, SETS = text("add-fd"), q("query-fdsets")


def getfd(name, *files):
    return Step(Fd(text("getfd", fdname=name), *files))


def add_fd(number, *files, opaque=None):
    more = {} if opaque is None else {"opaque": opaque}
    return Step(Fd(text("add-fd", fdset_id=number, **more), *files))


def consumers(name):
    """Commands that look a name up."""
    # The first one of them goes on in the background when it finds it.
    return [q("migrate", uri="fd:" + name), q("netdev_add", type="socket", id="s0", fd=name),
            q("add_client", protocol="vnc", fdname=name), q("query-name"),
            q("dump-guest-memory", paging=False, protocol="fd:" + name),
            q("nbd-server-start", addr={"type": "fd", "data": {"str": name}}),
            q("chardev-add", id="fdc", backend={"type": "socket", "data": {
                "addr": {"type": "fd", "data": {"str": name}}, "server": False}})]


NAMES = [
    q("getfd", fdname="x"), getfd("x", "one"), q("closefd", fdname="x"), q("closefd", fdname="x"),
    getfd("x", "one"), getfd("x", "two"), getfd("y", "one"), q("closefd", fdname="x"),
    q("closefd", fdname="y"),
    getfd("1bad", "one"), q("getfd", fdname="x"), Step(Fd(text("getfd"), "one")),
    q("getfd", fdname="x"),
    q("closefd", fdname="x"), Step(Fd(b" ", "one"), text("getfd", fdname="x")),
    getfd("\u00e4 'x", "two"),
    q("closefd", fdname="\u00e4 'x"), q("closefd", fdname="x"), q("closefd"), getfd("", "one"),
    q("closefd", fdname=""),
    getfd("x", "one", "two", "three"), q("getfd", fdname="y"), q("closefd", fdname="x"),
    Step(Fd(b'{"execute":"getfd","arguments":{"fdname":"a\\u0000b"},"id":1}', "one")),
    q("closefd", fdname="a"),
    Step(b'{"execute":"closefd","arguments":{"fdname":"a\\u0000b"},"id":1}'),
    Step(Fd(b"{'execute':'getfd',"
         b"'arguments':{'fdname':'q'}}", "one")),
         Step(b'{"execute":"closefd","arguments":{"fdname":"\\u0071"},"id":1}'),
    Step(b"".join(text("closefd", fdname="x") for _ in range(9)), n=9),
]
SETS_STEPS = [
    q("add-fd"), SETS, add_fd(1, "one"), add_fd(1, "two", opaque="o\u00e4 \u0001"), SETS,
    add_fd(-1, "one"), q("add-fd"),
    Step(Fd(ADD, "three")), SETS, q("remove-fd", fdset_id=7), q("remove-fd", fdset_id=1, fd=9999),
    q("remove-fd"),
    # The descriptor may come before the command, ...
    Step(Fd(b" ", "one"), ADD), Step(Fd(b"\n", "two"), b" ", ADD), Step(Fd(Q, "two"), ADD, n=2),
    Step(Fd(b" ", "one"), Q, Q + Q, ADD, n=4), Step(Fd(b" ", "one"), Fd(b" ", "two"), ADD, ADD,
        n=2),
    Step(Fd(b"foo \xff", "one"), ADD, n=3), Step(Fd(text("no-such-command"), "one"), ADD, n=2),
    Step(Fd(b"{}", "two"), ADD, n=2), Step(Fd(b'{"execute":"add-fd","x":1}', "two"), ADD, n=2),
    # ... within it, ...
    *(Step(ADD[:at], Fd(ADD[at:], "three")) for at in (1, 9, len(ADD) // 2, len(ADD) - 1)),
    Step(ADD[:5], Fd(ADD[5:9], "one"), Fd(ADD[9:], "two")), Step(Fd(ADD[:5], "one"), ADD[5:]),
    # ... or too late: then it is the next one's.
    Step(ADD, 1, Fd(b" ", "one"), ADD, n=2), Step(ADD, Fd(b" ", "one"), ADD, n=2),
    Step(Fd(ADD, "one"), Fd(ADD, "two"), n=2), Step(Fd(ADD + ADD, "one", "two"), n=2),
    Step(Fd(Q + ADD, "two"), n=2), Step(Fd(ADD + Q, "three"), Q, n=3),
    Step(Fd(ADD, "one"), ADD, Fd(ADD, "two"), n=3),
    Step(Fd(ADD + ADD[:7], "one"), Fd(ADD[7:], "two"), n=2), SETS,
    q("blockdev-add", driver="file", node_name="inset", filename="/dev/fdset/1", read_only=True),
    q("query-named-block-nodes"), q("blockdev-del", node_name="inset"), SETS,
    q("remove-fd", fdset_id=1), SETS,
    Step(Fd(b" ", "one"), n=0), q("query-name"),     # and left behind
]
FD_SCENES = [
    Scene("fd names", NAMES), Scene("fd names, oob", NAMES, first=OOB),
    Scene("fd sets", SETS_STEPS),
    Scene("no fd of the client before", [Step(ADD), SETS]),
    Scene("fd before the negotiation", [Step(Fd(ADD, "one")), Step(NEGOTIATE + ADD, n=2)],
        first=b""),
    Scene("fd with the negotiation", [Step(Fd(NEGOTIATE, "one")), Step(ADD), SETS], first=b""),
    Scene("fd consumers", [step for name in ("x", "y") for step in (
        *(step for use in consumers(name)[1:] for step in (
            getfd(name, "one"), use, q("closefd", fdname=name))), *consumers(name))]),
]


def open_files(pids):
    """How often these processes have each of our files open: QEMU, and the proxy, where a
    descriptor waits for the command that takes it."""
    found = collections.Counter(_opened(pid, number) for pid in pids
                                for number in os.listdir(f"/proc/{pid}/fd"))
    return {name: found[name] for name in FILES}


def _opened(pid, number):
    try:
        return os.path.basename(os.readlink(f"/proc/{pid}/fd/{number}"))
    except FileNotFoundError:
        return "(closed)"


def with_names(line, pid):
    """The line, with the name of the file for a descriptor's number: numbers are QEMU's own."""
    return re.sub(rb'"fd": (\d+)', lambda match: b'"fd": "%s"' % _opened(pid,
        int(match[1])).encode(), line)
