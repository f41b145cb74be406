/* blocks.cu - ggml's blocks to elements or to planes, tile by tile (block.cuh).
 *
 *   global   | block | block | ...    --cp.async, a tile ahead--> shared
 *   lane     the scale and min of one group, then octets: 8 codes of a row, by two words of each
 *            plane; groups' scales come by shuffle
 *   global   16 or 32 bytes of elements a lane, side by side; or codes by way of shared memory
 *
 * Bound: memory; 11 to 18 instructions a weight to F16, 11 to 25 to planes. On sm_90a by nvcc
 * 13.0 at most 44 registers, and 12800 bytes of shared memory for 4 warps; no spills, no local
 * memory. */
#include "block.cuh"

/* Shared memory of a warp: this tile's blocks and the next one's; codes of planes. */
template <int block> struct stored_tile {
    typedef block_type<block> type;
    alignas(16) nib_u16 in[2][type::tile * type::bytes / 2];
    alignas(16) nib_u16 codes[2 * type::group * type::bits];
};

/* Sends for an even number of bytes, at most `most`; `to` is aligned. */
template <int most> DEVICE void send_span(void *to, const void *from, int bytes)
{
    typedef SPAN_WORD(most) word;
    constexpr int size = sizeof(word);
    int words = (uintptr_t)from % size ? 0 : bytes / size;
#pragma unroll
    for (int k = 0; k < (most / size + 31) / 32; k++) {
        int i = k * 32 + lane_number();
        if (i >= words) continue;
        if (size == 16) cp_async_16((word *)to + i, (const word *)from + i);
        else cp_async_4((word *)to + i, (const word *)from + i);
    }
    cp_async_commit();
#pragma unroll 1
    for (int i = words * (size / 2) + lane_number(); i < bytes / 2; i += 32)
        ((nib_u16 *)to)[i] = ((const nib_u16 *)from)[i];
}

template <int block>
DEVICE void send_blocks(nib_u16 *to, const nib_spans &s, nib_i64 first, nib_i64 items)
{
    typedef block_type<block> type;
    constexpr int most = type::tile * type::bytes;
    if (first >= items) return;
    send_span<most>(to, (const nib_u8 *)s.x + first * type::bytes,
                    tile_blocks<block>(first, items) * type::bytes);
}

DEVICE nib_i32 get_parts(const nib_u8 *bytes, nib_parted p)
{
    return nib_join(p, bytes[p.low.at], bytes[p.high.at]);
}

DEVICE nib_u32 get_half(const nib_u16 *block, int at)
{
    return at == NIB_NOWHERE ? 0u : block[at / 2];
}

/* Scale (min 0) or min of group j. */
template <int block> DEVICE float group_cell(const nib_u16 *bytes, int j, int min)
{
    constexpr nib_block_form f = block_type<block>::form();
    nib_i32 sub = 0;
    if (min && f.m_at == NIB_NOWHERE) return 0.0f;
    if (f.sub != NIB_SUB_NONE) sub = get_parts((const nib_u8 *)bytes, nib_sub_at(f, min, j));
    if (!min) sub = nib_sub_value(f, sub);
    return nib_block_product(f, get_half(bytes, f.d_at), get_half(bytes, f.m_at), min, sub);
}

/* The parts of codes i..i+7, i a multiple of 8, in a byte each of two words. */
DEVICE void get_octet(const nib_u16 *bytes, int i, int at, int bits, int run, nib_u32 octet[2])
{
    if (run == 1) { /* one byte: its bits go to the ends of eight */
        nib_u32 byte = ((const nib_u8 *)bytes)[at + i / 8];
        octet[0] = (byte & 15u) * 0x00204081u & 0x01010101u;
        octet[1] = (byte >> 4) * 0x00204081u & 0x01010101u;
        return;
    }
    int chunk = run * (8 / bits), shift = i % chunk / run * bits;
    const nib_u16 *from = bytes + (at + i / chunk * run + i % run) / 2;
    nib_u32 mask = ((1u << bits) - 1u) * 0x01010101u;
    octet[0] = get_word(from) >> shift & mask;
    octet[1] = get_word(from + 2) >> shift & mask;
}

/* Four numbers in iq4's table as the codes that they stand for, each in a byte: its lower and its
 * upper eight values are looked up, and bit 3 says which to take. */
DEVICE nib_u32 iq4_codes(nib_u32 four)
{
    nib_u32 table[4] = {0, 0, 0, 0};
#pragma unroll
    for (int k = 0; k < 16; k++) table[k / 4] |= (nib_u32)(nib_iq4_value(k) + 128) << (k % 4 * 8);
    nib_u32 pairs = (four | four >> 4) & 0x00ff00ffu, pick = (pairs | pairs >> 8) & 0x7777u;
    nib_u32 upper = (four >> 3 & 0x01010101u) * 255u;
    return (__byte_perm(table[0], table[1], pick) & ~upper) |
           (__byte_perm(table[2], table[3], pick) & upper);
}

/* Codes i..i+7 of a block as the planes have them, a byte each. */
template <int block> DEVICE void octet_codes(const nib_u16 *bytes, int i, nib_u32 code[2])
{
    constexpr nib_block_form f = block_type<block>::form();
    nib_u32 high[2] = {0, 0};
    get_octet(bytes, i, f.low_at, f.low_bits, f.low_run, code);
    if (f.high_bits) get_octet(bytes, i, f.high_at, f.high_bits, f.high_run, high);
#pragma unroll
    for (int k = 0; k < 2; k++) {
        code[k] |= high[k] << f.low_bits;
        if (f.codes == NIB_CODES_IQ4) code[k] = iq4_codes(code[k]);
        if (f.codes == NIB_CODES_FLIP) code[k] ^= 0x80808080u;
    }
}

DEVICE nib_u32 code_of(const nib_u32 code[2], int k) { return code[k / 4] >> (k % 4 * 8) & 255u; }

template <int type>
DEVICE void store_elements(void *y, nib_i64 octet, const float value[8], bool aligned)
{
    if (aligned) {
        store_octet<type>(y, octet, value);
        return;
    }
#pragma unroll
    for (int i = 0; i < 8; i++) store_raw(y, type, octet * 8 + i, element_bits<type>(value[i]));
}

/* Octet i of the tile that begins with block `first`, whose blocks are `bytes`. */
template <int block>
DEVICE void decode_octet(const nib_u16 *bytes, const nib_spans &s, const nib_args &a, nib_i64 first,
                         int i, float scale, float min)
{
    typedef block_type<block> type;
    constexpr bool mins = type::form().m_at != NIB_NOWHERE;
    constexpr int zero = mins ? 0 : 1 << (type::bits - 1);
    nib_u32 code[2];
    float value[8];
    octet_codes<block>(bytes, i * 8 % type::elements, code);
#pragma unroll
    for (int k = 0; k < 8; k++) {
        value[k] = (float)((nib_i32)code_of(code, k) - zero) * scale;
        if (mins) value[k] = value[k] + min;
    }
    nib_i64 at = first * (type::elements / 8) + i;
    bool aligned = (uintptr_t)s.y % 16 == 0;
    if (a.y_type == NIB_T_F32) store_elements<NIB_T_F32>(s.y, at, value, aligned);
    else if (a.y_type == NIB_T_F16) store_elements<NIB_T_F16>(s.y, at, value, aligned);
    else store_elements<NIB_T_BF16>(s.y, at, value, aligned);
}

/* Octet i of the tile into its place in the tile's codes, `bits` bytes. */
template <int block> DEVICE void unpack_octet(const nib_u16 *bytes, nib_u16 *codes, int i)
{
    typedef block_type<block> type;
    nib_u32 code[2];
    nib_u64 packed = 0;
    octet_codes<block>(bytes, i * 8 % type::elements, code);
#pragma unroll
    for (int k = 0; k < 8; k++) packed |= (nib_u64)code_of(code, k) << (k * type::bits);
#pragma unroll
    for (int k = 0; k < type::bits / 2; k++)
        if (type::bits % 2 == 0) codes[i * (type::bits / 2) + k] = (nib_u16)(packed >> (16 * k));
#pragma unroll
    for (int k = 0; k < type::bits; k++)
        if (type::bits % 2) ((nib_u8 *)codes)[i * type::bits + k] = (nib_u8)(packed >> (8 * k));
}

/* The scales and mins of the tile, a group a lane, and its codes. */
template <int block>
DEVICE void store_planes(const stored_tile<block> &t, const nib_spans &s, const nib_args &a,
                         nib_i64 first, nib_i64 items, float scale, float min)
{
    typedef block_type<block> type;
    nib_i64 cell = first * type::groups + lane_number();
    constexpr int of_block = type::elements / 8 * type::bits;
    if (cell < items * type::groups) {
        store_raw(s.scales, a.scale_type, cell, nib_to_type(a.scale_type, scale));
        if (a.offset == NIB_O_MIN)
            store_raw(s.offsets, a.scale_type, cell, nib_to_type(a.scale_type, min));
    }
    __syncwarp();
    copy_span<type::tile * of_block>((nib_u8 *)s.codes + first * of_block, t.codes,
                                     tile_blocks<block>(first, items) * of_block);
}

/* Blocks 0..items-1 by all warps of the grid. */
template <int block, bool planes>
DEVICE void decode_tiles(stored_tile<block> &t, const nib_spans &s, const nib_args &a,
                         nib_i64 items)
{
    typedef block_type<block> type;
    constexpr int n = type::group, groups = type::groups;
    nib_i64 first = grid_warp() * type::tile, step = grid_warps() * type::tile;
    send_blocks<block>(t.in[0], s, first, items);
    for (int side = 0; first < items; first += step, side ^= 1) {
        const nib_u16 *in = t.in[side];
        int b = lane_number() / groups, j = lane_number() % groups;
        cp_async_wait<0>();
        __syncwarp(); /* and the last tile's codes are written */
        send_blocks<block>(t.in[side ^ 1], s, first + step, items);
        float scale = group_cell<block>(in + b * (type::bytes / 2), j, 0);
        float min = group_cell<block>(in + b * (type::bytes / 2), j, 1);
        if (!nib_is_finite(scale) || !nib_is_finite(min)) scale = NIB_BITS_F32(NIB_QNAN_F32);
#pragma unroll
        for (int k = 0; k < n / 8; k++) {
            int i = k * 32 + lane_number(), of = i / (n / 8);
            const nib_u16 *bytes = in + of / groups * (type::bytes / 2);
            if (planes) unpack_octet<block>(bytes, t.codes, i);
            else {
                float of_scale = __shfl_sync(~0u, scale, of), of_min = __shfl_sync(~0u, min, of);
                if (first + of / groups < items)
                    decode_octet<block>(bytes, s, a, first, i, of_scale, of_min);
            }
        }
        if (planes) store_planes<block>(t, s, a, first, items, scale, min);
    }
}

#define NIB_BLOCK(ID, name, ...)                                                                   \
    extern "C" __global__ void __launch_bounds__(NIB_BLOCK_THREADS)                                \
        nib_cuda_dequantize_blocks_##ID(nib_spans s, nib_args a, nib_i64 items)                    \
    {                                                                                              \
        typedef stored_tile<NIB_B_##ID> tile;                                                      \
        SHARED_ARRAY(tile, tiles, [NIB_BLOCK_THREADS / 32]);                                       \
        decode_tiles<NIB_B_##ID, false>(tiles[threadIdx.x / 32], s, a, items);                     \
    }                                                                                              \
    extern "C" __global__ void __launch_bounds__(NIB_BLOCK_THREADS)                                \
        nib_cuda_unpack_blocks_##ID(nib_spans s, nib_args a, nib_i64 items)                        \
    {                                                                                              \
        typedef stored_tile<NIB_B_##ID> tile;                                                      \
        SHARED_ARRAY(tile, tiles, [NIB_BLOCK_THREADS / 32]);                                       \
        decode_tiles<NIB_B_##ID, true>(tiles[threadIdx.x / 32], s, a, items);                      \
    }
#include "../../include/nibble_schemes.def"
