/* dequantize_simd.h - dequantize row by row: groups of whole runs, or whole rows; one text for each
 * vec_*.h.
 *
 *   codes, scales, offsets  ->  y [rows, cols]
 *
 * Bound: writing y and reading the codes once: 2 + bits / 8 bytes an element of bf16. Stores that
 * go around the caches do not read y first (should_stream). */
#include "access.h"
#include "kernels.h"
#include "lanes_simd.h"
#include "runs_simd.h"

/* Bytes of codes between what is decoded and what is fetched. */
enum { AHEAD = 4096 };

INLINE void decode_runs(nib_u8 *y, const nib_u8 *codes, nib_i64 runs, cell_decode c, int flip,
                        int type, int bits, int offset, int stream)
{
    words zero = w_splat(c.zero), flips = w_splat(flip);
    floats s = f_splat(c.scale), m = f_splat(c.min);
    for (nib_i64 i = 0; i < runs; i++) {
        prefetch_once(codes + 4 * i * bits + AHEAD);
        words w = w_sub(w_xor(load_codes(codes + 4 * i * bits, bits), flips), zero);
        floats v = f_mul(f_from_words(w, type), s);
        if (offset == NIB_O_MIN) v = f_add(v, m);
        f_store(y + 32 * i * (type == NIB_T_F32 ? 4 : 2), type, v, stream);
    }
}

/* Codes of 4 bits to elements of 16: all sixteen values of the group once, then look-ups. */
INLINE void look_up_runs(nib_u8 *y, const nib_u8 *codes, nib_i64 runs, cell_decode c, int flip,
                         int type, int offset, int stream)
{
    nib_u16 entries[16];
    for (int i = 0; i < 16; i += LANES) {
        vi code = (v_iota() + i) ^ flip;
        vf value = __builtin_convertvector(code - c.zero, vf) * c.scale;
        if (offset == NIB_O_MIN) value += c.min;
        v_store16(entries + i, v_to_type(value, type));
    }
    table t = t_load(entries);
    for (nib_i64 i = 0; i < runs; i++) {
        prefetch_once(codes + 16 * i + AHEAD);
        t_look_up(y + 64 * i, t, codes + 16 * i, stream);
    }
}

static void fill_nan(void *y, int type, nib_i64 count)
{
    for (nib_i64 i = 0; i < count; i++) store_element(y, type, i, NIB_BITS_F32(NIB_QNAN_F32));
}

/* The whole runs of a row. */
INLINE void decode_groups(void *const span[NIB_HOST_SPANS], const nib_args *a, nib_i64 row,
                          int type, int bits, int offset, int stream)
{
    nib_i64 size = type == NIB_T_F32 ? 4 : 2, cell_row = row % a->period;
    nib_u8 *y = (nib_u8 *)span[NIB_Y] + row * a->cols * size;
    const nib_u8 *codes = (const nib_u8 *)span[NIB_CODES] + row * a->codes.pitch;
    for (nib_i64 g = 0, k = 0; g < a->scale_cols; g++, k += a->group) {
        nib_i64 runs = (min_i64(k + a->group, a->cols) - k) / 32;
        cell_decode c = load_cell(span, a, cell_row, g);
        nib_u8 *to = y + k * size;
        if (!nib_is_finite(c.scale) || !nib_is_finite(c.min)) fill_nan(to, type, runs * 32);
        else if (bits == 4 && type != NIB_T_F32)
            look_up_runs(to, codes + (k >> 1), runs, c, a->codes.flip, type, offset, stream);
        else
            decode_runs(to, codes + (k >> 3) * bits, runs, c, a->codes.flip, type, bits, offset,
                        stream);
    }
}

typedef void decoder(void *const span[NIB_HOST_SPANS], const nib_args *a, nib_i64 row, int stream);

#define DECODER(type, bits, offset)                                                                \
    static void decode_##type##_##bits##_##offset(void *const span[NIB_HOST_SPANS],                \
                                                  const nib_args *a, nib_i64 row, int stream)      \
    {                                                                                              \
        if (stream) decode_groups(span, a, row, NIB_T_##type, bits, NIB_O_##offset, 1);            \
        else decode_groups(span, a, row, NIB_T_##type, bits, NIB_O_##offset, 0);                   \
    }
FOR_TYPES_BITS_MINS(DECODER)

static decoder *find_decoder(int type, int bits, int offset)
{
    if (offset == NIB_O_ZERO) offset = NIB_O_NONE; /* both are (u - z) * s */
#define PICK(t, b, o)                                                                              \
    if (type == NIB_T_##t && bits == b && offset == NIB_O_##o) return decode_##t##_##b##_##o;
    FOR_TYPES_BITS_MINS(PICK)
    return NULL;
}

NIB_CPU_KERNEL(ISA(nib_cpu_dequantize_rows))
{
    const nib_args *a = args;
    decoder *decode = find_decoder(a->y_type, a->bits, a->offset);
    nib_i64 row_bytes = a->cols * (a->y_type == NIB_T_F32 ? 4 : 2), runs = (a->cols + 31) / 32;
    int stream = should_stream(span[NIB_Y], row_bytes, a->rows * (row_bytes + a->codes.pitch));
    for (nib_i64 row = begin; row < end; row++) {
        decode(span, a, row, stream);
        if (a->cols % 32) nib_cpu_dequantize(span, a, (row + 1) * runs - 1, (row + 1) * runs);
    }
    if (stream) _mm_sfence();
}
