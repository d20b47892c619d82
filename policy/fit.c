/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "policy/fit.h"

#include <stdio.h>
#include <string.h>

#include "policy/reason.h"
#include "policy/state.h"

const struct fit_query fit_queries[FIT_QUERIES] = {
    { "version", "query-version", NULL, NULL },
    { "machine", "qom-get", "/machine", "type" },
    { "kvm", "query-kvm", NULL, NULL },
    { "cpus", "query-cpus-fast", NULL, NULL },
    { "slots", "query-hotpluggable-cpus", NULL, NULL },    /* some machines have none */
    { "memory", "query-memory-size-summary", NULL, NULL },
};

json_t *fit_query_arguments(const struct fit_query *query)
{
    return query->path ? json_pack("{s:s, s:s}", "path", query->path, "property", query->property)
                       : NULL;
}

/* ---- reading ---- */

static void read_version(const json_t *answer, json_t *facts)
{
    const json_t *qemu = json_object_get(answer, "qemu");
    const char *package = state_str(answer, "package");

    if (!qemu)
        return;
    json_object_set_new(facts, "qemu",
                        json_pack("[I, I, I]", json_integer_value(json_object_get(qemu, "major")),
                                  json_integer_value(json_object_get(qemu, "minor")),
                                  json_integer_value(json_object_get(qemu, "micro"))));
    if (package && package[0])
        json_object_set_new(facts, "package", json_string(package));
}

/* QOM calls the type "pc-q35-7.2" by "pc-q35-7.2-machine". */
static void read_machine(const json_t *answer, json_t *facts)
{
    static const char suffix[] = "-machine";
    const char *type = json_string_value(answer);
    size_t len = type ? strlen(type) : 0, tail = sizeof(suffix) - 1;

    if (len > tail && strcmp(type + len - tail, suffix) == 0)
        json_object_set_new(facts, "machine", json_stringn(type, len - tail));
}

json_t *fit_read(const json_t *answers)
{
    json_t *kvm = json_object_get(json_object_get(answers, "kvm"), "enabled");
    json_t *slot = json_array_get(json_object_get(answers, "slots"), 0);
    json_t *base = json_object_get(json_object_get(answers, "memory"), "base-memory");
    size_t cpus = json_array_size(json_object_get(answers, "cpus"));
    json_t *facts = json_object();

    read_version(json_object_get(answers, "version"), facts);
    read_machine(json_object_get(answers, "machine"), facts);
    if (kvm)
        json_object_set_new(facts, "accelerator", json_string(json_is_true(kvm) ? "kvm" : "tcg"));
    if (state_str(slot, "type"))
        json_object_set(facts, "cpu", json_object_get(slot, "type"));
    if (cpus > 0)
        json_object_set_new(facts, "cpus", json_integer((json_int_t)cpus));
    if (base)
        json_object_set(facts, "memory", base);
    return facts;
}

/* "QEMU emulator version 7.2.22 (Debian 1:7.2+dfsg-7)" */
static void read_version_text(const char *text, json_t *program)
{
    static const char before[] = "QEMU emulator version ";
    const char *at = text ? strstr(text, before) : NULL, *open, *close;
    int major, minor, micro;

    if (!at || sscanf(at + sizeof(before) - 1, "%d.%d.%d", &major, &minor, &micro) != 3)
        return;
    json_object_set_new(program, "qemu", json_pack("[i, i, i]", major, minor, micro));
    at += strcspn(at, "(\n");
    open = *at == '(' ? at + 1 : NULL;
    close = open ? strchr(open, ')') : NULL;
    if (close && close > open)
        json_object_set_new(program, "package", json_stringn(open, (size_t)(close - open)));
}

/* A heading, then a type and its description on each line. */
static void read_machines_text(const char *text, json_t *program)
{
    json_t *machines = json_array();

    for (const char *at = text; at && *at; at += strcspn(at, "\n"), at += *at == '\n') {
        size_t len = strcspn(at, " \n");

        if (len > 0 && at[len] == ' ' && at != text)
            json_array_append_new(machines, json_stringn(at, len));
    }
    if (json_array_size(machines) > 0)
        json_object_set(program, "machines", machines);
    json_decref(machines);
}

json_t *fit_read_program(const char *version, const char *machines)
{
    json_t *program = json_object();

    read_version_text(version, program);
    read_machines_text(machines, program);
    return program;
}

void fit_record(const struct world *world, json_t *snapshot)
{
    json_t *fit = world->fit ? json_copy(world->fit) : json_object();

    if (json_object_get(fit, "qemu"))
        json_object_set(snapshot, "qemu", json_object_get(fit, "qemu"));
    json_object_del(fit, "qemu");
    if (json_object_size(fit) > 0)
        json_object_set(snapshot, "fit", fit);
    json_decref(fit);
}

/* ---- comparing ---- */

static json_int_t number(const json_t *version, size_t i)
{
    return json_integer_value(json_array_get(version, i));
}

static bool is_older(const json_t *version, const json_t *than)
{
    for (size_t i = 0; i < 3; i++)
        if (number(version, i) != number(than, i))
            return number(version, i) < number(than, i);
    return false;
}

/* With the package in brackets, when that is known. */
static void version_text(const json_t *version, const json_t *facts, char *out, size_t size)
{
    const char *package = state_str(facts, "package");

    snprintf(out, size, "%d.%d.%d%s%.100s%s", (int)number(version, 0), (int)number(version, 1),
             (int)number(version, 2), package ? " (" : "", package ? package : "",
             package ? ")" : "");
}

static bool check_version(const json_t *qemu, const json_t *fit, const json_t *facts,
                          struct err *err)
{
    const json_t *now = json_object_get(facts, "qemu");
    char saved[160], found[160];

    if (!qemu || !now || !is_older(now, qemu))
        return true;
    version_text(qemu, fit, saved, sizeof(saved));
    version_text(now, facts, found, sizeof(found));
    err_set(err, REASON_VERSION_MISMATCH, "The memory was saved by QEMU %s, and what would load it is "
            "QEMU %s, which is older: use %d.%d.%d or newer, or say state: prelaunch to boot from the "
            "snapshot's disks", saved, found, (int)number(qemu, 0), (int)number(qemu, 1),
            (int)number(qemu, 2));
    err_name(err, "saved", saved);
    err_name(err, "found", found);
    return false;
}

/* Text of a string or a number. */
static const char *value_text(const json_t *value, char *out, size_t size)
{
    if (json_is_integer(value))
        snprintf(out, size, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else
        snprintf(out, size, "%.100s", json_is_string(value) ? json_string_value(value) : "unknown");
    return out;
}

static bool mismatch(struct err *err, const char *key, const char *what, const json_t *saved,
                     const json_t *found)
{
    char one[128], two[128];

    value_text(saved, one, sizeof(one));
    value_text(found, two, sizeof(two));
    err_set(err, REASON_MACHINE_MISMATCH, "The memory was saved with %s %s, and the QEMU that would load "
            "it has %s: see to it that it has %s again, or say state: prelaunch to boot from the "
            "snapshot's disks", what, one, two, one);
    err_name(err, "what", key);
    err_name(err, "saved", one);
    err_name(err, "found", two);
    return false;
}

bool fit_compare(const json_t *qemu, const json_t *fit, const json_t *facts, struct err *err)
{
    static const struct {
        const char *key, *what;
    } rows[] = {
        { "machine", "the machine type" },
        { "accelerator", "the accelerator" },
        { "cpu", "the CPU model" },
        { "cpus", "a number of CPUs of" },
        { "memory", "a memory size of" },
    };

    if (!check_version(qemu, fit, facts, err))
        return false;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const json_t *saved = json_object_get(fit, rows[i].key);
        const json_t *found = json_object_get(facts, rows[i].key);

        if (saved && !json_equal(saved, found))
            return mismatch(err, rows[i].key, rows[i].what, saved, found);
    }
    return true;
}

json_t *fit_expect(const json_t *snapshot)
{
    return json_pack("{s:s, s:O*, s:O*}", "is", "fit", "qemu", json_object_get(snapshot, "qemu"),
                     "fit", json_object_get(snapshot, "fit"));
}

/* ---- before anything starts ---- */

static const char *saved_machine(const json_t *snapshot)
{
    return state_str(json_object_get(snapshot, "fit"), "machine");
}

static bool is_known(const struct world *world, const char *machine)
{
    const json_t *machines = json_object_get(world->program, "machines");

    return !machines || state_list_has(machines, machine);
}

bool fit_check_program(const struct world *world, const json_t *snapshot, struct err *err)
{
    const json_t *fit = json_object_get(snapshot, "fit");
    const char *machine = saved_machine(snapshot);
    char found[160];

    if (!check_version(json_object_get(snapshot, "qemu"), fit, world->program, err))
        return false;
    if (!machine || is_known(world, machine))
        return true;
    version_text(json_object_get(world->program, "qemu"), world->program, found, sizeof(found));
    err_set(err, REASON_MACHINE_MISMATCH, "The memory was saved on a machine of type '%s', which QEMU %s "
            "does not have: use a QEMU that has it, or say state: prelaunch to boot from the snapshot's "
            "disks", machine, found);
    err_name(err, "what", "machine");
    err_name(err, "saved", machine);
    err_name(err, "found", found);
    return false;
}

const char *fit_machine(const struct world *world, const json_t *snapshot)
{
    const char *machine = saved_machine(snapshot);

    return machine && is_known(world, machine) ? machine : NULL;
}

void fit_version(const struct world *world, int version[2])
{
    const json_t *qemu = json_object_get(world->program, "qemu");

    for (size_t i = 0; i < 2; i++)
        version[i] = qemu ? (int)number(qemu, i) : world->version[i];
}
