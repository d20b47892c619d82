/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * args_late_internal: what the args_late_*.c files share.
 */
#ifndef POLICY_ARGS_LATE_INTERNAL_H
#define POLICY_ARGS_LATE_INTERNAL_H

#include "policy/args_late.h"
#include "policy/qemuopts.h"

struct args_late {
    struct args *args;
    const char *prefix;     /* of sockets that stand in; or NULL */
    bool keep;              /* nothing comes later: files are appended to, all else stays */
    json_t *commands;
    unsigned made;          /* numbers the names that are made up */
    unsigned serials, parallels, monitors, vncs;    /* options of each kind so far */
};

/* "needs-replace"; why: what it is that only one process can have. Returns false. */
bool args_late_refuse(const struct arg *arg, struct err *err, const char *why);

/* Appends {"execute": command, "arguments": arguments}; steals arguments. */
void args_late_command(struct args_late *late, const char *command, json_t *arguments);
/* Appends human-monitor-command with that line. */
void args_late_hmp(struct args_late *late, const char *line);

/* The value of option i becomes the text of opts. */
void args_late_replace(struct args_late *late, size_t i, const struct qemuopts *opts);

/* One -netdev, -nic or -net. */
bool args_late_net(struct args_late *late, size_t i, struct err *err);
/* One -vnc, or -display vnc=...: value is the part after it. */
bool args_late_vnc(struct args_late *late, size_t i, const char *value, struct err *err);
/* One -chardev. */
bool args_late_chardev(struct args_late *late, size_t i, struct err *err);
/* One -serial, -parallel, -debugcon or -monitor; *inserted: options that were put before it. */
bool args_late_short(struct args_late *late, size_t i, size_t *inserted, struct err *err);
/* new: the backend of chardev-change for -chardev's keys, or NULL when it cannot say them. */
json_t *args_late_backend(const struct qemuopts *opts);

/* -device and -object of kinds that hold something for themselves. */
bool args_late_device(const struct arg *arg, struct err *err);
bool args_late_object(const struct arg *arg, struct err *err);

#endif
