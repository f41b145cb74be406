/* matmul_small.cu - up to 16 rows of x times fragments (matmul.cuh), where reading W is all the time.
 *
 *   a block takes a panel of 64 rows of W times 8 or 16 rows of x, and a share of K; its four warps
 *   take a quarter of the share each, all 64 rows, so that four tiles share one operand of x:
 *
 *            K ->    warp 0         warp 1         warp 2         warp 3
 *   64 rows       [ c c c c c ]  [ c c c c c ]  [ c c c c c ]  [ c c c c c ]     c: 4 KiB of codes
 *
 *   A lane copies by cp.async exactly the bytes that it will use: a ring of 3 stages in shared memory
 *   is its own queue, no barrier stands in the loop, and neither does a bank conflict. x is read in
 *   its own place; rows behind the last cost nothing. At the end the warps' sums are added in order,
 *   then the blocks' (finish_tile).
 *
 * Bound: memory, W once: 4.125 bits an element with 4 bits in groups of 128 and f16 scales. */
#include "warp_tile.cuh"

template <int FORM, int BITS, int MT> struct small_shape {
    static const int warps = 4, threads = 32 * warps, stages = 3, tiles = PANEL / 16;
    static const int unit = 256 / BITS, chunk = 2 * unit; /* columns of one 16-byte load; of a stage */
    static const int x_bytes = FORM == NIB_T_I8 ? 8 : 16; /* a lane's, of 32 columns of 8 rows */
    static const int x_at = 2 * tiles * 512, stage = x_at + chunk / 32 * MT * 32 * x_bytes;
    static const int ring = stages * stage, shared = warps * ring; /* bytes */
};

/* Sends for columns k.. into a stage of this warp's ring. */
template <int FORM, int BITS, int MT>
DEVICE void load_chunk(const nib_spans &s, const nib_args &a, const tile_place &p, nib_u8 *stage,
                       nib_i64 k, bool fast)
{
    typedef small_shape<FORM, BITS, MT> shape;
    int lane = threadIdx.x % 32;
    nib_i64 units = a.p.pack_cols / shape::unit;
    const uint4 *from = (const uint4 *)s.codes +
                        (p.n / PANEL * units + k / shape::unit) * shape::tiles * 32 + lane;
#pragma unroll
    for (int i = 0; i < 2 * shape::tiles; i++)
        cp_async_16((uint4 *)stage + i * 32 + lane, from + i * 32);
#pragma unroll
    for (int i = 0; i < shape::chunk / 32 * MT; i++) {
        nib_u8 *to = stage + shape::x_at + (i * 32 + lane) * shape::x_bytes;
        nib_i64 row = p.m + i % MT * 8 + lane / 4, column = k + i / MT * 32 + lane % 4 * 8;
        if (row >= a.p.m) continue;
        if (FORM == NIB_T_I8) cp_async_8(to, (const nib_u8 *)s.x + row * a.p.pack_cols + column);
        else stage_x(to, (const nib_u16 *)s.x + row * a.p.x_pitch, column, a.cols, fast);
    }
}

/* The lane's part of 32 columns of x; zeros behind the last row, whose bytes were not loaded. */
template <int FORM, int BITS, int MT>
DEVICE void take_x(nib_u32 (&x)[MT][4], const nib_u8 *from, nib_i64 rows)
{
    int lane = threadIdx.x % 32;
#pragma unroll
    for (int mt = 0; mt < MT; mt++) {
        x[mt][0] = x[mt][1] = x[mt][2] = x[mt][3] = 0;
        if (mt * 8 + lane / 4 >= rows) continue;
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
DEVICE void add_chunk(warp_tile<FORM, BITS, PANEL / 16, MT, true, true> &w, const nib_spans &s,
                      const nib_args &a, const nib_u8 *stage, nib_i64 k, nib_i64 end)
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
            take_x<FORM, BITS, MT>(
                x, stage + shape::x_at + block * MT * 32 * shape::x_bytes, a.p.m - w.m);
#pragma unroll
            for (int r = 0; r < shape::tiles; r++) multiply_words(w, r, &word[r][2 * half], x);
            add_ones(w, a, x);
            pass_columns(w, s, a, k + (block + 1) * 32, end);
        }
    }
}

template <int FORM, int BITS, int MT>
DEVICE void matmul_small(const nib_spans &s, const nib_args &a, nib_i64 items)
{
    typedef small_shape<FORM, BITS, MT> shape;
    const int pitch = PANEL + 4;
    nib_u8 *shared = dynamic_shared<nib_u8>();
    int warp = threadIdx.x / 32;
    nib_u8 *ring = shared + warp * shape::ring;
    bool fast = FORM == NIB_T_I8 || aligned_x(s, a);
    for (nib_i64 item = blockIdx.x; item < items; item += gridDim.x) {
        tile_place p = place_tile(a, item);
        nib_i64 first, end;
        cut_columns<FORM>(a, p.share * shape::warps + warp, a.p.split * shape::warps, &first, &end);
        warp_tile<FORM, BITS, PANEL / 16, MT, true, true> w;
        start_tile(w, s, a, p.n, p.m, first);
        nib_i64 ahead = first;
        int to = 0, from = 0; /* stages */
        for (; ahead < first + (shape::stages - 1) * shape::chunk; ahead += shape::chunk) {
            if (ahead < end)
                load_chunk<FORM, BITS, MT>(s, a, p, ring + to * shape::stage, ahead, fast);
            cp_async_commit(); /* a group a stage, even an empty one: the wait counts groups */
            to++;
        }
        for (nib_i64 k = first; k < end; k += shape::chunk, ahead += shape::chunk) {
            cp_async_wait<shape::stages - 2>();
            if (ahead < end)
                load_chunk<FORM, BITS, MT>(s, a, p, ring + to * shape::stage, ahead, fast);
            cp_async_commit();
            to = to + 1 == shape::stages ? 0 : to + 1;
            add_chunk<FORM, BITS, MT>(w, s, a, ring + from * shape::stage, k, end);
            from = from + 1 == shape::stages ? 0 : from + 1;
        }
        __syncwarp(); /* all lanes have taken what their ring held */
        leave_sums(w, a, (float *)ring, pitch);
        __syncthreads();
        finish_tile<FORM, 8 * MT, PANEL, shape::threads>(s, a, p, (const float *)shared,
                                                         shape::warps, shape::ring / 4);
        __syncthreads(); /* the next tile's copies overwrite the sums */
    }
}

/* shared: bytes of dynamic shared memory, as cuda_kernels.def asks for; blocks: of a unit. */
#define SMALL(type, bits, rows, bytes, blocks)                                                     \
    static_assert(small_shape<NIB_T_##type, bits, rows / 8>::shared == bytes, ""); \
    NIB_TILE_KERNEL(nib_cuda_matmul_small##rows##_##type##_##bits, 128, blocks)                    \
    {                                                                                              \
        matmul_small<NIB_T_##type, bits, rows / 8>(s, a, items);                                   \
    }
SMALL(F16, 4, 8, 73728, 3)
SMALL(F16, 8, 8, 61440, 3)
SMALL(F16, 4, 16, 98304, 2)
SMALL(F16, 8, 16, 73728, 3)
SMALL(BF16, 4, 8, 73728, 3)
SMALL(BF16, 8, 8, 61440, 3)
SMALL(BF16, 4, 16, 98304, 2)
SMALL(BF16, 8, 16, 73728, 3)
SMALL(I8, 4, 16, 73728, 3)
SMALL(I8, 8, 16, 61440, 3)
