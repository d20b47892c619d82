/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * options_table: every option of qemu-system-x86_64, 7.2 to 10.0.
 *
 * Model: one row per option name: whether a word follows it (QEMU decides that by name alone,
 * system/vl.c: lookup_opt), and its class, which says who looks at the value.
 *
 * Rules: a name without a row is unknown: the argument is kept as it is, and snapshots are refused,
 * since nobody can say what a second process would do with it.
 */
#ifndef POLICY_OPTIONS_TABLE_H
#define POLICY_OPTIONS_TABLE_H

#include <stdbool.h>
#include <stddef.h>

enum option_class {
    OPTION_PLAIN,           /* no image, nothing exclusive: passed on */
    OPTION_DRIVE,           /* -drive */
    OPTION_IMAGE,           /* -hda, -cdrom, -pflash, ...: the value is an image's name */
    OPTION_BLOCKDEV,
    OPTION_DEVICE,
    OPTION_OBJECT,
    OPTION_MACHINE,
    OPTION_NET,             /* -netdev, -nic, -net */
    OPTION_CHARDEV,
    OPTION_CHARDEV_USER,    /* -serial, -parallel, -debugcon: a character backend in short form */
    OPTION_MONITOR,         /* -qmp, -qmp-pretty, -mon, -monitor */
    OPTION_VNC,
    OPTION_DISPLAY,
    OPTION_LOG,             /* -D */
    OPTION_GDB,             /* -gdb, -s */
    OPTION_PROCESS,         /* -daemonize, -pidfile: the proxy does these itself */
    OPTION_RUN,             /* -S */
    OPTION_EXCLUSIVE,       /* holds something of the host for itself and cannot be bound late */
    OPTION_REFUSED,         /* snapshots are impossible with it */
    OPTION_CONDITIONAL,     /* refused with some values (-set, -icount, -run-with, -global) */
    OPTION__COUNT
};

struct option_row {
    const char *name;       /* without dashes */
    bool takes_value;
    enum option_class class;
};

/* name without dashes.  borrowed forever, or NULL when there is no such option. */
const struct option_row *options_table_find(const char *name);

/* For tests: all rows. */
const struct option_row *options_table_rows(size_t *n);

#endif
