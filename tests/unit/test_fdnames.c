/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where commands name descriptors, and other names put there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "policy/fdnames.h"
#include "qmp/alloc.h"
#include "qmp/err.h"
#include "qmp/message.h"

/* What the callback saw, and what it answers. */
struct seen {
    char names[256];            /* with a bar behind each */
    const char *from;           /* this name becomes ... */
    const char *to;             /* ... that one; from NULL: every name does */
};

static const char *look(const char *name, void *arg)
{
    struct seen *seen = arg;

    assert_true(strlen(seen->names) + strlen(name) + 2 < sizeof(seen->names));
    strcat(strcat(seen->names, name), "|");
    return !seen->from || strcmp(name, seen->from) == 0 ? seen->to : NULL;
}

/* The arguments come out of a checked request, in memory of their own size, so that reading beyond
 * them is noticed. */
static char *rewrite(const char *command, const char *arguments, struct seen *seen)
{
    struct err err = ERR_INIT;
    struct message m;
    size_t len = 12345;
    char *request = alloc_print("{\"execute\":\"%s\",\"arguments\":%s}", command, arguments);
    char *copy, *out;

    if (!message_parse_request(request, strlen(request), false, &m, &err))
        fail_msg("%s: %s", request, err.desc);
    copy = alloc_bytes(m.arguments.len);
    memcpy(copy, m.arguments.at, m.arguments.len);
    out = fdnames_rewrite(m.command, (struct span){ copy, m.arguments.len }, look, seen, &len);
    free(copy);
    free(request);
    assert_int_equal(len, out ? strlen(out) : 12345);
    return out;
}

/* Names equal to from become to; expected NULL: nothing changes. */
static void expect(const char *command, const char *arguments, const char *from, const char *to,
                   const char *expected)
{
    struct seen seen = { .from = from, .to = to };
    char *out = rewrite(command, arguments, &seen);

    if (!out != !expected || (out && strcmp(out, expected) != 0))
        fail_msg("%s %s:\n got %s\nwant %s", command, arguments, out, expected);
    free(out);
}

/* The names that are in there, in their order. */
static void expect_names(const char *command, const char *arguments, const char *names)
{
    struct seen seen = { .to = NULL };
    char *out = rewrite(command, arguments, &seen);

    assert_null(out);
    if (strcmp(seen.names, names) != 0)
        fail_msg("%s %s:\n got %s\nwant %s", command, arguments, seen.names, names);
}

/* A command and its arguments; @ is where the one name stands. */
struct row {
    const char *command;
    const char *arguments;
};

/* new: the arguments with name at every @. */
static char *filled(const char *arguments, const char *name)
{
    size_t most = strlen(arguments) * (strlen(name) + 1) + 1;
    char *text = alloc_bytes(most), *end = text;

    for (; *arguments; arguments++)
        end += *arguments == '@' ? sprintf(end, "%s", name) : sprintf(end, "%c", *arguments);
    *end = '\0';
    return text;
}

static const struct row named[] = {
    { "getfd", "{\"fdname\":\"@\"}" },
    { "closefd", "{ \"fdname\" : \"@\" }" },
    { "add_client", "{\"protocol\":\"vnc\",\"fdname\":\"@\",\"skipauth\":true}" },
    { "migrate", "{\"uri\":\"fd:@\"}" },
    { "migrate", "{\"detach\":true,\"uri\":\"fd:@\",\"blk\":false}" },
    { "migrate-incoming", "{\"uri\":\"fd:@\"}" },
    { "migrate-recover", "{\"uri\":\"fd:@\"}" },
    { "migrate", "{\"channels\":[{\"channel-type\":\"main\",\"addr\":"
      "{\"transport\":\"socket\",\"type\":\"fd\",\"str\":\"@\"}}]}" },
    { "migrate-incoming", "{\"channels\":[{\"addr\":{\"str\":\"@\",\"type\":\"fd\","
      "\"transport\":\"socket\"},\"channel-type\":\"main\"}],\"exit-on-error\":false}" },
    { "dump-guest-memory", "{\"paging\":false,\"protocol\":\"fd:@\"}" },
    { "netdev_add", "{\"type\":\"tap\",\"id\":\"n\",\"fd\":\"@\"}" },
    { "netdev_add", "{\"type\":\"tap\",\"id\":\"n\",\"fds\":\"@\"}" },
    { "netdev_add", "{\"type\":\"tap\",\"id\":\"n\",\"fd\":\"3\",\"vhostfd\":\"@\"}" },
    { "netdev_add", "{\"type\":\"tap\",\"id\":\"n\",\"fds\":\"3:4\",\"vhostfds\":\"@:5\"}" },
    { "netdev_add", "{\"type\":\"socket\",\"id\":\"n\",\"fd\":\"@\"}" },
    { "netdev_add", "{\"type\":\"vhost-vdpa\",\"id\":\"n\",\"vhostfd\":\"@\"}" },
    { "netdev_add", "{\"type\":\"af-xdp\",\"id\":\"n\",\"ifname\":\"x\",\"sock-fds\":\"3:@\"}" },
    { "netdev_add", "{\"type\":\"dgram\",\"id\":\"n\",\"local\":{\"type\":\"fd\",\"str\":\"@\"}}" },
    { "chardev-add", "{\"id\":\"c\",\"backend\":{\"type\":\"socket\",\"data\":{\"addr\":"
      "{\"type\":\"fd\",\"data\":{\"str\":\"@\"}},\"server\":false}}}" },
    { "chardev-change", "{\"id\":\"c\",\"backend\":{\"type\":\"socket\",\"data\":{\"addr\":"
      "{\"data\":{\"str\":\"@\"},\"type\":\"fd\"}}}}" },
    { "nbd-server-start", "{\"addr\":{\"type\":\"fd\",\"data\":{\"str\":\"@\"}}}" },
    { "blockdev-add", "{\"driver\":\"nbd\",\"node-name\":\"b\",\"server\":"
      "{\"type\":\"fd\",\"str\":\"@\"}}" },
    { "blockdev-add", "{\"driver\":\"qcow2\",\"file\":{\"driver\":\"raw\",\"file\":{\"driver\":"
      "\"nbd\",\"server\":{\"type\":\"fd\",\"str\":\"@\"}}},\"backing\":null}" },
    { "blockdev-add", "{\"driver\":\"quorum\",\"vote-threshold\":1,\"children\":[{\"driver\":"
      "\"null-co\"},{\"driver\":\"nbd\",\"server\":{\"type\":\"fd\",\"str\":\"@\"}}]}" },
    { "blockdev-reopen", "{\"options\":[{\"driver\":\"raw\",\"file\":{\"driver\":\"nbd\","
      "\"server\":{\"type\":\"fd\",\"str\":\"@\"}}}]}" },
    { "block-export-add", "{\"type\":\"vhost-user-blk\",\"id\":\"e\",\"node-name\":\"n\",\"addr\":"
      "{\"type\":\"fd\",\"str\":\"@\"}}" },
    { "display-update", "{\"type\":\"vnc\",\"addresses\":[{\"type\":\"inet\",\"host\":\"::\","
      "\"port\":\"1\"},{\"type\":\"fd\",\"str\":\"@\"}]}" },
    { "device_add", "{\"driver\":\"vhost-scsi-pci\",\"wwpn\":\"naa.1\",\"vhostfd\":\"@\"}" },
    { "device_add", "{\"driver\":\"vhost-vsock-pci\",\"guest-cid\":3,\"vhostfd\":\"@\"}" },
    { "device_add", "{\"driver\":\"vfio-pci\",\"iommufd\":\"i0\",\"fd\":\"@\"}" },
    { "device_add", "{\"driver\":\"virtio-net-pci\",\"ebpf-rss-fds\":[\"1\",\"@\",\"2\"]}" },
    { "object-add", "{\"qom-type\":\"iommufd\",\"id\":\"i0\",\"fd\":\"@\"}" },
    { "object-add", "{\"qom-type\":\"x-remote-object\",\"id\":\"i0\",\"fd\":\"@\"}" },
    { "qom-set", "{\"path\":\"/objects/i0\",\"property\":\"fd\",\"value\":\"@\"}" },
    { "qom-set", "{\"value\":\"@\",\"path\":\"/objects/i0\",\"property\":\"fd\"}" },
};

static void every_place_is_found_and_nothing_else_is_touched(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(named) / sizeof(named[0]); i++) {
        const struct row *row = &named[i];
        char *before = filled(row->arguments, "sock");
        char *after = filled(row->arguments, "proxy-17");
        char *shorter = filled(row->arguments, "x");

        assert_true(fdnames_concerned(row->command));
        expect_names(row->command, before, "sock|");
        expect(row->command, before, "sock", "proxy-17", after);
        expect(row->command, before, "sock", "x", shorter);
        expect(row->command, before, "other", "proxy-17", NULL);
        free(before);
        free(after);
        free(shorter);
    }
}

static const struct row nameless[] = {
    { "getfd", "{\"fd\":\"@\",\"other\":{\"fdname\":\"@\"}}" },
    { "closefd", "{\"fdname\":{\"fdname\":\"@\"}}" },
    { "add_client", "{\"protocol\":\"@\"}" },
    { "migrate", "{\"uri\":\"exec:@\"}" },
    { "migrate", "{\"uri\":\"@\"}" },
    { "migrate", "{\"uri\":\"f\"}" },
    { "migrate", "{\"uri\":\"fz:@\"}" },
    { "migrate", "{\"uri\":\"\"}" },
    { "migrate", "{\"uri\":\"FD:@\"}" },
    { "migrate", "{\"uri\":\"unix:fd:@\"}" },
    { "migrate", "{\"uri\":\"file:@\"}" },
    { "migrate", "{\"addr\":{\"str\":\"@\"},\"x\":{\"channels\":{\"addr\":{\"str\":\"@\"}}}}" },
    { "dump-guest-memory", "{\"protocol\":\"file:@\"}" },
    { "netdev_add", "{\"type\":\"user\",\"id\":\"n\",\"dnssearch\":[{\"str\":\"@\"}],\"hostfwd\":"
      "[{\"str\":\"@\"},{\"str\":\"tcp::1-:2\"}],\"guestfwd\":[{\"str\":\"@\"}]}" },
    { "netdev_add", "{\"type\":\"stream\",\"id\":\"@\",\"addr\":{\"type\":\"fd\",\"str\":\"@\"}}" },
    { "netdev_add", "{\"type\":\"tap\",\"id\":\"@\",\"ifname\":\"@\",\"fdx\":\"@\",\"f\":\"@\"}" },
    { "chardev-add", "{\"id\":\"@\",\"backend\":{\"type\":\"udp\",\"data\":{\"remote\":"
      "{\"type\":\"fd\",\"data\":{\"str\":\"@\"}}}}}" },
    { "chardev-add", "{\"id\":\"@\",\"backend\":{\"type\":\"socket\",\"data\":{\"addr\":"
      "{\"type\":\"unix\",\"data\":{\"path\":\"@\"}},\"str\":\"@\"}}}" },
    { "nbd-server-start", "{\"addr\":{\"type\":\"fd\",\"str\":\"@\"},\"tls-creds\":\"@\"}" },
    { "blockdev-add", "{\"driver\":\"nbd\",\"node-name\":\"@\",\"export\":\"@\",\"server\":"
      "{\"type\":\"unix\",\"path\":\"@\"},\"str\":\"@\",\"file\":{\"str\":\"@\"}}" },
    { "blockdev-add", "{\"server\":{\"x\":{\"str\":\"@\"}}}" },
    { "block-export-add", "{\"type\":\"nbd\",\"id\":\"@\",\"name\":\"@\",\"str\":\"@\"}" },
    { "device_add", "{\"driver\":\"@\",\"id\":\"@\",\"vhostdev\":\"@\",\"x\":{\"fd\":\"@\"}}" },
    { "object-add", "{\"qom-type\":\"secret\",\"id\":\"@\",\"data\":\"@\",\"fds\":\"@\"}" },
    { "qom-set", "{\"path\":\"fd\",\"property\":\"serial\",\"value\":\"@\"}" },
    { "qom-set", "{\"property\":{\"x\":\"fd\"},\"value\":\"@\"}" },
    { "qom-set", "{\"path\":\"fd\",\"value\":\"@\",\"x\":{\"property\":\"fd\"}}" },
    { "human-monitor-command", "{\"command-line\":\"closefd @\"}" },
    { "add-fd", "{\"fdset-id\":1,\"opaque\":\"@\",\"fdname\":\"@\"}" },
    { "transaction", "{\"actions\":[{\"type\":\"blockdev-snapshot\",\"data\":{\"node\":\"@\","
      "\"overlay\":\"@\"}}]}" },
    { "blockdev-snapshot-sync", "{\"fdname\":\"@\",\"server\":{\"str\":\"@\"}}" },
    { "query-status", "{\"fdname\":\"@\"}" },
};

static void what_only_looks_like_a_place_is_left_alone(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(nameless) / sizeof(nameless[0]); i++) {
        char *text = filled(nameless[i].arguments, "sock");

        expect_names(nameless[i].command, text, "");
        free(text);
    }
}

static void other_commands_are_not_concerned(void **state)
{
    static const char *const others[] = {
        "query-status", "human-monitor-command", "add-fd", "remove-fd", "transaction", "getfd2",
        "get", "", "migrate_cancel", "blockdev-del", "x-getfd",
    };

    (void)state;
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        assert_false(fdnames_concerned(others[i]));
}

static void what_begins_with_a_digit_is_a_number(void **state)
{
    (void)state;
    expect_names("getfd", "{\"fdname\":\"9lives\"}", "");
    expect_names("getfd", "{\"fdname\":\"0x\"}", "");
    expect_names("migrate", "{\"uri\":\"fd:17\"}", "");
    expect_names("migrate", "{\"uri\":\"fd:\\u0031x\"}", "");
    expect_names("netdev_add", "{\"fds\":\"3:a:4b:c\"}", "a|c|");
    expect_names("device_add", "{\"fd\":\"-1\"}", "-1|");
    expect_names("device_add", "{\"fd\":7,\"vhostfd\":null,\"ebpf-rss-fds\":[1,{},[],true]}", "");
}

static void a_command_may_have_several_names(void **state)
{
    (void)state;
    expect_names("netdev_add", "{\"fds\":\"a:b\",\"type\":\"tap\",\"vhostfds\":\"c:d\"}",
                 "a|b|c|d|");
    expect("device_add", "{\"ebpf-rss-fds\":[\"a\", \"b\" ,\"a\"],\"id\":\"a\",\"vhostfd\":'a'}",
           "a", "p1", "{\"ebpf-rss-fds\":[\"p1\", \"b\" ,\"p1\"],\"id\":\"a\",\"vhostfd\":'p1'}");
    expect("blockdev-reopen", "{\"options\":[{\"server\":{\"str\":\"a\"}},{\"server\":"
           "{\"str\":\"b\"}},{\"server\":{\"str\":\"a\"}}]}", "b", "p1",
           "{\"options\":[{\"server\":{\"str\":\"a\"}},{\"server\":"
           "{\"str\":\"p1\"}},{\"server\":{\"str\":\"a\"}}]}");
    expect("migrate", "{\"uri\":\"fd:a\",\"channels\":[{\"addr\":{\"str\":\"a\"}}]}", "a", "p1",
           "{\"uri\":\"fd:p1\",\"channels\":[{\"addr\":{\"str\":\"p1\"}}]}");
}

static void of_a_list_only_the_names_asked_for_change(void **state)
{
    (void)state;
    expect("netdev_add", "{\"fds\":\"a:b:c\"}", "b", "p1", "{\"fds\":\"a:p1:c\"}");
    expect("netdev_add", "{\"fds\":\"a:b:c\"}", "a", "p1", "{\"fds\":\"p1:b:c\"}");
    expect("netdev_add", "{\"fds\":\"a:b:c\"}", "c", "p1", "{\"fds\":\"a:b:p1\"}");
    expect("netdev_add", "{\"fds\":\"a:ab:a:\"}", "a", "p1", "{\"fds\":\"p1:ab:p1:\"}");
    expect("netdev_add", "{\"fds\":\"\\u0061\\u003ab:c\"}", "a", "p1",
           "{\"fds\":\"p1\\u003ab:c\"}");
    expect_names("netdev_add", "{\"fds\":\"\"}", "");
    expect_names("netdev_add", "{\"fds\":\":\"}", "|");
    expect_names("netdev_add", "{\"fds\":\"a::b:\"}", "a||b|");
    expect_names("netdev_add", "{\"fd\":\"a:b\"}", "a:b|");
    expect_names("migrate", "{\"uri\":\"fd:a:b\"}", "a:b|");
}

static void names_and_keys_are_understood_in_every_spelling(void **state)
{
    (void)state;
    expect("getfd", "{'fdname':'sock'}", "sock", "p1", "{'fdname':'p1'}");
    expect("getfd", "{'fdname':'it\\'s'}", "it's", "p1", "{'fdname':'p1'}");
    expect("getfd", "{'fdname':'a\"b'}", "a\"b", "p1", "{'fdname':'p1'}");
    expect("getfd", "{\"fdname\":\"it's\"}", "it's", "p1", "{\"fdname\":\"p1\"}");
    expect("getfd", "{\"fd\\u006eame\":\"s\\u006fck\"}", "sock", "p1",
           "{\"fd\\u006eame\":\"p1\"}");
    expect("migrate", "{\"uri\":\"\\u0066\\u0064\\u003asock\"}", "sock", "p1",
           "{\"uri\":\"\\u0066\\u0064\\u003ap1\"}");
    expect("getfd", "{\"fdname\":\"a\\/\\t\\\\b\"}", "a/\t\\b", "p1", "{\"fdname\":\"p1\"}");
    expect("getfd", "{\"fdname\":\"\\ud83d\\ude00\"}", "\xf0\x9f\x98\x80", "p1",
           "{\"fdname\":\"p1\"}");
    expect("getfd", "{\"fdname\":\"a\\u0000b\"}", "a\xc0\x80" "b", "p1", "{\"fdname\":\"p1\"}");
    expect("getfd", "\t{ \r\n\"fdname\"\t:\n\"sock\" } ", "sock", "p1",
           "{ \r\n\"fdname\"\t:\n\"p1\" }");
    expect_names("getfd", "{\"fdname\":\"\"}", "|");
    expect("getfd", "{\"fdname\":\"\"}", "", "p1", "{\"fdname\":\"p1\"}");
}

static void a_new_name_is_written_so_that_it_reads_as_given(void **state)
{
    static const char *const names[] = { "plain", "a\"b", "it's", "back\\slash", "tab\there",
                                         "\xc3\xa4", "del\x7f", "\x01", "a\xc0\x80-" };

    (void)state;
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        struct seen seen = { .from = "old", .to = names[i] }, again = { .to = NULL };
        char *out, *same;
        char wanted[32];

        snprintf(wanted, sizeof(wanted), "%s|", names[i]);
        out = rewrite("getfd", i % 2 ? "{\"fdname\":\"old\"}" : "{'fdname':'old'}", &seen);
        assert_non_null(out);
        same = rewrite("getfd", out, &again);
        assert_null(same);
        assert_string_equal(again.names, wanted);
        free(out);
    }
}

static void the_same_name_again_is_no_change(void **state)
{
    (void)state;
    expect("getfd", "{\"fdname\":\"s\\u006fck\"}", "sock", "sock", NULL);
    expect("netdev_add", "{\"fds\":\"a:b\"}", NULL, NULL, NULL);
    expect("getfd", "{}", NULL, "p1", NULL);
    assert_null(fdnames_rewrite("getfd", (struct span){ NULL, 0 }, look, NULL, NULL));
}

/* open and close around the middle, n times. */
static char *nested(const char *open, const char *middle, const char *close, int n)
{
    size_t most = (size_t)n * (strlen(open) + strlen(close)) + strlen(middle) + 1;
    char *text = alloc_bytes(most), *end = text;

    for (int i = 0; i < n; i++)
        end = stpcpy(end, open);
    end = stpcpy(end, middle);
    for (int i = 0; i < n; i++)
        end = stpcpy(end, close);
    return text;
}

static void a_name_is_found_as_deep_as_a_message_may_go(void **state)
{
    static const char before[] = "{\"driver\":\"nbd\",\"server\":{\"type\":\"fd\",\"str\":\"a\"}}";
    static const char after[] = "{\"driver\":\"nbd\",\"server\":{\"type\":\"fd\",\"str\":\"p1\"}}";
    /* The message itself and the last two objects count as well. */
    char *text = nested("{\"file\":", before, "}", 1021);
    char *wanted = nested("{\"file\":", after, "}", 1021);

    (void)state;
    expect("blockdev-add", text, "a", "p1", wanted);
    expect_names("device_add", text, "");
    free(text);
    free(wanted);
    text = nested("[", "\"a\",\"b\"", "]", 1021);
    wanted = nested("{\"ebpf-rss-fds\":", text, ",\"x\":\"c\"}", 1);
    expect_names("device_add", wanted, "a|b|");
    free(text);
    free(wanted);
}

/* Not well-formed texts never come here, but nothing breaks if one did. */
static void any_text_is_survived(void **state)
{
    static const char *const texts[] = {
        "", "{", "}", "}}}{\"fdname\":\"a\"", "\"a\"", ":\"a\"", "{\"fdname\":", "{\"fdname\":\"a",
        "{\"fdname\":\"a\"", "{\"a\"}", "[\"fdname\":\"a\"]", "{\"fdname\":\"a\" \"b\"}", "01",
    };
    struct seen seen = { .from = "", .to = NULL };
    size_t len;
    char *text;

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
        assert_null(fdnames_rewrite("getfd", (struct span){ texts[i], strlen(texts[i]) }, look,
                                    &seen, &len));
    text = nested("{\"file\":", "1", "}", 3000);
    assert_null(fdnames_rewrite("blockdev-add", (struct span){ text, strlen(text) }, look, &seen,
                                &len));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_place_is_found_and_nothing_else_is_touched),
        cmocka_unit_test(what_only_looks_like_a_place_is_left_alone),
        cmocka_unit_test(other_commands_are_not_concerned),
        cmocka_unit_test(what_begins_with_a_digit_is_a_number),
        cmocka_unit_test(a_command_may_have_several_names),
        cmocka_unit_test(of_a_list_only_the_names_asked_for_change),
        cmocka_unit_test(names_and_keys_are_understood_in_every_spelling),
        cmocka_unit_test(a_new_name_is_written_so_that_it_reads_as_given),
        cmocka_unit_test(the_same_name_again_is_no_change),
        cmocka_unit_test(a_name_is_found_as_deep_as_a_message_may_go),
        cmocka_unit_test(any_text_is_survived),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
