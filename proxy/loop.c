/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "proxy/loop.h"

#include <stdlib.h>

#include "qmp/alloc.h"

struct event_base *loop_new(void)
{
    struct event_config *config;
    struct event_base *base;

    event_set_mem_functions(alloc_bytes, alloc_again, free);
    config = event_config_new();
    event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER);
    base = event_base_new_with_config(config);
    event_config_free(config);
    if (!base)
        abort(); /* no descriptors: nothing can be served */
    return base;
}
