/* peaks.cu - multiply-adds on registers alone: the roofs of products that `nibble bench`
 * measures (host/bench/roofs_cuda.c). libnibble has no rows for them.
 *
 *   f16, bf16, s8   a warp takes 8 tiles of 16 x 8 in turn, so that 16 warps a unit hide the latency
 *   f32             a thread takes 16 sums in turn
 *
 * Each thread leaves its sums' sum in s.y. Operands are not zeros: those draw less power, and
 * clocks rise. Bound: the tensor cores by way of mma.sync, which on sm_90a is not all they can
 * (wgmma); and the units for f32. */
#include "device.cuh"

enum { TILES = 8, SUMS = 16 };

#define NIB_PEAK_KERNEL(name)                                                                      \
    extern "C" __global__ void __launch_bounds__(NIB_THREADS, 2)                                   \
        name(nib_spans s, nib_args, nib_i64 items)

/* Word i of the lane's operands: mixed bits, of which `keep` stay beside those of `set`. */
DEVICE nib_u32 operand_word(int i, nib_u32 keep, nib_u32 set)
{
    nib_u32 w = (threadIdx.x % 32 * 8 + (nib_u32)i + 1) * 0x9e3779b9u;
    return ((w ^ w >> 15) & keep) | set;
}

/* items: how often each tile is multiplied. */
template <class D, class Product>
DEVICE void multiply_tiles(const nib_spans &s, nib_i64 items, nib_u32 keep, nib_u32 set,
                           Product product)
{
    nib_u32 a[4], b[2];
    D d[TILES][4] = {}, sum = 0;
    for (int i = 0; i < 4; i++) a[i] = operand_word(i, keep, set);
    for (int i = 0; i < 2; i++) b[i] = operand_word(4 + i, keep, set);
    for (nib_i64 n = 0; n < items; n++)
#pragma unroll
        for (int t = 0; t < TILES; t++) product(d[t], a, b);
#pragma unroll
    for (int i = 0; i < TILES * 4; i++) sum += d[i / 4][i % 4];
    ((D *)s.y)[grid_thread()] = sum;
}

struct product_f16 {
    __device__ __forceinline__ void operator()(float (&d)[4], const nib_u32 (&a)[4],
                                               const nib_u32 (&b)[2]) const
    {
        mma_m16n8k16_f16(d, a, b);
    }
};
struct product_bf16 {
    __device__ __forceinline__ void operator()(float (&d)[4], const nib_u32 (&a)[4],
                                               const nib_u32 (&b)[2]) const
    {
        mma_m16n8k16_bf16(d, a, b);
    }
};
struct product_s8 {
    __device__ __forceinline__ void operator()(int (&d)[4], const nib_u32 (&a)[4],
                                               const nib_u32 (&b)[2]) const
    {
        mma_m16n8k32_s8(d, a, b);
    }
};

/* Of either sign, from 2^-4 to 2^-3. */
NIB_PEAK_KERNEL(nib_cuda_peak_f16)
{
    multiply_tiles<float>(s, items, 0x83ff83ffu, 0x2c002c00u, product_f16());
}
NIB_PEAK_KERNEL(nib_cuda_peak_bf16)
{
    multiply_tiles<float>(s, items, 0x807f807fu, 0x3d803d80u, product_bf16());
}
NIB_PEAK_KERNEL(nib_cuda_peak_s8) { multiply_tiles<int>(s, items, ~0u, 0, product_s8()); }

NIB_PEAK_KERNEL(nib_cuda_peak_f32)
{
    float x = NIB_BITS_F32(operand_word(0, 0x7fffffu, 0x3e000000u)), sum[SUMS], all = 0.0f;
#pragma unroll
    for (int i = 0; i < SUMS; i++) sum[i] = (float)i;
    for (nib_i64 n = 0; n < items; n++)
#pragma unroll
        for (int i = 0; i < SUMS; i++) sum[i] = __fmaf_rn(sum[i], x, x);
#pragma unroll
    for (int i = 0; i < SUMS; i++) all += sum[i];
    ((float *)s.y)[grid_thread()] = all;
}
