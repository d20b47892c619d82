/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The deeds that make, seal and check saved memory. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "policy/qcow2.h"
#include "policy/reason.h"
#include "policy/state.h"
#include "proxy/deeds_internal.h"
#include "proxy/durable.h"
#include "qmp/alloc.h"

bool deed_memory_create(const json_t *args, json_t **result, struct err *err)
{
    int fd = deed_create_file(state_str(args, "file"), err);

    (void)result;
    if (fd < 0)
        return false;
    close(fd);
    return true;
}

/* Size and checksum of an open file. */
static bool deed_sum(int fd, const char *path, json_int_t *size, char sum[17], struct err *err)
{
    XXH3_state_t *state = XXH3_createState();
    size_t chunk = 1 << 20;
    char *data = alloc_bytes(chunk);
    ssize_t n = -1;

    if (!state)
        alloc_fail();
    XXH3_64bits_reset(state);
    *size = 0;
    for (;;) {
        n = read(fd, data, chunk);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        XXH3_64bits_update(state, data, (size_t)n);
        *size += n;
    }
    if (n < 0)
        durable_errno(err, errno, "read", path);
    snprintf(sum, 17, "%016llx", (unsigned long long)XXH3_64bits_digest(state));
    XXH3_freeState(state);
    free(data);
    return n == 0;
}

/* Is the state that will be asked for in that image?  What loads it finds out too late. */
static bool memory_check_tag(const json_t *args, int fd, struct err *err)
{
    const char *tag = state_str(args, "tag"), *path = state_str(args, "file");
    struct qcow2_header header;
    char *data = alloc_bytes(QCOW2_HEAD_BYTES);
    struct err why = ERR_INIT;
    bool ok = !tag;
    ssize_t n;

    n = tag ? pread(fd, data, QCOW2_HEAD_BYTES, 0) : 0;
    if (tag && n >= 0 && qcow2_parse(data, (size_t)n, &header, &why)) {
        n = pread(fd, data, QCOW2_HEAD_BYTES, (off_t)header.snapshots_offset);
        ok = n >= 0 && qcow2_has_snapshot(data, (size_t)n, header.snapshots, tag);
    }
    if (!ok)
        err_set(err, REASON_MEMORY_CHANGED, "The saved memory '%s' is no image with a state '%s' of the "
                "machine in it%s%s", path, tag, why.set ? ": " : "", why.set ? why.desc : "");
    err_clear(&why);
    free(data);
    return ok;
}

bool deed_memory_seal(const json_t *args, json_t **result, struct err *err)
{
    const char *path = state_str(args, "file");
    int fd = deed_open(args, O_RDONLY, err);
    json_int_t size = 0;
    char sum[17];
    bool ok;

    if (fd < 0)
        return false;
    ok = deed_sync(fd, path, err) && deed_sum(fd, path, &size, sum, err) &&
         memory_check_tag(args, fd, err);
    close(fd);
    if (ok && size == 0) {
        err_set(err, REASON_QEMU_FAILED, "QEMU has saved no memory in '%s'", path);
        return false;
    }
    if (ok)
        *result = json_pack("{s:I, s:s}", "size", size, "xxh3", sum);
    return ok;
}

bool deed_memory_check(const json_t *args, json_t **result, struct err *err)
{
    const char *path = state_str(args, "file");
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    json_int_t want = json_integer_value(json_object_get(args, "size")), size = 0;
    struct stat st;
    char sum[17];

    (void)result;
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
        err_set(err, REASON_MEMORY_MISSING, "The saved memory '%s' cannot be opened: %s", path,
                fd < 0 ? strerror(errno) : "it is not a file");
    } else if (st.st_size != want) {
        err_set(err, REASON_MEMORY_CHANGED, "The saved memory '%s' has %lld bytes instead of %"
                JSON_INTEGER_FORMAT ": restore it from a backup", path, (long long)st.st_size, want);
    } else if (deed_sum(fd, path, &size, sum, err) &&
               strcmp(sum, state_str(args, "xxh3") ? state_str(args, "xxh3") : "") != 0) {
        err_set(err, REASON_MEMORY_CHANGED, "The saved memory '%s' was altered (its checksum is "
                "wrong): restore it from a backup", path);
    } else if (!err->set) {
        memory_check_tag(args, fd, err);
    }
    if (fd >= 0)
        close(fd);
    if (err->set)
        err_name(err, "file", path);
    return !err->set;
}
