/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The deeds that only look: inspect and preflight. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "policy/overlay.h"
#include "policy/qcow2.h"
#include "policy/reason.h"
#include "policy/state.h"
#include "proxy/deeds_internal.h"
#include "proxy/program.h"
#include "proxy/durable.h"
#include "qmp/alloc.h"

/* Reads the header; a file whose first bytes are not qcow2's is raw. */
static void inspect_header(int fd, json_t *entry)
{
    struct qcow2_header header;
    struct err err = ERR_INIT;
    char *head = alloc_bytes(QCOW2_HEAD_BYTES);
    ssize_t n = pread(fd, head, QCOW2_HEAD_BYTES, 0);

    if (n < 0 && errno != EISDIR) {
        char *bad = alloc_print("it cannot be read: %s", strerror(errno));

        json_object_set_new(entry, "bad", json_string(bad));
        free(bad);
    }
    if (n < 4 || memcmp(head, "QFI\xfb", 4) != 0) {
        json_object_set_new(entry, "format", json_string("raw"));
        free(head);
        return;
    }
    json_object_set_new(entry, "format", json_string("qcow2"));
    if (!qcow2_parse(head, (size_t)n, &header, &err)) {
        json_object_set_new(entry, "bad", json_string(err.desc));
        err_clear(&err);
    } else {
        json_t *backing = header.has_backing ? json_string(header.backing) : NULL;

        if (header.has_backing && !backing)
            json_object_set_new(entry, "bad", json_string("its backing file's name is not UTF-8"));
        if (backing)
            json_object_set_new(entry, "backing", backing);
        json_object_set_new(entry, "backing-format", json_string(header.backing_format));
        json_object_set_new(entry, "bitmaps", json_boolean(header.has_bitmaps));
        json_object_set_new(entry, "fixed", json_boolean(header.version < 3 && header.snapshots > 0));
        if (header.has_data_file || header.encrypted)
            json_object_set_new(entry, "bad", json_string("it has a data file or is encrypted"));
    }
    free(head);
}

/* Which file the header names, as QEMU would find it. */
static void inspect_below(const char *path, json_t *entry)
{
    const char *backing = state_str(entry, "backing");
    char *below = backing ? overlay_resolve(path, backing) : NULL;
    struct stat st;

    if (below && stat(below, &st) == 0)
        json_object_set_new(entry, "leads", json_pack("{s:I, s:I}", "dev", (json_int_t)st.st_dev,
                                                      "ino", (json_int_t)st.st_ino));
    free(below);
}

/* Out of descriptors or memory is not "there is no such file": what is concluded from that is that
 * overlays are of no use. */
static bool inspect_is_exhausted(int error)
{
    return error == ENOMEM || error == EMFILE || error == ENFILE;
}

static json_t *inspect_file(const char *path, struct err *err)
{
    /* Opened without O_NONBLOCK a FIFO would hang, and a tape would rewind. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    json_t *entry = json_pack("{s:b}", "exists", fd >= 0);
    int error = errno;
    char *real = fd >= 0 ? realpath(path, NULL) : NULL, mtime[48];
    struct stat st, link;

    if (fd >= 0 && !real)
        error = errno;
    if (!real && !err->set && inspect_is_exhausted(error))
        durable_errno(err, error, "look at", path);
    if (fd >= 0 && real && fstat(fd, &st) == 0) {
        snprintf(mtime, sizeof(mtime), "%lld.%09ld", (long long)st.st_mtim.tv_sec,
                 st.st_mtim.tv_nsec);
        json_object_set_new(entry, "real", json_string(real));
        json_object_set_new(entry, "link", json_boolean(lstat(path, &link) == 0 &&
                                                        S_ISLNK(link.st_mode)));
        json_object_set_new(entry, "kind", json_string(S_ISREG(st.st_mode)   ? "file"
                                                       : S_ISBLK(st.st_mode) ? "block" : "other"));
        json_object_set_new(entry, "dev", json_integer((json_int_t)st.st_dev));
        json_object_set_new(entry, "ino", json_integer((json_int_t)st.st_ino));
        json_object_set_new(entry, "size", json_integer((json_int_t)st.st_size));
        if (S_ISBLK(st.st_mode))
            json_object_set_new(entry, "capacity", json_integer(lseek(fd, 0, SEEK_END)));
        json_object_set_new(entry, "allocated", json_integer((json_int_t)st.st_blocks * 512));
        json_object_set_new(entry, "mtime", json_string(mtime));
        inspect_header(fd, entry);
        inspect_below(path, entry);
    } else {
        json_object_set_new(entry, "exists", json_false());
    }
    free(real);
    if (fd >= 0)
        close(fd);
    return entry;
}

static json_t *inspect_room(const char *path)
{
    struct statvfs vfs;
    bool ok = statvfs(path, &vfs) == 0;

    return json_pack("{s:b, s:I}", "writable", ok && access(path, W_OK | X_OK) == 0, "free",
                     ok ? (json_int_t)(vfs.f_bavail * vfs.f_frsize) : (json_int_t)0);
}

void deed_file_key(const struct stat *st, char *out, size_t size)
{
    snprintf(out, size, "%llu:%llu", (unsigned long long)st->st_dev, (unsigned long long)st->st_ino);
}

json_t *deed_open_files(long pid)
{
    char path[48], key[64];
    struct dirent *entry;
    json_t *open = NULL;
    struct stat st;
    DIR *dir;

    snprintf(path, sizeof(path), "/proc/%ld/fd", pid);
    dir = pid > 0 ? opendir(path) : NULL;
    if (pid > 0 && !dir && errno == ENOMEM)
        alloc_fail();
    while (dir && (entry = readdir(dir))) {
        if (entry->d_name[0] == '.' || fstatat(dirfd(dir), entry->d_name, &st, 0) < 0)
            continue;
        deed_file_key(&st, key, sizeof(key));
        if (!open)
            open = json_object();
        json_object_set_new(open, key, json_true());
    }
    if (dir)
        closedir(dir);
    return open;
}

/* A file, and its name, are on the disk; what is no regular file is let be. */
static bool inspect_sync(const char *path, struct err *err)
{
    char *real = realpath(path, NULL);
    int fd = real ? open(real, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY) : -1;
    struct stat st;

    if (fd < 0 && inspect_is_exhausted(errno))
        durable_errno(err, errno, "look at", path);
    else if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode))
        deed_sync(fd, real, err);
    if (fd >= 0)
        close(fd);
    free(real);
    return !err->set;
}

bool deed_inspect(const json_t *args, json_t **result, struct err *err)
{
    const json_t *program = json_object_get(args, "program");
    json_t *files = json_object(), *rooms = json_object();
    json_t *path;
    size_t i;

    json_array_foreach(json_object_get(args, "sync"), i, path)
        if (!inspect_sync(json_string_value(path), err))
            break;
    json_array_foreach(json_object_get(args, "files"), i, path)
        json_object_set_new(files, json_string_value(path),
                            inspect_file(json_string_value(path), err));
    json_array_foreach(json_object_get(args, "folders"), i, path)
        json_object_set_new(rooms, json_string_value(path), inspect_room(json_string_value(path)));
    *result = json_pack("{s:o, s:o, s:o*, s:o*}", "files", files, "rooms", rooms, "open",
                        deed_open_files((long)json_integer_value(json_object_get(args, "pid"))),
                        "program", program ? program_look(program) : NULL);
    return !err->set;
}

/* Does one of the first n steps take the file away? */
static bool preflight_removed(const json_t *steps, size_t n, const char *file)
{
    for (size_t i = 0; i < n; i++) {
        const json_t *step = json_array_get(steps, i);
        const char *gone = state_str(json_object_get(step, "args"), "file");

        if (strcmp(state_str(step, "step"), "file-remove") == 0 && gone && strcmp(gone, file) == 0)
            return true;
    }
    return false;
}

bool deed_preflight(const json_t *args, json_t **result, struct err *err)
{
    json_t *step;
    size_t i;

    json_array_foreach(json_object_get(args, "steps"), i, step) {
        const char *name = state_str(step, "step");
        const json_t *of = json_object_get(step, "args");
        const char *file = state_str(of, "file");
        struct stat st;

        /* The plan itself begins with this check; only a dry run has to make it here. */
        if (strcmp(name, "memory-check") == 0 && json_is_true(json_object_get(args, "dry-run")) &&
            !deeds_find(name)(of, result, err))
            return false;
        if (strcmp(name, "overlay-create") != 0 && strcmp(name, "memory-create") != 0 &&
            strcmp(name, "vmstate-create") != 0)
            continue;
        if (preflight_removed(json_object_get(args, "steps"), i, file))
            continue;
        if (lstat(file, &st) < 0) {
            if (errno == ENOENT)
                continue;
            durable_errno(err, errno, "create", file);
            return false;
        }
        err_set(err, REASON_FILE_EXISTS, "The new file '%s' cannot be made: %s is there; remove it, "
                "or move it away", file, S_ISLNK(st.st_mode) ? "a symbolic link" : "something");
        err_name(err, "file", file);
        return false;
    }
    return true;
}
