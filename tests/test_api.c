/* test_api.c - the public functions' contract: every bad argument gets its status and an error text
 * that names the argument and its value, nothing is written on failure, empty tensors are fine, and
 * sizes are what they should be. */
#include "on_ref.h"

#include <ctype.h>

/* ---- one valid call of every operation, to break one argument at a time ---- */

/* Outputs are poisoned, inputs zero. Places for everything, with room to misalign. */
typedef struct arena {
    _Alignas(64) float x[256];
    _Alignas(64) unsigned char out[4096];
} arena;

static arena memory;

typedef struct call {
    nib_stream *stream;
    nib_quant quant;
    const nib_quant *quant_pointer;
    const nib_grid *grid_pointer;
    nib_dtype type, other_type;
    nib_mem x, y, out, report, planes[NIB_PLANES], target;
    int planes_null;
    nib_nonfinite nonfinite;
    nib_plane plane;
    nib_layout layout;
    int64_t count, rows, cols, segment;
} call;

enum { ROWS = 4, COLS = 64, GROUP = 16, CELLS = ROWS * COLS / GROUP };

static void make(call *c)
{
    memset(memory.out, 0xa5, sizeof memory.out);
    *c = (call){.stream = ref,
                .type = NIB_F32,
                .other_type = NIB_F32,
                .rows = ROWS,
                .cols = COLS,
                .segment = COLS,
                .count = ROWS * COLS,
                .layout = NIB_LAYOUT_CT_PACKED};
    c->quant = by_rows(ROWS, COLS, GROUP, 4, NIB_RULE_ASYM_ZERO, NIB_F16);
    c->quant_pointer = &c->quant;
    c->grid_pointer = &c->quant.grid;
    c->x = nib_wrap(memory.x, sizeof memory.x);
    c->planes[0] = nib_wrap(memory.out, ROWS * COLS / 2);
    c->planes[1] = nib_wrap(memory.out + 256, CELLS * 2);
    c->planes[2] = nib_wrap(memory.out + 512, CELLS);
    c->report = nib_wrap(memory.out + 768, sizeof(nib_report));
    c->target = nib_wrap(memory.out + 1024, ROWS * COLS / 2);
    c->out = nib_wrap(memory.out + 1280, CELLS * sizeof(nib_range));
    c->y = nib_wrap(memory.out + 2048, ROWS * COLS * 4);
}

static nib_status ranges(call *c)
{
    return nib_ranges(c->stream, c->grid_pointer, c->type, c->x, c->nonfinite, c->out, c->report);
}
static nib_status quantize(call *c)
{
    return nib_quantize(c->stream, c->quant_pointer, c->type, c->x, c->nonfinite,
                        c->planes_null ? NULL : c->planes, c->report);
}
static nib_status dequantize(call *c)
{
    return nib_dequantize(c->stream, c->quant_pointer, c->planes_null ? NULL : c->planes, c->type,
                          c->y);
}
static nib_status repack(call *c)
{
    return nib_repack(c->stream, c->quant_pointer, c->plane, c->planes[c->plane == 2 ? 2 : 0],
                      c->layout, c->target);
}
static nib_status convert(call *c)
{
    return nib_convert(c->stream, c->count, c->type, c->x, c->other_type, c->y);
}
static nib_status errors(call *c)
{
    return nib_errors(c->stream, c->quant_pointer, c->type, c->x, c->planes_null ? NULL : c->planes,
                      c->segment, c->out);
}
static nib_status errors_plain(call *c)
{
    return nib_errors_plain(c->stream, c->rows, c->cols, c->type, c->x, c->other_type, c->y,
                            c->segment, c->out);
}
static nib_status histogram(call *c)
{
    return nib_histogram(c->stream, c->quant_pointer, c->planes[0], c->out);
}

typedef nib_status operation(call *c);
static operation *const operations[] = {ranges,  quantize, dequantize,   repack,
                                        convert, errors,   errors_plain, histogram};

static void expect(operation *op, call *c, nib_status status, const char *words, const char *change)
{
    nib_status got = op(c);
    CHECK(got == status, "%s: %s (%s)", change, nib_status_name(got), nib_last_error());
    CHECK(strstr(nib_last_error(), words) != NULL, "%s: \"%s\" lacks \"%s\"", change,
          nib_last_error(), words);
    int64_t written = 0;
    for (size_t i = 0; i < sizeof memory.out; i++) written += memory.out[i] != 0xa5;
    CHECK(written == 0, "%s: wrote %lld bytes", change, (long long)written);
}

/* The valid call of `op` with one change fails so. */
#define BREAK(op, status, words, change)                                                           \
    do {                                                                                           \
        call c;                                                                                    \
        make(&c);                                                                                  \
        change;                                                                                    \
        expect(op, &c, NIB_##status, words, #op ": " #change);                                     \
    } while (0)

static void unbroken(void)
{
    for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++) {
        call c;
        make(&c);
        CHECK_OK(operations[i](&c));
    }
}

static void bad_descriptions(void)
{
    BREAK(quantize, E_ARGUMENT, "quant is NULL", c.quant_pointer = NULL);
    BREAK(dequantize, E_ARGUMENT, "quant is NULL", c.quant_pointer = NULL);
    BREAK(repack, E_ARGUMENT, "quant is NULL", c.quant_pointer = NULL);
    BREAK(histogram, E_ARGUMENT, "quant is NULL", c.quant_pointer = NULL);
    BREAK(errors, E_ARGUMENT, "quant is NULL", c.quant_pointer = NULL);
    BREAK(ranges, E_ARGUMENT, "grid is NULL", c.grid_pointer = NULL);
    BREAK(quantize, E_ARGUMENT, "quant.bits is 7", c.quant.bits = 7);
    BREAK(quantize, E_ARGUMENT, "quant.bits is 0", c.quant.bits = 0);
    BREAK(quantize, E_ARGUMENT, "quant.bits is 1;", c.quant.bits = 1);
    BREAK(quantize, E_ARGUMENT, "quant.bits is -4", c.quant.bits = -4);
    BREAK(quantize, E_ARGUMENT, "quant.bits is 32", c.quant.bits = 32);
    BREAK(dequantize, E_ARGUMENT, "quant.rule is 99", c.quant.rule = (nib_rule)99);
    BREAK(quantize, E_ARGUMENT, "quant.rule is 0", c.quant.rule = NIB_RULE_NONE);
    BREAK(quantize, E_ARGUMENT, "quant.layout is 99", c.quant.layout = (nib_layout)99);
    BREAK(quantize, E_ARGUMENT, "quant.scale_type is 99", c.quant.scale_type = (nib_dtype)99);
    BREAK(quantize, E_ARGUMENT, "quant.scale_type is 4 (F64)", c.quant.scale_type = NIB_F64);
    BREAK(quantize, E_UNSUPPORTED, "ct_int8", c.quant.layout = NIB_LAYOUT_CT_INT8);
    BREAK(quantize, E_UNSUPPORTED, "ct_packed", c.quant.layout = NIB_LAYOUT_CT_PACKED);
    BREAK(histogram, E_UNSUPPORTED, "16", c.quant.bits = 16);
    BREAK(repack, E_ARGUMENT, "layout is 99", c.layout = (nib_layout)99);
    BREAK(repack, E_UNSUPPORTED, "ct_int8", c.layout = NIB_LAYOUT_CT_INT8);
    BREAK(repack, E_ARGUMENT, "plane is 1", c.plane = NIB_PLANE_SCALES);
    BREAK(repack, E_ARGUMENT, "plane is 7", c.plane = (nib_plane)7);
    BREAK(repack, E_ARGUMENT, "plane is 2",
          (c.plane = NIB_PLANE_OFFSETS, c.quant.rule = NIB_RULE_SYM_FULL));
}

static void bad_shapes(void)
{
    static const int64_t big = INT64_C(1) << 62;
    BREAK(quantize, E_SHAPE, "-1 x 64", c.quant.grid.rows = -1);
    BREAK(quantize, E_SHAPE, "4 x -2", c.quant.grid.cols = -2);
    BREAK(quantize, E_SHAPE, "4611686018427387904 x 64", c.quant.grid.rows = big);
    BREAK(ranges, E_SHAPE, "4 x 4611686018427387904", c.quant.grid.cols = big);
    BREAK(quantize, E_SHAPE, "grid.period is 0", c.quant.grid.period = 0);
    BREAK(quantize, E_SHAPE, "grid.period is 3", c.quant.grid.period = 3);
    BREAK(quantize, E_SHAPE, "grid.period is 8", c.quant.grid.period = 8);
    BREAK(quantize, E_SHAPE, "grid.group is 0", c.quant.grid.group = 0);
    BREAK(dequantize, E_SHAPE, "grid.group is 65", c.quant.grid.group = 65);
    BREAK(ranges, E_SHAPE, "grid.group is -16", c.quant.grid.group = -16);
    BREAK(convert, E_SHAPE, "count is -1", c.count = -1);
    BREAK(convert, E_SHAPE, "count is 4611686018427387904", c.count = big);
    BREAK(errors, E_SHAPE, "segment is 0", c.segment = 0);
    BREAK(errors, E_SHAPE, "segment is 65", c.segment = 65);
    BREAK(errors_plain, E_SHAPE, "segment is -1", c.segment = -1);
    BREAK(errors_plain, E_SHAPE, "-4 x 64", c.rows = -4);
    BREAK(errors_plain, E_SHAPE, "4 x 4611686018427387904", c.cols = big);
    /* fits in memory's addresses, but not in the spans */
    BREAK(quantize, E_ARGUMENT, "x has 1024 bytes; it needs 4398046511104",
          c.quant.grid = ((nib_grid){1 << 20, 1 << 20, 1, 1 << 20}));
}

static void bad_enumerations(void)
{
    BREAK(quantize, E_ARGUMENT, "type is 99", c.type = (nib_dtype)99);
    BREAK(quantize, E_ARGUMENT, "type is 7 (I8)", c.type = NIB_I8);
    BREAK(dequantize, E_ARGUMENT, "type is 0", c.type = NIB_DTYPE_NONE);
    BREAK(ranges, E_ARGUMENT, "type is 4 (F64)", c.type = NIB_F64);
    BREAK(errors, E_ARGUMENT, "type is -1", c.type = (nib_dtype)-1);
    BREAK(convert, E_ARGUMENT, "x_type is 99", c.type = (nib_dtype)99);
    BREAK(convert, E_ARGUMENT, "y_type is 11 (I32)", c.other_type = NIB_I32);
    BREAK(errors_plain, E_ARGUMENT, "x_type is 99", c.type = (nib_dtype)99);
    BREAK(errors_plain, E_ARGUMENT, "y_type is 99", c.other_type = (nib_dtype)99);
    BREAK(quantize, E_ARGUMENT, "nonfinite is 3", c.nonfinite = (nib_nonfinite)3);
    BREAK(ranges, E_ARGUMENT, "nonfinite is -1", c.nonfinite = (nib_nonfinite)-1);
}

static void bad_spans(void)
{
    for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++)
        BREAK(operations[i], E_ARGUMENT, "stream is NULL", c.stream = NULL);
    BREAK(quantize, E_ARGUMENT, "planes is NULL", c.planes_null = 1);
    BREAK(dequantize, E_ARGUMENT, "planes is NULL", c.planes_null = 1);
    BREAK(errors, E_ARGUMENT, "planes is NULL", c.planes_null = 1);
    BREAK(quantize, E_ARGUMENT, "x is NULL; it needs 1024 bytes", c.x.handle = NULL);
    BREAK(quantize, E_ARGUMENT, "codes is NULL; it needs 128 bytes", c.planes[0].handle = NULL);
    BREAK(quantize, E_ARGUMENT, "scales is NULL; it needs 32 bytes", c.planes[1].handle = NULL);
    BREAK(dequantize, E_ARGUMENT, "offsets is NULL; it needs 16 bytes", c.planes[2].handle = NULL);
    BREAK(dequantize, E_ARGUMENT, "y is NULL; it needs 1024 bytes", c.y.handle = NULL);
    BREAK(ranges, E_ARGUMENT, "out is NULL; it needs 192 bytes", c.out.handle = NULL);
    BREAK(quantize, E_ARGUMENT, "x has 1023 bytes; it needs 1024", c.x.bytes--);
    BREAK(quantize, E_ARGUMENT, "codes has 127 bytes; it needs 128", c.planes[0].bytes--);
    BREAK(quantize, E_ARGUMENT, "scales has 31 bytes; it needs 32", c.planes[1].bytes--);
    BREAK(quantize, E_ARGUMENT, "offsets has 15 bytes; it needs 16", c.planes[2].bytes--);
    BREAK(quantize, E_ARGUMENT, "report has 19 bytes; it needs 20", c.report.bytes--);
    BREAK(dequantize, E_ARGUMENT, "y has 1023 bytes; it needs 1024", c.y.bytes--);
    BREAK(ranges, E_ARGUMENT, "out has 191 bytes; it needs 192", c.out.bytes--);
    BREAK(errors, E_ARGUMENT, "out has 79 bytes; it needs 80", c.out.bytes = 79);
    BREAK(histogram, E_ARGUMENT, "out has 63 bytes; it needs 64", c.out.bytes = 63);
    BREAK(repack, E_ARGUMENT, "y has 127 bytes; it needs 128", c.target.bytes--);
    BREAK(repack, E_ARGUMENT, "codes has 127 bytes; it needs 128", c.planes[0].bytes--);
    BREAK(convert, E_ARGUMENT, "y has 1023 bytes; it needs 1024", c.y.bytes--);
    BREAK(quantize, E_ALIGN, "multiple of 4", (c.x.offset = 2, c.x.bytes = 4096));
    BREAK(quantize, E_ALIGN, "codes begins at byte", c.planes[0].offset = 1);
    BREAK(quantize, E_ALIGN, "scales begins at byte", c.planes[1].offset = 1);
    BREAK(quantize, E_ALIGN, "report begins at byte", c.report.offset = 2);
    BREAK(dequantize, E_ALIGN, "y begins at byte", c.y.offset = 3);
    BREAK(ranges, E_ALIGN, "out begins at byte", c.out.offset = 1);
    BREAK(quantize, E_ARGUMENT, "codes overlaps scales", c.planes[1].handle = memory.out + 126);
    BREAK(quantize, E_ARGUMENT, "scales overlaps offsets", c.planes[2].handle = memory.out + 256);
    BREAK(quantize, E_ARGUMENT, "codes overlaps report", c.report.handle = memory.out);
    BREAK(quantize, E_ARGUMENT, "overlaps", c.x = nib_wrap(memory.out, 1024));
    BREAK(dequantize, E_ARGUMENT, "overlaps", c.y = nib_wrap(memory.out, 1024));
    BREAK(repack, E_ARGUMENT, "overlaps", c.target = c.planes[0]);
    BREAK(convert, E_ARGUMENT, "overlaps", c.x = c.y);
    BREAK(ranges, E_ARGUMENT, "overlaps", c.report.handle = memory.out + 1280);
    BREAK(errors, E_ARGUMENT, "out overlaps", c.out.handle = memory.out);
    BREAK(histogram, E_ARGUMENT, "overlaps", c.out.handle = memory.out);
}

/* ---- functions without spans ---- */

static void null_results(void)
{
    nib_quant q = by_rows(4, 64, 16, 4, NIB_RULE_SYM_FULL, NIB_F16);
    nib_mem mem;
    CHECK_STATUS(nib_grid_rows(1, 1, 0, NULL), NIB_E_ARGUMENT);
    CHECK_STATUS(nib_grid_tensor(1, 1, NULL), NIB_E_ARGUMENT);
    CHECK_STATUS(nib_grid_axis((int64_t[]){2}, 1, 0, NULL), NIB_E_ARGUMENT);
    CHECK_STATUS(nib_plane_bytes(&q, NIB_PLANE_CODES, NULL), NIB_E_ARGUMENT);
    CHECK_STATUS(nib_error_blocks(1, 1, 1, NULL), NIB_E_ARGUMENT);
    CHECK_STATUS(nib_devices(NULL, 0, NULL), NIB_E_ARGUMENT);
    CHECK_STATUS(nib_open("ref", NULL, NULL), NIB_E_ARGUMENT);
    CHECK_STATUS(nib_stream_open(ref_ctx, NULL), NIB_E_ARGUMENT);
    CHECK_STATUS(nib_stream_open(NULL, &(nib_stream *){NULL}), NIB_E_ARGUMENT);
    CHECK_STATUS(nib_alloc(ref_ctx, 1, NULL), NIB_E_ARGUMENT);
    CHECK_STATUS(nib_alloc(NULL, 1, &mem), NIB_E_ARGUMENT);
    CHECK_STATUS(nib_sync(NULL), NIB_E_ARGUMENT);
    nib_close(NULL);
    nib_stream_close(NULL);
    nib_free(ref_ctx, NULL);
    nib_free(NULL, &(nib_mem){0});
}

static void grids(void)
{
    nib_grid g = {9, 9, 9, 9};
    CHECK_STATUS(nib_grid_rows(-1, 4, 0, &g), NIB_E_SHAPE);
    CHECK_STATUS(nib_grid_rows(4, 4, -1, &g), NIB_E_SHAPE);
    CHECK_STATUS(nib_grid_tensor(INT64_C(1) << 31, INT64_C(1) << 31, &g), NIB_E_SHAPE);
    CHECK_STATUS(nib_grid_axis((int64_t[]){2, 3}, 2, 2, &g), NIB_E_SHAPE);
    CHECK_STATUS(nib_grid_axis((int64_t[]){2, 3}, 2, -1, &g), NIB_E_SHAPE);
    CHECK_STATUS(nib_grid_axis((int64_t[]){2, -3}, 2, 0, &g), NIB_E_SHAPE);
    CHECK_STATUS(nib_grid_axis((int64_t[]){2}, 9, 0, &g), NIB_E_SHAPE);
    CHECK_STATUS(nib_grid_axis(NULL, 1, 0, &g), NIB_E_ARGUMENT);
    CHECK_STATUS(nib_grid_axis((int64_t[]){1 << 30, 1 << 30, 1 << 30}, 3, 1, &g), NIB_E_SHAPE);
    CHECK(g.rows == 9 && g.cols == 9 && g.period == 9 && g.group == 9, "untouched on failure");
    static const struct {
        int64_t rows, cols, group;
        nib_grid grid;
    } rows[] = {{4, 64, 16, {4, 64, 4, 16}},
                {4, 64, 0, {4, 64, 4, 64}},
                {4, 64, 65, {4, 64, 4, 64}},
                {4, 64, 63, {4, 64, 4, 63}}};
    for (size_t i = 0; i < 4; i++) {
        CHECK_OK(nib_grid_rows(rows[i].rows, rows[i].cols, rows[i].group, &g));
        CHECK(!memcmp(&g, &rows[i].grid, sizeof g), "row %zu", i);
    }
    static const nib_grid by_axis[3] = {{2, 12, 2, 12}, {6, 4, 3, 4}, {6, 4, 1, 1}};
    for (int axis = 0; axis < 3; axis++) {
        CHECK_OK(nib_grid_axis((int64_t[]){2, 3, 4}, 3, axis, &g));
        CHECK(!memcmp(&g, &by_axis[axis], sizeof g), "axis %d", axis);
    }
}

static void plane_sizes(void)
{
    static const struct {
        int64_t rows, cols, group;
        int bits;
        nib_dtype scale_type;
        nib_rule rule;
        nib_layout layout;
        size_t bytes[3];
    } rows[] = {
        /* 128 codes of 4 bits: 64 bytes a row */
        {3, 128, 128, 4, NIB_F16, NIB_RULE_SYM_FULL, NIB_LAYOUT_CANONICAL, {192, 6, 0}},
        {3, 128, 32, 4, NIB_F32, NIB_RULE_ASYM_ZERO, NIB_LAYOUT_CANONICAL, {192, 48, 12}},
        {3, 128, 32, 4, NIB_BF16, NIB_RULE_ASYM_MIN, NIB_LAYOUT_CANONICAL, {192, 24, 24}},
        /* 3 * 4 bits of zeros down 3 rows: one word for each of 4 groups */
        {3, 128, 32, 4, NIB_BF16, NIB_RULE_ASYM_ZERO, NIB_LAYOUT_CT_PACKED, {192, 24, 16}},
        /* 9 * 4 bits: two words */
        {9, 128, 32, 4, NIB_BF16, NIB_RULE_ASYM_ZERO, NIB_LAYOUT_CT_PACKED, {576, 72, 32}},
        /* 33 codes of 3 bits are 99 bits: 16 bytes */
        {2, 33, 16, 3, NIB_F16, NIB_RULE_SYM_FULL, NIB_LAYOUT_CT_PACKED, {32, 12, 0}},
        {2, 33, 0, 8, NIB_F16, NIB_RULE_ASYM_ZERO, NIB_LAYOUT_CT_INT8, {66, 4, 2}},
        {2, 33, 0, 8, NIB_F16, NIB_RULE_ASYM_ZERO, NIB_LAYOUT_CANONICAL, {72, 4, 2}},
        {2, 33, 0, 16, NIB_F16, NIB_RULE_ASYM_ZERO, NIB_LAYOUT_CANONICAL, {136, 4, 4}},
        {0, 33, 0, 4, NIB_F16, NIB_RULE_ASYM_ZERO, NIB_LAYOUT_CT_PACKED, {0, 0, 0}},
        {33, 0, 0, 4, NIB_F16, NIB_RULE_ASYM_ZERO, NIB_LAYOUT_CT_PACKED, {0, 0, 0}},
        /* 2^60 scales of 4 bytes */
        {1 << 30,
         1 << 30,
         1,
         8,
         NIB_F32,
         NIB_RULE_SYM_FULL,
         NIB_LAYOUT_CT_INT8,
         {(size_t)1 << 60, (size_t)1 << 62, 0}},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        nib_quant q = by_rows(rows[i].rows, rows[i].cols, rows[i].group, rows[i].bits, rows[i].rule,
                              rows[i].scale_type);
        q.layout = rows[i].layout;
        for (int p = 0; p < 3; p++) {
            size_t bytes = 12345;
            CHECK_OK(nib_plane_bytes(&q, (nib_plane)p, &bytes));
            CHECK(bytes == rows[i].bytes[p], "row %zu, plane %d: %zu", i, p, bytes);
        }
    }
    nib_quant q = by_rows(2, 2, 0, 4, NIB_RULE_SYM_FULL, NIB_F16), by_hand = {.grid = {0, 5, 0, 0}};
    size_t bytes = 12345;
    CHECK_STATUS(nib_plane_bytes(&q, (nib_plane)3, &bytes), NIB_E_ARGUMENT);
    q.grid.rows = INT64_C(1) << 62;
    CHECK_STATUS(nib_plane_bytes(&q, NIB_PLANE_CODES, &bytes), NIB_E_SHAPE);
    CHECK_STATUS(nib_plane_bytes(NULL, NIB_PLANE_CODES, &bytes), NIB_E_ARGUMENT);
    CHECK(bytes == 12345, "untouched on failure");
    by_hand.bits = 4, by_hand.scale_type = NIB_F16, by_hand.rule = NIB_RULE_ASYM_ZERO;
    by_hand.layout = NIB_LAYOUT_CANONICAL;
    CHECK_OK(nib_plane_bytes(&by_hand, NIB_PLANE_OFFSETS, &bytes));
    CHECK(bytes == 0, "an empty grid's period and group do not matter");

    static const int64_t blocks[][4] = {{2, 1024, 1024, 2},  {2, 1025, 1025, 4}, {3, 100, 32, 12},
                                        {3, 1500, 1200, 12}, {0, 7, 7, 0},       {7, 0, 0, 0}};
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++) {
        int64_t count = -1;
        CHECK_OK(nib_error_blocks(blocks[i][0], blocks[i][1], blocks[i][2], &count));
        CHECK(count == blocks[i][3], "row %zu: %lld", i, (long long)count);
    }
}

/* Nothing to do needs no memory. */
static void empty_tensors(void)
{
    static const nib_mem none;
    const nib_mem planes[NIB_PLANES] = {{0}};
    for (int i = 0; i < 2; i++) {
        int64_t rows = i ? 0 : 5, cols = i ? 5 : 0;
        nib_quant q = by_rows(rows, cols, 0, 4, NIB_RULE_ASYM_ZERO, NIB_F16);
        CHECK_OK(nib_ranges(ref, &q.grid, NIB_F32, none, NIB_NONFINITE_ERROR, none, none));
        CHECK_OK(nib_quantize(ref, &q, NIB_F32, none, NIB_NONFINITE_ERROR, planes, none));
        CHECK_OK(nib_dequantize(ref, &q, planes, NIB_F32, none));
        CHECK_OK(nib_repack(ref, &q, NIB_PLANE_CODES, none, NIB_LAYOUT_CT_PACKED, none));
        CHECK_OK(nib_repack(ref, &q, NIB_PLANE_OFFSETS, none, NIB_LAYOUT_CT_PACKED, none));
        CHECK_OK(nib_errors(ref, &q, NIB_F32, none, planes, 0, none));
        CHECK_OK(nib_errors_plain(ref, rows, cols, NIB_F32, none, NIB_F16, none, 1, none));
        uint32_t counts[16] = {0};
        CHECK_OK(nib_histogram(ref, &q, none, nib_wrap(counts, sizeof counts)));
    }
    CHECK_OK(nib_convert(ref, 0, NIB_F32, none, NIB_F16, none));
    CHECK_OK(nib_upload(ref, none, NULL, 0));
    CHECK_OK(nib_download(ref, NULL, none, 0));
}

/* ---- tables ---- */

static void tables(void)
{
    char text[64];
    snprintf(text, sizeof text, "%d.%d.%d", NIB_VERSION_MAJOR, NIB_VERSION_MINOR,
             NIB_VERSION_PATCH);
    CHECK(!strcmp(nib_version(), text), "%s", nib_version());
    CHECK(!strcmp(nib_status_name(NIB_E_SHAPE), "E_SHAPE"), "%s", nib_status_name(NIB_E_SHAPE));
    CHECK(!strcmp(nib_status_name((nib_status)12345), "?"), "unknown");
    CHECK(nib_status_exit_code(NIB_OK) == 0 && nib_status_exit_code(NIB_E_SPACE) == 5 &&
              nib_status_exit_code(NIB_E_INTERRUPTED) == 130 &&
              nib_status_exit_code((nib_status)12345) == 1,
          "exit codes");
    CHECK(nib_dtype_find("BF16", 4) == NIB_BF16 && nib_dtype_find("BF16", 3) == NIB_DTYPE_NONE &&
              nib_dtype_find("bf16", 4) == NIB_DTYPE_NONE && nib_dtype_find("", 0) == 0,
          "names are exact");
    CHECK(nib_dtype_bits(NIB_F4) == 4 && nib_dtype_bits((nib_dtype)99) == 0, "bits");
    CHECK(!strcmp(nib_dtype_name((nib_dtype)99), "?") &&
              !strcmp(nib_rule_name((nib_rule)99), "?") &&
              !strcmp(nib_layout_name((nib_layout)99), "?"),
          "unknown");
    CHECK(nib_layout_tile_rows(NIB_LAYOUT_CT_PACKED) == 32 &&
              nib_layout_tile_rows((nib_layout)99) == 0,
          "tiles");
    for (size_t i = 0; i < nib_scheme_count(); i++) {
        const nib_scheme *s = nib_scheme_at(i);
        CHECK(nib_scheme_find(s->name) == s && nib_scheme_find(s->alias) == s, "%s", s->name);
        size_t k = 0;
        for (; s->name[k]; k++) text[k] = s->name[k] == '_' ? '-' : (char)toupper(s->name[k]);
        text[k] = 0;
        CHECK(nib_scheme_find(text) == s, "%s", text);
        for (size_t j = 0; j < i; j++) CHECK(nib_scheme_at(j)->wire != s->wire, "wire %d", s->wire);
    }
    CHECK(nib_scheme_at(nib_scheme_count()) == NULL && nib_scheme_find("int") == NULL &&
              nib_scheme_find("int44") == NULL && nib_scheme_find("") == NULL &&
              nib_scheme_find(NULL) == NULL,
          "no such scheme");
}

int main(void)
{
    ref_open();
    unbroken();
    bad_descriptions();
    bad_shapes();
    bad_enumerations();
    bad_spans();
    null_results();
    grids();
    plane_sizes();
    empty_tensors();
    tables();
    ref_close();
    return check_done();
}
