/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qemuopts: reading, changing and writing back option texts and their JSON form. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "policy/qemuopts.h"

static struct qemuopts *parse(const char *text, const char *implied)
{
    struct err err = ERR_INIT;
    struct qemuopts *opts = qemuopts_parse(text, implied, &err);

    assert_non_null(opts);
    assert_false(err.set);
    return opts;
}

static void assert_renders(const struct qemuopts *opts, const char *text)
{
    char *out = qemuopts_render(opts);

    assert_string_equal(out, text);
    free(out);
}

static void untouched_text_is_kept_byte_for_byte(void **state)
{
    static const char *const texts[] = {
        "", "a=b", "virtio-blk-pci,drive=d0", "unix:/a,,b,server,nowait", "x=,y=,,",
        "server=on,wait",
        "{\"driver\": \"raw\" , \"node-name\":\"n\"}", "a=1,a=2", "/tmp/a=b", "file=/a/b,,,,c",
        "=x", "nofoo,,=x", NULL
    };

    for (size_t i = 0; texts[i]; i++) {
        struct qemuopts *opts = parse(texts[i], "first");

        assert_renders(opts, texts[i]);
        qemuopts_free(opts);
    }
    (void)state;
}

static void doubled_commas_are_one_comma(void **state)
{
    struct qemuopts *opts = parse("file=/a,,b,c,,,id=x", NULL);

    /* A switch has no value, so that commas after it part empty items. */
    assert_string_equal(qemuopts_get(opts, "file"), "/a,b");
    assert_string_equal(qemuopts_get(opts, "id"), "x");
    qemuopts_set(opts, "file", "/x,y");
    qemuopts_remove(opts, "c");
    qemuopts_remove(opts, "");
    assert_renders(opts, "file=/x,,y,id=x");
    qemuopts_free(opts);
    (void)state;
}

static void first_word_takes_the_implied_key(void **state)
{
    struct qemuopts *opts = parse("/a,,b,server=on", "path");

    assert_string_equal(qemuopts_get(opts, "path"), "/a,b");
    assert_string_equal(qemuopts_get(opts, "server"), "on");
    qemuopts_free(opts);
    opts = parse("path=/c,server", "path");
    assert_string_equal(qemuopts_get(opts, "path"), "/c");
    qemuopts_free(opts);
    (void)state;
}

static void words_without_a_value_are_switches(void **state)
{
    struct qemuopts *opts = parse("server,nowait,delay=off", NULL);

    assert_true(qemuopts_get_bool(opts, "server", false));
    assert_false(qemuopts_get_bool(opts, "wait", true));
    assert_false(qemuopts_get_bool(opts, "delay", true));
    assert_true(qemuopts_get_bool(opts, "absent", true));
    qemuopts_set(opts, "wait", "on");
    assert_renders(opts, "server,wait=on,delay=off");
    qemuopts_free(opts);
    (void)state;
}

static void last_of_equal_keys_wins_and_is_the_one_set(void **state)
{
    struct qemuopts *opts = parse("hostfwd=a,hostfwd=b,id=n", NULL);

    assert_string_equal(qemuopts_get(opts, "hostfwd"), "b");
    qemuopts_set(opts, "hostfwd", "c");
    assert_renders(opts, "hostfwd=a,hostfwd=c,id=n");
    assert_true(qemuopts_remove(opts, "hostfwd"));
    assert_false(qemuopts_remove(opts, "hostfwd"));
    assert_renders(opts, "id=n");
    qemuopts_free(opts);
    (void)state;
}

static void group_covers_its_members_only(void **state)
{
    struct qemuopts *opts = parse("file.driver=file,file.x.y=1,filename=f,file=g", NULL);

    assert_true(qemuopts_has_group(opts, "file"));
    assert_true(qemuopts_has_group(opts, "file.x"));
    assert_false(qemuopts_has_group(opts, "fil"));
    assert_true(qemuopts_remove_group(opts, "file"));
    assert_renders(opts, "filename=f");
    qemuopts_free(opts);
    (void)state;
}

static void json_members_show_as_dotted_keys(void **state)
{
    struct qemuopts *opts = parse("{\"driver\":\"qcow2\",\"read-only\":true,\"backing\":null,"
                                  "\"file\":{\"driver\":\"file\",\"filename\":\"/a,b\"},\"n\":-3,"
                                  "\"hostfwd\":[{\"str\":\"x\"},{\"str\":\"y\"}]}", "driver");

    assert_true(qemuopts_is_json(opts));
    assert_string_equal(qemuopts_get(opts, "file.filename"), "/a,b");
    assert_string_equal(qemuopts_get(opts, "hostfwd.1.str"), "y");
    assert_string_equal(qemuopts_get(opts, "n"), "-3");
    assert_true(qemuopts_get_bool(opts, "read-only", false));
    assert_true(qemuopts_is_null(opts, "backing"));
    assert_false(qemuopts_is_null(opts, "driver"));
    qemuopts_free(opts);
    (void)state;
}

static void json_is_changed_as_json(void **state)
{
    struct qemuopts *opts = parse("{\"driver\":\"raw\",\"read-only\":false,\"l\":[1,2],"
                                  "\"file\":{\"driver\":\"file\",\"filename\":\"a\"}}", NULL);

    qemuopts_set(opts, "file.filename", "b\"c");
    qemuopts_set_bool(opts, "read-only", true);
    qemuopts_set_bool(opts, "cache.direct", true);
    assert_true(qemuopts_remove(opts, "file.driver"));
    assert_false(qemuopts_remove(opts, "file.absent"));
    assert_true(qemuopts_remove_group(opts, "l"));
    assert_renders(opts, "{\"driver\":\"raw\",\"read-only\":true,"
                         "\"file\":{\"filename\":\"b\\\"c\"},\"cache\":{\"direct\":true}}");
    assert_string_equal(qemuopts_get(opts, "cache.direct"), "on");
    qemuopts_free(opts);
    (void)state;
}

static void broken_json_is_refused(void **state)
{
    static const char *const texts[] = { "{", "{'a':1}", "{\"a\":1,\"a\":2}", "{} x", NULL };

    for (size_t i = 0; texts[i]; i++) {
        struct err err = ERR_INIT;

        assert_null(qemuopts_parse(texts[i], NULL, &err));
        assert_string_equal(err.reason, "unsupported-argument");
        err_clear(&err);
    }
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(untouched_text_is_kept_byte_for_byte),
        cmocka_unit_test(doubled_commas_are_one_comma),
        cmocka_unit_test(first_word_takes_the_implied_key),
        cmocka_unit_test(words_without_a_value_are_switches),
        cmocka_unit_test(last_of_equal_keys_wins_and_is_the_one_set),
        cmocka_unit_test(group_covers_its_members_only),
        cmocka_unit_test(json_members_show_as_dotted_keys),
        cmocka_unit_test(json_is_changed_as_json),
        cmocka_unit_test(broken_json_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
