/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A revert by replace that was interrupted between its two QEMUs: is the guest brought back as it stopped? */
#include "proxy/recover.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "policy/planner.h"
#include "policy/planner_steps.h"
#include "policy/reason.h"
#include "policy/state.h"
#include "proxy/collect.h"
#include "proxy/deeds.h"
#include "proxy/log.h"
#include "proxy/operation.h"

/* Does that say that what was kept is of no use, rather than that it could not be looked at? */
static bool recover_is_stale(const struct err *why, const char *file)
{
    return strcmp(why->reason, REASON_IMAGE_CHANGED) == 0 ||
           strcmp(why->reason, REASON_MEMORY_CHANGED) == 0 ||
           (access(file, F_OK) < 0 && errno == ENOENT); /* where no journal could be written it was dropped so */
}

/* Is what was kept whole, and still the present state?  Else the VM starts as after a power cut.  False with err:
 * that cannot be told yet, as where a file system is not mounted. */
static bool recover_is_whole(const json_t *present, bool *whole, struct err *err)
{
    const json_t *memory = json_object_get(present, "memory");
    const char *file = state_str(memory, "file");
    json_t *result = NULL, *prints = json_pack("{s:O*}", "prints", json_object_get(present, "prints"));
    struct err why = ERR_INIT;
    bool known;

    *whole = !memory || (deeds_find("stood-still")(prints, &result, &why) &&
                         deeds_find("memory-check")(memory, &result, &why));
    known = *whole || recover_is_stale(&why, file);
    if (!known)
        err_set(err, REASON_FILE_UNUSABLE, "An interrupted revert has kept this VM's memory, and whether it can "
                "go on from that cannot be told: %s; put that back, or remove '%s' to boot the VM anew",
                why.desc, file);
    else if (!*whole)
        log_warn("the guest cannot be brought back as it was: %s", why.desc);
    err_clear(&why);
    json_decref(prints);
    json_decref(result);
    return known;
}

/* Is what was kept lost when it is not brought back: is there memory, and no snapshot that has it? */
static bool recover_only_there(const struct daemon *daemon, const json_t *present)
{
    json_t *file = json_object_get(json_object_get(present, "memory"), "file"), *snapshot;
    bool only = file != NULL;
    size_t i;

    json_array_foreach(json_object_get(daemon->store->state, "snapshots"), i, snapshot)
        if (json_equal(file, json_object_get(json_object_get(snapshot, "memory"), "file")))
            only = false;
    return only;
}

bool recover_present(struct daemon *daemon, bool *begun, struct err *err)
{
    json_t *journal, *args;
    const json_t *present;
    struct world world;
    bool whole;

    *begun = false;
    if (!store_read_journal(daemon->store, &journal, err))
        return false;
    present = planner_journal_present(journal, daemon->store->state);
    if (present && recover_is_whole(present, &whole, err) && whole) {
        collect_static(daemon, &world);
        args = planner_args(world.given);
        *begun = json_equal(args, json_object_get(present, "args"));
        json_decref(args);
        if (*begun)
            operation_recover(daemon, journal);
        else if (recover_only_there(daemon, present))
            err_set(err, REASON_WRONG_STATE, "An interrupted revert has kept this VM's memory, of another "
                    "command line: start with that one, or remove '%s' to boot the VM anew",
                    state_str(json_object_get(present, "memory"), "file"));
    }
    json_decref(journal);
    return !err->set;
}
