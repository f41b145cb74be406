/* quantize.c - quantize in plain C, in two launches: the parameters of each cell, then the codes of
 * each run from the planes just written, so that cells may lie in any way over the matrix.
 *
 *   x [rows, cols]  ->  scales, offsets per cell  ->  codes: rows of LSB-first bits
 *
 * Bound: reading x twice and writing the codes; here, one element at a time. */
#include "kernels.h"
#include "range.h"

NIB_CPU_KERNEL(nib_cpu_quantize_cells)
{
    cell_report report = CELL_REPORT_EMPTY;
    for (nib_i64 cell = begin; cell < end; cell++) {
        cell_range r = range_cell(span, args, cell);
        if (r.nonfinite) report_nonfinite(&report, cell);
        if (r.nonfinite && args->nonfinite == NIB_N_ERROR) {
            store_cell(span, args, cell, NULL);
            continue;
        }
        nib_cell c = nib_cell_make(*args, r.min, r.max);
        store_cell(span, args, cell, &c);
        report_cell(&report, &c);
    }
    report_add(span[NIB_REPORT], &report);
}

/* The parameters for encoding, from the planes; *poisoned_ret: codes are 0. */
static nib_cell encoding(void *const span[NIB_HOST_SPANS], const nib_args *a, nib_i64 row,
                         nib_i64 g, nib_i32 *poisoned_ret)
{
    cell_decode stored = load_cell(span, a, row, g);
    nib_cell c = nib_cell_limits(a->bits, a->offset, a->low);
    c.scale = stored.scale;
    c.min = stored.min;
    c.zero = (float)(stored.zero - c.bias);
    *poisoned_ret = !nib_is_finite(c.scale);
    return c;
}

/* The codes of row `row`, columns begin..end-1: at most 32. */
static void encode_run(void *const span[NIB_HOST_SPANS], const nib_args *a, nib_i64 row,
                       nib_i64 begin, nib_i64 end, nib_u8 codes[32])
{
    for (nib_i64 k = begin; k < end;) {
        nib_i32 poisoned;
        nib_cell c = encoding(span, a, row % a->period, k / a->group, &poisoned);
        nib_i64 stop = min_i64(end, (k / a->group + 1) * a->group);
        for (; k < stop; k++) {
            float x = load_element(span[NIB_X], a->x_type, row * a->cols + k);
            x = nib_admit(x, a->nonfinite, a->x_type);
            nib_u32 code = poisoned ? 0u : nib_encode(c, x);
            *codes++ = (nib_u8)(code ^ (nib_u32)a->codes.flip);
        }
    }
}

NIB_CPU_KERNEL(nib_cpu_quantize_runs)
{
    nib_i64 runs = (args->cols + 31) / 32;
    nib_i32 width = args->codes.width;
    for (nib_i64 item = begin; item < end; item++) {
        nib_i64 row = item / runs, k = item % runs * 32, stop = min_i64(k + 32, args->cols);
        nib_u8 codes[32];
        encode_run(span, args, row, k, stop, codes);
        nib_u8 *out = (nib_u8 *)span[NIB_CODES] + row * args->codes.pitch,
               *byte = out + k / 8 * width;
        nib_u32 bits = 0;
        nib_i32 held = 0;
        for (nib_i64 i = 0; i < stop - k; i++) {
            bits |= (nib_u32)codes[i] << held;
            for (held += width; held >= 8; held -= 8, bits >>= 8) *byte++ = (nib_u8)bits;
        }
        if (stop < args->cols) continue;
        if (held) *byte++ = (nib_u8)bits;
        while (byte < out + args->codes.pitch) *byte++ = 0;
    }
}
