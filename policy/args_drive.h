/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * args_drive: -drive and its short forms.
 *
 * The short forms are the -drive that system/vl.c makes of them (drive_add): -hda FILE is
 * `-drive file=FILE,index=0,media=disk`, -pflash FILE is `-drive file=FILE,if=pflash`.
 */
#ifndef POLICY_ARGS_DRIVE_H
#define POLICY_ARGS_DRIVE_H

#include "policy/args_disks.h"
#include "policy/qemuopts.h"

/* Whether the option is a -drive, one of its short forms or a bare image. */
bool args_drive_is(const struct arg *arg);

/* new: its -drive keys; NULL with err set when the text cannot be read. */
struct qemuopts *args_drive_opts(const struct arg *arg, struct err *err);

/* The image's name as given, whichever key holds it; NULL: an empty drive.  borrowed from opts. */
const char *args_drive_file(const struct qemuopts *opts);
/* new: a file name as a path, "file:" stripped; NULL when it names no local file. */
char *args_drive_path(const char *file);

/* discard=unmap, of a drive or a node. */
bool args_drive_discards(const struct qemuopts *opts);

/* Appends a disk for every drive, in order. */
bool args_drive_find(const struct args *args, struct args_disks *out, struct err *err);

#endif
