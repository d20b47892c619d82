# SPDX-License-Identifier: GPL-2.0-or-later
"""ganeti: a session with ganeti's own monitor classes: ganeti.py SOCKET

Exit status 77 where they are not installed.
"""

import glob
import sys

PLACES = ["/usr/share/ganeti/default", *sorted(glob.glob("/usr/share/ganeti/[0-9]*"))]
OURS = {"snapshot-create", "snapshot-revert", "query-snapshots"}


def main():
    # Not this file, which has the package's name.
    sys.path[:1] = PLACES
    try:
        from ganeti.hypervisor.hv_kvm import monitor    # pylint: disable=C0415,E0401,E0611
        from ganeti import errors                       # pylint: disable=C0415,E0401
    except ImportError:
        return 77
    for _ in range(2):
        with monitor.QmpConnection(sys.argv[1]) as qmp:
            print(qmp.version, qmp.package)
            print(sorted(set(qmp.supported_commands) - OURS))
            print(qmp.Execute("query-status"))
            print(qmp.Execute("query-machines")[:1])
            print(len(str(qmp.Execute("query-qmp-schema"))) > 500)
            print(qmp.HasPCIDevice({"pci": 30}, "none") if hasattr(qmp, "HasPCIDevice") else None)
            for command in ("no-such-command", "device_del"):
                try:
                    print(qmp.Execute(command, {"id": "none"}))
                except errors.GenericError as error:
                    print(type(error).__name__, error)
            qmp.Execute("cont")
            qmp.Execute("stop")
            print(qmp.Execute("query-status"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
