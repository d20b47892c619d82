/* SPDX-License-Identifier: GPL-2.0-or-later */
/* graph: answers that must be refused: incomplete, contradictory, cyclic, too deep. */
#include "tests/unit/graph_data.h"

static void assert_refused(const json_t *answers, const char *word)
{
    struct err err = ERR_INIT;
    struct graph *graph = graph_data_build(answers, &err);

    if (graph)
        fail_msg("accepted, wanted \"%s\"", word);
    assert_string_equal(err.reason, "unexpected-answer");
    if (!strstr(err.desc, word))
        fail_msg("\"%s\" is not in \"%s\"", word, err.desc);
    err_clear(&err);
}

static void each_missing_member_is_refused(void **state)
{
    static const struct { const char *list, *sub, *key; } row[] = {
        { "nodes", NULL, "node-name" }, { "nodes", NULL, "drv" }, { "nodes", NULL, "file" },
        { "nodes", NULL, "ro" }, { "nodes", NULL, "image" }, { "nodes", "image", "virtual-size" },
        { "blocks", NULL, "device" }, { "blocks", NULL, "removable" },
        { "blocks", "inserted", "ro" }, { "blocks", "inserted", "node-name" },
        { "graph/nodes", NULL, "id" }, { "graph/nodes", NULL, "type" },
        { "graph/nodes", NULL, "name" }, { "graph/edges", NULL, "parent" },
        { "graph/edges", NULL, "child" }, { "graph/edges", NULL, "name" },
        { "graph", NULL, "nodes" }, { "graph", NULL, "edges" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        for (int wrong_type = 0; wrong_type < 2; wrong_type++) {
            json_t *answers = graph_data_load("drive", "7.2"), *at = answers;
            char list[32], *part = list;

            snprintf(list, sizeof(list), "%s", row[i].list);
            while (part)
                at = json_object_get(at, strsep(&part, "/"));
            if (json_is_array(at))
                at = json_array_get(at, 1);
            if (row[i].sub)
                at = json_object_get(at, row[i].sub);
            assert_non_null(json_object_get(at, row[i].key));
            if (wrong_type)
                json_object_set_new(at, row[i].key, json_null());
            else
                json_object_del(at, row[i].key);
            assert_refused(answers, row[i].key);
            json_decref(answers);
        }
    }
}

static json_t *node_make(const char *name, const char *driver)
{
    return json_pack("{s:s, s:s, s:s, s:b, s:{s:i}, s:[]}", "node-name", name, "drv", driver,
                     "file", "/images/x", "ro", 0, "image", "virtual-size", 512, "children");
}

static void child_make(json_t *nodes, size_t parent, const char *role, const char *child)
{
    json_array_append_new(json_object_get(json_array_get(nodes, parent), "children"),
                          json_pack("{s:s, s:s}", "child", role, "node-name", child));
}

/* A backing chain of count images without protocol nodes; the device sits on n0. */
static json_t *chain_make(int count)
{
    json_t *nodes = json_array();
    char name[32];

    for (int i = 0; i < count; i++) {
        snprintf(name, sizeof(name), "n%d", i);
        json_array_append_new(nodes, node_make(name, "qcow2"));
        snprintf(name, sizeof(name), "n%d", i + 1);
        if (i + 1 < count)
            child_make(nodes, (size_t)i, "backing", name);
    }
    return json_pack("{s:o, s:[{s:s, s:b, s:{s:b, s:s}}]}", "nodes", nodes, "blocks", "device", "d",
                     "removable", 0, "inserted", "ro", 0, "node-name", "n0");
}

static void depth_is_bounded(void **state)
{
    json_t *answers = chain_make(GRAPH_DEPTH_MAX);
    struct err err = ERR_INIT;
    struct graph *graph = graph_data_build(answers, &err);

    (void)state;
    assert_non_null(graph);
    assert_int_equal(graph->disks[0].n_chain, GRAPH_DEPTH_MAX);
    graph_free(graph);
    json_decref(answers);
    answers = chain_make(GRAPH_DEPTH_MAX + 1);
    assert_refused(answers, "deep");
    json_decref(answers);
    answers = chain_make(50000);
    assert_refused(answers, "deep");
    /* the other way round, so that each node is measured from a short distance */
    json_array_clear(json_object_get(answers, "nodes"));
    for (int i = 0; i < 5000; i++) {
        char name[32], below[32];

        snprintf(name, sizeof(name), "n%d", i);
        snprintf(below, sizeof(below), "n%d", i - 1);
        json_array_append_new(json_object_get(answers, "nodes"), node_make(name, "qcow2"));
        if (i > 0)
            child_make(json_object_get(answers, "nodes"), (size_t)i, "backing", below);
    }
    assert_refused(answers, "deep");
    json_decref(answers);
}

static void cycles_and_doubles_are_refused(void **state)
{
    json_t *answers = chain_make(3), *nodes = json_object_get(answers, "nodes");

    (void)state;
    child_make(nodes, 2, "backing", "n0");
    assert_refused(answers, "cycle");
    json_decref(answers);
    answers = chain_make(3);
    nodes = json_object_get(answers, "nodes");
    child_make(nodes, 0, "other", "n0");
    assert_refused(answers, "cycle");
    json_decref(answers);
    answers = chain_make(3);
    nodes = json_object_get(answers, "nodes");
    child_make(nodes, 0, "backing", "n2");
    assert_refused(answers, "two children");
    json_array_append_new(nodes, node_make("n1", "raw"));
    assert_refused(answers, "twice");
    json_decref(answers);
    answers = chain_make(1);
    json_array_append(json_object_get(answers, "blocks"),
                      json_array_get(json_object_get(answers, "blocks"), 0));
    assert_refused(answers, "twice");
    json_decref(answers);
}

static void filter_with_nothing_below_is_refused(void **state)
{
    json_t *answers = chain_make(1);

    (void)state;
    json_object_set_new(json_array_get(json_object_get(answers, "nodes"), 0), "drv",
                        json_string("throttle"));
    assert_refused(answers, "nothing below");
    json_decref(answers);
}

static void answers_that_contradict_each_other_are_refused(void **state)
{
    json_t *later = graph_data_load("overlay", "7.2"), *answers;
    const char *const part[] = { "nodes", "blocks", "graph" };

    (void)state;
    for (int i = 0; i < 3; i++) {
        answers = graph_data_load("blockdev", "7.2");
        json_object_set(answers, part[i], json_object_get(later, part[i]));
        if (i == 1)
            assert_refused(answers, "node \"o1\"");     /* query-block is one snapshot ahead */
        else
            assert_refused(answers, "");
        json_object_set_new(answers, part[i], json_string("x"));
        assert_refused(answers, "type");
        json_decref(answers);
    }
    answers = graph_data_load("blockdev", "7.2");
    json_object_del(answers, "graph");
    assert_refused(answers, "hang together");
    json_decref(answers);
    json_decref(later);
}

/* One node twice and another not at all: the number of nodes alone would not tell. */
static void debug_graph_with_one_name_twice_is_refused(void **state)
{
    json_t *answers = graph_data_load("blockdev", "7.2");
    json_t *nodes = json_object_get(json_object_get(answers, "graph"), "nodes");

    (void)state;
    json_object_set(json_array_get(nodes, 0), "name",
                    json_object_get(json_array_get(nodes, 1), "name"));
    assert_refused(answers, "agree");
    json_decref(answers);
}

/* The disk's backend and query-block name different nodes; an edge leads to a backend. */
static void debug_graph_with_a_wrong_edge_is_refused(void **state)
{
    static const struct { const char *parent, *child, *word; } row[] = {
        { "/machine/peripheral/vd2/virtio-backend", "r1", "about the disk" },
        { "t0", "/machine/peripheral/vd2/virtio-backend", "no node" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        json_t *answers = graph_data_load("blockdev", "10.0"), *node, *edge;
        json_t *debug = json_object_get(answers, "graph"), *parent = NULL, *child = NULL;
        size_t k, changed = 0;

        json_array_foreach(json_object_get(debug, "nodes"), k, node) {
            const char *name = json_string_value(json_object_get(node, "name"));

            if (!strcmp(name, row[i].parent))
                parent = json_object_get(node, "id");
            if (!strcmp(name, row[i].child))
                child = json_object_get(node, "id");
        }
        json_array_foreach(json_object_get(debug, "edges"), k, edge) {
            if (json_equal(json_object_get(edge, "parent"), parent)) {
                json_object_set(edge, "child", child);
                changed++;
            }
        }
        assert_int_equal(changed, 1);
        assert_refused(answers, row[i].word);
        json_decref(answers);
    }
}

static unsigned random_next(unsigned *seed)
{
    *seed = *seed * 1103515245u + 12345u;
    return *seed >> 8;
}

/* Walks down from value at random, and replaces or removes what it comes to. */
static void mutate(json_t *value, unsigned *seed)
{
    static const char *const text[] = { "", "q0", "o1", "throttle", "backing", "block-job" };
    unsigned dice = random_next(seed);
    json_t *child = NULL, *other;
    const char *key = NULL;
    size_t at = 0;

    if (json_is_array(value) && json_array_size(value) > 0) {
        at = dice % json_array_size(value);
        child = json_array_get(value, at);
    } else if (json_object_size(value) > 0) {
        void *iter = json_object_iter(value);

        for (unsigned skip = dice % (unsigned)json_object_size(value); skip > 0; skip--)
            iter = json_object_iter_next(value, iter);
        key = json_object_iter_key(iter);
        child = json_object_iter_value(iter);
    }
    if (!child)
        return;
    if ((json_is_array(child) || json_is_object(child)) && random_next(seed) % 8 > 0) {
        mutate(child, seed);
        return;
    }
    dice = random_next(seed);
    other = dice % 4 == 0 ? json_integer(dice % 25) : dice % 4 == 1 ? json_null()
        : dice % 4 == 2 ? json_object() : json_string(text[dice / 4 % 6]);
    if (key)
        json_object_set_new(value, key, other);
    else
        json_array_set_new(value, at, other);
}

/* Whatever comes: either a reason, or a graph that can be walked and freed. */
static void mutated_answers_keep_the_rules(void **state)
{
    size_t accepted = 0, refused = 0;
    unsigned seed = 7;

    (void)state;
    for (int round = 0; round < 3000; round++) {
        static const char *const name[] = { "drive", "blockdev", "overlay", "job" };
        json_t *answers = graph_data_load(name[round % 4], round % 8 < 4 ? "7.2" : "10.0");
        struct err err = ERR_INIT;
        struct graph *graph;

        for (int change = 0; change <= round % 3; change++)
            mutate(answers, &seed);
        graph = graph_data_build(answers, &err);
        assert_int_equal(err.set, graph == NULL);
        if (!graph) {
            refused++;
            assert_string_equal(err.reason, "unexpected-answer");
            err_clear(&err);
        } else {
            accepted++;
            for (size_t i = 0; i < graph->n_disks; i++) {
                const struct graph_disk *disk = &graph->disks[i];

                assert_int_equal(disk->inserted, disk->n_chain > 0);
                if (disk->inserted)
                    assert_int_equal(graph_chain_index(disk, disk->active->name), 0);
            }
            graph_free(graph);
        }
        json_decref(answers);
    }
    assert_true(accepted > 300 && refused > 300);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_missing_member_is_refused),
        cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(cycles_and_doubles_are_refused),
        cmocka_unit_test(filter_with_nothing_below_is_refused),
        cmocka_unit_test(answers_that_contradict_each_other_are_refused),
        cmocka_unit_test(debug_graph_with_one_name_twice_is_refused),
        cmocka_unit_test(debug_graph_with_a_wrong_edge_is_refused),
        cmocka_unit_test(mutated_answers_keep_the_rules),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
