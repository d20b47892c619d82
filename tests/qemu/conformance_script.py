# SPDX-License-Identifier: GPL-2.0-or-later
"""conformance_script: the part of the session that is about the stream: framing, JSON, envelopes,
ids, negotiation, out-of-band commands.  What is about the guest is in conformance_script_vm.

A step without n is answered by one line.  GARBAGE says the number of errors, which is part of what
a client may rely on."""

from conformance_play import NEGOTIATE, OOB, Scene, Step

Q = b'{"execute":"query-status","id":1}'
V = b'{"execute":"query-version","id":2}'


def bytewise(data, n=1):
    return Step(*(bytes([byte]) for byte in data), n=n)


FRAMING = [
    Step(Q), Step(Q + b"\n"), Step(Q + b"\r\n"), Step(Q + b"\r"), Step(b"\r\n\r\n" + Q),
    Step(Q + V, n=2), Step(Q + b" \t" + V + b"\r" + Q + b"\n\n" + V, n=4), Step(Q * 20, n=20),
    Step((Q + V) * 40, n=80), bytewise(Q), bytewise(b"\r\n" + Q + b"\r\n" + V + b"\n", n=2),
    *(Step(Q[:at], Q[at:]) for at in range(1, len(Q))),
    *(Step(Q + V[:at], V[at:] + Q, n=3) for at in (1, 2, 12, 30, len(V) - 1)),
    Step(b" \t\r\n{ \"execute\" :\n\"query-status\" , \"id\"\t: 1 }"),
    Step(b'{"execute"\r\n:\r\n"query-status"\r\n,\r\n"id" :\t[1]\r\n}'),
    Step(b"{'execute':'query-status','id':'it\\'s'}"), Step(b"{'execute':\"query-status\"}"),
    Step(b'{"execute":"\\u0071uery-status"}'), Step(b'{"\\u0065xecute":"query-status","id":1}'),
    Step(b"{'\\u0065xecute':'quer\\u0079\\u002dstatus','\\u0069d':1}"),
    Step(b'{"id":1,"execute":"query-status"}'), Step(b'{"execute":"query-status"}'),
    Step(b'{"arguments":{},"execute":"query-status"}'),
    Step(b'{"execute":"query-status","arguments":{ }}'),
    Step(b"\r", n=0), Step(b" ", n=0), Step(b"\n\n\n", n=0), Step(b"\t" * 5000 + Q),
]

# As QEMU prints them: it gives back what it understood, the proxy what was written.
IDS = [b'{"execute":"query-status","id":%s}' % text for text in (
    b"0", b"1", b"-1", b"9223372036854775807", b"-9223372036854775808", b"9223372036854775808",
    b"18446744073709551615", b"0.5", b"-2.25", b"true", b"false", b"null", b'""', b'"a b"',
    b'"\\u0000"', b'"a\\u0000b"', b'"\\u00E4\\u20AC"', b'"\\uD83D\\uDE00"',
    b'"\\"\\\\\\b\\f\\n\\r\\t"',
    b'"\\u001F"', b'"\\u007F"', b"[]", b"{}", b"[1, [2, [3, null]], true]", b'{"a": [1, {"b": 2}]}',
    b'{"execute": "quit"}', b'"%d %s %%"', b'"{\\"execute\\":\\"quit\\"}"', b'"\'"', b'"@"',
    b'"\\u0001"',
    b'"END"', b"[" * 1000 + b"]" * 1000, b'"' + b"x" * 70000 + b'"')]
ID_STEPS = [Step(text) for text in IDS] + [
    Step(text.replace(b"query-status", b"no-such-command")) for text in IDS] + [
    Step(b"".join(IDS), n=len(IDS))] + [
    Step(b'{"execute":"query-status"}' * 3, n=3), Step(b'{"execute":"no-such-command"}'),
    Step(b'{"execute":"qom-get","arguments":{"path":"/nowhere","property":"id"},"id":7}'),
    Step(b'{"id":{"id": 1},"execute":"human-monitor-command",'
         b'"arguments":{"command-line":"print 1"}}'),
]

# What a command gets of its arguments comes back in QEMU's errors.
ECHO = b'{"execute":"qom-get","arguments":{"path":%s,"property":"p"},"id":1}'
STRINGS = [Step(ECHO % text) for text in (
    b'"a"', b"'a'", b"'\"'", b"'\\''", b'"\'"', b'"\\u0041\\/\\\\"', b'"\\n\\t\\r\\b\\f"',
    b'"\xc3\xa4\xe2\x82\xac"', b'"\xf0\x9f\x98\x80"', b'"\\ud83d\\ude00"', b'"\x7f"', b'"\\u007f"',
    b'"a\\u0000b"', b'"a\xc0\x80b"', b'"%s %d %"', b'"a  b   c"', b"'a  \\' b'", b'"a \\\\"',
    b'"a \\" b"', b'"' + b"\\\\" * 99 + b'"', b'"' + b"y" * 9000 + b'"', b"1",
    b"18446744073709551615", b"-0", b"1e400", b"1.0", b"null", b"true",
    b"[]", b"[[1,2],{}]", b"{}", b'{"a":{}}', b'"\\ud83d"', b'"\\ude00"', b'"\\ud83dx"',
    b'"\\ud83d\\u0041"')]
BANDWIDTH = b'{"execute":"migrate-set-parameters","arguments":{"max-bandwidth":%s},"id":1}'
NUMBERS = [Step(BANDWIDTH % text)
           for text in (b"18446744073709551615", b"18446744073709551616", b"9223372036854775808",
               b"-1",
                        b"1.5", b"1e3", b"1e400", b"0x10", b"01", b"+1", b"1.", b".5", b"1e", b"-",
                        b"134217728")]

ENVELOPES = [Step(text) for text in (
    b"{}", b'{"id":1}', b'{"id":{}}', b'{"execute":1,"id":1}', b'{"execute":null}',
    b'{"execute":["stop"]}', b'{"execute":"","id":1}',
    b'{"execute":"query-status","arguments":[],"id":1}',
    b'{"execute":"query-status","arguments":null}',
    b'{"execute":"query-status","arguments":"x","id":2}',
    b'{"execute":"query-status","arguments":{"x":1},"id":3}',
    b'{"execute":"stop","extra":1,"id":"e"}', b'{"Execute":"stop"}', b'{"execute ":"stop"}',
    b'{"execute":"query-status ","id":1}', b'{"":1}', b'{"arguments":{}}',
    b'{"arguments":{},"id":1}', b'{"execute":"query-status","exec-oob":"query-status"}',
    b'{"exec-oob":"query-status","id":1}', b'{"exec-oob":1,"id":1}',
    b'{"exec-oob":"no-such-command","id":1}', b'{"control":{},"execute":"stop","id":1}',
    b'{"return":{},"id":1}', b'{"error":{},"id":1}', b'{"QMP":{}}', b'{"event":"STOP"}',
    b'{"execute":"a","execute":"b"}', b'{"id":1,"id":2}', b'{"execute":"a","\\u0065xecute":"b"}',
    b'{"execute":"query-status","arguments":{"a":1,"a":2},"id":1}',
    b'{"execute":"query-status","id":{"a":1,"a":1}}', b'{"execute":"query-status\\u0000","id":1}',
    b'{"execute":"query\\u0000-status","id":1}', b'{"execute":"\xc3\xa4","id":1}',
    b'{"execute":"' + b"n" * 5000 + b'","id":1}', b'{"execute":"query-status","\xc3\xa4":1,"id":1}',
    b'{"execute":"query-status","a\\u0000b":1,"id":1}', b'{"execute":"query-events","id":1}',
    b'{"execute":"QUERY-STATUS","id":1}', b'{"execute":"query_status"}',
    b'{"execute":"no-such-command","arguments":{"x":[1,{"y":null}]},"id":1}',
    b'{"execute":"no-such-command","arguments":[],"id":1}', b'{"execute":3,"arguments":[],"x":1}')]

# Bytes; how many errors they are answered with; how many the 0xff behind them, if not one.
GARBAGE = [
    (b"foo bar baz\n", 3), (b"{foo bar}", 1), (b"}", 1), (b"]]", 2),
    (b'{"execute":"query-name"]', 1), (b'{"execute":"query-status","id":01}\n', 2),
    (b'{"execute":"qu\n"}\n', 2), (b"[]", 1), (b"[1,{}]", 1), (b"null ", 1), (b"null", 0, 2),
    (b"42\n", 1), (b"42", 0, 2), (b"-", 0), (b"true,", 2), (b'"text"', 1), (b"'text'", 1),
    (b"{,}", 1), (b"[1,]", 1), (b'{"a":1,}', 1), (b'{"a" 1}', 1), (b"{1:2}", 1),
    (b'{"execute":"query-status" "id":1}', 1), (b'{"execute":"query-status","id":nul}', 1),
    (b'{"execute":"query-status","id":NaN}', 2), (b'{"execute":"query-status","id":1.}', 1),
    (b'{"execute":"query-status","id":%i}', 2), (b"%s\n", 1), (b"// comment\n" + Q, 2),
    (b"/* */", 1), (b"\xef\xbb\xbf" + Q, 2), (b"\x00", 1), (b"\x01\x02", 2), (b"\x0b", 1),
    (b"\x0c" + Q, 2), (b"\x7f ", 1), (b"\xff", 1), (b"\xfe", 1), (b"\xff\xff\xff", 3),
    (b"\x80 ", 1), (b"\xc3\x28 ", 1), (b'"\\q" ', 1), (b'"\\x41" ', 1), (b'"\\u12G4" ', 1),
    (b'"\\ud800" ', 1), (b'"\\udc00\\ud800" ', 1), (b'"a\x01', 1), (b'"qu\xff', 1),
    (b'{"execute":"qu\xff', 1), (b'{"execute":\xff', 1),
    (b'{"execute":"query-status","arguments":{"x":"\xc3\x28"},"id":1}', 1),
    (b'{"execute":"\xed\xa0\x80"}', 1), (b'{"execute":"\xf4\x90\x80\x80"}', 1),
    (b'{"id":"\xc0\x80","execute":1}', 1), (b'{"execute":"\xc1\xbf"}', 1),
    (b'{"execute":"\xff"}', 2), (b'{{{', 0), (b"[" * 100 + b"]" * 100, 1),
    (b'{"execute":"query-status"', 0), (b'{"execute":"query-status","id":"', 0), (b"'", 0),
    (b"tru", 0, 2), (b'{"execute":"a\tb"}', 2), (b'{"execute":"a\rb"}', 2), (b"'\n", 1),
    (b"\"'\n'\"\n", 1), (b"1 2 3\n", 3), (b"1,2", 2, 2), (b"1:2", 2, 2), (b":", 1), (b",", 1),
    (b"-x ", 1), (b"1x ", 2), (b"1e5x ", 2), (b"@#$ ", 1), (b"execute: quit\n", 3),
    (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", 4), (b"\x1b[A\n", 2), (b"help\r\n", 1),
    (b'{"execute":"query-status","id":' + b"[" * 1030, 1),
]
GARBAGE_ROWS = [(text + b"\xff", n + (more[0] if more else 1)) for text, n, *more in GARBAGE]
GARBAGE_STEPS = [Step(text, n, b"\xff", n=n + (more[0] if more else 1)) for text, n,
    *more in GARBAGE] + [
    Step(text, n=n) for text, n in GARBAGE_ROWS] + [
    Step(text + Q, n=n + 1) for text, n in GARBAGE_ROWS] + [
    bytewise(text + Q, n=n + 1) for text, n in GARBAGE_ROWS if len(text) < 70] + [
    Step(b"".join(text for text, _ in GARBAGE_ROWS), n=len(GARBAGE))]


def nested(depth, item=b""):
    return b'{"execute":"query-status","id":' + b"[" * depth + item + b"]" * depth + b"}"


LIMITS = [
    Step(nested(1022)), Step(nested(1023)), Step(nested(1024) + b"\xff", n=1025), Step(Q),
    Step(nested(1500) + b"\xff", n=1025), Step(b"{" * 1100 + b"\xff", n=2),
    Step(b"[" * 5000 + b"\xff", n=5),
    Step(b'{"execute":"qom-get","arguments":{"path":"/","property":' + b'{"a":' * 1000 + b"1" +
         b"}" * 1002),
    Step(nested(10, b",".join([b"0"] * 5000)).replace(b",0", b", 0")),
    Step(b'{"execute":"no-such-command","arguments":{"a":"' + b"z" * 200000 + b'"},"id":1}'),
    Step(b'{"execute":"no-such-command","arguments":{"a":[' + b",".join([b"1.5"] * 20000) +
         b']},"id":1}'),
]

CAPS = b'{"execute":"qmp_capabilities","arguments":%s,"id":2}'
YANK = b'{"exec-oob":"yank","arguments":{"instances":[]},"id":"oob"}'
# Each on a connection of its own, up to the negotiation and a little beyond.
NEGOTIATIONS = [
    [Step(Q), Step(b'{"execute":"no-such-command","id":[1]}'), Step(b'{"execute":"quit","id":1}'),
     Step(b'{"execute":"query-status"}'), Step(b'{"execute":"query-status","x":1,"id":1}'),
     Step(b"{}"), Step(b'{"execute":"query-qmp-schema"}'),
     Step(b'{"execute":"query-status","arguments":[]}'),
     Step(b'{"execute":"snapshot-create","arguments":{"name":"x"},"id":1}'), Step(b"foo\n"),
     Step(b"\xff"), Step(b'{"execute":"query-snapshots"}'), Step(b'{"exec-oob":"migrate-pause"}'),
     Step(b"[]"), Step(b'{"exec-oob":"qmp_capabilities","id":1}'),
     Step(b'{"execute":"qmp_capabilities","id":{"a": 1}}'), Step(Q),
     Step(b'{"execute":"qmp_capabilities","id":3}'), Step(CAPS % b"[]"),
     Step(CAPS % b'{"enable":["oob"]}'),
     Step(CAPS % b'{"x":1}'), Step(CAPS % b'{"enable":1}'), Step(Q)],
    *([Step(CAPS % text), Step(Q)] for text in (
        b'{"enable":["psychic"]}', b'{"enable":"oob"}', b'{"enable":[1]}', b'{"enable":{}}',
        b'{"enable":null}', b'{"enable":[null]}', b'{"enable":[["oob"]]}',
        b'{"enable":[{"oob":1}]}', b'{"enable":["oob",1]}', b'{"enable":[1,"psychic"]}',
        b'{"enable":["psychic"],"x":1}', b'{"x":1,"enable":["psychic"]}',
        b'{"enable":["oob"],"x":1}', b'{"x":1}', b'{"x":1,"y":2}', b'{"y":1,"x":2}', b'{"":1}',
        b"[]", b"null", b'{"x":18446744073709551615}', b'{"enable":[18446744073709551615]}',
        b'{"enable":18446744073709551615}', b'{"enable":[1e400]}', b'{"enable":[],"x":1e400}',
        b'{"enable":["o\\u006fb"]}', b"{'enable':['oob']}", b'{"\\u0065nable":["oob"]}',
        b'{"enable":["oob\\u0000"]}', b'{"enable":["OOB"]}', b'{"enable":[""]}',
        b'{"enable":["\\u00e4"]}', b'{"enable":["' + b"w" * 300 + b'"]}',
        b'{"' + b"w" * 300 + b'":1}', b'{"a\\u0000b":1}', b'{"enable":["oob","oob"]}',
        b'{"enable":["oob","psychic"]}', b'{"enable":[]}', b"{}",
        b'{"enable":[' + b'"oob",' * 200 + b'"oob"]}')),
    [Step(b'{"execute":"qmp_capabilities\\u0000"}'), Step(b'{"execute":"\\u0000"}'), Step(Q)],
    [Step(b'{"execute":"qmp\\u005fcapabilities"}'), Step(b'{"execute":"query-snapshots\\u0000"}'),
     Step(b'{"execute":"snapshot-delete\\u0000","arguments":{"name":"x"}}'),
     Step(b'{"execute":"qmp_capabilities\\u0000"}'), Step(b'{"execute":"query-jobs\\u0000"}')],
    [Step(NEGOTIATE * 3 + Q, n=4)], [Step(Q + NEGOTIATE + Q, n=3)],
    [Step(b"foo \xff" + NEGOTIATE + Q, n=4)],
    [Step(b'{"execute":"qmp_cap', b'abilities"}' + Q, n=2)], [bytewise(NEGOTIATE)],
    [Step(b'{"execute":"qmp_capabilities","exec-oob":"x"}')],
    [Step(b'{"execute":"qmp_capabilities","x":1}')],
    [Step(b'{"execute":"qmp_capabilities"}', None)], [Step(None)],
    # Whoever has closed one direction is still answered, all of it.
    [Step(NEGOTIATE + Q * 40 + V + b"foo \xff" + Q, None)], [Step(NEGOTIATE + Q + b'{"exec', None)],
    [Step(OOB + YANK + Q * 3, 5, None)],
    [Step(NEGOTIATE + b'{"execute":"query-machines"}' * 12, None)],
]

OOB_STEPS = [Step(text) for text in (
    YANK, YANK.replace(b',"id":"oob"', b""), Q, b'{"exec-oob":"migrate-pause","id":"oob"}',
    b'{"exec-oob":"query-status","id":"oob"}', b'{"exec-oob":"no-such-command","id":"oob"}',
    b'{"exec-oob":"no-such-command"}', b'{"exec-oob":"qmp_capabilities","id":"oob"}',
    b'{"exec-oob":"qmp_capabilities","arguments":{"x":1},"id":"oob"}', b'{"exec-oob":1,"id":1}',
    b'{"exec-oob":null,"id":1}', b'{"exec-oob":"","id":1}',
    b'{"execute":"yank","arguments":{"instances":[]},"id":1}', b'{"exec-oob":"yank","id":1}',
    b'{"exec-oob":"yank","arguments":{"x":1},"id":1}', b'{"exec-oob":"yank","arguments":[],"id":1}',
    b'{"exec-oob":"yank","arguments":{"instances":[{"type":"block-node","node-name":"nobody"}]},'
    b'"id":1}',
    b'{"exec-oob":"yank","arguments":{"instances":[]},"extra":1,"id":1}',
    b'{"execute":"query-status","exec-oob":"yank","id":1}',
    b'{"exec-oob":"yank","execute":"yank","id":1}', b'{"exec-oob":"a","exec-oob":"b"}',
    b"{'exec-oob':'migrate-\\u0070ause','id':'oob'}",
    b'{"exec-oob":"migrate-recover","arguments":{"uri":"none:x"},"id":[1]}',
    b'{"exec-oob":"snapshot-create","id":1}',
    b'{"exec-oob":"snapshot-delete","arguments":{"name":"x"},"id":1}',
    b'{"exec-oob":"query-snapshots","id":1}', b'{"execute":"query-yank-not","id":1}',
    b'{"exec-oob":"migrate-pause","arguments":{"x":1},"id":1}',
    b'{"exec-oob":"yank\\u0000","id":1}', b'{"exec-oob":"\xc3\xa4","id":1}', CAPS % b"{}")] + [
    Step(YANK * 8, n=8), bytewise(YANK), Step(b"foo \xff", 2, YANK, n=3)]

STREAM_SCENES = [
    Scene("framing", FRAMING), Scene("ids", ID_STEPS), Scene("strings", STRINGS),
    Scene("numbers", NUMBERS), Scene("envelopes", ENVELOPES), Scene("garbage", GARBAGE_STEPS),
    Scene("limits", LIMITS),
    *(Scene(f"negotiation {number}", steps, first=b"") for number,
        steps in enumerate(NEGOTIATIONS)),
    Scene("oob", OOB_STEPS, first=OOB), Scene("not oob", OOB_STEPS),
    Scene("oob envelopes", ENVELOPES, first=OOB),
    Scene("oob garbage", GARBAGE_STEPS[:80], first=OOB),
    Scene("pretty", [Step(Q), Step(V), Step(Q + V, n=2), *ENVELOPES, *STRINGS,
        *(Step(text) for text in IDS),
                     Step(b'{"execute":"query-machines","id":1}'),
                     Step(b'{"execute":"query-block"}')],
          monitor="pretty"),
]
