/* SPDX-License-Identifier: GPL-2.0-or-later */
/* graph: what is read from the real answers of QEMU 7.2 and 10.0 (tests/data/graph). */
#include "tests/unit/graph_data.h"

static const char *const version[] = { "7.2", "10.0" };

static struct graph *graph_load(const char *name, const char *qemu)
{
    json_t *answers = graph_data_load(name, qemu);
    struct err err = ERR_INIT;
    struct graph *graph = graph_data_build(answers, &err);

    json_decref(answers);
    if (!graph)
        fail_msg("%s-%s: %s", name, qemu, err.desc);
    assert_false(err.set);
    return graph;
}

static void assert_link(const struct graph_disk *disk, size_t i, const char *driver,
                        const char *file)
{
    assert_true(i < disk->n_chain);
    assert_string_equal(disk->chain[i].image->driver, driver);
    assert_string_equal(disk->chain[i].file, file);
    assert_string_equal(disk->chain[i].protocol_driver, "file");
    assert_true(disk->chain[i].direct);
}

static void check_drives(const struct graph *graph)
{
    const struct graph_disk *disk = graph_disk_by_device(graph, "virtio0");

    assert_int_equal(graph->n_disks, 5);
    assert_non_null(disk);
    assert_true(disk->inserted && disk->writable && !disk->removable && !disk->filtered);
    assert_int_equal(disk->n_chain, 2);
    assert_link(disk, 0, "qcow2", "/images/a.qcow2");
    assert_link(disk, 1, "qcow2", "/images/base.qcow2");
    assert_string_equal(disk->active->backing, "/images/base.qcow2");
    assert_string_equal(disk->active->backing_format, "qcow2");
    assert_int_equal(disk->active->virtual_size, 64 << 20);
    assert_false(disk->active->read_only);
    assert_true(disk->chain[1].image->read_only);
    assert_null(disk->chain[1].image->backing);
    assert_int_equal(disk->chain[1].image->parents, 1);

    disk = graph_disk_by_device(graph, "pflash0");
    assert_true(disk && disk->writable);
    assert_link(disk, 0, "raw", "/images/flash.raw");
    disk = graph_disk_by_device(graph, "data");
    assert_ptr_equal(disk, graph_disk_by_qdev(graph, "hdb"));
    assert_link(disk, 0, "raw", "/images/b.raw");
    disk = graph_disk_by_device(graph, "ide1-cd0");
    assert_true(disk && disk->removable && !disk->inserted && !disk->writable);
    assert_null(disk->root);
    assert_int_equal(disk->n_chain, 0);
    disk = graph_disk_by_device(graph, "split");
    assert_true(disk && disk->inserted && !disk->writable);
    assert_string_equal(graph_child_find(disk->active, "data-file")->file, "/images/data.raw");
}

static void drives_of_the_command_line_are_found(void **state)
{
    (void)state;
    for (int v = 0; v < 2; v++) {
        struct graph *graph = graph_load("drive", version[v]);

        check_drives(graph);
        graph_free(graph);
    }
}

static void disk_below_a_throttle_filter_is_found(void **state)
{
    (void)state;
    for (int v = 0; v < 2; v++) {
        struct graph *graph = graph_load("blockdev", version[v]);
        const struct graph_disk *disk = graph_disk_by_qdev(graph, "vd0");

        assert_non_null(disk);
        assert_string_equal(disk->device, "");
        assert_string_equal(disk->root->name, "t0");
        assert_true(disk->root->filter && disk->filtered);
        assert_string_equal(disk->active->name, "q0");
        assert_int_equal(disk->n_chain, 2);
        assert_true(disk->chain[0].filtered && !disk->chain[1].filtered);
        assert_link(disk, 0, "qcow2", "/images/a.qcow2");
        assert_string_equal(disk->chain[0].protocol->name, "f0");
        assert_ptr_equal(graph_disk_by_node(graph, "t0"), disk);
        assert_ptr_equal(graph_disk_by_node(graph, "q0"), disk);
        assert_null(graph_disk_by_node(graph, "f0"));
        assert_ptr_equal(graph_disk_by_qdev(graph, "/machine/peripheral/vd0"), disk);
        assert_ptr_equal(graph_disk_by_qdev(graph, "/machine/peripheral/vd0/virtio-backend"), disk);
        assert_null(graph_disk_by_qdev(graph, "vd"));
        assert_null(graph_disk_by_qdev(graph, ""));
        assert_null(graph_disk_by_device(graph, ""));
        graph_free(graph);
    }
}

/* The same answers, of a blkdebug instead of the throttle. */
static json_t *blkdebug_load(const char *qemu)
{
    json_t *answers = graph_data_load("blockdev", qemu), *entry, *id = NULL;
    size_t i;

    json_array_foreach(json_object_get(answers, "nodes"), i, entry)
        if (strcmp(json_string_value(json_object_get(entry, "node-name")), "t0") == 0)
            json_object_set_new(entry, "drv", json_string("blkdebug"));
    json_array_foreach(json_object_get(json_object_get(answers, "graph"), "nodes"), i, entry)
        if (strcmp(json_string_value(json_object_get(entry, "name")), "t0") == 0)
            id = json_object_get(entry, "id");
    assert_non_null(id);
    json_array_foreach(json_object_get(json_object_get(answers, "graph"), "edges"), i, entry)
        if (json_equal(json_object_get(entry, "parent"), id))
            json_object_set_new(entry, "name", json_string("image"));
    return answers;
}

static void image_below_a_blkdebug_filter_is_found(void **state)
{
    (void)state;
    for (int v = 0; v < 2; v++) {
        json_t *answers = blkdebug_load(version[v]);
        struct err err = ERR_INIT;
        struct graph *graph = graph_data_build(answers, &err);

        if (!graph)
            fail_msg("%s", err.desc);
        assert_string_equal(graph_disk_by_qdev(graph, "vd0")->active->name, "q0");
        assert_true(graph_disk_by_qdev(graph, "vd0")->filtered);
        graph_free(graph);
        json_decref(answers);
    }
}

static void device_on_a_bare_file_is_its_own_image(void **state)
{
    (void)state;
    for (int v = 0; v < 2; v++) {
        struct graph *graph = graph_load("blockdev", version[v]);
        const struct graph_disk *disk = graph_disk_by_qdev(graph, "vd2");

        assert_int_equal(disk->n_chain, 1);
        assert_ptr_equal(disk->chain[0].image, disk->chain[0].protocol);
        assert_true(disk->chain[0].direct);
        assert_string_equal(disk->chain[0].file, "/images/flash.raw");
        assert_true(graph_disk_by_qdev(graph, "cd0")->removable);
        graph_free(graph);
    }
}

static void overlays_stand_on_top_after_blockdev_snapshot(void **state)
{
    (void)state;
    for (int v = 0; v < 2; v++) {
        struct graph *graph = graph_load("overlay", version[v]);
        const struct graph_disk *disk = graph_disk_by_qdev(graph, "vd0");

        assert_string_equal(disk->root->name, "t0");
        assert_string_equal(disk->active->name, "o0");
        assert_int_equal(disk->n_chain, 3);
        assert_int_equal(graph_chain_index(disk, "q0"), 1);
        assert_int_equal(graph_chain_index(disk, "f0"), -1);
        disk = graph_disk_by_qdev(graph, "sd0");
        assert_string_equal(disk->root->name, "o1");
        assert_int_equal(disk->n_chain, 2);
        assert_link(disk, 0, "qcow2", "/images/o1.qcow2");
        assert_link(disk, 1, "raw", "/images/b.raw");
        assert_false(disk->active->in_job);
        graph_free(graph);
    }
}

static void implicit_filter_of_a_job_shows_in_the_chain(void **state)
{
    (void)state;
    for (int v = 0; v < 2; v++) {
        struct graph *graph = graph_load("job", version[v]);
        const struct graph_disk *disk = graph_disk_by_qdev(graph, "sd0");

        assert_int_equal(disk->n_chain, 3);
        assert_false(disk->chain[0].filtered);
        assert_true(disk->chain[1].filtered);
        assert_string_equal(disk->chain[1].image->name, "o1");
        assert_string_equal(graph_child_find(disk->active, "backing")->driver, "commit_top");
        for (int i = 0; i < 3; i++)
            assert_true(disk->chain[i].image->in_job);
        assert_false(graph_node_find(graph, "q0")->in_job);
        graph_free(graph);
    }
}

/* A ready active commit of d0, whose filter query-block hides, and a backup of d1, whose filter it
 * shows. */
static void hidden_filter_on_top_of_a_disk_is_found(void **state)
{
    (void)state;
    for (int v = 0; v < 2; v++) {
        struct graph *graph = graph_load("ready", version[v]);
        const struct graph_disk *disk = graph_disk_by_device(graph, "d0");

        assert_string_equal(disk->root->driver, "qcow2");
        assert_string_equal(disk->top->driver, "mirror_top");
        assert_ptr_equal(disk->active, disk->root);
        assert_true(disk->filtered);
        assert_int_equal(disk->n_chain, 2);
        assert_ptr_equal(graph_disk_by_node(graph, disk->top->name), disk);
        disk = graph_disk_by_device(graph, "d1");
        assert_string_equal(disk->root->driver, "copy-before-write");
        assert_ptr_equal(disk->top, disk->root);
        assert_true(disk->filtered);
        assert_link(disk, 0, "raw", "/images/b.raw");
        assert_int_equal(disk->n_chain, 1);
        graph_free(graph);
    }
}

/* Moves the edges into children[] of the nodes, as QEMU 10.1 and later answer. */
static void edges_to_children(json_t *answers)
{
    json_t *debug = json_object_get(answers, "graph"), *nodes = json_object_get(answers, "nodes");
    json_t *names = json_object(), *edge, *node;
    char key[2][32];
    size_t i, k;

    json_array_foreach(json_object_get(debug, "nodes"), i, node) {
        const char *type = json_string_value(json_object_get(node, "type"));

        snprintf(key[0], sizeof(key[0]), "%d",
                 (int)json_integer_value(json_object_get(node, "id")));
        if (!strcmp(type, "block-driver"))
            json_object_set(names, key[0], json_object_get(node, "name"));
    }
    json_array_foreach(nodes, k, node)
        json_object_set_new(node, "children", json_array());
    json_array_foreach(json_object_get(debug, "edges"), i, edge) {
        const char *end[] = { "parent", "child" };
        json_t *found[2];

        for (int e = 0; e < 2; e++) {
            snprintf(key[e], sizeof(key[e]), "%d",
                     (int)json_integer_value(json_object_get(edge, end[e])));
            found[e] = json_object_get(names, key[e]);
        }
        json_array_foreach(nodes, k, node) {
            if (found[0] && json_equal(json_object_get(node, "node-name"), found[0]))
                json_array_append_new(json_object_get(node, "children"),
                                      json_pack("{s:O, s:O}", "child",
                                                json_object_get(edge, "name"),
                                                "node-name", found[1]));
        }
    }
    json_decref(names);
}

static void children_members_replace_the_debug_graph(void **state)
{
    json_t *answers = graph_data_load("drive", "10.0"), *name;
    struct err err = ERR_INIT;
    struct graph *graph;

    (void)state;
    edges_to_children(answers);
    graph = graph_data_build(answers, &err);      /* both: the children count once */
    assert_non_null(graph);
    check_drives(graph);
    graph_free(graph);
    json_object_del(answers, "graph");
    graph = graph_data_build(answers, &err);
    if (!graph)
        fail_msg("%s", err.desc);
    check_drives(graph);
    graph_free(graph);
    name = json_object_get(json_array_get(json_object_get(json_array_get(
        json_object_get(answers, "nodes"), 1), "children"), 0), "node-name");
    assert_int_equal(json_string_set(name, "nobody"), 0);
    assert_null(graph_data_build(answers, &err));
    assert_string_equal(err.reason, "unexpected-answer");
    err_clear(&err);
    json_decref(answers);
}

/* Two disks of one device on one node, whose file lies below a filter. */
static json_t *shared_make(void)
{
    const char *node = "{s:s, s:s, s:s, s:b, s:{s:i}, s:o}";
    const char *disk = "{s:s, s:s, s:b, s:{s:b, s:s}}";
    json_t *nodes = json_array(), *blocks = json_array();

    json_array_append_new(nodes, json_pack(node, "node-name", "n", "drv", "raw", "file", "x", "ro",
        0, "image", "virtual-size", 1, "children",
        json_pack("[{s:s, s:s}]", "child", "file", "node-name", "t")));
    json_array_append_new(nodes, json_pack(node, "node-name", "t", "drv", "throttle", "file", "x",
        "ro", 0, "image", "virtual-size", 1, "children",
        json_pack("[{s:s, s:s}]", "child", "file", "node-name", "f")));
    json_array_append_new(nodes, json_pack(node, "node-name", "f", "drv", "file", "file", "/x",
        "ro", 0, "image", "virtual-size", 1, "children", json_array()));
    for (int i = 0; i < 2; i++)
        json_array_append_new(blocks, json_pack(disk, "device", i ? "b" : "a", "qdev", "q",
            "removable", 0, "inserted", "ro", 0, "node-name", "n"));
    return json_pack("{s:o, s:o}", "nodes", nodes, "blocks", blocks);
}

static void look_ups_that_fit_two_disks_find_none(void **state)
{
    json_t *answers = shared_make();
    struct err err = ERR_INIT;
    struct graph *graph = graph_data_build(answers, &err);

    (void)state;
    assert_non_null(graph);
    assert_null(graph_disk_by_qdev(graph, "q"));
    assert_null(graph_disk_by_node(graph, "n"));
    assert_ptr_equal(graph_disk_by_device(graph, "b"), &graph->disks[1]);
    /* the protocol is found below the filter, but not directly */
    assert_string_equal(graph->disks[0].chain[0].file, "/x");
    assert_false(graph->disks[0].chain[0].direct || graph->disks[0].chain[0].filtered);
    graph_free(graph);
    json_decref(answers);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(drives_of_the_command_line_are_found),
        cmocka_unit_test(disk_below_a_throttle_filter_is_found),
        cmocka_unit_test(image_below_a_blkdebug_filter_is_found),
        cmocka_unit_test(device_on_a_bare_file_is_its_own_image),
        cmocka_unit_test(overlays_stand_on_top_after_blockdev_snapshot),
        cmocka_unit_test(implicit_filter_of_a_job_shows_in_the_chain),
        cmocka_unit_test(hidden_filter_on_top_of_a_disk_is_found),
        cmocka_unit_test(look_ups_that_fit_two_disks_find_none),
        cmocka_unit_test(children_members_replace_the_debug_graph),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
