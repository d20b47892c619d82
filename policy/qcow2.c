/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "policy/qcow2.h"

#include <inttypes.h>
#include <string.h>

#include "policy/reason.h"

/* Where the fields of the header lie; all integers are big endian. */
enum {
    AT_MAGIC = 0, AT_VERSION = 4, AT_BACKING_OFFSET = 8, AT_BACKING_SIZE = 16,
    AT_CLUSTER_BITS = 20, AT_SIZE = 24, AT_CRYPT = 32, AT_SNAPSHOTS = 60,
    AT_SNAPSHOTS_OFFSET = 64,
    V2_HEADER_BYTES = 72,
    AT_INCOMPATIBLE = 72, AT_COMPATIBLE = 80, AT_AUTOCLEAR = 88, AT_HEADER_LENGTH = 100,
    V3_HEADER_BYTES = 104,
};

/* The same of an entry of the snapshot table. */
enum {
    AT_ID_SIZE = 12, AT_NAME_SIZE = 14, AT_STATE_SIZE = 32, AT_EXTRA_SIZE = 36, ENTRY_BYTES = 40,
};

#define MAGIC 0x514649fbu
#define EXT_BACKING_FORMAT 0xE2792ACAu
#define EXT_BITMAPS 0x23852875u
#define EXT_BITMAPS_BYTES 24
#define CLUSTER_BITS_MIN 9
#define CLUSTER_BITS_MAX 21
#define SNAPSHOTS_MAX 65536
#define CRYPT_MAX 2             /* none, AES, LUKS */

/* dirty, corrupt, data file, compression type, extended L2 entries */
#define INCOMPATIBLE_KNOWN UINT64_C(0x1f)

struct input {
    const unsigned char *data;
    size_t len;
};

static uint32_t be32(const struct input *in, size_t at)
{
    const unsigned char *p = in->data + at;

    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static unsigned be16(const struct input *in, size_t at)
{
    return (unsigned)in->data[at] << 8 | in->data[at + 1];
}

static uint64_t be64(const struct input *in, size_t at)
{
    return (uint64_t)be32(in, at) << 32 | be32(in, at + 4);
}

static bool refuse(struct err *err, const char *why)
{
    err_set(err, REASON_BAD_IMAGE, "The qcow2 header %s", why);
    return false;
}

/* The fields that both versions have; *header_len is where the extensions begin. */
static bool parse_fixed(const struct input *in, struct qcow2_header *out, size_t *header_len,
                        struct err *err)
{
    if (in->len < V2_HEADER_BYTES)
        return refuse(err, "is cut short");
    if (be32(in, AT_MAGIC) != MAGIC)
        return refuse(err, "does not begin with the magic number of qcow2");
    out->version = be32(in, AT_VERSION);
    if (out->version != 2 && out->version != 3)
        return refuse(err, "has a version other than 2 and 3");
    out->cluster_bits = be32(in, AT_CLUSTER_BITS);
    if (out->cluster_bits < CLUSTER_BITS_MIN || out->cluster_bits > CLUSTER_BITS_MAX)
        return refuse(err, "gives a cluster size that is out of range");
    out->virtual_size = be64(in, AT_SIZE);
    if (out->virtual_size > INT64_MAX)
        return refuse(err, "gives a virtual size that is out of range");
    if (be32(in, AT_CRYPT) > CRYPT_MAX)
        return refuse(err, "names an unknown encryption");
    out->encrypted = be32(in, AT_CRYPT) != 0;
    out->snapshots = be32(in, AT_SNAPSHOTS);
    out->snapshots_offset = be64(in, AT_SNAPSHOTS_OFFSET);
    if (out->snapshots > SNAPSHOTS_MAX)
        return refuse(err, "counts more snapshots than QEMU would open");
    *header_len = V2_HEADER_BYTES;
    return true;
}

/* What version 3 added. */
static bool parse_features(const struct input *in, struct qcow2_header *out, size_t *header_len,
                           struct err *err)
{
    if (out->version < 3)
        return true;
    if (in->len < V3_HEADER_BYTES)
        return refuse(err, "is cut short");
    out->incompatible = be64(in, AT_INCOMPATIBLE);
    out->compatible = be64(in, AT_COMPATIBLE);
    out->autoclear = be64(in, AT_AUTOCLEAR);
    if (out->incompatible & ~INCOMPATIBLE_KNOWN) {
        err_set(err, REASON_BAD_IMAGE,
                "The qcow2 header has unknown incompatible features (0x%" PRIx64 ")",
                out->incompatible & ~INCOMPATIBLE_KNOWN);
        return false;
    }
    out->dirty = out->incompatible & 1;
    out->corrupt = out->incompatible & 2;
    out->has_data_file = out->incompatible & 4;
    *header_len = be32(in, AT_HEADER_LENGTH);
    if (*header_len < V3_HEADER_BYTES || *header_len > (size_t)1 << out->cluster_bits ||
        *header_len % 8 != 0)
        return refuse(err, "gives itself a length that is out of range");
    return true;
}

/* *end: where the extensions must have ended, the backing name or the end of the cluster. */
static bool parse_backing(const struct input *in, size_t header_len, struct qcow2_header *out,
                          size_t *end, struct err *err)
{
    size_t cluster = (size_t)1 << out->cluster_bits;
    uint64_t offset = be64(in, AT_BACKING_OFFSET);
    uint32_t size = be32(in, AT_BACKING_SIZE);

    *end = cluster;
    if (offset == 0)
        return true;
    if (offset < header_len || offset > cluster)
        return refuse(err, "puts the backing file name outside its place");
    if (size >= QCOW2_BACKING_MAX || size > cluster - offset)
        return refuse(err, "gives a backing file name that is too long");
    *end = offset;
    if (size == 0)
        return true;
    if (offset > in->len || size > in->len - offset)
        return refuse(err, "puts the backing file name behind what was read");
    /* QEMU would open the part before the NUL, while the record compares the whole. */
    if (memchr(in->data + offset, '\0', size))
        return refuse(err, "has a NUL in the backing file name");
    out->has_backing = true;
    out->backing_len = size;
    memcpy(out->backing, in->data + offset, size);
    return true;
}

/* One extension, whose content is known to lie inside the buffer. */
static bool take_extension(const struct input *in, uint32_t type, size_t at, uint32_t size,
                           struct qcow2_header *out, struct err *err)
{
    switch (type) {
    case EXT_BACKING_FORMAT:
        if (out->backing_format[0])
            return refuse(err, "gives the backing format twice");
        if (size == 0 || size >= QCOW2_FORMAT_MAX || memchr(in->data + at, '\0', size))
            return refuse(err, "gives a backing format that is no name");
        memcpy(out->backing_format, in->data + at, size);
        return true;
    case EXT_BITMAPS:
        if (out->has_bitmaps)
            return refuse(err, "has the bitmaps extension twice");
        if (size != EXT_BITMAPS_BYTES || be32(in, at) == 0)
            return refuse(err, "has a bitmaps extension that is not valid");
        out->has_bitmaps = true;
        out->bitmaps = be32(in, at);
        return true;
    default:
        return true;
    }
}

static bool parse_extensions(const struct input *in, size_t at, size_t end,
                             struct qcow2_header *out, struct err *err)
{
    while (at < end) {
        uint32_t type, size;

        if (end - at < 8)
            return refuse(err, "has a header extension that does not fit");
        if (at > in->len || in->len - at < 8)
            return refuse(err, "is cut short among its extensions");
        type = be32(in, at);
        size = be32(in, at + 4);
        at += 8;
        if (size > end - at)
            return refuse(err, "has a header extension that does not fit");
        if (type == 0)
            return true;
        if (size > in->len - at)
            return refuse(err, "is cut short among its extensions");
        if (!take_extension(in, type, at, size, out, err))
            return false;
        at += ((size_t)size + 7) & ~(size_t)7;
    }
    return true;
}

bool qcow2_parse(const void *data, size_t len, struct qcow2_header *out, struct err *err)
{
    struct input in = { .data = data, .len = len };
    struct qcow2_header found = { 0 };
    size_t header_len, end;
    bool ok;

    ok = parse_fixed(&in, &found, &header_len, err) &&
         parse_features(&in, &found, &header_len, err) &&
         parse_backing(&in, header_len, &found, &end, err) &&
         parse_extensions(&in, header_len, end, &found, err);
    *out = ok ? found : (struct qcow2_header){ 0 };
    return ok;
}

bool qcow2_has_snapshot(const void *table, size_t len, uint32_t count, const char *name)
{
    struct input in = { .data = table, .len = len };
    size_t at = 0;

    for (uint32_t i = 0; i < count && at < len && len - at >= ENTRY_BYTES; i++) {
        uint64_t extra = be32(&in, at + AT_EXTRA_SIZE);
        size_t id = be16(&in, at + AT_ID_SIZE), size = be16(&in, at + AT_NAME_SIZE);
        uint64_t end = at + ENTRY_BYTES + extra + id + size;

        if (end > len)
            return false;
        /* Without a state of the machine it is one of disks alone. */
        if (size == strlen(name) && memcmp(in.data + end - size, name, size) == 0 &&
            (be32(&in, at + AT_STATE_SIZE) != 0 ||
             (extra >= 8 && be64(&in, at + ENTRY_BYTES) != 0)))
            return true;
        at = (size_t)((end + 7) & ~UINT64_C(7));
    }
    return false;
}
