# SPDX-License-Identifier: GPL-2.0-or-later
"""torn: what a power cut may leave of what a program has written.

Model: a Recording is what tests/lib/iorecord.c wrote down of a proxy: its calls on files, one after the
other, and marks that the test put in between.  A Disk plays them, and knows behind each call what is
certain to be on the disk, and what is not:

    a file's data       only what was in it at its last fsync.  Else: none of it (length 0), what was
                        there before, the first half, zeros of the whole length, all of it
    a name in a folder  made, moved, removed: only before the folder's last fsync.  Else each of these
                        changes may have reached the disk or not, whatever their order

A file whose data others write (QEMU, qemu-img) is whole from its first fsync on.

Rule: a View is one such outcome.  views() gives all of them; where more than LOOSE changes are open it
leaves out combinations, never a change: all, none, each first n, each without one, each alone.
"""

import itertools
import os
import subprocess
from pathlib import Path

from scene import harness

SOURCE = Path(__file__).resolve().parent.parent / "lib" / "iorecord.c"
LOOSE = 7


class Recorder:
    """Give start(env=recorder.env)."""

    def __init__(self, t, program="qmp-proxy"):
        self.path, library = t.path("recording"), t.path("iorecord.so")
        try:
            done = subprocess.run(["gcc", "-O1", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl",
                                   "-lpthread"], capture_output=True, text=True, check=False)
        except OSError as error:
            raise harness.Skip(f"no gcc: {error}") from None
        assert done.returncode == 0, done.stderr
        self.env = {"LD_PRELOAD": str(library), "IORECORD": str(self.path),
                    "IORECORD_PROGRAM": program, "ASAN_OPTIONS": "verify_asan_link_order=0"}

    def mark(self, text):
        with open(self.path, "ab", buffering=0) as file:
            file.write(f"mark\t0\t0\t{text}\t\t0\n\n".encode())

    def calls(self):
        """[(name, errno, inode, path, path, data or length)]"""
        data, at, found = self.path.read_bytes(), 0, []
        while at < len(data):
            end = data.index(b"\n", at)
            name, error, inode, a, b, length = data[at:end].decode().split("\t")
            length, at = int(length), end + 1
            what = length
            if name in ("write", "log"):
                what, at = data[at:at + length], at + length
            assert data[at:at + 1] == b"\n", f"a broken recording at {at}"
            at += 1
            found.append((name, int(error), int(inode), a, b, what))
        return found


class File:
    """One that the program made, or (old) that was there before."""

    def __init__(self, old=False):
        self.data, self.safe, self.synced = b"", None, old
        self.ours = False                       # the program itself has written to it

    def write(self, data):
        self.data, self.ours, self.synced = self.data + data, True, False

    def sync(self):
        self.safe, self.synced = self.data, True

    def outcomes(self):
        """What it may hold."""
        if self.synced or not self.ours:
            return [self.data]
        return list(dict.fromkeys([b"", self.safe or b"", self.data[:len(self.data) // 2],
                                   bytes(len(self.data)), self.data]))


class Disk:
    """names: {path: File, or "folder"} that is certain; loose: [(folder, [(path, File or None)])], a
    change each."""

    def __init__(self, folders):
        """folders: those that were there before."""
        self.names, self.live, self.loose, self.files = {}, {}, [], {}
        self.folders = {os.stat(folder).st_ino: str(folder) for folder in folders}
        for folder in folders:
            for path in Path(folder).iterdir():
                if path.is_file():
                    self.names[str(path)] = self.live[str(path)] = File(old=True)

    def _change(self, path, changes):
        for name, file in changes:
            self.live[name] = file
        self.loose.append((os.path.dirname(path), changes))

    def play(self, call):
        name, error, inode, a, b, what = call
        if error:
            return
        if name == "create":
            self.files[inode] = File()
            self._change(a, [(a, self.files[inode])])
        elif name == "mkdir":
            self.folders[inode] = a
            self._change(a, [(a, "folder")])
        elif name in ("unlink", "rmdir", "rename") and not self.live.get(a):
            pass                                    # a socket
        elif name in ("unlink", "rmdir"):
            self._change(a, [(a, None)])
        elif name == "rename":
            self._change(b, [(a, None), (b, self.live[a])])
        elif name == "exchange":
            self._change(b, [(a, self.live[b]), (b, self.live[a])])
        elif name == "write" and inode in self.files:
            self.files[inode].write(what)
        elif name == "syncdir" and inode in self.folders:
            for folder, changes in self.loose:
                if folder == self.folders[inode]:
                    self.names.update(changes)
            self.loose = [loose for loose in self.loose if loose[0] != self.folders[inode]]
        elif name == "sync" and self.live.get(a):
            self.live[a].sync()
        elif name == "sync" and not a.endswith(" (deleted)"):
            self.files[inode] = File(old=True)      # others have made it
            self._change(a, [(a, self.files[inode])])

    def choices(self):
        """The sets of loose changes that have reached the disk, as tuples of indices."""
        n = len(self.loose)
        if n <= LOOSE:
            return [chosen for k in range(n + 1) for chosen in itertools.combinations(range(n), k)]
        everything = tuple(range(n))
        few = [everything[:k] for k in range(n + 1)] + [(k,) for k in everything]
        return list(dict.fromkeys(few + [everything[:k] + everything[k + 1:] for k in everything]))

    def views(self):
        """Every outcome: a View each."""
        for chosen in self.choices():
            names = dict(self.names)
            for i in chosen:
                names.update(self.loose[i][1])
            yield View({path: file for path, file in names.items() if file is not None})


class View:
    """What is found behind a power cut, but for what of the data is not certain."""

    def __init__(self, names):
        self.names = names

    def there(self, path, folders):
        """The File of that name; None when it, or a folder above it that the program has made, is
        not there."""
        parent = os.path.dirname(path)
        while parent in folders:
            if parent not in self.names:
                return None
            parent = os.path.dirname(parent)
        return self.names.get(path)
