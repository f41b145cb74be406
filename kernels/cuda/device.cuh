/* device.cuh - what every CUDA kernel here starts from: the launch signature, vector loads, warp
 * reductions. PTX stands in ptx.cuh. Under a host compiler (tests/cuda_on_host) the same names come
 * from the emulator.
 *
 * Every kernel has one signature, so that host/cuda launches them all by one loop: seven spans, the
 * numbers, and how many work items there are. Files are compiled with -fmad=false -ftz=false
 * -prec-div=true (docs/numerics.md section 2). */
#pragma once

#if defined(__CUDACC__)
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <stdint.h>
#define SHARED_ARRAY(type, name, dims) __shared__ type name dims
#define DEVICE static __device__ __forceinline__
#include "ptx.cuh"
#else
#include "cuda_on_host.h"
#define DEVICE static inline
#endif

#include "../common/layout.h"
#include "../common/rule.h"

/* The descriptor of a K-major operand tile in shared memory for wgmma. `stride` bytes lead from 8
 * rows to the next 8; `leading`, without a swizzle only, from 16 bytes of K to the next. Along K
 * inside a swizzled row, add bytes to `tile`. A swizzle pattern of 128, 64 or 32 bytes begins at a
 * multiple of 1024, 512 or 256. */
DEVICE uint64_t wgmma_descriptor(const void *tile, unsigned stride, Swizzle swizzle,
                                 unsigned leading = 16)
{
    return (uint64_t)(shared_address(tile) >> 4 & 0x3fff) | (uint64_t)(leading >> 4) << 16 |
           (uint64_t)(stride >> 4) << 32 | (uint64_t)swizzle << 62;
}

/* By role, as args.h numbers them. Device addresses; null where a call has none. */
struct nib_spans {
    const void *x;
    void *codes, *scales, *offsets, *y, *out, *report;
};
static_assert(sizeof(nib_spans) == 8 * NIB_SPANS && sizeof(nib_args) == 320,
              "the host passes other bytes");

#define NIB_THREADS 256 /* of every block; host/cuda/cuda.c launches so */
#define NIB_CUDA_KERNEL(name)                                                                      \
    extern "C" __global__ void __launch_bounds__(NIB_THREADS)                                      \
        name(nib_spans s, nib_args a, nib_i64 items)

/* This thread's number in the grid, and the grid's size: loops stride by it, so any grid covers any
 * tensor. */
DEVICE nib_i64 grid_thread() { return (nib_i64)blockIdx.x * NIB_THREADS + threadIdx.x; }
DEVICE nib_i64 grid_threads() { return (nib_i64)gridDim.x * NIB_THREADS; }

/* ---- elements ---- */

DEVICE float load_element(const void *p, nib_i32 type, nib_i64 i)
{
    return nib_from_type(type,
                         type == NIB_T_F32 ? ((const nib_u32 *)p)[i] : ((const nib_u16 *)p)[i]);
}

DEVICE void store_raw(void *p, nib_i32 type, nib_i64 i, nib_u32 raw)
{
    if (type == NIB_T_F32) ((nib_u32 *)p)[i] = raw;
    else ((nib_u16 *)p)[i] = (nib_u16)raw;
}

/* Eight elements from p + 8 * octet, 16-byte aligned: one access of 16 bytes, or two for f32. */
struct octet {
    nib_u32 word[8];
};

template <int type> DEVICE octet load_octet(const void *p, nib_i64 at)
{
    octet o;
    const uint4 *v = (const uint4 *)p + (type == NIB_T_F32 ? 2 * at : at);
    uint4 low = __ldg(v), high = type == NIB_T_F32 ? __ldg(v + 1) : low;
    o.word[0] = low.x, o.word[1] = low.y, o.word[2] = low.z, o.word[3] = low.w;
    o.word[4] = high.x, o.word[5] = high.y, o.word[6] = high.z, o.word[7] = high.w;
    return o;
}

/* Element i as f32. The hardware's conversion is exact for finite values; what it makes of a NaN's
 * payload is not ours, so this serves only where a NaN is a NaN (conversion and errors use
 * number.h). */
template <int type> DEVICE float octet_raw(const octet &o, int i)
{
    if (type == NIB_T_F32) return NIB_BITS_F32(o.word[i]);
    nib_u32 raw = o.word[i / 2] >> (i % 2 * 16) & 0xffffu;
    return type == NIB_T_F16 ? __half2float(__ushort_as_half((nib_u16)raw))
                             : NIB_BITS_F32(raw << 16);
}

DEVICE nib_u32 type_nan(nib_i32 type)
{
    return type == NIB_T_F32 ? 0x7fc00000u : type == NIB_T_F16 ? 0x7e00u : 0x7fc0u;
}

/* A value to nearest even by the hardware, whose NaN is another one than ours. */
template <int type> DEVICE nib_u32 element_bits(float value)
{
    nib_u32 raw = type == NIB_T_F32   ? NIB_F32_BITS(value)
                  : type == NIB_T_F16 ? __half_as_ushort(__float2half_rn(value))
                                      : __bfloat16_as_ushort(__float2bfloat16_rn(value));
    return value == value ? raw : type_nan(type);
}

/* Two numbers likewise, in one instruction; not NaN. */
template <int type> DEVICE nib_u32 pair_bits(float low, float high)
{
    if (type == NIB_T_F16) {
        __half2 pair = __floats2half2_rn(low, high);
        return __half_as_ushort(__low2half(pair)) | (nib_u32)__half_as_ushort(__high2half(pair))
                                                        << 16;
    }
    __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
    return __bfloat16_as_ushort(__low2bfloat16(pair)) |
           (nib_u32)__bfloat16_as_ushort(__high2bfloat16(pair)) << 16;
}

template <int type> DEVICE void store_octet(void *p, nib_i64 at, const float value[8])
{
    uint4 *v = (uint4 *)p + (type == NIB_T_F32 ? 2 * at : at);
    nib_u32 w[8];
    bool odd = false;
#pragma unroll
    for (int i = 0; i < 8; i++) odd |= value[i] != value[i];
#pragma unroll
    for (int i = 0; i < 4 && type != NIB_T_F32; i++)
        w[i] = pair_bits<type>(value[2 * i], value[2 * i + 1]);
    if (type != NIB_T_F32 && odd) { /* rare */
#pragma unroll
        for (int i = 0; i < 4; i++)
            w[i] = element_bits<type>(value[2 * i]) | element_bits<type>(value[2 * i + 1]) << 16;
    }
#pragma unroll
    for (int i = 0; i < 8 && type == NIB_T_F32; i++) w[i] = element_bits<type>(value[i]);
    v[0] = make_uint4(w[0], w[1], w[2], w[3]);
    if (type == NIB_T_F32) v[1] = make_uint4(w[4], w[5], w[6], w[7]);
}

/* ---- ranges ---- */

/* The range of admitted values so far, and whether a value was not finite. */
struct range {
    float min, max;
    nib_u32 nonfinite;
};

DEVICE range range_empty() { return {NIB_BITS_F32(0x7f800000u), NIB_BITS_F32(0xff800000u), 0u}; }

DEVICE void range_take(range &r, float raw, nib_i32 policy, nib_i32 type)
{
    r.nonfinite |= !nib_is_finite(raw);
    float x = nib_admit(raw, policy, type);
    r.min = x < r.min ? x : r.min;
    r.max = x > r.max ? x : r.max;
}

/* Admits eight elements and takes them into the range. Values that are not finite are rare: one
 * test for all eight. */
template <int type>
DEVICE void range_take_octet(range &r, const octet &data, nib_i32 policy, float value[8])
{
    nib_u32 nonfinite = 0;
#pragma unroll
    for (int i = 0; i < 8; i++) {
        float raw = octet_raw<type>(data, i);
        nonfinite |= !nib_is_finite(raw);
        value[i] = nib_flush(raw);
    }
    if (nonfinite) {
        r.nonfinite = 1;
#pragma unroll
        for (int i = 0; i < 8; i++) value[i] = nib_admit(octet_raw<type>(data, i), policy, type);
    }
#pragma unroll
    for (int i = 0; i < 8; i++) {
        r.min = value[i] < r.min ? value[i] : r.min;
        r.max = value[i] > r.max ? value[i] : r.max;
    }
}

/* Over the lanes of an aligned segment of `lanes` (a power of two up to 32); every lane of the warp
 * calls it. */
DEVICE range range_reduce(range r, int lanes)
{
    for (int distance = lanes / 2; distance > 0; distance /= 2) {
        float min = __shfl_xor_sync(~0u, r.min, distance),
              max = __shfl_xor_sync(~0u, r.max, distance);
        r.min = min < r.min ? min : r.min;
        r.max = max > r.max ? max : r.max;
        r.nonfinite |= __shfl_xor_sync(~0u, r.nonfinite, distance);
    }
    return r;
}

/* Over a whole block; every thread calls it, and gets the result. */
DEVICE range range_reduce_block(range r)
{
    SHARED_ARRAY(range, warps, [NIB_THREADS / 32]);
    r = range_reduce(r, 32);
    __syncthreads(); /* the last call's readers are done */
    if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = r;
    __syncthreads();
    for (int w = 0; w < NIB_THREADS / 32; w++) {
        r.min = warps[w].min < r.min ? warps[w].min : r.min;
        r.max = warps[w].max > r.max ? warps[w].max : r.max;
        r.nonfinite |= warps[w].nonfinite;
    }
    return r;
}

/* The raw range of one cell, by the 32 lanes of a warp: rows of the cell one after the other, lanes
 * side by side. */
DEVICE range range_of_cell(const nib_spans &s, const nib_args &a, nib_i64 cell, int lane)
{
    range r = range_empty();
    nib_i64 first = cell % a.scale_cols * a.group,
            end = first + a.group < a.cols ? first + a.group : a.cols;
    for (nib_i64 row = cell / a.scale_cols; row < a.rows; row += a.period)
        for (nib_i64 k = first + lane; k < end; k += 32)
            range_take(r, load_element(s.x, a.x_type, row * a.cols + k), a.nonfinite, a.x_type);
    return range_reduce(r, 32);
}

/* ---- cells ---- */

/* nib_report's counts, in order: nonfinite, first, empty, underflow, saturated. */
DEVICE void report_nonfinite(void *report, nib_i64 index)
{
    nib_u32 *count = (nib_u32 *)report;
    atomicAdd(&count[0], 1u);
    atomicMin(&count[1], (nib_u32)(index < 0xfffffffe ? index : 0xfffffffe));
}

/* Makes the cell of a range; its scale is NaN where the group is poisoned. One thread of a cell
 * also `store`s its scale and offset and reports it. */
DEVICE nib_cell cell_make(const nib_spans &s, const nib_args &a, nib_i64 index, const range &r,
                          bool store)
{
    bool poisoned = r.nonfinite && a.nonfinite == NIB_N_ERROR;
    nib_cell c = nib_cell_make(a, r.min, r.max);
    if (poisoned) c.scale = NIB_BITS_F32(NIB_QNAN_F32);
    if (!store) return c;
    if (a.has_report) {
        if (r.nonfinite) report_nonfinite(s.report, index);
        nib_u32 *count = (nib_u32 *)s.report;
        if (!poisoned && c.empty) atomicAdd(&count[c.has_range ? 3 : 2], 1u);
        if (!poisoned && c.saturated) atomicAdd(&count[4], 1u);
    }
    nib_u32 nan = type_nan(a.scale_type);
    store_raw(s.scales, a.scale_type, index, poisoned ? nan : nib_to_type(a.scale_type, c.scale));
    if (a.offset == NIB_O_MIN)
        store_raw(s.offsets, a.scale_type, index,
                  poisoned ? nan : nib_to_type(a.scale_type, c.min));
    if (a.offset == NIB_O_ZERO) {
        nib_i64 at =
            index / a.scale_cols * a.other.pitch + index % a.scale_cols * (a.other.width / 8);
        nib_u32 zero = poisoned ? 0u : (nib_u32)(c.bias + (nib_i32)c.zero);
        ((nib_u8 *)s.offsets)[at] = (nib_u8)(zero ^ (nib_u32)a.other.flip);
    }
    return c;
}

/* The cell that stored planes describe, for encoding and decoding; a scale or min that is not
 * finite is kept as it is. */
DEVICE nib_cell cell_load(const nib_spans &s, const nib_args &a, nib_i64 index)
{
    nib_cell c = nib_cell_limits(a.bits, a.offset, a.low);
    c.scale = load_element(s.scales, a.scale_type, index);
    if (a.offset == NIB_O_MIN) c.min = load_element(s.offsets, a.scale_type, index);
    if (a.offset == NIB_O_ZERO) {
        nib_i64 at =
            index / a.scale_cols * a.other.pitch + index % a.scale_cols * (a.other.width / 8);
        c.zero =
            (float)((nib_i32)(((const nib_u8 *)s.offsets)[at] ^ (nib_u32)a.other.flip) - c.bias);
    }
    return c;
}

/* The unsigned zero point to decode with. */
DEVICE nib_i32 cell_zero(const nib_cell &c) { return c.bias + (nib_i32)c.zero; }

/* ---- octets of codes: 8 codes of a row are `width` bytes, at any width ---- */

DEVICE nib_u64 pack_octet(const nib_u32 code[8], nib_i32 width)
{
    nib_u64 bits = 0;
#pragma unroll
    for (int i = 0; i < 8; i++) bits |= (nib_u64)code[i] << (i * width);
    return bits;
}

/* The bytes of octet `k` of a row, up to the end of the row's stream. */
DEVICE nib_u64 load_octet_codes(const void *codes, const nib_args &a, nib_i64 row, nib_i64 k)
{
    const nib_u8 *p = (const nib_u8 *)codes + row * a.codes.pitch;
    nib_i64 byte = k * a.codes.width;
    nib_u64 packed = 0;
    for (int i = 0; i < a.codes.width && byte + i < a.codes.pitch; i++)
        packed |= (nib_u64)p[byte + i] << (8 * i);
    return packed;
}

DEVICE nib_u32 octet_code(nib_u64 packed, const nib_args &a, int i)
{
    nib_u32 mask = (1u << a.codes.width) - 1u;
    return ((nib_u32)(packed >> (a.codes.width * i)) & mask) ^ (nib_u32)a.codes.flip;
}
