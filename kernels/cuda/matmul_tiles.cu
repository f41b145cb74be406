/* matmul_tiles.cu - many rows of x times fragments (matmul.cuh), by tensor cores.
 *
 *   a block takes 128 rows of W times 64 or 128 rows of x, and a share of K, 64 columns a stage:
 *
 *              128 rows of W                    stage   codes 4 or 8 KiB  [unit][tile][lane]
 *            +---------------+                          x     in slabs of 64 bytes of each row:
 *   rows of  | w0  w1  w2  w3|  warps                         f16: two of 32 columns, [row] 4 x 16
 *   x        | w4  w5  w6  w7|                                int8: one of 64, the halves of rows
 *            +---------------+                                2, 3 of each 4 exchanged
 *
 *   cp.async fills stages ahead of the one in use; one barrier a stage. Codes stay packed in shared
 *   memory and become operands in registers; scales meet the sums of each group (warp_tile.cuh).
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
    static const int shared = stages * stage > sums ? stages *stage : sums; /* bytes */
    typedef warp_tile<form, bits, R, MT, scaled, mins> warp;
};

/* Where 16 bytes, number `chunk` of 4, of a row lie in its slab. */
template <int form> DEVICE int x_place(int row, int chunk)
{
    return form == NIB_T_I8 ? row * 64 + (chunk ^ (row & 2)) * 16 : row * 64 + chunk * 16;
}

/* What this thread copies: its words of W from column 0, in this panel and the next; its row of x
 * (bytes, from its columns on) and every threads / 4 rows behind. */
struct tile_source {
    const uint4 *w;
    nib_i64 panel; /* words from one panel to the next */
    const nib_u8 *x;
    nib_i64 pitch; /* bytes of a row of x */
    int rows;      /* of the tile's rows of x, less this thread's first */
    int whole;     /* the last column from which a stage of x can be copied 16 bytes at a time */
};

template <class shape>
DEVICE tile_source source_of(const nib_spans &s, const nib_args &a, const tile_place &p)
{
    const bool i8 = shape::form == NIB_T_I8;
    nib_i64 pitch = i8 ? a.p.pack_cols : a.p.x_pitch * 2, panel = a.p.pack_cols / shape::unit * 128,
            m = p.m + threadIdx.x / 4, rows = (i8 ? a.p.x_rows : a.p.m) - m;
    return {(const uint4 *)s.codes + (p.n / PANEL + threadIdx.x / 128) * panel + threadIdx.x % 128,
            panel,
            (const nib_u8 *)s.x + m * pitch + threadIdx.x % 4 * 16,
            pitch,
            (int)(rows < 1024 ? rows : 1024),
            i8 || aligned_x(s, a) ? (int)(i8 ? a.p.pack_cols : a.cols) - shape::columns : -1};
}

/* Sends for columns k.. of W and x. */
template <class shape>
DEVICE void load_stage(const tile_source &from, nib_i64 cols, nib_u8 *stage, int k)
{
    const int panels = shape::rows_n / PANEL, together = shape::threads / 128; /* panels at once */
    const uint4 *w = from.w + (nib_i64)(k / shape::unit) * 128;
#pragma unroll
    for (int i = 0; i < shape::units * panels / together; i++)
        cp_async_16((uint4 *)stage + i * shape::threads + threadIdx.x,
                    w + i % (panels / together) * from.panel + i / (panels / together) * 128);
    const int bytes = shape::form == NIB_T_I8 ? 1 : 2, rows = shape::threads / 4;
    int row = threadIdx.x / 4, chunk = threadIdx.x % 4;
    nib_u8 *slabs = stage + shape::x_at;
    if (shape::form != NIB_T_I8 && k > from.whole) {
#pragma unroll 1
        for (int i = 0; i < shape::slabs * shape::rows_m; i += rows) {
            int slab = i / shape::rows_m, down = i % shape::rows_m;
            gather_x(slabs + slab * shape::rows_m * 64 + x_place<shape::form>(row + down, chunk),
                     (const nib_u16 *)(from.x + down * from.pitch), k + slab * 32,
                     down < from.rows ? cols - chunk * 8 : 0);
        }
        return;
    }
#pragma unroll
    for (int i = 0; i < shape::slabs * shape::rows_m; i += rows) {
        int slab = i / shape::rows_m, down = i % shape::rows_m;
        const nib_u8 *x = from.x + down * from.pitch + (nib_i64)(k + slab * 32) * bytes;
        cp_async_16_or_zero(slabs + slab * shape::rows_m * 64 +
                                x_place<shape::form>(row + down, chunk),
                            down < from.rows ? x : (const nib_u8 *)from.w, down < from.rows);
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
                      const nib_u8 *stage, int k, int end)
{
    const int blocks = shape::columns / 32, bytes = shape::bits * 2; /* a lane's, of a block */
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    int tile = warp % shape::warps_n * shape::R, row = warp / shape::warps_n * shape::MT * 8;
#pragma unroll
    for (int block = 0; block < blocks; block++) {
        const nib_u8 *words = stage + block * bytes / 16 * shape::tiles * 512 + block * bytes % 16;
        nib_u32 x[shape::MT][4];
        take_rows<shape>(x, stage + shape::x_at, block, row);
#pragma unroll
        for (int r = 0; r < shape::R; r++) {
            nib_u32 word[4] = {};
            const nib_u8 *at = words + ((tile + r) * 32 + lane) * 16;
#pragma unroll
            for (int i = 0; i < bytes / 8; i++) {
                uint2 v = ((const uint2 *)at)[i];
                word[2 * i] = v.x, word[2 * i + 1] = v.y;
            }
            multiply_words(w, r, word, x);
        }
        add_ones(w, a, x);
        pass_columns(w, s, a, k + (block + 1) * 32, end);
    }
}

template <class shape> DEVICE void matmul_tiles(const nib_spans &s, const nib_args &a)
{
    const int pitch = shape::rows_n + 4, last = (shape::stages - 1) * shape::stage;
    nib_u8 *shared = dynamic_shared<nib_u8>();
    int warp = threadIdx.x / 32, n = warp % shape::warps_n * shape::R * 16,
        m = warp / shape::warps_n * shape::MT * 8;
    tile_place p = place_tile(a);
    columns c = cut_columns<shape::form>(a, p.share, a.p.split);
    tile_source source = source_of<shape>(s, a, p);
    typename shape::warp w;
    start_tile(w, s, a, p.n + n, p.m + m, c.first);
    const int ahead = (shape::stages - 1) * shape::columns; /* of k, what is sent for */
    for (int i = 0; i < shape::stages - 1; i++) {
        if (c.first + i * shape::columns < c.end)
            load_stage<shape>(source, a.cols, shared + i * shape::stage,
                              c.first + i * shape::columns);
        cp_async_commit(); /* a group a stage, even an empty one: the wait counts groups */
    }
    int from = 0; /* the stage in use, in bytes */
    for (int k = c.first; k < c.end; k += shape::columns) {
        cp_async_wait<shape::stages - 2>();
        __syncthreads(); /* this stage is there for all; the one before is read by all */
        if (k + ahead < c.end)
            load_stage<shape>(source, a.cols, shared + (from ? from - shape::stage : last),
                              k + ahead);
        cp_async_commit();
        add_stage<shape>(w, s, a, shared + from, k, c.end);
        from = from == last ? 0 : from + shape::stage;
    }
    __syncthreads(); /* all stages are read */
    leave_sums(w, a, (float *)shared + m * pitch + n, pitch);
    __syncthreads();
    finish_tile<shape::form, shape::rows_m, shape::rows_n, shape::threads>(
        s, a, (const float *)shared, 1, 0);
}

/* bytes: of dynamic shared memory, as cuda_kernels.def asks for; blocks: of a unit. */
#define TILES(name, bytes, count, blocks, ...)                                                     \
    typedef block_shape<__VA_ARGS__> name##_shape;                                                 \
    static_assert(name##_shape::shared == bytes && name##_shape::threads == count, "");            \
    NIB_TILE_KERNEL(nib_cuda_matmul_##name, count, blocks) { matmul_tiles<name##_shape>(s, a); }
/* clang-format off */
/*    entry          bytes threads blocks form    bits warps R MT scaled mins */
TILES(tiles64_F16_4,    49152, 256, 2, NIB_T_F16,  4, 4, 2, 2, 4, true,  false)
TILES(mins64_F16_4,     49152, 256, 1, NIB_T_F16,  4, 4, 2, 2, 4, true,  true)
TILES(tiles64_F16_8,    65536, 256, 2, NIB_T_F16,  8, 4, 2, 2, 4, true,  false)
TILES(mins64_F16_8,     65536, 256, 1, NIB_T_F16,  8, 4, 2, 2, 4, true,  true)
TILES(tiles64_BF16_4,    49152, 256, 2, NIB_T_BF16, 4, 4, 2, 2, 4, true,  false)
TILES(mins64_BF16_4,     49152, 256, 1, NIB_T_BF16, 4, 4, 2, 2, 4, true,  true)
TILES(tiles64_BF16_8,    65536, 256, 2, NIB_T_BF16, 8, 4, 2, 2, 4, true,  false)
TILES(mins64_BF16_8,     65536, 256, 1, NIB_T_BF16, 8, 4, 2, 2, 4, true,  true)
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
