# SPDX-License-Identifier: GPL-2.0-or-later
"""qemu_qmp: a session with Python's qemu.qmp, both of its interfaces: qemu_qmp.py SOCKET

Prints what came; scripts/clients compares it with the same session without the proxy.
"""

import asyncio
import os
import sys

from qemu.qmp import QMPClient
from qemu.qmp.legacy import QEMUMonitorProtocol
from qemu.qmp.error import QMPError

OURS = {"snapshot-create", "snapshot-revert", "query-snapshots"}


def show(*words):
    print(*words, flush=True)


async def refused(qmp, *command):
    try:
        show("not refused", await qmp.execute(*command))
    except QMPError as error:
        show(type(error).__name__, error)


async def session(path):
    qmp = QMPClient("driver")
    await qmp.connect(path)
    show(qmp.greeting, qmp.runstate)
    show(await qmp.execute("query-status"))
    show(await qmp.execute("query-version"))
    show(sorted({c["name"] for c in await qmp.execute("query-commands")} - OURS))
    # One line of over 200 KB: the library has a limit.
    show(len(await qmp.execute("query-qmp-schema")) > 500)
    await refused(qmp, "no-such-command")
    await refused(qmp, "qom-get", {"path": "/nowhere", "property": "x"})
    await refused(qmp, "query-status", {"x": 1})
    # The library does not queue: 40 commands are under way at the same time.
    answers = await asyncio.gather(*(qmp.execute("human-monitor-command", {
        "command-line": f"p {n}*3"}) for n in range(40)))
    show(answers)
    with qmp.listener(("STOP", "RESUME")) as events:
        for command in ("cont", "stop"):
            await qmp.execute(command)
            event = await asyncio.wait_for(events.get(), 10)
            show(event["event"], event.get("data"))
    # As it comes: without an id, and with one of the user's.
    show(await qmp._raw({"execute": "query-name"}, assign_id=False))  # pylint: disable=W0212
    show(await qmp._raw(b'{"execute": "query-name", "id": "mine"}',   # pylint: disable=W0212
                        assign_id=False))
    reply = await qmp.execute_msg(qmp.make_execute_msg("query-name", oob=False))
    show(reply)
    await qmp.disconnect()
    # Connected again, with the same object.
    await qmp.connect(path)
    show(await qmp.execute("query-name"))
    await qmp.disconnect()


def legacy(path):
    with QEMUMonitorProtocol(path) as qmp:
        show(qmp.connect())
        show(qmp.cmd_obj({"execute": "query-name", "id": "mine"}))
        show(qmp.cmd_obj({"execute": "no-such-command"}))
        qmp.cmd_obj({"execute": "cont"})
        show(qmp.pull_event(wait=5.0)["event"])
        qmp.cmd_obj({"execute": "stop"})
        show([event["event"] for event in qmp.get_events(wait=5.0)])
        # A descriptor first, the command after it, in another write.
        reader, writer = os.pipe()
        if hasattr(qmp, "send_fd_scm"):
            qmp.send_fd_scm(reader)
            show(qmp.cmd_obj({"execute": "getfd", "arguments": {"fdname": "mine"}}))
            show(qmp.cmd_obj({"execute": "closefd", "arguments": {"fdname": "mine"}}))
        os.close(reader)
        os.close(writer)


def main():
    # In this order: the second leaves no event loop to the first.
    legacy(sys.argv[1])
    asyncio.run(session(sys.argv[1]))


if __name__ == "__main__":
    main()
