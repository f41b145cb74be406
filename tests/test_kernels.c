/* test_kernels.c - the walk: every kernel row of a device, forced by name, over shapes x
 * distributions x code spaces, against `ref`, byte for byte. Outputs are poisoned and guarded; a
 * row that never ran is a failure.
 *
 * test_kernels DEVICE [--part I/N] [--seed S] [--elements MAX]: part I of N (0-based) of the cases,
 * of shapes of at most MAX elements. */
#include "../host/core/backend.h"
#include "../host/core/internal.h"
#include "../host/core/request.h"
#include "../host/core/scheme.h"
#include "cases.h"
#include "spans.h"

/* ---- one case ---- */

/* A request's recipe: what to bind to each span role, so that it can be made for any context. */
typedef struct walk_case {
    nib_op op;
    nib_quant quant;
    nib_block block; /* where the operation is on blocks */
    nib_dtype x_type, y_type;
    nib_nonfinite nonfinite;
    nib_plane plane;
    nib_layout to;
    int64_t segment;
    const void *data[NIB_SPANS]; /* inputs */
    size_t bytes[NIB_SPANS];
    unsigned written; /* bit per role */
    int with_report;
    int aligned; /* spans begin at multiples of PAD, not of their elements alone */
    const char *shape, *values;
} walk_case;

static nib_status make_request(const walk_case *c, const nib_ctx *ctx, const nib_mem m[NIB_SPANS],
                               nib_request *r)
{
    const nib_mem planes[NIB_PLANES] = {m[NIB_CODES], m[NIB_SCALES], m[NIB_OFFSETS]};
    const nib_grid *g = &c->quant.grid;
    switch (c->op) {
    case NIB_OP_RANGES:
        return nib_request_ranges(ctx, g, c->x_type, m[NIB_X], c->nonfinite, m[NIB_OUT],
                                  m[NIB_REPORT], r);
    case NIB_OP_QUANTIZE:
        return nib_request_quantize(ctx, &c->quant, c->x_type, m[NIB_X], c->nonfinite, planes,
                                    m[NIB_REPORT], r);
    case NIB_OP_DEQUANTIZE:
        return nib_request_dequantize(ctx, &c->quant, planes, c->y_type, m[NIB_Y], r);
    case NIB_OP_REPACK:
        return nib_request_repack(ctx, &c->quant, c->plane, m[NIB_CODES], c->to, m[NIB_Y], r);
    case NIB_OP_CONVERT:
        return nib_request_convert(ctx, g->rows * g->cols, c->x_type, m[NIB_X], c->y_type, m[NIB_Y],
                                   r);
    case NIB_OP_ERRORS:
        if (c->quant.bits)
            return nib_request_errors(ctx, &c->quant, c->x_type, m[NIB_X], planes, c->segment,
                                      m[NIB_OUT], r);
        return nib_request_errors_plain(ctx, g->rows, g->cols, c->x_type, m[NIB_X], c->y_type,
                                        m[NIB_Y], c->segment, m[NIB_OUT], r);
    case NIB_OP_HISTOGRAM:
        return nib_request_histogram(ctx, &c->quant, m[NIB_CODES], m[NIB_OUT], r);
    case NIB_OP_QUANTIZE_BLOCKS:
        return nib_request_quantize_blocks(ctx, c->block, g->rows, g->cols, c->x_type, m[NIB_X],
                                           m[NIB_SCALES], c->nonfinite, m[NIB_OUT], m[NIB_REPORT],
                                           r);
    case NIB_OP_DEQUANTIZE_BLOCKS:
        return nib_request_dequantize_blocks(ctx, c->block, g->rows, g->cols, m[NIB_X], c->y_type,
                                             m[NIB_Y], r);
    case NIB_OP_UNPACK_BLOCKS:
        return nib_request_unpack_blocks(ctx, c->block, g->rows, g->cols, m[NIB_X], planes, r);
    default: break;
    }
    return NIB_E_INTERNAL;
}

static size_t role_align(const walk_case *c, int role)
{
    switch (role) {
    case NIB_X:
        return c->op >= NIB_OP_DEQUANTIZE_BLOCKS ? 2 : (size_t)nib_dtype_bits(c->x_type) / 8;
    case NIB_Y: return c->op == NIB_OP_REPACK ? 1 : (size_t)nib_dtype_bits(c->y_type) / 8;
    case NIB_SCALES: return (size_t)nib_dtype_bits(c->quant.scale_type) / 8;
    case NIB_OFFSETS:
        return nib_rule_offset(c->quant.rule) == NIB_OFFSET_MIN
                   ? (size_t)nib_dtype_bits(c->quant.scale_type) / 8
                   : 2;
    case NIB_CODES: return c->op == NIB_OP_REPACK ? 1 : 4;
    case NIB_OUT: return c->op == NIB_OP_QUANTIZE_BLOCKS ? 2 : 4;
    default: return 4;
    }
}

/* Binds spans in the stream's memory, runs, and returns the outputs (malloc'd). `poison` fills what
 * is to be written. */
static nib_status run_case(const walk_case *c, nib_stream *stream, const nib_kernel *forced,
                           int poison, unsigned char *outputs[NIB_SPANS])
{
    span spans[NIB_SPANS];
    nib_mem m[NIB_SPANS] = {{0}};
    for (int i = 0; i < NIB_SPANS; i++) {
        if (!c->bytes[i]) continue;
        int aligned = c->aligned || (forced && (forced->conditions & NIB_IF_ALIGN16));
        size_t align = aligned ? PAD : role_align(c, i);
        spans[i] = span_make(stream, c->bytes[i], c->data[i], poison, align);
        m[i] = spans[i].mem;
    }
    nib_request request;
    nib_status status = make_request(c, stream->ctx, m, &request);
    if (status == NIB_OK) status = nib_run(stream, &request, forced ? forced->name : NULL);
    if (status == NIB_OK) status = nib_sync(stream);
    for (int i = 0; i < NIB_SPANS; i++) {
        outputs[i] = NULL;
        if (!c->bytes[i]) continue;
        unsigned char *bytes = span_take(stream, &spans[i], poison);
        if (c->written >> i & 1) outputs[i] = bytes;
        else {
            CHECK(!memcmp(bytes, c->data[i], c->bytes[i]), "%s changed its input",
                  forced ? forced->name : "ref");
            free(bytes);
        }
    }
    return status;
}

/* ---- the walk ---- */

static struct {
    nib_ctx *ref_ctx, *ctx;
    nib_stream *ref, *stream;
    long *runs; /* per kernel row */
    long cases, refusals;
    int64_t codes; /* compared */
    uint64_t random;
    int part, parts;
    int64_t elements; /* of the largest shape */
} walk;

static void describe(const walk_case *c, const char *kernel, int role)
{
    const nib_grid *g = &c->quant.grid;
    fprintf(stderr,
            "  %s: output %d; shape %lldx%lld (%s) period %lld group %lld; %d bits, rule %s, "
            "layout %s->%s, scales %s, block %s, x %s, "
            "y %s, values %s, nonfinite %d, segment %lld\n",
            kernel, role, (long long)g->rows, (long long)g->cols, c->shape, (long long)g->period,
            (long long)g->group, c->quant.bits, nib_rule_name(c->quant.rule),
            nib_layout_name(c->quant.layout), nib_layout_name(c->to),
            nib_dtype_name(c->quant.scale_type), c->block ? nib_block_get(c->block)->name : "none",
            nib_dtype_name(c->x_type), nib_dtype_name(c->y_type), c->values, (int)c->nonfinite,
            (long long)c->segment);
}

static void compare(const walk_case *c, const char *kernel, int role, const unsigned char *expected,
                    const unsigned char *got)
{
    size_t first = 0, different = 0;
    for (size_t i = c->bytes[role]; i-- > 0;)
        if (expected[i] != got[i]) first = i, different++;
    if (!CHECK(different == 0, "%zu of %zu bytes differ, first at %zu: expected %02x, got %02x",
               different, c->bytes[role], first, expected[first], got[first]))
        describe(c, kernel, role);
    walk.codes += (int64_t)c->bytes[role];
}

/* Runs the case on ref and on every row of the device that accepts it. Returns ref's outputs; free
 * with drop(). */
static void walk_one(const walk_case *c, unsigned char *expected[NIB_SPANS])
{
    const nib_backend *backend = walk.ctx->backend;
    if (!CHECK(run_case(c, walk.ref, NULL, 0xA5, expected) == NIB_OK, "ref: %s",
               nib_last_error())) {
        describe(c, "ref", -1);
        return;
    }
    nib_request shape;
    nib_mem far[NIB_SPANS]; /* non-overlapping addresses that satisfy the request's checks; nothing
                               reads them */
    for (int i = 0; i < NIB_SPANS; i++) {
        far[i] = (nib_mem){(void *)(((uintptr_t)i + 1) << 40), 0, c->bytes[i]};
        if (!c->bytes[i]) far[i].handle = NULL;
    }
    if (!CHECK(make_request(c, walk.ref_ctx, far, &shape) == NIB_OK, "%s", nib_last_error()))
        return;
    walk.cases++;
    for (size_t k = 0; k < backend->kernel_count; k++) {
        const nib_kernel *kernel = &backend->kernels[k];
        if (kernel->op != c->op) continue;
        if (nib_kernel_refusal(kernel, walk.ctx->features, &shape)) {
            walk.refusals++;
            continue;
        }
        unsigned char *got[NIB_SPANS];
        nib_status status = run_case(c, walk.stream, kernel, 0x5A, got);
        if (!CHECK(status == NIB_OK, "%s: %s", kernel->name, nib_last_error()))
            describe(c, kernel->name, -1);
        for (int i = 0; i < NIB_SPANS; i++) {
            if (got[i] && status == NIB_OK) compare(c, kernel->name, i, expected[i], got[i]);
            free(got[i]);
        }
        walk.runs[k]++;
    }
}

static void drop(unsigned char *outputs[NIB_SPANS])
{
    for (int i = 0; i < NIB_SPANS; i++) free(outputs[i]);
}

/* ---- cases ---- */

/* Elements of a type, malloc'd. */
static void *make_values(const case_values *values, nib_dtype type, int64_t count, int64_t cols)
{
    size_t size = (size_t)nib_dtype_bits(type) / 8;
    unsigned char *bytes = malloc((size_t)count * size + 1);
    for (int64_t i = 0; i < count; i++) {
        float x = values->at(&walk.random, i, cols);
        uint32_t raw = nib_to_type((nib_i32)type, x);
        /* a value beyond the type's range is a large finite one, unless infinities are wanted */
        if (!values->nonfinite && !nib_is_finite(nib_from_type((nib_i32)type, raw)))
            raw = nib_to_type((nib_i32)type,
                              x > 0 ? nib_type_max((nib_i32)type) : -nib_type_max((nib_i32)type));
        memcpy(bytes + (size_t)i * size, &raw, size);
    }
    return bytes;
}

static nib_dtype pick_type(void)
{
    static const nib_dtype types[] = {NIB_F32, NIB_F16, NIB_BF16};
    return types[check_random(&walk.random) % 3];
}

/* One in eight groups of a file may hold anything: NaN, infinite, subnormal or zero scales and
 * mins. */
static void spoil(unsigned char *bytes, size_t count, nib_dtype type)
{
    static const uint32_t odd[] = {0x7fc00001u, 0xff800000u, 0x7f800000u, 0x00000001u,
                                   0x00000000u, 0x80000000u, 0x7f7fffffu};
    size_t size = (size_t)nib_dtype_bits(type) / 8;
    for (size_t i = 0; i < count; i++) {
        if (check_random(&walk.random) % 8) continue;
        uint32_t raw =
            nib_to_type((nib_i32)type, NIB_BITS_F32(odd[check_random(&walk.random) % 7]));
        memcpy(bytes + i * size, &raw, size);
    }
}

static size_t plane_bytes(const nib_quant *quant, nib_plane plane)
{
    size_t bytes = 0;
    CHECK_OK(nib_plane_bytes(quant, plane, &bytes));
    return bytes;
}

static void walk_repack(const walk_case *base, const nib_quant *quant, nib_plane plane,
                        const unsigned char *bytes)
{
    static const nib_layout layouts[] = {NIB_LAYOUT_CANONICAL, NIB_LAYOUT_CT_PACKED,
                                         NIB_LAYOUT_CT_INT8};
    for (int i = 0; i < 3; i++) {
        nib_quant target = *quant;
        target.layout = layouts[i];
        if (nib_quant_check(&target, NULL, NULL) != NIB_OK) continue;
        walk_case c = {.op = NIB_OP_REPACK,
                       .quant = *quant,
                       .plane = plane,
                       .to = layouts[i],
                       .x_type = NIB_F32,
                       .y_type = NIB_F32,
                       .shape = base->shape,
                       .values = base->values};
        c.data[NIB_CODES] = bytes;
        c.bytes[NIB_CODES] = plane_bytes(quant, plane);
        c.bytes[NIB_Y] = plane_bytes(&target, plane);
        c.written = NIB_BIT(NIB_Y);
        unsigned char *out[NIB_SPANS] = {NULL}, *back[NIB_SPANS] = {NULL};
        walk_one(&c, out);
        /* and back: lossless */
        walk_case d = c;
        d.quant = target;
        d.to = quant->layout;
        d.data[NIB_CODES] = out[NIB_Y];
        d.bytes[NIB_CODES] = c.bytes[NIB_Y];
        d.bytes[NIB_Y] = c.bytes[NIB_CODES];
        if (out[NIB_Y] || !c.bytes[NIB_Y]) {
            walk_one(&d, back);
            if (back[NIB_Y] && !CHECK(!memcmp(back[NIB_Y], bytes, d.bytes[NIB_Y]),
                                      "repack there and back differs"))
                describe(&c, "ref", NIB_Y);
        }
        drop(out);
        drop(back);
    }
}

/* Quantize, then everything that takes its planes. */
static void walk_quantized(const case_shape *shape, const case_values *values,
                           const nib_quant *quant, nib_dtype type, nib_nonfinite nonfinite)
{
    const nib_grid *g = &quant->grid;
    nib_report empty = NIB_REPORT_EMPTY;
    void *x = make_values(values, type, g->rows * g->cols, g->cols ? g->cols : 1);
    walk_case q = {.op = NIB_OP_QUANTIZE,
                   .quant = *quant,
                   .x_type = type,
                   .y_type = NIB_F32,
                   .nonfinite = nonfinite,
                   .to = quant->layout,
                   .shape = shape->why,
                   .values = values->name};
    q.data[NIB_X] = x;
    q.bytes[NIB_X] = (size_t)(g->rows * g->cols) * (size_t)nib_dtype_bits(type) / 8;
    for (int p = 0; p < NIB_PLANES; p++) q.bytes[NIB_CODES + p] = plane_bytes(quant, (nib_plane)p);
    q.data[NIB_REPORT] = &empty;
    q.bytes[NIB_REPORT] = check_random(&walk.random) % 4 ? sizeof empty : 0;
    q.written =
        NIB_BIT(NIB_CODES) | NIB_BIT(NIB_SCALES) | NIB_BIT(NIB_OFFSETS) | NIB_BIT(NIB_REPORT);
    unsigned char *planes[NIB_SPANS] = {NULL};
    walk_one(&q, planes);

    walk_case e = q; /* errors against the codes, per tensor and per group */
    e.op = NIB_OP_ERRORS;
    for (int p = NIB_CODES; p <= NIB_OFFSETS; p++) e.data[p] = planes[p];
    e.bytes[NIB_REPORT] = 0;
    e.written = NIB_BIT(NIB_OUT);
    e.segment = check_random(&walk.random) & 1 ? g->cols : g->group;
    int64_t blocks = 0;
    CHECK_OK(nib_error_blocks(g->rows, g->cols, e.segment, &blocks));
    e.bytes[NIB_OUT] = (size_t)blocks * sizeof(nib_error_block);
    unsigned char *out[NIB_SPANS] = {NULL};
    walk_one(&e, out);
    drop(out);

    if (check_random(&walk.random) & 1) { /* hostile planes, as a file may hold */
        int64_t cells = g->rows && g->cols ? g->period * nib_ceil_div(g->cols, g->group) : 0;
        for (size_t i = 0; i < q.bytes[NIB_CODES]; i++)
            planes[NIB_CODES][i] = (unsigned char)check_random(&walk.random);
        if (planes[NIB_SCALES]) spoil(planes[NIB_SCALES], (size_t)cells, quant->scale_type);
        if (nib_rule_offset(quant->rule) == NIB_OFFSET_MIN && planes[NIB_OFFSETS])
            spoil(planes[NIB_OFFSETS], (size_t)cells, quant->scale_type);
        for (size_t i = 0;
             nib_rule_offset(quant->rule) == NIB_OFFSET_ZERO && i < q.bytes[NIB_OFFSETS]; i++)
            planes[NIB_OFFSETS][i] = (unsigned char)check_random(&walk.random);
    }
    walk_case d = e;
    d.op = NIB_OP_DEQUANTIZE;
    d.y_type = pick_type();
    d.bytes[NIB_X] = d.bytes[NIB_OUT] = 0;
    d.bytes[NIB_Y] = (size_t)(g->rows * g->cols) * (size_t)nib_dtype_bits(d.y_type) / 8;
    d.written = NIB_BIT(NIB_Y);
    walk_one(&d, out);
    drop(out);

    if (quant->bits <= 8) {
        uint32_t counts[256];
        for (int i = 0; i < 256; i++) counts[i] = (uint32_t)i;
        walk_case h = d;
        h.op = NIB_OP_HISTOGRAM;
        h.bytes[NIB_SCALES] = h.bytes[NIB_OFFSETS] = h.bytes[NIB_Y] = 0;
        h.data[NIB_OUT] = counts;
        h.bytes[NIB_OUT] = (size_t)4 << quant->bits;
        h.written = NIB_BIT(NIB_OUT);
        walk_one(&h, out);
        drop(out);
    }
    drop(planes);
    free(x);
}

/* Planes of random elements, whose padding is zero as every layout has it: made by repacking random
 * canonical bytes. */
static void walk_layouts(const case_shape *shape, const nib_quant *quant)
{
    walk_case base = {.shape = shape->why, .values = "random codes"};
    for (int p = NIB_PLANE_CODES; p <= NIB_PLANE_OFFSETS; p += 2) {
        if (p == NIB_PLANE_OFFSETS && nib_rule_offset(quant->rule) != NIB_OFFSET_ZERO) continue;
        size_t bytes = plane_bytes(quant, (nib_plane)p);
        unsigned char *plane = calloc(1, bytes + 1);
        const nib_layout_row *layout = nib_layout_find(quant->layout);
        const nib_grid *g = &quant->grid;
        int64_t rows = p ? (g->cols ? g->period : 0) : g->rows,
                cols = p ? (g->cols ? nib_ceil_div(g->cols, g->group) : 0) : g->cols;
        nib_place place;
        CHECK_OK(
            nib_place_make(p ? &layout->zeros : &layout->codes, rows, cols, quant->bits, &place));
        for (int64_t r = 0; r < place.streams; r++)
            for (int64_t k = 0; k < place.length; k++) { /* canonical: rows of LSB-first elements */
                uint32_t value = (uint32_t)check_random(&walk.random) & ((1u << quant->bits) - 1u);
                for (int b = 0; b < quant->bits; b++) {
                    int64_t bit = k * place.width + b;
                    plane[r * place.pitch + bit / 8] |=
                        (unsigned char)((value >> b & 1u) << (bit % 8));
                }
            }
        walk_repack(&base, quant, (nib_plane)p, plane);
        free(plane);
    }
}

static void walk_plain(const case_shape *shape, const case_values *values, const nib_grid *grid,
                       nib_dtype type, nib_nonfinite nonfinite)
{
    nib_report empty = NIB_REPORT_EMPTY;
    int64_t count = grid->rows * grid->cols,
            cells = count ? grid->period * nib_ceil_div(grid->cols, grid->group) : 0;
    void *x = make_values(values, type, count, grid->cols ? grid->cols : 1);
    nib_dtype y_type = pick_type();
    walk_case c = {.op = NIB_OP_CONVERT,
                   .x_type = type,
                   .y_type = y_type,
                   .nonfinite = nonfinite,
                   .shape = shape->why,
                   .values = values->name};
    c.quant.grid = *grid;
    c.data[NIB_X] = x;
    c.bytes[NIB_X] = (size_t)count * (size_t)nib_dtype_bits(type) / 8;
    c.bytes[NIB_Y] = (size_t)count * (size_t)nib_dtype_bits(y_type) / 8;
    c.written = NIB_BIT(NIB_Y);
    unsigned char *y[NIB_SPANS] = {NULL}, *out[NIB_SPANS] = {NULL};
    walk_one(&c, y);

    walk_case e = c;
    e.op = NIB_OP_ERRORS;
    e.data[NIB_Y] = y[NIB_Y];
    e.segment = check_random(&walk.random) & 1 ? grid->cols : grid->group;
    int64_t blocks = 0;
    CHECK_OK(nib_error_blocks(grid->rows, grid->cols, e.segment, &blocks));
    e.bytes[NIB_OUT] = (size_t)blocks * sizeof(nib_error_block);
    e.written = NIB_BIT(NIB_OUT);
    walk_one(&e, out);
    drop(out);
    drop(y);

    walk_case r = c;
    r.op = NIB_OP_RANGES;
    r.bytes[NIB_Y] = 0;
    r.bytes[NIB_OUT] = (size_t)cells * sizeof(nib_range);
    r.data[NIB_REPORT] = &empty;
    r.bytes[NIB_REPORT] = sizeof empty;
    r.written = NIB_BIT(NIB_OUT) | NIB_BIT(NIB_REPORT);
    walk_one(&r, out);
    drop(out);
    free(x);
}

/* Every bits x rule x scale type over every shape; what else varies is drawn from the seed. */
static void walk_all(void)
{
    static const nib_rule rules[] = {
#define NIB_RULE(ID, ...) NIB_RULE_##ID,
#include "../include/nibble_schemes.def"
    };
    static const nib_layout layouts[] = {NIB_LAYOUT_CANONICAL, NIB_LAYOUT_CANONICAL,
                                         NIB_LAYOUT_CT_INT8, NIB_LAYOUT_CT_PACKED};
    static const nib_dtype types[] = {NIB_F32, NIB_F16, NIB_BF16};
    long index = 0;
    for (int s = 0; s < CASE_COUNT(case_shapes); s++)
        for (int b = 0; b < CASE_COUNT(case_bits); b++)
            for (int r = 0; r < CASE_COUNT(rules); r++)
                for (int t = 0; t < 3; t++) {
                    uint64_t seed = walk.random;
                    const case_shape *shape = &case_shapes[s];
                    if (shape->rows * shape->cols > walk.elements) continue;
                    if (index++ % walk.parts != walk.part) continue;
                    walk.random = seed ^ (uint64_t)index * UINT64_C(0x9e3779b97f4a7c15);
                    const case_values *values = &case_distributions[check_random(&walk.random) %
                                                                    CASE_COUNT(case_distributions)];
                    nib_nonfinite nonfinite = (nib_nonfinite)(check_random(&walk.random) % 3);
                    nib_quant quant = {
                        .bits = case_bits[b], .scale_type = types[t], .rule = rules[r]};
                    quant.layout = layouts[check_random(&walk.random) % 3];
                    if (quant.bits != 8 && quant.layout == NIB_LAYOUT_CT_INT8)
                        quant.layout = NIB_LAYOUT_CT_PACKED;
                    if (quant.layout == NIB_LAYOUT_CT_PACKED &&
                        nib_rule_offset(quant.rule) == NIB_OFFSET_ZERO)
                        quant.layout = NIB_LAYOUT_CANONICAL;
                    CHECK_OK(nib_grid_rows(shape->rows, shape->cols, shape->group, &quant.grid));
                    if (shape->period) quant.grid.period = shape->period;
                    walk_quantized(shape, values, &quant, pick_type(), nonfinite);
                    quant.layout = NIB_LAYOUT_CANONICAL;
                    if (t == 0) walk_layouts(shape, &quant);
                    if (b == 0) walk_plain(shape, values, &quant.grid, pick_type(), nonfinite);
                    walk.random = seed;
                }
}

#include "walk_blocks.h"

int main(int argc, char **argv)
{
    const char *device = argc > 1 ? argv[1] : "ref";
    int some = 0; /* --rows some: a small part of the walk, which need not run every row */
    walk.parts = 1;
    walk.elements = INT64_MAX;
    walk.random = 1;
    for (int i = 2; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--part")) sscanf(argv[i + 1], "%d/%d", &walk.part, &walk.parts);
        if (!strcmp(argv[i], "--elements")) walk.elements = strtoll(argv[i + 1], NULL, 10);
        if (!strcmp(argv[i], "--rows")) some = !strcmp(argv[i + 1], "some");
        if (!strcmp(argv[i], "--seed")) walk.random = strtoull(argv[i + 1], NULL, 10);
    }
    nib_status status = nib_open(device, NULL, &walk.ctx);
    if (status == NIB_E_NO_DEVICE || status == NIB_E_UNSUPPORTED) { /* built without its kernels */
        check_skip(device, nib_last_error());
        return check_done();
    }
    if (!CHECK_OK(status) || !CHECK_OK(nib_open("ref", NULL, &walk.ref_ctx)) ||
        !CHECK_OK(nib_stream_open(walk.ctx, &walk.stream)) ||
        !CHECK_OK(nib_stream_open(walk.ref_ctx, &walk.ref)))
        return check_done();
    walk.runs = calloc(walk.ctx->backend->kernel_count, sizeof *walk.runs);
    walk_all();
    walk_blocks();
    for (size_t k = 0; k < walk.ctx->backend->kernel_count; k++) {
        const nib_kernel *kernel = &walk.ctx->backend->kernels[k];
        if (kernel->op >= NIB_OP_PACK) continue; /* test_matmul.c */
        printf("%8ld runs  %s\n", walk.runs[k], kernel->name);
        if ((kernel->features & walk.ctx->features) != kernel->features)
            check_skip(kernel->name, "the device lacks its feature");
        else CHECK(walk.runs[k] > 0 || some, "%s never ran", kernel->name);
    }
    printf("%s: %ld cases, %ld refusals, %lld bytes compared\n", device, walk.cases, walk.refusals,
           (long long)walk.codes);
    free(walk.runs);
    nib_stream_close(walk.stream);
    nib_stream_close(walk.ref);
    nib_close(walk.ctx);
    nib_close(walk.ref_ctx);
    return check_done();
}
