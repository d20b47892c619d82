/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "proxy/durable.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "policy/reason.h"
#include "qmp/alloc.h"

/* A state file that is larger than this is none of ours. */
#define DURABLE_READ_MAX (64u << 20)

bool durable_is_fault(int error)
{
    return error == ENOSPC || error == EDQUOT || error == EROFS || error == EIO;
}

void durable_errno(struct err *err, int error, const char *what, const char *path)
{
    const char *reason = error == ENOSPC || error == EDQUOT ? REASON_NO_SPACE
                         : error == EEXIST                  ? REASON_FILE_EXISTS
                                                            : REASON_FILE_UNUSABLE;

    err_set(err, reason, "Cannot %s '%s': %s", what, path, strerror(error));
    err_name(err, "file", path);
}

static bool durable_write_all(int fd, const char *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(fd, data, len);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return false;
        data += n;
        len -= (size_t)n;
    }
    return fsync(fd) == 0;
}

static void durable_temporary(const char *name, char *out, size_t size)
{
    snprintf(out, size, ".%s.tmp", name);
}

void durable_sweep(int dirfd, const char *name)
{
    char tmp[256];

    durable_temporary(name, tmp, sizeof(tmp));
    unlinkat(dirfd, tmp, 0);
}

bool durable_sync_folder(int dirfd)
{
    int fd = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), error;
    bool ok = fd >= 0 && fsync(fd) == 0;

    error = errno;
    if (fd >= 0)
        close(fd);
    errno = error;
    return ok;
}

static bool durable_exchange(int dirfd, const char *a, const char *b)
{
    return renameat2(dirfd, a, dirfd, b, RENAME_EXCHANGE) == 0;
}

/* The new file takes the name; the old one keeps the temporary name until that is on the disk, so that it
 * can come back.  False with errno: who reads finds what was there before. */
static bool durable_place(int dirfd, const char *tmp, const char *name)
{
    struct stat st;
    bool had = fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
    /* Where the file system cannot do it the old one is lost to a reader. */
    bool kept = had && !S_ISDIR(st.st_mode) && durable_exchange(dirfd, tmp, name);
    int error;

    if (!kept && renameat(dirfd, tmp, dirfd, name) < 0)
        return false;
    if (durable_sync_folder(dirfd)) {
        if (kept)
            unlinkat(dirfd, tmp, 0);
        return true;
    }
    error = errno;
    if (kept)
        durable_exchange(dirfd, tmp, name);
    else if (!had)
        unlinkat(dirfd, name, 0);
    durable_sync_folder(dirfd); /* a change of its own, and a descriptor of its own */
    errno = error;
    return false;
}

bool durable_write(int dirfd, const char *name, const void *data, size_t len, struct err *err)
{
    char tmp[256];
    int fd, error;
    bool written;

    durable_temporary(name, tmp, sizeof(tmp));
    if (unlinkat(dirfd, tmp, 0) < 0 && errno != ENOENT) {
        durable_errno(err, errno, "remove", tmp);
        return false;
    }
    fd = openat(dirfd, tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0) {
        durable_errno(err, errno, "create", tmp);
        return false;
    }
    written = durable_write_all(fd, data, len);
    error = errno;
    if (close(fd) < 0 && written) {
        written = false;
        error = errno;
    }
    if (written && durable_place(dirfd, tmp, name))
        return true;
    durable_errno(err, written ? errno : error, "write", name);
    unlinkat(dirfd, tmp, 0);
    return false;
}

bool durable_write_json(int dirfd, const char *name, const json_t *value, struct err *err)
{
    char *text = json_dumps(value, JSON_INDENT(1) | JSON_SORT_KEYS);
    bool ok;

    if (!text)
        abort(); /* out of memory: everything in there was parsed or checked before */
    ok = durable_write(dirfd, name, text, strlen(text), err);
    free(text);
    return ok;
}

/* new: the whole file with a NUL behind it, or NULL with errno. */
static char *durable_read_all(int fd, size_t *len)
{
    struct stat st;
    char *data;
    size_t have = 0;

    if (fstat(fd, &st) < 0)
        return NULL;
    if (!S_ISREG(st.st_mode) || st.st_size > DURABLE_READ_MAX) {
        errno = EFBIG;
        return NULL;
    }
    data = alloc_bytes((size_t)st.st_size + 1);
    while (have < (size_t)st.st_size) {
        ssize_t n = read(fd, data + have, (size_t)st.st_size - have);

        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            free(data);
            return NULL;
        }
        if (n == 0)
            break;
        have += (size_t)n;
    }
    *len = have;
    return data;
}

bool durable_read_json(int dirfd, const char *name, json_t **out, struct err *err)
{
    int fd = openat(dirfd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
    json_error_t where;
    size_t len;
    char *data;

    if (fd < 0 && errno == ENOENT) {
        *out = NULL;
        return true;
    }
    data = fd < 0 ? NULL : durable_read_all(fd, &len);
    if (!data) {
        durable_errno(err, errno, "read", name);
        if (fd >= 0)
            close(fd);
        return false;
    }
    close(fd);
    *out = json_loadb(data, len, JSON_REJECT_DUPLICATES, &where);
    free(data);
    if (json_is_object(*out))
        return true;
    json_decref(*out);
    *out = NULL;
    err_set(err, REASON_FILE_UNUSABLE, "'%s' is damaged (line %d: %s): restore it from a backup",
            name, where.line, where.text);
    err_name(err, "file", name);
    return false;
}

bool durable_remove(int dirfd, const char *name, struct err *err)
{
    /* One that is gone may only not be known to be: of an earlier try the folder could not be synced. */
    if (unlinkat(dirfd, name, 0) < 0 && errno != ENOENT) {
        durable_errno(err, errno, "remove", name);
        return false;
    }
    if (!durable_sync_folder(dirfd)) {
        durable_errno(err, errno, "fsync the folder of", name);
        return false;
    }
    return true;
}

int durable_open_parent(const char *path, const char **base)
{
    const char *slash = strrchr(path, '/');
    char *dir;
    int fd;

    *base = slash ? slash + 1 : path;
    dir = slash ? alloc_copy_n(path, slash == path ? 1 : (size_t)(slash - path)) : alloc_copy(".");
    fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    free(dir);
    return fd;
}

bool durable_sync_way(const char *path, struct err *err)
{
    char *way = alloc_copy(path), *slash;

    while (!err->set && (slash = strrchr(way, '/'))) {
        int fd;

        slash[slash == way] = '\0'; /* the last one is "/" */
        fd = open(way, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        /* EINVAL: a file system that has no disk (autofs). */
        if (fd < 0 ? errno != EACCES : fsync(fd) < 0 && errno != EINVAL)
            durable_errno(err, errno, "fsync the folder", way);
        if (fd >= 0)
            close(fd);
        if (slash == way)
            break;
    }
    free(way);
    return !err->set;
}

bool durable_remove_path(const char *path, struct err *err)
{
    const char *base;
    int fd = durable_open_parent(path, &base);
    bool ok;

    if (fd < 0) {
        if (errno == ENOENT)
            return true;
        durable_errno(err, errno, "open the folder of", path);
        return false;
    }
    ok = durable_remove(fd, base, err);
    close(fd);
    return ok;
}
