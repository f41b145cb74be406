/* peers.c - see peers.h. OpenBLAS and ggml are loaded at run time; oneDNN is linked where CMake
 * finds it. */
#include "peers.h"

#include <dlfcn.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *allocate(size_t bytes)
{
    void *memory = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
    if (!memory) {
        fprintf(stderr, "bench_matmul: no memory for %zu bytes\n", bytes);
        exit(4);
    }
    memset(memory, 0, bytes);
    return memory;
}

/* ---- OpenBLAS: f32 ---- */

typedef void sgemm(int order, int trans_a, int trans_b, int m, int n, int k, float alpha,
                   const float *a, int lda, const float *b, int ldb, float beta, float *c, int ldc);
enum { ROW_MAJOR = 101, NO_TRANS = 111, TRANS = 112 };

typedef struct blas {
    const problem *p;
    sgemm *multiply;
    float *w, *y;
    int next;
} blas;

static void *blas_open(const peer *self, const problem *p)
{
    void *library = dlopen("libopenblas.so.0", RTLD_NOW | RTLD_LOCAL);
    void (*set_threads)(int);
    (void)self;
    if (!library) return NULL;
    blas *b = allocate(sizeof *b);
    *(void **)&b->multiply = dlsym(library, "cblas_sgemm");
    *(void **)&set_threads = dlsym(library, "openblas_set_num_threads");
    if (!b->multiply || !set_threads) return NULL;
    set_threads(p->threads);
    size_t elements = (size_t)(p->n * p->k);
    b->p = p;
    b->w = allocate(elements * (size_t)p->copies * sizeof *b->w);
    b->y = allocate((size_t)(p->n * p->most_m) * sizeof *b->y);
    for (int i = 0; i < p->copies; i++)
        memcpy(b->w + elements * (size_t)i, p->w, elements * sizeof *b->w);
    return b;
}

static void blas_run(void *state, int64_t m, int runs)
{
    blas *b = state;
    int n = (int)b->p->n, k = (int)b->p->k;
    for (int i = 0; i < runs; i++, b->next = (b->next + 1) % b->p->copies)
        b->multiply(ROW_MAJOR, NO_TRANS, TRANS, (int)m, n, k, 1.0f, b->p->x, k,
                    b->w + (size_t)b->next * (size_t)n * (size_t)k, k, 0.0f, b->y, n);
}

static void blas_result(void *state, int64_t m, float *y)
{
    const blas *b = state;
    memcpy(y, b->y, (size_t)(m * b->p->n) * sizeof *y);
}

static void blas_close(void *state)
{
    blas *b = state;
    free(b->w), free(b->y), free(b);
}

/* ---- oneDNN: u8 x s8 to f32, scales left to the reader of y ---- */

#ifdef HAVE_DNNL
#include <oneapi/dnnl/dnnl.h>

enum { MOST_COPIES = 256, SHAPES = 8 };

typedef struct dnnl_shape {
    int64_t m;
    int copies; /* fewer where the products, not memory, take the time */
    dnnl_primitive_t multiply;
    dnnl_memory_t w[MOST_COPIES], x, y;
} dnnl_shape;

typedef struct onednn {
    const problem *p;
    dnnl_engine_t engine;
    dnnl_stream_t stream;
    uint8_t *x;
    int8_t *w;
    float *y, w_scale, x_scale;
    dnnl_shape shapes[SHAPES];
    int count, next;
} onednn;

static void dnnl_must(dnnl_status_t status, const char *what)
{
    if (status == dnnl_success) return;
    fprintf(stderr, "bench_matmul: oneDNN: %s: %d\n", what, (int)status);
    exit(1);
}

static float largest(const float *x, int64_t count)
{
    float most = 0.0f;
    for (int64_t i = 0; i < count; i++) most = fmaxf(most, fabsf(x[i]));
    return most;
}

static void *onednn_open(const peer *self, const problem *p)
{
    (void)self;
    onednn *d = allocate(sizeof *d);
    int64_t x_count = p->most_m * p->k, w_count = p->n * p->k;
    d->p = p;
    dnnl_must(dnnl_engine_create(&d->engine, dnnl_cpu, 0), "engine");
    dnnl_must(dnnl_stream_create(&d->stream, d->engine, dnnl_stream_default_flags), "stream");
    d->x = allocate((size_t)x_count), d->w = allocate((size_t)w_count);
    d->y = allocate((size_t)(p->n * p->most_m) * sizeof *d->y);
    d->x_scale = largest(p->x, x_count) / 127.0f, d->w_scale = largest(p->w, w_count) / 127.0f;
    for (int64_t i = 0; i < x_count; i++) d->x[i] = (uint8_t)(lrintf(p->x[i] / d->x_scale) + 128);
    for (int64_t i = 0; i < w_count; i++) d->w[i] = (int8_t)lrintf(p->w[i] / d->w_scale);
    return d;
}

/* One reordered copy of W in the layout that the primitive asks for. */
static dnnl_memory_t onednn_weights(onednn *d, const dnnl_memory_desc_t *plain,
                                    const dnnl_memory_desc_t *wanted)
{
    dnnl_memory_t from, to;
    dnnl_primitive_desc_t desc;
    dnnl_primitive_t reorder;
    dnnl_must(dnnl_memory_create(&from, plain, d->engine, d->w), "memory");
    dnnl_must(dnnl_memory_create(&to, wanted, d->engine, DNNL_MEMORY_ALLOCATE), "memory");
    dnnl_must(dnnl_reorder_primitive_desc_create(&desc, plain, d->engine, wanted, d->engine, NULL),
              "reorder");
    dnnl_must(dnnl_primitive_create(&reorder, desc), "reorder");
    dnnl_exec_arg_t args[] = {{DNNL_ARG_FROM, from}, {DNNL_ARG_TO, to}};
    dnnl_must(dnnl_primitive_execute(reorder, d->stream, 2, args), "reorder");
    dnnl_must(dnnl_stream_wait(d->stream), "wait");
    dnnl_primitive_destroy(reorder), dnnl_primitive_desc_destroy(desc), dnnl_memory_destroy(from);
    return to;
}

static dnnl_shape *onednn_shape(onednn *d, int64_t m)
{
    for (int i = 0; i < d->count; i++)
        if (d->shapes[i].m == m) return &d->shapes[i];
    dnnl_shape *s = &d->shapes[d->count++ % SHAPES];
    dnnl_memory_desc_t x, w, plain, y;
    dnnl_matmul_desc_t desc;
    dnnl_primitive_desc_t primitive;
    dnnl_dims_t x_dims = {m, d->p->k}, w_dims = {d->p->k, d->p->n}, y_dims = {m, d->p->n};
    s->m = m;
    s->copies = m > 8 || d->p->copies > MOST_COPIES ? 4 : d->p->copies;
    if (s->copies > d->p->copies) s->copies = d->p->copies;
    dnnl_memory_desc_init_by_tag(&x, 2, x_dims, dnnl_u8, dnnl_ab);
    dnnl_memory_desc_init_by_tag(&w, 2, w_dims, dnnl_s8, dnnl_format_tag_any);
    dnnl_memory_desc_init_by_tag(&plain, 2, w_dims, dnnl_s8, dnnl_ba);
    dnnl_memory_desc_init_by_tag(&y, 2, y_dims, dnnl_f32, dnnl_ab);
    dnnl_primitive_attr_t attr;
    int32_t zero = 128;
    dnnl_primitive_attr_create(&attr);
    dnnl_primitive_attr_set_zero_points(attr, DNNL_ARG_SRC, 1, 0, &zero);
    dnnl_must(dnnl_matmul_desc_init(&desc, &x, &w, NULL, &y), "matmul");
    dnnl_must(dnnl_primitive_desc_create(&primitive, &desc, attr, d->engine, NULL), "matmul");
    dnnl_must(dnnl_primitive_create(&s->multiply, primitive), "matmul");
    const dnnl_memory_desc_t *wanted =
        dnnl_primitive_desc_query_md(primitive, dnnl_query_weights_md, 0);
    for (int i = 0; i < s->copies; i++) s->w[i] = onednn_weights(d, &plain, wanted);
    dnnl_must(dnnl_memory_create(&s->x, &x, d->engine, d->x), "memory");
    dnnl_must(dnnl_memory_create(&s->y, &y, d->engine, d->y), "memory");
    dnnl_primitive_desc_destroy(primitive), dnnl_primitive_attr_destroy(attr);
    return s;
}

static void onednn_run(void *state, int64_t m, int runs)
{
    onednn *d = state;
    dnnl_shape *s = onednn_shape(d, m);
    for (int i = 0; i < runs; i++, d->next++) {
        dnnl_exec_arg_t args[] = {{DNNL_ARG_SRC, s->x},
                                  {DNNL_ARG_WEIGHTS, s->w[d->next % s->copies]},
                                  {DNNL_ARG_DST, s->y}};
        dnnl_must(dnnl_primitive_execute(s->multiply, d->stream, 3, args), "run");
    }
    dnnl_must(dnnl_stream_wait(d->stream), "wait");
}

static void onednn_result(void *state, int64_t m, float *y)
{
    const onednn *d = state;
    for (int64_t i = 0; i < m * d->p->n; i++) y[i] = d->y[i] * d->x_scale * d->w_scale;
}

static void onednn_close(void *state)
{
    onednn *d = state;
    for (int i = 0; i < d->count; i++) {
        dnnl_shape *s = &d->shapes[i];
        for (int j = 0; j < s->copies; j++) dnnl_memory_destroy(s->w[j]);
        dnnl_memory_destroy(s->x), dnnl_memory_destroy(s->y), dnnl_primitive_destroy(s->multiply);
    }
    dnnl_stream_destroy(d->stream), dnnl_engine_destroy(d->engine);
    free(d->x), free(d->w), free(d->y), free(d);
}
#endif

/* ---- ggml: its CPU backend, weights in the buffer type that llama.cpp would pick ---- */

enum { GGML_F32 = 0, GGML_Q4_0 = 2, GGML_Q8_0 = 8 };

typedef struct ggml_params {
    size_t size;
    void *memory;
    bool no_alloc;
} ggml_params;

/* The functions of ggml that are used, as its headers declare them; all handles opaque. */
#define GGML_FUNCTIONS(X)                                                                          \
    X(void *, ggml_init, (ggml_params))                                                            \
    X(void, ggml_free, (void *))                                                                   \
    X(void *, ggml_new_tensor_2d, (void *, int, int64_t, int64_t))                                 \
    X(void *, ggml_mul_mat, (void *, void *, void *))                                              \
    X(void *, ggml_new_graph, (void *))                                                            \
    X(void, ggml_build_forward_expand, (void *, void *))                                           \
    X(size_t, ggml_quantize_chunk,                                                                 \
      (int, const float *, void *, int64_t, int64_t, int64_t, const float *))                      \
    X(size_t, ggml_row_size, (int, int64_t))                                                       \
    X(void *, ggml_backend_cpu_init, (void))                                                       \
    X(void, ggml_backend_cpu_set_n_threads, (void *, int))                                         \
    X(void *, ggml_backend_cpu_reg, (void))                                                        \
    X(void *, ggml_backend_cpu_buffer_type, (void))                                                \
    X(void *, ggml_backend_reg_dev_get, (void *, size_t))                                          \
    X(void *, ggml_backend_reg_get_proc_address, (void *, const char *))                           \
    X(void *, ggml_backend_alloc_ctx_tensors_from_buft, (void *, void *))                          \
    X(void, ggml_backend_buffer_free, (void *))                                                    \
    X(bool, ggml_backend_supports_op, (void *, const void *))                                      \
    X(void, ggml_backend_tensor_set, (void *, const void *, size_t, size_t))                       \
    X(void, ggml_backend_tensor_get, (const void *, void *, size_t, size_t))                       \
    X(int, ggml_backend_graph_compute, (void *, void *))                                           \
    X(void, ggml_backend_free, (void *))

static struct {
#define X(type, name, arguments) type(*name) arguments;
    GGML_FUNCTIONS(X)
#undef X
} ggml;

typedef struct ggml_shape {
    int64_t m;
    int runs;
    void *context, *buffer, *graph, *y;
} ggml_shape;

typedef struct ggml_state {
    const problem *p;
    int type;
    void *backend, *weights_context, *weights_buffer, **w;
    ggml_shape shape; /* the last one run */
} ggml_state;

static int ggml_load(void)
{
    const char *path = getenv("NIBBLE_BENCH_GGML");
    void *library = path ? dlopen(path, RTLD_NOW | RTLD_GLOBAL) : NULL;
    if (!library) return 0;
#define X(type, name, arguments)                                                                   \
    *(void **)&ggml.name = dlsym(library, #name);                                                  \
    if (!ggml.name) return 0;
    GGML_FUNCTIONS(X)
#undef X
    return 1;
}

/* Context with room for tensors and a graph, no data. */
static void *ggml_context(void) { return ggml.ggml_init((ggml_params){16 << 20, NULL, true}); }

/* The weights in buffers of type `buft`; 0 where its products do not take them. */
static int ggml_weights(ggml_state *g, void *buft)
{
    const problem *p = g->p;
    g->weights_context = ggml_context();
    for (int i = 0; i < p->copies; i++)
        g->w[i] = ggml.ggml_new_tensor_2d(g->weights_context, g->type, p->k, p->n);
    g->weights_buffer = ggml.ggml_backend_alloc_ctx_tensors_from_buft(g->weights_context, buft);
    void *context = ggml_context();
    void *x = ggml.ggml_new_tensor_2d(context, GGML_F32, p->k, 1);
    void *y = ggml.ggml_mul_mat(context, g->w[0], x);
    int takes = g->weights_buffer && ggml.ggml_backend_supports_op(g->backend, y);
    ggml.ggml_free(context);
    if (takes) return 1;
    if (g->weights_buffer) ggml.ggml_backend_buffer_free(g->weights_buffer);
    ggml.ggml_free(g->weights_context);
    return 0;
}

static void *ggml_open(const peer *self, const problem *p)
{
    if (!ggml_load()) return NULL;
    ggml_state *g = allocate(sizeof *g);
    g->p = p, g->type = self->kind;
    g->w = allocate((size_t)p->copies * sizeof *g->w);
    g->backend = ggml.ggml_backend_cpu_init();
    ggml.ggml_backend_cpu_set_n_threads(g->backend, p->threads);
    void *reg = ggml.ggml_backend_cpu_reg();
    void **(*extra)(void *);
    *(void **)&extra =
        ggml.ggml_backend_reg_get_proc_address(reg, "ggml_backend_dev_get_extra_bufts");
    void **bufts = extra ? extra(ggml.ggml_backend_reg_dev_get(reg, 0)) : NULL;
    int placed = 0;
    while (bufts && *bufts && !placed) placed = ggml_weights(g, *bufts++);
    fprintf(stderr, "%s: %s\n", self->name, placed ? "repacked" : "not repacked");
    if (!placed && !ggml_weights(g, ggml.ggml_backend_cpu_buffer_type())) return NULL;
    size_t bytes = ggml.ggml_row_size(g->type, p->k) * (size_t)p->n;
    void *packed = allocate(bytes);
    ggml.ggml_quantize_chunk(g->type, p->w, packed, 0, p->n, p->k, NULL);
    for (int i = 0; i < p->copies; i++) ggml.ggml_backend_tensor_set(g->w[i], packed, 0, bytes);
    free(packed);
    return g;
}

static void ggml_drop_shape(ggml_state *g)
{
    if (!g->shape.context) return;
    ggml.ggml_backend_buffer_free(g->shape.buffer);
    ggml.ggml_free(g->shape.context);
}

/* One graph with all runs, so that its threads start once. */
static void ggml_make_shape(ggml_state *g, int64_t m, int runs)
{
    const problem *p = g->p;
    ggml_shape *s = &g->shape;
    ggml_drop_shape(g);
    *s = (ggml_shape){m, runs, ggml_context(), NULL, NULL, NULL};
    void *x = ggml.ggml_new_tensor_2d(s->context, GGML_F32, p->k, m);
    s->graph = ggml.ggml_new_graph(s->context);
    for (int i = 0; i < runs; i++) {
        s->y = ggml.ggml_mul_mat(s->context, g->w[i % p->copies], x);
        ggml.ggml_build_forward_expand(s->graph, s->y);
    }
    s->buffer = ggml.ggml_backend_alloc_ctx_tensors_from_buft(s->context,
                                                              ggml.ggml_backend_cpu_buffer_type());
    ggml.ggml_backend_tensor_set(x, p->x, 0, (size_t)(p->k * m) * sizeof *p->x);
}

static void ggml_run(void *state, int64_t m, int runs)
{
    ggml_state *g = state;
    if (g->shape.m != m || g->shape.runs != runs) ggml_make_shape(g, m, runs);
    if (ggml.ggml_backend_graph_compute(g->backend, g->shape.graph) == 0) return;
    fprintf(stderr, "bench_matmul: ggml: graph_compute failed\n");
    exit(1);
}

static void ggml_result(void *state, int64_t m, float *y)
{
    const ggml_state *g = state;
    ggml.ggml_backend_tensor_get(g->shape.y, y, 0, (size_t)(m * g->p->n) * sizeof *y);
}

static void ggml_close(void *state)
{
    ggml_state *g = state;
    ggml_drop_shape(g);
    ggml.ggml_backend_buffer_free(g->weights_buffer);
    ggml.ggml_free(g->weights_context);
    ggml.ggml_backend_free(g->backend);
    free(g->w), free(g);
}

const peer peers[] = {
    {"openblas sgemm", 1, 128, blas_open, blas_run, blas_result, blas_close, 0},
#ifdef HAVE_DNNL
    {"onednn u8 x s8", 5, 32, onednn_open, onednn_run, onednn_result, onednn_close, 0},
#endif
    {"ggml q4_0", 25, 18, ggml_open, ggml_run, ggml_result, ggml_close, GGML_Q4_0},
    {"ggml q8_0", 5, 34, ggml_open, ggml_run, ggml_result, ggml_close, GGML_Q8_0},
};
const int peer_count = sizeof peers / sizeof peers[0];
