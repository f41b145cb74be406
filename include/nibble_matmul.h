/* nibble_matmul.h - y = x * dequant(W)^T + bias on the CPU, OpenCL and CUDA: the part of
 * libnibble that a serving runtime links. Words, sizes, errors and threads are as nibble.h says.
 *
 * Shapes. W is [N, K], quantized; x is [M, K]; bias is [N]; y is [M, N]; all row-major. N and K
 * belong to the plan, M to the run.
 *
 * Use. Open a plan, pack the weights once, initialise the workspace once, run as often as you
 * like:
 *
 *     nib_matmul_plan_open(ctx, &desc, &plan);
 *     weights   = nib_alloc(nib_matmul_weights_bytes(plan))
 *     workspace = nib_alloc(nib_matmul_workspace_bytes(plan))
 *     nib_matmul_pack(stream, plan, planes, weights);
 *     nib_matmul_prepare(stream, plan, workspace);
 *     nib_matmul_run(stream, plan, &(nib_matmul_args){.size = sizeof args, .m = 1, .x = x, ...});
 *
 * A run launches and does nothing else: no allocation, no wait, no copy between host and device;
 * it can be captured in a CUDA graph. The same call gives the same bits every time.
 *
 * Arithmetic (docs/numerics.md section 9). Products are added in f32, or in int32 where both
 * sides are integers; int32 sums are exact and equal on every device. Unsupported combinations
 * are errors of nib_matmul_plan_open; there is no silent fallback, and nib_matmul_choice says
 * which kernel runs and why the others do not.
 *
 * Threads. A plan is immutable: any number of threads may run it at once, each with a workspace
 * and a stream of its own. A run takes less than 64 KiB of the calling thread's stack. */
#ifndef NIBBLE_MATMUL_H
#define NIBBLE_MATMUL_H

#include "nibble.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What W is multiplied with. */
typedef enum nib_acts {
    NIB_ACTS_FLOAT = 0,   /* x as it is: W4A16, W8A16 */
    NIB_ACTS_DYNAMIC = 1, /* x, quantized by the run to int8, one scale a row: W4A8, W8A8 */
    NIB_ACTS_STATIC = 2,  /* x, quantized by the run to int8 with scales that the caller gives */
    NIB_ACTS_CODES = 3,   /* x holds signed int8 codes already; the caller gives their scales */
} nib_acts;

typedef struct nib_matmul_desc {
    size_t size;       /* sizeof(nib_matmul_desc); later versions may add fields */
    nib_quant weights; /* grid.rows = N, grid.cols = K; 2 to 8 bits; codes in rows, zeros not packed
                          (as for nib_dequantize) */
    int64_t max_m;     /* a run has at most so many rows */
    int64_t experts;   /* 1; more are reserved for grouped matmuls (0 counts as 1) */
    nib_acts acts;
    int32_t x_zeros;      /* 1: codes of x have zero points (DYNAMIC: rule asym_zero instead of
                             sym_restricted) */
    int32_t x_per_tensor; /* 1: STATIC and CODES have one scale (and zero) for all of x, not one a
                             row */
    nib_dtype x_type;     /* NIB_F32, NIB_F16 or NIB_BF16; NIB_I8 with NIB_ACTS_CODES */
    nib_dtype y_type;     /* NIB_F32, NIB_F16 or NIB_BF16 */
    nib_dtype bias_type;  /* NIB_DTYPE_NONE where there is no bias, or a type as y's */
} nib_matmul_desc;

typedef struct nib_matmul nib_matmul; /* a plan */

/* Picks kernels for each M of 1..max_m on the context's device. Fails with E_SHAPE, E_ARGUMENT,
 * E_OVERFLOW or E_UNSUPPORTED where a number is wrong or no kernel can do it; sums of int8 products
 * that could leave int32 are E_SHAPE. The caller closes the plan (NULL is fine), before the
 * context. */
NIB_API nib_status nib_matmul_plan_open(nib_ctx *ctx, const nib_matmul_desc *desc,
                                        nib_matmul **plan_ret);
NIB_API void nib_matmul_plan_close(nib_matmul *plan);

/* Bytes of the packed weights, and of one workspace. Memory of the device, aligned to 64 bytes (as
 * nib_alloc gives it). */
NIB_API size_t nib_matmul_weights_bytes(const nib_matmul *plan);
NIB_API size_t nib_matmul_workspace_bytes(const nib_matmul *plan);

/* Packs planes of desc.weights for the plan's kernels, losslessly; every byte of `weights` that a
 * kernel reads is written. The planes are not needed afterwards. Zero points must be codes, 0 to
 * 2^bits - 1, as every rule makes them: with others, products differ from device to device. */
NIB_API nib_status nib_matmul_pack(nib_stream *stream, const nib_matmul *plan,
                                   const nib_mem planes[NIB_PLANES], nib_mem weights);

/* Makes a workspace ready for runs on this stream, once; what it holds between runs is nibble's
 * business. A workspace serves one run at a time, but any plan of its context: all layers of a
 * model can share one that is as large as the largest plan asks, each plan having prepared it
 * once. */
NIB_API nib_status nib_matmul_prepare(nib_stream *stream, const nib_matmul *plan,
                                      nib_mem workspace);

typedef struct nib_matmul_args {
    size_t size;       /* sizeof(nib_matmul_args); later versions may add fields */
    int64_t m;         /* rows of x and y, 0..max_m */
    nib_mem x;         /* m rows of K elements */
    int64_t x_pitch;   /* elements from one row to the next, >= K; 0 = K */
    nib_mem x_scales;  /* STATIC, CODES: f32[m], or f32[1] with x_per_tensor */
    nib_mem x_zeros;   /* STATIC, CODES with desc.x_zeros: int32[m] or [1], -128..127 */
    nib_mem weights;   /* what nib_matmul_pack wrote */
    nib_mem bias;      /* bias_type[N]; ignored without a bias */
    nib_mem y;         /* m rows of N elements */
    int64_t y_pitch;   /* as x_pitch, >= N; 0 = N */
    nib_mem workspace; /* prepared; may be zeroed where the plan needs 0 bytes */
} nib_matmul_args;

/* Multiplies. Elements between the rows of y are left as they are. x, weights and bias may be
 * shared between runs; y and workspace may not. */
NIB_API nib_status nib_matmul_run(nib_stream *stream, const nib_matmul *plan,
                                  const nib_matmul_args *args);

/* How far an element of y may be from the exact sum, before its one rounding to y's type (section 9
 * of docs/numerics.md). S = the sum over k of |x * w|. */
typedef enum nib_error_class {
    NIB_ERROR_EXACT = 0, /* int32 sums, one scale a row: the same bits on every device */
    NIB_ERROR_F32 = 1,   /* (K + 8) * 2^-23 * S */
    NIB_ERROR_F16 = 2,   /* that, and decoded weights rounded to f16: + 2^-11 * S */
    NIB_ERROR_BF16 = 3,  /* that, and decoded weights rounded to bf16: + 2^-8 * S */
} nib_error_class;

/* One kernel that a plan considered. */
typedef struct nib_matmul_choice {
    const char *kernel;   /* "cpu.matmul.w4.avx512", static storage */
    const char *refusal;  /* why it does not run, or NULL; static storage */
    int64_t from_m, to_m; /* it runs for these M; where for several ranges, the first */
    nib_error_class error_class;
} nib_matmul_choice;

/* The kernel that serves m, 1..max_m, and the range of M about it. */
NIB_API nib_status nib_matmul_kernel_at(const nib_matmul *plan, int64_t m,
                                        nib_matmul_choice *choice_ret);

/* The kernels of the context's device that multiply, best first, and what each has to say to
 * `desc`. Returns 0 past the end, or where an argument is wrong (nib_last_error says how). */
NIB_API int nib_matmul_choice_at(nib_ctx *ctx, const nib_matmul_desc *desc, size_t index,
                                 nib_matmul_choice *choice_ret);

#ifdef __cplusplus
}
#endif
#endif
