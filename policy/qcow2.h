/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * qcow2: what the header of a qcow2 image says, read from the first bytes of its file.
 *
 * Model: a pure function from bytes to a struct.  A guest that was once given the file as a raw
 * disk may have written these bytes, so nothing in them is trusted: an offset or a length that
 * leaves the header cluster or the buffer, parts that overlap, and a feature bit that this module
 * does not know are refused, always with the reason "bad-image".
 *
 * Rules: the format is that of QEMU's docs/interop/qcow2 (header, header extensions), the limits
 * are those of block/qcow2.c:qcow2_do_open().  Stricter than QEMU in three places: the backing file
 * name may not begin inside the header, may not hold a NUL, and an extension that is read here may
 * not come twice.
 */
#ifndef POLICY_QCOW2_H
#define POLICY_QCOW2_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "qmp/err.h"

/* As much of the file as is worth reading: QEMU writes header, extensions and backing name at the
 * beginning of the first cluster, however large the clusters are. */
#define QCOW2_HEAD_BYTES 65536

#define QCOW2_BACKING_MAX 1024  /* bytes, NUL included; the format allows 1023 */
#define QCOW2_FORMAT_MAX 64     /* bytes, NUL included */

struct qcow2_header {
    unsigned version;               /* 2 or 3 */
    uint64_t virtual_size;          /* bytes */
    unsigned cluster_bits;          /* 9 to 21 */
    bool has_backing;
    char backing[QCOW2_BACKING_MAX];    /* the name's very bytes (any encoding), then NUL */
    size_t backing_len;                 /* without the NUL */
    char backing_format[QCOW2_FORMAT_MAX];  /* "" when the header does not say */
    uint64_t incompatible, compatible, autoclear;   /* feature bits; 0 in version 2 */
    bool dirty, corrupt;            /* incompatible bits 0 and 1 */
    bool has_data_file;             /* incompatible bit 2: the data lies in another file */
    bool encrypted;
    uint32_t snapshots;             /* internal ones */
    uint64_t snapshots_offset;      /* where in the file their table is */
    bool has_bitmaps;               /* the extension is there, whether QEMU trusts it or not */
    uint32_t bitmaps;               /* how many persistent bitmaps */
};

/* Fills *out from the first len bytes of an image; on failure *out is all zero. */
bool qcow2_parse(const void *data, size_t len, struct qcow2_header *out, struct err *err);

/* Is there an internal snapshot of that name among the first `count` of the table, of which these are the
 * first len bytes? */
bool qcow2_has_snapshot(const void *table, size_t len, uint32_t count, const char *name);

#endif
