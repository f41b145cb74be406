/* block.cuh - one of ggml's blocks by one thread: the values of a block in global memory, the
 * searches of kernels/common over them, its bytes and its line in the report. */
#pragma once

#include "device.cuh"

#include "../common/lane.h"

#include "../common/block_bytes.h"

#include "../common/search.h"

/* Where block_parts.h gets its values: memory, anew each time they are needed. */
struct nib_source {
    const void *x;
    const float *importance;
    nib_i64 first;
    nib_i32 type, nonfinite, weighted;
    float mean;
};

DEVICE float nib_source_x(nib_source s, nib_i32 i)
{
    float x = load_element(s.x, s.type, s.first + i);
    return nib_is_finite(x) ? x : nib_substitute(x, s.nonfinite, s.type);
}
DEVICE float nib_source_weight(nib_source s, nib_i32 i) { return s.importance[i]; }
DEVICE float nib_source_mean(nib_source s) { return s.mean; }

#include "../common/block_parts.h"

DEVICE nib_u32 block_half(const nib_u8 *bytes, nib_i32 at)
{
    return at == NIB_NOWHERE ? 0u : bytes[at] | (nib_u32)bytes[at + 1] << 8;
}

DEVICE void report_block(const nib_spans &s, const nib_args &a, nib_i64 item, bool nonfinite,
                         bool zeros, nib_u32 d, nib_u32 m)
{
    nib_u32 *count = (nib_u32 *)s.report;
    if (!a.has_report) return;
    if (nonfinite) report_nonfinite(s.report, item);
    if (nonfinite && a.nonfinite == NIB_N_ERROR) return;
    if (zeros) atomicAdd(&count[2], 1u);
    else if ((d & 0x7fffu) == 0) atomicAdd(&count[3], 1u);
    if ((d & 0x7c00u) == 0x7c00u || (m & 0x7c00u) == 0x7c00u) atomicAdd(&count[4], 1u);
}

/* Block `item`, of type `block`; size: its bytes, an even number; weighted: it may have an
 * importance. */
template <int block, int size, bool weighted>
DEVICE void quantize_block(const nib_spans &s, const nib_args &a, nib_i64 item)
{
    nib_u8 bytes[size];
    nib_u16 *out = (nib_u16 *)s.out + item * (size / 2);
    const int elements = block < NIB_B_Q2_K || block == NIB_B_IQ4_NL ? 32 : 256;
    nib_source source = {s.x,         nullptr,     item * elements,
                         a.x_type,    a.nonfinite, weighted && a.weights != NIB_W_NONE,
                         0.0f};
    if (source.weighted)
        source.importance = (const float *)s.scales + item % a.scale_cols * elements;
    if (weighted && a.weights == NIB_W_ROW)
        source.mean = NIB_BITS_F32(out[0] | (nib_u32)out[1] << 16);
    bool nonfinite = false, zeros = true;
    for (int i = 0; i < elements; i++) {
        float x = load_element(s.x, a.x_type, source.first + i);
        nonfinite |= !nib_is_finite(x);
        zeros &= nib_source_x(source, i) == 0.0f;
    }
    if (nonfinite && a.nonfinite == NIB_N_ERROR) {
        for (int i = 0; i < size; i++) bytes[i] = 0;
        nib_put_half(bytes, a.form.d_at, 0x7e00u);
        nib_put_half(bytes, a.form.m_at, 0x7e00u);
    } else nib_block_quantize(source, block, a.form, bytes);
    for (int i = 0; i < size / 2; i++) out[i] = (nib_u16)(bytes[2 * i] | bytes[2 * i + 1] << 8);
    report_block(s, a, item, nonfinite, zeros, block_half(bytes, a.form.d_at),
                 block_half(bytes, a.form.m_at));
}

/* The searches keep up to 96 numbers in registers: one resident block of threads is enough. */
#define QUANTIZE(ID, name, size, weighted)                                                         \
    extern "C" __global__ void __launch_bounds__(NIB_THREADS, 1)                                   \
        nib_cuda_quantize_blocks_##name(nib_spans s, nib_args a, nib_i64 items)                    \
    {                                                                                              \
        for (nib_i64 item = grid_thread(); item < items; item += grid_threads())                   \
            quantize_block<NIB_B_##ID, size, weighted>(s, a, item);                                \
    }
