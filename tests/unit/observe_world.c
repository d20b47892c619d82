/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/observe_world.h"

#include "policy/observe.h"
#include "policy/state.h"

/* The image leads to that one, by its header. */
void lead(struct planner_world *world, const char *path, const char *below,
          const char *header, const char *format)
{
    json_t *entry = json_object_get(world->w.files, path);
    const json_t *to = json_object_get(world->w.files, below ? below : "");

    json_object_del(entry, "leads");
    json_object_set_new(entry, "backing", header ? json_string(header) : NULL);
    json_object_set_new(entry, "backing-format", format ? json_string(format) : NULL);
    if (!header)
        json_object_del(entry, "backing");
    if (to)
        json_object_set_new(entry, "leads", json_pack("{s:O, s:O}", "dev", json_object_get(to, "dev"),
                                                      "ino", json_object_get(to, "ino")));
}

json_t *chain_of(struct planner_world *world, size_t disk)
{
    return json_object_get(json_array_get(world->vm, disk), "chain");
}

/* A client puts an overlay on the disk, whose header names what is below as QEMU does. */
void put_on(struct planner_world *world, size_t disk, const char *node, const char *path)
{
    json_t *chain = chain_of(world, disk), *below = json_array_get(chain, 0);
    const char *file = state_str(below, "file"), *format = state_str(below, "drv");

    world_file_add(world, path, "qcow2", NULL, NULL);
    lead(world, path, file, file, format);
    json_array_insert_new(chain, 0, json_pack("{s:s, s:s, s:s}", "node", node, "drv", "qcow2", "file",
                                              path));
    world_graph(world);
}

/* A client's block job takes chain[first..first + n) out. */
void take_out(struct planner_world *world, size_t disk, size_t first, size_t n)
{
    while (n-- > 0)
        json_array_remove(chain_of(world, disk), first);
    world_graph(world);
}

void written(struct planner_world *world, const char *path)
{
    json_object_set_new(json_object_get(world->w.files, path), "mtime", json_string("9.9"));
}

/* Looks; the record follows. */
void look(struct planner_world *world, const char *commands)
{
    json_t *seen = commands ? json_text(commands) : NULL;
    json_int_t before = json_integer_value(json_object_get(world->state, "generation"));
    json_t *state = observe(&world->w, world->state, seen);
    struct err err = ERR_INIT;

    json_decref(seen);
    if (!state)
        fail_msg("nothing was observed");
    if (!state_check(state, &err))
        fail_msg("%s", err.desc);
    assert_true(json_integer_value(json_object_get(state, "generation")) == before + 1);
    json_decref(world->state);
    world->state = state;
    assert_null(observe(&world->w, world->state, NULL));
}

const json_t *snapshot_of(struct planner_world *world, const char *name)
{
    const json_t *snapshot = state_snapshot(world->state, name);

    if (!snapshot)
        fail_msg("no snapshot %s", name);
    return snapshot;
}

const char *active_of(struct planner_world *world, const char *key)
{
    return state_str(state_disk(world->state, key), "active");
}

bool damaged(struct planner_world *world, const char *name)
{
    return json_object_get(snapshot_of(world, name), "damaged") != NULL;
}
