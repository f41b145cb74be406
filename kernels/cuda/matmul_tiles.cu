/* matmul_tiles.cu - many rows of x times fragments (matmul.cuh), by tensor cores.
 *
 *   a block takes 128 rows of W times 64 or 128 rows of x, and a share of K, 64 columns a stage:
 *
 *              128 rows of W                    stage   codes 4 or 8 KiB  [unit][tile][lane] 16 bytes
 *            +---------------+                          x     in slabs of 64 bytes of each row:
 *   rows of  | w0  w1  w2  w3|  warps                         f16: two of 32 columns, [row] 4 x 16
 *   x        | w4  w5  w6  w7|                                int8: one of 64, the halves of rows
 *            +---------------+                                2, 3 of each 4 exchanged
 *
 *   cp.async fills stages ahead of the one in use; one barrier a stage. Codes stay packed in shared
 *   memory and become operands in registers; the scales meet the sums of each group (warp_tile.cuh).
 *   A lane reads 16 (f16) or 8 (int8) bytes of x at once: with this order 8 or 16 lanes touch 128
 *   bytes of different banks.
 *
 *   exact   int8, one group a row: no scales in the loop, and four warps of 64 x 64
 *
 * Bound: tensor cores at many rows; below some 45 (f16) or 130 (int8) rows, memory. */
#include "warp_tile.cuh"

/* A block: `warps_n` warps along N, each R tiles of 16; `warps_m` along M, each MT times 8. */
template <int FORM_, int BITS_, int WARPS_N, int WARPS_M, int R_, int MT_, bool SCALED_, bool MINS_>
struct block_shape {
    static const int form = FORM_, bits = BITS_, R = R_, MT = MT_, warps_n = WARPS_N;
    static const bool scaled = SCALED_, mins = MINS_;
    static const int threads = 32 * WARPS_N * WARPS_M, stages = 4, columns = 64;
    static const int rows_n = WARPS_N * R * 16, rows_m = WARPS_M * MT * 8;
    static const int unit = 256 / bits, units = columns / unit, tiles = rows_n / 16;
    static const int slabs = form == NIB_T_I8 ? 1 : 2;
    static const int x_at = units * tiles * 512, stage = x_at + slabs * rows_m * 64;
    static const int sums = rows_m * (rows_n + 4) * 4;
    static const int shared = stages * stage > sums ? stages * stage : sums; /* bytes */
    typedef warp_tile<form, bits, R, MT, scaled, mins> warp;
};

/* Where 16 bytes, number `chunk` of 4, of a row lie in its slab. */
template <int form> DEVICE int x_place(int row, int chunk)
{
    return form == NIB_T_I8 ? row * 64 + (chunk ^ (row & 2)) * 16 : row * 64 + chunk * 16;
}

/* Sends for columns k.. of W and x. */
template <class shape>
DEVICE void load_stage(const nib_spans &s, const nib_args &a, const tile_place &p, nib_u8 *stage,
                       nib_i64 k, bool fast)
{
    const int panel = PANEL / 16 * 32; /* 16-byte words of a panel's unit */
    nib_i64 units = a.p.pack_cols / shape::unit, last = a.p.pack_rows / PANEL - 1;
#pragma unroll
    for (int i = threadIdx.x; i < shape::units * shape::tiles * 32; i += shape::threads) {
        nib_i64 at = p.n / PANEL + i / panel % (shape::rows_n / PANEL);
        nib_i64 unit = k / shape::unit + i / (shape::tiles * 32);
        at = at < last ? at : last; /* panels behind the last: anything */
        cp_async_16((uint4 *)stage + i,
                    (const uint4 *)s.codes + (at * units + unit) * panel + i % panel);
    }
#pragma unroll
    for (int i = threadIdx.x; i < shape::slabs * shape::rows_m * 4; i += shape::threads) {
        int chunk = i % 4, row = i / 4 % shape::rows_m, slab = i / 4 / shape::rows_m;
        nib_u8 *to = stage + shape::x_at + slab * shape::rows_m * 64 +
                     x_place<shape::form>(row, chunk);
        if (shape::form == NIB_T_I8) {
            cp_async_16(to, (const nib_u8 *)s.x + (p.m + row) * a.p.pack_cols + k + chunk * 16);
        } else if (p.m + row < a.p.m) {
            stage_x(to, (const nib_u16 *)s.x + (p.m + row) * a.p.x_pitch,
                    k + slab * 32 + chunk * 8, a.cols, fast);
        } else
            *(uint4 *)to = make_uint4(0, 0, 0, 0);
    }
}

/* The lane's part of block `block` (32 columns) of a stage, for each 8 rows from `row` on. */
template <class shape>
DEVICE void take_rows(nib_u32 (&x)[shape::MT][4], const nib_u8 *slabs, int block, int row)
{
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int mt = 0; mt < shape::MT; mt++) {
        int r = row + mt * 8 + lane / 4;
        if (shape::form == NIB_T_I8) {
            uint2 v = *(const uint2 *)(slabs + x_place<NIB_T_I8>(r, block * 2) + lane % 4 * 8);
            x[mt][0] = order_int8<shape::bits>(v.x), x[mt][1] = order_int8<shape::bits>(v.y);
            x[mt][2] = x[mt][3] = 0;
        } else {
            uint4 v = *(const uint4 *)(slabs + block * shape::rows_m * 64 +
                                       x_place<shape::form>(r, lane % 4));
            x[mt][0] = v.x, x[mt][1] = v.y, x[mt][2] = v.z, x[mt][3] = v.w;
        }
    }
}

/* Multiplies the stage that begins at column k. */
template <class shape>
DEVICE void add_stage(typename shape::warp &w, const nib_spans &s, const nib_args &a,
                      const nib_u8 *stage, nib_i64 k, nib_i64 end)
{
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    int tile = warp % shape::warps_n * shape::R, row = warp / shape::warps_n * shape::MT * 8;
#pragma unroll
    for (int block = 0; block < shape::columns / 32; block++) {
        int u = block * 32 / shape::unit, half = block * 32 % shape::unit / 32;
        nib_u32 x[shape::MT][4];
        take_rows<shape>(x, stage + shape::x_at, block, row);
#pragma unroll
        for (int r = 0; r < shape::R; r++) {
            uint4 v = ((const uint4 *)stage)[(u * shape::tiles + tile + r) * 32 + lane];
            const nib_u32 word[4] = {v.x, v.y, v.z, v.w};
            multiply_words(w, r, &word[2 * half], x);
        }
        add_ones(w, a, x);
        pass_columns(w, s, a, k + (block + 1) * 32, end);
    }
}

template <class shape>
DEVICE void matmul_tiles(const nib_spans &s, const nib_args &a, nib_i64 items)
{
    const int pitch = shape::rows_n + 4;
    nib_u8 *shared = dynamic_shared<nib_u8>();
    int warp = threadIdx.x / 32, n = warp % shape::warps_n * shape::R * 16,
        m = warp / shape::warps_n * shape::MT * 8;
    bool fast = shape::form == NIB_T_I8 || aligned_x(s, a);
    for (nib_i64 item = blockIdx.x; item < items; item += gridDim.x) {
        tile_place p = place_tile(a, item);
        nib_i64 first, end;
        cut_columns<shape::form>(a, p.share, a.p.split, &first, &end);
        typename shape::warp w;
        start_tile(w, s, a, p.n + n, p.m + m, first);
        nib_i64 ahead = first;
        for (int stage = 0; stage < shape::stages - 1; stage++, ahead += shape::columns) {
            if (ahead < end)
                load_stage<shape>(s, a, p, shared + stage * shape::stage, ahead, fast);
            cp_async_commit(); /* a group a stage, even an empty one: the wait counts groups */
        }
        int from = 0;
        for (nib_i64 k = first; k < end; k += shape::columns, ahead += shape::columns) {
            cp_async_wait<shape::stages - 2>();
            __syncthreads(); /* this stage is there for all; the one before is read by all */
            int to = from == 0 ? shape::stages - 1 : from - 1;
            if (ahead < end)
                load_stage<shape>(s, a, p, shared + to * shape::stage, ahead, fast);
            cp_async_commit();
            add_stage<shape>(w, s, a, shared + from * shape::stage, k, end);
            from = from + 1 == shape::stages ? 0 : from + 1;
        }
        __syncthreads(); /* all stages are read */
        leave_sums(w, a, (float *)shared + m * pitch + n, pitch);
        __syncthreads();
        finish_tile<shape::form, shape::rows_m, shape::rows_n, shape::threads>(
            s, a, p, (const float *)shared, 1, 0);
        __syncthreads(); /* the next tile's copies overwrite the sums */
    }
}

/* bytes: of dynamic shared memory, as cuda_kernels.def asks for; blocks: of a unit. */
#define TILES(name, bytes, count, blocks, ...)                                                     \
    typedef block_shape<__VA_ARGS__> name##_shape;                                                 \
    static_assert(name##_shape::shared == bytes && name##_shape::threads == count, "");          \
    NIB_TILE_KERNEL(nib_cuda_matmul_##name, count, blocks)                                       \
    {                                                                                              \
        matmul_tiles<name##_shape>(s, a, items);                                                   \
    }
/* clang-format off */
/*    entry          bytes threads blocks form    bits warps R MT scaled mins */
TILES(tiles64_F16_4,    49152, 256, 2, NIB_T_F16,  4, 4, 2, 2, 4, true,  true)
TILES(tiles64_F16_8,    65536, 256, 2, NIB_T_F16,  8, 4, 2, 2, 4, true,  true)
TILES(tiles64_BF16_4,    49152, 256, 2, NIB_T_BF16, 4, 4, 2, 2, 4, true,  true)
TILES(tiles64_BF16_8,    65536, 256, 2, NIB_T_BF16, 8, 4, 2, 2, 4, true,  true)
TILES(tiles128_F16_4,    81920, 256, 1, NIB_T_F16,  4, 4, 2, 2, 8, true,  false)
TILES(tiles128_F16_8,    98304, 256, 1, NIB_T_F16,  8, 4, 2, 2, 8, true,  false)
TILES(tiles128_BF16_4,    81920, 256, 1, NIB_T_BF16, 4, 4, 2, 2, 8, true,  false)
TILES(tiles128_BF16_8,    98304, 256, 1, NIB_T_BF16, 8, 4, 2, 2, 8, true,  false)
TILES(tiles64_I8_4,    33792, 256, 2, NIB_T_I8,   4, 4, 2, 2, 4, true,  false)
TILES(tiles64_I8_8,    49152, 256, 2, NIB_T_I8,   8, 4, 2, 2, 4, true,  false)
TILES(tiles128_I8_4,    67584, 256, 1, NIB_T_I8,   4, 4, 2, 2, 8, true,  false)
TILES(tiles128_I8_8,    67584, 256, 1, NIB_T_I8,   8, 4, 2, 2, 8, true,  false)
TILES(exact128_I8_4,    67584, 128, 2, NIB_T_I8,   4, 2, 2, 4, 8, false, false)
TILES(exact128_I8_8,    67584, 128, 2, NIB_T_I8,   8, 2, 2, 4, 8, false, false)
/* clang-format on */
