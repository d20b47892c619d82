# SPDX-License-Identifier: GPL-2.0-or-later
"""fake_proxy: something that answers QMP like a proxy, for tests of its clients.

Model: a thread that serves one connection after another; what it says is up to the test, and may be
changed between two commands.  It ends with the test.
"""

import json
import socket
import threading

GREETING = {"QMP": {"version": {"qemu": {"major": 7}, "package": ""}, "capabilities": []}}


def line(message):
    return json.dumps(message).encode() + b"\r\n"


class Fake:
    """A proxy that serves connections one after another.

    answer: what a command (not qmp_capabilities) returns, {"error": ...} for an error, or bytes to
    send as they are; before: bytes in front of that; hello: the greeting's bytes; piece: bytes at
    once.  requests holds the commands that came."""

    def __init__(self, test, answer=None, before=b"", hello=line(GREETING), piece=0, tcp=None,
                 path=None):
        self.answer, self.before, self.hello, self.piece = answer, before, hello, piece
        self.requests = []
        self.socket = socket.socket(socket.AF_INET if tcp else socket.AF_UNIX)
        # Ending is looked for between two waits: not every kernel wakes accept() at a shutdown.
        self.socket.settimeout(0.05)
        self.ending = False
        if tcp:
            self.socket.bind((tcp, 0))
            self.address = f"tcp:{tcp}:{self.socket.getsockname()[1]}"
        else:
            self.address = str(path or test.path("proxy.sock"))
            self.socket.bind(self.address)
        self.socket.listen()
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()
        test.cleanup(self._end)

    def _end(self):
        self.ending = True
        self.thread.join(30)
        self.socket.close()
        assert not self.thread.is_alive(), "the fake proxy still serves"

    def _serve(self):
        while not self.ending:
            try:
                peer = self.socket.accept()[0]
            except TimeoutError:
                continue
            with peer:
                peer.settimeout(20)
                try:
                    self.talk(peer)
                except OSError:     # the client went away: some tests want that
                    pass

    def talk(self, peer):
        peer.sendall(self.hello)
        for text in peer.makefile("rb"):
            request = json.loads(text)
            if request["execute"] == "qmp_capabilities":
                peer.sendall(line({"return": {}, "id": request["id"]}))
                continue
            self.requests.append(request)
            if isinstance(self.answer, bytes):
                reply = self.answer
            elif isinstance(self.answer, dict) and "error" in self.answer:
                reply = line({**self.answer, "id": request["id"]})
            else:
                reply = line({"return": self.answer, "id": request["id"]})
            data = self.before + reply
            step = self.piece or max(len(data), 1)
            for i in range(0, len(data), step):
                peer.sendall(data[i:i + step])
            if isinstance(self.answer, bytes):
                return
