/* SPDX-License-Identifier: GPL-2.0-or-later */
/* qcow2_parse: good headers, every refusal, and thousands of broken ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "policy/qcow2.h"
#include "qmp/alloc.h"

#define BACKING "/images/base.qcow2"

struct image {
    unsigned char bytes[4096];
    size_t at;                  /* where the next extension goes */
};

static void put32(unsigned char *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (unsigned char)(v >> (24 - 8 * i));
}

static void put64(unsigned char *p, uint64_t v)
{
    put32(p, (uint32_t)(v >> 32));
    put32(p + 4, (uint32_t)v);
}

static struct image image_make(unsigned version)
{
    struct image image = { .at = version == 2 ? 72 : 104 };

    put32(image.bytes, 0x514649fb);
    put32(image.bytes + 4, version);
    put32(image.bytes + 20, 16);
    put64(image.bytes + 24, 1 << 30);
    if (version == 3) {
        put32(image.bytes + 96, 4);
        put32(image.bytes + 100, 104);
    }
    return image;
}

static void image_extend(struct image *image, uint32_t type, const void *data, uint32_t size)
{
    put32(image->bytes + image->at, type);
    put32(image->bytes + image->at + 4, size);
    memcpy(image->bytes + image->at + 8, data, size);
    image->at += 8 + ((size + 7) & ~7u);
}

/* Puts the name behind an end mark, where qemu-img puts it. */
static void image_back(struct image *image, const char *name, uint32_t size)
{
    image_extend(image, 0, "", 0);
    put64(image->bytes + 8, image->at);
    put32(image->bytes + 16, size);
    memcpy(image->bytes + image->at, name, size);
}

static struct image image_full(unsigned version)
{
    unsigned char bitmaps[24] = { 0 };
    struct image image = image_make(version);

    put32(bitmaps, 3);
    image_extend(&image, 0xE2792ACA, "qcow2", 5);
    image_extend(&image, 0x6803f857, "features nobody reads", 21);
    image_extend(&image, 0x23852875, bitmaps, 24);
    image_back(&image, BACKING, strlen(BACKING));
    return image;
}

/* A buffer of exactly len bytes, so that the sanitizer sees one byte too far. */
static bool parse_exact(const void *data, size_t len, struct qcow2_header *out, struct err *err)
{
    void *copy = alloc_bytes(len ? len : 1);
    bool ok;

    memcpy(copy, data, len);
    ok = qcow2_parse(copy, len, out, err);
    free(copy);
    return ok;
}

static void assert_refused(const void *data, size_t len, const char *word)
{
    struct qcow2_header header;
    static const struct qcow2_header zero;
    struct err err = ERR_INIT;

    assert_false(parse_exact(data, len, &header, &err));
    assert_true(err.set);
    assert_string_equal(err.reason, "bad-image");
    if (!strstr(err.desc, word))
        fail_msg("\"%s\" is not in \"%s\"", word, err.desc);
    assert_memory_equal(&header, &zero, sizeof(zero));
    err_clear(&err);
}

static void assert_parsed(const struct image *image, struct qcow2_header *header)
{
    struct err err = ERR_INIT;

    if (!parse_exact(image->bytes, sizeof(image->bytes), header, &err))
        fail_msg("%s", err.desc);
    assert_false(err.set);
}

static void plain_headers_have_no_backing(void **state)
{
    (void)state;
    for (unsigned version = 2; version <= 3; version++) {
        struct image image = image_make(version);
        struct qcow2_header header;

        assert_parsed(&image, &header);
        assert_int_equal(header.version, version);
        assert_int_equal(header.virtual_size, 1 << 30);
        assert_int_equal(header.cluster_bits, 16);
        assert_false(header.has_backing || header.has_bitmaps || header.encrypted);
        assert_false(header.dirty || header.corrupt || header.has_data_file);
        assert_string_equal(header.backing_format, "");
    }
}

static void backing_name_format_and_bitmaps_are_read(void **state)
{
    (void)state;
    for (unsigned version = 2; version <= 3; version++) {
        struct image image = image_full(version);
        struct qcow2_header header;

        assert_parsed(&image, &header);
        assert_true(header.has_backing);
        assert_string_equal(header.backing, BACKING);
        assert_int_equal(header.backing_len, strlen(BACKING));
        assert_string_equal(header.backing_format, "qcow2");
        assert_true(header.has_bitmaps);
        assert_int_equal(header.bitmaps, 3);
    }
}

static void longest_backing_name_fits(void **state)
{
    struct image image = image_make(3);
    struct qcow2_header header;
    char name[1023];

    (void)state;
    memset(name, '\xfe', sizeof(name));
    image_back(&image, name, sizeof(name));
    assert_parsed(&image, &header);
    assert_int_equal(header.backing_len, 1023);
    assert_memory_equal(header.backing, name, 1023);
    assert_int_equal(header.backing[1023], 0);
}

static void old_image_without_end_mark_is_read(void **state)
{
    struct image image = image_make(2);
    struct qcow2_header header;

    (void)state;
    put64(image.bytes + 8, 72);
    put32(image.bytes + 16, 4);
    memcpy(image.bytes + 72, "base", 4);
    assert_parsed(&image, &header);
    assert_string_equal(header.backing, "base");
}

static void flags_are_told_apart(void **state)
{
    struct image image = image_make(3);
    struct qcow2_header header;

    (void)state;
    for (unsigned bit = 0; bit < 5; bit++) {
        put64(image.bytes + 72, UINT64_C(1) << bit);
        assert_parsed(&image, &header);
        assert_int_equal(header.incompatible, 1u << bit);
        assert_int_equal(header.dirty, bit == 0);
        assert_int_equal(header.corrupt, bit == 1);
        assert_int_equal(header.has_data_file, bit == 2);
    }
    put64(image.bytes + 72, 0);
    put64(image.bytes + 80, 1);
    put64(image.bytes + 88, UINT64_C(1) << 63);
    put32(image.bytes + 32, 2);
    put32(image.bytes + 60, 7);
    assert_parsed(&image, &header);
    assert_int_equal(header.compatible, 1);
    assert_true(header.autoclear == UINT64_C(1) << 63);
    assert_true(header.encrypted);
    assert_int_equal(header.snapshots, 7);
}

/* Sets one field of a good header to a bad value and wants the refusal. */
static void each_field_out_of_range_is_refused(void **state)
{
    static const struct { size_t at; unsigned bytes; uint64_t value; const char *word; } row[] = {
        { 0, 4, 0x514649fa, "magic" },          { 4, 4, 1, "version" },
        { 4, 4, 4, "version" },                 { 20, 4, 8, "cluster size" },
        { 20, 4, 22, "cluster size" },          { 20, 4, UINT32_MAX, "cluster size" },
        { 24, 8, UINT64_C(1) << 63, "virtual size" }, { 32, 4, 3, "encryption" },
        { 60, 4, 65537, "snapshots" },          { 72, 8, 1 << 5, "incompatible" },
        { 72, 8, UINT64_C(1) << 63, "incompatible" }, { 100, 4, 103, "length" },
        { 100, 4, 96, "length" },               { 100, 4, 108, "length" },
        { 100, 4, 65544, "length" },            { 100, 4, UINT32_MAX - 7, "length" },
        { 8, 8, 103, "outside" },               { 8, 8, 1, "outside" },
        { 8, 8, 65537, "outside" },             { 8, 8, UINT64_MAX, "outside" },
        { 8, 8, 60000, "behind" },              { 8, 8, 65536, "too long" },
        { 16, 4, 1024, "too long" },            { 16, 4, UINT32_MAX, "too long" },
        { 16, 4, 30, "NUL" },                   { 108, 4, UINT32_MAX, "fit" },
        { 108, 4, 0, "no name" },               { 108, 4, 64, "no name" },
        { 108, 4, 6, "no name" },               { 120, 4, 0xE2792ACA, "twice" },
        { 156, 4, 23, "bitmaps" },              { 160, 4, 0, "bitmaps" },
    };

    (void)state;
    for (size_t i = 0; i < sizeof(row) / sizeof(row[0]); i++) {
        struct image image = image_full(3);

        if (row[i].bytes == 4)
            put32(image.bytes + row[i].at, (uint32_t)row[i].value);
        else
            put64(image.bytes + row[i].at, row[i].value);
        assert_refused(image.bytes, sizeof(image.bytes), row[i].word);
    }
}

static void name_that_overlaps_an_extension_is_refused(void **state)
{
    struct image image = image_full(3);

    (void)state;
    /* the content of the format extension, "qcow2", as the backing name */
    put64(image.bytes + 8, 112);
    put32(image.bytes + 16, 5);
    assert_refused(image.bytes, sizeof(image.bytes), "fit");
    /* four zero bytes before the name: no room for an end mark */
    image = image_make(3);
    put64(image.bytes + 8, 108);
    put32(image.bytes + 16, 1);
    image.bytes[108] = 'x';
    assert_refused(image.bytes, sizeof(image.bytes), "fit");
}

static void every_cut_of_a_full_header_is_refused(void **state)
{
    struct image image = image_full(3);
    size_t whole = image.at + strlen(BACKING);
    struct qcow2_header header;
    struct err err = ERR_INIT;

    (void)state;
    for (size_t len = 0; len < whole; len++)
        assert_refused(image.bytes, len, "");
    assert_true(parse_exact(image.bytes, whole, &header, &err));
    assert_false(err.set);
}

/* Whatever the bytes are: no crash, and a header that is accepted keeps its bounds. */
static void mutated_headers_keep_their_bounds(void **state)
{
    static const unsigned char value[] = { 0, 1, 2, 7, 8, 0x7f, 0x80, 0xfe, 0xff };
    struct image good = image_full(3);
    size_t whole = good.at + strlen(BACKING), accepted = 0, refused = 0;
    unsigned seed = 1;

    (void)state;
    for (unsigned round = 0; round < 60000; round++) {
        struct image image = good;
        struct qcow2_header header;
        struct err err = ERR_INIT;
        size_t len = whole;

        for (unsigned change = 0; change <= round % 4; change++) {
            seed = seed * 1103515245u + 12345u;
            image.bytes[(seed >> 8) % whole] = value[(seed >> 4) % sizeof(value)];
        }
        if (round % 5 == 0)
            len = (seed >> 3) % (whole + 1);
        if (parse_exact(image.bytes, len, &header, &err)) {
            accepted++;
            assert_int_equal(header.backing_len, strlen(header.backing));
            assert_int_equal(header.has_backing, header.backing_len > 0);
            assert_true(strlen(header.backing_format) < QCOW2_FORMAT_MAX);
        } else {
            refused++;
            assert_string_equal(err.reason, "bad-image");
        }
        err_clear(&err);
    }
    assert_true(accepted > 1000 && refused > 1000);
}

/* Runs qemu-img with the arguments in the folder, and reads the header of the image "i". */
static void qemu_img_header(const char *dir, const char *args, struct qcow2_header *header)
{
    unsigned char head[QCOW2_HEAD_BYTES];
    char text[512];
    struct err err = ERR_INIT;
    size_t len;
    FILE *file;

    snprintf(text, sizeof(text), "cd %s && rm -f i && qemu-img create -q -f qcow2 %s >/dev/null",
             dir, args);
    assert_int_equal(system(text), 0);
    snprintf(text, sizeof(text), "%s/i", dir);
    file = fopen(text, "rb");
    assert_non_null(file);
    len = fread(head, 1, sizeof(head), file);
    fclose(file);
    if (!qcow2_parse(head, len, header, &err))
        fail_msg("%s: %s", args, err.desc);
}

static void images_of_qemu_img_are_read(void **state)
{
    char dir[] = "/tmp/test_qcow2.XXXXXX";
    struct qcow2_header header;
    char text[256];

    (void)state;
    if (system("qemu-img --version >/dev/null 2>&1") != 0)
        skip();
    assert_non_null(mkdtemp(dir));
    qemu_img_header(dir, "i 3M", &header);
    assert_int_equal(header.version, 3);
    assert_int_equal(header.virtual_size, 3 << 20);
    assert_false(header.has_backing);
    qemu_img_header(dir, "-o compat=0.10,cluster_size=4k i 1M", &header);
    assert_int_equal(header.version, 2);
    assert_int_equal(header.cluster_bits, 12);
    qemu_img_header(dir, "-u -b base.raw -F raw -o cluster_size=2M,extended_l2=on i 1M", &header);
    assert_string_equal(header.backing, "base.raw");
    assert_string_equal(header.backing_format, "raw");
    assert_int_equal(header.cluster_bits, 21);
    assert_int_equal(header.incompatible, 1 << 4);
    qemu_img_header(dir, "-o data_file=d,compression_type=zstd i 1M", &header);
    assert_true(header.has_data_file);
    qemu_img_header(dir, "i 1M && qemu-img bitmap --add i b0 && qemu-img snapshot -c s i", &header);
    assert_true(header.has_bitmaps);
    assert_int_equal(header.bitmaps, 1);
    assert_int_equal(header.snapshots, 1);
    snprintf(text, sizeof(text), "rm -r %s", dir);
    assert_int_equal(system(text), 0);
}

/* Two entries: "one", of disks alone, and "two", with a state of the machine. */
static void snapshots_are_found_in_their_table(void **state)
{
    unsigned char table[128] = { 0 };

    (void)state;
    table[13] = table[15] = 1;              /* lengths of the id and the name */
    put32(table + 36, 16);
    memcpy(table + 56, "1a", 2);
    put32(table + 64 + 32, 4096);
    table[64 + 13] = 1;
    table[64 + 15] = 3;
    memcpy(table + 64 + 40, "2two", 4);
    assert_true(qcow2_has_snapshot(table, sizeof(table), 2, "two"));
    assert_false(qcow2_has_snapshot(table, sizeof(table), 1, "two"));
    assert_false(qcow2_has_snapshot(table, 64 + 43, 2, "two"));
    assert_false(qcow2_has_snapshot(table, sizeof(table), 2, "a"));     /* has no machine */
    put64(table + 40, 4096);
    assert_true(qcow2_has_snapshot(table, sizeof(table), 2, "a"));
    put32(table + 36, 0xffffffff);          /* beyond everything */
    assert_false(qcow2_has_snapshot(table, sizeof(table), 2, "two"));
    assert_false(qcow2_has_snapshot(table, 0, 2, "two"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_headers_have_no_backing),
        cmocka_unit_test(backing_name_format_and_bitmaps_are_read),
        cmocka_unit_test(longest_backing_name_fits),
        cmocka_unit_test(old_image_without_end_mark_is_read),
        cmocka_unit_test(flags_are_told_apart),
        cmocka_unit_test(each_field_out_of_range_is_refused),
        cmocka_unit_test(name_that_overlaps_an_extension_is_refused),
        cmocka_unit_test(every_cut_of_a_full_header_is_refused),
        cmocka_unit_test(mutated_headers_keep_their_bounds),
        cmocka_unit_test(snapshots_are_found_in_their_table),
        cmocka_unit_test(images_of_qemu_img_are_read),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
