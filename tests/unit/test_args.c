/* SPDX-License-Identifier: GPL-2.0-or-later */
/* args: what a QEMU command line says, and what the proxy takes out of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "args_words.h"

static struct args *parse(const char *line)
{
    struct err err = ERR_INIT;
    struct args *args = words_parse(line, &err);

    assert_non_null(args);
    return args;
}

static void assert_renders(const struct args *args, const char *line)
{
    char *text = words_render(args);

    assert_string_equal(text, line);
    free(text);
}

static void arguments_come_out_as_they_went_in(void **state)
{
    static const char *const lines[] = {
        "", "disk.img", "-m 512 --smp 2 -S", "-drive file=a,,b -append -x=y --daemonize",
        "-unknown value -S", "-unknown -S", "-blockdev {\"driver\":\"file\"}", NULL
    };

    for (size_t i = 0; lines[i]; i++) {
        struct args *args = parse(lines[i]);
        struct args *copy = args_copy(args);

        assert_renders(args, lines[i]);
        assert_renders(copy, lines[i]);
        args_free(args);
        args_free(copy);
    }
    (void)state;
}

static void option_without_its_value_is_refused(void **state)
{
    static const char *const lines[] = { "-m", "-S -drive", "-", "--", NULL };

    for (size_t i = 0; lines[i]; i++) {
        struct err err = ERR_INIT;

        assert_null(words_parse(lines[i], &err));
        assert_string_equal(err.reason, "unsupported-argument");
        err_clear(&err);
    }
    (void)state;
}

static void word_after_an_unknown_option_is_no_image(void **state)
{
    struct args *args = parse("-S a.img -frobnicate b.img");

    assert_true(args_at(args, 1)->image);
    assert_false(args_at(args, 3)->image);
    assert_string_equal(args_unknown(args), "-frobnicate");
    args_free(args);
    (void)state;
}

static void getters_take_the_last_word(void **state)
{
    struct args *args = parse("-name a,process=p -M pc -machine accel=tcg -M q35,x=y -name guest=b "
                              "-daemonize");

    assert_string_equal(args_binary(args), "qemu");
    assert_string_equal(args_name(args), "b");
    assert_string_equal(args_machine(args), "q35");
    assert_true(args_has(args, "daemonize"));
    assert_false(args_has(args, "S"));
    assert_string_equal(args_value(args, "machine"), "accel=tcg");
    args_free(args);
    args = parse("-machine accel=tcg -name process=p");
    assert_null(args_name(args));
    assert_null(args_machine(args));
    args_free(args);
    (void)state;
}

/* ---- monitors ---- */

struct monitor_row {
    const char *line, *left;
    enum args_monitor_kind kind;
    const char *place;          /* path, or HOST|PORT, or the fd */
    bool wait, pretty;
    const char *id;
};

static const struct monitor_row monitor_rows[] = {
    { "-qmp unix:/a,,b,server=on,wait=off -S", "-S", ARGS_MONITOR_UNIX_LISTEN, "/a,b", false, false,
      "compat_monitor0" },
    { "-qmp unix:/q,server", "", ARGS_MONITOR_UNIX_LISTEN, "/q", true, false, "compat_monitor0" },
    { "-monitor none -monitor vc -qmp-pretty unix:/q,server,nowait", "-monitor none -monitor vc",
      ARGS_MONITOR_UNIX_LISTEN, "/q", false, true, "compat_monitor1" },
    { "--qmp unix:/q", "", ARGS_MONITOR_UNIX_CONNECT, "/q", false, false, "compat_monitor0" },
    { "-qmp tcp:localhost:4444,server=on,wait=off", "", ARGS_MONITOR_TCP_LISTEN, "localhost|4444",
      false, false, "compat_monitor0" },
    { "-qmp tcp::4444,server,nowait", "", ARGS_MONITOR_TCP_LISTEN, "|4444", false, false,
      "compat_monitor0" },
    { "-qmp tcp:[::1]:4444", "", ARGS_MONITOR_TCP_CONNECT, "::1|4444", false, false,
      "compat_monitor0" },
    { "-qmp stdio", "", ARGS_MONITOR_STDIO, "", false, false, "compat_monitor0" },
    { "-chardev socket,id=q,path=/q,server=on,wait=off -m 1 -mon chardev=q,mode=control,pretty=on",
      "-m 1", ARGS_MONITOR_UNIX_LISTEN, "/q", false, true, "q" },
    { "-mon q,mode=control -chardev socket,id=q,fd=7,server=on,wait=off", "",
      ARGS_MONITOR_FD_LISTEN, "7", false, false, "q" },
    { "-chardev socket,id=q,fd=0 -qmp chardev:q", "", ARGS_MONITOR_FD_CONNECTED, "0", false, false,
      "q" },
    { "-chardev socket,id=q,host=h,port=1,reconnect=2 -mon q,mode=control", "",
      ARGS_MONITOR_TCP_CONNECT, "h|1", false, false, "q" },
    { "-name q -chardev stdio,id=q -mon q,mode=control", "-name q", ARGS_MONITOR_STDIO, "", false,
      false, "q" },
};

static void assert_monitor(const struct args_monitor *got, const struct monitor_row *row)
{
    char *place = args_util_format("%s%s%s%s", got->path ? got->path : "",
                                   got->host ? got->host : "", got->port ? "|" : "",
                                   got->port ? got->port : "");

    if (got->fd >= 0) {
        free(place);
        place = args_util_format("%d", got->fd);
    }
    assert_int_equal(got->kind, row->kind);
    assert_string_equal(place, row->place);
    assert_int_equal(got->wait, row->wait);
    assert_int_equal(got->pretty, row->pretty);
    assert_string_equal(got->id, row->id);
    free(place);
}

static void qmp_monitors_are_taken_over(void **state)
{
    for (size_t i = 0; i < sizeof(monitor_rows) / sizeof(monitor_rows[0]); i++) {
        const struct monitor_row *row = &monitor_rows[i];
        struct args *args = parse(row->line);
        struct args_monitors got = ARGS_MONITORS_INIT;
        struct err err = ERR_INIT;

        assert_true(args_take_monitors(args, &got, &err));
        assert_int_equal(got.n, 1);
        assert_monitor(&got.v[0], row);
        assert_renders(args, row->left);
        args_monitors_clear(&got);
        args_free(args);
    }
    (void)state;
}

static void several_monitors_keep_their_order(void **state)
{
    struct args *args = parse("-chardev socket,id=c,path=/c,reconnect=3 -qmp unix:/a,server,nowait "
                              "-monitor stdio -mon c,mode=control -mon x -chardev null,id=x");
    struct args_monitors got = ARGS_MONITORS_INIT;
    struct err err = ERR_INIT;

    assert_true(args_take_monitors(args, &got, &err));
    assert_int_equal(got.n, 2);
    assert_string_equal(got.v[0].path, "/a");
    assert_string_equal(got.v[1].path, "/c");
    assert_int_equal(got.v[1].reconnect_ms, 3000);
    assert_renders(args, "-monitor stdio -mon x -chardev null,id=x");
    args_monitors_clear(&got);
    args_free(args);
    (void)state;
}

static void monitors_that_cannot_be_taken_are_named(void **state)
{
    static const char *const lines[][2] = {
        { "-qmp pty", "pty" }, { "-qmp mon:stdio", "mux" }, { "-qmp telnet:h:1,server", "telnet" },
        { "-mon nope,mode=control", "nope" }, { "-qmp frob:1", "frob:1" },
        { "-chardev socket,id=q,path=/q,mux=on -mon q,mode=control", "mux" },
        { "-chardev socket,id=q,path=/q -mon q,mode=control -serial chardev:q", "'q'" },
        { "-chardev socket,id=q,path=/q -mon q,mode=control -device isa-serial,chardev=q", "'q'" },
        { "-chardev socket,id=q,path=/q,tls-creds=t,server=on -mon q,mode=control", "tls-creds" },
        { "-chardev socket,id=q,server=on -mon q,mode=control", "'q'" },
    };

    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        struct args *args = parse(lines[i][0]);
        struct args_monitors got = ARGS_MONITORS_INIT;
        struct err err = ERR_INIT;

        assert_false(args_take_monitors(args, &got, &err));
        assert_string_equal(err.reason, "unsupported-argument");
        assert_non_null(strstr(err.desc, lines[i][1]));
        assert_int_equal(got.n, 0);
        assert_renders(args, lines[i][0]);
        err_clear(&err);
        args_free(args);
    }
    (void)state;
}

static void default_monitor_comes_back(void **state)
{
    static const char *const lines[][2] = {
        { "-nographic", "-nographic -serial mon:stdio" },
        { "-nographic -serial null", "-nographic -serial null -monitor stdio" },
        { "-nographic -device isa-serial,chardev=c",
          "-nographic -device isa-serial,chardev=c -monitor stdio" },
        { "-display none", "-display none -monitor vc:80Cx24C" },
        { "-display dbus", "-display dbus -monitor vc" },
        { "-nographic -nodefaults", "-nographic -nodefaults" },
        { "-nographic -serial mon:stdio", "-nographic -serial mon:stdio" },
        { "-monitor none", "-monitor none" },
        { "-qmp unix:/q", "" },
    };

    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        struct args *args = parse(lines[i][0]);
        struct args_monitors got = ARGS_MONITORS_INIT;
        struct err err = ERR_INIT;

        assert_true(args_take_monitors(args, &got, &err));
        args_add_default_monitor(args);
        assert_renders(args, lines[i][1]);
        args_monitors_clear(&got);
        args_free(args);
    }
    (void)state;
}

static void daemonize_and_pidfile_are_taken(void **state)
{
    struct args *args = parse("-pidfile /a -m 1 --daemonize -pidfile /b");
    struct args_daemonize got;

    args_take_daemonize(args, &got);
    assert_true(got.daemonize);
    assert_string_equal(got.pidfile, "/b");
    assert_renders(args, "-m 1");
    free(got.pidfile);
    args_take_daemonize(args, &got);
    assert_false(got.daemonize);
    assert_null(got.pidfile);
    args_free(args);
    (void)state;
}

static void every_option_stands_once_in_the_table(void **state)
{
    size_t n;
    const struct option_row *rows = options_table_rows(&n);

    assert_true(n > 100);
    for (size_t i = 0; i < n; i++)
        assert_ptr_equal(options_table_find(rows[i].name), &rows[i]);
    assert_null(options_table_find("frobnicate"));
    assert_true(options_table_find("serial")->takes_value);
    assert_false(options_table_find("s")->takes_value);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(arguments_come_out_as_they_went_in),
        cmocka_unit_test(option_without_its_value_is_refused),
        cmocka_unit_test(word_after_an_unknown_option_is_no_image),
        cmocka_unit_test(getters_take_the_last_word),
        cmocka_unit_test(qmp_monitors_are_taken_over),
        cmocka_unit_test(several_monitors_keep_their_order),
        cmocka_unit_test(monitors_that_cannot_be_taken_are_named),
        cmocka_unit_test(default_monitor_comes_back),
        cmocka_unit_test(daemonize_and_pidfile_are_taken),
        cmocka_unit_test(every_option_stands_once_in_the_table),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
