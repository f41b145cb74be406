/* matmul_numbers.c - the numbers of a matmul: what a description means, and how large packed
 * weights are. */
#include "internal.h"
#include "matmul.h"
#include "request.h"

enum { SECTION = 64 }; /* parts of packed weights begin at multiples of this */
static const int64_t MOST_M = INT64_C(1) << 47;

static const struct {
    const char *name;
    int64_t rows, cols;
    int32_t least_bits, scale_bytes, sums;
} packs[] = {{"none", 1, 1, 8, 4, 0},
#define X(ID, name, rows, cols, least_bits, scale_bytes, sums)                                     \
    {name, rows, cols, least_bits, scale_bytes, sums},
             NIB_PACKS(X)
#undef X
};

const char *nib_pack_name(nib_pack pack) { return packs[pack].name; }

static int round_up(int64_t count, int64_t multiple, int64_t *rounded_ret)
{
    return nib_mul(nib_ceil_div(count, multiple), multiple, rounded_ret);
}

/* Adds a section of a * b * bytes bytes that begins at *end; *at_ret = where. 0 on overflow. */
static int add_section(int64_t a, int64_t b, int64_t bytes, int64_t *end, int64_t *at_ret)
{
    int64_t size;
    *at_ret = *end;
    return nib_mul(a, b, &size) && nib_mul(size, bytes, &size) && nib_add(size, *end, &size) &&
           round_up(size, SECTION, end);
}

nib_status nib_pack_numbers(nib_pack pack, nib_args *a, size_t *bytes_ret)
{
    nib_product *p = &a->p;
    int64_t end = 0, codes_at, code_bytes;
    p->pack_bits = a->bits <= 4 && packs[pack].least_bits <= 4 ? 4 : 8;
    p->scale_bytes = packs[pack].scale_bytes             ? packs[pack].scale_bytes
                     : a->scale_type == (nib_i32)NIB_F32 ? 4
                                                         : 2;
    int fits = round_up(a->rows, packs[pack].rows, &p->pack_rows) &&
               round_up(a->cols, packs[pack].cols, &p->pack_cols) &&
               nib_mul(p->pack_cols, p->pack_bits, &code_bytes) &&
               add_section(p->pack_rows, nib_ceil_div(code_bytes, 8), 1, &end, &codes_at) &&
               add_section(p->pack_rows, a->scale_cols, p->scale_bytes, &end, &p->scales_at);
    int64_t offset_bytes = a->offset == NIB_O_NONE  ? 0
                           : a->offset == NIB_O_MIN ? p->scale_bytes
                                                    : 1;
    int64_t sum_bytes = packs[pack].sums ? 4 : 0;
    fits = fits && add_section(p->pack_rows, a->scale_cols, offset_bytes, &end, &p->offsets_at) &&
           add_section(p->pack_rows, a->scale_cols, sum_bytes, &end, &p->sums_at);
    if (!fits) return NIB_FAIL(NIB_E_OVERFLOW, "the packed weights' size overflows");
    p->tile_n = (nib_i32)packs[pack].rows;
    *bytes_ret = (size_t)end;
    return NIB_OK;
}

static nib_status check_types(const nib_matmul_desc *d)
{
    if (d->acts < NIB_ACTS_FLOAT || d->acts > NIB_ACTS_CODES)
        return NIB_FAIL(NIB_E_ARGUMENT, "desc.acts is %d; it must be 0 to 3", (int)d->acts);
    if (d->acts == NIB_ACTS_CODES ? d->x_type != NIB_I8 : !nib_is_float(d->x_type))
        return NIB_FAIL(NIB_E_ARGUMENT, "desc.x_type is %d (%s); it must be %s", (int)d->x_type,
                        nib_dtype_name(d->x_type),
                        d->acts == NIB_ACTS_CODES ? "I8 for codes" : "F32, F16 or BF16");
    NIB_TRY(nib_request_type("desc.y_type", d->y_type));
    return d->bias_type == NIB_DTYPE_NONE ? NIB_OK
                                          : nib_request_type("desc.bias_type", d->bias_type);
}

static nib_status check_flags(const nib_matmul_desc *d)
{
    if ((d->x_zeros | 1) != 1 || (d->x_per_tensor | 1) != 1)
        return NIB_FAIL(NIB_E_ARGUMENT, "desc.x_zeros is %d and desc.x_per_tensor %d; 0 or 1",
                        d->x_zeros, d->x_per_tensor);
    if (d->acts == NIB_ACTS_FLOAT && d->x_zeros)
        return NIB_FAIL(NIB_E_ARGUMENT, "desc.x_zeros is 1, but floats have no zero points");
    if (d->acts <= NIB_ACTS_DYNAMIC && d->x_per_tensor)
        return NIB_FAIL(NIB_E_ARGUMENT,
                        "desc.x_per_tensor is 1, but only given scales can be one for all rows");
    if (d->experts != 0 && d->experts != 1)
        return NIB_FAIL(NIB_E_UNSUPPORTED,
                        "desc.experts is %lld; it must be 1 (one call an expert)",
                        (long long)d->experts);
    if (d->max_m < 0)
        return NIB_FAIL(NIB_E_SHAPE, "desc.max_m is %lld; it must be 0 or more",
                        (long long)d->max_m);
    if (d->max_m > MOST_M) /* so that M, rounded up to any tile, is a number */
        return NIB_FAIL(NIB_E_OVERFLOW, "desc.max_m is %lld; 2^47 is the most",
                        (long long)d->max_m);
    return NIB_OK;
}

/* Each int32 sum, of the products of one group, must hold whatever the codes are. */
static nib_status check_int32(const nib_matmul_desc *d, const nib_args *a)
{
    if (d->acts == NIB_ACTS_FLOAT) return NIB_OK;
    int64_t x = d->x_zeros ? 255 : d->acts == NIB_ACTS_DYNAMIC ? 127 : 128;
    int64_t w = a->offset == NIB_O_NONE ? INT64_C(1) << (a->bits - 1) : (INT64_C(1) << a->bits) - 1;
    int64_t most = INT32_MAX / (x * w);
    if (a->group <= most) return NIB_OK;
    return NIB_FAIL(
        NIB_E_SHAPE,
        "%lld elements share a scale; int32 sums of products up to %lld * %lld hold %lld",
        (long long)a->group, (long long)x, (long long)w, (long long)most);
}

nib_status nib_matmul_numbers(const nib_matmul_desc *desc, nib_args *args_ret)
{
    nib_request r = {.op = NIB_OP_MATMUL};
    nib_matmul_desc own, *d = &own;
    if (!desc) return NIB_FAIL(NIB_E_ARGUMENT, "desc is NULL");
    NIB_TRY(nib_take_given("desc", "nib_matmul_desc", desc, sizeof own, &own, sizeof own));
    NIB_TRY(nib_request_quant(&r, &d->weights, 1));
    if (d->weights.bits > 8)
        return NIB_FAIL(NIB_E_UNSUPPORTED, "weights of %d bits; 8 is the most", d->weights.bits);
    NIB_TRY(check_types(d));
    NIB_TRY(check_flags(d));
    NIB_TRY(check_int32(d, &r.args));
    nib_args *a = &r.args;
    a->x_type = (nib_i32)d->x_type;
    a->y_type = (nib_i32)d->y_type;
    a->p.m = d->max_m;
    a->p.acts = (nib_i32)d->acts;
    a->p.x_zeros = d->x_zeros;
    a->p.x_one = d->x_per_tensor;
    a->p.bias_type = (nib_i32)d->bias_type;
    a->p.split = 1;
    *args_ret = *a;
    return NIB_OK;
}
