# SPDX-License-Identifier: GPL-2.0-or-later
"""qemu_machine: QEMU started by its own qemu.machine: qemu_machine.py EMULATOR FOLDER

The class that QEMU's functional tests and iotests use: the monitor is one end of a socket pair, or
a path that QEMU connects to (by version), the serial line another.  Prints what came.
"""

import os
import sys

from qemu.machine import QEMUMachine


def show(*words):
    print(*words, flush=True)


def machine(emulator, folder, *args, **options):
    made = QEMUMachine(emulator, base_temp_dir=folder, **options)
    made.add_args("-accel", "tcg", "-nodefaults", "-m", "16", *args)
    return made


def commands(vm):
    show(vm.qmp("query-status"))
    show(vm.qmp("no-such-command"))
    show(vm.qmp("human-monitor-command", command_line="info version"))
    show(vm.qmp("cont"), vm.event_wait("RESUME")["event"])
    show(vm.qmp("stop"), vm.event_wait("STOP", timeout=5.0)["event"])


def descriptors(vm):
    """As the iotests hand over images: add-fd by the library's own way."""
    image = os.open(os.devnull, os.O_RDWR)
    try:
        vm.send_fd_scm(fd=image)
        show(vm.qmp("getfd", fdname="image"))
        show(vm.qmp("closefd", fdname="image"))
        vm.send_fd_scm(fd=image)
        show(vm.qmp("add-fd", fdset_id=7)["return"]["fdset-id"])
        show(vm.qmp("remove-fd", fdset_id=7))
    finally:
        os.close(image)


def main():
    emulator, folder = sys.argv[1:]
    with machine(emulator, folder, "-S") as vm:
        vm.launch()
        commands(vm)
        descriptors(vm)
        vm.shutdown()
        show("exit", vm.exitcode())
    # A serial line over an inherited descriptor or a path; `quit` by the user, not the class.
    with machine(emulator, folder) as vm:
        vm.set_machine("pc")
        vm.set_console(device_type="isa-serial")
        vm.launch()
        show(vm.qmp("query-status"))
        show(sorted(entry["label"] for entry in vm.qmp("query-chardev")["return"]
                    if entry["label"] == "console"))
        vm.qmp("quit")
        vm.wait()
        show("exit", vm.exitcode())


if __name__ == "__main__":
    main()
