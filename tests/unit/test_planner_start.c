/* SPDX-License-Identifier: GPL-2.0-or-later */
/* planner_start: a VM that is started again comes up on its current layers, or not at all; and what
 * is shown of its snapshots (info.h). */
#include "tests/unit/planner_world.h"

#include "policy/info.h"
#include "policy/reason.h"
#include "policy/state.h"
#include "tests/unit/args_words.h"

#define DRIVES "-drive file=/i/a.qcow2,if=virtio,id=d0,format=qcow2 " \
               "-drive file=/i/b.raw,if=ide,id=d1,format=raw"

/* new: the words; NULL: refused for that reason, and nothing was changed. */
static char *start(struct planner_world *world, const char *reason)
{
    json_t *copy = json_deep_copy(world->state);
    struct err err = ERR_INIT;
    char **argv = planner_start(&world->w, world->state, &err);
    char *out = argv ? words_join(argv) : NULL;

    assert_json(world->state, copy);
    json_decref(copy);
    args_strv_free(argv);
    assert_int_equal(argv == NULL, err.set);
    if (!reason && err.set)
        fail_msg("%s", err.desc);
    if (reason && !err.set)
        fail_msg("%s", out);
    if (reason)
        assert_string_equal(err.reason, reason);
    err_clear(&err);
    return out;
}

static void assert_starts(struct planner_world *world, const char *with, const char *without)
{
    char *words = start(world, NULL);

    if (!strstr(words, with))
        fail_msg("'%s' is not in %s", with, words);
    if (without && strstr(words, without))
        fail_msg("'%s' is in %s", without, words);
    free(words);
}

static void vm_without_a_record_starts_as_it_was_written(void **state)
{
    struct planner_world *world = world_make(WORLD_DRIVES, "running");
    char *words = start(world, NULL);

    (void)state;
    assert_string_equal(words, "-m 64 " DRIVES);
    free(words);
    world_free(world);
}

static void vm_starts_on_its_current_layers(void **state)
{
    static const enum planner_world_kind kinds[] = { WORLD_DRIVES, WORLD_NODES };

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct planner_world *world = world_make(kinds[i], "running");
        json_t *plan;

        world_create(world, "s1");
        world_create(world, "s2");
        assert_starts(world, "/i/a.vm-6.qcow2", "-S");
        assert_starts(world, "/i/b.vm-7.qcow2", "-incoming");
        plan = world_plan(world, planner_revert, "{'name': 's1', 'discard': true}");
        world_carry_out(world, plan);
        json_decref(plan);
        assert_starts(world, "/i/a.vm-8.qcow2", "/i/a.vm-6.qcow2");
        world_free(world);
    }
}

/* A client's stream has moved all of the image that the command line names into a layer without a name. */
static void what_was_streamed_away_is_not_opened(void **state)
{
    static const enum planner_world_kind kinds[] = { WORLD_DRIVES, WORLD_NODES };

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct planner_world *world = world_with(kinds[i], 2);
        json_t *layer, *file;
        const char *id;

        json_object_foreach(json_object_get(world->state, "layers"), id, layer)
            if (strcmp(state_str(layer, "real"), "/i/a.vm-3.qcow2") == 0)
                break;
        assert_non_null(layer);
        json_object_del(layer, "node");
        json_object_set_new(layer, "parent", json_null());
        file = json_object_get(world->w.files, "/i/a.vm-3.qcow2");
        json_object_del(file, "backing");
        json_object_del(file, "backing-format");
        assert_starts(world, "/i/a.vm-6.qcow2", kinds[i] == WORLD_DRIVES ? "/i/a.qcow2" : "node-name=q0");
        if (kinds[i] == WORLD_NODES)
            assert_starts(world, "/i/a.vm-3.qcow2", "\"backing\":\"q0\"");
        world_free(world);
    }
}

/* The same image by another path, a symbolic link say. */
static void image_is_known_by_its_inode(void **state)
{
    struct planner_world *world = world_make(WORLD_DRIVES, "running");

    (void)state;
    world_create(world, "s1");
    json_object_set(world->w.files, "/other/a.img", json_object_get(world->w.files, "/i/a.qcow2"));
    world_args(world, "-drive file=/other/a.img,if=virtio,id=d0,format=qcow2 "
                      "-drive file=/i/b.raw,if=ide,id=d1,format=raw");
    assert_starts(world, "/i/a.vm-3.qcow2", NULL);
    world_free(world);
}

static void active_layer_may_be_named_itself(void **state)
{
    struct planner_world *world = world_make(WORLD_DRIVES, "running");
    char *words;

    (void)state;
    world_create(world, "s1");
    world_args(world, "-drive file=/i/a.vm-3.qcow2,if=virtio,id=d0,format=qcow2");
    words = start(world, NULL);
    assert_string_equal(words, "-drive file=/i/a.vm-3.qcow2,if=virtio,id=d0,format=qcow2");
    free(words);
    world_free(world);
}

/* Each of these would write into an image that others stand on. */
static void writing_into_frozen_layers_is_refused(void **state)
{
    static const char *const lines[] = {
        "-drive file=/i/gold.raw,if=virtio,id=d0,format=raw",
        "-drive file=/i/a.vm-3.qcow2,if=virtio,id=d0,format=qcow2",
        "-drive file=/i/a.qcow2,if=virtio,id=other,format=qcow2",
        "-drive file=/i/b.raw,if=virtio,id=d0,format=raw",
        "-hda /i/a.qcow2",
    };
    struct planner_world *world = world_make(WORLD_DRIVES, "running");

    (void)state;
    world_create(world, "s1");
    world_create(world, "s2");
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        world_args(world, lines[i]);
        assert_null(start(world, REASON_CHAIN_MISMATCH));
    }
    world_args(world, "-drive file=/i/a.qcow2,if=virtio,id=other,format=qcow2,readonly=on "
                      "-drive file=/i/new.raw,if=virtio,id=d7,format=raw");
    world_file_add(world, "/i/new.raw", "raw", NULL, NULL);
    assert_starts(world, "/i/a.qcow2", "/i/a.vm");
    world_free(world);
}

/* Its file is at another path: by a folder's new name, or it was copied. */
static void old_image_in_another_place_is_refused(void **state)
{
    static const char *const lines[] = {
        "-drive file=/new/a.qcow2,if=virtio,id=d0,format=qcow2",
        "-drive file=/new/a.qcow2,if=virtio,id=other,format=qcow2",
        "-drive file=/new/copy.qcow2,if=virtio,id=d0,format=qcow2",
    };
    struct planner_world *world = world_make(WORLD_DRIVES, "running");
    json_t *file;

    (void)state;
    world_create(world, "s1");
    file = json_object_get(world->w.files, "/i/a.qcow2");
    json_object_set(world->w.files, "/new/a.qcow2", file);
    world_file_remove(world, "/i/a.qcow2");
    world_file_add(world, "/new/copy.qcow2", "qcow2", NULL, NULL);
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        world_args(world, lines[i]);
        assert_null(start(world, REASON_CHAIN_MISMATCH));
    }
    world_args(world, "-drive file=/new/copy.qcow2,if=virtio,id=other,format=qcow2");
    assert_starts(world, "/new/copy.qcow2", NULL);
    world_free(world);
}

/* As behind a revert to a snapshot of a command line without it. */
static void way_to_a_disk_that_a_revert_took_is_told(void **state)
{
    struct planner_world *world = world_make(WORLD_DRIVES, "running");
    struct err err = ERR_INIT;

    (void)state;
    world_create(world, "s1");
    world_create(world, "s2");
    json_object_del(json_object_get(world->state, "disks"), "drive:d1");
    assert_null(planner_start(&world->w, world->state, &err));
    assert_string_equal(err.reason, REASON_CHAIN_MISMATCH);
    assert_non_null(strstr(err.desc, "without that disk, and revert to 's2'"));
    err_clear(&err);
    world_args(world, "-drive file=/i/a.qcow2,if=virtio,id=d0,format=qcow2");
    assert_starts(world, "/i/a.vm-6.qcow2", NULL);
    world_free(world);
}

/* Of another VM's record, or of the same VM's under another name. */
static bool spares(struct planner_world *world, const json_t *other, const char *line)
{
    json_t *mine = state_new();
    struct err err = ERR_INIT;
    bool ok;

    world_args(world, line);
    ok = planner_start_spares(&world->w, mine, other, "/s/other", &err);
    assert_int_equal(ok, !err.set);
    if (!ok) {
        assert_string_equal(err.reason, REASON_CHAIN_MISMATCH);
        assert_non_null(strstr(err.desc, "/s/other"));
    }
    err_clear(&err);
    /* what is on record here is known here */
    assert_true(planner_start_spares(&world->w, other, other, "/s/other", &err));
    json_decref(mine);
    return ok;
}

static void what_another_record_stands_on_is_spared(void **state)
{
    struct planner_world *world = world_make(WORLD_DRIVES, "running");
    json_t *file;

    (void)state;
    world_create(world, "s1");
    world_create(world, "s2");
    assert_false(spares(world, world->state, DRIVES));
    assert_false(spares(world, world->state, "-hda /i/a.vm-3.qcow2"));
    assert_true(spares(world, world->state, "-hda /i/a.vm-6.qcow2"));
    assert_true(spares(world, world->state, "-drive file=/i/a.qcow2,if=virtio,readonly=on"));
    assert_true(spares(world, world->state, "-drive file=/i/a.qcow2,if=virtio,snapshot=on"));
    /* made anew at the same place, on the same inode */
    file = json_deep_copy(json_object_get(world->w.files, "/i/a.vm-3.qcow2"));
    json_object_set_new(file, "mtime", json_string("9.9"));
    json_object_set_new(world->w.files, "/i/a.vm-3.qcow2", file);
    assert_true(spares(world, world->state, "-hda /i/a.vm-3.qcow2"));
    world_free(world);
}

static void chain_that_does_not_fit_is_refused(void **state)
{
    struct planner_world *world = world_make(WORLD_DRIVES, "running");
    json_t *file;

    (void)state;
    world_create(world, "s1");
    world_create(world, "s2");
    file = json_object_get(world->w.files, "/i/a.vm-6.qcow2");
    json_object_set_new(file, "backing", json_string("/i/a.qcow2"));
    assert_null(start(world, REASON_CHAIN_MISMATCH));
    json_object_set_new(file, "backing", json_string("/i/a.vm-3.qcow2"));
    json_object_set_new(file, "backing-format", json_string("raw"));
    assert_null(start(world, REASON_CHAIN_MISMATCH));
    json_object_del(file, "backing-format");
    assert_null(start(world, REASON_CHAIN_MISMATCH));
    json_object_set_new(file, "backing-format", json_string("qcow2"));
    free(start(world, NULL));
    json_object_set_new(file, "bad", json_string("it is damaged"));
    assert_null(start(world, REASON_BAD_IMAGE));
    json_object_del(file, "bad");
    file = json_deep_copy(json_object_get(world->w.files, "/i/a.qcow2"));
    json_object_set_new(file, "mtime", json_string("9.9"));
    json_object_set_new(world->w.files, "/i/a.qcow2", file);
    assert_null(start(world, REASON_IMAGE_CHANGED));
    world_file_remove(world, "/i/a.vm-6.qcow2");
    assert_null(start(world, REASON_IMAGE_CHANGED));
    world_free(world);
}

/* Above all, and below the image that the command line names; whichever of the two is named. */
static void images_at_both_ends_of_the_chain_are_looked_at(void **state)
{
    static const char *const lines[] = {
        DRIVES, "-drive file=/i/a.vm-3.qcow2,if=virtio,id=d0,format=qcow2",
    };

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct planner_world *world = world_make(WORLD_DRIVES, "running");
        json_t *top, *gold;

        world_create(world, "s1");
        world_args(world, lines[i]);
        top = json_object_get(world->w.files, "/i/a.vm-3.qcow2");
        json_object_set(state_layer(world->state, "L3"), "ino", json_object_get(top, "ino"));
        free(start(world, NULL));
        json_object_set_new(state_layer(world->state, "L3"), "ino", json_integer(999999));
        assert_null(start(world, REASON_IMAGE_CHANGED));
        json_object_del(state_layer(world->state, "L3"), "ino"); /* of an older record */
        free(start(world, NULL));
        gold = json_deep_copy(json_object_get(world->w.files, "/i/gold.raw"));
        json_object_set_new(gold, "mtime", json_string("9.9"));
        json_object_set_new(world->w.files, "/i/gold.raw", gold);
        assert_null(start(world, REASON_IMAGE_CHANGED));
        world_free(world);
    }
}

static void files_of_the_record_are_asked_for(void **state)
{
    struct planner_world *world = world_make(WORLD_DRIVES, "running");
    json_t *files;

    (void)state;
    world_create(world, "s1");
    files = planner_files(world->state);
    assert_json_is(files, "['/i/gold.raw', '/i/a.qcow2', '/i/a.vm-3.qcow2', '/i/b.raw',"
                          " '/i/b.vm-5.qcow2']");
    json_decref(files);
    world_free(world);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(vm_without_a_record_starts_as_it_was_written),
        cmocka_unit_test(vm_starts_on_its_current_layers),
        cmocka_unit_test(what_was_streamed_away_is_not_opened),
        cmocka_unit_test(image_is_known_by_its_inode),
        cmocka_unit_test(active_layer_may_be_named_itself),
        cmocka_unit_test(writing_into_frozen_layers_is_refused),
        cmocka_unit_test(old_image_in_another_place_is_refused),
        cmocka_unit_test(way_to_a_disk_that_a_revert_took_is_told),
        cmocka_unit_test(what_another_record_stands_on_is_spared),
        cmocka_unit_test(chain_that_does_not_fit_is_refused),
        cmocka_unit_test(images_at_both_ends_of_the_chain_are_looked_at),
        cmocka_unit_test(files_of_the_record_are_asked_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
