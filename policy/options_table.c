/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "policy/options_table.h"

#include <string.h>

#define FLAG(name, class) { name, false, OPTION_##class }
#define WITH(name, class) { name, true, OPTION_##class }

/* In the order of QEMU's own help, so that a new version's list can be laid beside it.  Options
 * that only one of the versions knows are here as well: QEMU itself refuses what it does not know.
 * Checked against both binaries ("invalid option", "requires an argument"). */
static const struct option_row rows[] = {
    FLAG("h", REFUSED), FLAG("help", REFUSED), FLAG("version", REFUSED),
    WITH("machine", MACHINE), WITH("M", MACHINE),
    WITH("cpu", PLAIN), WITH("accel", PLAIN), WITH("smp", PLAIN), WITH("numa", PLAIN),
    WITH("add-fd", PLAIN), WITH("set", CONDITIONAL), WITH("global", CONDITIONAL),
    WITH("boot", PLAIN), WITH("m", PLAIN), WITH("mem-path", PLAIN), FLAG("mem-prealloc", PLAIN),
    WITH("k", PLAIN), FLAG("audio-help", REFUSED), WITH("audio", PLAIN), WITH("audiodev", PLAIN),
    WITH("device", DEVICE), WITH("name", PLAIN), WITH("uuid", PLAIN),

    /* images */
    WITH("fda", IMAGE), WITH("fdb", IMAGE), WITH("hda", IMAGE), WITH("hdb", IMAGE),
    WITH("hdc", IMAGE), WITH("hdd", IMAGE), WITH("cdrom", IMAGE), WITH("blockdev", BLOCKDEV),
    WITH("drive", DRIVE), WITH("mtdblock", IMAGE), WITH("sd", IMAGE), WITH("pflash", IMAGE),
    FLAG("snapshot", REFUSED), WITH("fsdev", PLAIN), WITH("virtfs", PLAIN), WITH("iscsi", PLAIN),

    /* USB and display */
    FLAG("usb", PLAIN), WITH("usbdevice", PLAIN), WITH("display", DISPLAY),
    FLAG("nographic", PLAIN), WITH("spice", EXCLUSIVE), FLAG("portrait", PLAIN),
    WITH("rotate", PLAIN), WITH("vga", PLAIN), FLAG("full-screen", PLAIN), WITH("g", PLAIN),
    WITH("vnc", VNC),

    /* x86 only */
    FLAG("win2k-hack", PLAIN), FLAG("no-fd-bootchk", PLAIN), FLAG("no-acpi", PLAIN),
    FLAG("no-hpet", PLAIN), WITH("acpitable", PLAIN), WITH("smbios", PLAIN),

    /* network, character devices, TPM */
    WITH("netdev", NET), WITH("nic", NET), WITH("net", NET),
    WITH("chardev", CHARDEV), WITH("tpmdev", EXCLUSIVE),

    /* boot, firmware, debug */
    WITH("bios", PLAIN), WITH("kernel", PLAIN), WITH("shim", PLAIN), WITH("append", PLAIN),
    WITH("initrd", PLAIN), WITH("dtb", PLAIN), WITH("compat", PLAIN), WITH("fw_cfg", PLAIN),
    WITH("serial", CHARDEV_USER), WITH("parallel", CHARDEV_USER), WITH("monitor", MONITOR),
    WITH("qmp", MONITOR), WITH("qmp-pretty", MONITOR), WITH("mon", MONITOR),
    WITH("debugcon", CHARDEV_USER), WITH("pidfile", PROCESS), FLAG("singlestep", PLAIN),
    FLAG("preconfig", REFUSED), FLAG("S", RUN), WITH("overcommit", PLAIN), WITH("gdb", GDB),
    FLAG("s", GDB), WITH("d", PLAIN), WITH("D", LOG), WITH("dfilter", PLAIN),
    WITH("seed", PLAIN), WITH("L", PLAIN), FLAG("enable-kvm", PLAIN),
    WITH("xen-domid", EXCLUSIVE), FLAG("xen-attach", EXCLUSIVE),
    FLAG("xen-domid-restrict", EXCLUSIVE), FLAG("no-reboot", PLAIN), FLAG("no-shutdown", PLAIN),
    WITH("action", PLAIN), WITH("loadvm", REFUSED), FLAG("daemonize", PROCESS),
    WITH("option-rom", PLAIN), WITH("rtc", PLAIN), WITH("icount", CONDITIONAL),
    WITH("watchdog-action", PLAIN), WITH("echr", PLAIN), WITH("incoming", REFUSED),
    FLAG("only-migratable", PLAIN), FLAG("nodefaults", PLAIN), WITH("prom-env", PLAIN),
    FLAG("semihosting", PLAIN), WITH("semihosting-config", PLAIN), FLAG("old-param", PLAIN),
    WITH("chroot", REFUSED), WITH("runas", PLAIN), WITH("run-with", CONDITIONAL),
    WITH("sandbox", PLAIN), WITH("readconfig", REFUSED), FLAG("no-user-config", PLAIN),
    WITH("trace", PLAIN), WITH("plugin", PLAIN), WITH("qtest", EXCLUSIVE),
    WITH("qtest-log", PLAIN), FLAG("async-teardown", PLAIN), WITH("msg", PLAIN),
    WITH("dump-vmstate", REFUSED), FLAG("enable-sync-profile", PLAIN), FLAG("perfmap", PLAIN),
    FLAG("jitdump", PLAIN), WITH("object", OBJECT),
};

#define ROWS (sizeof(rows) / sizeof(rows[0]))

const struct option_row *options_table_find(const char *name)
{
    for (size_t i = 0; i < ROWS; i++) {
        if (strcmp(rows[i].name, name) == 0)
            return &rows[i];
    }
    return NULL;
}

const struct option_row *options_table_rows(size_t *n)
{
    *n = ROWS;
    return rows;
}
