# SPDX-License-Identifier: GPL-2.0-or-later
"""traffic: clients beside the one that a test works with, in threads, without end.

Model: each habit of HABITS is a thread that does one thing after the other: asks on a connection that
stays, comes and goes, hangs up in the middle of a command, sends nonsense.  An answer that no client
should get (an error to a query, silence) is kept in errors; a connection that ends is not, if the
test kills what answers (deaths).  pause() holds them where none has a connection open: what is
counted then (descriptors, memory) is the proxy's own.

Rule: nothing they do changes the VM.
"""

import json
import random
import socket
import threading
import time

from scene import harness, qmp

QUERIES = (("query-status", None), ("query-block", None), ("query-jobs", None),
           ("query-named-block-nodes", {"flat": True}), ("query-snapshots", None),
           ("query-version", None), ("query-block-jobs", None), ("query-name", None))
LARGE = (("query-qmp-schema", None), ("query-commands", None), ("qom-list-types", None))
NONSENSE = (b"foo bar baz\n", b'{"execute":\n', b'{"execute":"query-status","id":01}\n', b"\xff\xfe{]",
            b'{"execute":"no-such-command"}\n', b'{"execute":"cont","arguments":{"x":1}}\n')



class Traffic:
    """with Traffic(p): ...   done: how many things were done; slowest: seconds of a query."""

    def __init__(self, p, seed=1, deaths=False, pace=0.0, habits=None):
        self.address, self.deaths, self.pace = p.address, deaths, pace
        self.errors, self.done, self.slowest = [], 0, 0.0
        self._over, self._open = threading.Event(), threading.Event()
        self._open.set()
        self._lock, self._busy = threading.Condition(), 0
        self._threads = [threading.Thread(target=self._run, daemon=True,
                                          args=(getattr(self, name), random.Random(f"{seed} {name}")))
                         for name in habits or HABITS]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind, *_):
        self._over.set()
        self._open.set()
        for thread in self._threads:
            thread.join(30 * harness.SLOW)
        if not kind:
            self.check()

    def check(self):
        assert not self.errors, f"clients beside: {self.errors[:3]} ({len(self.errors)})"

    def pause(self):
        """Until resume() nobody has a connection."""
        self._open.clear()
        with self._lock:
            assert self._lock.wait_for(lambda: not self._busy, 60 * harness.SLOW), "a client hangs"

    def resume(self):
        self._open.set()

    def _run(self, habit, draw):
        while not self._over.is_set():
            self._open.wait()
            with self._lock:
                if not self._open.is_set():
                    continue
                self._busy += 1
            try:
                habit(draw)
                self.done += 1
            except (OSError, qmp.Closed) as error:
                if not self.deaths:
                    self.errors.append(f"{habit.__name__}: {error!r}")
                self._over.wait(0.05)       # not to beat on a socket that nobody serves
            except Exception as error:      # pylint: disable=broad-except
                self.errors.append(f"{habit.__name__}: {error!r}")
            finally:
                with self._lock:
                    self._busy -= 1
                    self._lock.notify_all()
            self._over.wait(self.pace * draw.random())

    # --- habits: one visit each

    def _ask(self, client, query):
        started = time.monotonic()
        client.command(*query)
        self.slowest = max(self.slowest, time.monotonic() - started)

    def stays(self, draw):
        """One connection for many questions, and the events between them."""
        with qmp.Client(self.address) as client:
            for _ in range(draw.randrange(5, 60)):
                if self._over.is_set() or not self._open.is_set():
                    return
                self._ask(client, draw.choice(QUERIES))
                client.events.clear()
                self._over.wait(self.pace * draw.random())

    def comes_and_goes(self, draw):
        """One connection for one question, or for none."""
        with qmp.Client(self.address, negotiate=draw.random() < 0.8) as client:
            if client.greeting:
                self._ask(client, draw.choice(QUERIES + LARGE))

    def hangs_up(self, draw):
        """In the middle of a command, or of its answer, or with many unanswered."""
        with qmp.Client(self.address) as client:
            text = b"".join(json.dumps({"execute": name, **({"arguments": args} if args else {})})
                            .encode() + b"\n" for name, args in draw.choices(QUERIES + LARGE, k=6))
            text = text[:draw.randrange(1, len(text))]
            client.send_raw(text)
            if draw.random() < 0.3:
                client.sock.shutdown(socket.SHUT_WR)
            if draw.random() < 0.3 and b"\n" in text:
                client.sock.recv(draw.choice((1, 100, 10000)))

    def talks_nonsense(self, draw):
        """Each is answered with an error, and what comes behind as always."""
        with qmp.Client(self.address) as client:
            client.send_raw(draw.choice(NONSENSE) + b"\xff\n")
            client.send("query-status", cid="behind")
            while (message := client.recv()).get("id") != "behind":
                if "return" in message:
                    raise AssertionError(f"nonsense was answered with {message}")


HABITS = ("stays", "comes_and_goes", "hangs_up", "talks_nonsense")
