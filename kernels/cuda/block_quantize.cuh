/* block_quantize.cuh - from a lane's group of elements to its share of a block: the searches of
 * kernels/common over registers, factors among the lanes of a block, its bytes and its line in the
 * report. */
#pragma once

#include "block.cuh"

#include "../common/lane.h"

#include "../common/search.h"

/* Where block_parts.h gets its values: the lane's registers, and its group's importance. */
struct nib_source {
    const float *x, *importance;
    nib_i32 weighted;
    float mean;
};

DEVICE float nib_source_x(nib_source s, nib_i32 i) { return s.x[i]; }
DEVICE float nib_source_weight(nib_source s, nib_i32 i) { return __ldg(s.importance + i); }
DEVICE float nib_source_mean(nib_source s) { return s.mean; }

#include "../common/block_parts.h"

/* Shared memory of a warp. */
template <int block> struct block_tile {
    typedef block_type<block> type;
    uint4 x[32 * type::group / 4];
    alignas(16) nib_u32 codes[type::groups > 1 ? 32 * type::group / 4 : 4]; /* a byte a code */
    alignas(16) nib_u16 out[type::tile * type::bytes / 2];
    nib_u32 factors[type::groups > 1 ? type::tile : 1][4];
};

/* ---- numbers of a block ---- */

template <int lanes> DEVICE void gather(float value, float *all)
{
#pragma unroll
    for (int k = 0; k < lanes; k++) all[k] = __shfl_sync(~0u, value, k, lanes);
}

/* The sum of x * x over the block, in its order: each lane goes on where the one before it
 * ended. */
template <int lanes, int n> DEVICE float sum_squares(const float (&x)[n])
{
    float sum = 0.0f;
#pragma unroll 1
    for (int k = 0; k < lanes; k++) {
#pragma unroll
        for (int i = 0; i < n; i++) sum = sum + x[i] * x[i];
        sum = __shfl_sync(~0u, sum, k, lanes);
    }
    return sum;
}

/* d, m and the lane's factors, of the types with mins. With an importance the search over scales
 * and that over mins run side by side, in the block's even and odd lanes. */
template <int block, bool weighted> DEVICE void share_mins(nib_parts &p, float total)
{
    constexpr int lanes = block_type<block>::groups;
    const int limit = nib_factor_limit(block), j = lane_number() % lanes;
    float scale = p.found[0].scale, min = p.found[0].min;
    if (weighted) {
        float value[lanes], weight[lanes];
        nib_n factor[lanes];
#pragma unroll
        for (int k = 0; k < lanes; k++) {
            float of_scale = __shfl_sync(~0u, scale, k, lanes);
            float of_min = __shfl_sync(~0u, min, k, lanes);
            value[k] = j % 2 ? of_min : of_scale;
        }
        gather<lanes>(total, weight);
        nib_n unit = nib_weighted_factors(value, weight, lanes, limit, factor);
        p.d = __shfl_sync(~0u, unit, 0, lanes);
        p.m = __shfl_sync(~0u, unit, 1, lanes);
#pragma unroll
        for (int k = 0; k < lanes; k++) {
            nib_n sub = __shfl_sync(~0u, factor[k], 0, lanes);
            nib_n sub_min = __shfl_sync(~0u, factor[k], 1, lanes);
            if (k == j) p.sub[0] = sub, p.sub_min[0] = sub_min;
        }
    } else {
        float most = 0.0f < scale ? scale : 0.0f, most_min = 0.0f < min ? min : 0.0f, inverse;
#pragma unroll
        for (int distance = lanes / 2; distance > 0; distance /= 2) {
            float other = __shfl_xor_sync(~0u, most, distance);
            float other_min = __shfl_xor_sync(~0u, most_min, distance);
            most = most < other ? other : most;
            most_min = most_min < other_min ? other_min : most_min;
        }
        p.d = nib_unit_of_largest(most, limit, &inverse);
        p.sub[0] = nib_factor_of(scale, inverse, limit);
        p.m = nib_unit_of_largest(most_min, limit, &inverse);
        p.sub_min[0] = nib_factor_of(min, inverse, limit);
    }
    nib_step_mins(block, &p, 0);
}

template <int block, bool weighted> DEVICE void share_signed(nib_parts &p, float scale, float total)
{
    constexpr int lanes = block_type<block>::groups;
    float all[lanes], weight[lanes] = {0.0f};
    gather<lanes>(scale, all);
    if (weighted && block == NIB_B_Q3_K) gather<lanes>(total, weight);
    nib_unit u = nib_unit_of(block, weighted, all, weight);
    p.d = u.half_;
    nib_step_signed(block, weighted, u, scale, &p, 0);
}

/* All that the lane's block stores but for codes: p, of which group 0 is the lane's. */
template <int block, bool weighted, int n>
DEVICE void find_parts(nib_source s, const float (&x)[n], nib_parts &p)
{
    constexpr int lanes = block_type<block>::groups;
    constexpr bool mins = block == NIB_B_Q2_K || block == NIB_B_Q4_K || block == NIB_B_Q5_K;
    p.m = 0;
    if (block < NIB_B_Q2_K) {
        nib_parts_of(s, block, &p);
        return;
    }
    if (block == NIB_B_Q3_K && !weighted) {
        float code[16];
        share_signed<block, weighted>(p, nib_improved_group(s, 0, code), 0.0f);
        return;
    }
    float w[n], own[n], mean = 0.0f;
    if (weighted && block != NIB_B_Q6_K) mean = nib_mean_of(block, sum_squares<lanes, n>(x));
    nib_load_group(s, block, 0, mean, own, w);
    float total = nib_total(w, n);
    p.found[0] = nib_search_group(block, weighted, own, w);
    if (mins) share_mins<block, weighted>(p, total);
    else share_signed<block, weighted>(p, p.found[0].scale, total);
}

/* ---- bytes of a block ---- */

/* Word w of a plane of the codes' `bits` bits from bit `shift` up: four bytes at a time, each of a
 * run's codes side by side; runs of one are eight codes a byte. */
DEVICE nib_u32 plane_word(const nib_u32 *codes, int w, int shift, int bits, int run)
{
    nib_u32 word = 0;
    if (run == 1) {
#pragma unroll
        for (int k = 0; k < 8; k++) /* the bits of four bytes meet in the product's top byte */
            word |= (codes[w * 8 + k] >> shift & 0x01010101u) * 0x01020408u >> 24 << (4 * k);
        return word;
    }
    nib_u32 mask = ((1u << bits) - 1u) * 0x01010101u;
    int first = w * 4 / run * run * (8 / bits) + w * 4 % run;
#pragma unroll
    for (int k = 0; k < 8 / bits; k++)
        word |= (codes[(first + k * run) / 4] >> shift & mask) << (k * bits);
    return word;
}

/* A plane of `words` words by `lanes` lanes, of which this is lane j. */
template <int words, int lanes>
DEVICE void put_plane(nib_u16 *out, const nib_u32 *codes, int j, int shift, int bits, int run)
{
#pragma unroll
    for (int k = 0; k < (words + lanes - 1) / lanes; k++) {
        int w = k * lanes + j;
        if (w < words) put_word(out + 2 * w, plane_word(codes, w, shift, bits, run));
    }
}

template <int block> DEVICE void put_planes(nib_u16 *out, const nib_u32 *codes, int j)
{
    constexpr nib_block_form f = block_type<block>::form();
    constexpr int lanes = block_type<block>::groups, words = f.elements / 32;
    put_plane<words * f.low_bits, lanes>(out + f.low_at / 2, codes, j, 0, f.low_bits, f.low_run);
    if (f.high_bits)
        put_plane<words * f.high_bits, lanes>(out + f.high_at / 2, codes, j, f.low_bits,
                                              f.high_bits, f.high_run);
}

/* Adds a factor to the bytes from `at` on, which are zero there. */
DEVICE void put_factor(nib_u32 *words, nib_parted p, int at, nib_i32 value)
{
    nib_u32 v = (nib_u32)value;
    int low = p.low.at - at, high = p.high.at - at;
    atomicOr(&words[low / 4], (v & ((1u << p.low.bits) - 1u)) << (low % 4 * 8 + p.low.shift));
    if (p.high.bits)
        atomicOr(&words[high / 4], (v >> p.low.bits & ((1u << p.high.bits) - 1u))
                                       << (high % 4 * 8 + p.high.shift));
}

DEVICE constexpr int factor_bytes(nib_block_form f)
{
    return f.sub == NIB_SUB_SPLIT ? 6 : f.sub == NIB_SUB_SIXES || f.sub == NIB_SUB_PAIRS ? 12 : 16;
}

/* The lane's share of its block's bytes; `words`: its codes, a byte each; factors only where
 * `scaled`. Every lane of the warp calls it. */
template <int block>
DEVICE void put_block(block_tile<block> &t, const nib_parts &p, const nib_u32 *words, bool scaled)
{
    constexpr nib_block_form f = block_type<block>::form();
    constexpr int lanes = block_type<block>::groups, n = block_type<block>::group;
    int b = lane_number() / lanes, j = lane_number() % lanes;
    nib_u16 *out = t.out + b * (f.bytes / 2);
    if (lanes == 1) put_planes<block>(out, words, 0);
    else {
        nib_u32 *codes = t.codes + lane_number() * (n / 4),
                *factors = t.factors[lanes == 1 ? 0 : b];
#pragma unroll
        for (int i = 0; i < n / 4; i++) codes[i] = words[i];
        if (j < 4) factors[j] = 0;
        __syncwarp();
        if (scaled) put_factor(factors, nib_sub_at(f, 0, j), f.sub_at, p.sub[0]);
        if (scaled && f.m_at != NIB_NOWHERE)
            put_factor(factors, nib_sub_at(f, 1, j), f.sub_at, p.sub_min[0]);
        put_planes<block>(out, t.codes + b * (f.elements / 4), j);
        __syncwarp();
        if (j < factor_bytes(f) / 2)
            out[f.sub_at / 2 + j] = (nib_u16)(factors[j / 2] >> (j % 2 * 16));
    }
    if (j) return;
    out[f.d_at / 2] = (nib_u16)p.d;
    if (f.m_at != NIB_NOWHERE) out[f.m_at / 2] = (nib_u16)p.m;
}

DEVICE void report_block(const nib_spans &s, const nib_args &a, nib_i64 item, bool nonfinite,
                         bool zeros, nib_u32 d, nib_u32 m)
{
    nib_u32 *count = (nib_u32 *)s.report;
    if (!a.has_report) return;
    if (nonfinite) report_nonfinite(s.report, item);
    if (nonfinite && a.nonfinite == NIB_N_ERROR) return;
    if (zeros) atomicAdd(&count[2], 1u);
    else if ((d & 0x7fffu) == 0) atomicAdd(&count[3], 1u);
    if ((d & 0x7c00u) == 0x7c00u || (m & 0x7c00u) == 0x7c00u) atomicAdd(&count[4], 1u);
}

/* ---- tiles ---- */

/* Sends for the elements of the tile that begins with block `first`. */
template <int block>
DEVICE void send_tile(block_tile<block> &t, const nib_spans &s, const nib_args &a, nib_i64 first,
                      nib_i64 items)
{
    constexpr int n = block_type<block>::group, elements = block_type<block>::elements;
    if (first >= items) return;
    int count = tile_blocks<block>(first, items) * elements;
    if (a.x_type == NIB_T_F32) send_rows<n, nib_u32>(t.x, s.x, first * elements, count);
    else send_rows<n, nib_u16>(t.x, s.x, first * elements, count);
}

template <int n> DEVICE void take_tile(const uint4 *rows, nib_i32 type, float (&x)[n])
{
    if (type == NIB_T_F32) take_row<n, NIB_T_F32>(rows, x);
    else if (type == NIB_T_F16) take_row<n, NIB_T_F16>(rows, x);
    else take_row<n, NIB_T_BF16>(rows, x);
}

/* NaN and infinities by policy; whether the lane's block had any. */
template <int block, int n> DEVICE bool admit(float (&x)[n], const nib_args &a)
{
    bool odd = false;
#pragma unroll
    for (int i = 0; i < n; i++) odd |= !(fabsf(x[i]) < NIB_BITS_F32(0x7f800000u));
    if (odd) {
#pragma unroll
        for (int i = 0; i < n; i++)
            if (!nib_is_finite(x[i])) x[i] = nib_substitute(x[i], a.nonfinite, a.x_type);
    }
    return any_of<block_type<block>::groups>(odd);
}

/* Whether the lane's block is all zeros; one of a single group is not where its d is something. */
template <int block, int n> DEVICE bool is_zeros(const float (&x)[n], nib_n d)
{
    constexpr int lanes = block_type<block>::groups;
    nib_u32 any = 0;
    if (lanes == 1 && (d & 0x7fff)) return false;
#pragma unroll
    for (int i = 0; i < n; i++) any |= NIB_F32_BITS(x[i]);
    return !any_of<lanes>(any & 0x7fffffffu);
}

template <int block, bool weighted, int n>
DEVICE void quantize_tile(block_tile<block> &t, const nib_spans &s, const nib_args &a,
                          nib_i64 first, nib_i64 items, float (&x)[n])
{
    constexpr nib_block_form f = block_type<block>::form();
    constexpr int lanes = block_type<block>::groups;
    int j = lane_number() % lanes;
    nib_i64 item = first + lane_number() / lanes;
    bool there = item < items, nonfinite = admit<block>(x, a);
    nib_source source = {x, nullptr, weighted, 0.0f};
    if (weighted)
        source.importance = (const float *)s.scales + item % a.scale_cols * f.elements + j * n;
    if (weighted && block < NIB_B_Q2_K && there)
        source.mean = NIB_BITS_F32(get_word((const nib_u16 *)s.out + item * (f.bytes / 2)));
    nib_parts p;
    find_parts<block, weighted>(source, x, p);
    nib_n code[n];
    nib_codes_of(source, block, &p, 0, code);
    bool poisoned = nonfinite && a.nonfinite == NIB_N_ERROR;
    /* where 1 / d overflows, no plain code is a number */
    bool none = block < NIB_B_Q2_K && !weighted && !nib_is_finite(p.step[0]);
    nib_u32 words[n / 4];
#pragma unroll
    for (int i = 0; i < n / 4; i++) {
        words[i] = 0;
#pragma unroll
        for (int k = 0; k < 4; k++) words[i] |= ((nib_u32)code[4 * i + k] & 255u) << (8 * k);
        words[i] = poisoned || none ? 0u : words[i];
    }
    bool zeros = is_zeros<block>(x, p.d);
    if (f.m_at == NIB_NOWHERE) p.m = 0;
    if (poisoned) p.d = p.m = 0x7e00;
    put_block<block>(t, p, words, !poisoned);
    if (j == 0 && there) report_block(s, a, item, nonfinite, zeros, (nib_u32)p.d, (nib_u32)p.m);
}

/* Blocks 0..items-1 by all warps of the grid. */
template <int block, bool weighted>
DEVICE void quantize_tiles(block_tile<block> &t, const nib_spans &s, const nib_args &a,
                           nib_i64 items)
{
    typedef block_type<block> type;
    constexpr int n = type::group;
    nib_i64 first = grid_warp() * type::tile, step = grid_warps() * type::tile;
    send_tile<block>(t, s, a, first, items);
    for (; first < items; first += step) {
        float x[n];
        cp_async_wait<0>();
        __syncwarp(); /* and the last tile's blocks are written */
        take_tile<n>(t.x, a.x_type, x);
        __syncwarp();
        send_tile<block>(t, s, a, first + step, items);
        quantize_tile<block, weighted>(t, s, a, first, items, x);
        __syncwarp();
        copy_span<type::tile * type::bytes>((nib_u8 *)s.out + first * type::bytes, t.out,
                                            tile_blocks<block>(first, items) * type::bytes);
    }
}

/* resident: blocks of threads on a unit, by which registers are shared out; weighted: there may
 * be an importance. */
#define QUANTIZE(ID, name, resident, weighted)                                                     \
    extern "C" __global__ void __launch_bounds__(NIB_BLOCK_THREADS, resident)                      \
        nib_cuda_quantize_blocks_##name(nib_spans s, nib_args a, nib_i64 items)                    \
    {                                                                                              \
        typedef block_tile<NIB_B_##ID> tile;                                                       \
        SHARED_ARRAY(tile, tiles, [NIB_BLOCK_THREADS / 32]);                                       \
        tile &t = tiles[threadIdx.x / 32];                                                         \
        if (weighted && a.weights != NIB_W_NONE)                                                   \
            quantize_tiles<NIB_B_##ID, weighted>(t, s, a, items);                                  \
        else quantize_tiles<NIB_B_##ID, false>(t, s, a, items);                                    \
    }
