/* SPDX-License-Identifier: GPL-2.0-or-later */
/* config: what stays on record of the commands that change the configuration. */
#include "tests/unit/args_words.h"
#include "tests/unit/json_text.h"

#include "policy/config.h"
#include "policy/state.h"

static void add(json_t *state, const struct args *args, const char *command)
{
    json_t *data = json_text(command);

    config_add(state, args, data);
    json_decref(data);
}

static const char *names_of(const json_t *config)
{
    static char out[1024];
    json_t *command;
    size_t i;

    out[0] = '\0';
    json_array_foreach((json_t *)config, i, command) {
        strcat(out, i > 0 ? " " : "");
        strcat(out, state_str(command, "execute"));
    }
    return out;
}

static void node_that_came_and_went_leaves_no_trace(void **state)
{
    struct err err = ERR_INIT;
    struct args *args = words_parse("-m 64 -blockdev driver=null-co,node-name=top0", &err);
    json_t *record = state_new();
    const json_t *config = json_object_get(record, "config");

    (void)state;
    assert_non_null(args);
    add(record, args, "{'execute': 'blockdev-add', 'arguments': {'node-name': 'mine'}}");
    add(record, args, "{'execute': 'blockdev-add', 'arguments': {'node-name': 'other'}}");
    add(record, args, "{'execute': 'blockdev-del', 'arguments': {'node-name': 'mine'}}");
    assert_json_is(config, "[{'execute': 'blockdev-add', 'arguments': {'node-name': 'other'}}]");
    /* The overlay of a snapshot, whose blockdev-add is on record as a layer. */
    add(record, args, "{'execute': 'blockdev-del', 'arguments': {'node-name': 'merged'}}");
    assert_int_equal(json_array_size(config), 1);
    /* The next process would have that one. */
    add(record, args, "{'execute': 'blockdev-del', 'arguments': {'node-name': 'top0'}}");
    assert_int_equal(json_array_size(config), 2);
    /* Attached, nobody knows what it began with. */
    add(record, NULL, "{'execute': 'blockdev-del', 'arguments': {'node-name': 'x'}}");
    assert_int_equal(json_array_size(config), 3);
    json_decref(record);
    args_free(args);
}

static void pairs_leave_no_trace(void **state)
{
    static const char *const pairs[][2] = {
        { "{'execute': 'netdev_add', 'arguments': {'type': 'user', 'id': 'a'}}",
          "{'execute': 'netdev_del', 'arguments': {'id': 'a'}}" },
        { "{'execute': 'object-add', 'arguments': {'qom-type': 'iothread', 'id': 'a'}}",
          "{'execute': 'object-del', 'arguments': {'id': 'a'}}" },
        { "{'execute': 'chardev-add', 'arguments': {'id': 'a', 'backend': {}}}",
          "{'execute': 'chardev-remove', 'arguments': {'id': 'a'}}" },
        { "{'execute': 'block-export-add', 'arguments': {'id': 'a'}}",
          "{'execute': 'block-export-del', 'arguments': {'id': 'a'}}" },
        { "{'execute': 'nbd-server-start', 'arguments': {'addr': {}}}",
          "{'execute': 'nbd-server-stop'}" },
    };
    struct err err = ERR_INIT;
    struct args *args = words_parse("-m 64 -netdev user,id=b", &err);

    (void)state;
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        json_t *record = state_new();
        const json_t *config = json_object_get(record, "config");

        add(record, args, pairs[i][0]);
        assert_int_equal(json_array_size(config), 1);
        add(record, args, pairs[i][1]);
        assert_int_equal(json_array_size(config), 0);
        json_decref(record);
    }
    args_free(args);
}

static void what_was_there_and_is_not_any_more_is_remembered(void **state)
{
    struct err err = ERR_INIT;
    struct args *args = words_parse("-m 64 -netdev user,id=b -chardev null,id=c", &err);
    json_t *record = state_new();
    const json_t *config = json_object_get(record, "config");

    (void)state;
    add(record, args, "{'execute': 'netdev_del', 'arguments': {'id': 'b'}}");
    add(record, args, "{'execute': 'netdev_add', 'arguments': {'type': 'hubport', 'id': 'b'}}");
    assert_string_equal(names_of(config), "netdev_del netdev_add");
    add(record, args, "{'execute': 'netdev_del', 'arguments': {'id': 'b'}}");
    assert_string_equal(names_of(config), "netdev_del");
    /* The last backend of those is the one that counts. */
    add(record, args, "{'execute': 'chardev-change', 'arguments': {'id': 'c', 'backend': {}}}");
    add(record, args, "{'execute': 'chardev-change', 'arguments': {'id': 'c', 'backend': {}}}");
    assert_string_equal(names_of(config), "netdev_del chardev-change");
    add(record, args, "{'execute': 'chardev-add', 'arguments': {'id': 'd', 'backend': {'x': 1}}}");
    add(record, args, "{'execute': 'chardev-change', 'arguments': {'id': 'd', 'backend': {'x': 2}}}");
    assert_string_equal(names_of(config), "netdev_del chardev-change chardev-add");
    assert_json_is(json_array_get(config, 2), "{'execute': 'chardev-add', 'arguments': {'id': 'd',"
                                              " 'backend': {'x': 2}}}");
    /* Limits, the last ones; what is of an image or of the guest. */
    add(record, args, "{'execute': 'block_set_io_throttle', 'arguments': {'id': 'd', 'bps': 1}}");
    add(record, args, "{'execute': 'block_set_io_throttle', 'arguments': {'id': 'd', 'bps': 2}}");
    add(record, args, "{'execute': 'block_resize', 'arguments': {'device': 'd', 'size': 2}}");
    add(record, args, "{'execute': 'device_del', 'arguments': {'id': 'd'}}");
    assert_string_equal(names_of(config), "netdev_del chardev-change chardev-add block_set_io_throttle");
    json_decref(record);
    args_free(args);
}

static void devices_are_those_that_qemu_has(void **state)
{
    struct err err = ERR_INIT;
    struct args *args = words_parse("-m 64 -device e1000,id=mine -device e1000,id=gone "
                                    "-device e1000", &err);
    json_t *record = state_new(), *now;
    json_t *devices = json_text("{'mine': true, 'p': true, 's': true, 'd': true, 'v': true}");
    json_t *places = json_text("{'p': {'multifunction': false, 'addr': 41},"
                               " 's': {'scsi-id': 3, 'lun': 0, 'channel': 0}, 'v': {'nr': 2},"
                               " 'd': {'addr': 4294967296, 'slot': 1},"
                               " 'mine': {'multifunction': false, 'addr': 24}}");

    (void)state;
    add(record, args, "{'execute': 'device_add', 'arguments': {'driver': 'a', 'id': 'p'}}");
    add(record, args, "{'execute': 'device_add', 'arguments': {'driver': 'a', 'id': 'left'}}");
    add(record, args, "{'execute': 'device_add', 'arguments': {'driver': 'a', 'id': 's', 'lun': 7}}");
    add(record, args, "{'execute': 'device_add', 'arguments': {'driver': 'pc-dimm', 'id': 'd'}}");
    add(record, args, "{'execute': 'device_add', 'arguments': {'driver': 'a', 'id': 'v'}}");
    now = config_now(json_object_get(record, "config"), args, devices, places);
    assert_json_is(now,
                   "[{'execute': 'device_add', 'arguments': {'driver': 'a', 'id': 'p', 'addr': '5.1'}},"
                   " {'execute': 'device_add', 'arguments': {'driver': 'a', 'id': 's', 'lun': 7,"
                   "  'channel': 0, 'scsi-id': 3}},"
                   " {'execute': 'device_add', 'arguments': {'driver': 'pc-dimm', 'id': 'd',"
                   "  'addr': 4294967296, 'slot': 1}},"
                   " {'execute': 'device_add', 'arguments': {'driver': 'a', 'id': 'v', 'nr': 2}},"
                   " {'execute': 'device-place', 'arguments': {'id': 'mine', 'addr': '3.0'}},"
                   " {'execute': 'device_del', 'arguments': {'id': 'gone'}}]");
    /* As a record it says the same again; another one of that id ends it. */
    json_object_set(record, "config", now);
    json_decref(now);
    now = config_now(json_object_get(record, "config"), args, devices, places);
    assert_string_equal(names_of(now), "device_add device_add device_add device_add device_del device-place");
    json_decref(now);
    add(record, args, "{'execute': 'device_add', 'arguments': {'driver': 'b', 'id': 'gone'}}");
    json_object_set_new(devices, "gone", json_true());
    now = config_now(json_object_get(record, "config"), args, devices, NULL);
    assert_string_equal(names_of(now), "device_add device_add device_add device_add device_add");
    json_decref(now);
    now = config_now(json_object_get(record, "config"), args, NULL, NULL);
    assert_int_equal(json_array_size(now), 6);
    /* Those that have gone need not be remembered; of those without an id nobody knows. */
    add(record, args, "{'execute': 'DEVICE_DELETED', 'arguments': {'device': 'p',"
                      " 'path': '/machine/peripheral/p'}}");
    add(record, args, "{'execute': 'DEVICE_DELETED', 'arguments':"
                      " {'path': '/machine/peripheral/s/virtio-backend'}}");
    assert_int_equal(json_array_size(json_object_get(record, "config")), 5);
    add(record, args, "{'execute': 'DEVICE_DELETED', 'arguments':"
                      " {'path': '/machine/peripheral-anon/device[1]'}}");
    assert_int_equal(json_array_size(json_object_get(record, "config")), 6);
    json_decref(now);
    json_decref(record);
    json_decref(devices);
    json_decref(places);
    args_free(args);
}

static void lines_for_people_that_change_the_configuration(void **state)
{
    (void)state;
    assert_true(config_human("device_add usb-tablet,id=t"));
    assert_true(config_human(" \teject cd0"));
    assert_true(config_human("hostfwd_add tcp::1-:2"));
    assert_false(config_human("info block"));
    assert_false(config_human("qemu-io d0 \"write 0 1\""));
    assert_false(config_human(""));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(node_that_came_and_went_leaves_no_trace),
        cmocka_unit_test(pairs_leave_no_trace),
        cmocka_unit_test(what_was_there_and_is_not_any_more_is_remembered),
        cmocka_unit_test(devices_are_those_that_qemu_has),
        cmocka_unit_test(lines_for_people_that_change_the_configuration),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
