/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The deeds that make images, and look at their headers. */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "policy/qcow2.h"
#include "policy/reason.h"
#include "policy/state.h"
#include "proxy/deeds_internal.h"
#include "proxy/durable.h"
#include "qmp/alloc.h"

extern char **environ;

#define IMAGE_ARGS_MAX 16
/* With less than that left, qemu-img failed for the lack of room: what it says goes to the log. */
#define IMAGE_ROOM (256 << 10)

/* The state folder, whose lock goes along; -1: none. */
static int image_lock = -1;

void deeds_lend_lock(int fd)
{
    image_lock = fd;
}

/* Runs qemu-img; the last of its words is the open file: so the name cannot be swapped for a link
 * underneath it.  It holds the state folder's lock until it ends: should the proxy die, the next one has
 * to look at what it leaves, not at what it is about to change. */
static bool image_run(const char *const *words, int fd, const char *file, struct err *err)
{
    char *argv[IMAGE_ARGS_MAX], target[32];
    struct statvfs left;
    int inherited = dup(fd), status = -1, error;
    posix_spawn_file_actions_t actions;
    size_t n = 0;
    pid_t pid;

    snprintf(target, sizeof(target), "/dev/fd/%d", inherited);
    for (; words[n]; n++)
        argv[n] = strcmp(words[n], "{}") == 0 ? target : (char *)words[n];
    argv[n] = NULL;
    posix_spawn_file_actions_init(&actions);
    if (image_lock >= 0) /* to itself: then it is inherited */
        posix_spawn_file_actions_adddup2(&actions, image_lock, image_lock);
    error = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(inherited);
    if (error) {
        err_set(err, REASON_FILE_UNUSABLE, "Cannot run '%s': %s", argv[0], strerror(error));
        return false;
    }
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return true;
    if (fstatvfs(fd, &left) == 0 && left.f_bavail * left.f_frsize < IMAGE_ROOM)
        err_set(err, REASON_NO_SPACE, "There is no room for the image '%s'", file);
    else
        err_set(err, REASON_FILE_UNUSABLE, "'%s' failed to write the image '%s' (its message is in "
                "the proxy's log)", argv[0], file);
    return false;
}

/* Is what lies on the disk now what was wanted?  Without a size any will do. */
static bool image_check(const json_t *args, int fd, struct err *err)
{
    const json_t *size = json_object_get(args, "size");
    struct qcow2_header header;
    char *head = alloc_bytes(QCOW2_HEAD_BYTES);
    ssize_t n = pread(fd, head, QCOW2_HEAD_BYTES, 0);
    bool ok = n >= 0 && qcow2_parse(head, (size_t)n, &header, err);

    free(head);
    if (n < 0)
        durable_errno(err, errno, "read", state_str(args, "file"));
    if (!ok)
        return false;
    if (header.has_backing && strcmp(header.backing, state_str(args, "backing")) == 0 &&
        strcmp(header.backing_format, state_str(args, "backing-format")) == 0 &&
        (!size || header.virtual_size == (uint64_t)json_integer_value(size)))
        return true;
    err_set(err, REASON_BAD_IMAGE, "The header of '%s' does not say what it should: '%s' (%s), not "
            "'%s' (%s)", state_str(args, "file"), header.has_backing ? header.backing : "nothing",
            header.backing_format, state_str(args, "backing"), state_str(args, "backing-format"));
    return false;
}

/* QEMU may run as another user than the proxy (-runas): it is to open the overlay as it can the image
 * below.  Where that cannot be arranged QEMU refuses the overlay. */
static void image_give(const char *path, const char *backing, int fd)
{
    const char *base;
    int dirfd = durable_open_parent(path, &base);
    struct stat below;

    if (dirfd < 0)
        return;
    if (geteuid() == 0 && fstatat(dirfd, backing, &below, 0) == 0 &&
        (below.st_uid != 0 || below.st_gid != 0) && fchown(fd, below.st_uid, below.st_gid) == 0)
        fchmod(fd, below.st_mode & 0660);
    close(dirfd);
}

bool deed_overlay_create(const json_t *args, json_t **result, struct err *err)
{
    const char *path = state_str(args, "file");
    char size[32];
    /* -u keeps it from opening the image below. */
    const char *const words[] = {
        state_str(args, "qemu-img"), "create", "-q", "-u", "-f", "qcow2", "-F",
        state_str(args, "backing-format"), "-b", state_str(args, "backing"), "{}", size, NULL,
    };
    int fd = deed_create_file(path, err);
    struct stat st;
    bool ok;

    if (fd < 0)
        return false;
    snprintf(size, sizeof(size), "%" JSON_INTEGER_FORMAT,
             json_integer_value(json_object_get(args, "size")));
    ok = image_run(words, fd, path, err) && image_check(args, fd, err);
    if (ok)
        image_give(path, state_str(args, "backing"), fd);
    ok = ok && deed_sync(fd, path, err);
    if (ok && fstat(fd, &st) == 0)
        *result = json_pack("{s:I, s:o}", "ino", (json_int_t)st.st_ino, "print", deed_print(&st));
    close(fd);
    if (!ok) {
        unlink(path);
        err_name(err, "file", path);
    }
    return ok;
}

bool deed_vmstate_create(const json_t *args, json_t **result, struct err *err)
{
    const char *path = state_str(args, "file");
    char size[32];
    const char *const words[] = {
        state_str(args, "qemu-img"), "create", "-q", "-f", "qcow2", "{}", size, NULL,
    };
    int fd = deed_create_file(path, err);
    bool ok;

    (void)result;
    if (fd < 0)
        return false;
    snprintf(size, sizeof(size), "%" JSON_INTEGER_FORMAT,
             json_integer_value(json_object_get(args, "size")));
    ok = image_run(words, fd, path, err);
    close(fd);
    if (!ok) {
        unlink(path);
        err_name(err, "file", path);
    }
    return ok;
}

bool deed_header_check(const json_t *args, json_t **result, struct err *err)
{
    int fd = deed_open(args, O_RDONLY, err);
    bool ok = fd >= 0 && image_check(args, fd, err) &&
              deed_sync(fd, state_str(args, "file"), err);

    (void)result;
    if (fd >= 0)
        close(fd);
    if (!ok)
        err_name(err, "file", state_str(args, "file"));
    return ok;
}

/* qemu-img takes QEMU's own locks: whoever has the image open keeps it from being written.  Tried again it
 * writes the header again, so that the next fsync is one of that. */
bool deed_header_rewrite(const json_t *args, json_t **result, struct err *err)
{
    const char *path = state_str(args, "file");
    const char *const words[] = {
        state_str(args, "qemu-img"), "rebase", "-q", "-u", "-f", "qcow2", "-F",
        state_str(args, "backing-format"), "-b", state_str(args, "backing"), "{}", NULL,
    };
    int fd = deed_open(args, O_RDWR, err);
    bool ok = fd >= 0 && image_run(words, fd, path, err) && image_check(args, fd, err) &&
              deed_sync(fd, path, err);

    (void)result;
    if (fd >= 0)
        close(fd);
    if (!ok)
        err_name(err, "file", path);
    err->unsynced = false;
    return ok;
}
