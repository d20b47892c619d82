# SPDX-License-Identifier: GPL-2.0-or-later
"""random_attempt: one command of the random driver (random_vm.py), and the fault that happens to it.

Model: run() sends the command on a connection of its own, and gives the reply, or None when nobody heard
one.  Behind it the proxy runs, whatever was killed meanwhile; what became of the command is for the driver
to find out.

Faults: "proxy", "qemu", "both" die (SIGKILL) behind a drawn step or after a drawn time, and the same
command line is given again; "second": the QEMU that a revert has started dies; "full": the file system
of the images is; "hangup": the client goes away behind its command; "cancel": it is cancelled.
"""

import json
import os
import signal
import time

import hostile
import scene
from scene import harness, qmp, vm

DEATHS = ("proxy", "qemu", "both")


class Attempt:
    """One command and the fault that happens to it."""

    def __init__(self, driver, draw, command, args, fault):
        self.driver, self.p, self.draw, self.fault = driver, driver.p, draw, fault
        self.command, self.args, self.reply = command, dict(args), None
        self.job = f"j{driver.number}" if fault == "cancel" else None

    def run(self):
        """The reply; None: it was not heard."""
        p = self.p
        filler = self.fill() if self.fault == "full" else None
        self.log = open(p.log, encoding="utf-8", errors="replace")
        self.log.seek(0, os.SEEK_END)
        self.client = qmp.Client(p.address)
        try:
            if self.job:
                return self.cancelled()
            self.sent = self.client.send(self.command, self.args)
            if self.fault == "hangup":
                time.sleep(self.draw.choice((0, 0, 0.01, 0.1)))    # at any moment
                return None
            if self.fault in DEATHS:
                self.moment()
                self.kill()
                return self.reply
            if self.fault == "second":
                self.kill_second()
            return self.reply or self.client.reply(self.sent, 40)
        finally:
            self.client.close()
            self.log.close()
            if filler:
                filler.unlink()
                if scene.status(p) in ("io-error", "paused"):
                    p.command("cont")

    def fill(self):
        """But for some bytes.  The guest may take a cluster between the look and the deed."""
        leave = self.draw.choice((0, 1 << 16, 1 << 18, 1 << 20))
        for more in range(0, 1 << 20, 1 << 17):
            try:
                return hostile.fill(self.driver.folder, leave + more)
            except OSError:
                continue
        raise AssertionError("cannot fill the file system")

    def over(self):
        try:
            self.reply = self.reply or self.client.reply(self.sent, 0)
        except (qmp.Timeout, qmp.Closed):
            pass
        return self.reply is not None

    def moment(self):
        """Waits for a drawn step or time, or the end."""
        steps, after = self.draw.choice(((self.draw.randrange(1, 30), 10), (99, self.draw.random() * 0.8)))
        end = time.monotonic() + after
        while steps > 0 and time.monotonic() < end and not self.over():
            steps -= self.log.read().count("debug: step ")
            time.sleep(0.001)           # a fault comes at any time: there is nothing to wait for

    def kill(self):
        driver, p = self.driver, self.p
        if self.fault == "qemu":
            self.kill_qemu()
        else:
            others = driver.qemus() if self.fault == "both" else []
            p.kill()
            for pid in others:
                kill(pid)
            harness.poll(lambda: all(vm.ended(pid) for pid in others), 10, "QEMU to be gone")
            driver.died = p.killed = driver.died or bool(others)
            driver.found = True
        driver.at_death()
        if p.process is None or p.process.poll() is not None:
            p._close_clients()          # pylint: disable=protected-access
            p.start(wait=20)

    def kill_qemu(self):
        """The proxy ends as QEMU did, but for one end that a revert was about to bring about."""
        driver, p = self.driver, self.p
        pid = p.qemu_pid()
        if pid:
            kill(pid)
            p.killed = True

        def settled():
            return p.process.poll() is not None or (self.over() and (
                not pid or "return" in self.reply and p.qemu_pid() not in (None, pid)))
        harness.poll(settled, 40, "the proxy to end with QEMU, or the operation without it")
        if p.process.poll() is None:
            return
        # Of a QEMU that a proxy has found, and not started, nobody can tell it.
        assert p.wait() in (128 + signal.SIGKILL, 0 if driver.found else None), p.process.returncode
        p.process, driver.died = None, True
        harness.poll(lambda: not driver.qemus(), 5, "no QEMU to be left")

    def kill_second(self):
        """As soon as it is there, or a moment later."""
        path, delay = self.p.state / "process.next.json", self.draw.choice((0, 0, 0.02, 0.1))

        def there():
            try:
                return self.over() or json.loads(path.read_text())["pid"]
            except (OSError, ValueError, KeyError):
                return None
        pid = harness.poll(there, 40, "the second QEMU, or the end", 0.002)
        if pid is not True:
            time.sleep(delay)
            if not self.over() and self.p.qemu_pid() != pid:
                kill(pid)

    def cancelled(self):
        """As a job, and cancelled after a while; its end as a reply."""
        client = self.client
        reply = client.reply(client.send(self.command, {**self.args, "job-id": self.job}), 40)
        if "error" in reply:
            return reply
        time.sleep(self.draw.random() * 0.3)
        try:
            client.command("job-cancel", id=self.job)
        except qmp.QmpError as error:
            assert error.reason == "busy" or "concluded" in error.desc, error
        job = self.p.wait_job(self.job, 60)
        client.command("job-dismiss", id=self.job)
        if "error" not in job:
            return {"return": {}}
        reason = "cancelled" if "cancel" in job["error"] else "?"
        return {"error": {"desc": job["error"], "data": {"reason": reason}}}


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
