# SPDX-License-Identifier: GPL-2.0-or-later
r"""escaped: bytes as one line of ASCII text, for files of inputs and answers that people read.

Printable ASCII stands for itself, but for the backslash.  \\ \n \r \t \xHH are as in C; \<N:TEXT\>
is TEXT, N times, so that an input with a thousand brackets is short.  No text has a TAB, which may
therefore separate several in a line, and none begins with # or =: the former makes a comment, the
latter is a file's own.
"""

import re

SHORT = {0x5c: "\\\\", 0x0a: "\\n", 0x0d: "\\r", 0x09: "\\t"}
LONG = {short[1]: byte for byte, short in SHORT.items()}
# A unit of up to 8 bytes that is there so often that writing it once is shorter.
REPEATED = re.compile(rb"(.{1,8}?)\1{19,}", re.S)
TOKEN = re.compile(r"\\x([0-9a-f]{2})|\\<(\d+):|(\\>)|\\(.)|([^\\]+)", re.S)


def _plain(data):
    return "".join(SHORT.get(byte) or (chr(byte) if 0x20 <= byte < 0x7f else f"\\x{byte:02x}")
                   for byte in data)


def escape(data):
    out, at = [], 0
    for match in REPEATED.finditer(data):
        unit = match.group(1)
        out += [_plain(data[at:match.start()]),
                f"\\<{len(match.group()) // len(unit)}:{_plain(unit)}\\>"]
        at = match.end()
    text = "".join(out) + _plain(data[at:])
    return f"\\x{ord(text[0]):02x}" + text[1:] if text[:1] in ("#", "=") else text


def unescape(text):
    stack = [(1, bytearray())]
    end = 0
    for match in TOKEN.finditer(text):
        code, times, close, short, plain = match.groups()
        if match.start() != end:
            break
        if times:
            stack.append((int(times), bytearray()))
        elif close and len(stack) == 1:
            break
        elif close:
            count, unit = stack.pop()
            stack[-1][1].extend(unit * count)
        elif code:
            stack[-1][1].append(int(code, 16))
        elif short:
            stack[-1][1].append(LONG[short])
        else:
            stack[-1][1].extend(plain.encode("ascii"))
        end = match.end()
    if end != len(text) or len(stack) != 1:
        raise ValueError(f"not escaped text: {text!r}")
    return bytes(stack[0][1])


def read_lines(path):
    """The lines of a file that are no comment, without their ends."""
    with open(path, encoding="ascii") as file:
        return [line.rstrip("\n") for line in file if not line.startswith("#")]
