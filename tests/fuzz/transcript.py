#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Records a QMP session with a real QEMU for the fuzzers' corpus: corpus/transcript-VERSION.txt.

Every kind of message is there: the greeting, returns of every type, errors, events, a job's life.
Long lists are cut to a few of their entries, as their shape is what counts.

Environment: QEMU, as for all tests.
"""

import json
import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "lib"))
sys.path.insert(0, str(HERE.parent / "differential"))

# pylint: disable=wrong-import-position
import harness  # noqa: E402
import vm  # noqa: E402
from escaped import escape  # noqa: E402

ARGS = ["-S", "-name", "guest", "-uuid", "6ec4b1a4-3a87-4a5d-9e5e-0102030405ff",
        "-blockdev", "null-co,node-name=n0,size=1048576,read-zeroes=on",
        "-blockdev", "null-co,node-name=n1,size=1048576",
        "-device", "virtio-blk-pci,id=dev,drive=n0", "-object", "iothread,id=io"]
REQUESTS = """
{"execute":"query-status"}
{"execute": "qmp_capabilities", "arguments": {"enable": ["oob"]}, "id": "libvirt-1"}
{"execute":"qmp_capabilities"}
{"execute":"query-version","id":"libvirt-2"}
{"execute":"query-commands","id":"libvirt-3"}
{"execute": "query-qmp-schema", "id": "__qmp#00003"}
{"execute":"query-name","id":18446744073709551615}
{"execute":"query-uuid","id":-9223372036854775808}
{"execute":"query-status","id":0.1}
{"execute":"query-status","id":{"b":[1,null,true],"a":{"c":"d"}}}
{'execute':'query-status','id':'it\\'s "quoted"'}
{"execute":"query-status","id":"\\u0000\\u00e4\\ud83d\\ude00\\/\\b\\f\\n\\r\\t\\"\\\\"}
{ "execute" : "query-kvm" , "id" : null }
{"\\u0065xecute":"query-iothreads","id":[]}
{"execute":"query-block","id":1}
{"execute":"query-blockstats","id":2}
{"execute":"query-named-block-nodes","arguments":{"flat":true},"id":3}
{"execute":"query-chardev","id":4}
{"execute":"query-cpus-fast","id":5}
{"execute":"query-pci","id":6}
{"execute":"query-machines","id":7}
{"execute":"query-command-line-options","arguments":{"option":"mon"},"id":8}
{"execute":"query-memory-size-summary","id":9}
{"execute":"query-migrate-capabilities","id":10}
{"execute":"query-fdsets"}
{"execute":"qom-list","arguments":{"path":"/machine/peripheral/dev"},"id":11}
{"execute":"qom-get","arguments":{"path":"/machine/peripheral/dev","property":"iothread"},"id":12}
{"execute":"qom-get","arguments":{"path":"/machine","property":"type"},"id":13}
{"execute":"object-add","arguments":{"qom-type":"iothread","id":"io1","poll-max-ns":32768}}
{"execute":"object-del","arguments":{"id":"io1"},"id":14}
{"execute":"blockdev-add","arguments":{"driver":"raw","node-name":"r","file":{"driver":"null-co"}}}
{"execute":"blockdev-del","arguments":{"node-name":"r"},"id":15}
{"execute":"blockdev-del","arguments":{"node-name":"r"},"id":16}
{"execute":"blockdev-mirror","arguments":{"job-id":"j","device":"n0","target":"n1","sync":"full"}}
{"execute":"query-block-jobs","id":17}
{"execute":"query-jobs","id":18}
{"execute":"block-job-cancel","arguments":{"device":"j"},"id":19}
{"execute":"cont","id":20}
{"execute":"stop","id":21}
{"execute":"system_reset","id":22}
{"execute":"human-monitor-command","arguments":{"command-line":"print 0x7fffffffffffffff"}}
{"execute":"human-monitor-command","arguments":{"command-line":"info status"},"id":"hmp"}
{"exec-oob":"query-yank","id":"oob"}
{"exec-oob":"migrate-pause","id":"oob-2"}
{"exec-oob":"query-status","id":"oob-3"}
{"execute":"nothing-of-the-kind","id":23}
{"execute":"query-status","arguments":{"x":1},"id":24}
{"execute":"eject","arguments":{},"id":25}
{"execute":"query-status","arguments":[],"id":26}
{"execute":"query-status","other":1,"id":27}
{"execute":"query-status","id":01}
{"execute":"device_del","arguments":{"id":"nobody"},"id":"d\\u00e4v"}
{"execute":"set_link","arguments":{"name":"nobody","up":true},"id":28}
{"execute":"transaction","arguments":{"actions":[{"type":"abort","data":{}}]},"id":"t"}
{"execute":"snapshot-delete","arguments":{"job-id":"s","tag":"t","devices":["n0"]},"id":"del"}
""".strip().splitlines()
ENTRIES = 6         # of a long list
SCHEMA_NAMES = ("snapshot-delete", "query-status", "STOP", "str", "[str]")
MESSAGE_MAX = 3000


def short(line):
    """A long list as its first entries and those that the schema code looks for."""
    match = re.match(rb'\{"return": (\[.*\])(, "id": .*)?\}$', line)
    if len(line) <= MESSAGE_MAX or not match:
        return line
    entries = json.loads(match.group(1))
    kept = [e for e in entries if isinstance(e, dict) and e.get("name") in SCHEMA_NAMES]
    kept += [entry for entry in entries if len(json.dumps(entry)) < 400][:ENTRIES]
    return b'{"return": %s%s}' % (json.dumps(kept).encode(), match.group(2) or b"")


def take(client, transcript, count, last=None):
    """Takes down messages until so many replies, or the one with that id, have come."""
    while count:
        line = client.recv_raw()
        if len(short(line)) <= MESSAGE_MAX:
            transcript.append("< " + escape(short(line) + b"\r\n"))
        message = json.loads(line, parse_constant=float)
        if "event" not in message and last in (None, message.get("id")):
            count -= 1


def session(test):
    qemu = vm.Qemu(test, args=ARGS).start(connect=False)
    client = harness.poll(lambda: raw_client(qemu), 10, "QEMU to answer")
    transcript = []
    take(client, transcript, 1)
    greeting = transcript[0]
    for request in REQUESTS:
        text = request.encode()
        client.send_raw(text + b"\n")
        transcript.append("> " + escape(text))
        take(client, transcript, 2 if ":01}" in request else 1)
    client.send_raw(b'{"execute":"query-status","id":"END"}')
    take(client, transcript, 1, last="END")
    version = ".".join(re.search(rf'"{part}": (\d+)', greeting).group(1)
                       for part in ("major", "minor"))
    path = HERE / "corpus" / f"transcript-{version}.txt"
    path.write_text("# SPDX-License-Identifier: GPL-2.0-or-later\n"
                    f"# A session with QEMU {version}: transcript.py.\n"
                    + "".join(line + "\n" for line in transcript), encoding="ascii")
    test.note(f"{path}: {len(transcript)} messages, {path.stat().st_size} bytes")


def raw_client(qemu):
    try:
        return qemu.client(negotiate=False)
    except OSError:
        return None


if __name__ == "__main__":
    sys.exit(harness.run([session]))
