/* cuda_instructions.cu - a kernel for each instruction or family that the emulator imitates.
 * What each must write stands in test_cuda_instructions.c, from the PTX ISA. The same file runs
 * on the emulator and, by bench/on_gpu.sh, on a GPU, so that kernels and emulator cannot share
 * one misreading.
 *
 * s.x is the input, s.y the output; each thread writes its own places. */
#include "../kernels/cuda/device.cuh"

#define IN(type) ((const type *)s.x)
#define OUT(type) ((type *)s.y)
#define INSTRUCTION(name)                                                                          \
    extern "C" __global__ void __launch_bounds__(NIB_THREADS) name(nib_spans s, nib_args, nib_i64)

/* ---- warps ---- */

INSTRUCTION(check_warp)
{
    unsigned lane = threadIdx.x % 32, *out = OUT(unsigned) + threadIdx.x * 24;
    unsigned v = IN(unsigned)[threadIdx.x], half = lane < 16 ? 0xffffu : 0xffff0000u;
    unsigned long long wide = (unsigned long long)v << 32 | lane;
    *out++ = __shfl_sync(~0u, v, 5);
    *out++ = __shfl_sync(~0u, v, 3, 8);
    *out++ = __shfl_sync(~0u, v, (int)(v % 64));
    *out++ = __shfl_xor_sync(~0u, v, 9);
    *out++ = __shfl_xor_sync(~0u, v, 8, 8); /* another segment: an earlier one only */
    *out++ = __shfl_up_sync(~0u, v, 3u);
    *out++ = __shfl_up_sync(~0u, v, 3u, 8);
    *out++ = __shfl_down_sync(~0u, v, 3u);
    *out++ = __shfl_down_sync(~0u, v, 3u, 16);
    wide = __shfl_sync(~0u, wide, 7);
    *out++ = (unsigned)wide;
    *out++ = (unsigned)(wide >> 32);
    *out++ = __ballot_sync(~0u, v & 1);
    *out++ = __ballot_sync(half, v & 2);
    *out++ = (unsigned)(__any_sync(half, v % 32 == 3) != 0);
    *out++ = (unsigned)(__all_sync(half, v % 32 != 3) != 0);
    *out++ = __reduce_add_sync(~0u, v);
    *out++ = __reduce_add_sync(half, v);
    *out++ = __reduce_max_sync(~0u, v);
    *out++ = __reduce_min_sync(~0u, v);
    *out++ = (unsigned)__reduce_max_sync(~0u, (int)v);
    *out++ = (unsigned)__reduce_min_sync(~0u, (int)v);
    *out++ = __reduce_or_sync(half, v & v << 3 & v << 5);
    *out++ = __reduce_and_sync(half, v | v << 3 | v << 5);
    *out++ = __shfl_xor_sync(half, v, 15);
}

/* ---- bits and numbers, a thread at a time ---- */

INSTRUCTION(check_bits)
{
    const unsigned *in = IN(unsigned) + threadIdx.x * 4;
    unsigned u = in[0], v = in[1], w = in[2], *out = OUT(unsigned) + threadIdx.x * 16;
    float f = __uint_as_float(in[3]);
    *out++ = lop3<0x96>(u, v, w);
    *out++ = lop3<(0xf0 & 0xcc) | 0xaa>(u, v, w);
    *out++ = lop3<(0xf0 ^ 0xcc) & ~0xaa & 0xff>(u, v, w);
    *out++ = __byte_perm(u, v, w);
    *out++ = (unsigned)__dp4a((int)u, (int)v, (int)w);
    *out++ = __funnelshift_r(u, v, w);
    *out++ = (unsigned)__popc(u);
    *out++ = (unsigned)__clz((int)(u >> (v % 32)));
    *out++ = (unsigned)__ffs((int)(u << (v % 32)));
    *out++ = (unsigned)__float2int_rn(f);
    *out++ = (unsigned)__float2int_rz(f);
    *out++ = (unsigned)__float2int_rd(f);
    *out++ = (unsigned)__float2int_ru(f);
    *out++ = __float_as_uint(__int2float_rn((int)u));
    *out++ = __float_as_uint(__uint2float_rn(u));
    *out++ = __float_as_uint(__saturatef(f));
}

/* Words of the input: two floats; two halves; three halves; three bfloat16. */
INSTRUCTION(check_numbers)
{
    const unsigned *in = IN(unsigned) + threadIdx.x * 6;
    unsigned *out = OUT(unsigned) + threadIdx.x * 9;
    float x = __uint_as_float(in[0]), y = __uint_as_float(in[1]);
    nib_u16 h[6];
    for (int i = 0; i < 6; i++) h[i] = (nib_u16)(in[2 + i / 2] >> i % 2 * 16);
    *out++ = __float_as_uint(__half2float(__ushort_as_half(h[0])));
    *out++ = __half_as_ushort(__float2half_rn(x));
    *out++ = __bfloat16_as_ushort(__float2bfloat16_rn(x));
    *out++ = __half_as_ushort(
        __hfma(__ushort_as_half(h[0]), __ushort_as_half(h[1]), __ushort_as_half(h[2])));
    *out++ = __half_as_ushort(__high2half(
        __hfma2(__halves2half2(__ushort_as_half(h[3]), __ushort_as_half(h[4])),
                __halves2half2(__ushort_as_half(h[5]), __ushort_as_half(h[1])),
                __halves2half2(__ushort_as_half(h[1]), __ushort_as_half(h[3])))));
    *out++ = __float_as_uint(__fmaf_rn(x, y, x));
    *out++ = __float_as_uint(__fmul_rn(x, y));
    *out++ = __float_as_uint(__fadd_rn(x, y));
    *out++ = __float_as_uint(__fdiv_rn(x, y));
}

/* ---- tensor cores, one warp ---- */

INSTRUCTION(check_ldmatrix)
{
    SHARED_ARRAY(nib_u16, tile, [4][8][8]);
    unsigned lane = threadIdx.x, d[4], e[2], *out = OUT(unsigned) + lane * 12;
    for (unsigned i = lane; i < 256; i += 32) (&tile[0][0][0])[i] = IN(nib_u16)[i];
    __syncwarp();
    ldmatrix_x4(d, tile[lane / 8][lane % 8]);
    for (int i = 0; i < 4; i++) *out++ = d[i];
    ldmatrix_x4_trans(d, tile[lane / 8][lane % 8]);
    for (int i = 0; i < 4; i++) *out++ = d[i];
    ldmatrix_x2(e, tile[lane / 8 % 2 + 1][lane % 8]);
    for (int i = 0; i < 2; i++) *out++ = e[i];
    ldmatrix_x2_trans(e, tile[lane / 8 % 2 + 1][lane % 8]);
    for (int i = 0; i < 2; i++) *out++ = e[i];
}

/* A lane's registers: four of A, two of B, four accumulators. */
template <class D> struct fragments {
    unsigned a[4], b[2];
    D d[4];
};

INSTRUCTION(check_mma_f16)
{
    fragments<float> f = IN(fragments<float>)[threadIdx.x];
    mma_m16n8k16_f16(f.d, f.a, f.b);
    for (int i = 0; i < 4; i++) OUT(float)[threadIdx.x * 4 + i] = f.d[i];
}

INSTRUCTION(check_mma_bf16)
{
    fragments<float> f = IN(fragments<float>)[threadIdx.x];
    mma_m16n8k16_bf16(f.d, f.a, f.b);
    for (int i = 0; i < 4; i++) OUT(float)[threadIdx.x * 4 + i] = f.d[i];
}

INSTRUCTION(check_mma_s8)
{
    fragments<int> f = IN(fragments<int>)[threadIdx.x];
    mma_m16n8k32_s8(f.d, f.a, f.b);
    for (int i = 0; i < 4; i++) OUT(int)[threadIdx.x * 4 + i] = f.d[i];
}

/* ---- copies and barriers ---- */

/* 48 bytes a thread: 16; 8 and 4 and 4; 16 zeros. A wait for all but two groups gives the first. */
INSTRUCTION(check_cp_async)
{
    SHARED_ARRAY(uint4, place, [64][3]);
    const char *from = IN(char) + threadIdx.x * 32;
    char *to = (char *)place[threadIdx.x];
    uint4 *out = OUT(uint4) + threadIdx.x * 3;
    cp_async_16(to, from);
    cp_async_commit();
    cp_async_8(to + 16, from + 16);
    cp_async_4(to + 24, from + 24);
    cp_async_4(to + 28, from + 28);
    cp_async_commit();
    cp_async_16_or_zero(to + 32, from, false);
    cp_async_commit();
    cp_async_wait<2>();
    out[0] = place[threadIdx.x][0];
    cp_async_wait<0>();
    __syncthreads();
    unsigned other = threadIdx.x ^ 32; /* what another thread copied */
    OUT(uint4)[other * 3 + 1] = place[other][1];
    OUT(uint4)[other * 3 + 2] = place[other][2];
}

/* Two pairs of warps; of each, one hands 32 words to the other four times through one place. */
INSTRUCTION(check_named_barrier)
{
    SHARED_ARRAY(unsigned, place, [2][32]);
    unsigned lane = threadIdx.x % 32, pair = threadIdx.x / 64, full = 1 + pair, empty = 3 + pair;
    for (int i = 0; i < 4; i++) {
        if (threadIdx.x / 32 % 2 == 0) {
            if (i) named_barrier_sync(empty, 64);
            place[pair][lane] = IN(unsigned)[(pair * 4 + i) * 32 + lane];
            named_barrier_arrive(full, 64);
        } else {
            named_barrier_sync(full, 64);
            OUT(unsigned)[(pair * 4 + i) * 32 + lane] = place[pair][31 - lane];
            if (i < 3) named_barrier_arrive(empty, 64);
        }
    }
}

/* The input, reversed through dynamic shared memory of `items` words. */
extern "C" __global__ void __launch_bounds__(NIB_THREADS)
    check_dynamic_shared(nib_spans s, nib_args, nib_i64 items)
{
    unsigned *shared = dynamic_shared<unsigned>();
    for (nib_i64 i = threadIdx.x; i < items; i += blockDim.x) shared[i] = IN(unsigned)[i];
    __syncthreads();
    for (nib_i64 i = threadIdx.x; i < items; i += blockDim.x)
        OUT(unsigned)[i] = shared[items - 1 - i];
}

/* ---- blocks together; the output begins as zeros ---- */

INSTRUCTION(check_atomics)
{
    unsigned i = blockIdx.x * blockDim.x + threadIdx.x, v = IN(unsigned)[i], *out = OUT(unsigned);
    atomicAdd(&out[0], v);
    atomicMax(&out[1], v);
    atomicMin(&out[2], v); /* of zero: stays */
    atomicOr(&out[3], v & 0x0f0f0f0fu);
    atomicMax((int *)&out[4], (int)v);
    atomicMin((int *)&out[5], (int)v);
    for (unsigned old = atomicAdd(&out[6], 0u), seen; (seen = atomicCAS(&out[6], old, old + v)) != old;) old = seen;
    unsigned ticket = atomicAdd(&out[7], 1u); /* all different */
    out[8 + ticket] = atomicExch(&out[8 + ticket], 7u) + 1u;
}

/* Block 1 waits for block 0's flag, then reads what it wrote; the last of both adds up. */
INSTRUCTION(check_flags)
{
    unsigned *out = OUT(unsigned), *flag = out, *ticket = out + 1, *place = out + 32;
    SHARED_ARRAY(unsigned, last, [1]);
    if (blockIdx.x == 0) {
        place[threadIdx.x] = IN(unsigned)[threadIdx.x];
        __syncthreads();
        if (threadIdx.x == 0) st_release(flag, 1);
    } else {
        if (threadIdx.x == 0)
            while (!ld_acquire(flag)) {}
        __syncthreads();
        place[64 + threadIdx.x] = place[63 - threadIdx.x];
    }
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0) last[0] = atomicAdd(ticket, 1u);
    __syncthreads();
    __threadfence();
    if (last[0] == 1) place[128 + threadIdx.x] = place[threadIdx.x] + place[64 + threadIdx.x];
}

/* ---- sm_90 ---- */

#if !defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)

/* Warp 0 fills one of two places while warp 1 empties the other, six times. */
INSTRUCTION(check_mbarrier)
{
    SHARED_ARRAY(unsigned, place, [2][32]);
    SHARED_ARRAY(uint64_t, full, [2]);
    SHARED_ARRAY(uint64_t, empty, [2]);
    unsigned lane = threadIdx.x % 32;
    if (threadIdx.x == 0) {
        for (int i = 0; i < 2; i++) mbarrier_init(&full[i], 32), mbarrier_init(&empty[i], 32);
        fence_mbarrier_init();
    }
    __syncthreads();
    for (unsigned i = 0; i < 6; i++) {
        unsigned stage = i % 2, parity = i / 2 % 2;
        if (threadIdx.x < 32) {
            mbarrier_wait(&empty[stage], parity ^ 1);
            place[stage][lane] = IN(unsigned)[i * 32 + lane];
            mbarrier_arrive(&full[stage]);
        } else {
            mbarrier_wait(&full[stage], parity);
            OUT(unsigned)[i * 32 + lane] = place[stage][31 - lane];
            mbarrier_arrive(&empty[stage]);
        }
    }
    unsigned elected = __popc(__ballot_sync(~0u, warp_elect())); /* one lane, whichever */
    OUT(unsigned)[192 + threadIdx.x] = elected;
}

/* Block b takes swizzle b; 64 rows of A and of B, as the swizzle places them, then the
 * accumulators. */
struct wgmma_input {
    uint4 a[512], b[512];
    unsigned d[128][32];
};

template <class D, class Product> DEVICE void run_wgmma(const nib_spans &s, Product product)
{
    uint4 *shared = dynamic_shared<uint4>();
    const wgmma_input &in = IN(wgmma_input)[blockIdx.x];
    for (int i = threadIdx.x; i < 512; i += 128) shared[i] = in.a[i], shared[512 + i] = in.b[i];
    fence_proxy_async();
    __syncthreads();
    Swizzle swizzle = (Swizzle)blockIdx.x;
    unsigned width = swizzle == Swizzle::b128 ? 128 : swizzle == Swizzle::b64 ? 64 : 32;
    D d[32];
    for (int i = 0; i < 32; i++) d[i] = ((const D *)in.d)[threadIdx.x * 32 + i];
    uint64_t a = wgmma_descriptor(shared, 8 * width, swizzle, 128),
             b = wgmma_descriptor(shared + 512, 8 * width, swizzle, 128);
    wgmma_fence();
    product(d, a, b);
    wgmma_commit();
    wgmma_wait<0>();
    for (int i = 0; i < 32; i++) OUT(D)[(blockIdx.x * 128 + threadIdx.x) * 32 + i] = d[i];
}

struct product_f16 {
    __device__ __forceinline__ void operator()(float (&d)[32], uint64_t a, uint64_t b) const
    {
        wgmma_f16(d, a, b, true);
    }
};
struct product_bf16 {
    __device__ __forceinline__ void operator()(float (&d)[32], uint64_t a, uint64_t b) const
    {
        wgmma_bf16(d, a, b, true);
    }
};
struct product_s8 {
    __device__ __forceinline__ void operator()(int (&d)[32], uint64_t a, uint64_t b) const
    {
        wgmma_s8(d, a, b, true);
    }
};
/* A comes from registers: 16 bytes a thread, where shared memory would have it. */
struct product_registers {
    unsigned a[4];
    __device__ __forceinline__ void operator()(float (&d)[32], uint64_t, uint64_t b) const
    {
        wgmma_f16(d, a, b, true);
    }
};

INSTRUCTION(check_wgmma_f16) { run_wgmma<float>(s, product_f16()); }
INSTRUCTION(check_wgmma_bf16) { run_wgmma<float>(s, product_bf16()); }
INSTRUCTION(check_wgmma_s8) { run_wgmma<int>(s, product_s8()); }
INSTRUCTION(check_wgmma_registers)
{
    uint4 v = IN(wgmma_input)[blockIdx.x].a[threadIdx.x];
    run_wgmma<float>(s, product_registers{{v.x, v.y, v.z, v.w}});
}

#endif
