/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "proxy/deeds_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "policy/reason.h"
#include "policy/state.h"
#include "proxy/durable.h"
#include "proxy/in_use.h"
#include "proxy/log.h"

int deed_create_file(const char *path, struct err *err)
{
    const char *base;
    int dirfd = durable_open_parent(path, &base), fd;

    if (dirfd < 0) {
        durable_errno(err, errno, "open the folder of", path);
        return -1;
    }
    fd = openat(dirfd, base, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        durable_errno(err, errno, "create", path);
    close(dirfd);
    return fd;
}

int deed_open(const json_t *args, int flags, struct err *err)
{
    const char *path = state_str(args, "file");
    int fd = open(path, flags | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0)
        durable_errno(err, errno, "open", path);
    return fd;
}

bool deed_sync(int fd, const char *path, struct err *err)
{
    const char *base;
    int dirfd = durable_open_parent(path, &base);
    bool ok = dirfd >= 0 && fsync(fd) == 0 && fsync(dirfd) == 0;

    if (!ok) {
        durable_errno(err, errno, "fsync", path);
        err->unsynced = dirfd >= 0;
    }
    if (dirfd >= 0)
        close(dirfd);
    return ok;
}

static void deed_mtime(const struct stat *st, char *out, size_t size)
{
    snprintf(out, size, "%lld.%09ld", (long long)st->st_mtim.tv_sec, st->st_mtim.tv_nsec);
}

json_t *deed_print(const struct stat *st)
{
    char mtime[48];

    deed_mtime(st, mtime, sizeof(mtime));
    return json_pack("{s:I, s:s}", "size", (json_int_t)st->st_size, "mtime", mtime);
}

static bool deed_layers_freeze(const json_t *args, json_t **result, struct err *err)
{
    const char *id;
    json_t *path;

    *result = json_object();
    json_object_foreach(json_object_get(args, "layers"), id, path) {
        struct stat st;
        char mtime[48];

        if (stat(json_string_value(path), &st) < 0) {
            durable_errno(err, errno, "look at", json_string_value(path));
            return false;
        }
        deed_mtime(&st, mtime, sizeof(mtime));
        json_object_set_new(*result, id, json_pack("{s:I, s:I, s:I, s:s}", "dev",
                                                   (json_int_t)st.st_dev, "ino",
                                                   (json_int_t)st.st_ino, "size",
                                                   (json_int_t)st.st_size, "mtime", mtime));
    }
    return true;
}

/* Times that are as durable as what was written. */
static bool deed_present_print(const json_t *args, json_t **result, struct err *err)
{
    json_t *path;
    size_t i;

    *result = json_object();
    json_array_foreach(json_object_get(args, "files"), i, path) {
        const char *name = json_string_value(path);
        int fd = open(name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
        struct stat st;

        if (fd < 0 || fsync(fd) < 0 || fstat(fd, &st) < 0) {
            durable_errno(err, errno, "look at", name);
            if (fd >= 0)
                close(fd);
            return false;
        }
        close(fd);
        json_object_set_new(*result, name, deed_print(&st));
    }
    return true;
}

static bool deed_stood_still(const json_t *args, json_t **result, struct err *err)
{
    json_t *before = json_object_get(args, "prints"), *now = NULL, *print;
    json_t *files = json_pack("{s:[]}", "files");
    const char *path;

    (void)result;
    json_object_foreach(before, path, print)
        json_array_append_new(json_object_get(files, "files"), json_string(path));
    if (deed_present_print(files, &now, err))
        json_object_foreach(before, path, print)
            if (!err->set && !json_equal(print, json_object_get(now, path)))
                err_set(err, REASON_IMAGE_CHANGED, "'%s' was written to since", path);
    json_decref(files);
    json_decref(now);
    return !err->set;
}

/* A `stop` flushes the images: what is on the disk before does not keep the guest waiting then.  That
 * is all it is for, so that a failure is QEMU's to report. */
static bool deed_files_sync(const json_t *args, json_t **result, struct err *err)
{
    json_t *file;
    size_t i;

    (void)result;
    (void)err;
    json_array_foreach(json_object_get(args, "files"), i, file) {
        int fd = open(json_string_value(file), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);

        if (fd < 0)
            continue;
        if (fdatasync(fd) < 0)
            errno = 0;
        close(fd);
    }
    return true;
}

static bool deed_file_sync(const json_t *args, json_t **result, struct err *err)
{
    int fd = deed_open(args, O_RDONLY, err);
    bool ok = fd >= 0 && deed_sync(fd, state_str(args, "file"), err);

    (void)result;
    if (fd >= 0)
        close(fd);
    return ok;
}

/* What is in use stays, which is no failure: whoever has it open, or the record, wants it. */
static bool deed_remove(const json_t *known, const char *path, struct err *err)
{
    struct err why = ERR_INIT;

    if (!json_is_object(known)) {
        err_set(err, REASON_BAD_PLAN, "Nobody has looked whether '%s' is in use", path);
        return false;
    }
    if (!in_use_check(known, path, &why))
        return durable_remove_path(path, err);
    log_warn("%s", why.desc);
    err_clear(&why);
    return true;
}

static bool deed_file_remove(const json_t *args, json_t **result, struct err *err)
{
    const json_t *known = json_object_get(args, "known");
    const char *file = state_str(args, "file");

    (void)result;
    if (json_is_true(json_object_get(args, "own")) && json_is_object(known) && !in_use_on_record(known, file))
        return durable_remove_path(file, err);
    return deed_remove(known, file, err);
}

static bool deed_files_remove(const json_t *args, json_t **result, struct err *err)
{
    json_t *file;
    size_t i;

    (void)result;
    json_array_foreach(json_object_get(args, "files"), i, file) {
        struct err one = ERR_INIT;

        if (deed_remove(json_object_get(args, "known"), json_string_value(file), &one))
            continue;
        if (!err->set)
            err_move(err, &one);
        err_clear(&one);
    }
    return !err->set;
}

/* A socket that QEMU listens on takes the place of the one of a process that has ended.  Done again it
 * finds it there. */
static bool deed_socket_move(const json_t *args, json_t **result, struct err *err)
{
    const char *from = state_str(args, "from"), *to = state_str(args, "to");
    struct stat st;

    (void)result;
    if (rename(from, to) < 0 && errno != ENOENT) {
        durable_errno(err, errno, "move a socket to", to);
    } else if (lstat(to, &st) < 0 || !S_ISSOCK(st.st_mode)) {
        err_set(err, REASON_FILE_UNUSABLE, "QEMU has not made the socket '%s'", to);
    }
    if (err->set)
        err_name(err, "file", to);
    return !err->set;
}

static const struct {
    const char *name;
    worker_fn *fn;
} deed_rows[] = {
    { "overlay-create", deed_overlay_create },
    { "header-check", deed_header_check },
    { "header-rewrite", deed_header_rewrite },
    { "vmstate-create", deed_vmstate_create },
    { "memory-create", deed_memory_create },
    { "memory-seal", deed_memory_seal },
    { "memory-check", deed_memory_check },
    { "layers-freeze", deed_layers_freeze },
    { "present-print", deed_present_print },
    { "stood-still", deed_stood_still },
    { "files-sync", deed_files_sync },
    { "file-sync", deed_file_sync },
    { "file-remove", deed_file_remove },
    { "files-remove", deed_files_remove },
    { "socket-move", deed_socket_move },
};

worker_fn *deeds_find(const char *name)
{
    for (size_t i = 0; i < sizeof(deed_rows) / sizeof(deed_rows[0]); i++)
        if (strcmp(deed_rows[i].name, name) == 0)
            return deed_rows[i].fn;
    return NULL;
}

bool deeds_unlinks(const char *name)
{
    return strcmp(name, "file-remove") == 0 || strcmp(name, "files-remove") == 0;
}
