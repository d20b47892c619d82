#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The state folder, proxies that come and go, -daemonize, -pidfile, attach mode, qmp-snapshot."""

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "lib"))

# pylint: disable=wrong-import-position
import faulty
import harness
import oracle
import vm
from harness import equal

NOBODY = 65534


def run(t, *words, **options):
    """Runs a command until it ends: the CompletedProcess.  Its pipes have to be closed as well."""
    options = {"cwd": t.dir, "timeout": 20 * harness.SLOW, **options}
    return subprocess.run([str(word) for word in words], stdin=subprocess.DEVNULL, check=False,
                          capture_output=True, text=True, **options)


def guest(t, *args, **options):
    """A proxy with the oracle on one disk, that has begun to count."""
    proxy = vm.Proxy(t, oracle.make_disks(t.dir), args, **options).start()
    proxy.serial.wait_tick(5)
    return proxy


# ---- one proxy after the other ----

def test_a_proxy_that_dies_before_qemu_is_on_record_leaves_none_behind(t):
    """The next one would not find it, and start another on the same disks."""
    proxy, faults = vm.Proxy(t, oracle.make_disks(t.dir)), faulty.Faults(t)
    faults.rules(("hold", 0, "sync", ".process.json.tmp"))
    proxy.start(connect=False, env=faults.env)
    harness.poll((proxy.state / ".process.json.tmp").exists, 5, "the record to be written")
    proxy.kill()
    harness.poll(lambda: not proxy.all_pids(), 5, "nothing to be left")
    faults.mend()
    proxy.start()
    proxy.serial.wait_tick(3)
    equal(len(proxy.serial.boots()), 1, "boots")
    equal(proxy.stop(), 0, "exit status")


def test_a_qemu_that_cannot_be_recorded_ends_with_its_proxy(t):
    """The VM runs; but nobody would find it."""
    proxy, faults = vm.Proxy(t, oracle.make_disks(t.dir)), faulty.Faults(t)
    faults.rules(("fail", faulty.EIO, "sync", ".process.json.tmp"))
    proxy.start(env=faults.env)
    proxy.serial.wait_tick(2)
    proxy.kill()
    harness.poll(lambda: not proxy.all_pids(), 10, "QEMU to end")
    equal(sorted(path.name for path in proxy.state.iterdir() if path.suffix == ".json"), [], "files")
    faults.mend()
    proxy.start()
    proxy.serial.wait_more(2)


def test_qemu_outlives_a_killed_proxy_and_the_next_one_finds_it(t):
    proxy = guest(t)
    pid = proxy.qemu_pid()
    proxy.command("snapshot-create", {"name": "before"})
    for _ in range(3):
        proxy.kill()
        proxy.serial.wait_more(3)
        proxy.start()
        equal(proxy.qemu_pid(), pid, "pid of QEMU")
        equal(proxy.command("query-status")["status"], "running", "status")
        equal([s["name"] for s in proxy.command("query-snapshots")], ["before"], "snapshots")
    since = proxy.serial.size()
    proxy.command("snapshot-revert", {"name": "before", "discard": True}, timeout=30)
    proxy.serial.wait_more(3)
    proxy.serial.check()
    equal(len(proxy.serial.boots()), 1, "boots")
    assert proxy.serial.size() > since and proxy.qemu_pid() != pid, "no other QEMU"
    pid = proxy.qemu_pid()
    proxy.kill()
    proxy.start()
    equal(proxy.qemu_pid(), pid, "pid after a revert")
    equal(proxy.stop(), 0, "exit status")
    harness.poll(lambda: vm.ended(pid), 5, "the end of QEMU")


def test_a_running_qemu_is_not_taken_over_with_another_command_line(t):
    proxy = guest(t)
    pid = proxy.qemu_pid()
    proxy.kill()
    other = run(t, *proxy.command_line(), "-name", "other")
    equal(other.returncode, 1, "exit status")
    assert str(pid) in other.stderr and "command line" in other.stderr, other.stderr
    proxy.serial.wait_more(3)
    proxy.start()
    equal(proxy.qemu_pid(), pid, "pid of QEMU")


def test_a_second_proxy_on_the_same_state_folder_is_refused(t):
    proxy = guest(t)
    for listen in ("unix:" + str(t.path("other.sock")), proxy.address):
        words = proxy.command_line()
        words[words.index("-l") + 1] = listen
        second = run(t, *words)
        equal(second.returncode, 1, "exit status")
        assert str(proxy.state) in second.stderr, second.stderr
    third = vm.Proxy(t, name="third", listen=proxy.address)
    third = run(t, *third.command_line())
    assert third.returncode == 1 and str(t.path("vm.sock")) in third.stderr, third.stderr
    equal(proxy.client().command("query-status")["status"], "running", "the first one's guest")


def test_a_guest_that_ended_while_no_proxy_ran_is_started_again(t):
    proxy = guest(t)
    pid = proxy.qemu_pid()
    proxy.kill()
    proxy.kill_qemu()
    proxy.start()
    assert proxy.qemu_pid() != pid
    harness.poll(lambda: len(proxy.serial.boots()) == 2, 10, "another boot")
    proxy.serial.wait_more(3)


# ---- the state folder ----

def test_the_state_folder_is_private_and_tells_the_pid(t):
    old = os.umask(0)
    try:
        proxy = vm.Proxy(t).start()
    finally:
        os.umask(old)
    equal(oct(stat.S_IMODE(proxy.state.stat().st_mode)), "0o700", "mode")
    pid = int((proxy.state / "qemu.pid").read_text())
    assert "qemu" in Path(f"/proc/{pid}/cmdline").read_text(), pid
    assert stat.S_ISSOCK((proxy.state / "qemu.sock").stat().st_mode)
    for path in proxy.state.rglob("*"):
        assert not path.is_file() or not path.stat().st_mode & 0o077, f"{path} is open to others"
    proxy.stop()
    for name in ("qemu.pid", "qemu.sock"):
        assert not (proxy.state / name).exists(), f"{name} stayed"


class Homely(vm.Proxy):
    """Without -d, and not as root."""

    def __init__(self, t, state, words, **options):
        super().__init__(t, state=state, **options)
        self.words = words

    def command_line(self):
        user = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
        return [*(user if os.geteuid() == 0 else []), vm.PROXY_BIN, "-l", self.address, *self.words,
                "--", vm.QEMU, *self.qemu_args]


def test_by_default_the_state_is_kept_in_the_users_folder_by_name(t):
    harness.requires(os.geteuid() or shutil.which("setpriv"), "root needs setpriv for this")
    if os.geteuid() == 0:
        os.chown(t.dir, NOBODY, NOBODY)
        usable = subprocess.run(["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}",
                                 "--clear-groups", vm.QEMU, "--version"], check=False,
                                capture_output=True)
        harness.requires(usable.returncode == 0, f"{vm.QEMU} is only for root here")
    home = {"HOME": str(t.dir), "XDG_STATE_HOME": ""}
    rows = (("given", ["-n", "given"], [], home, ".local/state"),
            ("qemu's", [], ["-name", "qemu's"], home, ".local/state"),
            ("guest", [], ["-name", "guest=guest,process=x"], home, ".local/state"),
            ("-n counts", ["-n", "-n counts"], ["-name", "not this"], home, ".local/state"),
            ("xdg", ["-n", "xdg"], [], {"XDG_STATE_HOME": str(t.path("xdg"))}, "xdg"),
            (None, [], [], {"XDG_STATE_HOME": str(t.path("un"))}, "un"))
    for number, (name, words, args, env, where) in enumerate(rows):
        folder = t.dir / where / "qmp-proxy"
        proxy = Homely(t, folder / (name or "?"), words, args=args, name=f"vm{number}")
        proxy.start(env=env)
        if name is None:        # unnamed: the same folder whenever the command line is the same
            found = list(folder.iterdir())
            equal(len(found), 1, "folders")
            proxy.state = found[0]
        equal(oct(stat.S_IMODE(proxy.state.stat().st_mode)), "0o700", f"mode for {name}")
        equal(proxy.command("query-status")["status"], "running", "status")
        assert proxy.qemu_pid(), f"no qemu.pid in {proxy.state}"
        proxy.stop()
        if name is None:
            proxy.start(env=env)
            equal(list(folder.iterdir()), found, "folders of an unnamed VM")
            proxy.stop()


# ---- -daemonize, -pidfile ----

class Daemon(vm.Proxy):
    """QEMU's arguments hold -daemonize."""

    def launch(self):
        """Starts it; the CompletedProcess of the command that the user typed."""
        self.test.cleanup(lambda: [os.kill(pid, signal.SIGKILL) for pid in self.all_pids()])
        return run(self.test, *self.command_line())


def test_daemonize_returns_when_the_monitor_answers_and_holds_no_pipe(t):
    pidfile = t.path("pid")
    daemon = Daemon(t, oracle.make_disks(t.dir), ["-daemonize", "-pidfile", "pid"])
    done = daemon.launch()
    equal((done.returncode, done.stdout, done.stderr), (0, "", ""), "what the command said")
    client = daemon.client()            # at once
    equal(int(pidfile.read_text()), daemon.qemu_pid(), "pid file")
    proxies = [pid for pid in daemon.all_pids() if pid != daemon.qemu_pid()]
    equal(len(proxies), 1, "proxies")
    equal(os.getsid(proxies[0]), proxies[0], "session of the proxy")
    for pid in daemon.all_pids():
        equal(os.readlink(f"/proc/{pid}/fd/0"), "/dev/null", f"standard input of {pid}")
    daemon.serial.wait_tick(5)
    client.command("snapshot-create", {"name": "s"}, timeout=20)
    client.command("snapshot-revert", {"name": "s", "discard": True}, timeout=20)
    equal(int(pidfile.read_text()), daemon.qemu_pid(), "pid file after a revert")
    os.kill(int(pidfile.read_text()), signal.SIGTERM)
    harness.poll(lambda: not daemon.all_pids(), 10, "all to end")
    assert not pidfile.exists(), "the pid file stayed"
    assert not Path(daemon.address.removeprefix("unix:")).exists(), "the socket stayed"


def test_daemonize_of_a_qemu_that_cannot_start_says_so(t):
    daemon = Daemon(t, args=["-daemonize", "-device", "no-such-device", "-pidfile", "pid"])
    done = daemon.launch()
    equal(done.returncode, 1, "exit status")
    assert "'no-such-device' is not a valid device model name" in done.stderr, done.stderr
    assert not t.path("pid").exists(), "the pid file stayed"
    harness.poll(lambda: not daemon.all_pids(), 5, "all to end")
    daemon = Daemon(t, args=["-daemonize"], listen="unix:/no/such/folder/sock")
    done = daemon.launch()
    assert done.returncode == 1 and "/no/such/folder/sock" in done.stderr, done


def test_a_pid_file_without_daemonize_follows_qemu_too(t):
    proxy = guest(t, "-pidfile", t.path("pid"))
    for turn in range(2):
        equal(int(t.path("pid").read_text()), proxy.qemu_pid(), f"pid file, turn {turn}")
        proxy.command("snapshot-create", {"name": f"s{turn}"}, timeout=20)
        proxy.command("snapshot-revert", {"name": f"s{turn}", "discard": True}, timeout=20)
    equal(int(t.path("pid").read_text()), proxy.qemu_pid(), "pid file at the end")
    proxy.stop()
    assert not t.path("pid").exists(), "the pid file stayed"


def test_a_pid_file_that_cannot_be_written_is_an_error_as_it_is_for_qemu(t):
    proxy = vm.Proxy(t, args=["-pidfile", "/no/such/folder/pid"])
    done = run(t, *proxy.command_line(), timeout=5 * harness.SLOW)
    assert done.returncode == 1 and "/no/such/folder/pid" in done.stderr, done


def test_a_vm_without_a_name_leaves_a_folder_only_when_there_is_something_to_keep(t):
    home = t.path("state")
    for snapshot in (False, True):
        disks = oracle.make_disks(t.dir, ("qcow2",), prefix=f"d{snapshot}")
        proxy = vm.Proxy(t, disks, name=f"v{snapshot}")
        line = [vm.PROXY_BIN, "-l", proxy.address, "--", vm.QEMU, *proxy.qemu_args]
        proxy.command_line = lambda line=line: line
        # root's folder is not this test's: a mount of its own hides it.
        if os.geteuid() == 0:
            harness.requires(subprocess.run(["unshare", "-m", "true"], check=False,
                                            capture_output=True).returncode == 0,
                             "this root may not mount")
            home.mkdir(exist_ok=True)
            script = f"mkdir -p /var/lib && mount --bind {home} /var/lib && exec \"$@\""
            wrapped = ["unshare", "-m", "sh", "-c", script, "sh", *line]
            proxy.command_line = lambda wrapped=wrapped: wrapped
        proxy.start(env={"XDG_STATE_HOME": str(home)})
        if snapshot:
            proxy.command("snapshot-create", {"name": "s", "memory": "none"}, timeout=20)
        folders = list((home / "qmp-proxy").iterdir())
        equal(len(folders), 1, "folders while it runs")
        proxy.command("quit")
        equal(proxy.wait(), 0, "exit status")
        equal(folders[0].exists(), snapshot, f"a folder stays, with a snapshot: {snapshot}")
        if snapshot:
            shutil.rmtree(folders[0])


# ---- attach ----

class Attached(vm.Proxy):
    def command_line(self):
        return [vm.PROXY_BIN, "-c", f"unix:{self.test.path('q.sock')}", "-l", self.address, "-d",
                str(self.state)]


def test_a_qemu_that_runs_already_is_relayed_and_snapshots_without_memory_work(t):
    disks = oracle.make_disks(t.dir, ("qcow2", "raw"))
    own = vm.Qemu(t, disks, name="q").start(connect=False)
    harness.poll(own._try_client, 10, "QEMU to answer").close()
    own.serial.wait_tick(5)
    proxy = Attached(t, name="p").start()
    second = proxy.client()
    equal(second.command("query-status")["status"], "running", "status")
    proxy.command("snapshot-create", {"name": "disks"}, memory="none", timeout=20)
    own.serial.wait_more(5)
    for more in ({}, {"method": "respawn"}):
        error = proxy.qmp.refused("snapshot-revert", {"name": "disks", "discard": True, **more})
        equal(error.reason, "method-unavailable", f"reason of a revert {more}")
    proxy.command("snapshot-delete", {"name": "disks"}, timeout=20)
    files = sorted(info["inserted"]["file"] for info in proxy.command("query-block"))
    equal(files, sorted(str(disk.path) for disk in disks), "images in use")
    own.serial.wait_round()
    proxy.signal()
    equal(proxy.wait(), 0, "exit status of the proxy")
    last = own.serial.wait_more(3)
    equal(len(own.serial.boots()), 1, "boots")
    proxy.start()
    proxy.command("stop")
    for disk in disks:
        assert oracle.Image(disk.path, disk.format).count >= last - 1, "the disk is behind"
    proxy.command("quit")
    assert proxy.qmp.closed(), "the end of QEMU does not close its clients"
    proxy.signal()
    equal(proxy.wait(), 0, "exit status without a QEMU")


# ---- qmp-snapshot ----

def test_qmp_snapshot_does_what_it_says_and_its_exit_code_tells(t):
    proxy = guest(t)

    def tool(code, *words):
        done = proxy.snapshot(*words, check=False)
        equal(done.returncode, code, f"exit code of {words}: {done.stdout}{done.stderr}")
        assert (done.stderr if code else done.stdout) or words == ("list",), words
        return done.stdout
    tool(0, "list")
    tool(0, "create", "one", "--description", "first")
    tool(1, "create", "one")
    tool(0, "create", "two", "--memory", "none")
    assert "one" in tool(0, "list") and "two" in tool(0, "tree")
    assert "first" in tool(0, "show", "one")
    tool(1, "show", "three")
    equal(sorted(s["name"] for s in json.loads(tool(0, "--json", "list"))), ["one", "two"], "JSON")
    assert "COMMIT POINT" in tool(0, "explain", "revert", "one", "--discard")
    tool(0, "explain", "delete", "two")
    tool(1, "revert", "one")            # unsaved-state
    tool(0, "verify")
    since = proxy.serial.size()
    tool(0, "revert", "one", "--discard")
    proxy.serial.wait_more(3)
    equal(len(proxy.serial.boots(since)), 0, "boots")
    tool(0, "delete", "one")
    tool(0, "delete", "two")
    tool(1, "delete", "two")
    equal(json.loads(tool(0, "--json", "list")), [], "snapshots left")
    tool(2, "create")
    tool(2, "no-such-command")
    proxy.serial.wait_round()
    proxy.stop()
    tool(3, "list")


if __name__ == "__main__":
    sys.exit(harness.run([test for name, test in list(globals().items())
                          if name.startswith("test_")], timeout=60))
