/* block.cuh - ggml's blocks by warps: their types, their way into shared memory, their bytes.
 *
 *   tile   32 groups of n = 16 or 32 elements, one a lane: 32 blocks of one group, 4 of 8, or 2 of 16
 *
 *   global     | lane 0's n elements | lane 1's | ...    read in 16 bytes a lane, side by side
 *   shared     | row 0               | row 1    | ...    chunk c of row r lies at c ^ (r's turn), so
 *                                                        that 8 lanes with one c meet all 32 banks
 *   registers  x[n], and what the searches keep; every loop over them is unrolled, so that nothing
 *              lies in local memory (tests/cuda_binary.sh)
 *   shared     code bytes -> planes, factors, d, m: the blocks of the tile, one span
 *   global     | block | block | ...                     written in words of 16 or 4 bytes */
#pragma once

#include "device.cuh"

#include "../common/block_bytes.h"

/* The columns of a type's row in the table. */
template <int block> struct block_type;
#define NIB_BLOCK(ID, name, wire, elements_, bytes_, bits_, group_, rule, scale, low_at, low_bits, \
                  low_run, high_at, high_bits, high_run, d_at, m_at, sub_at, sub, codes, text)     \
    template <> struct block_type<NIB_B_##ID> {                                                    \
        static constexpr int elements = elements_, bytes = bytes_, bits = bits_, group = group_;   \
        static constexpr int groups = elements / group;                                            \
        static constexpr int tile = 32 / groups; /* blocks of a tile */                            \
        DEVICE constexpr nib_block_form form()                                                     \
        {                                                                                          \
            return {wire,     elements, bytes,   group,         low_at,                            \
                    low_bits, low_run,  high_at, high_bits,     high_run,                          \
                    d_at,     m_at,     sub_at,  NIB_SUB_##sub, NIB_CODES_##codes};                \
        }                                                                                          \
    };
#include "../../include/nibble_schemes.def"

#define NIB_BLOCK_THREADS 128 /* of a block of threads, as the rows of cuda_kernels.def say */

DEVICE nib_i64 grid_warp()
{
    return (nib_i64)blockIdx.x * (NIB_BLOCK_THREADS / 32) + threadIdx.x / 32;
}
DEVICE nib_i64 grid_warps() { return (nib_i64)gridDim.x * (NIB_BLOCK_THREADS / 32); }
DEVICE int lane_number() { return threadIdx.x % 32; }

/* How many blocks of the tile that begins with block `first` are there. */
template <int block> DEVICE int tile_blocks(nib_i64 first, nib_i64 items)
{
    constexpr int most = block_type<block>::tile;
    return items - first < most ? (int)(items - first) : most;
}

/* Whether it holds in a lane of this lane's `lanes`, which are 8 or 16, or 1. */
template <int lanes> DEVICE bool any_of(bool holds)
{
    if (lanes == 1) return holds;
    int from = lane_number() / lanes * lanes;
    return __ballot_sync(~0u, holds) >> from & ((1u << lanes) - 1u);
}

/* ---- elements in ---- */

/* Where chunk p of the tile lies, of rows of `chunks` chunks of 16 bytes: its last bits are
 * turned by those of p / 8. */
template <int chunks> DEVICE int chunk_at(int p) { return p ^ (p >> 3 & (chunks - 1)); }

/* Sends for `count` elements from `first` on, whose raw bits are of type `raw`; the others of
 * the 32 rows are zeros. Where x is not aligned to 16 bytes, an element at a time. */
template <int n, class raw>
DEVICE void send_rows(uint4 *rows, const void *x, nib_i64 first, int count)
{
    constexpr int of_chunk = 16 / sizeof(raw), chunks = n / of_chunk;
    const raw *from = (const raw *)x + first;
    if ((uintptr_t)x % 16) {
#pragma unroll 1
        for (int i = lane_number(); i < 32 * n; i += 32) {
            int c = i / of_chunk;
            raw *chunk = (raw *)&rows[chunk_at<chunks>(c)];
            chunk[i % of_chunk] = i < count ? from[i] : 0;
        }
        return;
    }
#pragma unroll
    for (int k = 0; k < chunks; k++) { /* the turn of 32 chunks further is the same, or 4 other */
        int c = k * 32 + lane_number();
        int to = k * 32 + (chunk_at<chunks>(lane_number()) ^ (k * 4 & (chunks - 1)));
        cp_async_16_or_zero(&rows[to], from + c * of_chunk, c * of_chunk < count);
    }
    cp_async_commit();
}

template <int n, int type> DEVICE void take_row(const uint4 *rows, float (&x)[n])
{
    constexpr int size = type == NIB_T_F32 ? 4 : 2, chunks = n * size / 16;
    int row = chunk_at<chunks>(lane_number() * chunks);
#pragma unroll
    for (int k = 0; k < n / 8; k++) {
        uint4 low = rows[row ^ k * size / 2], high = low;
        if (size == 4) high = rows[row ^ (k * 2 + 1)];
        octet o = {{low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w}};
#pragma unroll
        for (int i = 0; i < 8; i++) x[k * 8 + i] = octet_raw<type>(o, i);
    }
}

/* ---- spans of bytes ---- */

/* The widest word that tiles of `most` bytes begin with, where the first does. */
template <bool wide> struct word_of {
    typedef nib_u32 type;
};
template <> struct word_of<true> {
    typedef uint4 type;
};
#define SPAN_WORD(most) typename word_of<(most) % 16 == 0>::type

/* Copies an even number of bytes, at most `most`, by the warp; `from` is aligned. */
template <int most> DEVICE void copy_span(void *to, const void *from, int bytes)
{
    typedef SPAN_WORD(most) word;
    constexpr int size = sizeof(word);
    int words = (uintptr_t)to % size ? 0 : bytes / size;
#pragma unroll
    for (int k = 0; k < (most / size + 31) / 32; k++) {
        int i = k * 32 + lane_number();
        if (i < words) ((word *)to)[i] = ((const word *)from)[i];
    }
#pragma unroll 1
    for (int i = words * (size / 2) + lane_number(); i < bytes / 2; i += 32)
        ((nib_u16 *)to)[i] = ((const nib_u16 *)from)[i];
}

DEVICE void put_word(nib_u16 *to, nib_u32 word)
{
    to[0] = (nib_u16)word;
    to[1] = (nib_u16)(word >> 16);
}

/* Four bytes that begin at an even one. */
DEVICE nib_u32 get_word(const nib_u16 *from) { return from[0] | (nib_u32)from[1] << 16; }
