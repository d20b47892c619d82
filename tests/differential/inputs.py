# SPDX-License-Identifier: GPL-2.0-or-later
"""Inputs for diff_framer.py: what clients may send to a monitor, right and wrong."""

NAME = b'{"execute":"query-name"}'

# One for each hazard that is known, whatever answer it gets.
HAND_MADE = [
    NAME, NAME + b"\r\n", NAME + NAME, NAME + b"\n\n" + NAME, b" \t\r\n" + NAME, b"{\n" + NAME[1:],
    b"{'execute':'query-name'}", b'{"execute":"query-name","id":1}', b"", b"\n", b"{", b"[", b"}",
    b"]", b",", b":", b'"', b"'", b'"x"', b"'x'", b"[]", b"{}", b"[1,2]", b"42", b"42\n", b"-1\n",
    b"null", b"null\n", b"true ", b"foo bar baz\n", b"foo", b"{foo bar}", b"Foo", b"FOO {}",
    b'Foo"x"{}', b'A\tB\n"x"', b"@@@" + NAME, b'\xff', b'\xfe', b'\xff\xff', b"\x01", b"\x00",
    b"\x0b", b"\x0c", b"\x7f", b"\x7f{}", b"\xef\xbb\xbf" + NAME, b"// x\n" + NAME, b"/* */{}",
    b"%d", b"%", b"[%s]", b'{"execute":"query-name"]', b'["execute"}', b"[}", b"{]", b"[{]}",
    b'{"a":[}]', b"{[}]", b"((", b"[[]", b"[]]", b"{}}", b"{{}}", b"{{}:1}", b"{[1]:1}", b"{1:2}",
    b"{null:2}", b"{foo:2}", b'{{"a":foo}:1}', b'{"a" 1}', b'{"a":}', b'{"a"}', b'{"a",}',
    b'{"a":1,}', b'{"a":1 "b":2}', b'{"a":1;}', b'{,}', b"{:}", b"{:1}", b"[,]", b"[1,]", b"[1 2]",
    b"[1:2]", b"[:]", b'["a":1]', b"[1,,2]", b"{\"a\"::1}", b'{"a":1:2}', b'{"a":[1,{"b":2}}',
    b'{"a":1,"a":2}', b'{"a":1,"\\u0061":2}', b'{"a":1,\'a\':2}', b'{"x":{"a":1,"a":2}}',
    b'{"x":[{"a":1},{"a":2}],"y":{"a":1}}', b'{"a":1,"a":foo}', b'[{"a":1,"b":2,"a":3},foo]',
    b'{"execute":"query-name","id":01}', b"01", b"00", b"-01\n", b"-", b"-\n", b"-x", b"--1", b"+1",
    b".5", b"1.", b"1.\n", b"1.5\n", b"1e", b"1e\n", b"1e5\n", b"1E+5\n", b"1e-\n", b"1e+x",
    b"0e1\n",
    b"0x10\n", b"0.0\n", b"-0\n", b"-0.0\n", b"1.5.5\n", b"1a\n", b"1 a\n", b"NaN\n", b"Infinity\n",
    b"-Infinity\n", b"nan\n", b"True\n", b"nULL\n", b"truex\n", b"true1\n", b"true\"x\"",
    b'{"execute":"qu\n"}\n', b'{"execute":"qu\t"}', b'{"execute":"qu\x00"}', b'"qu\xff',
    b'"qu\\\xff',
    b'"qu\\\n"', b'"a\\', b"'it''s'", b"'a\"b'", b'"a\'b"', b"'a\\'b'", b'"a\\qb"', b'"\\x41"',
    b'"\\0"', b'"\\U0041"', b'"\\u"', b'"\\u1"', b'"\\u12"', b'"\\u123"', b'"\\u1234"',
    b'"\\u12g4"',
    b'"\\u\xc3\xa9\xc3\xa9"', b'"\\ud800"', b'"\\udc00"', b'"\\ud800x"', b'"\\ud800\\n"',
    b'"\\ud800\\u"', b'"\\ud800\\u12"', b'"\\ud800\\u0041"', b'"\\ud800\\ud800"',
    b'"\\ud83d\\ude00"',
    b'"\\ud83f\\udffe"', b'"\\ud83f\\udfff"', b'"\\uffff"', b'"\\ufffe"', b'"\\ufdd0"',
    b'"\\ufdef"',
    b'"\\ufdcf"', b'"\\u0000"', b'"\\uD7FF\\uE000"', b'"\xc0\x80"', b'"\xc0\x81"', b'"\xc1\xbf"',
    b'"\xc2"', b'"\xc2\x80"', b'"\x80"', b'"\xe0\x80\x80"', b'"\xed\xa0\x80"', b'"\xed\x9f\xbf"',
    b'"\xef\xbf\xbd"', b'"\xef\xbf\xbe"', b'"\xef\xb7\x90"', b'"\xf0\x9f\x98\x80"', b'"\xf0\x9f"',
    b'"\xf4\x8f\xbf\xbf"', b'"\xf4\x90\x80\x80"', b'"\xf8\x88\x80\x80\x80"',
    b'"\xfc\x84\x80\x80\x80\x80"',
    b'"\xfd\xbf\xbf\xbf\xbf\xbf"', b'"\xf5"', b"\xc3\xa9", b"[\xc3\xa9]", b'"\xc3\xa9\xff',
    b'"\xc3\xff', b'"\xe2\x82\xff', b'"\xef\xbf\xbf\xff', b'"\xc0\x80\xff',
    b"[" + b"foo," * 3 + b"]", b'"' + b"x" * 3000 + b'\xff', b"x" * 2000 + b"\n",
    b'"' + b"\xc3\xa9" * 1000 + b"\n",
]

ENVELOPES = [
    b'{"id":1}', b'{"id":1,"x":2}', b'{"arguments":{}}', b'{"execute":1}',
    b'{"execute":null,"id":[1]}',
    b'{"execute":"query-name","arguments":null}', b'{"execute":"query-name","arguments":[],"id":2}',
    b'{"execute":"query-name","arguments":{},"id":null}', b'{"execute":"x","id":{"b":1,"a":2}}',
    b'{"execute":"","id":""}', b'{"\\u0065xecute":"query-name","\\u0069d":7}',
    b'{"execute\\u0000":"x"}',
    b'{"execute":"a\\u0000b"}', b'{"execute":"query-name","\xc3\xa9":1,"id":3}', b'{"":1}',
    b'{"\\u0000":1,"id":4}', b'{"execute":1,"arguments":1,"foo":1,"id":5}',
    b'{"exec-oob":"query-yank"}',
    b'{"foo":1,"bar":2,"id":6}', b'{"bar":2,"foo":1,"id":6}',
    b'{"exec-oob":1,"execute":"x","id":1}',
    b'{"execute":"query-name","exec-oob":"query-yank"}', b'{"exec-oob":"query-yank","execute":"x"}',
    b'{"exec-oob":"x","execute":1}', b'{"exec-oob":"query-name","id":9}', b'{"exec-oob":"nothing"}',
    b'{"exec-oob":"query-yank","arguments":1}', b'{"\'":1}', b'{"\\"":1}', b'{"a\\nb\\t\x7f":1}',
    b'{"aa":1,"aq":2}', b'{"aq":1,"aa":2}', b'{"execute":"x","id":1,"\\u0069d":2}',
    b'{"execute":"x","\\u0065xecute":"y"}', b'{"execute":"x","arguments":{"a":1,"\\u0061":2}}',
    b'{"execute":"x","arguments":{"a":{"b":1,"b":2}},"id":1}',
    b'{"' + b"k" * 2000 + b'":1}', b'{"execute":"' + b"n" * 800 + b'"}',
]

IDS = [
    b"1", b"-0", b"0", b"1.0", b"1e2", b"0.1", b'"x"', b"'x'", b"'a\"b'", b'"a\'b"', b"'\\''",
    b"[]",
    b"{}", b"[1, [2], {'a': 'b'}]", b"null", b"true", b"9223372036854775807",
    b"9223372036854775808",
    b"18446744073709551615", b"18446744073709551616", b"-9223372036854775808",
    b"-9223372036854775809",
    b"1e308", b"1e400", b"-1e400", b"5e-324", b'"\\u0041\\/"', b'"\\ud83d\\ude00"',
    b'"\xc3\xa9\x7f"',
    b'"\xc0\x80\\u0000"', b'{ "b" : 1 ,\n "a" : [ ] }', b'"\\b\\f\\n\\r\\t\\\\\\""',
    b"'\\/ \xf0\x9f\x98\x80'", b'"' + b"\xc0\x80" * 9 + b'"', b"'" + b'"' * 9 + b"'",
]

NAMES = [b"query-name", b"query-version", b"query-commands-x", b"query-yank", b"x", b"no-such",
         b"qu\\u0065ry"]
# What a name may be made of; in double quotes.
NAME_PARTS = [
    b"query", b"-", b"x", b"Q", b"_", b".", b" ", b"0", b"%s", b"'", b'\\"', b"\\\\", b"\\/",
    b"\\n", b"\\b", b"\\u0041", b"\\u00e9", b"\\u20AC", b"\\ud83d\\ude00", b"\\u0000", b"\\u001f",
    b"\x7f", b"\xc0\x80", b"\xc3\xa9", b"\xe2\x82\xac", b"\xf0\x9f\x98\x80", b"{", b"]", b",", b":",
]
KEYS = [b"execute", b"exec-oob", b"arguments", b"id", b"foo", b"a", b"b", b"", b"\\u0069d",
        b"\xc3\xa9"]
TOKENS = [b"{", b"}", b"[", b"]", b",", b":", b"1", b"-2", b"0", b"1.5e3", b"true", b"null",
          b"foo", b'"a"',
          b"'b'", b'"execute"', b'"query-name"', b'"id"', b'"arguments"', b" ", b"\n", b"{}",
          b"[]", b'"a":1']
BYTES = [bytes([b]) for b in b"{}[]:,\"'\\ \t\r\n0123456789-+.eEaunrltsfx%/\x00\x01\x0b\x1f\x7f\x80"
         b"\xbf\xc0\xc2\xe0\xed\xef\xf0\xf4\xfd\xfe\xff"] + [b"\\u", b"\\ud8", b"\xc3\xa9", b"AB"]


def hand_made(_rng, _count):
    return HAND_MADE + ENVELOPES + [
        b'{"execute":"query-name","id":' + text + b"}" for text in IDS]


def depths(_rng, _count):
    """Around the limit of 1024 levels, where what is beyond is read as new input."""
    cases = []
    for n in (1022, 1023, 1024, 1025, 1030):
        cases += [b'{"execute":"query-name","id":' + b"[" * n + b"]" * n + b"}",
                  b"[" * n, b"[" * n + b"]" * n, b'{"a":' * n + b"1" + b"}" * n,
                  b'[{"":' * (n // 2) + b"foo", b"[" * n + b"foo\n"]
    return cases


def value(rng, depth, unique=False):
    """Of any type; unique: no key comes twice in an object, and all of them are strings."""
    kind = rng.randrange(9 if depth else 6)
    if kind == 0:
        return rng.choice([b"true", b"false", b"null"])
    if kind == 1:
        return str(rng.randrange(-10, 1 << rng.choice([4, 31, 63, 64, 65]))).encode()
    if kind == 2:
        return repr(rng.uniform(-1e6, 1e6)).encode()
    if kind < 6:
        quote = rng.choice([b'"', b"'"])
        return quote + rng.choice([b"", b"abc", b"\\n", b"\\u00e9", b"\xc3\xa9", b"\\\\",
                                   b"\\'"]) + quote
    if kind < 8:
        keys = [rng.choice(KEYS) for _ in range(rng.randrange(4))]
        if unique:      # "\\u0069d" is "id"
            keys = dict.fromkeys(key.replace(b"\\u0069", b"i") for key in keys)
        return b"{" + b",".join(b'"' + key + b'":' + value(rng, depth - 1, unique)
                                for key in keys) + b"}"
    return b"[" + b", ".join(value(rng, depth - 1, unique)
                             for _ in range(rng.randrange(4))) + b"]"


def message(rng, keys=KEYS):
    """A request that is mostly right."""
    members = [(b"execute", b'"' + rng.choice(NAMES) + b'"')] if rng.random() < 0.9 else []
    if rng.random() < 0.5:
        members.append((b"id", rng.choice(IDS)))
    if rng.random() < 0.3:
        members.append((b"arguments", b"{" + value(rng, 0) + b":" + value(rng, 2) + b"}"))
    for _ in range(rng.choice([0, 0, 0, 1, 2])):
        members.append((rng.choice(keys), value(rng, 2)))
    rng.shuffle(members)
    space = rng.choice([b"", b"", b" ", b"\n ", b"\t\r\n"])
    return (b"{" + (b"," + space).join(b'"' + k + b'":' + space + v for k, v in members) + space
            + b"}" + rng.choice([b"", b"\n", b"\r\n"]))


def request(rng):
    """A request that is right: QEMU says which name it read."""
    name = b"".join(rng.choice(NAME_PARTS) for _ in range(rng.choice([1, 2, 3, 5, 9])))
    quote = b'"'
    if rng.random() < 0.3 and b"'" not in name:
        name, quote = name.replace(b'\\"', b'"'), b"'"
    space = rng.choice([b"", b"", b" ", b"\n ", b"\t\r\n"])
    members = [rng.choice([b'"execute"', b"'execute'", b'"\\u0065xecute"', b'"exec\\u0075te"'])
               + space + b":" + space + quote + name + quote]
    if rng.random() < 0.6:
        members.append(b'"id":' + space + (rng.choice(IDS) if rng.random() < 0.6
                                           else value(rng, 2, unique=True)))
    if rng.random() < 0.4:
        members.append(b"'arguments':" + space + b'{"a":' + value(rng, 2, unique=True) + b"}")
    rng.shuffle(members)
    return b"{" + space + (space + b"," + space).join(members) + b"}" + rng.choice([b"", b"\r\n"])


def requests(rng, count):
    return [request(rng) for _ in range(count)]


def messages(rng, count):
    return [b"".join(message(rng) for _ in range(rng.choice([1, 1, 1, 2,
            4]))) for _ in range(count)]


def mutate(rng, data):
    data = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 3, 6])):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(4)
        if kind == 0:
            data[at:at] = rng.choice(BYTES)
        elif kind == 1:
            data[at:at + 1] = rng.choice(BYTES)
        elif kind == 2:
            del data[at:at + rng.choice([1, 1, 2, 8])]
        else:
            data[at:at] = data[at:at + rng.randrange(1, 12)]
    return bytes(data)


def mutated(rng, count):
    seeds = HAND_MADE + ENVELOPES
    return [mutate(rng, message(rng) if rng.random() < 0.6 else rng.choice(seeds) + message(rng))
            for _ in range(count)]


def soup(rng, count):
    return [b"".join(rng.choice(TOKENS) for _ in range(rng.randrange(1, 24))) for _ in range(count)]


def noise(rng, count):
    return [b"".join(rng.choice(BYTES) for _ in range(rng.randrange(1, 40))) for _ in range(count)]


def envelopes(rng, count):
    """Many wrong members at once: QEMU reports one of them, by the order of its hash table."""
    words = [b"execute", b"exec-oob", b"arguments", b"id"] + [
        bytes(rng.choice(b"abcdefghij-_") for _ in range(rng.randrange(1, 9))) for _ in range(300)]
    cases = list(ENVELOPES)
    for _ in range(count):
        keys = list(dict.fromkeys(rng.choice(words) for _ in range(rng.randrange(1, 8))))
        keys = list(dict.fromkeys(keys + rng.sample(words[:4], rng.randrange(5))))
        rng.shuffle(keys)
        cases.append(b"{" + b",".join(b'"' + k + b'":' + rng.choice([b"1", b'"x"', b"{}"])
                                      for k in keys) + b"}")
    return cases


def large():
    """The limits that QEMU, reading byte by byte, needs minutes to reach."""
    tokens = 2 << 20
    return [b"[" + b"," * (tokens - 2) + b"]", b"[" + b"," * tokens,
            b"[" + b"1," * (tokens // 2) + b"]",
            b'"' + b"x" * ((64 << 20) - 3) + b'"', b'"' + b"x" * (64 << 20),
            b"7" * (64 << 20) + b"\n"]


# name, generator, with oob, bytes fed at a time
GROUPS = [
    ("hand-made", hand_made, False, 65536),
    ("hand-made, byte by byte", hand_made, False, 1),
    ("depth", depths, False, 7),
    ("requests", requests, False, 4),
    ("messages", messages, False, 65536),
    ("mutated", mutated, False, 5),
    ("token soup", soup, False, 3),
    ("noise", noise, False, 1),
    ("envelopes", envelopes, False, 65536),
    ("envelopes with oob", envelopes, True, 65536),
]
