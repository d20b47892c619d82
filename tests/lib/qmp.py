# SPDX-License-Identifier: GPL-2.0-or-later
"""qmp: a small QMP client for tests.  Blocking, with a time limit on everything.

Model: one connection.  command() sends, waits for the reply with its id, and puts the events that
come before it aside; wait_event() takes them from there.  The *_raw functions give the bytes as
they came, for tests of the relay itself.
"""

import array
import itertools
import json
import select
import socket
import time

from harness import SLOW


class QmpError(Exception):
    """An error reply: cls, desc, data ({} when there is none), reason (a word or None)."""

    def __init__(self, command, reply):
        error = reply["error"]
        self.command = command
        self.reply = reply
        self.cls = error.get("class")
        self.desc = error.get("desc")
        self.data = error.get("data", {})
        self.reason = self.data.get("reason")
        super().__init__(f"{command}: {self.cls}: {self.desc} {self.data or ''}")


class Closed(Exception):
    """The peer closed the connection; rest holds what came without a line end."""

    def __init__(self, rest=b""):
        self.rest = rest
        super().__init__("connection closed by the peer")


class Timeout(AssertionError):
    """Nothing of the kind came in time."""


def connect(address, timeout=10):
    """A connected socket.  address: "unix:PATH", a path, or "tcp:HOST:PORT"."""
    address = str(address).split(",", 1)[0]
    if address.startswith("tcp:"):
        host, port = address[4:].rsplit(":", 1)
        sock = socket.create_connection((host.strip("[]"), int(port)), timeout * SLOW)
    else:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(timeout * SLOW)
        try:
            sock.connect(address.removeprefix("unix:"))
        except OSError:
            sock.close()
            raise
    return sock


class Client:
    """negotiate=False leaves the connection before qmp_capabilities, greeting unread."""

    def __init__(self, address, timeout=10, negotiate=True, oob=False):
        self.timeout = timeout
        self.sock = connect(address, timeout)
        self.events = []
        self.greeting = None
        self._buffer = b""
        self._ids = itertools.count(1)
        if negotiate:
            try:
                self.negotiate(oob)
            except BaseException:
                self.close()
                raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.sock.close()

    def negotiate(self, oob=False):
        self.greeting = self.recv()
        if "QMP" not in self.greeting:
            raise AssertionError(f"no greeting: {self.greeting}")
        self.command("qmp_capabilities", {"enable": ["oob"]} if oob else None)

    # bytes

    def send_raw(self, data, fds=()):
        """Sends bytes; the descriptors travel with the first of them."""
        if isinstance(data, str):
            data = data.encode()
        self.sock.settimeout(self.timeout * SLOW)
        if fds:
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))
            sent = self.sock.sendmsg([data], [rights])
            data = data[sent:]
        if data:
            self.sock.sendall(data)

    def recv_raw(self, timeout=None):
        """The next line as it came, without its line end.  Raises Timeout or Closed."""
        end = time.monotonic() + (self.timeout if timeout is None else timeout) * SLOW
        while b"\n" not in self._buffer:
            # With nothing left to wait, one look all the same: what has arrived counts.
            ready, _, _ = select.select([self.sock], [], [], max(0, end - time.monotonic()))
            if not ready:
                raise Timeout(f"no message in time; so far {self._buffer[:200]!r}")
            try:
                data = self.sock.recv(1 << 20)
            except ConnectionResetError:
                data = b""
            if not data:
                raise Closed(self._buffer)
            self._buffer += data
        line, self._buffer = self._buffer.split(b"\n", 1)
        return line.rstrip(b"\r")

    def recv(self, timeout=None):
        """The next message as a dict, events included."""
        return json.loads(self.recv_raw(timeout))

    def closed(self, timeout=None):
        """Waits for the peer to close; whatever still comes is put aside if it is an event."""
        try:
            while True:
                self._keep(self.recv(timeout))
        except Closed:
            return True
        except Timeout:
            return False

    # commands

    def send(self, name, args=None, *, cid=None, fds=(), oob=False, **kwargs):
        """Sends a command, does not wait; its id.  Keywords: "_" becomes "-"."""
        message = {"exec-oob" if oob else "execute": name}
        arguments = dict(args or {})
        arguments.update({key.replace("_", "-"): value for key, value in kwargs.items()})
        if arguments:
            message["arguments"] = arguments
        message["id"] = f"t{next(self._ids)}" if cid is None else cid
        self.send_raw(json.dumps(message) + "\n", fds)
        return message["id"]

    def reply(self, cid, timeout=None):
        """The reply (a dict, error or return) to the command with this id."""
        end = time.monotonic() + (self.timeout if timeout is None else timeout) * SLOW
        while True:
            message = self.recv(max(0, end - time.monotonic()) / SLOW)
            if "event" not in message and message.get("id") == cid:
                return message
            self._keep(message)

    def command(self, name, args=None, *, timeout=None, fds=(), oob=False, **kwargs):
        """What the command returned; raises QmpError."""
        reply = self.reply(self.send(name, args, fds=fds, oob=oob, **kwargs), timeout)
        if "error" in reply:
            raise QmpError(name, reply)
        return reply["return"]

    def refused(self, name, args=None, *, timeout=None, **kwargs):
        """The QmpError of a command that must fail."""
        try:
            result = self.command(name, args, timeout=timeout, **kwargs)
        except QmpError as error:
            return error
        raise AssertionError(f"{name} {args or kwargs} was not refused but returned {result}")

    def hmp(self, line):
        return self.command("human-monitor-command", {"command-line": line})

    # events

    def _keep(self, message):
        if "event" in message:
            self.events.append(message)
        elif "QMP" not in message:
            raise AssertionError(f"reply to no command of ours: {message}")

    def drain(self):
        """Puts aside what has arrived; all events put aside so far."""
        try:
            while True:
                self._keep(self.recv(0))
        except (Timeout, Closed):
            pass
        return self.events

    def wait_event(self, want, timeout=None):
        """Takes the first event that matches: a name, or a function of the event."""
        matches = want if callable(want) else lambda event: event["event"] == want
        end = time.monotonic() + (self.timeout if timeout is None else timeout) * SLOW
        seen = 0
        while True:
            for position in range(seen, len(self.events)):
                if matches(self.events[position]):
                    return self.events.pop(position)
            seen = len(self.events)
            try:
                self._keep(self.recv(max(0, end - time.monotonic()) / SLOW))
            except (Timeout, Closed) as error:
                names = [event["event"] for event in self.events]
                raise Timeout(f"no event {want}: {error}; put aside: {names}") from None
