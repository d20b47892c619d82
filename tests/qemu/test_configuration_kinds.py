#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Configuration over QMP: devices and what they stand on, what leaves no trace, and what cannot be
replayed."""

import os
import sys

import scene
from plugging import (SCSI, config, create, peripherals, plug_node, plug_scsi, reads, refused, unplug,
                      write)
from scene import harness, oracle


def test_addresses_are_the_ones_that_qemu_had_chosen(t):
    """The first free ones are others, once what stood before has gone."""
    p = scene.start(t, args=SCSI)
    for name in ("a", "b", "c"):
        plug_scsi(p, name)
        write(p, f"s{name}", ord(name))
    p.command("chardev-add", {"id": "c0", "backend": {"type": "ringbuf", "data": {"size": 4096}}})
    p.command("chardev-add", {"id": "c1", "backend": {"type": "null", "data": {}}})
    for number in (0, 1):
        p.command("device_add", {"driver": "virtserialport", "id": f"p{number}",
                                 "chardev": f"c{number}", "name": f"port.{number}"})
    unplug(p, "sa")
    p.command("blockdev-del", {"node-name": "a"})
    unplug(p, "p0")
    p.command("chardev-remove", {"id": "c0"})

    def places():
        return [[p.command("qom-get", path=f"/machine/peripheral/{device}", property=name)
                 for name in names] for device, names in (
                     ("sb", ("channel", "scsi-id", "lun")), ("sc", ("channel", "scsi-id", "lun")),
                     ("p1", ("nr",)))]
    before = places()
    one = create(p, "one")
    unplug(p, "sb")
    p.serial.wait_more(2)
    scene.revert(p, one, skip=("sb", "sc"))
    harness.equal(places(), before, "places")
    harness.equal(peripherals(p), ["p1", "sb", "sc", "scsi0", "serial"], "devices")
    for name in ("b", "c"):
        reads(p, f"s{name}", ord(name))
    scene.revert(p, one, skip=("sb", "sc"))
    harness.equal(places(), before, "places")
    p.serial.wait_round()
    scene.tidy(p, t.path("a.qcow2"))


def test_devices_of_the_command_line_stay_where_they_are(t):
    """One of them has gone, and its place is free: the others do not move up.  The limits of a disk and
    the forwarded ports of a network are set again."""
    args = ["-device", "lsi53c810,id=scsi0", "-netdev", "user,id=n0", "-device", "e1000,netdev=n0,id=net"]
    for name in ("a", "b", "c"):
        oracle.qemu_img("create", "-q", "-f", "raw", t.path(f"{name}.raw"), oracle.SIZE)
        args += ["-blockdev", f"raw,node-name={name},file.driver=file,file.filename={t.path(name)}.raw",
                 "-device", f"scsi-hd,id=s{name},drive={name},bus=scsi0.0"]
    p = scene.start(t, args=args)

    def places():
        return [p.command("qom-get", path=f"/machine/peripheral/{device}", property="scsi-id")
                for device in ("sb", "sc")]
    full = create(p, "full")
    write(p, "sb", 0x11)
    unplug(p, "sa")
    p.command("blockdev-del", {"node-name": "a"})
    p.command("block_set_io_throttle", {"id": "sc", "bps": 1 << 30, "bps_rd": 0, "bps_wr": 0, "iops": 0,
                                        "iops_rd": 0, "iops_wr": 0})
    assert p.qmp.hmp("hostfwd_add n0 tcp:127.0.0.1:0-:22") == ""
    before = places()
    less = create(p, "less")
    for saved in (less, less, full):
        scene.revert(p, saved, skip=("sa", "sb", "sc"))
        harness.equal(places(), before, "places")
        p.serial.wait_more(2)
        limits = {e["qdev"]: e["inserted"]["bps"] for e in p.command("query-block") if "inserted" in e}
        harness.equal(limits["sc"], 0 if saved is full else 1 << 30, "limit")
        harness.equal("127.0.0.1" in p.qmp.hmp("info usernet"), saved is less, "forwarded port")
    harness.equal(peripherals(p), ["net", "sa", "sb", "sc", "scsi0"], "devices")
    p.serial.wait_round()
    scene.tidy(p)


def test_all_kinds_of_things(t):
    """Networks, objects, character devices; removed since, they are there again."""
    p = scene.start(t, args=["-device", "qemu-xhci,id=usb"])
    bare = create(p, "bare")
    log = t.path("port.log")
    for name, args in (
            ("netdev_add", {"type": "user", "id": "n0", "hostname": "a,b"}),
            ("device_add", {"driver": "virtio-net-pci", "id": "net0", "netdev": "n0",
                            "mac": "52:54:00:12:34:99", "bus": "pci.0"}),
            ("netdev_add", {"type": "user", "id": "n1"}),
            ("device_add", {"driver": "usb-kbd", "id": "keys"}),
            ("object-add", {"qom-type": "iothread", "id": "io0"}),
            ("object-add", {"qom-type": "rng-random", "id": "rng0", "filename": "/dev/urandom"}),
            ("device_add", {"driver": "virtio-rng-pci", "id": "vrng", "rng": "rng0"}),
            ("object-add", {"qom-type": "memory-backend-ram", "id": "ram0", "size": 1 << 20}),
            ("chardev-add", {"id": "c0", "backend": {"type": "file", "data": {"out": str(log)}}}),
            ("chardev-add", {"id": "c1", "backend": {"type": "socket", "data": {"server": True, "addr": {
                "type": "unix", "data": {"path": str(t.path("port.sock"))}}}}}),
            ("device_add", {"driver": "pci-serial", "id": "ser0", "chardev": "c0"}),
            ("device_add", {"driver": "pci-serial", "id": "ser1", "chardev": "c1"}),
            ("device_add", {"driver": "usb-tablet", "id": "tab"})):
        p.command(name, args)
    devices = peripherals(p)
    pci = p.command("query-pci")
    one = create(p, "one")
    for device in ("tab", "keys"):
        unplug(p, device)
    p.command("netdev_del", {"id": "n1"})
    p.command("object-del", {"id": "io0"})
    p.command("object-add", {"qom-type": "iothread", "id": "io1"})
    p.serial.wait_more(2)
    for _ in range(2):
        scene.revert(p, one)
        harness.equal(peripherals(p), devices, "devices")
        harness.equal([d.get("qdev_id") for b in p.command("query-pci") for d in b["devices"]],
                      [d.get("qdev_id") for b in pci for d in b["devices"]], "on the bus")
        harness.equal([e["id"] for e in p.command("query-iothreads")], ["io0"], "iothreads")
        harness.equal([e["id"] for e in p.command("query-memdev") if "id" in e and
                       e["id"] == "ram0"], ["ram0"], "memory")
        named = {c["label"]: c["filename"] for c in p.command("query-chardev")}
        assert named["c0"] == "file" and "port.sock" in named["c1"], named
        p.serial.wait_more(2)
    scene.revert(p, bare)
    harness.equal(peripherals(p), ["usb"], "devices")
    harness.equal(p.command("query-iothreads"), [], "iothreads")
    p.serial.wait_round()
    scene.tidy(p)


def test_ports_of_pci_express_and_a_device_without_an_id(t):
    p = scene.start(t, args=["-machine", "q35", "-device", "pcie-root-port,id=rp1,chassis=1,slot=1",
                             "-device", "pcie-root-port,id=rp2,chassis=2,slot=2"])
    plug_node(p, "hot")
    p.command("device_add", {"driver": "virtio-rng-pci", "bus": "rp2"})
    p.command("device_add", {"driver": "virtio-blk-pci", "id": "vhot", "drive": "hot", "bus": "rp1"})
    write(p, "vhot", 0x11)
    one = create(p, "one")
    write(p, "vhot", 0x22)
    anonymous = p.command("qom-list", path="/machine/peripheral-anon")
    for _ in range(2):
        scene.revert(p, one, skip=("vhot",))
        reads(p, "vhot", 0x11)
        harness.equal(p.command("qom-list", path="/machine/peripheral-anon"), anonymous, "no ids")
    p.serial.wait_round()
    scene.tidy(p)


def test_memory_and_processors(t):
    p = scene.start(t, args=["-smp", "1,maxcpus=3", "-m", "32M,slots=2,maxmem=1G"])
    p.command("object-add", {"qom-type": "memory-backend-ram", "id": "ram0", "size": 64 << 20})
    p.command("device_add", {"driver": "pc-dimm", "id": "dimm0", "memdev": "ram0"})
    cpu = [c for c in p.command("query-hotpluggable-cpus") if "qom-path" not in c][0]
    p.command("device_add", {"driver": cpu["type"], "id": "cpu1", **cpu["props"]})
    dimm = p.command("query-memory-devices")[0]["data"]
    one = create(p, "one")
    for _ in range(2):
        scene.revert(p, one)
        harness.equal(len(p.command("query-cpus-fast")), 2, "processors")
        again = p.command("query-memory-devices")[0]["data"]
        harness.equal((again["addr"], again["slot"], again["size"]),
                      (dimm["addr"], dimm["slot"], dimm["size"]), "memory")
    p.serial.wait_round()
    scene.tidy(p)


def test_what_came_and_went_leaves_no_trace(t):
    p = scene.start(t, args=[*SCSI, "-netdev", "user,id=mine"])
    bare = create(p, "bare")
    image = plug_scsi(p, "hot")
    p.command("netdev_add", {"type": "user", "id": "n0"})
    p.command("object-add", {"qom-type": "iothread", "id": "io0"})
    p.command("chardev-add", {"id": "c0", "backend": {"type": "null", "data": {}}})
    p.command("chardev-change", {"id": "c0", "backend": {"type": "ringbuf", "data": {}}})
    unplug(p, "shot")
    p.command("blockdev-del", {"node-name": "hot"})
    p.command("netdev_del", {"id": "n0"})
    p.command("object-del", {"id": "io0"})
    p.command("chardev-remove", {"id": "c0"})
    p.command("block_resize", {"device": "d0", "size": 2 * oracle.SIZE})
    clean = create(p, "clean")
    snapshot = next(s for s in scene.state(p)["snapshots"] if s["name"] == "clean")
    harness.equal(snapshot["config"], [], "configuration")
    # What was there from the start and is not any more is remembered as that.
    p.command("netdev_del", {"id": "mine"})
    less = create(p, "less")
    for saved in (clean, bare, less, clean):
        scene.revert(p, saved)
        p.serial.wait_more(2)
    harness.equal(config(p), [], "configuration")
    scene.tidy(p, image)


def test_what_cannot_be_replayed_is_refused_by_name(t):
    p = scene.start(t, ("qcow2",), ["-device", "qemu-xhci,id=usb", "-serial", "null"])
    bare = create(p, "bare")
    with open(t.path("passed"), "w+b") as file:
        file.truncate(1 << 20)
    add_fd(p, os.open(t.path("passed"), os.O_RDONLY))
    for words, name, args in (
            (("qom-set", "/machine/peripheral/usb"), "qom-set",
             {"path": "/machine/peripheral/usb", "property": "hotplugged", "value": True}),
            (("nbd-server-start",), "nbd-server-start",
             {"addr": {"type": "unix", "data": {"path": str(t.path("nbd.sock"))}}}),
            (("chardev-change", "'serial1'"), "chardev-change",
             {"id": "serial1", "backend": {"type": "ringbuf", "data": {}}}),
            (("human-monitor-command", "object_add"), "human-monitor-command",
             {"command-line": "object_add iothread,id=hmp"}),
            (("blockdev-add", "'byfd'", "descriptor"), "blockdev-add",
             {"driver": "raw", "node-name": "byfd", "read-only": True,
              "file": {"driver": "file", "filename": "/dev/fdset/7", "read-only": True}})):
        try:
            p.command(name, args)
        except scene.qmp.QmpError as error:
            if name == "qom-set":       # not every version has something to set here
                continue
            raise error
        saved = create(p, "odd")
        p.serial.wait_more(2)
        refused(p, "configuration-changed", saved.name, "'odd'", *words)
        scene.revert(p, bare)
        scene.delete(p, "odd")
        if name == "chardev-change":
            harness.equal(config(p), [], "configuration")
        add_fd(p, os.open(t.path("passed"), os.O_RDONLY))
    p.serial.wait_more(2)
    scene.tidy(p)


def add_fd(p, descriptor):
    """The set of number 7; the descriptor is closed here."""
    p.qmp.send_raw('{"execute": "add-fd", "arguments": {"fdset-id": 7}, "id": "fd"}', [descriptor])
    while "id" not in p.qmp.recv():
        pass
    os.close(descriptor)


if __name__ == "__main__":
    sys.exit(harness.run([test for name, test in list(globals().items())
                          if name.startswith("test_")]))
