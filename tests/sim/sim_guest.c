/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <stdio.h>
#include <string.h>

#include "policy/state.h"
#include "tests/sim/sim_fail.h"
#include "tests/sim/sim_qemu.h"

static struct {
    long serial;                /* the greatest that was written */
    json_t *present;
    json_t *frozen;             /* path -> content */
} guest;

void sim_guest_reset(void)
{
    json_decref(guest.present);
    json_decref(guest.frozen);
    guest.present = NULL;
    guest.frozen = json_object();
    guest.serial = 100;
}

long sim_guest_serial(void)
{
    return guest.serial;
}

const json_t *sim_guest_present(void)
{
    return guest.present;
}

void sim_guest_freeze(const char *path)
{
    struct sim_image *image = sim_image_find(path);

    if (image)
        json_object_set_new(guest.frozen, path, sim_image_content(image));
}

const json_t *sim_guest_frozen(const char *path)
{
    return json_object_get(guest.frozen, path);
}

static struct sim_image *guest_image(const struct sim_disk *disk)
{
    struct sim_node *node = sim_node_image(disk->root);

    return node && !disk->read_only ? sim_image_find(node->path) : NULL;
}

static void guest_keep(const struct sim_qemu *qemu)
{
    json_decref(guest.present);
    guest.present = json_deep_copy(qemu->memory);
}

/* It has booted from what is on its disks. */
static void guest_boot(struct sim_qemu *qemu)
{
    json_t *disks = json_object();

    for (size_t i = 0; i < qemu->n_disks; i++)
        if (guest_image(&qemu->disks[i]))
            json_object_set_new(disks, qemu->disks[i].qdev,
                                json_integer(sim_image_read(guest_image(&qemu->disks[i]), 0)));
    qemu->memory = json_pack("{s:I, s:o}", "serial", (json_int_t)++guest.serial, "disks", disks);
    json_decref(qemu->loaded);
    qemu->loaded = json_deep_copy(qemu->memory);
}

void sim_guest_load(struct sim_qemu *qemu, const json_t *memory)
{
    json_decref(qemu->memory);
    json_decref(qemu->loaded);
    qemu->memory = json_deep_copy(memory);
    qemu->loaded = json_deep_copy(memory);
    qemu->given = true;
}

void sim_guest_run(struct sim_qemu *qemu)
{
    json_t *disks = json_object_get(qemu->memory, "disks");

    if (strcmp(qemu->status, "running") != 0)
        return;
    guest.serial++;
    for (size_t i = 0; i < qemu->n_disks; i++) {
        struct sim_image *image = guest_image(&qemu->disks[i]);

        if (!image)
            continue;
        sim_image_write(image, 0, guest.serial);
        if ((size_t)guest.serial % qemu->n_disks == i)
            sim_image_write(image, 1 + (unsigned)(guest.serial / 3) % (SIM_BLOCKS - 1), guest.serial);
        json_object_set_new(disks, qemu->disks[i].qdev, json_integer(guest.serial));
    }
    json_object_set_new(qemu->memory, "serial", json_integer(guest.serial));
    guest_keep(qemu);
}

void sim_guest_go_on(struct sim_qemu *qemu)
{
    const json_t *disks;

    if (!qemu->memory)
        guest_boot(qemu);
    disks = json_object_get(qemu->memory, "disks");
    for (size_t i = 0; i < qemu->n_disks; i++) {
        struct sim_image *image = guest_image(&qemu->disks[i]);
        const json_t *number = json_object_get(disks, qemu->disks[i].qdev);

        if (image && number && json_integer_value(number) != sim_image_read(image, 0))
            sim_fail("torn: the guest goes on with %s at %ld, and its memory says %" JSON_INTEGER_FORMAT,
                     qemu->disks[i].qdev, sim_image_read(image, 0), json_integer_value(number));
    }
    guest_keep(qemu);
}
