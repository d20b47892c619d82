/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "tests/unit/layer_merge.h"

json_int_t model_bytes(const struct model *model, int number)
{
    json_int_t bytes = 0;

    for (size_t b = 0; b < MODEL_BLOCKS; b++)
        bytes += model->file[number][b] != MODEL_HOLE;
    return bytes;
}

/* The layer that stands on this one in the disk's running chain; 0: none. */
static int merge_above(const struct layer_map *map, int number, unsigned disk)
{
    for (int n = 1; n <= map->top; n++)
        if (map->row[n].there && map->row[n].running & disk && map->row[n].parent == number)
            return n;
    return 0;
}

static void merge_check_place(const struct model *model, const struct layer_map *map,
                              const char *key, const struct merge *merge)
{
    int parent = model_number(merge->parent), child = model_number(merge->child);
    unsigned disk = !key ? 0 : strcmp(key, model_key[0]) == 0 ? 1 : 2;
    int above = key && merge->direction == MERGE_COMMIT ? merge_above(map, child, disk) : 0;

    model_must(model, (!key && !merge->key) || (key && merge->key && !strcmp(key, merge->key)));
    model_must(model, map->row[parent].there && map->row[child].there);
    model_must(model, map->row[child].parent == parent);
    if (key)
        model_must(model, map->row[parent].running & disk && map->row[child].running & disk);
    else
        model_must(model, !map->row[parent].running && !map->row[child].running);
    model_must(model, above == (merge->above ? model_number(merge->above) : 0));
}

/* The cheaper of those ways that there are, unless one was asked for. */
static void merge_check_direction(const struct model *model, const struct layer_map *map,
                                  const struct merge_search *search, const struct merge *merge)
{
    const struct layer_row *parent = &map->row[model_number(merge->parent)];
    const struct layer_row *child = &map->row[model_number(merge->child)];
    json_int_t down = json_integer_value(json_object_get(search->bytes, merge->child));
    json_int_t up = json_integer_value(json_object_get(search->bytes, merge->parent));
    bool own = json_object_get(search->own, merge->parent) != NULL;
    bool commit = merge->direction == MERGE_COMMIT;

    if (!merge->key && parent->copied)
        up = 0;
    model_must(model, merge->bytes == (commit ? down : up));
    if (parent->copied)
        model_must(model, !commit);
    else if (own && search->direction != MERGE_AUTO)
        model_must(model, merge->direction == search->direction);
    else if (parent->base)
        model_must(model, commit);
    else if (!merge->key && child->children > 0)
        model_must(model, !commit);
    else
        model_must(model, commit == (down <= up));
    if (parent->base)
        model_must(model, commit);
}

void model_check_choice(const struct model *model, const json_t *state,
                        const struct merge_search *search, const char *key,
                        const struct merge *merge)
{
    struct layer_map map;
    const struct layer_row *parent;

    map_make(&map, model, state);
    parent = &map.row[model_number(merge->parent)];
    model_must(model, !parent->foreign && parent->names == 0);
    model_must(model, parent->children == 1 || parent->copied);
    model_must(model, !json_object_get(search->skip, merge->parent));
    merge_check_place(model, &map, key, merge);
    merge_check_direction(model, &map, search, merge);
}

/* Nothing reads the target's file as it was, unless its holes are filled with what they read. */
static void merge_check_target(const struct model *model, const struct layer_map *map,
                               const struct merge *merge)
{
    const struct layer_row *target = &map->row[model_number(merge_target(merge))];

    model_must(model, target->there && !target->foreign);
    model_must(model, target->print < 0);
    if (merge->direction == MERGE_COMMIT)
        model_must(model, target->kept == 0 && !target->copied);
    if (!merge->key)
        model_must(model, !target->running);
}

void model_move(struct model *model, const struct layer_map *map, const struct merge *merge,
                bool half)
{
    int from = model_number(merge_emptied(merge)), to = model_number(merge_target(merge));
    bool commit = merge->direction == MERGE_COMMIT, odd = false;
    json_int_t moved = 0;

    if (!merge->key && map->row[model_number(merge->parent)].copied)
        return;     /* that no block is missing is seen when the header has changed */
    for (size_t b = 0; b < MODEL_BLOCKS; b++) {
        if (model->file[from][b] == MODEL_HOLE || (!commit && model->file[to][b] != MODEL_HOLE))
            continue;
        odd = !odd;
        if (half && !odd)
            continue;
        if (moved++ == 0)
            merge_check_target(model, map, merge);
        model_put(model, to, b, model->file[from][b]);
        check_block(model, map, b);
    }
    model_must(model, moved <= merge->bytes);
}

void model_turn(struct model *model, const struct layer_map *map, const struct merge *merge)
{
    int parent = model_number(merge->parent), child = model_number(merge->child);

    if (merge->direction == MERGE_STREAM)
        model_point(model, child, model->header[parent]);
    else if (merge->above)
        model_point(model, model_number(merge->above), parent);
    check_reads(model, map);
}
