/* SPDX-License-Identifier: GPL-2.0-or-later */
/* in_use: what is not unlinked, and by whose word. */
#include "tests/unit/file_box.h"

#include "policy/reason.h"
#include "policy/state.h"
#include "proxy/deeds.h"
#include "proxy/in_use.h"

/* A folder with the file "image", and what is known before anything is said of it. */
struct scene {
    struct file_box *box;
    json_t *state, *known;
    char image[256];
};

static void scene_make(struct scene *scene, void **state)
{
    scene->box = *state;
    scene->state = state_new();
    scene->known = in_use_new(scene->state);
    snprintf(scene->image, sizeof(scene->image), "%s/image", scene->box->dir);
    file_put(scene->box->fd, "image", "data");
}

static bool scene_in_use(const struct scene *scene)
{
    struct err why = ERR_INIT;
    bool in_use = in_use_check(scene->known, scene->image, &why);

    assert_int_equal(in_use, why.set);
    err_clear(&why);
    return in_use;
}

static void scene_end(struct scene *scene)
{
    json_decref(scene->state);
    json_decref(scene->known);
}

/* QEMU lists a node of that file. */
static void scene_list(struct scene *scene, const char *file)
{
    json_t *nodes = json_pack("[{s:s, s:s}]", "node-name", "n", "file", file);

    in_use_add_nodes(scene->known, nodes);
    json_decref(nodes);
}

static void nobody_has_it(void **state)
{
    struct scene scene;

    scene_make(&scene, state);
    in_use_add_process(scene.known, 0);
    in_use_add_process(scene.known, getpid());
    in_use_add_nodes(scene.known, NULL);
    scene_list(&scene, "/dev/null");
    scene_list(&scene, "json:{\"driver\": \"null-co\"}");
    scene_list(&scene, "json:{");
    assert_false(scene_in_use(&scene));
    unlink(scene.image);
    assert_false(scene_in_use(&scene));
    scene_end(&scene);
}

static void record_names_it(void **state)
{
    struct scene scene;

    scene_make(&scene, state);
    json_object_set_new(json_object_get(scene.state, "layers"), "L1",
                        json_pack("{s:s, s:s}", "path", "image", "real", scene.image));
    json_decref(scene.known);
    scene.known = in_use_new(scene.state);
    assert_true(scene_in_use(&scene));
    scene_end(&scene);
}

static void qemu_lists_it(void **state)
{
    static const char *const spellings[] = { "%s/image", "%s/./link", "json:{\"filename\": \"%s/image\"}",
                                             "/no/such/place%.0s/image", "image%.0s" };
    struct scene scene;

    for (size_t i = 0; i < sizeof(spellings) / sizeof(spellings[0]); i++) {
        char file[256];

        scene_make(&scene, state);
        if (i == 1)
            assert_int_equal(symlinkat("image", scene.box->fd, "link"), 0);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(file, sizeof(file), spellings[i], scene.box->dir);
#pragma GCC diagnostic pop
        scene_list(&scene, file);
        assert_true(scene_in_use(&scene));
        scene_end(&scene);
    }
}

/* A relative name is followed from where the process runs. */
static void name_in_the_folder_of_a_process(void **state)
{
    struct scene scene;
    int here = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    scene_make(&scene, state);
    assert_int_equal(mkdirat(scene.box->fd, "other", 0700), 0);
    assert_int_equal(fchdir(scene.box->fd), 0);
    in_use_add_process(scene.known, getpid());
    scene_list(&scene, "image");
    assert_true(scene_in_use(&scene));
    assert_int_equal(chdir("other"), 0);
    file_put(scene.box->fd, "other/image", "another one");
    assert_false(scene_in_use(&scene));
    assert_int_equal(fchdir(here), 0);
    close(here);
    scene_end(&scene);
}

static void process_has_it_open(void **state)
{
    struct scene scene;
    int fd;

    scene_make(&scene, state);
    fd = openat(scene.box->fd, "image", O_RDONLY | O_CLOEXEC);
    assert_false(scene_in_use(&scene));
    in_use_add_process(scene.known, getpid());
    assert_true(scene_in_use(&scene));
    close(fd);
    assert_false(scene_in_use(&scene));
    scene_end(&scene);
}

static void somebody_has_locked_it(void **state)
{
    struct flock lock = { .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 201, .l_len = 1 };
    struct scene scene;
    int fd;

    scene_make(&scene, state);
    fd = openat(scene.box->fd, "image", O_RDWR | O_CLOEXEC);
    assert_int_equal(fcntl(fd, F_OFD_SETLK, &lock), 0);
    assert_true(scene_in_use(&scene));
    close(fd);
    assert_false(scene_in_use(&scene));
    scene_end(&scene);
}

static bool removes(const char *name, json_t *args, struct err *err)
{
    json_t *result = NULL;
    bool ok = deeds_find(name)(args, &result, err);

    json_decref(result);
    json_decref(args);
    return ok;
}

static void deeds_leave_what_is_in_use(void **state)
{
    struct err err = ERR_INIT;
    struct scene scene;
    char other[256];

    scene_make(&scene, state);
    snprintf(other, sizeof(other), "%s/other", scene.box->dir);
    file_put(scene.box->fd, "other", "data");
    assert_true(deeds_unlinks("file-remove") && deeds_unlinks("files-remove") && !deeds_unlinks("file-sync"));
    /* nobody has looked */
    assert_false(removes("file-remove", json_pack("{s:s}", "file", other), &err));
    assert_string_equal(err.reason, REASON_BAD_PLAN);
    err_clear(&err);
    assert_true(file_is_there(scene.box->fd, "other"));
    scene_list(&scene, scene.image);
    assert_true(removes("file-remove", json_pack("{s:s, s:O}", "file", scene.image, "known", scene.known),
                        &err));
    assert_true(file_is_there(scene.box->fd, "image"));
    assert_true(removes("files-remove", json_pack("{s:[s, s], s:O}", "files", scene.image, other, "known",
                                                  scene.known), &err));
    assert_true(file_is_there(scene.box->fd, "image"));
    assert_false(file_is_there(scene.box->fd, "other"));
    scene_end(&scene);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FILE_BOX_TEST(nobody_has_it),
        FILE_BOX_TEST(record_names_it),
        FILE_BOX_TEST(qemu_lists_it),
        FILE_BOX_TEST(name_in_the_folder_of_a_process),
        FILE_BOX_TEST(process_has_it_open),
        FILE_BOX_TEST(somebody_has_locked_it),
        FILE_BOX_TEST(deeds_leave_what_is_in_use),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
