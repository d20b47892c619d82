/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * deeds_internal: what deeds.c (files of any kind), deeds_images.c (qcow2 images) and deeds_memory.c
 * (saved memory) share.
 */
#ifndef PROXY_DEEDS_INTERNAL_H
#define PROXY_DEEDS_INTERNAL_H

#include <sys/stat.h>

#include "proxy/deeds.h"

/* Makes a file that was not there, without following a link; -1: err is set. */
int deed_create_file(const char *path, struct err *err);

/* Opens args.file, without following a link; -1: err is set. */
int deed_open(const json_t *args, int flags, struct err *err);

/* fsyncs the file and its folder. */
bool deed_sync(int fd, const char *path, struct err *err);

/* new: { size, mtime }: whether somebody has written to a file since. */
json_t *deed_print(const struct stat *st);

/* "DEV:INO" of a file, as in world.open. */
void deed_file_key(const struct stat *st, char *out, size_t size);

/* new: the files that a process has open, as such keys; NULL: it does not let us look. */
json_t *deed_open_files(long pid);

worker_fn deed_overlay_create, deed_vmstate_create, deed_header_check, deed_header_rewrite;
worker_fn deed_memory_create, deed_memory_seal, deed_memory_check;

#endif
