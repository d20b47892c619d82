/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "policy/expect.h"

#include "policy/expect_block.h"
#include "policy/expect_member.h"
#include "policy/fit.h"
#include "policy/state.h"
#include "policy/world.h"

static bool one_of(const char *const *words, const char *word)
{
    while (*words && strcmp(*words, word))
        words++;
    return *words != NULL;
}

/* A list of one or more strings. */
static bool words_check(const json_t *expect, const char *key, struct err *why)
{
    const json_t *list = json_object_get(expect, key), *entry;
    bool good = json_array_size(list) > 0;
    size_t i;

    json_array_foreach(list, i, entry)
        good = good && json_is_string(entry);
    if (!good)
        expect_member_bad_plan(why, key);
    return good;
}

static enum expect_verdict check_status(const json_t *expect, const json_t *answer,
                                        struct err *why)
{
    static const char *const lost[] = {
        "internal-error", "guest-panicked", "io-error", "shutdown", NULL,
    };
    const char *status = expect_member_text(answer, "status");

    if (!words_check(expect, "in", why))
        return EXPECT_NO;
    if (!status)
        return expect_member_bad_answer(why, "\"status\"");
    if (state_list_has(json_object_get(expect, "in"), status))
        return EXPECT_YES;
    if (!one_of(lost, status))
        return EXPECT_WAIT;
    err_set(why, REASON_QEMU_FAILED, "The guest is in the state \"%s\"", status);
    err_name(why, "status", status);
    return EXPECT_NO;
}

static enum expect_verdict check_migrated(const json_t *expect, const json_t *answer,
                                          struct err *why)
{
    static const char *const ends[] = { "completed", "failed", "cancelled", "cancelling", NULL };
    const json_t *final = json_object_get(expect, "final");
    const char *status, *desc = expect_member_text(answer, "error-desc");

    if (final && !words_check(expect, "final", why))
        return EXPECT_NO;
    if (!json_is_object(answer) ||
        (json_object_get(answer, "status") && !expect_member_text(answer, "status")))
        return expect_member_bad_answer(why, "\"status\"");
    status = expect_member_text(answer, "status");
    if (!status)                /* nothing was migrated yet */
        return EXPECT_WAIT;
    if (final ? state_list_has(final, status) : !strcmp(status, "completed"))
        return EXPECT_YES;
    if (!one_of(ends, status) || (!strcmp(status, "cancelling") && state_list_has(final, "cancelled")))
        return EXPECT_WAIT;
    err_set(why, REASON_QEMU_FAILED, "The migration is \"%s\"%s%s", status, desc ? ": " : "",
            desc ? desc : "");
    err_name(why, "status", status);
    return EXPECT_NO;
}

/* A job that is there, with its status. */
static enum expect_verdict check_job_found(const json_t *expect, const json_t *job,
                                           const char *status, struct err *why)
{
    static const char *const ends[] = { "concluded", "aborting", NULL };
    const json_t *in = json_object_get(expect, "in");
    const char *id = expect_member_text(expect, "id"), *error = expect_member_text(job, "error");

    if (error && one_of(ends, status) && !json_is_true(json_object_get(expect, "error-ok"))) {
        err_set(why, REASON_QEMU_FAILED, "The job \"%s\" failed: %s", id, error);
        err_name(why, "job", id);
        return EXPECT_NO;
    }
    if (state_list_has(in, status))
        return EXPECT_YES;
    if (strcmp(status, "concluded") || state_list_has(in, "null"))
        return EXPECT_WAIT;
    err_set(why, REASON_QEMU_FAILED, "The job \"%s\" has ended too early", id);
    err_name(why, "job", id);
    return EXPECT_NO;
}

static enum expect_verdict check_job(const json_t *expect, const json_t *answer, struct err *why)
{
    const char *id = expect_member_text(expect, "id");
    const json_t *job;
    size_t i;

    if (!expect_member_required(expect, "id", JSON_STRING, why) ||
        !words_check(expect, "in", why) ||
        !expect_member_optional(expect, "error-ok", JSON_TRUE, why))
        return EXPECT_NO;
    if (!json_is_array(answer))
        return expect_member_bad_answer(why, "list of jobs");
    json_array_foreach(answer, i, job) {
        const char *name = expect_member_text(job, "id");
        const char *status = expect_member_text(job, "status");

        if (!name || !status)
            return expect_member_bad_answer(why, "job");
        if (!strcmp(name, id))
            return check_job_found(expect, job, status, why);
    }
    if (state_list_has(json_object_get(expect, "in"), "null"))
        return EXPECT_YES;
    err_set(why, REASON_QEMU_FAILED, "The job \"%s\" is gone", id);
    err_name(why, "job", id);
    return EXPECT_NO;
}

static enum expect_verdict not_equal(struct err *why, const char *what, const char *key)
{
    err_set(why, REASON_QEMU_FAILED, "The migration %s \"%s\" is not as it was set", what, key);
    err_name(why, what, key);
    return EXPECT_NO;
}

static enum expect_verdict check_parameters(const json_t *expect, const json_t *answer,
                                            struct err *why)
{
    json_t *equal = json_object_get(expect, "equal"), *want;
    const char *key;

    if (!expect_member_required(expect, "equal", JSON_OBJECT, why))
        return EXPECT_NO;
    if (!json_is_object(answer))
        return expect_member_bad_answer(why, "object of parameters");
    json_object_foreach(equal, key, want) {
        if (!json_equal(want, json_object_get(answer, key)))
            return not_equal(why, "parameter", key);
    }
    return EXPECT_YES;
}

static const json_t *capability_state(const json_t *answer, const char *name)
{
    const json_t *entry;
    size_t i;

    json_array_foreach(answer, i, entry) {
        const char *text = expect_member_text(entry, "capability");

        if (text && !strcmp(text, name))
            return json_object_get(entry, "state");
    }
    return NULL;
}

static enum expect_verdict check_capabilities(const json_t *expect, const json_t *answer,
                                              struct err *why)
{
    json_t *equal = json_object_get(expect, "equal"), *want;
    const char *key;

    if (!expect_member_required(expect, "equal", JSON_OBJECT, why))
        return EXPECT_NO;
    json_object_foreach(equal, key, want) {
        if (!json_is_boolean(want))
            return expect_member_bad_plan(why, "equal");
    }
    if (!json_is_array(answer))
        return expect_member_bad_answer(why, "list of capabilities");
    json_object_foreach(equal, key, want) {
        if (!json_equal(want, capability_state(answer, key)))
            return not_equal(why, "capability", key);
    }
    return EXPECT_YES;
}

static enum expect_verdict check_fdset(const json_t *expect, const json_t *answer,
                                       struct err *why)
{
    const json_t *id = json_object_get(expect, "id"), *entry;
    bool found = false;
    size_t i;

    if (!expect_member_required(expect, "id", JSON_INTEGER, why) ||
        !expect_member_required(expect, "present", JSON_TRUE, why))
        return EXPECT_NO;
    if (!json_is_array(answer))
        return expect_member_bad_answer(why, "list of descriptor sets");
    json_array_foreach(answer, i, entry) {
        if (!json_is_integer(json_object_get(entry, "fdset-id")))
            return expect_member_bad_answer(why, "\"fdset-id\"");
        found = found || json_equal(json_object_get(entry, "fdset-id"), id);
    }
    if (found == json_is_true(json_object_get(expect, "present")))
        return EXPECT_YES;
    err_set(why, REASON_QEMU_FAILED, "The descriptor set %" JSON_INTEGER_FORMAT " %s",
            json_integer_value(id), found ? "is still there" : "does not exist");
    return EXPECT_NO;
}

/* The first id of the list that is there, or is not; NULL: none. */
static const char *device_find(const json_t *list, const json_t *devices, bool there)
{
    const json_t *id;
    size_t i;

    json_array_foreach(list, i, id)
        if ((json_object_get(devices, json_string_value(id)) != NULL) == there)
            return json_string_value(id);
    return NULL;
}

static enum expect_verdict check_devices(const json_t *expect, const json_t *answer,
                                         struct err *why)
{
    const json_t *absent = json_object_get(expect, "absent");
    const char *missing, *left;
    json_t *devices;

    if (!words_check(expect, "present", why) ||
        (json_array_size(absent) > 0 && !words_check(expect, "absent", why)))
        return EXPECT_NO;
    if (!json_is_array(answer))
        return expect_member_bad_answer(why, "list of devices");
    devices = world_read_devices(answer);
    missing = device_find(json_object_get(expect, "present"), devices, false);
    left = device_find(absent, devices, true);
    json_decref(devices);
    if (!missing && !left)
        return EXPECT_YES;
    err_set(why, REASON_QEMU_FAILED, "The device \"%s\" is %s", missing ? missing : left,
            missing ? "missing" : "still there");
    err_name(why, "device", missing ? missing : left);
    return EXPECT_NO;
}

static enum expect_verdict check_fit(const json_t *expect, const json_t *answer, struct err *why)
{
    json_t *facts;
    bool fits;

    if (!expect_member_optional(expect, "qemu", JSON_ARRAY, why) ||
        !expect_member_optional(expect, "fit", JSON_OBJECT, why))
        return EXPECT_NO;
    if (!json_is_object(json_object_get(answer, "version")))
        return expect_member_bad_answer(why, "version");
    facts = fit_read(answer);
    fits = fit_compare(json_object_get(expect, "qemu"), json_object_get(expect, "fit"), facts, why);
    json_decref(facts);
    return fits ? EXPECT_YES : EXPECT_NO;
}

static enum expect_verdict check_any(const json_t *expect, const json_t *answer, struct err *why)
{
    (void)expect;
    (void)answer;
    (void)why;
    return EXPECT_YES;
}

static const struct kind {
    const char *name, *query;
    enum expect_verdict (*check)(const json_t *expect, const json_t *answer, struct err *why);
} kinds[] = {
    { "status", "query-status", check_status },
    { "migrated", "query-migrate", check_migrated },
    { "job", "query-jobs", check_job },
    { "node", "query-named-block-nodes", expect_block_node },
    { "disk", "query-block", expect_block_disk },
    { "chain", EXPECT_QUERY_CHAIN, expect_block_chain },
    { "parameters", "query-migrate-parameters", check_parameters },
    { "capabilities", "query-migrate-capabilities", check_capabilities },
    { "fdset", "query-fdsets", check_fdset },
    { "devices", "qom-list", check_devices },
    { "fit", EXPECT_QUERY_FIT, check_fit },
    { "any", NULL, check_any },
};

static const struct kind *kind_find(const json_t *expect)
{
    const char *is = expect_member_text(expect, "is");

    for (size_t i = 0; is && i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (!strcmp(kinds[i].name, is))
            return &kinds[i];
    }
    return NULL;
}

enum expect_verdict expect_check(const json_t *expect, const json_t *reply_return,
                                 struct err *why)
{
    const struct kind *kind = kind_find(expect);

    return kind ? kind->check(expect, reply_return, why) : expect_member_bad_plan(why, "is");
}

const char *expect_query(const json_t *expect)
{
    const struct kind *kind = kind_find(expect);

    return kind ? kind->query : NULL;
}

static json_t *queries_chain(void)
{
    return json_pack("[{s:s, s:s, s:{s:b}}, {s:s, s:s}, {s:s, s:s}]", "as", "nodes", "execute",
                     "query-named-block-nodes", "arguments", "flat", 1, "as", "blocks", "execute",
                     "query-block", "as", "graph", "execute", "x-debug-query-block-graph");
}

static json_t *queries_fit(void)
{
    json_t *list = json_array();

    for (size_t i = 0; i < FIT_QUERIES; i++)
        json_array_append_new(list, json_pack("{s:s, s:s, s:o*}", "as", fit_queries[i].as, "execute",
                                              fit_queries[i].execute, "arguments",
                                              fit_query_arguments(&fit_queries[i])));
    return list;
}

json_t *expect_queries(const json_t *expect)
{
    const char *query = expect_query(expect);
    json_t *arguments = NULL;

    if (!query)
        return json_array();
    if (!strcmp(query, EXPECT_QUERY_CHAIN))
        return queries_chain();
    if (!strcmp(query, EXPECT_QUERY_FIT))
        return queries_fit();
    if (!strcmp(query, "query-named-block-nodes"))
        arguments = json_pack("{s:b}", "flat", 1);
    else if (!strcmp(query, "qom-list"))
        arguments = json_pack("{s:s}", "path", EXPECT_DEVICES);
    return json_pack("[{s:s, s:o*}]", "execute", query, "arguments", arguments);
}

bool expect_is_refusal(const struct err *why)
{
    static const char *const reasons[] = { REASON_VERSION_MISMATCH, REASON_MACHINE_MISMATCH, NULL };

    return why->reason && one_of(reasons, why->reason);
}
