/* test_layout.c - every layout against bytes written out by hand, and repacking there and back. */
#include "on_ref.h"

/* Codes 0..2^bits-1 as whole numbers: rule asym_min over a row that holds both ends has m = 0 and
 * s = 1, so u = x. */
static nib_quant whole(int64_t rows, int64_t cols, int bits)
{
    return by_rows(rows, cols, 0, bits, NIB_RULE_ASYM_MIN, NIB_F32);
}

typedef struct code_row {
    int bits, cols, bytes;
    float x[12];
    unsigned char plane[20];
} code_row;

/* clang-format off */
static const code_row code_rows[] = {
    {2, 5, 4, {0, 1, 2, 3, 1}, {0xe4, 0x01, 0, 0}},
    /* 0..7 are the octal digits of 0xfac688; element 10 takes bits 30, 31 of word 0 and bit 0 of
     * word 1 */
    {3, 11, 8, {0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 7}, {0x88, 0xc6, 0xfa, 0xc8, 0x01, 0, 0, 0}},
    {4, 9, 8, {0, 1, 2, 3, 4, 5, 6, 15, 7}, {0x10, 0x32, 0x54, 0xf6, 0x07, 0, 0, 0}},
    /* element 6 takes bits 30..34: two in word 0, three in word 1 */
    {5, 7, 8, {31, 0, 31, 0, 31, 0, 30}, {0x1f, 0x7c, 0xf0, 0x81, 0x07, 0, 0, 0}},
    /* element 5 takes bits 30..35 */
    {6, 6, 8, {63, 0, 63, 0, 63, 33}, {0x3f, 0xf0, 0x03, 0x7f, 0x08, 0, 0, 0}},
    {8, 5, 8, {0, 255, 128, 127, 1}, {0x00, 0xff, 0x80, 0x7f, 0x01, 0, 0, 0}},
    {16, 3, 8, {0, 65535, 4660}, {0x00, 0x00, 0xff, 0xff, 0x34, 0x12, 0, 0}},
};
/* clang-format on */

static void canonical_codes(void)
{
    for (size_t i = 0; i < sizeof code_rows / sizeof code_rows[0]; i++) {
        const code_row *row = &code_rows[i];
        nib_quant q = whole(1, row->cols, row->bits);
        packed p = quantized(&q, NIB_F32, row->x, NIB_NONFINITE_ERROR);
        float y[12];
        CHECK(p.mem[0].bytes == (size_t)row->bytes, "%d bits: %zu bytes", row->bits,
              p.mem[0].bytes);
        CHECK(!memcmp(p.plane[0].data, row->plane, (size_t)row->bytes), "%d bits", row->bits);
        decode(&q, &p, NIB_F32, y);
        CHECK(!memcmp(y, row->x, (size_t)row->cols * 4), "%d bits back", row->bits);
        release(&p);
    }
}

/* Rows begin at words. */
static void two_rows(void)
{
    float x[2][3] = {{0, 1, 15}, {15, 2, 0}};
    static const unsigned char bytes[8] = {0x10, 0x0f, 0, 0, 0x2f, 0x00, 0, 0};
    nib_quant q = whole(2, 3, 4);
    for (nib_layout layout = NIB_LAYOUT_CANONICAL; layout <= NIB_LAYOUT_CT_PACKED; layout++) {
        q.layout = layout;
        packed p = quantized(&q, NIB_F32, x, NIB_NONFINITE_ERROR);
        CHECK(p.mem[0].bytes == 8 && !memcmp(p.plane[0].data, bytes, 8), "%s",
              nib_layout_name(layout));
        release(&p);
    }
}

/* ct_int8: a byte a code, as a signed number u - 128; no padding. */
static void signed_bytes(void)
{
    float x[5] = {-127, 127, 0, -1, 64};
    static const signed char codes[5] = {-127, 127, 0, -1, 64};
    nib_quant q = by_rows(1, 5, 0, 8, NIB_RULE_SYM_RESTRICTED, NIB_F32);
    q.layout = NIB_LAYOUT_CT_INT8;
    packed p = quantized(&q, NIB_F32, x, NIB_NONFINITE_ERROR);
    CHECK(p.mem[0].bytes == 5 && !memcmp(p.plane[0].data, codes, 5), "codes");
    release(&p);

    float above[2] = {0, 255}, below[2] = {-255, 0}, around[2] = {-100, 155};
    const float *const each[3] = {above, below, around};
    static const signed char zeros[3] = {-128, 127, -28}; /* z = 0, 255, 100 */
    for (int i = 0; i < 3; i++) {
        nib_quant a = by_rows(1, 2, 0, 8, NIB_RULE_ASYM_ZERO, NIB_F32);
        a.layout = NIB_LAYOUT_CT_INT8;
        packed b = quantized(&a, NIB_F32, each[i], NIB_NONFINITE_ERROR);
        static const signed char ends[2] = {-128, 127};
        CHECK(!memcmp(b.plane[0].data, ends, 2), "codes of row %d", i);
        CHECK(!memcmp(b.plane[2].data, &zeros[i], 1), "zero %d is %d", i,
              (signed char)b.plane[2].data[0]);
        release(&b);
    }
}

/* ---- zero points ---- */

/* Repacks a canonical plane of zeros (a byte each) to `layout` and compares; and back. */
static void check_zeros(int bits, int64_t rows, int64_t groups, nib_layout layout,
                        const unsigned char *zeros, const unsigned char *expected, size_t bytes)
{
    nib_quant q = by_rows(rows, groups, 1, bits, NIB_RULE_ASYM_ZERO, NIB_F32), target = q;
    target.layout = layout;
    size_t count = (size_t)(rows * groups), need = 0;
    CHECK_OK(nib_plane_bytes(&target, NIB_PLANE_OFFSETS, &need));
    CHECK(need == bytes, "%d bits: %zu bytes", bits, need);
    check_buffer there = check_guarded(need, 0xa5), back = check_guarded(count, 0xa5);
    nib_mem src = nib_wrap((void *)(uintptr_t)zeros, count), mid = nib_wrap(there.data, need);
    CHECK_OK(nib_repack(ref, &q, NIB_PLANE_OFFSETS, src, layout, mid));
    if (need == bytes) CHECK(!memcmp(there.data, expected, bytes), "%d bits", bits);
    CHECK_OK(nib_repack(ref, &target, NIB_PLANE_OFFSETS, mid, NIB_LAYOUT_CANONICAL,
                        nib_wrap(back.data, count)));
    CHECK(!memcmp(back.data, zeros, count), "%d bits back", bits);
    check_release(&there);
    check_release(&back);
}

static void packed_zeros(void)
{
    /* Nine rows, two groups, 4 bits: column c is a stream of 36 bits down the rows, so two words;
     * the plane is [2 words, 2 columns] of 32 bits. */
    static const unsigned char zeros4[18] = {1,  9, 2,  10, 3,  11, 4, 12, 5,
                                             13, 6, 14, 7,  15, 8,  0, 15, 6};
    static const unsigned char words4[16] = {0x21, 0x43, 0x65, 0x87, 0xa9, 0xcb, 0xed, 0x0f,
                                             0x0f, 0,    0,    0,    0x06, 0,    0,    0};
    check_zeros(4, 9, 2, NIB_LAYOUT_CT_PACKED, zeros4, words4, 16);

    /* Eleven rows, two groups, 3 bits: rows 0..10 straddle the words as codes do. */
    static const unsigned char zeros3[22] = {0, 7, 1, 7, 2, 7, 3, 7, 4, 7, 5,
                                             7, 6, 7, 7, 7, 0, 7, 1, 7, 7, 7};
    static const unsigned char words3[16] = {0x88, 0xc6, 0xfa, 0xc8, 0xff, 0xff, 0xff, 0xff,
                                             0x01, 0,    0,    0,    0x01, 0,    0,    0};
    check_zeros(3, 11, 2, NIB_LAYOUT_CT_PACKED, zeros3, words3, 16);

    /* Three rows, three groups, 8 bits: one word a column, its last byte spare. */
    static const unsigned char zeros8[9] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    static const unsigned char words8[12] = {1, 4, 7, 0, 2, 5, 8, 0, 3, 6, 9, 0};
    check_zeros(8, 3, 3, NIB_LAYOUT_CT_PACKED, zeros8, words8, 12);

    static const unsigned char signed8[9] = {0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89};
    check_zeros(8, 3, 3, NIB_LAYOUT_CT_INT8, zeros8, signed8, 9);
}

/* ---- repacking codes ---- */

/* Every pair of layouts that can hold the bits, random codes, there and back. */
static void repack_codes(void)
{
    static const nib_layout layouts[] = {NIB_LAYOUT_CANONICAL, NIB_LAYOUT_CT_PACKED,
                                         NIB_LAYOUT_CT_INT8};
    static const int bits[] = {2, 3, 4, 5, 6, 8, 16};
    uint64_t random = 11;
    for (int b = 0; b < 7; b++)
        for (int from = 0; from < 3; from++)
            for (int to = 0; to < 3; to++) {
                nib_quant q = by_rows(5, 37, 8, bits[b], NIB_RULE_SYM_RESTRICTED, NIB_F32), t = q;
                q.layout = layouts[from];
                t.layout = layouts[to];
                if ((from == 2 || to == 2) && bits[b] != 8) continue;
                float x[5 * 37];
                for (int i = 0; i < 5 * 37; i++) x[i] = (float)(check_random(&random) % 999) - 499;
                packed p = quantized(&q, NIB_F32, x, NIB_NONFINITE_ERROR), there = planes_of(&t),
                       back = planes_of(&q);
                CHECK_OK(nib_repack(ref, &q, NIB_PLANE_CODES, p.mem[0], t.layout, there.mem[0]));
                CHECK_OK(nib_repack(ref, &t, NIB_PLANE_CODES, there.mem[0], q.layout, back.mem[0]));
                CHECK(!memcmp(back.plane[0].data, p.plane[0].data, p.mem[0].bytes),
                      "%s to %s, %d bits", nib_layout_name(q.layout), nib_layout_name(t.layout),
                      bits[b]);
                packed direct = quantized(&t, NIB_F32, x, NIB_NONFINITE_ERROR);
                CHECK(!memcmp(there.plane[0].data, direct.plane[0].data, direct.mem[0].bytes),
                      "%s as if quantized to it, %d bits", nib_layout_name(t.layout), bits[b]);
                release(&p);
                release(&there);
                release(&back);
                release(&direct);
            }
}

int main(void)
{
    ref_open();
    canonical_codes();
    two_rows();
    signed_bytes();
    packed_zeros();
    repack_codes();
    ref_close();
    return check_done();
}
