/* test_matmul_api.c - include/nibble_matmul.h as a program meets it: every kind of bad argument
 * is an error that names it, before anything is written; sizes are right far beyond memory; a
 * run allocates nothing; threads share a plan. */
#include "../include/nibble_matmul.h"
#include "check.h"

#include <pthread.h>

/* ---- counting allocations: the linker's --wrap sends the library's calls here ---- */

static long allocations;

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *old, size_t bytes);
void *__real_aligned_alloc(size_t align, size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);
void *__wrap_aligned_alloc(size_t align, size_t bytes);

static void count_one(void) { __atomic_fetch_add(&allocations, 1, __ATOMIC_RELAXED); }

void *__wrap_malloc(size_t bytes)
{
    count_one();
    return __real_malloc(bytes);
}
void *__wrap_calloc(size_t count, size_t bytes)
{
    count_one();
    return __real_calloc(count, bytes);
}
void *__wrap_realloc(void *old, size_t bytes)
{
    count_one();
    return __real_realloc(old, bytes);
}
void *__wrap_aligned_alloc(size_t align, size_t bytes)
{
    count_one();
    return __real_aligned_alloc(align, bytes);
}

/* ---- a product that works ---- */

enum { N = 40, K = 96, M = 7, GROUP = 32 };

typedef struct product {
    nib_ctx *ctx;
    nib_stream *stream;
    nib_matmul_desc desc;
    nib_matmul *plan;
    void *planes[NIB_PLANES], *weights, *workspace;
    float x[M * K], bias[N], y[M * N], x_scales[M];
    int8_t codes[M * K];
    int32_t x_zeros[M];
    nib_matmul_args args;
} product;

static nib_matmul_desc desc_of(nib_acts acts, nib_rule rule, int32_t bits, int64_t n, int64_t k,
                               int64_t group)
{
    nib_matmul_desc d = {.size = sizeof d,
                         .max_m = M,
                         .acts = acts,
                         .x_type = acts == NIB_ACTS_CODES ? NIB_I8 : NIB_F32,
                         .y_type = NIB_F32,
                         .bias_type = NIB_F32};
    d.weights = (nib_quant){
        .bits = bits, .scale_type = NIB_F32, .rule = rule, .layout = NIB_LAYOUT_CANONICAL};
    CHECK_OK(nib_grid_rows(n, k, group, &d.weights.grid));
    return d;
}

static void *aligned(size_t bytes) { return aligned_alloc(64, (bytes / 64 + 1) * 64); }

static void fill(product *p, uint64_t seed)
{
    for (int i = 0; i < M * K; i++) {
        p->x[i] = (float)((int64_t)(check_random(&seed) % 2001) - 1000) / 500.0f;
        p->codes[i] = (int8_t)check_random(&seed);
    }
    for (int i = 0; i < N; i++) p->bias[i] = (float)i;
    for (int i = 0; i < M; i++) p->x_scales[i] = 0.01f, p->x_zeros[i] = i - 3;
}

static void open_product(product *p, const char *device, nib_acts acts, nib_rule rule, int32_t bits)
{
    memset(p, 0, sizeof *p);
    CHECK_OK(nib_open(device, NULL, &p->ctx));
    CHECK_OK(nib_stream_open(p->ctx, &p->stream));
    p->desc = desc_of(acts, rule, bits, N, K, GROUP);
    CHECK_OK(nib_matmul_plan_open(p->ctx, &p->desc, &p->plan));
    fill(p, 1);
    static float w[N * K];
    uint64_t seed = 2;
    for (int i = 0; i < N * K; i++) w[i] = (float)(check_random(&seed) % 1000) / 1000.0f - 0.5f;
    nib_mem planes[NIB_PLANES], none = {NULL, 0, 0};
    for (int i = 0; i < NIB_PLANES; i++) {
        size_t bytes;
        CHECK_OK(nib_plane_bytes(&p->desc.weights, (nib_plane)i, &bytes));
        p->planes[i] = aligned(bytes);
        planes[i] = nib_wrap(p->planes[i], bytes);
    }
    CHECK_OK(nib_quantize(p->stream, &p->desc.weights, NIB_F32, nib_wrap(w, sizeof w),
                          NIB_NONFINITE_ERROR, planes, none));
    size_t bytes = nib_matmul_weights_bytes(p->plan);
    size_t workspace_bytes = nib_matmul_workspace_bytes(p->plan);
    p->weights = aligned(bytes), p->workspace = aligned(workspace_bytes);
    p->args = (nib_matmul_args){.size = sizeof(nib_matmul_args),
                                .m = M,
                                .x = nib_wrap(p->x, sizeof p->x),
                                .x_scales = nib_wrap(p->x_scales, sizeof p->x_scales),
                                .x_zeros = nib_wrap(p->x_zeros, sizeof p->x_zeros),
                                .weights = nib_wrap(p->weights, bytes),
                                .bias = nib_wrap(p->bias, sizeof p->bias),
                                .y = nib_wrap(p->y, sizeof p->y),
                                .workspace = nib_wrap(p->workspace, workspace_bytes)};
    if (acts == NIB_ACTS_CODES) p->args.x = nib_wrap(p->codes, sizeof p->codes);
    CHECK_OK(nib_matmul_pack(p->stream, p->plan, planes, p->args.weights));
    CHECK_OK(nib_matmul_prepare(p->stream, p->plan, p->args.workspace));
}

static void close_product(product *p)
{
    nib_matmul_plan_close(p->plan);
    nib_stream_close(p->stream);
    nib_close(p->ctx);
    for (int i = 0; i < NIB_PLANES; i++) free(p->planes[i]);
    free(p->weights), free(p->workspace);
}

/* ---- bad descriptions ---- */

/* Fails with this status and these words, and leaves the output alone. */
static void refuse(nib_ctx *ctx, const nib_matmul_desc *d, nib_status expected, const char *words)
{
    nib_matmul *mark = (nib_matmul *)(uintptr_t)1, *plan = mark;
    nib_status status = nib_matmul_plan_open(ctx, d, &plan);
    CHECK(status == expected && strstr(nib_last_error(), words), "%s (%s), expected %s with '%s'",
          nib_status_name(status), nib_last_error(), nib_status_name(expected), words);
    CHECK(plan == mark, "%s", words);
    nib_matmul_choice choice;
    CHECK(!nib_matmul_choice_at(ctx, d, 0, &choice) || expected == NIB_E_UNSUPPORTED);
}

static void test_descriptions(nib_ctx *ctx)
{
    const nib_matmul_desc good = desc_of(NIB_ACTS_FLOAT, NIB_RULE_SYM_FULL, 4, N, K, GROUP);
#define REFUSE(change, status, words)                                                              \
    do {                                                                                           \
        nib_matmul_desc d = good;                                                                  \
        change;                                                                                    \
        refuse(ctx, &d, status, words);                                                            \
    } while (0)
    REFUSE(d.size = 0, NIB_E_ARGUMENT, "desc.size is 0");
    REFUSE(d.size = sizeof d - 1, NIB_E_ARGUMENT, "desc.size");
    REFUSE(d.max_m = -1, NIB_E_SHAPE, "max_m is -1");
    REFUSE(d.experts = 8, NIB_E_UNSUPPORTED, "experts is 8");
    REFUSE(d.experts = -1, NIB_E_UNSUPPORTED, "experts is -1");
    REFUSE(d.acts = (nib_acts)4, NIB_E_ARGUMENT, "acts is 4");
    REFUSE(d.acts = (nib_acts)-1, NIB_E_ARGUMENT, "acts is -1");
    REFUSE(d.x_zeros = 1, NIB_E_ARGUMENT, "x_zeros is 1");
    REFUSE(d.x_zeros = 2, NIB_E_ARGUMENT, "x_zeros is 2");
    REFUSE(d.x_per_tensor = -1, NIB_E_ARGUMENT, "x_per_tensor -1");
    REFUSE(d.x_per_tensor = 1, NIB_E_ARGUMENT, "x_per_tensor is 1");
    REFUSE(d.acts = NIB_ACTS_DYNAMIC; d.x_per_tensor = 1, NIB_E_ARGUMENT, "x_per_tensor is 1");
    REFUSE(d.x_type = NIB_I8, NIB_E_ARGUMENT, "x_type");
    REFUSE(d.x_type = NIB_DTYPE_NONE, NIB_E_ARGUMENT, "x_type");
    REFUSE(d.x_type = (nib_dtype)99, NIB_E_ARGUMENT, "x_type is 99");
    REFUSE(d.acts = NIB_ACTS_CODES, NIB_E_ARGUMENT, "x_type");
    REFUSE(d.y_type = NIB_I32, NIB_E_ARGUMENT, "y_type");
    REFUSE(d.y_type = NIB_DTYPE_NONE, NIB_E_ARGUMENT, "y_type");
    REFUSE(d.bias_type = NIB_F64, NIB_E_ARGUMENT, "bias_type");
    REFUSE(d.weights.bits = 16, NIB_E_UNSUPPORTED, "16 bits");
    REFUSE(d.weights.bits = 7, NIB_E_ARGUMENT, "bits");
    REFUSE(d.weights.rule = (nib_rule)99, NIB_E_ARGUMENT, "rule");
    REFUSE(d.weights.layout = (nib_layout)99, NIB_E_ARGUMENT, "layout");
    REFUSE(d.weights.rule = NIB_RULE_ASYM_ZERO;
           d.weights.layout = NIB_LAYOUT_CT_PACKED, NIB_E_UNSUPPORTED, "");
    REFUSE(d.weights.scale_type = NIB_I8, NIB_E_ARGUMENT, "scale_type");
    REFUSE(d.weights.grid.group = 0, NIB_E_SHAPE, "group");
    REFUSE(d.weights.grid.group = K + 1, NIB_E_SHAPE, "group");
    REFUSE(d.weights.grid.period = N + 1, NIB_E_SHAPE, "period");
    REFUSE(d.weights.grid.rows = -1, NIB_E_SHAPE, "grid of -1 x 96");
    nib_matmul *plan = NULL;
    CHECK_STATUS(nib_matmul_plan_open(NULL, &good, &plan), NIB_E_ARGUMENT);
    CHECK_STATUS(nib_matmul_plan_open(ctx, NULL, &plan), NIB_E_ARGUMENT);
    CHECK_STATUS(nib_matmul_plan_open(ctx, &good, NULL), NIB_E_ARGUMENT);
    nib_matmul_plan_close(NULL);
}

/* ---- sums that int32 must hold ---- */

static void test_int32(nib_ctx *ctx)
{
    static const struct {
        nib_acts acts;
        int x_zeros;
        nib_rule rule;
        int32_t bits;
        int64_t most; /* 2^31 - 1 over the largest product */
    } rows[] = {{NIB_ACTS_DYNAMIC, 0, NIB_RULE_SYM_FULL, 8, 132104},
                {NIB_ACTS_DYNAMIC, 1, NIB_RULE_SYM_FULL, 8, 65793},
                {NIB_ACTS_STATIC, 0, NIB_RULE_SYM_FULL, 8, 131071},
                {NIB_ACTS_CODES, 0, NIB_RULE_ASYM_ZERO, 8, 65793},
                {NIB_ACTS_CODES, 1, NIB_RULE_ASYM_ZERO, 8, 33025},
                {NIB_ACTS_DYNAMIC, 0, NIB_RULE_SYM_FULL, 4, 2113665}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        nib_matmul_desc d = desc_of(rows[i].acts, rows[i].rule, rows[i].bits, 1, rows[i].most, 0);
        nib_matmul *plan = NULL;
        d.x_zeros = rows[i].x_zeros;
        CHECK_OK(nib_matmul_plan_open(ctx, &d, &plan));
        nib_matmul_plan_close(plan);
        CHECK_OK(nib_grid_rows(1, rows[i].most + 1, 0, &d.weights.grid));
        refuse(ctx, &d, NIB_E_SHAPE, "int32");
        CHECK_OK(nib_grid_rows(1, 1 << 24, GROUP, &d.weights.grid)); /* groups are short */
        CHECK_OK(nib_matmul_plan_open(ctx, &d, &plan));
        nib_matmul_plan_close(plan);
    }
}

/* ---- sizes beyond memory ---- */

static void test_sizes(nib_ctx *ctx)
{
    static const int64_t shapes[][2] = {
        {65536, 65536}, {INT64_C(1) << 31, 3}, {1, INT64_C(1) << 33}};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        nib_matmul_desc d =
            desc_of(NIB_ACTS_FLOAT, NIB_RULE_SYM_FULL, 4, shapes[i][0], shapes[i][1], 0);
        nib_matmul *plan = NULL;
        CHECK_OK(nib_matmul_plan_open(ctx, &d, &plan));
        double least = (double)shapes[i][0] * (double)shapes[i][1] / 2.0;
        size_t bytes = nib_matmul_weights_bytes(plan);
        /* a pack rounds N and K up: to 128 at most */
        CHECK((double)bytes >= least && (double)bytes < 512.0 * least, "%zu", bytes);
        nib_matmul_choice choice;
        CHECK_OK(nib_matmul_kernel_at(plan, 1, &choice));
        if (i == 0 && strstr(choice.kernel, ".m1.")) /* its pack takes codes of 4 bits as such */
            CHECK((double)bytes < 1.01 * least, "%s: %zu bytes", choice.kernel, bytes);
        nib_matmul_plan_close(plan);
    }
    static const int64_t over[][2] = {{INT64_C(1) << 32, INT64_C(1) << 31},
                                      {INT64_C(1) << 62, 2},
                                      {INT64_MAX, 1},
                                      {1, INT64_MAX},
                                      {INT64_MAX, INT64_MAX}};
    for (size_t i = 0; i < sizeof over / sizeof *over; i++) {
        nib_matmul_desc d = desc_of(NIB_ACTS_FLOAT, NIB_RULE_SYM_FULL, 8, 1, 1, 0);
        nib_matmul *plan = NULL;
        d.weights.grid =
            (nib_grid){over[i][0], over[i][1], over[i][0], over[i][1] < 128 ? over[i][1] : 128};
        nib_status status = nib_matmul_plan_open(ctx, &d, &plan);
        CHECK(status == NIB_E_OVERFLOW || status == NIB_E_SHAPE, "%zu: %s", i,
              nib_status_name(status));
        CHECK(!plan);
    }
    nib_matmul_desc d = desc_of(NIB_ACTS_DYNAMIC, NIB_RULE_SYM_FULL, 8, 64, 4096, 0);
    d.max_m = INT64_MAX;
    refuse(ctx, &d, NIB_E_OVERFLOW, "max_m");
    d.max_m = (INT64_C(1) << 47) + 1;
    refuse(ctx, &d, NIB_E_OVERFLOW, "max_m");
    nib_matmul *plan = NULL; /* prepared x of 2^67 bytes */
    d.max_m = INT64_C(1) << 47;
    CHECK_OK(nib_grid_rows(64, 1 << 20, GROUP, &d.weights.grid));
    CHECK_STATUS(nib_matmul_plan_open(ctx, &d, &plan), NIB_E_OVERFLOW);
    CHECK(!plan && strstr(nib_last_error(), "workspace"));
}

/* ---- bad calls ---- */

static void refuse_run(product *p, const nib_matmul_args *args, nib_status expected,
                       const char *words)
{
    memset(p->y, 0x5a, sizeof p->y);
    nib_status status = nib_matmul_run(p->stream, p->plan, args);
    CHECK(status == expected && strstr(nib_last_error(), words), "%s (%s), expected %s with '%s'",
          nib_status_name(status), nib_last_error(), nib_status_name(expected), words);
    size_t touched = 0;
    for (size_t i = 0; i < sizeof p->y; i++) touched += ((unsigned char *)p->y)[i] != 0x5a;
    CHECK(!touched, "%zu bytes written despite '%s'", touched, words);
}

static void test_runs(product *p)
{
    const nib_mem none = {NULL, 0, 0};
#define REFUSE_RUN(change, status, words)                                                          \
    do {                                                                                           \
        nib_matmul_args a = p->args;                                                               \
        change;                                                                                    \
        refuse_run(p, &a, status, words);                                                          \
    } while (0)
    REFUSE_RUN(a.size = 0, NIB_E_ARGUMENT, "args.size is 0");
    REFUSE_RUN(a.size = SIZE_MAX, NIB_E_ARGUMENT, "args.size");
    REFUSE_RUN(a.m = -1, NIB_E_SHAPE, "m is -1");
    REFUSE_RUN(a.m = M + 1, NIB_E_SHAPE, "m is 8");
    REFUSE_RUN(a.m = INT64_MAX, NIB_E_SHAPE, "m is");
    REFUSE_RUN(a.x = none, NIB_E_ARGUMENT, "x");
    REFUSE_RUN(a.weights = none, NIB_E_ARGUMENT, "weights");
    REFUSE_RUN(a.bias = none, NIB_E_ARGUMENT, "bias");
    REFUSE_RUN(a.y = none, NIB_E_ARGUMENT, "y");
    REFUSE_RUN(a.x.bytes -= 1, NIB_E_ARGUMENT, "x");
    REFUSE_RUN(a.weights.bytes -= 1, NIB_E_ARGUMENT, "weights");
    REFUSE_RUN(a.bias.bytes -= 1, NIB_E_ARGUMENT, "bias");
    REFUSE_RUN(a.y.bytes -= 1, NIB_E_ARGUMENT, "y");
    REFUSE_RUN(a.x_pitch = -1, NIB_E_SHAPE, "x_pitch is -1");
    REFUSE_RUN(a.x_pitch = K - 1, NIB_E_SHAPE, "x_pitch is 95");
    REFUSE_RUN(a.x_pitch = K + 1, NIB_E_ARGUMENT, "x"); /* then the last row ends past x */
    REFUSE_RUN(a.x_pitch = INT64_MAX, NIB_E_OVERFLOW, "x_pitch");
    REFUSE_RUN(a.y_pitch = N - 1, NIB_E_SHAPE, "y_pitch is 39");
    REFUSE_RUN(a.y_pitch = INT64_MAX / 2, NIB_E_OVERFLOW, "y_pitch");
    REFUSE_RUN(a.y.offset += 1; a.y.bytes -= 1; a.m = 1, NIB_E_ALIGN, "y");
    REFUSE_RUN(a.weights.offset += 4, NIB_E_ALIGN, "weights");
    REFUSE_RUN(a.y = nib_wrap(p->bias, sizeof p->bias); a.m = 1, NIB_E_ARGUMENT, "overlaps");
    if (p->desc.acts != NIB_ACTS_CODES) {
        REFUSE_RUN(a.x.offset += 2; a.m = 1, NIB_E_ALIGN, "x");
        REFUSE_RUN(a.y = nib_wrap(p->x, sizeof p->x), NIB_E_ARGUMENT, "y overlaps x");
    }
    if (p->desc.acts >= NIB_ACTS_STATIC) {
        REFUSE_RUN(a.x_scales = none, NIB_E_ARGUMENT, "x_scales");
        REFUSE_RUN(a.x_scales.bytes -= 1, NIB_E_ARGUMENT, "x_scales");
        REFUSE_RUN(a.x_scales.offset += 1; a.m = 1, NIB_E_ALIGN, "x_scales");
    }
    if (nib_matmul_workspace_bytes(p->plan)) {
        REFUSE_RUN(a.workspace = none, NIB_E_ARGUMENT, "workspace");
        REFUSE_RUN(a.workspace.bytes -= 1, NIB_E_ARGUMENT, "workspace");
        REFUSE_RUN(a.workspace.offset += 4, NIB_E_ALIGN, "workspace");
        REFUSE_RUN(a.workspace.handle = a.weights.handle, NIB_E_ARGUMENT, "workspace");
    }
    CHECK_STATUS(nib_matmul_run(NULL, p->plan, &p->args), NIB_E_ARGUMENT);
    CHECK_STATUS(nib_matmul_run(p->stream, NULL, &p->args), NIB_E_ARGUMENT);
    CHECK_STATUS(nib_matmul_run(p->stream, p->plan, NULL), NIB_E_ARGUMENT);
    nib_matmul_args nothing = {.size = sizeof nothing, .m = 0};
    CHECK_OK(nib_matmul_run(p->stream, p->plan, &nothing));
    struct {
        nib_matmul_args known;
        int64_t later;
    } grown = {.known = p->args}; /* of a later version */
    grown.known.size = sizeof grown;
    CHECK_OK(nib_matmul_run(p->stream, p->plan, &grown.known));
    grown.later = 1;
    CHECK_STATUS(nib_matmul_run(p->stream, p->plan, &grown.known), NIB_E_ARGUMENT);
    CHECK(strstr(nib_last_error(), "later version"), "%s", nib_last_error());
    CHECK(nib_matmul_weights_bytes(NULL) == 0 && nib_matmul_workspace_bytes(NULL) == 0);
    CHECK_OK(nib_matmul_run(p->stream, p->plan, &p->args));
}

static void test_packing(product *p)
{
    nib_mem planes[NIB_PLANES], weights = p->args.weights;
    for (int i = 0; i < NIB_PLANES; i++) {
        size_t bytes;
        CHECK_OK(nib_plane_bytes(&p->desc.weights, (nib_plane)i, &bytes));
        planes[i] = nib_wrap(p->planes[i], bytes);
    }
    CHECK_STATUS(nib_matmul_pack(NULL, p->plan, planes, weights), NIB_E_ARGUMENT);
    CHECK_STATUS(nib_matmul_pack(p->stream, NULL, planes, weights), NIB_E_ARGUMENT);
    weights.bytes--;
    CHECK_STATUS(nib_matmul_pack(p->stream, p->plan, planes, weights), NIB_E_ARGUMENT);
    weights = nib_wrap((char *)p->weights + 8, nib_matmul_weights_bytes(p->plan));
    CHECK_STATUS(nib_matmul_pack(p->stream, p->plan, planes, weights), NIB_E_ALIGN);
    weights = p->args.weights;
    planes[NIB_PLANE_CODES].handle = weights.handle;
    CHECK_STATUS(nib_matmul_pack(p->stream, p->plan, planes, weights), NIB_E_ARGUMENT);
    planes[NIB_PLANE_CODES].handle = p->planes[NIB_PLANE_CODES];
    planes[NIB_PLANE_SCALES].bytes--;
    CHECK_STATUS(nib_matmul_pack(p->stream, p->plan, planes, weights), NIB_E_ARGUMENT);
    CHECK_STATUS(nib_matmul_prepare(NULL, p->plan, p->args.workspace), NIB_E_ARGUMENT);
    CHECK_STATUS(nib_matmul_prepare(p->stream, NULL, p->args.workspace), NIB_E_ARGUMENT);
    if (!nib_matmul_workspace_bytes(p->plan)) return;
    nib_mem small = p->args.workspace;
    small.bytes--;
    CHECK_STATUS(nib_matmul_prepare(p->stream, p->plan, small), NIB_E_ARGUMENT);
}

static void test_kernel_at(const product *p)
{
    nib_matmul_choice c;
    for (int64_t m = 1; m <= M; m++) {
        CHECK_OK(nib_matmul_kernel_at(p->plan, m, &c));
        CHECK(c.from_m <= m && m <= c.to_m && c.to_m <= M && !c.refusal, "m %lld: %lld to %lld",
              (long long)m, (long long)c.from_m, (long long)c.to_m);
        CHECK(!strncmp(c.kernel, nib_ctx_device(p->ctx)->name, 3), "%s", c.kernel);
    }
    CHECK_STATUS(nib_matmul_kernel_at(p->plan, 0, &c), NIB_E_SHAPE);
    CHECK_STATUS(nib_matmul_kernel_at(p->plan, M + 1, &c), NIB_E_SHAPE);
    CHECK_STATUS(nib_matmul_kernel_at(NULL, 1, &c), NIB_E_ARGUMENT);
    CHECK_STATUS(nib_matmul_kernel_at(p->plan, 1, NULL), NIB_E_ARGUMENT);
    CHECK(nib_matmul_choice_at(NULL, &p->desc, 0, &c) == 0 &&
          strstr(nib_last_error(), "ctx is NULL"));
}

static void test_other_context(product *p)
{
    const nib_mem planes[NIB_PLANES] = {{NULL, 0, 0}};
    nib_ctx *ctx;
    nib_stream *stream;
    CHECK_OK(nib_open("ref", NULL, &ctx));
    CHECK_OK(nib_stream_open(ctx, &stream));
    CHECK_STATUS(nib_matmul_run(stream, p->plan, &p->args), NIB_E_ARGUMENT);
    CHECK_STATUS(nib_matmul_prepare(stream, p->plan, p->args.workspace), NIB_E_ARGUMENT);
    CHECK_STATUS(nib_matmul_pack(stream, p->plan, planes, p->args.weights), NIB_E_ARGUMENT);
    CHECK(strstr(nib_last_error(), "another context"), "%s", nib_last_error());
    nib_stream_close(stream);
    nib_close(ctx);
}

/* ---- what a run may not do ---- */

static void test_no_allocation(product *p)
{
    CHECK_OK(nib_matmul_run(p->stream, p->plan, &p->args));
    long before = __atomic_load_n(&allocations, __ATOMIC_RELAXED);
    for (int64_t m = 0; m <= M; m++) {
        nib_matmul_args args = p->args;
        args.m = m;
        CHECK_OK(nib_matmul_run(p->stream, p->plan, &args));
    }
    CHECK_OK(nib_sync(p->stream));
    long made = __atomic_load_n(&allocations, __ATOMIC_RELAXED) - before;
    CHECK(made == 0, "%ld allocations on %s", made, nib_ctx_device(p->ctx)->name);
}

/* ---- threads ---- */

enum { THREADS = 2, RUNS = 200 };

typedef struct runner {
    const product *shared;
    float y[M * N];
    long wrong;
} runner;

static void *run_often(void *argument)
{
    runner *r = argument;
    const product *p = r->shared;
    size_t bytes = nib_matmul_workspace_bytes(p->plan);
    void *workspace = aligned(bytes);
    nib_stream *stream = NULL;
    nib_matmul_args args = p->args;
    args.y = nib_wrap(r->y, sizeof r->y);
    args.workspace = nib_wrap(workspace, bytes);
    r->wrong += nib_stream_open(p->ctx, &stream) != NIB_OK;
    r->wrong += nib_matmul_prepare(stream, p->plan, args.workspace) != NIB_OK;
    for (int i = 0; i < RUNS && !r->wrong; i++) {
        memset(r->y, 0x5a, sizeof r->y);
        args.m = 1 + i % M;
        r->wrong += nib_matmul_run(stream, p->plan, &args) != NIB_OK;
        r->wrong += nib_sync(stream) != NIB_OK;
        r->wrong += memcmp(r->y, p->y, (size_t)args.m * N * sizeof *r->y) != 0;
    }
    nib_stream_close(stream);
    free(workspace);
    return NULL;
}

static void test_shared_plan(product *p)
{
    static runner runners[THREADS];
    pthread_t ids[THREADS];
    CHECK_OK(nib_matmul_run(p->stream, p->plan, &p->args));
    for (int i = 0; i < THREADS; i++) {
        runners[i] = (runner){.shared = p};
        if (!CHECK(!pthread_create(&ids[i], NULL, run_often, &runners[i]))) return;
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(ids[i], NULL);
        CHECK(!runners[i].wrong, "thread %d: %ld", i, runners[i].wrong);
    }
}

static void test_device(const char *device)
{
    static const struct {
        nib_acts acts;
        nib_rule rule;
        int32_t bits;
    } kinds[] = {{NIB_ACTS_FLOAT, NIB_RULE_SYM_FULL, 4},   {NIB_ACTS_FLOAT, NIB_RULE_ASYM_ZERO, 8},
                 {NIB_ACTS_DYNAMIC, NIB_RULE_SYM_FULL, 8}, {NIB_ACTS_DYNAMIC, NIB_RULE_SYM_FULL, 4},
                 {NIB_ACTS_STATIC, NIB_RULE_ASYM_ZERO, 4}, {NIB_ACTS_CODES, NIB_RULE_SYM_FULL, 8}};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        product p;
        open_product(&p, device, kinds[i].acts, kinds[i].rule, kinds[i].bits);
        test_runs(&p);
        test_packing(&p);
        test_kernel_at(&p);
        test_other_context(&p);
        test_no_allocation(&p);
        test_shared_plan(&p);
        close_product(&p);
    }
    nib_ctx *ctx;
    CHECK_OK(nib_open(device, NULL, &ctx));
    test_descriptions(ctx);
    test_int32(ctx);
    test_sizes(ctx);
    nib_close(ctx);
}

/* ---- a small stack ---- */

#ifdef NIBBLE_SANITIZED /* whose frames are larger */
#define SMALL_STACK ((size_t)8 << 20)
#else
#define SMALL_STACK ((size_t)64 << 10)
#endif
enum { MANY_M = 100, MANY_N = 300, MANY_K = 256 };

/* Weights of zeros, any x: what matters is where the kernels keep their tiles. */
static void *run_on_small_stack(void *argument)
{
    const nib_acts acts = *(const nib_acts *)argument;
    nib_matmul_desc d = desc_of(acts, NIB_RULE_SYM_FULL, 4, MANY_N, MANY_K, 32);
    nib_ctx *ctx = NULL;
    nib_stream *stream = NULL;
    nib_matmul *plan = NULL;
    d.max_m = MANY_M, d.bias_type = NIB_DTYPE_NONE;
    CHECK_OK(nib_open("cpu", &(nib_options){.size = sizeof(nib_options), .threads = 1}, &ctx));
    CHECK_OK(nib_stream_open(ctx, &stream));
    if (!CHECK_OK(nib_matmul_plan_open(ctx, &d, &plan))) return NULL;
    size_t bytes[] = {MANY_M * MANY_K * 4, MANY_M * MANY_N * 4, nib_matmul_weights_bytes(plan),
                      nib_matmul_workspace_bytes(plan)};
    nib_mem mem[4];
    for (int i = 0; i < 4; i++) {
        void *memory = aligned(bytes[i]);
        if (CHECK(memory != NULL)) memset(memory, 0, bytes[i]);
        mem[i] = nib_wrap(memory, bytes[i]);
    }
    nib_matmul_args args = {
        .size = sizeof args, .x = mem[0], .y = mem[1], .weights = mem[2], .workspace = mem[3]};
    CHECK_OK(nib_matmul_prepare(stream, plan, args.workspace));
    for (args.m = 1; args.m <= MANY_M; args.m += 33) CHECK_OK(nib_matmul_run(stream, plan, &args));
    for (int i = 0; i < 4; i++) free(mem[i].handle);
    nib_matmul_plan_close(plan);
    nib_stream_close(stream);
    nib_close(ctx);
    return NULL;
}

/* A serving runtime's thread may have what musl gives it, or less. */
static void test_small_stack(void)
{
    nib_acts acts[] = {NIB_ACTS_FLOAT, NIB_ACTS_DYNAMIC};
    for (int i = 0; i < 2; i++) {
        pthread_t thread;
        pthread_attr_t attributes;
        pthread_attr_init(&attributes);
        CHECK(!pthread_attr_setstacksize(&attributes, SMALL_STACK));
        if (CHECK(!pthread_create(&thread, &attributes, run_on_small_stack, &acts[i])))
            pthread_join(thread, NULL);
        pthread_attr_destroy(&attributes);
    }
}

int main(void)
{
    test_device("ref");
    test_device("cpu");
    test_small_stack();
    return check_done();
}
