/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "policy/args_drive.h"

#include "policy/args_util.h"

#include <stdlib.h>
#include <string.h>

struct image_option {
    const char *name;
    const char *keys;
};

static const struct image_option image_options[] = {
    { "hda", "index=0,media=disk" }, { "hdb", "index=1,media=disk" },
    { "hdc", "index=2,media=disk" }, { "hdd", "index=3,media=disk" },
    { "cdrom", "index=2,media=cdrom" }, { "fda", "if=floppy,index=0" },
    { "fdb", "if=floppy,index=1" }, { "mtdblock", "if=mtd" }, { "sd", "if=sd" },
    { "pflash", "if=pflash" },
};

#define BARE_IMAGE_KEYS "index=0,media=disk"

bool args_drive_is(const struct arg *arg)
{
    if (!arg->word)
        return arg->image;
    return arg->row && (arg->row->class == OPTION_DRIVE || arg->row->class == OPTION_IMAGE);
}

/* file=json:{...} is the same as its members as dotted keys, where no key of the drive says otherwise
 * (block.c: parse_json_protocol).  Steals opts, which may be NULL. */
static struct qemuopts *json_expand(struct qemuopts *opts, struct err *err)
{
    const char *file = opts ? qemuopts_get(opts, "file") : NULL;
    struct qemuopts *members;
    const char *text;

    if (!file || !args_util_prefix(file, "json:", &text))
        return opts;
    members = qemuopts_parse(text, NULL, err);
    if (members && qemuopts_count(members) > 0)
        qemuopts_remove(opts, "file");
    for (size_t i = 0; members && i < qemuopts_count(members); i++) {
        const struct qemuopt *item = qemuopts_at(members, i);
        bool format = strcmp(item->key, "driver") == 0 && qemuopts_get(opts, "format");

        if (!format && !qemuopts_get(opts, item->key))
            qemuopts_set(opts, item->key, item->value);
    }
    if (!members) {
        qemuopts_free(opts);
        opts = NULL;
    }
    qemuopts_free(members);
    return opts;
}

struct qemuopts *args_drive_opts(const struct arg *arg, struct err *err)
{
    const char *keys = BARE_IMAGE_KEYS;
    struct qemuopts *opts;

    if (arg->word && arg->row->class == OPTION_DRIVE)
        return json_expand(qemuopts_parse(arg->value, NULL, err), err);
    for (size_t i = 0; arg->word && i < sizeof(image_options) / sizeof(image_options[0]); i++) {
        if (strcmp(image_options[i].name, arg->name) == 0)
            keys = image_options[i].keys;
    }
    opts = qemuopts_parse(keys, NULL, err);
    if (opts)
        qemuopts_set(opts, "file", arg->value);
    return opts;
}

const char *args_drive_file(const struct qemuopts *opts)
{
    const char *file = qemuopts_get(opts, "file.filename");

    if (!file)
        file = qemuopts_get(opts, "file");
    return file && *file ? file : NULL;
}

char *args_drive_path(const char *file)
{
    size_t colon;

    if (!file)
        return NULL;
    args_util_prefix(file, "file:", &file);
    /* A colon before the first slash names a protocol (block.c: path_has_protocol). */
    colon = strcspn(file, ":/");
    if (file[colon] == ':' || args_util_prefix(file, "/dev/fdset/", NULL))
        return NULL;
    return args_util_dup(file);
}

/* ---- made-up ids (blockdev.c: drive_new) ---- */

struct machine_rules {
    const char *default_if;
    unsigned default_units;     /* units a bus of that interface, 0: no buses */
};

static struct machine_rules rules_of(const struct args *args)
{
    const char *machine = args_machine(args);

    if (machine && strstr(machine, "q35"))
        return (struct machine_rules){ "ide", 1 };
    /* microvm has one unit a bus of the interface "none" (its ids are none00, none10). */
    if (args_util_same(machine, "microvm"))
        return (struct machine_rules){ "none", 1 };
    if (args_util_same(machine, "none"))
        return (struct machine_rules){ "none", 0 };
    if (args_util_same(machine, "xenpv"))
        return (struct machine_rules){ "xen", 0 };
    return (struct machine_rules){ "ide", 2 };
}

static unsigned units_of(struct machine_rules rules, const char *interface)
{
    if (strcmp(interface, rules.default_if) == 0)
        return rules.default_units;
    if (strcmp(interface, "ide") == 0)
        return 2;
    return strcmp(interface, "scsi") == 0 ? 7 : 0;
}

/* Where each drive seen so far sits. */
struct place {
    char *interface;
    unsigned bus, unit;
};

struct places {
    struct place *v;
    size_t n;
};

static bool place_taken(const struct places *places, const char *interface, unsigned bus,
                        unsigned unit)
{
    for (size_t i = 0; i < places->n; i++) {
        const struct place *p = &places->v[i];

        if (p->bus == bus && p->unit == unit && strcmp(p->interface, interface) == 0)
            return true;
    }
    return false;
}

static unsigned number(const struct qemuopts *opts, const char *key)
{
    const char *value = qemuopts_get(opts, key);

    return value ? (unsigned)strtoul(value, NULL, 0) : 0;
}

static const struct place *place_assign(struct places *places, const struct qemuopts *opts,
                                        const char *interface, unsigned units)
{
    unsigned bus = number(opts, "bus");
    unsigned unit = number(opts, "unit");

    /* An index says the place; a unit too; else the first free place from the bus on. */
    if (qemuopts_get(opts, "index")) {
        unsigned index = number(opts, "index");

        bus = units ? index / units : 0;
        unit = units ? index % units : index;
    } else if (!qemuopts_get(opts, "unit")) {
        while (place_taken(places, interface, bus, unit)) {
            unit++;
            if (units && unit >= units) {
                unit -= units;
                bus++;
            }
        }
    }
    places->v = args_util_grow(places->v, places->n + 1, sizeof(*places->v));
    places->v[places->n] = (struct place){ args_util_dup(interface), bus, unit };
    return &places->v[places->n++];
}

static char *id_make(const struct place *place, unsigned units, bool cdrom)
{
    bool named = strcmp(place->interface, "ide") == 0 || strcmp(place->interface, "scsi") == 0;
    const char *media = !named ? "" : cdrom ? "-cd" : "-hd";

    if (units)
        return args_util_format("%s%u%s%u", place->interface, place->bus, media, place->unit);
    return args_util_format("%s%s%u", place->interface, media, place->unit);
}

bool args_drive_discards(const struct qemuopts *opts)
{
    const char *discard = qemuopts_get(opts, "discard");

    return discard && (strcmp(discard, "unmap") == 0 || strcmp(discard, "on") == 0);
}

static void disk_fill(struct args_disk *disk, const struct qemuopts *opts)
{
    const char *format = qemuopts_get(opts, "format");

    disk->kind = ARGS_DISK_DRIVE;
    disk->key = args_util_format("drive:%s", disk->id);
    disk->node_name = args_util_dup(qemuopts_get(opts, "node-name"));
    disk->path = args_drive_path(args_drive_file(opts));
    disk->format = args_util_dup(format ? format : qemuopts_get(opts, "driver"));
    disk->cdrom = args_util_same(qemuopts_get(opts, "media"), "cdrom");
    disk->read_only = disk->cdrom || qemuopts_get_bool(opts, "read-only", false) ||
                      qemuopts_get_bool(opts, "readonly", false);
    disk->discard = args_drive_discards(opts);
    disk->attached = true;
}

static bool drive_add(const struct args *args, size_t i, struct places *places,
                      struct args_disks *out, struct err *err)
{
    struct machine_rules rules = rules_of(args);
    struct qemuopts *opts = args_drive_opts(args_at(args, i), err);
    struct args_disk disk = { .arg = i, .file_arg = i };
    const char *interface;
    const struct place *place;
    unsigned units;

    if (!opts)
        return false;
    interface = qemuopts_get(opts, "if") ?: rules.default_if;
    units = units_of(rules, interface);
    place = place_assign(places, opts, interface, units);
    disk.cdrom = args_util_same(qemuopts_get(opts, "media"), "cdrom");
    disk.id = qemuopts_get(opts, "id") ? args_util_dup(qemuopts_get(opts, "id"))
                                       : id_make(place, units, disk.cdrom);
    disk_fill(&disk, opts);
    disk.snapshot = qemuopts_get_bool(opts, "snapshot", args_has(args, "snapshot"));
    out->v = args_util_grow(out->v, out->n + 1, sizeof(*out->v));
    out->v[out->n++] = disk;
    qemuopts_free(opts);
    return true;
}

bool args_drive_find(const struct args *args, struct args_disks *out, struct err *err)
{
    struct places places = { .v = NULL };
    bool ok = true;

    for (size_t i = 0; ok && i < args_count(args); i++) {
        if (args_drive_is(args_at(args, i)))
            ok = drive_add(args, i, &places, out, err);
    }
    for (size_t i = 0; i < places.n; i++)
        free(places.v[i].interface);
    free(places.v);
    return ok;
}
