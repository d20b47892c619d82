/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "proxy/snapshot_print.h"

#include <stdbool.h>
#include <string.h>
#include <time.h>

#define SIZE_ROOM 32
#define TIME_ROOM 32

static const char *text_of(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

static bool is_continuation(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

size_t snapshot_print_width(const char *text)
{
    size_t width = 0;

    if (!text || !*text)
        return 1;
    for (; *text; text++)
        width += !is_continuation(*text);
    return width;
}

void snapshot_print_text(FILE *out, const char *text, size_t width)
{
    size_t used = snapshot_print_width(text);

    if (!text || !*text)
        text = "-";
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text, next = (unsigned char)text[1];

        if (c == '\n' || c == '\t') {
            putc(' ', out);
        } else if (c < 0x20 || c == 0x7f) {
            putc('?', out);
        } else if (c == 0xc2 && next >= 0x80 && next < 0xa0) {  /* U+0080 to U+009F */
            putc('?', out);
            text++;
        } else {
            putc(c, out);
        }
    }
    for (; used < width; used++)
        putc(' ', out);
}

const char *snapshot_print_size(const json_t *bytes, char *buf)
{
    static const char *const unit[] = { "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
    double value = json_number_value(bytes);
    size_t u = 0;

    if (!json_is_number(bytes) || value < 0)
        return strcpy(buf, "-");
    if (value < 1024) {
        snprintf(buf, SIZE_ROOM, "%d B", (int)value);
        return buf;
    }
    for (value /= 1024; value >= 1024 && u < 5; u++)
        value /= 1024;
    snprintf(buf, SIZE_ROOM, "%.1f %s", value, unit[u]);
    return buf;
}

/* Local time, "-" when there is none. */
static const char *created_text(const json_t *info, char *buf)
{
    const json_t *seconds = json_object_get(json_object_get(info, "created"), "seconds");
    time_t when = (time_t)json_integer_value(seconds);
    struct tm tm;

    if (!json_is_integer(seconds) || !localtime_r(&when, &tm) ||
        strftime(buf, TIME_ROOM, "%Y-%m-%d %H:%M:%S", &tm) == 0)
        strcpy(buf, "-");
    return buf;
}

static size_t problems_count(const json_t *info)
{
    return json_array_size(json_object_get(info, "problems"));
}

enum { COLUMN_NAME, COLUMN_PARENT, COLUMN_CREATED, COLUMN_STATE, COLUMN_MEMORY, COLUMN_DISKS,
       COLUMN_DESCRIPTION, COLUMN__COUNT };

struct row {
    const char *text[COLUMN__COUNT];
    char size[SIZE_ROOM], created[TIME_ROOM], disks[16];
};

static void row_fill(struct row *row, const json_t *info)
{
    const json_t *memory = json_object_get(info, "memory");

    snprintf(row->disks, sizeof(row->disks), "%zu",
             json_array_size(json_object_get(info, "disks")));
    row->text[COLUMN_NAME] = text_of(info, "name");
    row->text[COLUMN_PARENT] = text_of(info, "parent");
    row->text[COLUMN_CREATED] = created_text(info, row->created);
    row->text[COLUMN_STATE] = text_of(info, "run-state");
    row->text[COLUMN_MEMORY] = snapshot_print_size(json_object_get(memory, "size"), row->size);
    row->text[COLUMN_DISKS] = row->disks;
    row->text[COLUMN_DESCRIPTION] = text_of(info, "description");
}

static void row_print(FILE *out, const char *mark, const struct row *row, const size_t *width)
{
    fprintf(out, "%s ", mark);
    for (int c = 0; c < COLUMN__COUNT; c++) {
        bool last = c + 1 == COLUMN__COUNT;

        snapshot_print_text(out, row->text[c], last ? 0 : width[c] + 2);
    }
    putc('\n', out);
}

void snapshot_print_list(FILE *out, const json_t *infos)
{
    static const struct row head = {
        .text = { "NAME", "PARENT", "CREATED", "STATE", "MEMORY", "DISKS", "DESCRIPTION" },
    };
    size_t width[COLUMN__COUNT], i;
    const json_t *info;
    struct row row;

    if (json_array_size(infos) == 0) {
        fputs("There are no snapshots.\n", out);
        return;
    }
    for (int c = 0; c < COLUMN__COUNT; c++)
        width[c] = snapshot_print_width(head.text[c]);
    json_array_foreach(infos, i, info) {
        row_fill(&row, info);
        for (int c = 0; c < COLUMN__COUNT; c++) {
            if (snapshot_print_width(row.text[c]) > width[c])
                width[c] = snapshot_print_width(row.text[c]);
        }
    }
    row_print(out, "  ", &head, width);
    json_array_foreach(infos, i, info) {
        char mark[3] = { json_is_true(json_object_get(info, "current")) ? '*' : ' ',
                         problems_count(info) > 0 ? '!' : ' ', '\0' };

        row_fill(&row, info);
        row_print(out, mark, &row, width);
    }
}

static void field_print(FILE *out, const char *label, const char *text)
{
    fprintf(out, "%-13s ", label);
    snapshot_print_text(out, text, 0);
    putc('\n', out);
}

static void list_print(FILE *out, const char *label, const json_t *list)
{
    const json_t *entry;
    size_t i;

    json_array_foreach(list, i, entry)
        field_print(out, i == 0 ? label : "", json_string_value(entry));
}

static void disk_print(FILE *out, const json_t *disk)
{
    fputs("  ", out);
    snapshot_print_text(out, text_of(disk, "device"), 0);
    fputs(": ", out);
    snapshot_print_text(out, text_of(disk, "image"), 0);
    fputs(" (", out);
    snapshot_print_text(out, text_of(disk, "format"), 0);
    if (text_of(disk, "node-name")) {
        fputs(", node ", out);
        snapshot_print_text(out, text_of(disk, "node-name"), 0);
    }
    fputs(")\n", out);
}

void snapshot_print_show(FILE *out, const json_t *info)
{
    const json_t *memory = json_object_get(info, "memory"), *disk;
    char size[SIZE_ROOM], created[TIME_ROOM];
    size_t i;

    field_print(out, "name:", text_of(info, "name"));
    field_print(out, "description:", text_of(info, "description"));
    field_print(out, "current:", json_is_true(json_object_get(info, "current")) ? "yes" : "no");
    field_print(out, "parent:", text_of(info, "parent"));
    list_print(out, "children:", json_object_get(info, "children"));
    field_print(out, "created:", created_text(info, created));
    field_print(out, "run state:", text_of(info, "run-state"));
    field_print(out, "origin:", text_of(info, "origin"));
    if (json_object_get(info, "operation"))
        field_print(out, "operation:", text_of(info, "operation"));
    if (memory) {
        field_print(out, "memory:", text_of(memory, "file"));
        field_print(out, "", text_of(memory, "format"));
        field_print(out, "", snapshot_print_size(json_object_get(memory, "size"), size));
    } else {
        field_print(out, "memory:", "none");
    }
    fputs("disks:\n", out);
    json_array_foreach(json_object_get(info, "disks"), i, disk)
        disk_print(out, disk);
    list_print(out, "problems:", json_object_get(info, "problems"));
}

size_t snapshot_print_verify(FILE *out, const json_t *infos)
{
    const json_t *info, *problem;
    size_t i, k, count = 0;

    json_array_foreach(infos, i, info) {
        if (problems_count(info) == 0) {
            snapshot_print_text(out, text_of(info, "name"), 0);
            fputs(": ok\n", out);
        }
        json_array_foreach(json_object_get(info, "problems"), k, problem) {
            snapshot_print_text(out, text_of(info, "name"), 0);
            fputs(": ", out);
            snapshot_print_text(out, json_string_value(problem), 0);
            putc('\n', out);
            count++;
        }
    }
    return count;
}

void snapshot_print_error(FILE *out, const char *program, const json_t *error)
{
    const char *reason = text_of(json_object_get(error, "data"), "reason");
    const char *class_name = text_of(error, "class");

    fprintf(out, "%s: ", program);
    snapshot_print_text(out, text_of(error, "desc"), 0);
    if (reason) {
        fputs(" (", out);
        snapshot_print_text(out, reason, 0);
        putc(')', out);
    }
    putc('\n', out);
    if (class_name && !strcmp(class_name, "CommandNotFound"))
        fprintf(out, "%s: is it a qmp-proxy that listens at this address?\n", program);
}
