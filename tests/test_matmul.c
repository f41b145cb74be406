/* test_matmul.c - the walk of the matmuls: every kernel row of a device, forced by name, over
 * shapes around its tile x groups x bits x rules x types x activations, in two ways. Exact: whole
 * numbers and scales that are powers of two, so that every sum is exact and y equals the sum, to
 * the bit. Random: each element within the bound of its error class. Outputs, packed weights and
 * workspaces are poisoned and guarded, each run is repeated, and a row that never ran is a failure.
 *
 * test_matmul DEVICE [--cases N] [--products MOST] [--seed S] [--part I/N] [--only TEXT]
 *     MOST: of m * n * k; TEXT: in the names of rows */
#include "../host/core/internal.h"
#include "../host/core/matmul.h"
#include "cases.h"
#include "spans.h"

#include <math.h>

static struct {
    nib_ctx *ref_ctx, *ctx;
    nib_stream *ref, *stream;
    uint64_t random;
    long exact, bounded;
    int64_t products;
} walk;

static int64_t pick(const int64_t *table, size_t count)
{
    return table[check_random(&walk.random) % count];
}
#define PICK(...)                                                                                  \
    pick((const int64_t[]){__VA_ARGS__}, sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t))

/* ---- a case ---- */

typedef struct matmul_case {
    const nib_kernel *kernel;
    nib_matmul_desc desc;
    int64_t n, k, m, x_pitch, y_pitch;
    int exact, with_nan;
    unsigned char *planes[NIB_PLANES];
    size_t plane_bytes[NIB_PLANES];
    unsigned char *x, *bias, *y, *again;
    size_t x_bytes, y_bytes;
    float *x_scales;
    int32_t *x_zeros;
    /* The oracle: decoded W [n, k], |u s| + |m| of it, decoded x [m, k], all exact in double. */
    double *w, *w_size, *x_value;
} matmul_case;

static size_t type_size(nib_dtype type) { return type ? (size_t)nib_dtype_bits(type) / 8 : 0; }

static void store(void *array, nib_dtype type, int64_t i, float value)
{
    uint32_t raw = nib_to_type((nib_i32)type, value);
    if (type == NIB_F32) ((uint32_t *)array)[i] = raw;
    else ((uint16_t *)array)[i] = (uint16_t)raw;
}

static float load(const void *array, nib_dtype type, int64_t i)
{
    uint32_t raw = type == NIB_F32 ? ((const uint32_t *)array)[i] : ((const uint16_t *)array)[i];
    return nib_from_type((nib_i32)type, raw);
}

static int64_t cells(const matmul_case *c)
{
    const nib_grid *g = &c->desc.weights.grid;
    return g->rows && g->cols ? g->period * ((g->cols + g->group - 1) / g->group) : 0;
}

/* Zero points that no rule makes: up to one more than a table of the cpu holds, or far from it. CUDA's
 * kernels of 4 bits are for -2^(bits-1) <= z' < 2^(bits-1) alone. */
static void plant_zeros(matmul_case *c)
{
    if (!strncmp(c->kernel->name, "cuda.", 5)) return;
    uint64_t most = (uint64_t)PICK(16, 17, 40);
    for (int64_t i = 0; i < cells(c); i++)
        c->planes[NIB_PLANE_OFFSETS][i] = (unsigned char)(check_random(&walk.random) % (most + 1));
}

/* Weights: quantized from noise by `ref`. An exact case has scales 2^-1..2^1, and mins that are
 * whole numbers. */
static void make_weights(matmul_case *c)
{
    nib_quant *q = &c->desc.weights;
    float *noise = calloc((size_t)(c->n * c->k) + 1, sizeof *noise);
    for (int64_t i = 0; i < c->n * c->k; i++) noise[i] = case_normal(&walk.random) * 0.1f;
    nib_mem planes[NIB_PLANES];
    for (int p = 0; p < NIB_PLANES; p++) {
        CHECK_OK(nib_plane_bytes(q, (nib_plane)p, &c->plane_bytes[p]));
        c->planes[p] = calloc(c->plane_bytes[p] + 64, 1);
        planes[p] = nib_wrap(c->planes[p], c->plane_bytes[p]);
    }
    nib_mem x = nib_wrap(noise, (size_t)(c->n * c->k) * sizeof *noise), none = {NULL, 0, 0};
    CHECK_OK(nib_quantize(walk.ref, q, NIB_F32, x, NIB_NONFINITE_ERROR, planes, none));
    for (int64_t i = 0; c->exact && i < cells(c); i++) {
        store(c->planes[NIB_PLANE_SCALES], q->scale_type, i, (float)PICK(1, 2, 4) / 2.0f);
        if (nib_rule_offset(q->rule) == NIB_OFFSET_MIN)
            store(c->planes[NIB_PLANE_OFFSETS], q->scale_type, i, (float)PICK(-3, -1, 0, 2));
    }
    nib_offset offset = nib_rule_offset(q->rule);
    if (offset == NIB_OFFSET_ZERO && q->bits <= 4 && check_random(&walk.random) % 4 == 0)
        plant_zeros(c);
    if (c->with_nan && cells(c) && offset == NIB_OFFSET_MIN && check_random(&walk.random) % 4)
        store(c->planes[NIB_PLANE_OFFSETS], q->scale_type, 0, INFINITY);
    else if (c->with_nan && cells(c))
        store(c->planes[NIB_PLANE_SCALES], q->scale_type, 0, PICK(0, 1) ? NAN : INFINITY);
    free(noise);
}

/* W as kernels must see it, from the planes by `ref`. */
static void decode_weights(matmul_case *c)
{
    const nib_quant *q = &c->desc.weights;
    size_t count = (size_t)(c->n * c->k);
    float *decoded = calloc(count + 1, sizeof *decoded);
    nib_mem planes[NIB_PLANES];
    for (int p = 0; p < NIB_PLANES; p++) planes[p] = nib_wrap(c->planes[p], c->plane_bytes[p]);
    CHECK_OK(
        nib_dequantize(walk.ref, q, planes, NIB_F32, nib_wrap(decoded, count * sizeof *decoded)));
    c->w = calloc(count + 1, sizeof *c->w);
    c->w_size = calloc(count + 1, sizeof *c->w_size);
    int64_t groups = c->k ? (c->k + q->grid.group - 1) / q->grid.group : 0;
    for (int64_t i = 0; i < (int64_t)count; i++) {
        int64_t cell = i / c->k % q->grid.period * groups + i % c->k / q->grid.group;
        double min = 0.0;
        if (nib_rule_offset(q->rule) == NIB_OFFSET_MIN)
            min = (double)load(c->planes[NIB_PLANE_OFFSETS], q->scale_type, cell);
        c->w[i] = (double)decoded[i];
        c->w_size[i] = fabs(c->w[i] - min) + fabs(min);
    }
    free(decoded);
}

/* Activations: floats, or codes; with a pitch, and NaN between the rows, which nobody may read. */
static void make_x(matmul_case *c)
{
    nib_matmul_desc *d = &c->desc;
    size_t size = type_size(d->x_type);
    c->x_bytes = c->m ? (size_t)((c->m - 1) * c->x_pitch + c->k) * size : 0;
    c->x = malloc(c->x_bytes + 1);
    memset(c->x, 0xff, c->x_bytes);
    for (int64_t m = 0; m < c->m; m++)
        for (int64_t k = 0; k < c->k; k++) {
            int64_t i = m * c->x_pitch + k;
            if (d->acts == NIB_ACTS_CODES) ((int8_t *)c->x)[i] = (int8_t)check_random(&walk.random);
            else if (c->exact) store(c->x, d->x_type, i, (float)PICK(-4, -3, -1, 0, 1, 2, 3, 5));
            else store(c->x, d->x_type, i, case_normal(&walk.random));
        }
    if (c->with_nan && c->m > 1 && c->k && d->acts != NIB_ACTS_CODES)
        store(c->x, d->x_type, c->x_pitch + c->k - 1, NAN);
    int64_t count = d->x_per_tensor ? 1 : c->m;
    c->x_scales = calloc((size_t)c->m + 1, sizeof *c->x_scales);
    c->x_zeros = calloc((size_t)c->m + 1, sizeof *c->x_zeros);
    for (int64_t i = 0; i < count && d->acts >= NIB_ACTS_STATIC; i++) {
        c->x_scales[i] = c->exact ? 0.5f : 0.01f + 0.01f * case_uniform(&walk.random);
        if (d->x_zeros) c->x_zeros[i] = (int32_t)PICK(-128, -7, 0, 3, 127);
    }
    if (d->bias_type == NIB_DTYPE_NONE) return;
    c->bias = malloc((size_t)c->n * type_size(d->bias_type) + 1);
    for (int64_t n = 0; n < c->n; n++)
        store(c->bias, d->bias_type, n,
              c->exact ? (float)PICK(-8, 0, 1, 5) : case_normal(&walk.random));
}

/* One row of x as int8 activations see it, by nib_quantize: what a run must do itself. */
static void quantize_row(matmul_case *c, int64_t m)
{
    nib_matmul_desc *d = &c->desc;
    nib_quant q = {.bits = 8, .scale_type = NIB_F32, .layout = NIB_LAYOUT_CT_INT8};
    q.rule = d->x_zeros ? NIB_RULE_ASYM_ZERO : NIB_RULE_SYM_RESTRICTED;
    CHECK_OK(nib_grid_rows(1, c->k, 0, &q.grid));
    size_t size = type_size(d->x_type);
    int8_t *codes = malloc((size_t)c->k + 1), zero = 0;
    float scale = 0.0f;
    nib_mem planes[NIB_PLANES] = {nib_wrap(codes, (size_t)c->k), nib_wrap(&scale, 4),
                                  nib_wrap(&zero, 1)};
    nib_mem row = nib_wrap(c->x + (size_t)(m * c->x_pitch) * size, (size_t)c->k * size),
            none = {NULL, 0, 0};
    CHECK_OK(nib_quantize(walk.ref, &q, d->x_type, row, NIB_NONFINITE_ERROR, planes, none));
    for (int64_t k = 0; k < c->k; k++)
        c->x_value[m * c->k + k] = (double)(codes[k] - zero) * (double)scale;
    free(codes);
}

static void decode_x(matmul_case *c)
{
    const nib_matmul_desc *d = &c->desc;
    c->x_value = calloc((size_t)(c->m * c->k) + 1, sizeof *c->x_value);
    for (int64_t m = 0; m < c->m && c->k; m++) {
        double s = (double)c->x_scales[d->x_per_tensor ? 0 : m], nan = 0.0;
        int32_t z = c->x_zeros[d->x_per_tensor ? 0 : m];
        if (d->acts == NIB_ACTS_DYNAMIC) quantize_row(c, m);
        for (int64_t k = 0; k < c->k && d->acts != NIB_ACTS_DYNAMIC; k++) {
            double *to = &c->x_value[m * c->k + k];
            if (d->acts == NIB_ACTS_CODES) {
                *to = (((int8_t *)c->x)[m * c->x_pitch + k] - z) * s;
                continue;
            }
            float x = load(c->x, d->x_type, m * c->x_pitch + k);
            if (d->acts == NIB_ACTS_FLOAT) *to = (double)x;
            else {
                float placed = (float)((double)(float)((double)x / s) + z);
                *to = (nearbyint(fmin(fmax((double)placed, -128.0), 127.0)) - z) * s;
                if (!isfinite(x)) nan = NAN;
            }
        }
        for (int64_t k = 0; k < c->k; k++) c->x_value[m * c->k + k] += nan;
    }
}

/* ---- running ---- */

/* Packs, prepares and runs twice in the memory of any context; y into c->y. Each run's y is
 * poisoned otherwise, and only the gaps between its rows may keep the poison. */
static nib_status run_case(matmul_case *c, nib_ctx *ctx, nib_stream *stream, const char *forced)
{
    const nib_matmul_desc *d = &c->desc;
    nib_matmul *plan;
    nib_status status = nib_matmul_plan_forced(ctx, d, forced, &plan);
    if (status != NIB_OK) return status;
    span planes[NIB_PLANES], x, scales, zeros, bias, y, weights, workspace;
    nib_mem plane_mem[NIB_PLANES];
    for (int p = 0; p < NIB_PLANES; p++) {
        planes[p] =
            span_make(stream, c->plane_bytes[p], c->planes[p], 0, p == NIB_PLANE_SCALES ? 4 : 64);
        plane_mem[p] = planes[p].mem;
    }
    weights = span_make(stream, nib_matmul_weights_bytes(plan), NULL, 0xa5, 64);
    workspace = span_make(stream, nib_matmul_workspace_bytes(plan), NULL, 0xa5, 64);
    CHECK_OK(nib_matmul_pack(stream, plan, plane_mem, weights.mem));
    CHECK_OK(nib_matmul_prepare(stream, plan, workspace.mem));
    CHECK_OK(nib_sync(stream));
    for (int p = 0; p < NIB_PLANES; p++)
        free(span_take(stream, &planes[p], 0)); /* not needed any more */
    x = span_make(stream, c->x_bytes, c->x, 0, type_size(d->x_type));
    scales = span_make(stream, (size_t)c->m * 4, c->x_scales, 0, 4);
    zeros = span_make(stream, (size_t)c->m * 4, c->x_zeros, 0, 4);
    bias = span_make(stream, d->bias_type ? (size_t)c->n * type_size(d->bias_type) : 0, c->bias, 0,
                     type_size(d->bias_type));
    for (int round = 0; round < 2; round++) {
        int poison = round ? 0x5a : 0xc3;
        y = span_make(stream, c->y_bytes, NULL, poison, type_size(d->y_type));
        nib_matmul_args args = {.size = sizeof args,
                                .m = c->m,
                                .x = x.mem,
                                .x_pitch = c->x_pitch,
                                .x_scales = scales.mem,
                                .x_zeros = zeros.mem,
                                .weights = weights.mem,
                                .bias = bias.mem,
                                .y = y.mem,
                                .y_pitch = c->y_pitch,
                                .workspace = workspace.mem};
        nib_status ran = nib_matmul_run(stream, plan, &args);
        if (ran == NIB_OK) ran = nib_sync(stream);
        if (status == NIB_OK) status = ran;
        unsigned char **to = round ? &c->again : &c->y;
        *to = span_take(stream, &y, poison);
        for (int64_t m = 0; m + 1 < c->m; m++) {
            size_t size = type_size(d->y_type), from = (size_t)(m * c->y_pitch + c->n) * size;
            for (size_t i = from; i < (size_t)((m + 1) * c->y_pitch) * size; i++)
                if ((*to)[i] != poison) CHECK(0, "byte %zu between rows of y was written", i);
        }
    }
    free(span_take(stream, &weights, 0xa5));
    free(span_take(stream, &workspace, 0xa5));
    free(span_take(stream, &x, 0)), free(span_take(stream, &scales, 0));
    free(span_take(stream, &zeros, 0)), free(span_take(stream, &bias, 0));
    nib_matmul_plan_close(plan);
    return status;
}

static void describe(const matmul_case *c)
{
    const nib_matmul_desc *d = &c->desc;
    const nib_grid *g = &d->weights.grid;
    fprintf(
        stderr,
        "  %s: m %lld n %lld k %lld, group %lld period %lld, %d bits, rule %s, scales %s, acts %d "
        "zeros %d one %d, x %s pitch %lld, y %s pitch %lld, bias %s, %s%s\n",
        c->kernel->name, (long long)c->m, (long long)c->n, (long long)c->k, (long long)g->group,
        (long long)g->period, d->weights.bits, nib_rule_name(d->weights.rule),
        nib_dtype_name(d->weights.scale_type), (int)d->acts, d->x_zeros, d->x_per_tensor,
        nib_dtype_name(d->x_type), (long long)c->x_pitch, nib_dtype_name(d->y_type),
        (long long)c->y_pitch, nib_dtype_name(d->bias_type), c->exact ? "exact" : "random",
        c->with_nan ? ", with NaN" : "");
}

/* Half a step of y's type at `value`: what its one rounding may move it. */
static double rounding(nib_dtype type, double value)
{
    double digits = type == NIB_F32   ? 24
                    : type == NIB_F16 ? 11
                                      : 8,
           least = type == NIB_F16 ? -25 : -150;
    return fmax(fabs(value) * exp2(-digits) * 1.001, exp2(least));
}

static double bound_of(const matmul_case *c, double size)
{
    static const double weight_rounding[] = {0, 0, 0x1p-11, 0x1p-8};
    nib_error_class class = c->kernel->matmul.error_class;
    return size * (((double)c->k + 8.0) * 0x1p-23 + weight_rounding[class]);
}

static double largest(nib_dtype type) { return (double)nib_type_max((nib_i32)type); }

/* Compares every element with the oracle; says the first that is out. */
static void compare(const matmul_case *c)
{
    const nib_matmul_desc *d = &c->desc;
    const nib_quant *q = &d->weights;
    double worst = 0.0;
    int64_t bad = -1;
    /* The terms of an exact case are multiples of 1/4, so that f32 holds their sums up to 2^22.
     * Int32 holds any sum of one group without mins. */
    int one_sum = c->kernel->matmul.x_form == NIB_T_I8 && q->grid.group >= c->k &&
                  nib_rule_offset(q->rule) != NIB_OFFSET_MIN;
    for (int64_t m = 0; m < c->m; m++)
        for (int64_t n = 0; n < c->n; n++) {
            double sum = 0.0, size = 0.0;
            for (int64_t k = 0; k < c->k; k++) {
                sum += c->x_value[m * c->k + k] * c->w[n * c->k + k];
                size += fabs(c->x_value[m * c->k + k]) * c->w_size[n * c->k + k];
            }
            if (d->bias_type) {
                double bias = (double)load(c->bias, d->bias_type, n);
                sum += bias, size += fabs(bias);
            }
            double got = (double)load(c->y, d->y_type, m * c->y_pitch + n);
            double bound = bound_of(c, size) + rounding(d->y_type, sum);
            if (c->exact && (one_sum || size <= 0x1p22))
                bound = sum == (double)nib_from_type((nib_i32)d->y_type,
                                                     nib_to_type((nib_i32)d->y_type, (float)sum))
                            ? 0.0
                            : rounding(d->y_type, sum);
            if (isnan(sum) ? isnan(got)
                           : fabs(got - sum) <= bound || fabs(sum) > largest(d->y_type))
                continue;
            if (bad < 0)
                fprintf(stderr, "  y[%lld, %lld] is %.9g, expected %.9g within %.3g\n",
                        (long long)m, (long long)n, got, sum, bound);
            bad = m * c->n + n, worst = fmax(worst, fabs(got - sum));
        }
    if (!CHECK(bad < 0, "%s, off by up to %.3g", c->kernel->name, worst)) describe(c);
}

static void free_case(matmul_case *c)
{
    for (int p = 0; p < NIB_PLANES; p++) free(c->planes[p]);
    free(c->x), free(c->bias), free(c->y), free(c->again), free(c->x_scales), free(c->x_zeros);
    free(c->w), free(c->w_size), free(c->x_value);
}

/* int32 sums with one scale a row: the bytes of `ref`. */
static void compare_with_ref(matmul_case *c)
{
    matmul_case other = *c;
    other.y = other.again = NULL;
    CHECK_OK(run_case(&other, walk.ref_ctx, walk.ref, NULL));
    size_t size = type_size(c->desc.y_type), row = (size_t)c->n * size;
    for (int64_t m = 0; m < c->m; m++) {
        size_t at = (size_t)(m * c->y_pitch) * size;
        if (!CHECK(!memcmp(c->y + at, other.y + at, row), "%s: row %lld differs from ref",
                   c->kernel->name, (long long)m)) {
            describe(c);
            break;
        }
    }
    free(other.y), free(other.again);
}

/* Returns 0 where the row does not take the case. */
static int check_case(matmul_case *c)
{
    make_weights(c);
    make_x(c);
    size_t size = type_size(c->desc.y_type);
    c->y_bytes = c->m ? (size_t)((c->m - 1) * c->y_pitch + c->n) * size : 0;
    nib_status status = run_case(c, walk.ctx, walk.stream, c->kernel->name);
    int ran = status != NIB_E_UNSUPPORTED && status != NIB_E_SHAPE;
    if (ran && CHECK(status == NIB_OK, "%s: %s", c->kernel->name, nib_last_error())) {
        decode_weights(c);
        decode_x(c);
        compare(c);
        int same = 1;
        for (int64_t m = 0; m < c->m; m++)
            same &= !memcmp(c->y + (size_t)(m * c->y_pitch) * size,
                            c->again + (size_t)(m * c->y_pitch) * size, (size_t)c->n * size);
        if (!CHECK(same, "%s gives other bits the second time", c->kernel->name)) describe(c);
        int one = c->k <= c->desc.weights.grid.group;
        if (c->desc.acts != NIB_ACTS_FLOAT && one && c->k > 0 &&
            nib_rule_offset(c->desc.weights.rule) != NIB_OFFSET_MIN)
            compare_with_ref(c);
        *(c->exact ? &walk.exact : &walk.bounded) += 1;
    } else if (ran) describe(c);
    free_case(c);
    return ran;
}

/* ---- the walk ---- */

/* A number around the multiples of `tile`, or small, or plain. */
static int64_t around(int64_t tile, int64_t most)
{
    int64_t n = PICK(1, 2, 3, 7, 16, 31, 33, 64, 65, 100);
    if (tile > 1 && check_random(&walk.random) % 3) n = tile * PICK(1, 2, 3) + PICK(-1, 0, 1);
    return n > most ? most : n < 1 ? 1 : n;
}

static matmul_case make_case(const nib_kernel *kernel, int exact)
{
    const nib_matmul_row *row = &kernel->matmul;
    matmul_case c = {.kernel = kernel, .exact = exact};
    nib_matmul_desc *d = &c.desc;
    nib_quant *q = &d->weights;
    d->size = sizeof *d;
    q->bits = (int32_t)PICK(2, 3, 4, 4, 4, 5, 6, 8, 8);
    q->rule = (nib_rule)PICK(NIB_RULE_SYM_FULL, NIB_RULE_SYM_RESTRICTED, NIB_RULE_ASYM_ZERO,
                             NIB_RULE_ASYM_MIN);
    q->layout =
        q->bits == 8 && check_random(&walk.random) % 2 ? NIB_LAYOUT_CT_INT8 : NIB_LAYOUT_CANONICAL;
    q->scale_type = (nib_dtype)PICK(NIB_F32, NIB_F16, NIB_BF16);
    c.k = PICK(0, 1, 31, 32, 33, 64, 96, 127, 128, 129, 256, 300, 384, 512, 520, 1100, 2100);
    c.n = around(row->tile_n, c.k > 2048 ? 80 : 400); /* more columns than a kernel keeps at once */
    int64_t group = PICK(0, 0, 1, 8, 10, 16, 24, 32, 64, 128, 256);
    if (group == 256 && walk.ctx->backend->host_memory)
        group = 192; /* the cpu's blocks of columns are no multiples of it */
    CHECK_OK(nib_grid_rows(c.n, c.k, group, &q->grid));
    if (check_random(&walk.random) % 8 == 0) CHECK_OK(nib_grid_tensor(c.n, c.k, &q->grid));
    int64_t most = row->to_m ? row->to_m : 300;
    c.m = around(row->tile_m, most);
    if (row->from_m > 1) c.m = row->from_m + PICK(0, 1, 7, 40);
    if (c.m > most) c.m = most;
    if (check_random(&walk.random) % 16 == 0) c.m = row->to_m ? row->to_m : c.m;
    d->max_m = row->to_m ? row->to_m : c.m + PICK(0, 0, 5);
    if (row->x_form == NIB_T_I8)
        d->acts = (nib_acts)PICK(NIB_ACTS_DYNAMIC, NIB_ACTS_STATIC, NIB_ACTS_CODES);
    d->x_type = (nib_dtype)PICK(NIB_F32, NIB_F16, NIB_BF16);
    if (d->acts == NIB_ACTS_CODES) d->x_type = NIB_I8;
    if (d->acts != NIB_ACTS_FLOAT) d->x_zeros = (int32_t)PICK(0, 1);
    if (d->acts >= NIB_ACTS_STATIC) d->x_per_tensor = (int32_t)PICK(0, 1);
    if (d->acts == NIB_ACTS_DYNAMIC) c.exact = 0; /* its scales are what they are */
    d->y_type = (nib_dtype)PICK(NIB_F32, NIB_F16, NIB_BF16);
    d->bias_type = (nib_dtype)PICK(NIB_DTYPE_NONE, NIB_F32, NIB_F16, NIB_BF16);
    c.x_pitch = c.k + PICK(0, 0, 1, 5, 8), c.y_pitch = c.n + PICK(0, 0, 1, 3);
    c.with_nan = !c.exact && check_random(&walk.random) % 4 == 0;
    return c;
}

static void walk_row(const nib_kernel *kernel, int cases)
{
    long exact = walk.exact, bounded = walk.bounded;
    for (int done = 0, tries = 0; done < cases && tries < cases * 20; tries++) {
        matmul_case c = make_case(kernel, tries % 2);
        if (c.m * c.n * c.k <= walk.products) done += check_case(&c);
    }
    exact = walk.exact - exact, bounded = walk.bounded - bounded;
    printf("%6ld exact, %6ld random  %s\n", exact, bounded, kernel->name);
    int few = walk.products < INT64_MAX; /* either will do */
    CHECK(few ? exact + bounded > 0 : exact > 0 && bounded > 0, "%s never ran", kernel->name);
}

/* ---- prepared x: the bytes of `ref` ---- */

static unsigned char *run_acts(const matmul_case *c, const nib_args *args, nib_stream *stream,
                               const char *forced)
{
    nib_request r = {.op = NIB_OP_ACTS, .args = *args};
    span x = span_make(stream, c->x_bytes, c->x, 0, type_size(c->desc.x_type));
    span scales = span_make(stream, (size_t)c->m * 4, c->x_scales, 0, 4);
    span zeros = span_make(stream, (size_t)c->m * 4, c->x_zeros, 0, 4);
    span out = span_make(stream, (size_t)NIB_X_END(*args), NULL, 0xa5, 64);
    r.span[NIB_X] = x.mem, r.span[NIB_OUT] = out.mem;
    if (c->desc.acts >= NIB_ACTS_STATIC)
        r.span[NIB_SCALES] = scales.mem, r.span[NIB_OFFSETS] = zeros.mem;
    CHECK_OK(nib_run(stream, &r, forced));
    CHECK_OK(nib_sync(stream));
    free(span_take(stream, &x, 0)), free(span_take(stream, &scales, 0)),
        free(span_take(stream, &zeros, 0));
    return span_take(stream, &out, 0xa5);
}

static void walk_acts(const nib_kernel *kernel, int cases)
{
    static const nib_kernel stand_in = {.matmul = {.tile_m = 4, .tile_n = 16, .x_form = NIB_T_I8}};
    for (int i = 0; i < cases; i++) {
        matmul_case c = make_case(&stand_in, 0);
        nib_args a;
        size_t bytes;
        nib_i32 form = i % 2 ? NIB_T_I8 : (nib_i32)PICK(NIB_T_F32, NIB_T_F16, NIB_T_BF16);
        if (form != NIB_T_I8) {
            c.desc.acts = NIB_ACTS_FLOAT, c.desc.x_zeros = c.desc.x_per_tensor = 0, c.with_nan = 0;
            c.desc.x_type =
                form == NIB_T_F32 ? (nib_dtype)PICK(NIB_F32, NIB_F16, NIB_BF16) : (nib_dtype)form;
        }
        if (!CHECK_OK(nib_matmul_numbers(&c.desc, &a)) ||
            !CHECK_OK(nib_pack_numbers(NIB_PACK_PLAIN, &a, &bytes)))
            continue;
        int64_t tile = PICK(1, 4, 16), width = PICK(1, 32, 64, 128);
        a.p.m = c.m, a.p.x_rows = (c.m + tile - 1) / tile * tile, a.p.x_form = form;
        a.p.pack_cols = (c.k + width - 1) / width * width, a.p.x_pitch = c.x_pitch;
        make_x(&c);
        for (int64_t k = 0; i % 8 == 1 && c.desc.acts < NIB_ACTS_CODES && c.m && k < c.k; k++)
            store(c.x, c.desc.x_type, k, 0x1p-130f); /* row 0: subnormal, so empty */
        unsigned char *expected = run_acts(&c, &a, walk.ref, NULL);
        unsigned char *got = run_acts(&c, &a, walk.stream, kernel->name);
        int64_t at = 0, end = NIB_X_END(a);
        while (at < end && expected[at] == got[at]) at++;
        if (!CHECK(at == end, "%s: byte %lld of %lld of prepared x (form %d)", kernel->name,
                   (long long)at, (long long)end, form))
            describe(&c);
        free(expected), free(got);
        free_case(&c);
    }
    printf("%6d cases  %s\n", cases, kernel->name);
}

/* The ranges of a plan of every row: each M once, each range within its row's. */
static void check_ranges(nib_acts acts)
{
    enum { MOST = 200 };
    nib_matmul_desc d = {.size = sizeof d, .max_m = MOST, .acts = acts};
    nib_matmul *plan;
    d.x_type = d.y_type = NIB_F32;
    d.weights = (nib_quant){.bits = 4, .scale_type = NIB_F32, .rule = NIB_RULE_SYM_FULL};
    d.weights.layout = NIB_LAYOUT_CANONICAL;
    CHECK_OK(nib_grid_rows(64, 256, 64, &d.weights.grid));
    if (!CHECK_OK(nib_matmul_plan_open(walk.ctx, &d, &plan))) return;
    nib_matmul_choice c = {.to_m = 0};
    for (int64_t m = 1; m <= MOST; m = c.to_m + 1) {
        if (!CHECK_OK(nib_matmul_kernel_at(plan, m, &c)) ||
            !CHECK(c.from_m == m && c.to_m >= m, "%s: %lld to %lld, expected from %lld", c.kernel,
                   (long long)c.from_m, (long long)c.to_m, (long long)m))
            break;
        for (size_t i = 0; i < walk.ctx->backend->kernel_count; i++) {
            const nib_kernel *kernel = &walk.ctx->backend->kernels[i];
            const nib_matmul_row *row = &kernel->matmul;
            if (strcmp(kernel->name, c.kernel)) continue;
            CHECK(m >= row->from_m && (!row->to_m || c.to_m <= row->to_m), "%s runs %lld to %lld",
                  c.kernel, (long long)m, (long long)c.to_m);
        }
    }
    nib_matmul_plan_close(plan);
}

int main(int argc, char **argv)
{
    const char *device = argc > 1 ? argv[1] : "ref", *only = "";
    int cases = 60, part = 0, parts = 1;
    walk.random = 1, walk.products = INT64_MAX;
    for (int i = 2; i + 1 < argc; i += 2) {
        if (!strcmp(argv[i], "--cases")) cases = atoi(argv[i + 1]);
        if (!strcmp(argv[i], "--products")) walk.products = strtoll(argv[i + 1], NULL, 10);
        if (!strcmp(argv[i], "--seed")) walk.random = strtoull(argv[i + 1], NULL, 10);
        if (!strcmp(argv[i], "--only")) only = argv[i + 1];
        if (!strcmp(argv[i], "--part")) sscanf(argv[i + 1], "%d/%d", &part, &parts);
    }
    nib_status status = nib_open(device, NULL, &walk.ctx);
    if (status == NIB_E_NO_DEVICE) {
        check_skip(device, nib_last_error());
        return check_done();
    }
    if (!CHECK_OK(status) || !CHECK_OK(nib_open("ref", NULL, &walk.ref_ctx)) ||
        !CHECK_OK(nib_stream_open(walk.ctx, &walk.stream)) ||
        !CHECK_OK(nib_stream_open(walk.ref_ctx, &walk.ref)))
        return check_done();
    int index = 0;
    for (size_t i = 0; i < walk.ctx->backend->kernel_count; i++) {
        const nib_kernel *kernel = &walk.ctx->backend->kernels[i];
        if (kernel->op != NIB_OP_MATMUL && kernel->op != NIB_OP_ACTS) continue;
        if (index++ % parts != part || !strstr(kernel->name, only)) continue;
        if ((kernel->features & walk.ctx->features) != kernel->features)
            check_skip(kernel->name, "the device lacks its feature");
        else if (kernel->op == NIB_OP_ACTS) walk_acts(kernel, cases);
        else walk_row(kernel, cases);
    }
    if (index == 0) check_skip(device, "multiplies nothing");
    for (nib_acts acts = NIB_ACTS_FLOAT; index > 0 && acts <= NIB_ACTS_DYNAMIC; acts++)
        check_ranges(acts);
    nib_stream_close(walk.stream), nib_stream_close(walk.ref);
    nib_close(walk.ctx), nib_close(walk.ref_ctx);
    return check_done();
}
