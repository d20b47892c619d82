/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The files of planner_merges.h, and what they have to be. */
#include "tests/unit/planner_merges.h"

#include "policy/overlay.h"
#include "policy/state.h"

const char *merges_below(const struct merges_model *model, const char *real)
{
    return state_str(json_object_get(model->files, real), "backing");
}

const json_t *merges_layer(const json_t *state, const char *real, const char **id)
{
    const char *at;
    json_t *layer;

    json_object_foreach(json_object_get(state, "layers"), at, layer)
        if (strcmp(state_str(layer, "real"), real) == 0) {
            if (id)
                *id = at;
            return layer;
        }
    return NULL;
}

const char *merges_named(const struct merges_model *model, const char *text)
{
    const char *id;
    json_t *layer;

    json_object_foreach(json_object_get(model->world->state, "layers"), id, layer)
        if (strcmp(overlay_backing(layer), text) == 0 || strcmp(state_str(layer, "path"), text) == 0)
            return state_str(layer, "real");
    fail_msg("no layer is named '%s'", text);
    return NULL;
}

/* new: everything that a file reads as. */
static json_t *merges_read(const json_t *files, const char *real)
{
    json_t *all = json_array(), *seen = json_object(), *id;
    size_t i;

    for (; real; real = state_str(json_object_get(files, real), "backing"))
        json_array_foreach(json_object_get(json_object_get(files, real), "data"), i, id) {
            if (!json_object_get(seen, json_string_value(id)))
                json_array_append(all, id);
            json_object_set_new(seen, json_string_value(id), json_true());
        }
    json_decref(seen);
    return all;
}

/* new: the files as they are on record; a copied one holds nothing of its own. */
static json_t *merges_files(const json_t *state)
{
    json_t *files = json_object(), *layer;
    const char *id;

    json_object_foreach(json_object_get(state, "layers"), id, layer)
        json_object_set_new(files, state_str(layer, "real"),
                            json_pack("{s:[s*], s:s?}", "data",
                                      json_object_get(layer, "copied") ? NULL : id, "backing",
                                      state_str(state_layer(state, state_str(layer, "parent")),
                                                "real")));
    return files;
}

void merges_begin(struct merges_model *model)
{
    const json_t *state = model->world->state;
    json_t *disk, *link;
    size_t i, k;

    model->record = state;
    model->files = merges_files(state);
    model->nodes = json_object();
    model->side = json_object();
    model->actives = json_object();
    model->jobs = json_object();
    model->checked = json_object();
    json_array_foreach(model->world->vm, i, disk) {
        json_array_foreach(json_object_get(disk, "chain"), k, link) {
            const json_t *file = json_object_get(model->world->w.files, state_str(link, "file"));

            json_object_set(model->nodes, state_str(link, "node"), json_object_get(file, "real"));
        }
        disk = state_disk(state, state_str(disk, "key"));
        if (disk)
            json_object_set(model->actives, state_str(json_array_get(model->world->vm, i), "key"),
                            json_object_get(state_layer(state, state_str(disk, "active")), "real"));
    }
}

void merges_clear(struct merges_model *model)
{
    json_decref(model->files);
    json_decref(model->nodes);
    json_decref(model->side);
    json_decref(model->actives);
    json_decref(model->jobs);
    json_decref(model->ended);
    json_decref(model->checked);
    json_decref(model->frozen);
}

/* It was written to, and has no fingerprint until it gets a new one. */
static void merges_touch(struct merges_model *model, const char *real)
{
    json_object_set_new(json_object_get(model->files, real), "touched", json_true());
    json_decref(model->frozen);
    model->frozen = NULL;
}

void merges_add_data(struct merges_model *model, const char *to, const char *from, bool on_top)
{
    json_t *file = json_object_get(model->files, to), *data = json_array();
    json_t *other = json_object_get(json_object_get(model->files, from), "data");

    json_array_extend(data, on_top ? other : json_object_get(file, "data"));
    json_array_extend(data, on_top ? json_object_get(file, "data") : other);
    json_object_set_new(file, "data", data);
    merges_touch(model, to);
}

void merges_rest_on(struct merges_model *model, const char *real, const char *below)
{
    json_object_set_new(json_object_get(model->files, real), "backing", json_string(below));
    merges_touch(model, real);
}

/* ---- what has to hold ---- */

static void merges_assert_same(const struct merges_model *model, const char *whose,
                               const char *before, const char *real)
{
    json_t *were = merges_files(model->world->state), *had = merges_read(were, before);
    json_t *has = merges_read(model->files, real);

    if (!json_equal(had, has)) {
        char *left = json_dumps(had, 0), *right = json_dumps(has, 0);

        fail_msg("%s read as %s and reads as %s", whose, left, right);
    }
    json_decref(were);
    json_decref(had);
    json_decref(has);
}

static const char *merges_real(const json_t *state, const json_t *id)
{
    return state_str(state_layer(state, json_string_value(id)), "real");
}

void merges_check_contents(const struct merges_model *model)
{
    const json_t *state = model->world->state;
    json_t *snapshot, *id, *disk, *layer;
    const char *key;
    size_t i;

    json_array_foreach(json_object_get(model->record, "snapshots"), i, snapshot) {
        const char *name = state_str(snapshot, "name");
        const json_t *was = json_object_get(state_snapshot(state, name), "disks");

        if (json_object_get(snapshot, "deleting"))
            continue;
        json_object_foreach(json_object_get(snapshot, "disks"), key, id)
            merges_assert_same(model, name, merges_real(state, json_object_get(was, key)),
                               merges_real(model->record, id));
    }
    json_object_foreach(json_object_get(model->record, "disks"), key, disk)
        merges_assert_same(model, key,
                           merges_real(state, json_object_get(state_disk(state, key), "active")),
                           merges_real(model->record, json_object_get(disk, "active")));
    json_object_foreach(json_object_get(model->record, "layers"), key, layer)
        if (json_object_get(json_object_get(model->files, state_str(layer, "real")), "touched") &&
            json_object_get(layer, "print"))
            fail_msg("%s was written to, and has a fingerprint on record", key);
}

/* borrowed: where the disk is; while the record is early, where the job that has caught up will leave it. */
static const char *merges_active(const struct merges_model *model, const char *key)
{
    const char *id;
    json_t *job;

    json_object_foreach(model->early ? model->jobs : NULL, id, job) {
        const char *own = state_str(job, "key"), *target = state_str(job, "target");

        if (own && strcmp(own, key) == 0 && json_object_get(job, "flushed") &&
            strcmp(target, merges_real(model->record, json_object_get(state_disk(model->record, key),
                                                                      "active"))) == 0)
            return target;
    }
    return state_str(model->actives, key);
}

void merges_check_record(const struct merges_model *model)
{
    struct err err = ERR_INIT;
    const char *id;
    json_t *layer;

    if (!state_check(model->record, &err))
        fail_msg("a record on the way: %s", err.desc);
    json_object_foreach(json_object_get(model->record, "layers"), id, layer) {
        const char *below = merges_real(model->record, json_object_get(layer, "parent"));
        const char *header = merges_below(model, state_str(layer, "real"));

        if ((below == NULL) != (header == NULL) || (below && strcmp(below, header) != 0))
            fail_msg("%s stands on %s, and on %s on record", id, header, below);
    }
    /* An unplugged disk is on record, and on nothing. */
    json_object_foreach(json_object_get(model->record, "disks"), id, layer)
        if (state_str(model->actives, id))
            assert_string_equal(merges_real(model->record, json_object_get(layer, "active")),
                                merges_active(model, id));
}

/* new: the files that the plan removes, as keys. */
static json_t *merges_removed(const json_t *plan)
{
    json_t *removed = json_object(), *step, *file;
    size_t i, k;

    json_array_foreach(json_object_get(plan, "steps"), i, step)
        if (strcmp(state_str(step, "step"), "files-remove") == 0)
            json_array_foreach(json_object_get(json_object_get(step, "args"), "files"), k, file)
                json_object_set_new(removed, json_string_value(file), json_true());
    return removed;
}

void merges_check_end(const struct merges_model *model)
{
    const json_t *after = json_object_get(model->plan, "after"), *was;
    json_t *removed = merges_removed(model->plan), *layer;
    const char *id, *real;

    json_object_foreach(json_object_get(model->world->state, "layers"), id, layer)
        if (!state_layer(after, id) && !json_object_get(removed, state_str(layer, "real")))
            fail_msg("%s is left behind", state_str(layer, "real"));
    json_object_foreach(json_object_get(after, "layers"), id, layer) {
        bool touched;

        was = state_layer(model->world->state, id);
        assert_non_null(was);
        for (real = state_str(layer, "real"); real; real = merges_below(model, real))
            if (json_object_get(removed, real))
                fail_msg("%s stands on %s, which is removed", id, real);
        real = state_str(layer, "real");
        touched = json_object_get(json_object_get(model->files, real), "touched") != NULL;
        if (touched && !state_layer_active_of(after, id) && !json_object_get(model->frozen, id))
            fail_msg("%s was written to, and gets no new fingerprint", id);
        if (!touched && !json_equal(json_object_get(was, "print"), json_object_get(layer, "print")) &&
            json_object_get(was, "print"))
            fail_msg("%s was not written to, and loses its fingerprint", id);
        if (json_object_get(model->frozen, id) && state_layer_active_of(after, id))
            fail_msg("%s is active, and gets a fingerprint", id);
    }
    json_decref(removed);
}
