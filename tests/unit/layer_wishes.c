/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One delete in all the ways that must end in the same form; see layer_walk.h. */
#include "tests/unit/layer_form.h"
#include "tests/unit/layer_walk.h"

static void wishes_same(const struct model *one, const struct model *other)
{
    char have[FORM_SIZE], want[FORM_SIZE];

    form_make(one, true, have);
    form_make(other, true, want);
    if (strcmp(have, want) != 0)
        fail_msg("%s\nis not\n%s\nafter%s", have, want, one->trail);
}

/* Only the first image cannot go up; then nothing has happened. */
static void wishes_one(const struct model *model, size_t which, const struct model_wish *wish,
                       const struct model *plain)
{
    struct model copy;
    enum model_end end;

    model_copy(&copy, model);
    end = model_delete(&copy, which, wish);
    model_must(&copy, end == MODEL_DONE ||
                      (end == MODEL_REFUSED && wish->direction == MERGE_STREAM));
    wishes_same(&copy, end == MODEL_DONE ? plain : model);
    json_decref(copy.state);
}

/* Interrupted there, and once more when it is begun again, it still comes to its end.  False: it
 * has no so many merges. */
static bool wishes_interrupt(const struct model *model, size_t which, unsigned at, bool late,
                             const struct model *plain)
{
    const struct model_wish first = { .interrupt = at, .late = late };
    const struct model_wish second = { .interrupt = 1, .late = !late }, last = { 0 };
    struct model copy;
    enum model_end end;
    bool interrupted;

    model_copy(&copy, model);
    end = model_delete(&copy, which, &first);
    interrupted = end == MODEL_INTERRUPTED;
    if (interrupted)
        end = model_delete(&copy, which, &second);
    if (end == MODEL_INTERRUPTED)
        end = model_delete(&copy, which, &last);
    model_must(&copy, end == MODEL_DONE);
    wishes_same(&copy, plain);
    json_decref(copy.state);
    return interrupted;
}

static bool wishes_below(const struct model *model, const char *name, size_t which)
{
    while (name && strcmp(name, model_name(which)) != 0)
        name = state_str(state_snapshot(model->state, name), "parent");
    return name != NULL;
}

/* Deletes the youngest that descends from it, until there is none; with itself, for include.
 * False: there was none. */
static bool wishes_one_by_one(struct model *model, size_t which, bool itself)
{
    const struct model_wish wish = { 0 };
    bool any = false;

    for (size_t i = WALK_MAX + 1; i-- > 0;) {
        const char *name = model_name(i);

        if ((i == which && !itself) || !state_snapshot(model->state, name) ||
            !wishes_below(model, name, which))
            continue;
        model_must(model, model_delete(model, i, &wish) == MODEL_DONE);
        any = true;
    }
    return any;
}

static void wishes_children(const struct model *model, size_t which, const char *children)
{
    const struct model_wish wish = { .children = children };
    const char *current = state_str(model->state, "current");
    bool itself = strcmp(children, "include") == 0;
    bool stands = wishes_below(model, current, which) &&
                  (itself || strcmp(current, model_name(which)) != 0);
    struct model copy, other;
    enum model_end end;

    model_copy(&copy, model);
    model_copy(&other, model);
    end = model_delete(&copy, which, &wish);
    model_must(&copy, end == (stands ? MODEL_REFUSED : MODEL_DONE));
    /* With nothing to delete it still merges what was left before. */
    if (stands || wishes_one_by_one(&other, which, itself))
        wishes_same(&copy, &other);
    json_decref(copy.state);
    json_decref(other.state);
}

/* What could not be merged is merged by the deletes that follow. */
static void wishes_skip(const struct model *model, size_t which, unsigned skip)
{
    const struct model_wish wish = { .skip = skip }, plain = { 0 };
    struct model copy;

    model_copy(&copy, model);
    if (model_delete(&copy, which, &wish) == MODEL_REFUSED)
        wishes_same(&copy, model);
    for (size_t i = 0; i <= WALK_MAX; i++)
        if (state_snapshot(copy.state, model_name(i)))
            model_must(&copy, model_delete(&copy, i, &plain) == MODEL_DONE);
    json_decref(copy.state);
}

void walk_wishes(const struct model *model, size_t which, const struct model *plain)
{
    static const struct model_wish same[] = {
        { .direction = MERGE_COMMIT },
        { .direction = MERGE_STREAM },
        { .turned = true },
        { .direction = MERGE_COMMIT, .turned = true },
    };
    bool more = true;

    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++)
        wishes_one(model, which, &same[i], plain);
    for (unsigned at = 1; more; at++) {
        more = wishes_interrupt(model, which, at, false, plain);
        wishes_interrupt(model, which, at, true, plain);
    }
    wishes_children(model, which, "include");
    wishes_children(model, which, "only");
    wishes_skip(model, which, 2);
    wishes_skip(model, which, 3);
}
