/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * deeds_internal: what deeds.c (files of any kind), deeds_images.c (qcow2 images) and deeds_memory.c
 * (saved memory) share.
 */
#ifndef PROXY_DEEDS_INTERNAL_H
#define PROXY_DEEDS_INTERNAL_H

#include "proxy/deeds.h"

/* Makes a file that was not there, without following a link; -1: err is set. */
int deed_create_file(const char *path, struct err *err);

/* Opens args.file, without following a link; -1: err is set. */
int deed_open(const json_t *args, int flags, struct err *err);

/* fsyncs the file and its folder. */
bool deed_sync(int fd, const char *path, struct err *err);

worker_fn deed_overlay_create, deed_vmstate_create, deed_header_check, deed_header_rewrite;
worker_fn deed_memory_create, deed_memory_seal, deed_memory_check;

#endif
