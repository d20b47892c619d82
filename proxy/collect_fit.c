/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "proxy/collect_fit.h"

#include "policy/state.h"

void collect_fit(struct world *world, json_t *const *answers)
{
    json_t *all = json_object();

    for (size_t i = 0; i < FIT_QUERIES; i++)
        json_object_set(all, fit_queries[i].as, answers[i]);
    world->memory_size = json_incref(json_object_get(all, "memory"));
    world->fit = fit_read(all);
    for (size_t i = 0; i < 2; i++)
        world->version[i] = (int)json_integer_value(
            json_array_get(json_object_get(world->fit, "qemu"), i));
    json_decref(all);
}

void collect_fit_ask(const struct world *world, const json_t *snapshot, json_t *arguments)
{
    json_t *file = json_array_get(json_object_get(snapshot, "args"), 0);
    /* The version that has saved has the machine that was saved. */
    bool machines = !json_equal(json_object_get(snapshot, "qemu"),
                                json_object_get(world->fit, "qemu"));

    if (file)
        json_object_set_new(arguments, "program",
                            json_pack("{s:O, s:O*, s:b}", "file", file, "pid",
                                      json_object_get(arguments, "pid"), "machines", machines));
}

void collect_fit_program(struct world *world, const json_t *found)
{
    if (!found)
        return;
    world->program = fit_read_program(state_str(found, "version"), state_str(found, "machines"));
    if (!json_is_true(json_object_get(found, "same")))
        return;
    json_object_set(world->program, "qemu", json_object_get(world->fit, "qemu"));
    json_object_set(world->program, "package", json_object_get(world->fit, "package"));
}
