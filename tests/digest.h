/* digest.h - one number for what every operation gives on fixed tensors: equal numbers, equal
 * bytes. */
#ifndef NIB_DIGEST_H
#define NIB_DIGEST_H

#include "../include/nibble.h"
#include "check.h"

enum { DIGEST_ROWS = 96, DIGEST_COLS = 2080, DIGEST_ELEMENTS = DIGEST_ROWS * DIGEST_COLS };

/* Buffers of one caller; free with digest_close. */
typedef struct digest {
    nib_stream *stream;
    unsigned char *x, *y, *planes[NIB_PLANES], *out;
    uint64_t value;
} digest;

static inline void digest_add(digest *d, const void *data, size_t bytes)
{
    const unsigned char *p = data;
    for (size_t i = 0; i < bytes; i++) d->value = (d->value ^ p[i]) * UINT64_C(0x100000001b3);
}

/* Weights with outliers, subnormal values, zeros, and some NaN. */
static inline float digest_value(uint64_t *state)
{
    uint64_t r = check_random(state);
    float x = (float)((int64_t)(r >> 40) - (1 << 23)) * 1e-8f;
    if (r % 509 == 0) x *= 100.0f;
    if (r % 127 == 0) x *= 1e-35f;
    if (r % 31 == 0) x *= 0.0f;
    return r % 60013 == 0 ? __builtin_nanf("") : x;
}

static float digest_source[DIGEST_ELEMENTS];

/* Call once, first, with the modes as they are at the start: it computes the source. */
static inline void digest_prepare(void)
{
    uint64_t state = 42;
    for (int i = 0; i < DIGEST_ELEMENTS; i++) digest_source[i] = digest_value(&state);
}

static inline void digest_open(digest *d, nib_ctx *ctx)
{
    *d = (digest){.value = UINT64_C(0xcbf29ce484222325)};
    CHECK_OK(nib_stream_open(ctx, &d->stream));
    d->x = malloc(DIGEST_ELEMENTS * 4);
    d->y = malloc(DIGEST_ELEMENTS * 4);
    d->out = malloc(DIGEST_ELEMENTS * 20);
    for (int p = 0; p < NIB_PLANES; p++) d->planes[p] = malloc(DIGEST_ELEMENTS * 4);
}

static inline void digest_close(digest *d)
{
    nib_stream_close(d->stream);
    free(d->x);
    free(d->y);
    free(d->out);
    for (int p = 0; p < NIB_PLANES; p++) free(d->planes[p]);
}

/* Every operation on one code space and element type. */
static inline void digest_run(digest *d, int bits, nib_rule rule, int64_t group, nib_dtype type)
{
    size_t size = (size_t)nib_dtype_bits(type) / 8, bytes[NIB_PLANES] = {0};
    nib_quant q = {.bits = bits, .scale_type = type, .rule = rule, .layout = NIB_LAYOUT_CANONICAL};
    nib_report report = NIB_REPORT_EMPTY;
    nib_mem planes[NIB_PLANES], out = nib_wrap(d->out, DIGEST_ELEMENTS * 20);
    nib_mem x = nib_wrap(d->x, DIGEST_ELEMENTS * size), y = nib_wrap(d->y, DIGEST_ELEMENTS * size);
    nib_mem reported = nib_wrap(&report, sizeof report);
    int64_t blocks;
    CHECK_OK(nib_grid_rows(DIGEST_ROWS, DIGEST_COLS, group, &q.grid));
    CHECK_OK(nib_error_blocks(DIGEST_ROWS, DIGEST_COLS, DIGEST_COLS, &blocks));
    for (int p = 0; p < NIB_PLANES; p++) {
        CHECK_OK(nib_plane_bytes(&q, (nib_plane)p, &bytes[p]));
        planes[p] = nib_wrap(d->planes[p], bytes[p]);
    }
    CHECK_OK(nib_convert(d->stream, DIGEST_ELEMENTS, NIB_F32,
                         nib_wrap(digest_source, sizeof digest_source), type, x));
    CHECK_OK(nib_ranges(d->stream, &q.grid, type, x, NIB_NONFINITE_ZERO, out, reported));
    digest_add(d, d->out,
               (size_t)DIGEST_ROWS * (size_t)((DIGEST_COLS + q.grid.group - 1) / q.grid.group) *
                   sizeof(nib_range));
    CHECK_OK(nib_quantize(d->stream, &q, type, x, NIB_NONFINITE_ERROR, planes, reported));
    for (int p = 0; p < NIB_PLANES; p++) digest_add(d, d->planes[p], bytes[p]);
    CHECK_OK(nib_dequantize(d->stream, &q, planes, type, y));
    digest_add(d, d->y, y.bytes);
    CHECK_OK(nib_errors(d->stream, &q, type, x, planes, DIGEST_COLS, out));
    digest_add(d, d->out, (size_t)blocks * sizeof(nib_error_block));
    memset(d->out, 0, 1024);
    CHECK_OK(nib_histogram(d->stream, &q, planes[NIB_PLANE_CODES], out));
    digest_add(d, d->out, 1024);
    digest_add(d, &report, sizeof report);
}

/* The number for every rule, codes of 8 and 4 bits, whole rows and groups, and every type. */
static inline uint64_t digest_all(nib_ctx *ctx)
{
    static const nib_dtype types[] = {NIB_F32, NIB_F16, NIB_BF16};
    digest d;
    digest_open(&d, ctx);
    for (int rule = NIB_RULE_SYM_RESTRICTED, n = 0; rule <= NIB_RULE_ASYM_MIN; rule++)
        for (int wide = 0; wide < 2; wide++, n++)
            digest_run(&d, wide ? 8 : 4, (nib_rule)rule, wide ? 0 : 128, types[n % 3]);
    digest_close(&d);
    return d.value;
}

#endif
