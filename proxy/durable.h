/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * durable: files that are there, whole, after a power cut, or not at all.
 *
 * A file is written to a temporary name, fsynced, put in the place of the old one, and the folder is
 * fsynced.  A failed fsync is a failed write: what reached the disk is unknown, so the temporary
 * file is thrown away and the old content stays (see "Can applications recover from fsync
 * failures?", USENIX ATC 2020).  No descriptor that has failed an fsync is asked again.
 *
 * A write that failed has changed nothing for who reads, now or after the program's end; where the folder's
 * fsync has failed, the new file goes out of the way again.  After a power cut it may be there all the
 * same if that could not be synced either: the disk was failing then.
 *
 * All functions block; none follows a symbolic link at the last component of a name.
 */
#ifndef PROXY_DURABLE_H
#define PROXY_DURABLE_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "qmp/err.h"

/* Replaces the file `name` in the folder dirfd, mode 0600. */
bool durable_write(int dirfd, const char *name, const void *data, size_t len, struct err *err);
bool durable_write_json(int dirfd, const char *name, const json_t *value, struct err *err);

/* new: the JSON object in the file; *out is NULL when the file does not exist. */
bool durable_read_json(int dirfd, const char *name, json_t **out, struct err *err);

/* fsync of the folder, by a descriptor of its own.  False: errno. */
bool durable_sync_folder(int dirfd);

/* Removes what a durable_write() that was interrupted has left of the file. */
void durable_sweep(int dirfd, const char *name);

/* Unlinks and fsyncs the folder; a file that is not there is fine.  False: it may be gone or not. */
bool durable_remove(int dirfd, const char *name, struct err *err);

/* Unlinks the file at path and fsyncs its folder; a file that is not there is fine. */
bool durable_remove_path(const char *path, struct err *err);

/* The way to the file or folder at that absolute path is on the disk: fsyncs each folder above it.  One
 * that may not be opened was not made by this user. */
bool durable_sync_way(const char *path, struct err *err);

/* Opens the folder that holds path; the caller closes it. -1: errno. *base points into path. */
int durable_open_parent(const char *path, const char **base);

/* Is it the disk's fault, rather than that of who has asked: no room, read-only, an I/O error? */
bool durable_is_fault(int error);

/* Sets an error from errno: reason "no-space" for ENOSPC and EDQUOT, else "file-unusable". */
void durable_errno(struct err *err, int error, const char *what, const char *path);

#endif
