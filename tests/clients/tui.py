# SPDX-License-Identifier: GPL-2.0-or-later
"""tui: starts qmp-tui on a terminal of its own and looks at its screen: tui.py SOCKET

It shows the greeting, its own qmp_capabilities, the reply, and that it is connected.
"""

import fcntl
import importlib.util
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time

SHOWN = [rb'"version"', rb'"qmp_capabilities"', rb'"return"', rb"Connected"]


class Screen:
    """What the program wrote, without the terminal's own codes."""

    def __init__(self, fd):
        self.fd = fd
        self.seen = b""

    def wait(self, pattern, seconds=15):
        end = time.monotonic() + seconds
        while not re.search(pattern, self.seen) and time.monotonic() < end:
            if select.select([self.fd], [], [], 0.2)[0]:
                try:
                    data = os.read(self.fd, 65536)
                except OSError:
                    break
                # Without what moves the cursor and sets colours.
                self.seen += re.sub(rb"\x1b[\[(][0-9;?]*[A-Za-z]|[\x00-\x09\x0b-\x1f]", b"", data)
        if re.search(pattern, self.seen):
            return True
        sys.stderr.write(f"not shown: {pattern!r} in {self.seen[-500:]!r}\n")
        return False


def main():
    for name in ("urwid", "urwid_readline", "pygments"):
        if importlib.util.find_spec(name) is None:
            print(f"not installed ({name})")
            return 77
    pid, fd = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm", LINES="50", COLUMNS="150")
        os.execvp(sys.executable, [sys.executable, "-c",
                                   "from qemu.qmp.qmp_tui import main; main()", sys.argv[1]])
    try:
        fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 150, 0, 0))
        screen = Screen(fd)
        ok = True
        for word in SHOWN:
            shown = screen.wait(word)
            print(word, shown, flush=True)
            ok = ok and shown
    finally:
        os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)
        os.close(fd)
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
