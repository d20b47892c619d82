/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/layer_check.h"

static void map_layers(struct layer_map *map, const json_t *state)
{
    const char *id;
    json_t *layer;

    json_object_foreach(json_object_get(state, "layers"), id, layer) {
        struct layer_row *row = &map->row[model_number(id)];
        const char *parent = state_str(layer, "parent");

        row->there = true;
        row->foreign = json_object_get(layer, "foreign") != NULL;
        row->base = json_object_get(layer, "base") != NULL;
        row->copied = json_object_get(layer, "copied") != NULL;
        row->print = json_object_get(layer, "print")
                         ? (int)json_integer_value(json_object_get(layer, "print")) : -1;
        if (parent) {
            row->parent = model_number(parent);
            map->row[row->parent].children++;
        }
    }
}

static void map_reader(struct layer_map *map, int number, const int *want, const char *whose)
{
    map->reader[map->n_readers++] = (struct layer_reader){ number, want, whose };
    for (int at = number; at; at = map->row[at].parent)
        map->row[at].read = true;
}

static void map_names(struct layer_map *map, const struct model *model, const json_t *state)
{
    json_t *snapshot, *layer;
    const char *key;
    size_t i;

    json_array_foreach(json_object_get(state, "snapshots"), i, snapshot) {
        size_t which = model_which(state_str(snapshot, "name"));

        json_object_foreach(json_object_get(snapshot, "disks"), key, layer) {
            int number = model_number(json_string_value(layer));
            size_t disk = strcmp(key, model_key[0]) == 0 ? 0 : 1;

            map->row[number].names++;
            if (model->deleting[which])
                continue;
            map->row[number].kept++;
            map_reader(map, number, model->saved[which][disk], model_name(which));
        }
    }
}

void map_make(struct layer_map *map, const struct model *model, const json_t *state)
{
    map->n_readers = 0;
    map->top = (int)json_integer_value(json_object_get(state, "counter"));
    memset(map->row, 0, ((size_t)map->top + 1) * sizeof(map->row[0]));
    map_layers(map, state);
    map_names(map, model, state);
    for (size_t d = 0; d < model->n_disks; d++) {
        map->active[d] = model_number(state_str(state_disk(state, model_key[d]), "active"));
        map_reader(map, map->active[d], model->active[d], "the guest");
        for (int at = map->active[d]; at; at = map->row[at].parent)
            map->row[at].running |= 1u << d;
    }
}

int check_read(const struct model *model, const struct layer_map *map, int number, size_t block,
               bool by_header)
{
    while (model->file[number][block] == MODEL_HOLE) {
        number = by_header ? model->header[number] : map->row[number].parent;
        model_must(model, number != 0);
        model_must(model, !model->unlinked[number]);
    }
    return model->file[number][block];
}

void check_block(const struct model *model, const struct layer_map *map, size_t block)
{
    for (size_t i = 0; i < map->n_readers; i++) {
        const struct layer_reader *reader = &map->reader[i];

        for (int by_header = 0; by_header < 2; by_header++) {
            int value = check_read(model, map, reader->number, block, by_header);

            if (value != reader->want[block])
                fail_msg("%s: block %zu of L%d is %d by the %s, was %d; after%s", reader->whose,
                         block, reader->number, value, by_header ? "headers" : "record",
                         reader->want[block], model->trail);
        }
    }
}

void check_reads(const struct model *model, const struct layer_map *map)
{
    for (size_t i = 0; i < map->n_readers; i++)
        model_must(model, !model->unlinked[map->reader[i].number]);
    for (size_t b = 0; b < MODEL_BLOCKS; b++)
        check_block(model, map, b);
}

bool check_headers(const struct model *model, const struct layer_map *map)
{
    for (int n = 1; n <= map->top; n++)
        if (map->row[n].there && map->row[n].parent != model->header[n])
            return false;
    return true;
}

/* What a copied layer holds is in the file below as well. */
static void check_copied(const struct model *model, const struct layer_map *map, int number)
{
    const int *file = model->file[number], *below = model->file[map->row[number].parent];

    for (size_t b = 0; b < MODEL_BLOCKS; b++)
        model_must(model, file[b] == MODEL_HOLE || file[b] == below[b]);
    model_must(model, map->row[number].names == 0);
}

static void check_layers(const struct model *model, const struct layer_map *map)
{
    model_must(model, check_headers(model, map));
    for (int n = 1; n <= map->top; n++) {
        const struct layer_row *row = &map->row[n];

        model_must(model, row->there != model->unlinked[n]);
        if (row->there && row->print >= 0)
            model_must(model, row->print == model->version[n]);
        /* What only snapshots stand on that are being deleted may be anything. */
        if (row->there && row->copied && row->read)
            check_copied(model, map, n);
    }
    for (int d = 0; d < (int)model->n_disks; d++) {
        const struct layer_row *foreign = &map->row[2 * d + 1], *base = &map->row[2 * d + 2];
        const struct layer_row *active = &map->row[map->active[d]];

        model_must(model, foreign->there && foreign->foreign);
        model_must(model, memcmp(model->file[2 * d + 1], model->foreign[d],
                                 sizeof(model->foreign[d])) == 0);
        model_must(model, base->there && base->base && base->running);
        model_must(model, active->children == 0 && active->names == 0);
    }
}

/* One that is being deleted may name no layer of a disk any more. */
static bool check_deleting(const struct model *model)
{
    json_t *snapshot;
    size_t i;

    json_array_foreach(json_object_get(model->state, "snapshots"), i, snapshot)
        if (json_object_get(snapshot, "deleting"))
            return true;
    return false;
}

/* With one disk, the tree of the snapshots is that of the layers: layer_walk relies on it. */
static void check_family(const struct model *model, const struct layer_map *map)
{
    json_t *snapshots = json_object_get(model->state, "snapshots"), *snapshot;
    const char *of[MODEL_LAYERS] = { NULL }, *want, *have;
    size_t i;
    int at;

    json_array_foreach(snapshots, i, snapshot)
        of[model_number(state_str(json_object_get(snapshot, "disks"), model_key[0]))] =
            state_str(snapshot, "name");
    for (i = 0; i <= json_array_size(snapshots); i++) {
        snapshot = json_array_get(snapshots, i);
        have = snapshot ? state_str(snapshot, "parent") : state_str(model->state, "current");
        at = snapshot ? model_number(state_str(json_object_get(snapshot, "disks"), model_key[0]))
                      : map->active[0];
        for (want = NULL; !want && (at = map->row[at].parent);)
            want = of[at];
        model_must(model, (want && have && strcmp(want, have) == 0) || (!want && !have));
    }
}

void model_check(const struct model *model)
{
    struct err err = ERR_INIT;
    struct layer_map map;

    if (!state_check(model->state, &err))
        fail_msg("%s", err.desc);
    map_make(&map, model, model->state);
    check_reads(model, &map);
    check_layers(model, &map);
    if (model->n_disks == 1 && !check_deleting(model))
        check_family(model, &map);
}

void model_check_merged(const struct model *model)
{
    struct layer_map map;
    size_t layers = 0;

    map_make(&map, model, model->state);
    for (int n = 1; n <= map.top; n++) {
        const struct layer_row *row = &map.row[n];
        bool active = false;

        layers += row->there;
        for (size_t d = 0; d < model->n_disks; d++)
            active = active || map.active[d] == n;
        if (row->there && !row->foreign && row->names == 0 && !active)
            model_must(model, row->children >= 2 && !row->copied);
    }
    if (json_array_size(json_object_get(model->state, "snapshots")) > 0)
        return;
    model_must(model, layers == 2 * model->n_disks);
    for (size_t d = 0; d < model->n_disks; d++)
        model_must(model, map.row[map.active[d]].base);
}
