/* SPDX-License-Identifier: GPL-2.0-or-later */
/* inspect: which files are there is known, or said not to be. */
#include "tests/unit/file_box.h"

#include <sys/resource.h>

#include "policy/reason.h"
#include "proxy/deeds.h"

/* new: what is found of the file f and of one that is not there. */
static bool look(const struct file_box *box, json_t **result, struct err *err)
{
    char f[128], none[128];
    json_t *args;
    bool ok;

    snprintf(f, sizeof(f), "%s/f", box->dir);
    snprintf(none, sizeof(none), "%s/none", box->dir);
    args = json_pack("{s:[s, s]}", "files", f, none);
    ok = deed_inspect(args, result, err);
    json_decref(args);
    return ok;
}

static bool exists(const struct file_box *box, const json_t *result, const char *name)
{
    char path[128];
    const json_t *entry;

    snprintf(path, sizeof(path), "%s/%s", box->dir, name);
    entry = json_object_get(json_object_get(result, "files"), path);
    assert_non_null(entry);
    return json_is_true(json_object_get(entry, "exists"));
}

static void files_are_there_or_not(void **state)
{
    struct file_box *box = *state;
    struct err err = ERR_INIT;
    json_t *result = NULL;

    file_put(box->fd, "f", "x");
    assert_true(look(box, &result, &err));
    assert_true(exists(box, result, "f"));
    assert_false(exists(box, result, "none"));
    json_decref(result);
}

static void without_descriptors_nothing_is_said_to_be_missing(void **state)
{
    struct file_box *box = *state;
    int next = dup(box->fd);
    struct err err = ERR_INIT;
    struct rlimit old, none;
    json_t *result = NULL;
    bool ok;

    file_put(box->fd, "f", "x");
    close(next);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    none = (struct rlimit){ .rlim_cur = (rlim_t)next, .rlim_max = old.rlim_max };
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    ok = look(box, &result, &err);
    setrlimit(RLIMIT_NOFILE, &old);
    assert_false(ok);
    assert_string_equal(err.reason, REASON_FILE_UNUSABLE);
    err_clear(&err);
    json_decref(result);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        FILE_BOX_TEST(files_are_there_or_not),
        FILE_BOX_TEST(without_descriptors_nothing_is_said_to_be_missing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
