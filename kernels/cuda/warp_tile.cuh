/* warp_tile.cuh - what one warp adds up: R tiles of 16 rows of W times 8 * MT rows of x, by
 * tensor cores, 32 columns at a time. Weights are fragments (matmul.cuh).
 *
 *   part   the sums of codes times x inside a group: f32, or int32
 *   sum    over groups, part times the group's scale: the scale meets sums, not codes, so codes
 *          are exact in f16, bf16 and int8 and no rounding of weights enters
 *
 * Lane 4g + t holds rows g and g + 8 of each tile, and of x rows 2t and 2t + 1 of each 8: element i
 * of four is row g + 8 * (i / 2), row of x 2t + i % 2. Groups are multiples of 32 columns. */
#pragma once

#include "matmul.cuh"

template <int form> struct part_type {
    typedef float type;
};
template <> struct part_type<NIB_T_I8> {
    typedef int type;
};

/* SCALED: with sums over groups; without, part is all there is (int32, exact). MINS: weights may
 * have mins (of int8, always). */
template <int FORM, int BITS, int R, int MT, bool SCALED, bool MINS> struct warp_tile {
    typename part_type<FORM>::type part[R][MT][4];
    float sum[SCALED ? R : 1][SCALED ? MT : 1][4];
    float ones[MINS ? MT : 1][4];    /* sums of x inside a group */
    cell_pair cells[SCALED ? R : 1]; /* of this group; on their way until it ends */
    nib_u32 z[SCALED ? R : 1];       /* of the next group with MINS, otherwise of this one */
    nib_u32 centre[MINS ? R : 1];    /* of this group, with MINS */
    nib_i64 m;                       /* the first row of x */
    int tile;                        /* the first tile of 16 rows of W */
    int group, left;                 /* this group, and how many of its columns are left */
};
#define TILE_ARGS int FORM, int BITS, int R, int MT, bool SCALED, bool MINS
#define TILE warp_tile<FORM, BITS, R, MT, SCALED, MINS>
/* Whether scales are sent for when their group begins; two blocks of eight warps on a unit have no
 * registers for that, and enough warps to wait for each other's scales. */
#define EARLY_SCALES (MINS || MT > 4)

template <TILE_ARGS> DEVICE void clear_parts(TILE &w)
{
#pragma unroll
    for (int mt = 0; mt < MT; mt++)
#pragma unroll
        for (int i = 0; i < 4; i++) {
#pragma unroll
            for (int r = 0; r < R; r++) w.part[r][mt][i] = 0;
            if (MINS) w.ones[mt][i] = 0.0f;
        }
}

/* Takes up group w.group. Its scales are not wanted before its end; z is wanted at once, so kernels
 * with registers to spare (those with MINS) sent for it a group ago. */
template <TILE_ARGS> DEVICE void enter_group(TILE &w, const nib_spans &s, const nib_args &a)
{
    if (w.group >= a.scale_cols) return; /* padding, where x is 0 */
#pragma unroll
    for (int r = 0; r < R; r++) {
        nib_i64 at = cells_at(a, w.group, w.tile + r);
        if (EARLY_SCALES) w.cells[r] = load_cells<MINS>(s, a, at);
        if (MINS) {
            w.centre[MINS ? r : 0] = w.z[r];
            if (w.group + 1 < a.scale_cols) w.z[r] = load_z(s, a, at + a.p.pack_rows);
        } else w.z[r] = load_z(s, a, at);
    }
}

/* Begins at column k, with nothing added yet. */
template <TILE_ARGS>
DEVICE void start_tile(TILE &w, const nib_spans &s, const nib_args &a, nib_i64 n, nib_i64 m, int k)
{
    clear_parts(w);
    w.tile = (int)(n / 16), w.m = m;
    if constexpr (SCALED) {
#pragma unroll
        for (int i = 0; i < R * MT * 4; i++) w.sum[i / 4 / MT][i / 4 % MT][i % 4] = 0.0f;
        w.group = a.scale_cols > 1 ? k / (int)a.group : 0;
        w.left = (a.scale_cols > 1 ? (w.group + 1) * (int)a.group : (int)a.p.pack_cols) - k;
#pragma unroll
        for (int r = 0; r < R; r++)
            if (MINS && w.group < a.scale_cols)
                w.z[r] = load_z(s, a, cells_at(a, w.group, w.tile + r));
        enter_group(w, s, a);
    }
}

/* Adds 32 columns of tile r; `word` as matmul.cuh draws them, x the lane's columns of rows of x: 8
 * elements in four words, or in two. */
template <TILE_ARGS>
DEVICE void multiply_words(TILE &w, int r, const nib_u32 *word, const nib_u32 (&x)[MT][4])
{
    nib_u32 operand[4];
    if constexpr (FORM == NIB_T_I8) {
        expand_int8<BITS>(operand, word);
#pragma unroll
        for (int mt = 0; mt < MT; mt++) {
            const nib_u32 b[2] = {x[mt][0], x[mt][1]};
            mma_m16n8k32_s8(w.part[r][mt], operand, b);
        }
    } else {
#pragma unroll
        for (int step = 0; step < 2; step++) {
            expand<FORM, BITS>(operand, word, step,
                               centres_of<BITS>(MINS ? w.centre[MINS ? r : 0] : w.z[r]));
#pragma unroll
            for (int mt = 0; mt < MT; mt++)
                multiply<FORM>(w.part[r][mt], operand, x[mt][2 * step], x[mt][2 * step + 1]);
        }
    }
}

/* Adds x itself: what mins are multiplied with. */
template <TILE_ARGS> DEVICE void add_ones(TILE &w, const nib_args &a, const nib_u32 (&x)[MT][4])
{
    if (!MINS || FORM == NIB_T_I8 || a.offset != NIB_O_MIN) return;
    const nib_u32 one = FORM == NIB_T_F16 ? 0x3c003c00u : 0x3f803f80u;
    const nib_u32 operand[4] = {one, one, one, one};
#pragma unroll
    for (int step = 0; step < 2; step++)
#pragma unroll
        for (int mt = 0; mt < MT; mt++)
            multiply<FORM>(w.ones[MINS ? mt : 0], operand, x[mt][2 * step], x[mt][2 * step + 1]);
}

template <TILE_ARGS> DEVICE void scale_floats(TILE &w, const nib_spans &s, const nib_args &a)
{
#pragma unroll
    for (int r = 0; r < R && !EARLY_SCALES; r++)
        w.cells[r] = load_cells<MINS>(s, a, cells_at(a, w.group, w.tile + r));
#pragma unroll
    for (int r = 0; r < R; r++)
#pragma unroll
        for (int h = 0; h < 2; h++) {
            float scale = type_value(w.cells[r].scale[h], a.scale_type),
                  min = type_value(w.cells[r].min[h], a.scale_type);
#pragma unroll
            for (int mt = 0; mt < MT; mt++)
#pragma unroll
                for (int i = 0; i < 2; i++) {
                    float *sum = &w.sum[r][mt][2 * h + i];
                    *sum = __fmaf_rn(w.part[r][mt][2 * h + i], scale, *sum);
                    if (MINS && a.offset == NIB_O_MIN)
                        *sum = __fmaf_rn(w.ones[MINS ? mt : 0][i], min, *sum);
                }
        }
}

/* The integer sums of a whole group, less what zero points ask for, times its scale. */
template <TILE_ARGS> DEVICE void scale_ints(TILE &w, const nib_spans &s, const nib_args &a)
{
    const nib_u8 *x = (const nib_u8 *)s.x;
    const nib_i32 *w_sums = (const nib_i32 *)((const nib_u8 *)s.codes + a.p.sums_at);
    nib_i64 rest = a.cols - w.group * a.group, first = w.m + threadIdx.x % 4 * 2;
    nib_i32 count = (nib_i32)(rest < a.group ? rest : a.group), w_sum[R][2] = {};
    for (int r = 0; r < R; r++) {
        nib_i64 at = cells_at(a, w.group, w.tile + r);
        if (!EARLY_SCALES || a.offset == NIB_O_MIN) w.cells[r] = load_cells<true>(s, a, at);
        for (int h = 0; h < 2 && a.p.x_zeros; h++) w_sum[r][h] = w_sums[at + h];
    }
#pragma unroll
    for (int j = 0; j < 2 * MT; j++) {
        nib_i64 m = first + j / 2 * 8 + j % 2;
        nib_i32 x_zero = 0, x_sum = 0;
        if (a.p.x_zeros) x_zero = ((const nib_i32 *)(x + NIB_X_ZEROS_AT(a)))[m];
        if (a.offset != NIB_O_NONE)
            x_sum = ((const nib_i32 *)(x + NIB_X_SUMS_AT(a)))[m * a.scale_cols + w.group];
#pragma unroll
        for (int i = 0; i < 2 * R; i++) {
            int r = i / 2, h = i % 2;
            nib_i32 p = w.part[r][j / 2][2 * h + j % 2];
            float *sum = &w.sum[r][j / 2][2 * h + j % 2];
            p = centred_sum(a, BITS == 4 ? p >> 4 : p, {z_of(w.z[r], h), w_sum[r][h], count},
                            x_zero, x_sum);
            *sum = __fmaf_rn((float)p, type_value(w.cells[r].scale[h], a.scale_type), *sum);
            if (a.offset == NIB_O_MIN)
                *sum = __fmaf_rn((float)(x_sum - x_zero * count),
                                 type_value(w.cells[r].min[h], a.scale_type), *sum);
        }
    }
}

/* After 32 columns, of which column k follows; `end` is the end of the warp's columns. Sums in f32
 * are scaled every 128 columns at least, so that a long group does not add up its roundings. */
template <TILE_ARGS>
DEVICE void pass_columns(TILE &w, const nib_spans &s, const nib_args &a, int k, int end)
{
    if constexpr (SCALED) {
        w.left -= 32;
        bool last = w.left == 0 || k == end;
        if (FORM != NIB_T_I8 ? last || k % 128 == 0 : last && !exact_sums(a)) {
            if (w.group < a.scale_cols) {
                if constexpr (FORM == NIB_T_I8) scale_ints(w, s, a);
                else scale_floats(w, s, a);
            }
            clear_parts(w);
        }
        if (w.left || k == end) return;
        w.group++, w.left = (int)a.group;
        enter_group(w, s, a);
    }
}

/* Leaves the sums in shared memory: [8 * MT rows of x][pitch], of which this warp has the rows from
 * `to` on. Exact sums are the bits of integers. */
template <TILE_ARGS> DEVICE void leave_sums(const TILE &w, const nib_args &a, float *to, int pitch)
{
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int r = 0; r < R; r++)
#pragma unroll
        for (int mt = 0; mt < MT; mt++)
#pragma unroll
            for (int i = 0; i < 4; i++) {
                int m = 8 * mt + lane % 4 * 2 + i % 2, n = 16 * r + lane / 4 + i / 2 * 8;
                float value = w.sum[SCALED ? r : 0][SCALED ? mt : 0][i];
                if constexpr (FORM == NIB_T_I8)
                    if (exact_sums(a)) {
                        nib_i32 p = w.part[r][mt][i];
                        value = NIB_BITS_F32((nib_u32)(BITS == 4 ? p >> 4 : p));
                    }
                to[m * pitch + n] = value;
            }
}
