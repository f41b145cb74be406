/* convert_simd.h - elements from one floating-point type to another; one text for each vec_*.h.
 *
 *   x [rows * cols] of x_type  ->  y of y_type
 *
 * Bound: reading x and writing y. */
#include "access.h"
#include "kernels.h"
#include "lanes_simd.h"

/* NaN becomes quiet on the way to another type, as F16C has it. */
INLINE vi convert_lanes(vi raw, int from, int to)
{
    vf x = v_from_type(raw, from);
    if (from == NIB_T_BF16) x = (vf)((vi)x | (v_is_nan(x) & 0x400000));
    vi converted = v_to_type(x, to);
    if (to != NIB_T_BF16) return converted;
    vi quiet = (vi)((vu)x >> 16) | 0x40;
    return (vi)v_select(v_is_nan(x), (vf)quiet, (vf)converted);
}

INLINE void convert_span(nib_u8 *y, const nib_u8 *x, nib_i64 count, int from, int to)
{
    int x_size = from == NIB_T_F32 ? 4 : 2, y_size = to == NIB_T_F32 ? 4 : 2;
    nib_i64 i = 0;
    for (; i + LANES <= count; i += LANES)
        v_store_raw(y + i * y_size, convert_lanes(v_load_raw(x + i * x_size, from), from, to), to);
    for (; i < count; i++) store_element(y, to, i, load_element(x, from, i));
}

typedef void converter(nib_u8 *y, const nib_u8 *x, nib_i64 count);

#define FOR_TYPE_PAIRS(X)                                                                          \
    X(F32, F32)                                                                                    \
    X(F32, F16)                                                                                    \
    X(F32, BF16) X(F16, F32) X(F16, F16) X(F16, BF16) X(BF16, F32) X(BF16, F16) X(BF16, BF16)
#define CONVERTER(from, to)                                                                        \
    static void from##_to_##to(nib_u8 *y, const nib_u8 *x, nib_i64 count)                          \
    {                                                                                              \
        convert_span(y, x, count, NIB_T_##from, NIB_T_##to);                                       \
    }
FOR_TYPE_PAIRS(CONVERTER)

static converter *find_converter(int from, int to)
{
#define PICK(f, t)                                                                                 \
    if (from == NIB_T_##f && to == NIB_T_##t) return f##_to_##t;
    FOR_TYPE_PAIRS(PICK)
    return NULL;
}

NIB_CPU_KERNEL(ISA(nib_cpu_convert))
{
    nib_i64 x_size = args->x_type == NIB_T_F32 ? 4 : 2, y_size = args->y_type == NIB_T_F32 ? 4 : 2;
    nib_i64 from = begin * 1024, count = min_i64(end * 1024, args->rows * args->cols) - from;
    find_converter(args->x_type, args->y_type)((nib_u8 *)span[NIB_Y] + from * y_size,
                                               (const nib_u8 *)span[NIB_X] + from * x_size, count);
}
