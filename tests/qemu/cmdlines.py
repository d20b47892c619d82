# SPDX-License-Identifier: GPL-2.0-or-later
"""cmdlines: the corpus of tests/data/cmdlines (its format: tests/unit/cmdlines_file.h), and its
lines made such that they can be started in a test's folder.

Model: a Line is an entry of the corpus.  A Here is a Line for one folder: `words` with images,
sockets and logs in the folder, free ports, the BIOS's disk instead of a kernel, and TCG; `listens`:
the addresses at which it is then heard, each with a regular expression for what comes from there, or
None where whoever comes stops the guest.
"""

import json
import re
import shlex
import socket
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "lib"))

# pylint: disable=wrong-import-position
import oracle
import vm

CORPUS = Path(__file__).resolve().parent.parent / "data" / "cmdlines"
# Options without a value, as far as lines that start here have them.
FLAGS = {"S", "s", "nographic", "no-reboot", "no-shutdown", "usb", "nodefaults", "no-user-config",
         "daemonize", "enable-kvm", "only-migratable"}
LEFT_OUT = {"kernel", "initrd", "append", "enable-kvm", "accel", "cpu", "daemonize"}
SHORT = {"hda", "hdb", "hdc", "hdd", "cdrom", "fda", "fdb", "sd", "pflash"}
BASES = {"top.qcow2": "base.img", "clone.qcow2": "template.img"}
FLOPPY, DISK = 1474560, oracle.SIZE
VNC_BASE = 5900


class Line:
    """name, kind, words (without the program), late (commands), start (what comes of it, or None)."""

    def __init__(self, name, fields):
        self.name, self.kind = name, fields["kind"][0]
        self.words = shlex.split(fields["line"][0])[1:]
        self.late = [json.loads(text) for text in fields.get("late", ())]
        self.start = fields.get("start", [None])[0]

    def options(self):
        """[(name or None, value or None)]"""
        words, found = list(self.words), []
        while words:
            word = words.pop(0)
            if not word.startswith("-"):
                found.append((None, word))
            elif word.lstrip("-") in FLAGS:
                found.append((word.lstrip("-"), None))
            else:
                found.append((word.lstrip("-"), words.pop(0)))
        return found


def load():
    """All entries, in order."""
    lines, last = [], None
    for path in sorted(CORPUS.glob("*.txt")):
        for text in path.read_text().splitlines():
            if text.startswith("["):
                lines.append((text.strip("[]"), {}))
            elif text.startswith(" "):
                last[-1] += " " + text.strip()
            elif text and not text.startswith("#"):
                word, rest = text.split(maxsplit=1)
                last = lines[-1][1].setdefault(word, [])
                last.append(rest)
    return [Line(name, fields) for name, fields in lines]


def free_port(above=1024):
    """A TCP port of the loopback that was free a moment ago."""
    while True:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            if sock.getsockname()[1] > above:
                return sock.getsockname()[1]


def split(text):
    """[[key, value]] of "key=value,key=value"; a word alone has the value None."""
    items = re.findall(r"((?:[^,]|,,)+)", text)
    return [[part.replace(",,", ",") for part in item.split("=", 1)] if "=" in item
            else [item.replace(",,", ","), None] for item in items]


def join(items):
    return ",".join(key.replace(",", ",,") if value is None
                    else f"{key}={value.replace(',', ',,')}" for key, value in items)


class Here:
    def __init__(self, line, folder):
        self.folder, self.listens, self.words, self.made = Path(folder), [], [], 0
        self.debugger = {value for name, value in line.options() if name == "gdb"}
        fixed = any(name == "object" and "memory-backend" in value for name, value in line.options())
        for name, value in line.options():
            if name in LEFT_OUT:
                continue
            if name == "m" and not fixed:
                value = "64"
            if name == "runas" and vm.qemu_version() >= (10,):
                name, value = "run-with", f"user={value}"
            if name == "s":
                name, value = "gdb", "tcp::1234"
            self.words += [f"-{name}"] if name else []
            if value is not None:
                self.words.append(self._value(name, value))
        self.words += ["-accel", "tcg"]

    def _value(self, name, value):
        if name in SHORT or name is None:
            return str(self._image(value, FLOPPY if name in ("fda", "fdb") else DISK))
        if name == "drive":
            return self._drive(value)
        if name == "blockdev":
            return self._blockdev(value)
        if name in ("M", "machine"):
            items = [item for item in split(value) if item[0] != "accel"]
            return join(items) or "pc"
        return self._places(name, value)

    # ---- images

    def _image(self, given, size=DISK):
        """Makes the image; its path.  The first has the guest on it."""
        path = self.folder / Path(given).name if given.startswith("/") else self.folder / given
        path.parent.mkdir(exist_ok=True)
        if path.exists():
            return path if given.startswith("/") else given
        fmt = "qcow2" if path.suffix == ".qcow2" or "qcow2" in given else "raw"
        base = BASES.get(path.name)
        if base:
            self._image("/" + base)
            oracle.qemu_img("create", "-q", "-f", fmt, "-F", "raw", "-b", self.folder / base, path)
        elif self.made or size == FLOPPY:
            oracle.qemu_img("create", "-q", "-f", fmt, path, size)
        else:
            oracle.qemu_img("convert", "-f", "raw", "-O", fmt, oracle.boot_image(), path)
        self.made += 1
        return path if given.startswith("/") else given

    def _drive(self, value):
        items = split(value)
        size = FLOPPY if ["if", "floppy"] in items else DISK
        for item in items:
            if item[0] in ("file", "file.filename"):
                if item[1].startswith("json:"):
                    item[1] = "json:" + self._blockdev(item[1].removeprefix("json:"))
                else:
                    item[1] = str(self._image(item[1], size))
        return join(items)

    def _blockdev(self, value):
        if value.startswith("{"):
            options = json.loads(value)
            self._filenames(options)
            return json.dumps(options)
        items = split(value)
        for item in items:
            if item[0].rsplit(".", 1)[-1] == "filename":
                item[1] = str(self._image(item[1]))
        return join(items)

    def _filenames(self, options):
        """Below first, so that an overlay finds its base."""
        for key, value in options.items():
            if isinstance(value, dict):
                self._filenames(value)
            elif key == "filename":
                options[key] = str(self._image(value))

    # ---- sockets, ports, files

    def _places(self, name, value):
        value = re.sub(r"(?<![\w./])/(?:tmp|run|var|home|srv)/[\w./-]+",
                       lambda found: str(self.folder / Path(found[0]).name), value)
        if name == "vnc":
            value = re.sub(r"^([\d.]*):(\d+)", self._display, value)
            self._unix(r"^unix:([^,]+)", value, rb"RFB 003\.\d{3}\n")
        elif name in ("netdev", "nic", "net"):
            value = re.sub(r"((?:=|\")(?:tcp|udp):[\d.]*:)(\d+)(-:|-[\d.]+:)", self._forward, value)
        elif name == "gdb" and value.startswith("tcp:"):
            value = re.sub(r"(tcp:)()\S*", self._debugger, value)
        elif name in ("serial", "chardev", "monitor", "qmp"):
            value = re.sub(r"((?:telnet|tcp|udp):[\w.]*:|localport=|port=|@[\d.]*:)(\d+)", self._port,
                           value)
            if re.search(r"server(?!=off)", value):
                ident = re.search(r"\bid=([^,]+)", value)
                stops = ident and f"chardev:{ident[1]}" in self.debugger
                self._unix(r"(?:unix:|path=)([^,]+)", value, None if stops else b"")
        return value

    def _unix(self, pattern, value, want=b""):
        for path in re.findall(pattern, value):
            self.listens.append((f"unix:{self.folder / path}", want))

    def _display(self, found):
        port = free_port(VNC_BASE)
        self.listens.append((f"tcp:127.0.0.1:{port}", rb"RFB 003\.\d{3}\n"))
        return f"{found[1]}:{port - VNC_BASE}"

    def _forward(self, found):
        port = free_port()
        if "tcp" in found[1]:
            self.listens.append((f"tcp:127.0.0.1:{port}", b""))
        return f"{found[1]}{port}{found[3]}"

    def _debugger(self, _found):
        port = free_port()
        self.listens.append((f"tcp:127.0.0.1:{port}", None))
        return f"tcp::{port}"

    def _port(self, found):
        port = free_port()
        if found[1].startswith(("telnet", "tcp")):
            self.listens.append((f"tcp:127.0.0.1:{port}", b""))
        return f"{found[1]}{port}"
