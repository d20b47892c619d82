#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Conformance, randomised: several clients at once send random streams through the proxy; each is
answered with the bytes that QEMU answers the same stream with when it comes alone.

SEED=N COUNT=N: the first seed (default 1) and how many (default 10).  REPEAT=N: how often each is
played through the proxy.  A failing seed prints how to play it again; SHOW=1
prints the streams as well."""

import os
import sys
import threading
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "lib"))

# pylint: disable=wrong-import-position
import harness
from conformance_play import Pair
from conformance_stream import Stream

SEED = int(os.environ.get("SEED", "1"))
COUNT = int(os.environ.get("COUNT", "10"))
REPEAT = int(os.environ.get("REPEAT", "2"))
CLIENTS = 5
TIMEOUT = max(60, COUNT * REPEAT * 5)


def play_together(streams, address):
    """Plays the streams at the same time: a result or an exception of each."""
    results = [None] * len(streams)

    def play(number):
        try:
            results[number] = streams[number].play(address)
        except Exception as error:      # pylint: disable=broad-except
            results[number] = error
    threads = [threading.Thread(target=play, args=(number,)) for number in range(len(streams))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def difference(ours, theirs):
    """What differs, in words; None when nothing does."""
    if isinstance(ours, Exception):
        return f"{type(ours).__name__}: {ours}"
    for kind, mine, qemu in zip(("in band", "out of band"), ours, theirs):
        for number in range(max(len(mine), len(qemu))):
            pair = [lines[number] if number < len(lines) else b"(nothing)" for lines in (qemu,
                mine)]
            if pair[0] != pair[1]:
                return (f"{kind}, answer {number} of {len(qemu)}:\n  QEMU  {pair[0][:400]!r}\n"
                        f"  proxy {pair[1][:400]!r}")
    return None


def test_random_streams_at_once_are_answered_as_each_alone(t):
    pair = Pair(t).start()
    addresses = [f"unix:{guest.folder}/a" for guest in pair.guests]
    wrong, answers = [], 0
    for seed in range(SEED, SEED + COUNT):
        streams = [Stream(seed, client) for client in range(CLIENTS)]
        for client, stream in enumerate(streams if os.environ.get("SHOW") else ()):
            t.note(f"SEED={seed}, client {client}: {stream.writes}")
        theirs = [stream.play(addresses[0]) for stream in streams]
        answers += sum(len(inband) + len(oob) for inband, oob in theirs)
        failed = {}
        for _ in range(REPEAT):
            ours = play_together(streams, addresses[1])
            for client in range(CLIENTS):
                found = difference(ours[client], theirs[client])
                if found:
                    failed.setdefault(client, found)
        wrong += [f"SEED={seed} COUNT=1 {sys.argv[0]}  (client {client}): {found}"
                  for client, found in failed.items()]
    t.note(f"{COUNT} seeds, {answers} answers compared {REPEAT} times, {len(wrong)} streams differ")
    assert answers > COUNT * CLIENTS * 20, f"only {answers} answers"
    assert not wrong, "\n".join(wrong[:8])


if __name__ == "__main__":
    sys.exit(harness.run([test_random_streams_at_once_are_answered_as_each_alone], timeout=TIMEOUT))
