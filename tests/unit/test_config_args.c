/* SPDX-License-Identifier: GPL-2.0-or-later */
/* config_args: recorded commands as a command line, and what has no form there. */
#include "tests/unit/args_words.h"
#include "tests/unit/json_text.h"

#include <stdio.h>

#include "policy/config_args.h"
#include "policy/reason.h"
#include "policy/state.h"
#include "qmp/alloc.h"

#define LINE "-m 64 -blockdev driver=raw,node-name=n0,file.driver=file,file.filename=/i/a " \
             "-drive file=/i/b,if=none,id=d0 -device scsi-hd,drive=n0,id=s0 " \
             "-device scsi-hd,drive=d0,id=s1 -netdev user,id=net0 -chardev null,id=c0 " \
             "-object iothread,id=io0"

/* new: the words behind LINE's own, or all of them when something of it is gone. */
static char *said(const char *line, const char *config, bool typed, bool lenient, struct err *err)
{
    struct err none = ERR_INIT;
    struct args *args = words_parse(line, &none), *made;
    json_t *commands = json_text(config);
    char *out = alloc_zeroed(1, 8192);
    char **argv;

    made = config_args(args, commands, typed, lenient, err);
    argv = made ? args_render(made) : NULL;
    for (size_t i = 1; argv && argv[i]; i++) {
        strcat(out, i > 1 ? " " : "");
        strcat(out, argv[i]);
    }
    args_strv_free(argv);
    args_free(made);
    args_free(args);
    json_decref(commands);
    return out;
}

static void assert_said(const char *config, bool typed, const char *want)
{
    struct err err = ERR_INIT;
    char *got = said("-m 64", config, typed, false, &err), full[4096];

    snprintf(full, sizeof(full), "-m 64%s%s", *want ? " " : "", want);
    if (err.set)
        fail_msg("%s", err.desc);
    assert_string_equal(got, full);
    free(got);
}

static void commands_become_options(void **state)
{
    (void)state;
    assert_said("[]", false, "");
    assert_said("[{'execute': 'blockdev-add', 'arguments': {'driver': 'raw', 'node-name': 'x',"
                "  'file': {'driver': 'file', 'filename': '/i/x'}}}]", false,
                "-blockdev {\"driver\":\"raw\",\"node-name\":\"x\",\"file\":{\"driver\":\"file\","
                "\"filename\":\"/i/x\"}}");
    assert_said("[{'execute': 'netdev_add', 'arguments': {'type': 'user', 'id': 'n'}}]", false,
                "-netdev {\"type\":\"user\",\"id\":\"n\"}");
    assert_said("[{'execute': 'object-add', 'arguments': {'qom-type': 'iothread', 'id': 'i'}}]",
                false, "-object {\"qom-type\":\"iothread\",\"id\":\"i\"}");
}

static void devices_are_told_as_that_version_takes_them(void **state)
{
    static const char plain[] = "[{'execute': 'device_add', 'arguments': {'id': 'x', 'driver': 'e1000',"
                                " 'mac': 'a,b', 'autonegotiation': true, 'addr': 5}}]";
    static const char nested[] = "[{'execute': 'device_add', 'arguments': {'driver': 'y', 'id': 'x',"
                                 " 'list': [1]}}]";
    struct err err = ERR_INIT;
    char *got;

    (void)state;
    assert_said(plain, false, "-device driver=e1000,id=x,mac=a,,b,autonegotiation=on,addr=5");
    assert_said(plain, true, "-device {\"id\":\"x\",\"driver\":\"e1000\",\"mac\":\"a,b\","
                             "\"autonegotiation\":true,\"addr\":5}");
    assert_said(nested, false, "-device {\"driver\":\"y\",\"id\":\"x\",\"list\":[1]}");
    assert_said("[{'execute': 'device_add', 'arguments': {'driver': 'z'}}]", false,
                "-device {\"driver\":\"z\"}");
    /* It may stand on one of the user's, which are made last. */
    got = said("-device {\"driver\":\"qemu-xhci\"}", plain, false, false, &err);
    assert_non_null(strstr(got, "-device {\"id\":\"x\""));
    free(got);
}

static void character_devices_are_told_in_words(void **state)
{
    static const struct {
        const char *backend, *want;
    } rows[] = {
        { "'type': 'null', 'data': {}", "null,id=c" },
        { "'type': 'pty', 'data': {}", "pty,id=c" },
        { "'type': 'ringbuf', 'data': {'size': 4096, 'logfile': '/l'}",
          "ringbuf,id=c,size=4096,logfile=/l" },
        { "'type': 'file', 'data': {'out': '/a,b', 'append': true}", "file,id=c,path=/a,,b,append=on" },
        { "'type': 'serial', 'data': {'device': '/dev/ttyS0'}", "serial,id=c,path=/dev/ttyS0" },
        { "'type': 'socket', 'data': {'addr': {'type': 'unix', 'data': {'path': '/s'}}}",
          "socket,id=c,path=/s,server=on,wait=off" },
        { "'type': 'socket', 'data': {'server': false, 'addr': {'type': 'inet', 'data':"
          " {'host': '::1', 'port': '77'}}}", "socket,id=c,server=off,host=::1,port=77" },
        { "'type': 'udp', 'data': {'remote': {'type': 'inet', 'data': {'host': 'h', 'port': '1'}},"
          " 'local': {'type': 'inet', 'data': {'host': 'l', 'port': '2'}}}",
          "udp,id=c,host=h,port=1,localaddr=l,localport=2" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char config[512], want[256];

        snprintf(config, sizeof(config), "[{'execute': 'chardev-add', 'arguments': {'id': 'c',"
                 " 'backend': {%s}}}]", rows[i].backend);
        snprintf(want, sizeof(want), "-chardev backend=%s", rows[i].want);
        assert_said(config, false, want);
    }
}

static void what_was_removed_is_left_out(void **state)
{
    static const struct {
        const char *command, *member, *id, *gone;
    } rows[] = {
        { "blockdev-del", "node-name", "n0", "node-name=n0" },
        { "device_del", "id", "s0", "id=s0" },
        { "netdev_del", "id", "net0", "net0" },
        { "chardev-remove", "id", "c0", "c0" },
        { "object-del", "id", "io0", "io0" },
    };
    struct err err = ERR_INIT;
    char *got;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char config[256];

        snprintf(config, sizeof(config), "[{'execute': '%s', 'arguments': {'%s': '%s'}}]",
                 rows[i].command, rows[i].member, rows[i].id);
        got = said(LINE, config, false, false, &err);
        assert_false(err.set);
        assert_null(strstr(got, rows[i].gone));
        assert_non_null(strstr(got, "id=s1"));
        free(got);
    }
    /* The drive goes with its device, the node stays. */
    got = said(LINE, "[{'execute': 'device_del', 'arguments': {'id': 's1'}}]", false, false, &err);
    assert_null(strstr(got, "/i/b"));
    assert_non_null(strstr(got, "/i/a"));
    free(got);
    /* Another one of that id, another backend of it. */
    got = said(LINE, "[{'execute': 'device_add', 'arguments': {'driver': 'z', 'id': 's0'}},"
                     " {'execute': 'chardev-change', 'arguments': {'id': 'c0', 'backend':"
                     "  {'type': 'pty', 'data': {}}}}]", false, false, &err);
    assert_null(strstr(got, "drive=n0"));
    assert_null(strstr(got, "null,id=c0"));
    assert_non_null(strstr(got, "-device driver=z,id=s0"));
    assert_non_null(strstr(got, "-chardev backend=pty,id=c0"));
    free(got);
}

static void devices_that_are_left_keep_their_places(void **state)
{
    static const char config[] = "[{'execute': 'device-place', 'arguments': {'id': 'a', 'addr': '5.0',"
                                 " 'lun': 3}}]";
    struct err err = ERR_INIT;
    char *got = said("-device e1000,id=a -device e1000,id=b", config, false, false, &err);

    (void)state;
    assert_string_equal(got, "-device e1000,id=a,addr=5.0,lun=3 -device e1000,id=b");
    free(got);
    got = said("-device {\"driver\":\"e1000\",\"id\":\"a\"}", config, false, false, &err);
    assert_string_equal(got, "-device {\"driver\":\"e1000\",\"id\":\"a\",\"addr\":\"5.0\",\"lun\":3}");
    free(got);
}

static void what_has_no_form_is_refused_by_name(void **state)
{
    static const struct {
        const char *command, *id, *word;
    } rows[] = {
        { "{'execute': 'qom-set', 'arguments': {'path': '/x'}}", "/x", "qom-set" },
        { "{'execute': 'eject', 'arguments': {'device': 'cd'}}", "cd", "eject" },
        { "{'execute': 'x-blockdev-change'}", NULL, "x-blockdev-change" },
        { "{'execute': 'device_add', 'unreadable': true}", NULL, "read" },
        { "{'execute': 'device_add', 'arguments': {'id': 'a'}}", "a", "driver" },
        { "{'execute': 'netdev_del', 'arguments': {'id': 'other'}}", "other", "netdev_del" },
        { "{'execute': 'device_del', 'arguments': {'id': '/machine/x'}}", "/machine/x", "device_del" },
        { "{'execute': 'blockdev-add', 'arguments': {'node-name': 'f', 'file': {'filename':"
          " '/dev/fdset/3'}}}", "f", "descriptor" },
        { "{'execute': 'netdev_add', 'arguments': {'type': 'tap', 'id': 't', 'fd': 'x'}}", "t",
          "descriptor" },
        { "{'execute': 'chardev-add', 'arguments': {'id': 'c', 'backend': {'type': 'socket',"
          " 'data': {'addr': {'type': 'fd', 'data': {'str': 'x'}}}}}}", "c", "-chardev" },
        { "{'execute': 'chardev-add', 'arguments': {'id': 'c', 'backend': {'type': 'mux',"
          " 'data': {'chardev': 'x'}}}}", "c", "-chardev" },
        { "{'execute': 'chardev-add', 'arguments': {'id': 'c', 'backend': {'type': 'file',"
          " 'data': {'out': '/o', 'in': '/i'}}}}", "c", "-chardev" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct err err = ERR_INIT;
        char config[512], *got;

        snprintf(config, sizeof(config), "[%s]", rows[i].command);
        free(said(LINE, config, false, false, &err));
        assert_true(err.set);
        assert_string_equal(err.reason, REASON_CONFIGURATION_CHANGED);
        assert_non_null(strstr(err.desc, rows[i].word));
        if (rows[i].id)
            assert_string_equal(state_str(err.data, "id"), rows[i].id);
        err_clear(&err);
        got = said("-m 64", config, false, true, &err);
        assert_string_equal(got, "-m 64");
        assert_false(err.set);
        free(got);
    }
}

static void what_is_set_at_run_time_is_said_over_qmp(void **state)
{
    static const char config[] =
        "[{'execute': 'netdev_add', 'arguments': {'type': 'user', 'id': 'n'}},"
        " {'execute': 'human-monitor-command', 'arguments': {'command-line': 'hostfwd_add n x'}},"
        " {'execute': 'block_set_io_throttle', 'arguments': {'id': 's0', 'bps': 1}}]";
    json_t *late = json_text("[{'execute': 'first'}]"), *commands = json_text(config);

    (void)state;
    assert_said(config, false, "-netdev {\"type\":\"user\",\"id\":\"n\"}");
    config_late(commands, late);
    assert_int_equal(json_array_size(late), 3);
    assert_string_equal(state_str(json_array_get(late, 1), "execute"), "human-monitor-command");
    json_decref(commands);
    json_decref(late);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(commands_become_options),
        cmocka_unit_test(devices_are_told_as_that_version_takes_them),
        cmocka_unit_test(character_devices_are_told_in_words),
        cmocka_unit_test(what_was_removed_is_left_out),
        cmocka_unit_test(devices_that_are_left_keep_their_places),
        cmocka_unit_test(what_has_no_form_is_refused_by_name),
        cmocka_unit_test(what_is_set_at_run_time_is_said_over_qmp),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
