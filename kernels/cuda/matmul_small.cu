/* matmul_small.cu - up to 16 rows of x times fragments (matmul.cuh), where reading W is what takes
 * time.
 *
 *   a block takes a panel of 64 rows of W times 8 or 16 rows of x, and a share of K; its four warps
 *   take a quarter of the share each, all 64 rows, so that four tiles share one operand of x:
 *
 *            K ->    warp 0         warp 1         warp 2         warp 3
 *   64 rows       [ c c c c c ]  [ c c c c c ]  [ c c c c c ]  [ c c c c c ]     c: 4 KiB of codes
 *
 *   A lane copies by cp.async just the bytes that it will use: a ring of 3 stages in shared memory
 *   is its own queue, no barrier stands in the loop, and neither does a bank conflict. x is read in
 *   its own place; rows behind the last cost nothing. Last, the warps' sums are added in order,
 *   then the blocks' (finish_tile).
 *
 * Bound: memory, W once: 4.125 bits an element with 4 bits in groups of 128 and f16 scales. */
#include "warp_tile.cuh"

template <int FORM, int BITS, int MT> struct small_shape {
    static const int warps = 4, threads = 32 * warps, stages = 3, tiles = PANEL / 16;
    static const int unit = 256 / BITS,
                     chunk = 2 * unit; /* columns of one 16-byte load; of a stage */
    static const int x_bytes = FORM == NIB_T_I8 ? 8 : 16; /* a lane's, of 32 columns of 8 rows */
    static const int x_at = 2 * tiles * 512, stage = x_at + chunk / 32 * MT * 32 * x_bytes;
    static const int ring = stages * stage, shared = warps * ring; /* bytes */
};

/* What this lane reads: its words of W from column 0, and its row of x (bytes, from its columns on)
 * of each 8, as many as there are. */
struct small_source {
    const uint4 *w;
    const nib_u8 *x;
    nib_i64 pitch; /* bytes from one 8 rows of x to the next */
    int rows;  /* of the tile's 8 * MT, less the lane's: row 8 * mt is there where 8 * mt < rows */
    int whole; /* the last column from which a chunk of x can be copied 16 bytes at a time */
};

template <int FORM, int BITS>
DEVICE small_source source_of(const nib_spans &s, const nib_args &a, const tile_place &p)
{
    const int unit = 256 / BITS, bytes = FORM == NIB_T_I8 ? 1 : 2;
    int lane = threadIdx.x % 32;
    nib_i64 pitch = FORM == NIB_T_I8 ? a.p.pack_cols : a.p.x_pitch, rows = a.p.m - p.m - lane / 4;
    return {(const uint4 *)s.codes + p.n / PANEL * (a.p.pack_cols / unit) * (PANEL * 2) + lane,
            (const nib_u8 *)s.x + ((p.m + lane / 4) * pitch + lane % 4 * 8) * bytes,
            8 * pitch * bytes, (int)(rows < 64 ? rows : 64),
            aligned_x(s, a) ? (int)a.cols - 512 / BITS : -1};
}

/* Sends for columns k.. into a stage of this warp's ring. */
template <int FORM, int BITS, int MT>
DEVICE void load_chunk(const small_source &from, nib_i64 cols, nib_u8 *stage, int k)
{
    typedef small_shape<FORM, BITS, MT> shape;
    int lane = threadIdx.x % 32;
    const uint4 *w = from.w + (nib_i64)(k / shape::unit) * (PANEL * 2);
    nib_u8 *x = stage + shape::x_at + lane * shape::x_bytes;
#pragma unroll
    for (int i = 0; i < 2 * shape::tiles; i++)
        cp_async_16((uint4 *)stage + i * 32 + lane, w + i * 32);
    if (FORM != NIB_T_I8 && k > from.whole) {
#pragma unroll 1
        for (int i = 0; i < shape::chunk / 32 * MT; i++)
            if (i % MT * 8 < from.rows)
                gather_x(x + i * 32 * shape::x_bytes,
                         (const nib_u16 *)(from.x + i % MT * from.pitch), k + i / MT * 32,
                         cols - lane % 4 * 8);
        return;
    }
#pragma unroll
    for (int i = 0; i < shape::chunk / 32 * MT; i++) {
        const nib_u8 *at = from.x + i % MT * from.pitch;
        if (i % MT * 8 >= from.rows) continue;
        if (FORM == NIB_T_I8) cp_async_8(x + i * 32 * shape::x_bytes, at + k + i / MT * 32);
        else cp_async_16(x + i * 32 * shape::x_bytes, at + 2 * (nib_i64)(k + i / MT * 32));
    }
}

/* The lane's part of 32 columns of x; zeros behind the last row, whose bytes were not loaded. */
template <int FORM, int BITS, int MT>
DEVICE void take_x(nib_u32 (&x)[MT][4], const nib_u8 *from, int rows)
{
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int mt = 0; mt < MT; mt++) {
        x[mt][0] = x[mt][1] = x[mt][2] = x[mt][3] = 0;
        if (mt * 8 >= rows) continue;
        if (FORM == NIB_T_I8) {
            uint2 v = ((const uint2 *)from)[mt * 32 + lane];
            x[mt][0] = order_int8<BITS>(v.x), x[mt][1] = order_int8<BITS>(v.y);
        } else {
            uint4 v = ((const uint4 *)from)[mt * 32 + lane];
            x[mt][0] = v.x, x[mt][1] = v.y, x[mt][2] = v.z, x[mt][3] = v.w;
        }
    }
}

/* Multiplies the chunk that begins at column k. */
template <int FORM, int BITS, int MT>
DEVICE void add_chunk(warp_tile<FORM, BITS, PANEL / 16, MT, true, FORM != NIB_T_I8> &w,
                      const nib_spans &s, const nib_args &a, const nib_u8 *stage, int rows, int k,
                      int end)
{
    typedef small_shape<FORM, BITS, MT> shape;
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int u = 0; u < 2; u++) {
        nib_u32 word[shape::tiles][4];
#pragma unroll
        for (int r = 0; r < shape::tiles; r++) {
            uint4 v = ((const uint4 *)stage)[(u * shape::tiles + r) * 32 + lane];
            word[r][0] = v.x, word[r][1] = v.y, word[r][2] = v.z, word[r][3] = v.w;
        }
#pragma unroll
        for (int half = 0; half < shape::unit / 32; half++) {
            int block = u * (shape::unit / 32) + half;
            nib_u32 x[MT][4];
            take_x<FORM, BITS, MT>(x, stage + shape::x_at + block * MT * 32 * shape::x_bytes, rows);
#pragma unroll
            for (int r = 0; r < shape::tiles; r++) multiply_words(w, r, &word[r][2 * half], x);
            add_ones(w, a, x);
            pass_columns(w, s, a, k + (block + 1) * 32, end);
        }
    }
}

template <int FORM, int BITS, int MT>
DEVICE void matmul_small(const nib_spans &s, const nib_args &a)
{
    typedef small_shape<FORM, BITS, MT> shape;
    const int pitch = PANEL + 4;
    nib_u8 *shared = dynamic_shared<nib_u8>();
    int warp = threadIdx.x / 32;
    nib_u8 *ring = shared + warp * shape::ring;
    tile_place p = place_tile(a);
    columns c = cut_columns<FORM>(a, p.share * shape::warps + warp, a.p.split * shape::warps);
    small_source source = source_of<FORM, BITS>(s, a, p);
    warp_tile<FORM, BITS, PANEL / 16, MT, true, FORM != NIB_T_I8> w;
    start_tile(w, s, a, p.n, p.m, c.first);
    const int ahead = (shape::stages - 1) * shape::chunk; /* of k, what is sent for */
    for (int i = 0; i < shape::stages - 1; i++) {
        if (c.first + i * shape::chunk < c.end)
            load_chunk<FORM, BITS, MT>(source, a.cols, ring + i * shape::stage,
                                       c.first + i * shape::chunk);
        cp_async_commit(); /* a group a stage, even an empty one: the wait counts groups */
    }
    int from = 0;
    for (int k = c.first; k < c.end; k += shape::chunk) {
        cp_async_wait<shape::stages - 2>();
        int to = from == 0 ? shape::stages - 1 : from - 1;
        if (k + ahead < c.end)
            load_chunk<FORM, BITS, MT>(source, a.cols, ring + to * shape::stage, k + ahead);
        cp_async_commit();
        add_chunk<FORM, BITS, MT>(w, s, a, ring + from * shape::stage, source.rows, k, c.end);
        from = from + 1 == shape::stages ? 0 : from + 1;
    }
    __syncwarp(); /* all lanes have taken what their ring held */
    leave_sums(w, a, (float *)ring, pitch);
    __syncthreads();
    finish_tile<FORM, 8 * MT, PANEL, shape::threads>(s, a, (const float *)shared, shape::warps,
                                                     shape::ring / 4);
}

/* shared: bytes of dynamic shared memory, as cuda_kernels.def asks for; blocks: of a unit. */
#define SMALL(type, bits, rows, bytes, blocks)                                                     \
    static_assert(small_shape<NIB_T_##type, bits, rows / 8>::shared == bytes, "");                 \
    NIB_TILE_KERNEL(nib_cuda_matmul_small##rows##_##type##_##bits, 128, blocks)                    \
    {                                                                                              \
        matmul_small<NIB_T_##type, bits, rows / 8>(s, a);                                          \
    }
SMALL(F16, 4, 8, 73728, 3)
SMALL(F16, 8, 8, 61440, 3)
SMALL(F16, 4, 16, 98304, 2)
SMALL(F16, 8, 16, 73728, 2)
SMALL(BF16, 4, 8, 73728, 3)
SMALL(BF16, 8, 8, 61440, 3)
SMALL(BF16, 4, 16, 98304, 2)
SMALL(BF16, 8, 16, 73728, 2)
SMALL(I8, 4, 16, 73728, 2)
SMALL(I8, 8, 16, 61440, 2)
