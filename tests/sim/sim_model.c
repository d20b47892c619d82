/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <string.h>

#include "policy/state.h"
#include "policy/vmstate.h"
#include "tests/sim/sim_check_internal.h"
#include "tests/sim/sim_fail.h"

static json_t *model;           /* name -> { disks: {key: content}, memory: object or null } */

void sim_model_begin(void)
{
    model = json_object();
}

void sim_model_end(void)
{
    json_decref(model);
    model = NULL;
}

static json_t *model_of(const char *snapshot)
{
    return json_object_get(model, snapshot);
}

const json_t *sim_model_content(const char *snapshot, const char *key)
{
    return json_object_get(json_object_get(model_of(snapshot), "disks"), key);
}

const json_t *sim_check_memory(const char *snapshot)
{
    const json_t *memory = json_object_get(model_of(snapshot), "memory");

    return json_is_object(memory) ? memory : NULL;
}

/* new: the memory that lies in a file; null: there is none. */
static json_t *model_read(const json_t *memory)
{
    const char *path = state_str(memory, "file");
    json_t *read;
    FILE *file;

    if (!path)
        return json_null();
    if (vmstate_is(memory)) {
        struct sim_image *image = sim_image_find(path);

        return image ? json_incref((json_t *)sim_image_saved(image, VMSTATE_TAG)) : NULL;
    }
    file = fopen(path, "r");
    read = file ? json_loadf(file, 0, NULL) : NULL;
    if (file)
        fclose(file);
    return read;
}

static char *model_dump(const json_t *value)
{
    static char out[4][1024];
    static unsigned at;
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT), *to = out[++at % 4];

    snprintf(to, sizeof(out[0]), "%s", text ? text : "nothing");
    free(text);
    return to;
}

/* Its memory is of the moment at which its disks were frozen. */
static void model_check_belongs(const char *name, const char *key, const json_t *memory,
                                const json_t *content)
{
    const struct sim_disk *disk = sim_disk_of(key);
    const json_t *number = disk ? json_object_get(json_object_get(memory, "disks"), disk->qdev) : NULL;

    if (number && !json_equal(number, json_array_get(content, 0)))
        sim_fail("the memory of %s says %s of %s, which holds %s", name, model_dump(number), key,
                 model_dump(content));
}

static void model_add(const json_t *snapshot)
{
    const char *name = state_str(snapshot, "name"), *key;
    json_t *disks = json_object(), *memory = model_read(json_object_get(snapshot, "memory")), *layer;

    if (!memory)
        sim_fail("the memory of %s cannot be read", name);
    json_object_foreach(json_object_get(snapshot, "disks"), key, layer) {
        const char *path = sim_layer_path(json_string_value(layer));
        const json_t *frozen = sim_guest_frozen(path);

        if (!frozen)
            sim_fail("%s of %s was never frozen", path, name);
        if (json_is_object(memory))
            model_check_belongs(name, key, memory, frozen);
        json_object_set(disks, key, (json_t *)frozen);
    }
    json_object_set_new(model, name, json_pack("{s:o, s:o}", "disks", disks, "memory", memory));
}

static void model_check_one(const json_t *snapshot)
{
    const char *name = state_str(snapshot, "name"), *key;
    json_t *memory = model_read(json_object_get(snapshot, "memory")), *layer;

    if (!memory || !json_equal(memory, json_object_get(model_of(name), "memory")))
        sim_fail("the memory of %s is %s, and was %s", name, model_dump(memory),
                 model_dump(json_object_get(model_of(name), "memory")));
    json_object_foreach(json_object_get(snapshot, "disks"), key, layer) {
        const char *path = sim_layer_path(json_string_value(layer));
        json_t *content = sim_image_content(sim_image_find(path));

        if (!json_equal(content, sim_model_content(name, key)))
            sim_fail("%s of %s (%s) holds %s, and held %s", key, name, path, model_dump(content),
                     model_dump(sim_model_content(name, key)));
        json_decref(content);
    }
    json_decref(memory);
}

void sim_model_check(void)
{
    json_t *snapshot, *known;
    const char *name;
    void *next;
    size_t i;

    json_array_foreach(json_object_get(sim_record(), "snapshots"), i, snapshot) {
        if (json_object_get(snapshot, "deleting") || json_object_get(snapshot, "damaged"))
            continue;
        if (!model_of(state_str(snapshot, "name")))
            model_add(snapshot);
        model_check_one(snapshot);
    }
    json_object_foreach_safe(model, next, name, known)
        if (!state_snapshot(sim_record(), name))
            json_object_del(model, name);
}

void sim_model_check_settings(const struct sim_qemu *qemu)
{
    json_int_t bandwidth = json_integer_value(json_object_get(qemu->parameters, "max-bandwidth"));

    if (bandwidth != 134217728)
        sim_fail("the migration's bandwidth is left at %" JSON_INTEGER_FORMAT, bandwidth);
    if (json_is_true(json_object_get(qemu->capabilities, "background-snapshot")) ||
        json_is_true(json_object_get(qemu->capabilities, "late-block-activate")))
        sim_fail("a capability of the migration is left on");
}

bool sim_content_goes_on(const json_t *content, const json_t *before, long serial)
{
    for (size_t i = 0; i < SIM_BLOCKS; i++) {
        const json_t *number = json_array_get(content, i);

        if (json_integer_value(number) <= serial && !json_equal(number, json_array_get(before, i)))
            return false;
    }
    return true;
}
