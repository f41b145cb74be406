/* octet.h - 8 neighbouring elements of a row at a time, as vectors: one work-item's share nearly
 * everywhere. A CPU turns them into SIMD, a GPU into 8 scalar instructions. The arithmetic is that
 * of kernels/common/number.h and rule.h, lane by lane, without branches.
 *
 *   column      8i   8i+1  ...  8i+7        of a row stream of codes (not strided)
 *   bits        0    width ...  7*width     of a 64-bit word, least significant first
 *   bytes       i*width ... i*width + width - 1 of the row
 *
 * The last octet of a row may be shorter; the bytes after it up to the pitch are zero. */
#ifndef NIB_OPENCL_OCTET_H
#define NIB_OPENCL_OCTET_H

#include "group.h"

/* ---- places ---- */

/* Work-item `id` of a launch over NIB_ITEM_OCTET: its row, and the column where it begins; a row
 * past the last for work-items that only fill a work-group. */
NIB_FN nib_i64 nib_octet_row(nib_args a, nib_i64 id) { return nib_quotient(id, (a.cols + 7) >> 3); }
NIB_FN nib_i64 nib_octet_col(nib_args a, nib_i64 id, nib_i64 row)
{
    return (id - row * ((a.cols + 7) >> 3)) << 3;
}

/* How many elements an octet has that begins at `col` of `stop` columns. */
NIB_FN nib_i32 nib_octet_count(nib_i64 col, nib_i64 stop)
{
    return (nib_i32)min((nib_i64)8, stop - col);
}

/* ---- numbers ---- */

NIB_FN float8 nib_from_f16_8(uint8 h)
{
    uint8 sign = (h & 0x8000u) << 16, magnitude = (h & 0x7fffu) << 13;
    /* the exponent's bias by an exact product, which also makes subnormals normal */
    uint8 value = as_uint8(as_float8(magnitude) * 5.192296858534828e33f); /* 2^112 */
    uint8 quiet = magnitude > 0x0f800000u ? (uint8)0x400000u : (uint8)0u;
    return as_float8(sign | (magnitude >= 0x0f800000u ? magnitude | quiet | 0x7f800000u : value));
}

NIB_FN float8 nib_from_bf16_8(uint8 h)
{
    uint8 u = h << 16;
    return as_float8((u & 0x7fffffffu) > 0x7f800000u ? u | 0x400000u : u);
}

NIB_FN uint8 nib_to_f16_8(float8 x)
{
    uint8 u = as_uint8(x), sign = (u >> 16) & 0x8000u, magnitude = u & 0x7fffffffu;
    uint8 normal = ((magnitude + 0xfffu + ((magnitude >> 13) & 1u)) >> 13) - (112u << 10);
    /* the last place of 0.5 is that of a subnormal: adding it rounds, to nearest even */
    uint8 small = as_uint8(as_float8(magnitude) + 0.5f) - 0x3f000000u;
    uint8 nan = 0x7e00u | ((magnitude >> 13) & 0x3ffu);
    uint8 finite = magnitude >= 0x38800000u ? normal : small;
    uint8 large = magnitude > 0x7f800000u ? nan : (uint8)0x7c00u;
    return sign | (magnitude >= 0x477ff000u ? large : finite);
}

NIB_FN uint8 nib_to_bf16_8(float8 x)
{
    uint8 u = as_uint8(x);
    uint8 rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
    return (u & 0x7fffffffu) > 0x7f800000u ? (u >> 16) | 0x40u : rounded;
}

/* The first `count` (1..8) elements from `index` on; the others are 0. */
NIB_FN float8 nib_load_8(__global const uchar *array, nib_i32 type, nib_i64 index, nib_i32 count)
{
    if (count < 8) {
        float some[8] = {0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f, 0.0f};
        for (nib_i32 i = 0; i < count; i++) some[i] = nib_load(array, type, index + i);
        return vload8(0, some);
    }
    if (type == NIB_T_F32) return vload8(0, (__global const float *)array + index);
    uint8 raw = convert_uint8(vload8(0, (__global const ushort *)array + index));
    return type == NIB_T_F16 ? nib_from_f16_8(raw) : nib_from_bf16_8(raw);
}

NIB_FN void nib_store_8(__global uchar *array, nib_i32 type, nib_i64 index, nib_i32 count,
                        float8 values)
{
    if (count < 8) {
        float some[8];
        vstore8(values, 0, some);
        for (nib_i32 i = 0; i < count; i++) nib_store(array, type, index + i, some[i]);
        return;
    }
    if (type == NIB_T_F32) {
        vstore8(values, 0, (__global float *)array + index);
        return;
    }
    uint8 raw = type == NIB_T_F16 ? nib_to_f16_8(values) : nib_to_bf16_8(values);
    vstore8(convert_ushort8(raw), 0, (__global ushort *)array + index);
}

NIB_FN float8 nib_admit_8(float8 x, nib_i32 nonfinite, nib_i32 type)
{
    uint8 u = as_uint8(x), magnitude = u & 0x7fffffffu;
    uint8 kept = magnitude - 0x00800000u < 0x7f000000u ? u : (uint8)0u;
    if (nonfinite == NIB_N_SATURATE) {
        uint8 limit = (u & 0x80000000u) | NIB_F32_BITS(nib_type_max(type));
        kept = magnitude == 0x7f800000u ? limit : kept;
    }
    return as_float8(kept);
}

NIB_FN float8 nib_divide_8(float8 x, float8 s)
{
#ifdef NIB_DIVIDE_LONG
    return (float8)(nib_divide(x.s0, s.s0), nib_divide(x.s1, s.s1), nib_divide(x.s2, s.s2),
                    nib_divide(x.s3, s.s3), nib_divide(x.s4, s.s4), nib_divide(x.s5, s.s5),
                    nib_divide(x.s6, s.s6), nib_divide(x.s7, s.s7));
#else
    return x / s;
#endif
}

/* ---- ranges ---- */

/* `e` with the first `count` of 8 values. */
NIB_FN nib_extent nib_extent_add_8(nib_extent e, nib_args a, float8 given, nib_i32 count)
{
    const int8 place = (int8)(0, 1, 2, 3, 4, 5, 6, 7);
    float8 value = nib_admit_8(given, a.nonfinite, a.x_type);
    float8 low = place < count ? value : (float8)INFINITY;
    float8 high = place < count ? value : (float8)-INFINITY;
    float4 low4 = low.lo < low.hi ? low.lo : low.hi, high4 = high.lo > high.hi ? high.lo : high.hi;
    float2 low2 = low4.lo < low4.hi ? low4.lo : low4.hi;
    float2 high2 = high4.lo > high4.hi ? high4.lo : high4.hi;
    nib_extent octet = {low2.x < low2.y ? low2.x : low2.y, high2.x > high2.y ? high2.x : high2.y,
                        any((as_uint8(given) & 0x7f800000u) == 0x7f800000u)};
    return nib_extent_join(e, octet);
}

/* Range of group `cell`, by a work-group of `lanes` (a power of two) work-items with `shared` for
 * one extent each; valid in lane 0. Minimum and maximum have no rounding, so their order is free.
 * Octets (single elements where the group is no multiple of 8) go round the lanes row by row:
 * coalesced where the group is long, balanced where many rows share it. */
NIB_FN nib_extent nib_group_extent(__global const uchar *x, nib_args a, nib_i64 cell, nib_i32 lane,
                                   nib_i32 lanes, __local nib_extent *shared)
{
    nib_i64 first = cell % a.scale_cols * a.group, width = min(a.group, a.cols - first);
    nib_i32 unit = width % 8 ? 1 : 8;
    nib_i64 units = width / unit;
    nib_i64 row = cell / a.scale_cols + lane / units * a.period, at = lane % units;
    nib_i64 row_step = lanes / units * a.period, step = lanes % units;
    nib_extent e = nib_extent_none();
    while (row < a.rows) {
        float8 given = nib_load_8(x, a.x_type, row * a.cols + first + at * unit, unit);
        e = nib_extent_add_8(e, a, given, unit);
        row += row_step;
        at += step;
        if (at >= units) {
            at -= units;
            row += a.period;
        }
    }
    shared[lane] = e;
    for (nib_i32 stride = lanes / 2; stride > 0; stride /= 2) {
        barrier(CLK_LOCAL_MEM_FENCE);
        if (lane < stride) shared[lane] = nib_extent_join(shared[lane], shared[lane + stride]);
    }
    return lane == 0 ? shared[0] : e;
}

/* ---- tiles ----
 *
 * A work-group of TILE_LANES walks a row whose groups are 8n elements (or one), tile by tile; a
 * tile is as many whole groups as its lanes hold at 8 elements each, or one longer group:
 *
 *       row    |<------------- tile: up to 1024 elements ------------->|<-- tile ...
 *       lanes  | 0 | 1 | ... |g/8-1| g/8 | ...                     |127|
 *       groups |<---- group 0 ---->|<---- group 1 ---->| ... */

#define TILE_LANES 128
#define TILE (8 * TILE_LANES)
#define TILE_GROUPS (TILE / 8)

NIB_FN nib_i32 nib_tile_groups(nib_args a) { return a.group >= TILE ? 1 : TILE / (nib_i32)a.group; }

/* The lane's own elements of columns start..stop-1. */
NIB_FN nib_extent nib_tile_extent(__global const uchar *x, nib_args a, nib_i64 row, nib_i64 start,
                                  nib_i64 stop, nib_i32 lane)
{
    nib_extent e = nib_extent_none();
    for (nib_i64 col = start + 8 * lane; col < stop; col += TILE) {
        nib_i32 count = nib_octet_count(col, stop);
        e = nib_extent_add_8(e, a, nib_load_8(x, a.x_type, row * a.cols + col, count), count);
    }
    return e;
}

/* Group `group` of the tile that begins at `start`, from the lanes' extents. */
NIB_FN nib_extent nib_tile_join(nib_args a, nib_i64 start, nib_i32 group,
                                __local const nib_extent *extents)
{
    nib_i64 width = min(a.group, a.cols - start - group * a.group);
    nib_i32 from = (nib_i32)(group * a.group >> 3);
    nib_i32 to = (nib_i32)min((nib_i64)TILE_LANES, from + ((width + 7) >> 3));
    nib_extent e = nib_extent_none();
    for (nib_i32 i = from; i < to; i++) e = nib_extent_join(e, extents[i]);
    return e;
}

/* ---- codes ---- */

/* The parameters of 8 elements. */
typedef struct nib_cells {
    float8 scale, min, zero;
} nib_cells;

NIB_FN nib_cells nib_cells_same(nib_cell c)
{
    nib_cells eight;
    eight.scale = c.scale;
    eight.min = c.min;
    eight.zero = c.zero;
    return eight;
}

/* Those of the `count` elements of row `row` from column `col` on. */
NIB_FN nib_cells nib_read_cells(__global const uchar *scales, __global const uchar *offsets,
                                nib_args a, nib_i64 row, nib_i64 col, nib_i32 count)
{
    nib_i64 scale_row = a.period == a.rows ? row : row % a.period;
    nib_i64 group = a.group == a.cols ? 0 : nib_quotient(col, a.group);
    nib_i64 cell = scale_row * a.scale_cols + group, within = col - group * a.group;
    nib_cell c = nib_read_cell(scales, offsets, a, cell);
    if (within + count <= a.group) return nib_cells_same(c);
    float scale[8], min[8], zero[8];
    for (nib_i32 i = 0; i < 8; i++, within++) {
        if (within == a.group && i < count) {
            c = nib_read_cell(scales, offsets, a, ++cell);
            within = 0;
        }
        scale[i] = c.scale;
        min[i] = c.min;
        zero[i] = c.zero;
    }
    nib_cells eight;
    eight.scale = vload8(0, scale);
    eight.min = vload8(0, min);
    eight.zero = vload8(0, zero);
    return eight;
}

/* The unsigned codes of given values: 0 in a poisoned group. */
NIB_FN uint8 nib_encode_8(nib_args a, nib_cells c, float8 given)
{
    nib_cell limits = nib_cell_limits(a.bits, a.offset, a.low);
    float8 value = nib_admit_8(given, a.nonfinite, a.x_type);
    float8 at = nib_divide_8(value - c.min, c.scale) + c.zero;
    at = at > limits.low ? at : (float8)limits.low;
    at = at < limits.high ? at : (float8)limits.high;
    at = c.scale == 0.0f ? c.zero : at;
    /* from 2^23 to 2^24 the last place is 1: the sum rounds to nearest even, and ends in the code
     */
    uint8 code = as_uint8(at + 12582912.0f) - 0x4b400000u + (uint)limits.bias;
    return (as_uint8(c.scale) & 0x7f800000u) == 0x7f800000u ? (uint8)0u : code;
}

NIB_FN float8 nib_decode_8(nib_args a, nib_cells c, uint8 code)
{
    nib_i32 bias = nib_cell_limits(a.bits, a.offset, a.low).bias;
    float8 value = convert_float8(as_int8(code) - bias - convert_int8(c.zero)) * c.scale;
    if (a.offset == NIB_O_MIN) value = value + c.min;
    uint8 odd = (as_uint8(c.scale) & 0x7f800000u) == 0x7f800000u ? (uint8)1u : (uint8)0u;
    odd |= (as_uint8(c.min) & 0x7f800000u) == 0x7f800000u ? (uint8)1u : (uint8)0u;
    return as_float8(odd != 0u ? (uint8)NIB_QNAN_F32 : as_uint8(value));
}

NIB_FN uint8 nib_shifts_8(nib_place p)
{
    return (uint8)(0u, 1u, 2u, 3u, 0u, 1u, 2u, 3u) * (uint)p.width;
}

NIB_FN ulong nib_pack_8(nib_place p, uint8 code)
{
    uint8 shifted = (code ^ (uint)p.flip) << nib_shifts_8(p);
    uint4 pairs = shifted.even | shifted.odd;
    uint2 halves = pairs.even | pairs.odd;
    return (ulong)halves.x | (ulong)halves.y << (4 * p.width);
}

NIB_FN uint8 nib_unpack_8(nib_place p, ulong word)
{
    uint low = (uint)word, high = (uint)(word >> (4 * p.width));
    uint8 both = (uint8)(low, low, low, low, high, high, high, high);
    return ((both >> nib_shifts_8(p)) & ((1u << p.width) - 1u)) ^ (uint)p.flip;
}

/* Rows of codes that are not 8 bits wide start at multiples of 4 bytes: the layouts' `align`. */
NIB_FN uint8 nib_get_8(__global const uchar *codes, nib_place p, nib_i64 row, nib_i64 col)
{
    nib_i64 start = (col >> 3) * p.width;
    nib_i32 bytes = (nib_i32)min((nib_i64)p.width, p.pitch - start);
    __global const uchar *octet = codes + row * p.pitch + start;
    ulong word = 0;
    if (p.width == 4) word = *(__global const uint *)octet;
    else if (bytes == 8) word = as_ulong(vload8(0, octet));
    else
        for (nib_i32 i = 0; i < bytes; i++) word |= (ulong)octet[i] << (8 * i);
    return nib_unpack_8(p, word);
}

/* The codes of a row of `cols` elements from `col` on; after its last also the padding. */
NIB_FN void nib_put_8(__global uchar *codes, nib_place p, nib_i64 row, nib_i64 col, nib_i64 cols,
                      uint8 code)
{
    nib_i64 start = (col >> 3) * p.width;
    __global uchar *octet = codes + row * p.pitch + start;
    nib_i32 bytes = col + 8 < cols ? p.width : (nib_i32)(p.pitch - start);
    ulong word = nib_pack_8(p, code);
    if (col + 8 > cols) word &= ((ulong)1 << ((cols - col) * p.width)) - 1;
    if (p.width == 4) *(__global uint *)octet = (uint)word;
    else if (bytes == 8) vstore8(as_uchar8(word), 0, octet);
    else
        for (nib_i32 i = 0; i < bytes; i++) octet[i] = i < 8 ? (uchar)(word >> (8 * i)) : (uchar)0;
}

#endif
