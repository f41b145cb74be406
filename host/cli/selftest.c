/* selftest.c - the operations on planes, on small inputs that hold what is hard: ties, zero groups,
 * subnormals, outliers. */
#include "selftest.h"

#include <string.h>

enum { ROWS = 9, COLS = 72, PLANE_BYTES = 4 * ROWS * COLS };

/* One input: a description, the elements, and the planes that `ref` makes of them. */
typedef struct test_sample {
    nib_quant quant;
    nib_dtype type;
    float plain[ROWS * COLS];
    unsigned char x[PLANE_BYTES];
    unsigned char planes[NIB_PLANES][PLANE_BYTES];
    size_t bytes[NIB_PLANES];
} test_sample;

/* What an operation wrote. */
typedef struct test_answer {
    unsigned char data[NIB_PLANES * PLANE_BYTES + sizeof(nib_report)];
    size_t bytes;
} test_answer;

nib_status side_open(const char *device, int32_t threads, test_side *side)
{
    nib_options options = {.size = sizeof options, .threads = threads};
    memset(side, 0, sizeof *side);
    nib_status status = nib_open(device, &options, &side->ctx);
    if (status == NIB_OK) status = nib_stream_open(side->ctx, &side->stream);
    return status;
}

void side_close(test_side *side)
{
    nib_stream_close(side->stream);
    nib_close(side->ctx);
}

/* ---- memory of an operation ---- */

/* A span of the device with these bytes; after a failure it does nothing. */
static nib_mem put(test_side *side, const void *data, size_t bytes)
{
    nib_mem span = {NULL, 0, 0};
    if (side->status == NIB_OK) side->status = nib_alloc(side->ctx, bytes, &span);
    if (side->status != NIB_OK) return span;
    side->spans[side->span_count++] = span;
    side->status = nib_upload(side->stream, span, data, bytes);
    return span;
}

/* A span for output, filled so that a byte that is not written shows. */
static nib_mem put_poison(test_side *side, size_t bytes)
{
    static unsigned char poison[NIB_PLANES * PLANE_BYTES];
    memset(poison, 0xa5, sizeof poison);
    return put(side, poison, bytes);
}

static void take(test_side *side, nib_mem span, test_answer *answer)
{
    if (side->status == NIB_OK)
        side->status = nib_download(side->stream, answer->data + answer->bytes, span, span.bytes);
    answer->bytes += span.bytes;
}

/* Waits, frees the spans, and hands back the first failure. */
static nib_status settle(test_side *side)
{
    nib_status status = side->status, synced = nib_sync(side->stream);
    for (int i = 0; i < side->span_count; i++) nib_free(side->ctx, &side->spans[i]);
    side->span_count = 0;
    side->status = NIB_OK;
    return status != NIB_OK ? status : synced;
}

#define DO(call)                                                                                   \
    do {                                                                                           \
        if (side->status == NIB_OK) side->status = (call);                                         \
    } while (0)

/* ---- operations ---- */

static size_t element_bytes(nib_dtype type) { return (size_t)nib_dtype_bits(type) / 8; }
static size_t x_bytes(const test_sample *s) { return ROWS * COLS * element_bytes(s->type); }

static void put_planes(test_side *side, const test_sample *s, nib_mem planes[NIB_PLANES])
{
    for (int p = 0; p < NIB_PLANES; p++) planes[p] = put(side, s->planes[p], s->bytes[p]);
}

static nib_status run_ranges(test_side *side, const test_sample *s, test_answer *answer)
{
    nib_report empty = NIB_REPORT_EMPTY;
    int64_t scales = s->quant.grid.period *
                     ((s->quant.grid.cols + s->quant.grid.group - 1) / s->quant.grid.group);
    nib_mem x = put(side, s->x, x_bytes(s)), report = put(side, &empty, sizeof empty),
            ranges = put_poison(side, (size_t)scales * sizeof(nib_range));
    DO(nib_ranges(side->stream, &s->quant.grid, s->type, x, NIB_NONFINITE_ZERO, ranges, report));
    take(side, ranges, answer);
    take(side, report, answer);
    return settle(side);
}

static nib_status run_quantize(test_side *side, const test_sample *s, test_answer *answer)
{
    nib_report empty = NIB_REPORT_EMPTY;
    nib_mem x = put(side, s->x, x_bytes(s)), report = put(side, &empty, sizeof empty),
            planes[NIB_PLANES];
    for (int p = 0; p < NIB_PLANES; p++) planes[p] = put_poison(side, s->bytes[p]);
    DO(nib_quantize(side->stream, &s->quant, s->type, x, NIB_NONFINITE_ERROR, planes, report));
    for (int p = 0; p < NIB_PLANES; p++) take(side, planes[p], answer);
    take(side, report, answer);
    return settle(side);
}

static nib_status run_dequantize(test_side *side, const test_sample *s, test_answer *answer)
{
    nib_mem planes[NIB_PLANES], y = put_poison(side, x_bytes(s));
    put_planes(side, s, planes);
    DO(nib_dequantize(side->stream, &s->quant, planes, s->type, y));
    take(side, y, answer);
    return settle(side);
}

static nib_status run_repack(test_side *side, const test_sample *s, test_answer *answer)
{
    nib_quant there = s->quant;
    there.layout = NIB_LAYOUT_CT_PACKED;
    for (int p = 0; p < NIB_PLANES; p++) {
        size_t bytes = 0;
        int codes = p == NIB_PLANE_CODES;
        int zeros = p == NIB_PLANE_OFFSETS && nib_rule_offset(s->quant.rule) == NIB_OFFSET_ZERO;
        if (!codes && !zeros) continue;
        DO(nib_plane_bytes(&there, (nib_plane)p, &bytes));
        nib_mem src = put(side, s->planes[p], s->bytes[p]), packed = put_poison(side, bytes),
                back = put_poison(side, s->bytes[p]);
        DO(nib_repack(side->stream, &s->quant, (nib_plane)p, src, there.layout, packed));
        DO(nib_repack(side->stream, &there, (nib_plane)p, packed, s->quant.layout, back));
        take(side, packed, answer);
        take(side, back, answer);
    }
    return settle(side);
}

static nib_status run_convert(test_side *side, const test_sample *s, test_answer *answer)
{
    nib_mem x = put(side, s->plain, sizeof s->plain), y = put_poison(side, x_bytes(s));
    DO(nib_convert(side->stream, ROWS * COLS, NIB_F32, x, s->type, y));
    take(side, y, answer);
    return settle(side);
}

static nib_status run_errors(test_side *side, const test_sample *s, test_answer *answer)
{
    int64_t count = 0, segment = s->quant.grid.group;
    nib_mem planes[NIB_PLANES], x = put(side, s->x, x_bytes(s));
    put_planes(side, s, planes);
    DO(nib_error_blocks(ROWS, COLS, segment, &count));
    nib_mem blocks = put_poison(side, (size_t)count * sizeof(nib_error_block));
    DO(nib_errors(side->stream, &s->quant, s->type, x, planes, segment, blocks));
    take(side, blocks, answer);
    return settle(side);
}

static nib_status run_errors_plain(test_side *side, const test_sample *s, test_answer *answer)
{
    int64_t count = 0;
    nib_mem x = put(side, s->plain, sizeof s->plain), y = put(side, s->x, x_bytes(s));
    DO(nib_error_blocks(ROWS, COLS, COLS, &count));
    nib_mem blocks = put_poison(side, (size_t)count * sizeof(nib_error_block));
    DO(nib_errors_plain(side->stream, ROWS, COLS, NIB_F32, x, s->type, y, COLS, blocks));
    take(side, blocks, answer);
    return settle(side);
}

static nib_status run_histogram(test_side *side, const test_sample *s, test_answer *answer)
{
    static const uint32_t zeros[256];
    nib_mem codes = put(side, s->planes[NIB_PLANE_CODES], s->bytes[NIB_PLANE_CODES]),
            counts = put(side, zeros, sizeof(uint32_t) << s->quant.bits);
    DO(nib_histogram(side->stream, &s->quant, codes, counts));
    take(side, counts, answer);
    return settle(side);
}

static const struct {
    const char *name;
    nib_status (*run)(test_side *side, const test_sample *sample, test_answer *answer);
} operations[] = {
    {"ranges", run_ranges},
    {"quantize", run_quantize},
    {"dequantize", run_dequantize},
    {"repack", run_repack},
    {"convert", run_convert},
    {"errors", run_errors},
    {"errors of plain", run_errors_plain},
    {"histogram", run_histogram},
};

_Static_assert(sizeof operations / sizeof operations[0] == SELFTEST_OPERATIONS, "one row each");

const char *selftest_operation(size_t index) { return operations[index].name; }

/* ---- samples ---- */

/* splitmix64 */
static uint64_t random_bits(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* Each row is of another sort. */
static float element(int row, uint64_t bits)
{
    float even = (float)((int)(bits & 0xffff) - 32768) / 32768.0f; /* -1 .. 1 */
    switch (row) {
    case 0: return 0.0f;
    case 1: return (float)((int)(bits % 15) - 7) / 2; /* ties */
    case 2: return even * 1e-38f;                     /* subnormals among them */
    case 3: return bits >> 58 ? even : even * 64;     /* outliers */
    case 4: return even < 0 ? -even : even;           /* one sign */
    case 5: return 0.75f;
    case 6: return even * 30000.0f;
    default: return even * even * even;
    }
}

static nib_status make_sample(test_side *ref, test_sample *s, int32_t bits, nib_rule rule,
                              nib_dtype type, int64_t group)
{
    memset(s, 0, sizeof *s);
    s->quant =
        (nib_quant){.bits = bits, .scale_type = type, .rule = rule, .layout = NIB_LAYOUT_CANONICAL};
    s->type = type;
    uint64_t state = (uint64_t)bits * 64 + (uint64_t)rule * 8 + (uint64_t)type;
    for (int i = 0; i < ROWS * COLS; i++) s->plain[i] = element(i / COLS, random_bits(&state));
    nib_status status = nib_grid_rows(ROWS, COLS, group, &s->quant.grid);
    for (int p = 0; p < NIB_PLANES && status == NIB_OK; p++)
        status = nib_plane_bytes(&s->quant, (nib_plane)p, &s->bytes[p]);
    static test_answer made;
    made.bytes = 0;
    if (status == NIB_OK) status = run_convert(ref, s, &made);
    if (status != NIB_OK) return status;
    memcpy(s->x, made.data, made.bytes);
    made.bytes = 0;
    status = run_quantize(ref, s, &made);
    for (size_t p = 0, at = 0; p < NIB_PLANES; at += s->bytes[p++])
        memcpy(s->planes[p], made.data + at, s->bytes[p]);
    return status;
}

/* ---- answers worked out on paper ---- */

/* Seven weights in 4 bits: scale 3.5 / 7 = 0.5 exactly; and (3.0 + 3.5) / 15 with zero point 8. */
int selftest_paper(test_side *ref)
{
    static const float weights[] = {0.1f, 0.2f, 1.2f, 3.0f, 2.1f, -2.1f, -3.5f};
    static const struct {
        nib_rule rule;
        unsigned char codes[4]; /* two to a byte, the first one low */
    } answers[] = {
        {NIB_RULE_SYM_RESTRICTED, {0x88, 0xea, 0x4c, 0x01}}, /* 0 0 2 6 4 -4 -7, plus 8 */
        {NIB_RULE_ASYM_ZERO, {0x88, 0xfb, 0x3d, 0x00}},      /* 8 8 11 15 13 3 0 */
    };
    int wrong = 0;
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        nib_quant quant = {.bits = 4,
                           .scale_type = NIB_F32,
                           .rule = answers[i].rule,
                           .layout = NIB_LAYOUT_CANONICAL};
        unsigned char codes[4] = {0}, zero[4] = {0};
        float scale = 0;
        nib_mem planes[NIB_PLANES] = {nib_wrap(codes, 4), nib_wrap(&scale, 4), nib_wrap(zero, 1)};
        nib_status status = nib_grid_rows(1, 7, 0, &quant.grid);
        if (status == NIB_OK)
            status = nib_quantize(ref->stream, &quant, NIB_F32, nib_wrap((void *)weights, 28),
                                  NIB_NONFINITE_ERROR, planes, (nib_mem){NULL, 0, 0});
        wrong += status != NIB_OK || memcmp(codes, answers[i].codes, 4) != 0;
    }
    return wrong;
}

/* ---- the run ---- */

static void check_one(size_t op, const test_sample *s, test_side *ref, test_side *device,
                      test_outcome *outcome)
{
    static test_answer expected, got;
    expected.bytes = got.bytes = 0;
    memset(got.data, 0, sizeof got.data);
    nib_status status = operations[op].run(ref, s, &expected);
    if (status == NIB_OK) status = operations[op].run(device, s, &got);
    int wrong = status != NIB_OK || expected.bytes != got.bytes ||
                memcmp(expected.data, got.data, got.bytes) != 0;
    outcome->operations[op].checked++;
    outcome->operations[op].wrong += wrong;
    outcome->all.checked++;
    outcome->all.wrong += wrong;
    if (!wrong || outcome->first[0]) return;
    snprintf(outcome->first, sizeof outcome->first, "%s, %d bits, rule %s, %s, group %lld: %s",
             operations[op].name, s->quant.bits, nib_rule_name(s->quant.rule),
             nib_dtype_name(s->type), (long long)s->quant.grid.group,
             status != NIB_OK ? nib_last_error() : "bytes differ from ref");
}

nib_status selftest_device(const char *name, int32_t threads, test_side *ref, test_outcome *outcome)
{
    static const int32_t widths[] = {2, 3, 4, 5, 6, 8};
    static const nib_dtype types[] = {NIB_F32, NIB_F16, NIB_BF16};
    static const int64_t groups[] = {32, 0, 24};
    static test_sample s;
    test_side device;
    memset(outcome, 0, sizeof *outcome);
    nib_status status = side_open(name, threads, &device);
    if (status == NIB_OK)
        snprintf(outcome->device, sizeof outcome->device, "%s", nib_ctx_device(device.ctx)->name);
    for (size_t i = 0; status == NIB_OK && i < sizeof widths / sizeof widths[0]; i++)
        for (nib_rule rule = NIB_RULE_SYM_RESTRICTED; *nib_rule_name(rule) != '?'; rule++) {
            size_t turn = i + (size_t)rule;
            status = make_sample(ref, &s, widths[i], rule, types[turn % 3], groups[turn / 3 % 3]);
            if (status != NIB_OK) break;
            for (size_t op = 0; op < SELFTEST_OPERATIONS; op++)
                check_one(op, &s, ref, &device, outcome);
        }
    side_close(&device);
    return status;
}
