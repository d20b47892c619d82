#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""The relay: what many clients at once see is what each would see of a QEMU of its own.

Where QEMU's words count, a plain QEMU beside the proxy says them (Both)."""

import json
import re
import socket
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "lib"))

# pylint: disable=wrong-import-position
import harness
import qmp
import vm
from harness import equal

NEGOTIATE = b'{"execute":"qmp_capabilities"}\n'
# 0xff brings the parser back from wherever it stands; the answer with this id is the last one.
END = b'\xff\n{"execute":"no-such-end","id":"END"}\n'
STATUS = b'{"execute":"query-status","id":1}'


def exchange(address, *chunks, negotiate=True):
    """All lines but events, greeting first, that these writes are answered with."""
    client = qmp.Client(address, negotiate=False, timeout=30)
    try:
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        for chunk in (NEGOTIATE if negotiate else b"", *chunks, END):
            client.send_raw(chunk)
        lines = [client.recv_raw()]
        while b'"END"' not in lines[-1]:
            lines.append(client.recv_raw())
        return [line for line in lines if b'"event"' not in line]
    finally:
        client.close()


class Both:
    """The same guest under the proxy and under QEMU alone."""

    def __init__(self, t, *args):
        self.direct = vm.Qemu(t, args=args, name="direct").start(connect=False)
        self.proxy = vm.Proxy(t, args=args).start()
        self.direct_ready = False

    def same(self, *chunks, **options):
        """The proxy answers these writes with QEMU's bytes; the lines."""
        if not self.direct_ready:
            harness.poll(self.direct._try_client, 10, "QEMU to answer").close()
            self.direct_ready = True
        lines = exchange(self.proxy.address, *chunks, **options)
        theirs = exchange(self.direct.address, *chunks, **options)
        for ours, direct in zip(lines, theirs):
            equal(ours, direct, f"answer to {b''.join(chunks)[:200]!r}")
        equal(len(lines), len(theirs), f"number of answers to {chunks!r}")
        return lines

    def all_same(self, texts, **options):
        """The same for each of many; says all that differ."""
        wrong = []
        for text in texts:
            try:
                self.same(text if isinstance(text, bytes) else text.encode(), **options)
            except AssertionError as error:
                wrong.append(str(error))
        assert not wrong, "\n".join(wrong)


# ---- bytes ----

def test_greeting_and_replies_are_the_bytes_of_qemu(t):
    # -S: without it the firmware makes a difference from one moment to the next.
    both = Both(t, "-S", "-name", "same,debug-threads=on", "-uuid",
                "6ec4b1a4-3a87-4a5d-9e5e-0102030405ff", "-blockdev", "null-co,node-name=n0",
                "-device", "virtio-blk-pci,id=dev,drive=n0")
    commands = [
        '"query-status"', '"query-version"', '"query-name"', '"query-uuid"', '"query-kvm"',
        '"query-machines"', '"query-cpu-definitions"', '"query-command-line-options"',
        '"query-block"', '"query-blockstats"', '"query-pci"', '"query-jobs"', '"query-block-jobs"',
        '"query-named-block-nodes"', '"query-iothreads"', '"query-memory-size-summary"',
        '"query-migrate"', '"no-such-command"', '"query-events"',
        '"qom-get","arguments":{"path":"/nowhere","property":"x"}',
        '"device_del","arguments":{"id":"nobody"}', '"device_del"', '"eject","arguments":{"x":1}',
        '"blockdev-del","arguments":{"node-name":"n0"}', '"migrate-incoming"',
        '"snapshot-delete","arguments":{"job-id":"j","tag":"t","devices":["none"]}',
        '"human-monitor-command","arguments":{"command-line":"info version"}',
        '"human-monitor-command","arguments":{"command-line":"print 0x7fffffffffffffff"}',
    ]
    for number, command in enumerate(commands):
        lines = both.same(b'{"execute":%s,"id":%d}' % (command.encode(), number))
        equal(len(lines), 5, f"lines for {command}")    # 0xff is answered as well


def test_negotiation_is_answered_in_the_words_of_qemu(t):
    both = Both(t)
    caps = '{"execute":"qmp_capabilities","arguments":%s,"id":2}\n'
    both.all_same((
        '{"execute":"query-status"}', '{"execute":"no-such-command","id":[1]}',
        '{"execute":"quit","id":1}', '{"execute":"snapshot-create","arguments":{"name":"x"}}',
        '{"exec-oob":"migrate-pause"}', caps % '{"enable":["psychic"]}',
        caps % '{"enable":"oob"}',
        caps % '{"enable":[1]}', caps % '{"enable":{}}', caps % '{"other":[]}', caps % '[]',
        caps % '{}' + caps % '{}', caps % '{"enable":[]}' + '{"execute":"query-status"}',
        caps % '{"enable":["oob"]}' + '{"exec-oob":"query-status","id":3}',
        caps % '{"enable":["oob","oob"]}' + '{"exec-oob":"migrate-pause","id":3}',
        caps % '{}' + '{"exec-oob":"migrate-pause","id":3}',
        caps % "{'enable':['oob']}" + '{"exec-oob":"migrate-pause","id":3}',
        caps % '{"enable":["psychic"]}' + '{"execute":"query-status","id":3}',
    ), negotiate=False)


def test_each_client_negotiates_for_itself(t):
    proxy = vm.Proxy(t).start()
    silent, fresh = (proxy.client(negotiate=False) for _ in range(2))
    equal(silent.recv(), fresh.recv(), "greetings")
    error = fresh.refused("query-status")
    equal((error.cls, error.desc), ("CommandNotFound", "Expecting capabilities negotiation with "
                                    "'qmp_capabilities'"), "error before negotiation")
    fresh.command("qmp_capabilities")
    fresh.command("query-status")
    equal(fresh.refused("qmp_capabilities").desc,
          "Capabilities negotiation is already complete, command ignored", "second negotiation")
    equal(silent.refused("query-status").cls, "CommandNotFound", "the other client's state")


def test_garbage_gets_the_errors_of_qemu_and_harms_nobody(t):
    both = Both(t)
    garbage = (
        b"foo bar baz\n", b'{"execute":"query-status","id":01}\n', b"[]\n", b"[1,{}]", b"null",
        b"{}\n", b'"text"\n', b"}", b"]]", b'{"execute":1}', b'{"execute":"a","execute":"b"}',
        b'{"arguments":{}}', b'{"execute":"stop","extra":1,"id":"e"}', b'{"execute":"query',
        b'{"execute":"query-status","arguments":[]}', b'{"execute":"\\ud800"}', b"\x01\x02",
        b'{"execute":"query-status","arguments":{"x":"\xc3\x28"},"id":1}', b"-", b"{,}", b"'",
        b'{"execute":"query-status" "id":1}', b"{" * 1100, b'"\\q"', b'{"id":"only"}', b"\xff",
        b'{"execute":"query-status","id":nul}', b'{"execute":"a\nb"}', b"%s\n", b"\x00",
        b'{"execute":"query-status","id":"%i"}', b'{"execute":"\xc3\xa4"}', b'{"id":{}}')
    both.all_same(garbage)
    both.all_same([text + STATUS for text in garbage])
    equal(both.proxy.command("query-status")["running"], True, "another client")


def test_commands_may_be_framed_in_any_way(t):
    both = Both(t)
    version = b'{"execute":"query-version","id":2}'
    both.same(STATUS, version)                              # no line end at all
    both.same(STATUS + b"\r\n" + version + b"\r" + STATUS + b"\n\n")
    both.same(b" \t\r\n{ \"execute\" :\n\"query-status\" , \"id\"\t: 1 }")
    both.same(b"{'execute':'query-status','id':'it\\'s'}")
    both.same(b'{"execute":"\\u0071uery-status","id":1}')
    both.same(*(bytes([byte]) for byte in STATUS + b"\r\n" + version))
    both.same((STATUS + version) * 20)


def test_ids_come_back_as_they_were_written(t):
    proxy = vm.Proxy(t).start()
    client = proxy.client()
    for text in ('1', '-0', '1.0', '0.1', '1e5', '18446744073709551615', '-9223372036854775808',
                 'true', 'false', 'null', '""', '"a b"', '"\\u0000"', '"\\u00e4ä€"', '"\\"\\\\"',
                 '[]', '[1,[2,{"b":1,"a":[null]}]]', '{}', '{"b":1,"a":2.50}', '"\\u007f"', '[ 1, {"a" : null} ]',
                 '"%d %s"', '"' + 'x' * 20000 + '"'):
        for command in ("query-status", "no-such-command", "query-snapshots", "query-commands"):
            client.send_raw(f'{{"execute":"{command}","id":{text}}}\n')
            line = client.recv_raw().decode()
            ids = re.findall(r'"id": ?(.*?)(?=\}$|, ?"(?:return|error)")', line)
            assert text in ids, f"id {text[:80]} of {command}: {line[:150]} ... {line[-150:]}"
            equal(json.loads(line)["id"], json.loads(text), "id as a value")


def test_a_command_without_id_gets_a_reply_without_id(t):
    client = vm.Proxy(t).start().client()
    for command in ("query-status", "no-such-command", "query-snapshots", "query-commands"):
        client.send_raw(json.dumps({"execute": command}))
        assert "id" not in client.recv(), command


# ---- order ----

def test_pipelines_of_many_clients_are_answered_in_order_and_never_mixed(t):
    proxy = vm.Proxy(t).start()
    clients = [proxy.client() for _ in range(6)]

    def ask(number, turn):
        # QEMU's error tells whose command it was; every third is one that the proxy answers.
        name = "query-snapshots" if turn % 3 == 2 else f"no-such-{number}-{turn}"
        return json.dumps({"execute": name, "id": turn}) + "\n"
    for number, client in enumerate(clients):
        client.send_raw("".join(ask(number, turn) for turn in range(40)))
    for turn in range(40):
        for number, client in enumerate(clients):
            reply = client.recv()
            equal(reply["id"], turn, f"id of answer {turn} to client {number}")
            if turn % 3 == 2:
                equal(reply["return"], [], "snapshots")
            else:
                assert f"no-such-{number}-{turn} " in reply["error"]["desc"], reply


def test_a_half_closed_client_still_gets_all_its_answers(t):
    proxy = vm.Proxy(t).start()
    for count in (1, 40):
        client = proxy.client(negotiate=False)
        client.send_raw(NEGOTIATE + STATUS * count)
        client.sock.shutdown(socket.SHUT_WR)
        lines = []
        try:
            while True:
                lines.append(client.recv())
        except qmp.Closed as end:
            equal(end.rest, b"", "rest")
        equal([line.get("id") for line in lines], [None, None] + [1] * count, "ids")


# ---- lists ----

def test_the_four_commands_are_listed_and_the_lists_stay_short(t):
    both = Both(t)
    names = {"snapshot-create", "snapshot-revert", "snapshot-delete", "query-snapshots"}
    harness.poll(both.direct._try_client, 10, "QEMU to answer").close()
    plain, client = both.direct.client(), both.proxy.qmp
    listed = [entry["name"] for entry in client.command("query-commands")]
    own = {entry["name"] for entry in plain.command("query-commands")}
    equal(len(listed), len(set(listed)), "names listed twice")
    equal(set(listed), own | names, "query-commands")
    client.send_raw('{"execute":"query-qmp-schema"}')
    line = client.recv_raw()
    assert len(line) + 2 < 256 << 10, f"{len(line)} bytes"
    schema, theirs = json.loads(line)["return"], plain.command("query-qmp-schema")
    by_name = {entry["name"]: entry for entry in schema}
    equal(len(by_name), len(schema), "schema names used twice")
    changed = [e for e in theirs if by_name.get(e["name"]) != e]
    job_type = [e for e in changed if e["meta-type"] == "enum"]
    equal([e["name"] for e in changed if e not in job_type], ["snapshot-delete"],
          "entries of QEMU that changed")
    equal(len(job_type), 1, "enums that changed")
    for key in ("members", "values"):
        theirs = job_type[0][key]
        more = [e for e in by_name[job_type[0]["name"]][key] if e not in theirs]
        assert "snapshot-load" in str(theirs), theirs
        equal([e["name"] if key == "members" else e for e in more],
              ["snapshot-create", "snapshot-revert"], f"{key} of the types of jobs")
    for name in names:
        equal(by_name[name]["meta-type"], "command", name)
    for entry in schema:        # whatever is referred to is there
        refs = [entry.get(key) for key in ("arg-type", "ret-type", "element-type")]
        refs += [m["type"] for m in entry.get("members", []) if "type" in m]
        refs += [v["type"] for v in entry.get("variants", [])]
        for ref in filter(None, refs):
            assert ref in by_name, f"{entry['name']} refers to {ref}"


if __name__ == "__main__":
    sys.exit(harness.run([test for name, test in list(globals().items())
                          if name.startswith("test_")], timeout=60))
