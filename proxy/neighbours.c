/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "proxy/neighbours.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "policy/planner.h"
#include "policy/state.h"
#include "proxy/durable.h"
#include "qmp/alloc.h"

/* new: the record in that folder, or NULL. */
static json_t *neighbours_read(int parent, const char *name)
{
    int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    struct err err = ERR_INIT;
    json_t *state = NULL;
    struct stat st;

    if (fd >= 0 && fstat(fd, &st) == 0 && st.st_uid == geteuid() &&
        durable_read_json(fd, STORE_STATE, &state, &err) && state && !state_check(state, &err)) {
        json_decref(state);
        state = NULL;
    }
    if (fd >= 0)
        close(fd);
    err_clear(&err);
    return state;
}

static bool neighbours_ask(const struct store *store, const struct world *world, const char *parent,
                           DIR *dir, struct err *err)
{
    const char *own = strrchr(store->path, '/') + 1;
    struct dirent *entry;
    bool ok = true;

    while (ok && (entry = readdir(dir))) {
        json_t *state;
        char *folder;

        if (entry->d_name[0] == '.' || strcmp(entry->d_name, own) == 0)
            continue;
        state = neighbours_read(dirfd(dir), entry->d_name);
        folder = alloc_print("%s/%s", parent, entry->d_name);
        ok = !state || planner_start_spares(world, store->state, state, folder, err);
        free(folder);
        json_decref(state);
    }
    return ok;
}

bool neighbours_allow(const struct store *store, const struct world *world, struct err *err)
{
    char *parent = world_dirname(store->path);
    DIR *dir = opendir(parent);
    bool ok = !dir || neighbours_ask(store, world, strcmp(parent, "/") == 0 ? "" : parent, dir, err);

    if (dir)
        closedir(dir);
    free(parent);
    return ok;
}
