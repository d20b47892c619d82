/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * args_chardev: character backends, in the short form of -serial, -qmp and -monitor
 * ("unix:PATH,server") and the long one of -chardev ("socket,path=...").
 *
 * Both become the long form's keys: "backend", "id", "path", "host", "port", "server" and so on.
 * The short forms are those of chardev/char.c: qemu_chr_parse_compat.
 */
#ifndef POLICY_ARGS_CHARDEV_H
#define POLICY_ARGS_CHARDEV_H

#include "policy/args.h"
#include "policy/qemuopts.h"

/* new: the short form as -chardev's keys, with that id; NULL with err set when it is none that QEMU
 * knows.  "chardev:ID" and "none" are for the caller. */
struct qemuopts *args_chardev_short(const char *text, const char *id, struct err *err);

/* The -chardev of that id: its position; or args_count() when there is none. */
size_t args_chardev_find(const struct args *args, const char *id);

enum args_chardev_use {
    ARGS_CHARDEV_UNUSED,
    ARGS_CHARDEV_SERIAL,        /* a serial port: takes chardev-change */
    ARGS_CHARDEV_OTHER,         /* anything else, or several users: "does not support hotswap" */
    ARGS_CHARDEV_USE__COUNT
};

/* Who names that chardev, in any option. *users (may be NULL): how many. */
enum args_chardev_use args_chardev_used(const struct args *args, const char *id, size_t *users);

#endif
