/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Snapshots made, reverted to and deleted at random, some of the deletes broken off behind any record
 * that they write: every plan on the way is looked at by planner_check.c and planner_merges.c, and in
 * the end nothing is left but the images that the command line names.
 */
#include "tests/unit/planner_world.h"

#include <stdio.h>

#include "policy/state.h"

#define WALK_SEEDS 30
#define WALK_STEPS 25
#define WALK_SNAPSHOTS 7

struct walk {
    struct planner_world *world;
    uint32_t random;
    unsigned made;          /* names given so far */
    unsigned merged, broken;
};

static unsigned walk_pick(struct walk *walk, unsigned n)
{
    walk->random = walk->random * 1664525 + 1013904223;
    return (walk->random >> 16) % n;
}

static const json_t *walk_snapshots(const struct walk *walk)
{
    return json_object_get(walk->world->state, "snapshots");
}

static const char *walk_name(struct walk *walk)
{
    size_t n = json_array_size(walk_snapshots(walk));

    return state_str(json_array_get(walk_snapshots(walk), walk_pick(walk, (unsigned)n)), "name");
}

static void walk_create(struct walk *walk)
{
    char name[16];

    snprintf(name, sizeof(name), "s%u", ++walk->made);
    world_create(walk->world, name);
}

static void walk_revert(struct walk *walk)
{
    char request[100];
    const char *name = walk_name(walk);

    snprintf(request, sizeof(request), "{'name': '%s', 'discard': true}", name);
    if (!json_object_get(state_snapshot(walk->world->state, name), "deleting"))
        world_do(walk->world, planner_revert, request);
}

/* Files hold more or less, and some have bitmaps. */
static void walk_files(struct walk *walk, bool bitmaps)
{
    const char *path;
    json_t *file;

    json_object_foreach(walk->world->w.files, path, file) {
        json_object_set_new(file, "allocated", json_integer(walk_pick(walk, 9) * 1000));
        json_object_set_new(file, "bitmaps", json_boolean(bitmaps && walk_pick(walk, 12) == 0));
    }
}

static size_t walk_count(const json_t *plan, const char *name)
{
    json_t *step;
    size_t i, n = 0;

    json_array_foreach(json_object_get(plan, "steps"), i, step)
        n += strcmp(state_str(step, "step"), name) == 0;
    return n;
}

/* The plan breaks off behind its nth record; the restart has removed what that does not name. */
static void walk_break_off(struct walk *walk, json_t *plan, size_t nth)
{
    const json_t *record = json_object_get(json_object_get(plan_step(plan, "state-write", nth),
                                                           "args"), "state");
    json_t *unneeded = planner_unneeded(plan, record), *file;
    size_t i;

    json_object_set_new(plan, "after", json_deep_copy(record));
    json_array_clear(json_object_get(plan, "steps"));
    world_carry_out(walk->world, plan);
    json_array_foreach(unneeded, i, file)
        world_file_remove(walk->world, json_string_value(file));
    json_decref(unneeded);
    walk->broken++;
}

static void walk_delete(struct walk *walk)
{
    static const char *const directions[] = { "auto", "auto", "commit", "stream" };
    static const char *const children[] = { "keep", "keep", "only", "include" };
    json_t *request = json_pack("{s:s, s:s, s:s, s:b}", "name", walk_name(walk), "direction",
                                directions[walk_pick(walk, 4)], "children",
                                children[walk_pick(walk, 4)], "metadata-only",
                                walk_pick(walk, 6) == 0);
    char *text = json_dumps(request, 0);
    struct err err = ERR_INIT;
    json_t *plan = planner_delete(&walk->world->w, walk->world->state, request, &err);

    if (plan) {     /* else there is a bitmap, or it cannot go that way, or the guest is on a child */
        size_t records;

        json_decref(plan);
        plan = world_plan(walk->world, planner_delete, text);
        records = walk_count(plan, "state-write") - 1;
        walk->merged += records > 0;
        if (records > 0 && walk_pick(walk, 3) == 0)
            walk_break_off(walk, plan, walk_pick(walk, (unsigned)records));
        else
            world_carry_out(walk->world, plan);
    }
    err_clear(&err);
    json_decref(plan);
    json_decref(request);
    free(text);
}

/* Everything goes; a last snapshot is made for what others may have left. */
static void walk_home(struct walk *walk)
{
    walk_files(walk, false);
    walk_create(walk);
    while (json_array_size(walk_snapshots(walk)) > 0) {
        char request[64];

        snprintf(request, sizeof(request), "{'name': '%s'}", walk_name(walk));
        world_do(walk->world, planner_delete, request);
    }
    assert_int_equal(json_object_size(json_object_get(walk->world->state, "layers")), 3);
    assert_string_equal(state_str(state_disk(walk->world->state, "drive:d0"), "active"), "L2");
    assert_string_equal(state_str(state_disk(walk->world->state, "drive:d1"), "active"), "L4");
}

static void any_walk_leads_back_to_the_images_of_the_command_line(void **state)
{
    unsigned merged = 0, broken = 0;

    (void)state;
    for (uint32_t seed = 1; seed <= WALK_SEEDS; seed++) {
        struct walk walk = { .world = world_make(WORLD_DRIVES, "running"), .random = seed };

        for (unsigned i = 0; i < WALK_STEPS; i++) {
            size_t n = json_array_size(walk_snapshots(&walk));
            unsigned what = walk_pick(&walk, 10);

            walk_files(&walk, true);
            if (n == 0 || (what < 5 && n < WALK_SNAPSHOTS))
                walk_create(&walk);
            else if (what < 7)
                walk_revert(&walk);
            else
                walk_delete(&walk);
        }
        walk_home(&walk);
        merged += walk.merged;
        broken += walk.broken;
        world_free(walk.world);
    }
    assert_true(merged > WALK_SEEDS && broken > WALK_SEEDS / 4);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_walk_leads_back_to_the_images_of_the_command_line),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
