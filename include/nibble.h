/* nibble.h - quantize, dequantize and measure tensors on the CPU, OpenCL and CUDA: libnibble's
 * public interface.
 *
 * Words. A quantized tensor has planes: codes (unsigned integers u of 2..8 bits, 16 on `ref`),
 * scales s, and offsets: none, zeros (integer zero points z) or mins (floats m). An element decodes
 * as (u - z) * s, with z = 2^(bits-1) where there are no zeros, or as u * s + m where there are
 * mins, in f32 with one rounding per operation. The numbers are the same on every backend,
 * instruction set and thread count, to the byte (docs/numerics.md).
 *
 * Shapes. W is [rows, cols], row-major and dense; a group is a run of `group` elements along a row
 * that share one scale.
 *
 * Sizes. int64_t counts elements, size_t counts bytes, and each name says which. All arithmetic on
 * sizes is checked.
 *
 * Errors. Every function that can fail returns a nib_status; nib_last_error() gives the calling
 * thread's last failure in words: what, where, the value, what to do. Outputs come last, are named
 * *_ret and are untouched on failure. The library never aborts, exits, prints, reads standard input
 * or installs signal handlers.
 *
 * Threads. A context and all it made may be used from any thread; one stream from one thread at a
 * time.
 *
 * Origin: the design is nibble's own; see docs/architecture.md for what it learned from whom.
 */
#ifndef NIBBLE_H
#define NIBBLE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define NIB_VERSION_MAJOR 0
#define NIB_VERSION_MINOR 1
#define NIB_VERSION_PATCH 0
#define NIB_VERSION "0.1.0"

#if defined(__GNUC__)
#define NIB_API __attribute__((visibility("default")))
#else
#define NIB_API
#endif

/* The version of the library that is loaded, as "major.minor.patch". Static storage. */
NIB_API const char *nib_version(void);

/* ---- status ---- */

typedef enum nib_status {
#define NIB_STATUS(ID, value, exit_code, text) NIB_##ID = value,
#include "nibble_schemes.def"
} nib_status;

/* "E_SHAPE" for NIB_E_SHAPE; "?" for a number that is no status. Static storage. */
NIB_API const char *nib_status_name(nib_status status);

/* A few words on the status. Static storage. */
NIB_API const char *nib_status_text(nib_status status);

/* The process exit code that the command gives the status: 0 ok, 1 internal, 2 usage, 3 bad input,
 * 4 memory, 5 input/output or space, 6 device, 7 quality, 8 performance, 130 interrupted. */
NIB_API int nib_status_exit_code(nib_status status);

/* The calling thread's last failure, one line without a newline, or "" where none. Valid until the
 * thread's next call. */
NIB_API const char *nib_last_error(void);

/* ---- element types, rules, layouts, schemes ---- */

typedef enum nib_dtype {
    NIB_DTYPE_NONE = 0,
#define NIB_DTYPE(ID, name, wire, bits) NIB_##ID = wire,
#include "nibble_schemes.def"
} nib_dtype;

/* Bits of one element: 4 to 64; 0 for an unknown type. */
NIB_API int nib_dtype_bits(nib_dtype type);
/* "BF16" for NIB_BF16; "?" for an unknown type. Static storage. */
NIB_API const char *nib_dtype_name(nib_dtype type);
/* The type of that exact name (`length` bytes, no NUL needed), or NIB_DTYPE_NONE. */
NIB_API nib_dtype nib_dtype_find(const char *name, size_t length);

typedef enum nib_offset {
    NIB_OFFSET_NONE = 0, /* z = 2^(bits-1) */
    NIB_OFFSET_ZERO = 1, /* integer zero points, one per scale */
    NIB_OFFSET_MIN = 2,  /* floating-point minimums of the scales' type, one per scale */
} nib_offset;

typedef enum nib_rule {
    NIB_RULE_NONE = 0,
#define NIB_RULE(ID, name, wire, range, divisor, offset, low, empty, text) NIB_RULE_##ID = wire,
#include "nibble_schemes.def"
} nib_rule;

typedef enum nib_layout {
    NIB_LAYOUT_NONE = 0,
#define NIB_LAYOUT(ID, name, wire, ...) NIB_LAYOUT_##ID = wire,
#include "nibble_schemes.def"
} nib_layout;

/* A scheme: a named preset. Rows of the table; static storage. */
typedef struct nib_scheme {
    const char *name;  /* "int4" */
    const char *alias; /* the name other tools give it: "w4a16" */
    const char *loads; /* what reads it: "vLLM, transformers" */
    const char *text;  /* one line on what it is */
    int32_t wire;      /* its number in files */
    int32_t bits;      /* of a code */
    nib_rule rule;
    nib_layout layout; /* as its file format stores it */
    int64_t group;     /* elements along K that share a scale; 0 = the whole row */
    int32_t act_bits;  /* 16: activations as they are; 8: int8 per token, at run time */
} nib_scheme;

/* The schemes, in table order. */
NIB_API size_t nib_scheme_count(void);
NIB_API const nib_scheme *nib_scheme_at(size_t index); /* NULL past the end */
/* The scheme of that name or alias, in any case, '-' and '_' alike; NULL where there is none. */
NIB_API const nib_scheme *nib_scheme_find(const char *name);

/* "sym_full" for NIB_RULE_SYM_FULL, "ct_packed" for NIB_LAYOUT_CT_PACKED; "?" for an unknown
 * number. Static storage. */
NIB_API const char *nib_rule_name(nib_rule rule);
NIB_API const char *nib_layout_name(nib_layout layout);
/* The offset a rule makes. */
NIB_API nib_offset nib_rule_offset(nib_rule rule);
/* The multiple at which rows of a tensor in this layout may be cut; 0 for an unknown layout. */
NIB_API int64_t nib_layout_tile_rows(nib_layout layout);

/* ---- shapes ---- */

/* How a matrix shares its scales. Element (r, k) uses scale [r % period][k / group]; the scales are
 * a dense matrix of period rows and ceil(cols / group) columns. A last group may be shorter. */
typedef struct nib_grid {
    int64_t rows, cols; /* >= 0 */
    int64_t period;     /* 1..rows: rows = every row has its own scales, 1 = all rows share them */
    int64_t group;      /* 1..cols */
} nib_grid;

/* One scale per `group` elements along each row; group 0 = one per row. A group larger than cols
 * means one per row. */
NIB_API nib_status nib_grid_rows(int64_t rows, int64_t cols, int64_t group, nib_grid *grid_ret);
/* One scale for the whole matrix. */
NIB_API nib_status nib_grid_tensor(int64_t rows, int64_t cols, nib_grid *grid_ret);
/* One scale per index along `axis` (0..rank-1) of a dense row-major tensor of `rank` (1..8)
 * dimensions. The matrix the grid describes is the same memory seen as 2-d. A tensor of experts [E,
 * N, K] in groups along K is nib_grid_rows(E*N, K). */
NIB_API nib_status nib_grid_axis(const int64_t *shape, int rank, int axis, nib_grid *grid_ret);

/* Everything that says what the planes of a quantized tensor mean and where their bits lie. */
typedef struct nib_quant {
    nib_grid grid;
    int32_t bits;         /* of a code: 2, 3, 4, 5, 6, 8; 16 on `ref` only */
    nib_dtype scale_type; /* of the scales and the mins: NIB_F32, NIB_F16 or NIB_BF16 */
    nib_rule rule;        /* its offset says which offsets plane there is */
    nib_layout layout;
} nib_quant;

typedef enum nib_plane {
    NIB_PLANE_CODES = 0,
    NIB_PLANE_SCALES = 1,
    NIB_PLANE_OFFSETS = 2,
    NIB_PLANES = 3
} nib_plane;

/* Bytes of one plane (0 for offsets where the rule makes none). E_SHAPE, E_ARGUMENT or E_OVERFLOW
 * say what is wrong. */
NIB_API nib_status nib_plane_bytes(const nib_quant *quant, nib_plane plane, size_t *bytes_ret);

/* ---- ggml's blocks ----
 *
 * One plane, [rows, cols / elements] blocks in row order; each holds its codes, scales and mins. A
 * number is ggml's own number of the type. */

typedef enum nib_block {
    NIB_BLOCK_NONE = 0,
#define NIB_BLOCK(ID, name, wire, ...) NIB_BLOCK_##ID = wire,
#include "nibble_schemes.def"
} nib_block;

/* A block type. Rows of the table; static storage. */
typedef struct nib_block_type {
    const char *name; /* "q4_K" */
    const char *text; /* one line on what it is */
    nib_block block;
    int32_t elements; /* of a block; the columns of a tensor are a multiple of it */
    int32_t bytes;    /* of a block */
} nib_block_type;

/* The block types, in the order of their numbers. */
NIB_API size_t nib_block_count(void);
NIB_API const nib_block_type *nib_block_at(size_t index); /* NULL past the end */
/* The type of that number or name (in any case); NULL where there is none. */
NIB_API const nib_block_type *nib_block_get(nib_block block);
NIB_API const nib_block_type *nib_block_find(const char *name);

/* Bytes of the blocks of a matrix. E_SHAPE where cols is no multiple of the block's elements. */
NIB_API nib_status nib_block_bytes(nib_block block, int64_t rows, int64_t cols, size_t *bytes_ret);
/* The planes that hold exactly what the blocks of a matrix hold: nib_unpack_blocks fills them. The
 * rule says which offsets there are and nothing else: quantizing by it does not make the blocks'
 * bytes. */
NIB_API nib_status nib_block_quant(nib_block block, int64_t rows, int64_t cols,
                                   nib_quant *quant_ret);

/* ---- devices, contexts, streams, memory ---- */

/* One device that nibble can use. */
typedef struct nib_device_info {
    char name[24];      /* what nib_open takes: "cpu", "ref", "opencl:0" */
    char model[128];    /* "AMD EPYC 9654", "NVIDIA H200" */
    char driver[128];   /* driver or runtime and its version; "" where there is none */
    char features[128]; /* instruction sets or extensions that nibble's kernels will use, separated
                           by spaces */
    uint64_t memory_bytes;
    int32_t units;     /* cores that the process may use, or compute units */
    int32_t quantizes; /* 0: the arithmetic self-test failed or could not run; `note` says why */
    char note[160];
} nib_device_info;

/* Fills at most `capacity` entries and sets *count_ret to how many devices there are. The CPU and
 * `ref` always exist. */
NIB_API nib_status nib_devices(nib_device_info *infos, size_t capacity, size_t *count_ret);

/* A kind of device that this library was built to use. */
typedef struct nib_backend_info {
    char name[16];   /* "cpu", "opencl" */
    int32_t devices; /* how many there are now */
    char note[160];  /* why there are none, or which were left out; "" otherwise */
} nib_backend_info;

/* The backends, in the order in which "auto" prefers them. 0 past the end. */
NIB_API int nib_backend_at(size_t index, nib_backend_info *info_ret);

typedef struct nib_ctx nib_ctx;       /* an open device */
typedef struct nib_stream nib_stream; /* an ordered queue of work on one context */

/* The caller's own threads: calls task(arg, i) for every i of 0..count-1, once each, at once or
 * one after the other, on any threads, and returns when all calls have. A context calls it from
 * any thread that works on it, one call at a time; meanwhile its other threads work alone. */
typedef void nib_parallel_for(void *user, int32_t count, void (*task)(void *arg, int32_t i),
                              void *arg);

typedef struct nib_options {
    size_t size;     /* sizeof(nib_options); later versions may add fields */
    int32_t threads; /* cpu: 0 = one per core, 1 = the calling thread only */
    void *native;    /* opencl: the caller's own cl_context, which holds the device and is retained
                        until nib_close; NULL: a new one. Elsewhere NULL: cuda uses the caller's
                        current context */
    nib_parallel_for *parallel_for; /* cpu: work is shared out by it, `threads` tasks at a time, and
                                       no thread is started; NULL: by threads of the context's own */
    void *parallel_user;            /* what parallel_for gets as `user` */
} nib_options;

/* Opens "auto" (the best device for quantizing), "cpu", "ref", "opencl:N" or "cuda:N". `options`
 * may be NULL. E_NO_DEVICE says which devices there are. The caller closes it, after its streams
 * and memory; NULL is fine. */
NIB_API nib_status nib_open(const char *device, const nib_options *options, nib_ctx **ctx_ret);
NIB_API void nib_close(nib_ctx *ctx);
/* The device's own name ("cpu", "opencl:0") and description. Valid until nib_close. */
NIB_API const nib_device_info *nib_ctx_device(const nib_ctx *ctx);
/* The cl_context or CUcontext that the context works in, borrowed; NULL on `cpu` and `ref`. */
NIB_API void *nib_ctx_native(const nib_ctx *ctx);

/* A new stream; the caller closes it (NULL is fine), which waits for its work. On `cpu` and `ref` a
 * call returns when its work is done; elsewhere work is asynchronous until nib_sync. */
NIB_API nib_status nib_stream_open(nib_ctx *ctx, nib_stream **stream_ret);
NIB_API void nib_stream_close(nib_stream *stream);
/* A stream over the caller's own queue: a CUstream or cudaStream_t of the context's device, or a
 * cl_command_queue, in-order and of the context's own cl_context (nib_options.native,
 * nib_ctx_native). It stays the caller's, and must outlive the stream; closing does not wait.
 * E_ARGUMENT on `cpu` and `ref`, and for another queue of OpenCL. */
NIB_API nib_status nib_stream_wrap(nib_ctx *ctx, void *native, nib_stream **stream_ret);
/* What the stream does from now on waits for `count` events: opencl: cl_event of its cl_context,
 * which the caller may release at once. The calling thread does not wait. On `cpu` and `ref` there
 * are no events: count must be 0. cuda: E_UNSUPPORTED; use the CUDA stream itself. */
NIB_API nib_status nib_stream_wait(nib_stream *stream, void *const *events, size_t count);
/* An event that is complete when all that the stream was given is: opencl: a cl_event, which the
 * caller releases. NULL on `cpu` and `ref`, where it is done already. cuda: E_UNSUPPORTED. */
NIB_API nib_status nib_stream_mark(nib_stream *stream, void **event_ret);
/* Waits for all work of the stream and returns its first asynchronous failure. */
NIB_API nib_status nib_sync(nib_stream *stream);

/* A span of memory that a context's kernels can use. Copy it, cut it (offset and bytes) as you
 * like. */
typedef struct nib_mem {
    void *handle;  /* cpu, ref: a pointer; opencl: a cl_mem; cuda: a device address */
    size_t offset; /* bytes from the handle */
    size_t bytes;  /* usable bytes from there; every call checks its arguments against this */
} nib_mem;

/* Memory of the device, uninitialised. The caller frees it; freeing a zeroed nib_mem is fine. */
NIB_API nib_status nib_alloc(nib_ctx *ctx, size_t bytes, nib_mem *mem_ret);
NIB_API void nib_free(nib_ctx *ctx, nib_mem *mem);
/* Wraps a pointer for contexts whose kernels use host memory (nib_host_memory says so: cpu and
 * ref). Borrowed. */
NIB_API nib_mem nib_wrap(void *pointer, size_t bytes);
NIB_API int nib_host_memory(const nib_ctx *ctx);
/* The part of `mem` that starts `offset` bytes in, of `bytes` bytes; the caller keeps it inside
 * `mem`. */
NIB_API nib_mem nib_slice(nib_mem mem, size_t offset, size_t bytes);
/* Copies between the host and the device, in stream order. The host memory must stay valid until
 * nib_sync. */
NIB_API nib_status nib_upload(nib_stream *stream, nib_mem dst, const void *src, size_t bytes);
NIB_API nib_status nib_download(nib_stream *stream, void *dst, nib_mem src, size_t bytes);

/* ---- operations ----
 *
 * All are ordered by the stream, allocate nothing and need the natural alignment of each plane's
 * element only (codes in 4-byte words where the layout says so). Empty tensors are fine.
 * E_UNSUPPORTED names the condition that no kernel of the device meets. Spans that a call writes
 * must not overlap any other span of the call. */

/* What to do with NaN and infinite inputs. */
typedef enum nib_nonfinite {
    /* The group is poisoned (NaN scale and codes 0; NaN range) and counted in the report. */
    NIB_NONFINITE_ERROR = 0,
    /* Taken as 0. */
    NIB_NONFINITE_ZERO = 1,
    /* Infinities become the largest finite value of the input's type, NaN becomes 0. */
    NIB_NONFINITE_SATURATE = 2,
} nib_nonfinite;

/* What a quantize or ranges call met; counts of groups. Memory of the device, 4-byte aligned; the
 * caller uploads NIB_REPORT_EMPTY first, and several calls may add to one report. Counts wrap at
 * 2^32. */
typedef struct nib_report {
    uint32_t nonfinite; /* groups with a NaN or infinite value */
    uint32_t first;     /* lowest index, in scale order, of such a group within its call; at most
                           2^32 - 2 */
    uint32_t empty;     /* groups of zeros (constant groups, under asym_min) */
    uint32_t underflow; /* other groups whose scale is too small for its type: they decode to 0, or
                           to their min */
    uint32_t saturated; /* groups whose scale or min was cut to the largest finite value of its
                           type */
} nib_report;
#ifdef __cplusplus
#define NIB_REPORT_EMPTY (nib_report{0, 0xffffffffu, 0, 0, 0})
#else
#define NIB_REPORT_EMPTY ((nib_report){0, 0xffffffffu, 0, 0, 0})
#endif

/* The range of one group. Subnormals count as 0; absmax = max(|min|, |max|). */
typedef struct nib_range {
    float min, max, absmax;
} nib_range;

/* Ranges of x [rows, cols] of type F32, F16 or BF16, one nib_range per scale of the grid, in scale
 * order. `report` may be a zeroed nib_mem. */
NIB_API nib_status nib_ranges(nib_stream *stream, const nib_grid *grid, nib_dtype type, nib_mem x,
                              nib_nonfinite nonfinite, nib_mem ranges, nib_mem report);

/* Quantizes x [rows, cols] into planes[NIB_PLANES], sized by nib_plane_bytes. Every byte of the
 * planes is written. The layout's zeros must run along the rows of the scales (canonical and
 * ct_int8 do; repack to others). planes[NIB_PLANE_OFFSETS] is ignored where the rule makes none;
 * `report` may be a zeroed nib_mem. */
NIB_API nib_status nib_quantize(nib_stream *stream, const nib_quant *quant, nib_dtype type,
                                nib_mem x, nib_nonfinite nonfinite,
                                const nib_mem planes[NIB_PLANES], nib_mem report);

/* Decodes into y [rows, cols] of type F32, F16 or BF16: in f32, then one round-to-nearest-even. A
 * group whose scale or min is not finite decodes to NaN (0x7fc00000, 0x7e00, 0x7fc0). The same
 * layouts as nib_quantize. */
NIB_API nib_status nib_dequantize(nib_stream *stream, const nib_quant *quant,
                                  const nib_mem planes[NIB_PLANES], nib_dtype type, nib_mem y);

/* Moves an integer plane (codes or zeros) of `quant` from its layout to `layout`, losslessly.
 * Padding becomes zero. */
NIB_API nib_status nib_repack(nib_stream *stream, const nib_quant *quant, nib_plane plane,
                              nib_mem src, nib_layout layout, nib_mem dst);

/* Quantizes x [rows, cols] into blocks, to the bytes that ggml's own quantizer makes
 * (docs/numerics.md section 10). importance: f32[cols], finite and not negative, the weight of
 * each column's error in every row; or a zeroed nib_mem. Experts that have each their own are
 * one call each. Q8_0 takes none. The report counts blocks: `empty` those of zeros, `underflow`
 * others whose scale is stored as 0, `saturated` those with a scale or min beyond F16, which is
 * stored as an infinity, as the origin does. A block poisoned under NIB_NONFINITE_ERROR is zero
 * but for its scale (and min), NaN. */
NIB_API nib_status nib_quantize_blocks(nib_stream *stream, nib_block block, int64_t rows,
                                       int64_t cols, nib_dtype type, nib_mem x, nib_mem importance,
                                       nib_nonfinite nonfinite, nib_mem blocks, nib_mem report);

/* Decodes into y [rows, cols] of type F32, F16 or BF16, as nib_dequantize would the unpacked
 * planes. */
NIB_API nib_status nib_dequantize_blocks(nib_stream *stream, nib_block block, int64_t rows,
                                         int64_t cols, nib_mem blocks, nib_dtype type, nib_mem y);

/* Unpacks blocks into the planes of nib_block_quant, canonical, losslessly: what takes planes
 * (errors, histograms, matmul) takes those. */
NIB_API nib_status nib_unpack_blocks(nib_stream *stream, nib_block block, int64_t rows,
                                     int64_t cols, nib_mem blocks,
                                     const nib_mem planes[NIB_PLANES]);

/* Converts `count` elements between F32, F16 and BF16, to nearest even; overflow gives an infinity,
 * NaN stays a quiet NaN. */
NIB_API nib_status nib_convert(nib_stream *stream, int64_t count, nib_dtype x_type, nib_mem x,
                               nib_dtype y_type, nib_mem y);

/* Sums over one block of at most 1024 consecutive elements of a row, in the fixed order of
 * docs/numerics.md section 6. */
typedef struct nib_error_block {
    float xx, yy, xy, ee; /* sums of x*x, y*y, x*y and (x-y)^2 */
    float max;            /* largest |x-y|; NaN where some x or y is NaN */
} nib_error_block;

/* How many blocks a [rows, cols] matrix has: each row is cut into segments of `segment` elements
 * (1..cols), each segment into blocks of 1024; a last one may be shorter. segment = cols measures
 * the tensor, segment = group each group. */
NIB_API nib_status nib_error_blocks(int64_t rows, int64_t cols, int64_t segment,
                                    int64_t *count_ret);

/* Compares x [rows, cols] with the decoded planes, block by block, in row order. blocks:
 * nib_error_block[count]. */
NIB_API nib_status nib_errors(nib_stream *stream, const nib_quant *quant, nib_dtype type, nib_mem x,
                              const nib_mem planes[NIB_PLANES], int64_t segment, nib_mem blocks);
/* Compares x with y [rows, cols], both of element types F32, F16 or BF16. */
NIB_API nib_status nib_errors_plain(nib_stream *stream, int64_t rows, int64_t cols,
                                    nib_dtype x_type, nib_mem x, nib_dtype y_type, nib_mem y,
                                    int64_t segment, nib_mem blocks);

/* Running totals on the host; start from zeros and add blocks in order, so that the result is the
 * same everywhere. */
typedef struct nib_error_total {
    double xx, yy, xy, ee, max;
    int64_t count; /* elements */
} nib_error_total;
NIB_API void nib_error_add(nib_error_total *total, const nib_error_block *blocks,
                           int64_t block_count, int64_t elements);
/* Mean squared error; signal to quantization noise in dB (infinite where there is no noise, NaN
 * where there is no signal); cosine of the angle (1 where both are zero). */
NIB_API double nib_error_mse(const nib_error_total *total);
NIB_API double nib_error_sqnr(const nib_error_total *total);
NIB_API double nib_error_cosine(const nib_error_total *total);

/* Adds to counts[2^bits] (uint32_t, caller-initialised) how often each code occurs. bits <= 8; at
 * most 2^32 - 1 elements a call. */
NIB_API nib_status nib_histogram(nib_stream *stream, const nib_quant *quant, nib_mem codes,
                                 nib_mem counts);

/* ---- environment ---- */

/* An environment variable that the library reads. Static storage. */
typedef struct nib_variable {
    const char *name;     /* "NIBBLE_CPU" */
    const char *argument; /* what it holds, in a word: "LEVEL" */
    const char *text;     /* one line */
} nib_variable;

/* The variables; NULL past the end. */
NIB_API const nib_variable *nib_variable_at(size_t index);

/* The directory in which built OpenCL programs are kept, whether it exists yet or not; 0 where none
 * are, or where its name needs more than `bytes` bytes. */
NIB_API int nib_cache_directory(char *path, size_t bytes);

/* ---- kernels ---- */

/* The names of a context's kernels, best first within an operation ("cpu.quantize.rows.avx512"):
 * for tests, benchmarks and NIBBLE_KERNEL, which forces one. NULL past the end. Static storage. */
NIB_API const char *nib_kernel_name(const nib_ctx *ctx, size_t index);

#ifdef __cplusplus
}
#endif
#endif
