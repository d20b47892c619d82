/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <string.h>

#include "policy/state.h"
#include "tests/sim/sim_check_internal.h"
#include "tests/sim/sim_fail.h"
#include "tests/sim/sim_proxy.h"

/* new: what the disk of the VM holds. */
static json_t *moment_content(const struct sim_disk *disk)
{
    struct sim_node *node = sim_node_image(disk->root);
    struct sim_image *image = node ? sim_image_find(node->path) : NULL;

    return image ? sim_image_content(image) : json_array();
}

/* new: the names of the snapshots that are whole. */
static json_t *moment_names(void)
{
    json_t *names = json_array(), *snapshot;
    size_t i;

    json_array_foreach(json_object_get(sim_record(), "snapshots"), i, snapshot)
        if (!json_object_get(snapshot, "deleting"))
            json_array_append(names, json_object_get(snapshot, "name"));
    return names;
}

void sim_moment_take(struct sim_moment *moment)
{
    const struct sim_qemu *qemu = sim_main();

    sim_fail_check(qemu != NULL, "a moment without a QEMU");
    moment->disks = json_object();
    for (size_t i = 0; i < qemu->n_disks; i++)
        json_object_set_new(moment->disks, qemu->disks[i].qdev, moment_content(&qemu->disks[i]));
    moment->memory = json_deep_copy(qemu->memory);
    moment->loaded = json_integer_value(json_object_get(qemu->loaded, "serial"));
    moment->names = moment_names();
    moment->serial = sim_guest_serial();
    snprintf(moment->status, sizeof(moment->status), "%s", qemu->status);
}

void sim_moment_clear(struct sim_moment *moment)
{
    json_decref(moment->disks);
    json_decref(moment->memory);
    json_decref(moment->names);
    memset(moment, 0, sizeof(*moment));
}

bool sim_check_disks_of(const struct sim_moment *moment)
{
    const struct sim_qemu *qemu = sim_main();
    bool same = true;

    for (size_t i = 0; i < qemu->n_disks; i++) {
        json_t *content = moment_content(&qemu->disks[i]);

        same = same && sim_content_goes_on(content, json_object_get(moment->disks, qemu->disks[i].qdev),
                                           moment->serial);
        json_decref(content);
    }
    return same;
}

bool sim_check_disks_as(const struct sim_moment *moment, const char *snapshot)
{
    const char *key;
    json_t *disk;
    bool same = true;

    json_object_foreach(json_object_get(sim_record(), "disks"), key, disk) {
        const struct sim_disk *device = sim_disk_of(key);
        const json_t *then = sim_model_content(snapshot, key);
        json_t *content = device ? moment_content(device) : NULL;

        /* A disk that the snapshot does not cover is what it was. */
        if (device && !then)
            then = json_object_get(moment->disks, device->qdev);
        same = same && device && sim_content_goes_on(content, then, moment->serial);
        json_decref(content);
    }
    return same;
}

/* Numbers only grow: what the guest is now, it was then or has become since. */
void sim_check_guest_of(const struct sim_moment *moment)
{
    const struct sim_qemu *qemu = sim_main();
    json_int_t loaded = json_integer_value(json_object_get(qemu->loaded, "serial"));
    json_int_t serial = json_integer_value(json_object_get(qemu->memory, "serial"));
    json_int_t before = json_integer_value(json_object_get(moment->memory, "serial"));

    if (moment->memory ? serial < before : qemu->memory && serial <= moment->serial)
        sim_fail("the guest is at %" JSON_INTEGER_FORMAT ", and was at %" JSON_INTEGER_FORMAT, serial,
                 before);
    if (loaded != moment->loaded && loaded < before)
        sim_fail("the guest has another memory (%" JSON_INTEGER_FORMAT ")", loaded);
    if (strcmp(moment->status, "running") == 0 && !json_equal(sim_guest_present(), qemu->memory))
        sim_fail("the guest is not what it was when it last ran");
}

void sim_check_guest_as(const struct sim_moment *moment, const char *snapshot, const char *target)
{
    const struct sim_qemu *qemu = sim_main();
    const json_t *then = sim_check_memory(snapshot);
    bool boots = !then || strcmp(target, "prelaunch") == 0;
    json_int_t loaded = json_integer_value(json_object_get(qemu->loaded, "serial"));

    if (boots ? qemu->loaded && loaded <= moment->serial
              : loaded != json_integer_value(json_object_get(then, "serial")))
        sim_fail("the guest does not go on from %s (%" JSON_INTEGER_FORMAT ")", snapshot, loaded);
}

bool sim_check_names(const json_t *names)
{
    json_t *now = moment_names();
    bool same = json_equal(now, names);

    json_decref(now);
    return same;
}
