/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "proxy/in_use.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "policy/planner.h"
#include "policy/reason.h"
#include "policy/state.h"
#include "proxy/deeds_internal.h"

/* The bytes of an image that QEMU locks (block/file-posix.c, RAW_LOCK_PERM_BASE and RAW_LOCK_SHARED_BASE). */
#define IN_USE_LOCK_START 100
#define IN_USE_LOCK_BYTES 200

#define IN_USE_PATIENCE_MS 1000
#define IN_USE_POLL_MS 50

json_t *in_use_new(const json_t *state)
{
    return json_pack("{s:o, s:[], s:[]}", "named", planner_files(state), "nodes", "pids");
}

void in_use_add_process(json_t *known, long pid)
{
    if (pid > 0)
        json_array_append_new(json_object_get(known, "pids"), json_integer(pid));
}

/* new: the file name in "json:{...}" of a protocol, or the name itself; NULL: it is none of a file. */
static json_t *in_use_file_name(const char *name)
{
    json_t *options, *found;

    if (strncmp(name, "json:", 5) != 0)
        return json_string(name);
    options = json_loads(name + 5, 0, NULL);
    found = json_incref(json_object_get(options, "filename"));
    json_decref(options);
    if (json_is_string(found))
        return found;
    json_decref(found);
    return NULL;
}

void in_use_add_nodes(json_t *known, const json_t *nodes)
{
    json_t *node, *name;
    size_t i;

    json_array_foreach((json_t *)nodes, i, node) {
        const char *file = state_str(node, "file");

        name = file ? in_use_file_name(file) : NULL;
        if (name)
            json_array_append_new(json_object_get(known, "nodes"), name);
    }
}

static const char *in_use_base(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

static bool in_use_same(const struct stat *a, const struct stat *b)
{
    return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Does that name, in one of the folders that the processes run in, lead to a file? */
static bool in_use_follow(const json_t *known, const char *name, struct stat *st)
{
    json_t *pid;
    size_t i;

    if (name[0] == '/')
        return stat(name, st) == 0;
    json_array_foreach(json_object_get(known, "pids"), i, pid) {
        char *path;
        bool found;

        if (asprintf(&path, "/proc/%lld/cwd/%s", (long long)json_integer_value(pid), name) < 0)
            abort();
        found = stat(path, st) == 0;
        free(path);
        if (found)
            return true;
    }
    return false;
}

static bool in_use_named(const json_t *known, const struct stat *file)
{
    json_t *name;
    size_t i;

    json_array_foreach(json_object_get(known, "named"), i, name) {
        struct stat st;

        if (stat(json_string_value(name), &st) == 0 && in_use_same(&st, file))
            return true;
    }
    return false;
}

static bool in_use_listed(const json_t *known, const char *path, const struct stat *file)
{
    json_t *name;
    size_t i;

    json_array_foreach(json_object_get(known, "nodes"), i, name) {
        const char *text = json_string_value(name);
        struct stat st;

        if (in_use_follow(known, text, &st) ? in_use_same(&st, file)
                                            : strcmp(in_use_base(text), in_use_base(path)) == 0)
            return true;
    }
    return false;
}

static bool in_use_open(const json_t *known, const struct stat *file)
{
    json_t *pid;
    size_t i;
    char key[64];
    bool found = false;

    deed_file_key(file, key, sizeof(key));
    json_array_foreach(json_object_get(known, "pids"), i, pid) {
        json_t *open = deed_open_files((long)json_integer_value(pid));

        found = found || json_object_get(open, key);
        json_decref(open);
    }
    return found;
}

static bool in_use_locked(const char *path)
{
    struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = IN_USE_LOCK_START,
                          .l_len = IN_USE_LOCK_BYTES };
    int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    bool locked = fd >= 0 && fcntl(fd, F_OFD_GETLK, &lock) == 0 && lock.l_type != F_UNLCK;

    if (fd >= 0)
        close(fd);
    return locked;
}

static bool in_use_stays_locked(const char *path)
{
    const struct timespec pause = { .tv_nsec = IN_USE_POLL_MS * 1000000L };

    for (int waited = 0; in_use_locked(path); waited += IN_USE_POLL_MS) {
        if (waited >= IN_USE_PATIENCE_MS)
            return true;
        nanosleep(&pause, NULL);
    }
    return false;
}

bool in_use_on_record(const json_t *known, const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && in_use_named(known, &st);
}

bool in_use_check(const json_t *known, const char *path, struct err *why)
{
    const char *who = NULL;
    struct stat st;

    if (stat(path, &st) < 0 || !S_ISREG(st.st_mode))
        return false;
    if (in_use_named(known, &st))
        who = "it is on record";
    else if (in_use_listed(known, path, &st) || in_use_open(known, &st))
        who = "QEMU has it open";
    else if (in_use_stays_locked(path))
        who = "a QEMU that is not known here has it open";
    if (!who)
        return false;
    err_set(why, REASON_FILE_UNUSABLE, "'%s' is not removed: %s", path, who);
    err_name(why, "file", path);
    return true;
}
