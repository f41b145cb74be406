/* pack.cu - planes of weights into the packs of matmul.cuh, where the drawing stands. Every word of
 * the target is written by one thread, which gathers its codes wherever they lie; a warp stores and
 * sums a cell. Once a matrix, so the caches are the bound. */
#include "matmul.cuh"

/* w' of element (n, k); 0 outside the matrix. */
DEVICE nib_i32 packed_code(const nib_spans &s, const nib_args &a, nib_i64 n, nib_i64 k)
{
    if (n >= a.rows || k >= a.cols) return 0;
    nib_i64 bit = k * a.codes.width, byte = bit >> 3;
    nib_u32 value = 0;
    for (int i = 0; i * 8 < (int)(bit & 7) + a.codes.width; i++)
        value |= (nib_u32)((const nib_u8 *)s.codes)[nib_place_byte(a.codes, n, byte + i)]
                 << (8 * i);
    value = (value >> (bit & 7) & ((1u << a.codes.width) - 1u)) ^ (nib_u32)a.codes.flip;
    return (nib_i32)value - (1 << (a.bits - 1));
}

/* Scale and offset of group g of row n as number `at` of their sections; zeros behind the last row.
 * A cell that decodes to NaN gets the scale NaN. */
DEVICE void store_cell(const nib_spans &s, const nib_args &a, nib_i64 n, nib_i64 g, nib_i64 at)
{
    nib_u8 *to = (nib_u8 *)s.y;
    nib_cell c = nib_cell_limits(a.bits, a.offset, a.low);
    if (n < a.rows) c = cell_load(s, a, n % a.period * a.scale_cols + g);
    if (!nib_is_finite(c.scale) || !nib_is_finite(c.min)) c.scale = NIB_BITS_F32(NIB_QNAN_F32);
    nib_i32 type = a.p.scale_bytes == 4 ? NIB_T_F32 : a.scale_type;
    store_raw(to + a.p.scales_at, type, at, nib_to_type(type, c.scale));
    if (a.offset == NIB_O_MIN) store_raw(to + a.p.offsets_at, type, at, nib_to_type(type, c.min));
    if (a.offset == NIB_O_ZERO)
        ((signed char *)to)[a.p.offsets_at + at] =
            (signed char)(cell_zero(c) - (1 << (a.bits - 1)));
}

/* The sum of w' over group g of row n, by a warp. */
DEVICE nib_i32 sum_of_group(const nib_spans &s, const nib_args &a, nib_i64 n, nib_i64 g)
{
    nib_i64 end = (g + 1) * a.group < a.cols ? (g + 1) * a.group : a.cols;
    nib_i32 sum = 0;
    for (nib_i64 k = g * a.group + threadIdx.x % 32; k < end; k += 32)
        sum += packed_code(s, a, n, k);
    return __reduce_add_sync(~0u, sum);
}

/* items: rows of W. */
NIB_CUDA_KERNEL(nib_cuda_pack_plain)
{
    nib_u8 *to = (nib_u8 *)s.y;
    int lane = threadIdx.x % 32;
    for (nib_i64 n = grid_thread() / 32; n < items; n += grid_threads() / 32) {
        for (nib_i64 k = lane; k < a.cols; k += 32)
            ((signed char *)to)[n * a.p.pack_cols + k] = (signed char)packed_code(s, a, n, k);
        for (nib_i64 g = 0; g < a.scale_cols; g++) {
            nib_i32 sum = sum_of_group(s, a, n, g);
            if (lane > 0) continue;
            store_cell(s, a, n, g, n * a.scale_cols + g);
            ((nib_i32 *)(to + a.p.sums_at))[n * a.scale_cols + g] = sum;
        }
    }
}

/* Word `w` of a panel whose first row is n. */
DEVICE nib_u32 fragment_word(const nib_spans &s, const nib_args &a, nib_i64 n, nib_i64 w)
{
    int word = (int)(w % 4), lane = (int)(w / 4 % 32), tile = (int)(w / 128 % 4);
    nib_i64 unit = w / 512;
    nib_u32 packed = 0;
    n += tile * 16 + lane / 4;
    if (a.p.pack_bits == 4) {
        nib_i64 k = unit * 64 + word / 2 * 32 + lane % 4 * 8 + word % 2 * 4;
        for (int i = 0; i < 8; i++)
            packed |= ((nib_u32)packed_code(s, a, n + i % 2 * 8, k + i % 4 / 2 * 2 + i / 4) & 15u)
                      << (4 * i);
    } else {
        nib_i64 k = unit * 32 + lane % 4 * 8 + word / 2 * 4;
        for (int i = 0; i < 4; i++)
            packed |= ((nib_u32)packed_code(s, a, n + word % 2 * 8, k + i) & 255u) << (8 * i);
    }
    return packed;
}

/* items: pairs of panels. */
DEVICE void pack_fragments(const nib_spans &s, const nib_args &a, nib_i64 items, bool sums)
{
    nib_u8 *to = (nib_u8 *)s.y;
    nib_i64 words = PANEL * a.p.pack_cols * a.p.pack_bits / 32;
    int warp = threadIdx.x / 32;
    for (nib_i64 panel = blockIdx.x; panel < 2 * items; panel += gridDim.x) {
        for (nib_i64 w = threadIdx.x; w < words; w += NIB_THREADS)
            ((nib_u32 *)to)[panel * words + w] = fragment_word(s, a, panel * PANEL, w);
        for (nib_i64 c = warp; c < PANEL * a.scale_cols; c += NIB_THREADS / 32) {
            nib_i64 n = panel * PANEL + c % PANEL, g = c / PANEL;
            nib_i64 at = g * a.p.pack_rows + packed_row(n);
            if (threadIdx.x % 32 == 0) store_cell(s, a, n, g, at);
            if (!sums) continue;
            nib_i32 sum = sum_of_group(s, a, n, g);
            if (threadIdx.x % 32 == 0) ((nib_i32 *)(to + a.p.sums_at))[at] = sum;
        }
    }
}

NIB_CUDA_KERNEL(nib_cuda_pack_fragments) { pack_fragments(s, a, items, false); }
NIB_CUDA_KERNEL(nib_cuda_pack_fragments_sums) { pack_fragments(s, a, items, true); }
