/* walk_blocks.h - the part of test_kernels.c that walks ggml's blocks: every type x shape, with
 * and without an importance, quantized, decoded and unpacked, against `ref`; then blocks of any
 * bytes. */
#ifndef NIB_WALK_BLOCKS_H
#define NIB_WALK_BLOCKS_H

typedef struct block_shape {
    int64_t rows, blocks; /* of a row; MANY: of so many elements that each warp of one CUDA
                             multiprocessor takes several tiles of them */
    const char *why;
} block_shape;

enum { MANY = -1, MANY_ELEMENTS = 67000 };

static const block_shape block_shapes[] = {
    {1, 1, "one block"},
    {3, 1, "a block a row"},
    {2, 2, "two blocks a row"},
    {1, 7, "one less than a vector of 8 blocks"},
    {2, 4, "exactly a vector of 8 blocks, across rows"},
    {3, 3, "one more than a vector of 8 blocks"},
    {1, 15, "one less than a vector of 16 blocks"},
    {1, 16, "exactly a vector of 16 blocks"},
    {1, 17, "one more than a vector of 16 blocks"},
    {7, 5, "vectors that begin anywhere in a row"},
    {4, 8, "exactly a warp's 32 blocks, across rows"},
    {3, 11, "one more than a warp's 32 blocks"},
    {2, 33, "many blocks and one"},
    {9, 2, "one more than a vector of 8 rows"},
    {17, 1, "one more than a vector of 16 rows"},
    {1, MANY, "many tiles"},
    {0, 3, "no rows"},
    {3, 0, "no columns"},
};

/* An importance: any finite number that is not negative may be in it. */
static float importance_at(int kind)
{
    float x = case_normal(&walk.random);
    switch (kind) {
    case 1: return x * x * x * x; /* uneven */
    case 2: return check_random(&walk.random) % 4 ? 1.0f + case_uniform(&walk.random) : 0.0f;
    case 3: return 0.0f;
    default: return NIB_BITS_F32((uint32_t)check_random(&walk.random) & 0x7f7fffffu); /* any */
    }
}

static void walk_block_decoding(const walk_case *q, const unsigned char *blocks)
{
    walk_case d = *q;
    unsigned char *out[NIB_SPANS] = {NULL};
    const nib_grid *g = &q->quant.grid;
    for (int i = 0; i < NIB_SPANS; i++) d.bytes[i] = 0, d.data[i] = NULL;
    d.data[NIB_X] = blocks;
    d.bytes[NIB_X] = q->bytes[NIB_OUT];
    d.op = NIB_OP_DEQUANTIZE_BLOCKS;
    d.y_type = pick_type();
    d.aligned = (int)(check_random(&walk.random) % 2);
    d.bytes[NIB_Y] = (size_t)(g->rows * g->cols) * (size_t)nib_dtype_bits(d.y_type) / 8;
    d.written = NIB_BIT(NIB_Y);
    walk_one(&d, out);
    drop(out);

    nib_quant planes;
    CHECK_OK(nib_block_quant(q->block, g->rows, g->cols, &planes));
    walk_case u = d;
    u.op = NIB_OP_UNPACK_BLOCKS;
    u.quant = planes;
    u.bytes[NIB_Y] = 0;
    for (int p = 0; p < NIB_PLANES; p++)
        u.bytes[NIB_CODES + p] = plane_bytes(&planes, (nib_plane)p);
    u.written = NIB_BIT(NIB_CODES) | NIB_BIT(NIB_SCALES) | NIB_BIT(NIB_OFFSETS);
    walk_one(&u, out);
    drop(out);
}

static int64_t columns_of(const nib_block_type *type, const block_shape *shape)
{
    int64_t blocks = shape->blocks == MANY ? MANY_ELEMENTS / type->elements : shape->blocks;
    return blocks * type->elements;
}

static void walk_block(const nib_block_type *type, const block_shape *shape,
                       const case_values *values, nib_dtype x_type, nib_nonfinite nonfinite,
                       int importance)
{
    nib_report empty = NIB_REPORT_EMPTY;
    int64_t cols = columns_of(type, shape), count = shape->rows * cols;
    void *x = make_values(values, x_type, count, cols ? cols : 1);
    float *weights = malloc((size_t)cols * sizeof(float) + 1);
    for (int64_t i = 0; i < cols; i++) weights[i] = importance_at(importance);
    walk_case q = {.op = NIB_OP_QUANTIZE_BLOCKS,
                   .block = type->block,
                   .x_type = x_type,
                   .y_type = NIB_F32,
                   .nonfinite = nonfinite,
                   .aligned = (int)(check_random(&walk.random) % 2),
                   .shape = shape->why,
                   .values = values->name};
    q.quant.grid = (nib_grid){shape->rows, cols, shape->rows, cols};
    q.quant.scale_type = NIB_F32;
    q.data[NIB_X] = x;
    q.bytes[NIB_X] = (size_t)count * (size_t)nib_dtype_bits(x_type) / 8;
    if (importance) {
        q.data[NIB_SCALES] = weights;
        q.bytes[NIB_SCALES] = (size_t)cols * sizeof(float);
    }
    CHECK_OK(nib_block_bytes(type->block, shape->rows, cols, &q.bytes[NIB_OUT]));
    q.data[NIB_REPORT] = &empty;
    q.bytes[NIB_REPORT] = check_random(&walk.random) % 4 ? sizeof empty : 0;
    q.written = NIB_BIT(NIB_OUT) | NIB_BIT(NIB_REPORT);
    unsigned char *out[NIB_SPANS] = {NULL};
    walk_one(&q, out);
    if (out[NIB_OUT]) walk_block_decoding(&q, out[NIB_OUT]);
    if (!importance && out[NIB_OUT]) { /* any bytes, as a file may hold */
        for (size_t i = 0; i < q.bytes[NIB_OUT]; i++)
            out[NIB_OUT][i] = (unsigned char)check_random(&walk.random);
        walk_block_decoding(&q, out[NIB_OUT]);
    }
    drop(out);
    free(weights);
    free(x);
}

/* Every type x shape x importance; what else varies is drawn from the seed. */
static void walk_blocks(void)
{
    long index = 0;
    for (size_t b = 0; b < nib_block_count(); b++)
        for (int s = 0; s < CASE_COUNT(block_shapes); s++)
            for (int importance = 0; importance < 5; importance++) {
                const nib_block_type *type = nib_block_at(b);
                const block_shape *shape = &block_shapes[s];
                if (importance && type->block == NIB_BLOCK_Q8_0) continue;
                if (shape->blocks == MANY && importance > 1) continue;
                if (shape->rows * columns_of(type, shape) > walk.elements) continue;
                if (index++ % walk.parts != walk.part) continue;
                uint64_t seed = walk.random;
                walk.random = seed ^ (uint64_t)index * UINT64_C(0xbf58476d1ce4e5b9);
                const case_values *values = &case_distributions[check_random(&walk.random) %
                                                                CASE_COUNT(case_distributions)];
                nib_nonfinite nonfinite = (nib_nonfinite)(check_random(&walk.random) % 3);
                walk_block(type, shape, values, pick_type(), nonfinite, importance);
                walk.random = seed;
            }
}

#endif
