/* args.h - the numbers of one launch, the same 320 bytes in C, OpenCL and CUDA; each backend passes
 * it by value beside the spans below. Only host/core/request*.c fill it. */
#ifndef NIB_ARGS_H
#define NIB_ARGS_H

#include "prelude.h"

/* The spans of a launch, in argument order, by role. */
enum {
    NIB_X = 0,       /* elements in: what is quantized, measured, converted; blocks in */
    NIB_CODES = 1,   /* the codes plane; of repack: the source plane */
    NIB_SCALES = 2,  /* of quantize_blocks: the importance, or absent */
    NIB_OFFSETS = 3, /* zeros or mins */
    NIB_Y = 4, /* elements out of dequantize and convert; the other side of errors; the target plane
                  of repack */
    NIB_OUT = 5,    /* ranges, error blocks, counts, blocks out */
    NIB_REPORT = 6, /* the report of ranges and quantize, or absent */
    NIB_SPANS = 7,
    /* The cpu's kernels get one more: memory of their thread, aligned to 64, of any contents.
     * The stack of a caller's thread may be small. */
    NIB_SCRATCH = 7,
    NIB_HOST_SPANS = 8,
    NIB_SCRATCH_BYTES = 1 << 19,

    /* What the operations of a matmul call them.
     *   pack      codes, scales, offsets (planes) -> NIB_Y (packed weights)
     *   acts      NIB_X, NIB_SCALES and NIB_OFFSETS (given: STATIC, CODES) -> NIB_OUT (prepared x)
     *   matmul    NIB_X (x, or prepared x), NIB_WEIGHTS, NIB_BIAS -> NIB_Y; where split > 1 by way of
     *             NIB_COUNTERS (a u32 per tile, zero between runs) and NIB_PARTIALS (f32
     *             [tiles][split][tile_m][tile_n]) */
    NIB_WEIGHTS = NIB_CODES,
    NIB_BIAS = NIB_OFFSETS,
    NIB_COUNTERS = NIB_OUT,
    NIB_PARTIALS = NIB_REPORT,
};

/* Names of the enums' numbers for OpenCL and CUDA, which cannot include nibble.h. Asserted equal in
 * request.c. */
enum { NIB_T_F32 = 1, NIB_T_F16 = 2, NIB_T_BF16 = 3 };
enum { NIB_O_NONE = 0, NIB_O_ZERO = 1, NIB_O_MIN = 2 };
enum { NIB_N_ERROR = 0, NIB_N_ZERO = 1, NIB_N_SATURATE = 2 };
enum { NIB_RANGE_ABS, NIB_RANGE_SIGNED, NIB_RANGE_SPAN0, NIB_RANGE_SPAN };
enum { NIB_DIVISOR_HALF, NIB_DIVISOR_FULL, NIB_DIVISOR_SIGNED, NIB_DIVISOR_LEVELS };
enum { NIB_EMPTY_ZERO, NIB_EMPTY_EPS };
enum { NIB_AXIS_COLS, NIB_AXIS_ROWS };
enum { NIB_WORDS_ROW, NIB_WORDS_STRIDED };
enum { NIB_A_FLOAT, NIB_A_DYNAMIC, NIB_A_STATIC, NIB_A_CODES };
enum { NIB_T_I8 = 7 };
enum { NIB_SUB_NONE, NIB_SUB_NIBBLES, NIB_SUB_SIXES, NIB_SUB_PAIRS, NIB_SUB_BYTES, NIB_SUB_SPLIT };
enum { NIB_CODES_PLAIN, NIB_CODES_FLIP, NIB_CODES_IQ4 };
/* The importance: none, one that needs sums over the block, one that needs them over the row. */
enum { NIB_W_NONE, NIB_W_BLOCK, NIB_W_ROW };
enum { NIB_NOWHERE = 255 };
enum {
    NIB_B_Q4_0 = 2,
    NIB_B_Q4_1 = 3,
    NIB_B_Q5_0 = 6,
    NIB_B_Q5_1 = 7,
    NIB_B_Q8_0 = 8,
    NIB_B_Q2_K = 10,
    NIB_B_Q3_K = 11,
    NIB_B_Q4_K = 12,
    NIB_B_Q5_K = 13,
    NIB_B_Q6_K = 14,
    NIB_B_IQ4_NL = 20,
    NIB_B_IQ4_XS = 23
};

/* Where the bits of an integer plane of [rows, cols] elements lie: the layout row, with its numbers
 * worked out. */
typedef struct nib_place {
    nib_i64 streams; /* how many bit streams */
    nib_i64 length;  /* elements in each */
    nib_i64 pitch;   /* bytes of each, rounded up as the layout says */
    nib_i32
        axis; /* NIB_AXIS_COLS: stream = row, index = column; NIB_AXIS_ROWS: the other way round */
    nib_i32 strided; /* 1: 32-bit word w of stream s is word w * streams + s of the plane */
    nib_i32 width;   /* bits an element takes */
    nib_i32 flip;    /* xor of each element: 0, or 1 << (width - 1) */
} nib_place;

/* How a block keeps its bits: the block row of nibble_schemes.def. */
typedef struct nib_block_form {
    nib_i32 block; /* ggml's number; 0 where the call has no blocks */
    nib_i32 elements, bytes;
    nib_u8 group;
    nib_u8 low_at, low_bits, low_run;
    nib_u8 high_at, high_bits, high_run;
    nib_u8 d_at, m_at, sub_at, sub, codes;
} nib_block_form;

/* The numbers of a matmul: pack, acts, matmul. rows and cols of nib_args are N and K.
 *
 * Packed weights: codes as w' = u - 2^(bits-1), in 4 or 8 bits; scales; offsets: z' = z -
 * 2^(bits-1) as int8, or mins; sums of w' over each group, int32. How each lies is the pack's
 * (kernels/<backend>).
 *
 * Prepared x, where x_form is not 0: x_rows rows of pack_cols elements of type x_form, zeros
 * behind K and behind m; then, for I8 alone, f32 scales[x_rows], int32 zeros[x_rows] and, where
 * the weights have offsets, int32 sums[x_rows][scale_cols] of the codes of each group. */
typedef struct nib_product {
    nib_i64 m;                              /* rows of x and y */
    nib_i64 x_pitch, y_pitch;               /* elements from one row to the next */
    nib_i64 pack_rows, pack_cols;           /* N and K, rounded up as the pack needs */
    nib_i64 scales_at, offsets_at, sums_at; /* where they begin in the packed weights, in bytes */
    nib_i64 x_rows;                         /* m, rounded up to tile_m */
    nib_i32 pack_bits;                      /* 4 or 8: bits a packed code takes */
    nib_i32 scale_bytes;                    /* of a packed scale or min: 2 (as stored) or 4 (f32) */
    nib_i32 x_form;         /* NIB_T_*: prepared x; 0: x itself, with its own pitch */
    nib_i32 acts;           /* NIB_A_* */
    nib_i32 x_zeros;        /* codes of x have zero points */
    nib_i32 x_one;          /* the caller gives one scale (and zero) for all rows */
    nib_i32 bias_type;      /* NIB_T_*, or 0 */
    nib_i32 tile_m, tile_n; /* what one work item of matmul covers */
    nib_i32 split;          /* how many work items share one tile, along K */
} nib_product;

typedef struct nib_args {
    nib_i64 rows, cols;     /* the matrix */
    nib_i64 period, group;  /* nib_grid */
    nib_i64 scale_cols;     /* ceil(cols / group) */
    nib_i64 segment;        /* errors: nib_error_blocks' segment */
    nib_i64 segment_blocks; /* blocks of 1024 in one segment */
    nib_place codes; /* quantize, dequantize, errors, histogram; the source plane of repack */
    nib_place other; /* the zeros plane; the target plane of repack */
    nib_i32 bits;    /* of a code; 0 for errors against plain elements */
    nib_i32 x_type, y_type;             /* NIB_T_* */
    nib_i32 scale_type;                 /* NIB_T_* */
    nib_i32 offset;                     /* NIB_O_* */
    nib_i32 range, divisor, low, empty; /* the rule's columns */
    nib_i32 nonfinite;                  /* NIB_N_* */
    nib_i32 has_report;                 /* NIB_REPORT is there */
    nib_i32 weights;                    /* quantize_blocks: NIB_W_* */
    nib_block_form form;                /* group is its `elements` in calls on blocks */
    nib_product p;
} nib_args;

/* Where the parts of prepared x begin, in bytes; the end is the size of it all. */
#define NIB_X_BYTES(form) ((form) == NIB_T_I8 ? 1 : (form) == NIB_T_F32 ? 4 : 2)
#define NIB_X_SCALES_AT(a)                                                                         \
    (((a).p.x_rows * (a).p.pack_cols * NIB_X_BYTES((a).p.x_form) + 3) / 4 * 4)
#define NIB_X_ZEROS_AT(a) (NIB_X_SCALES_AT(a) + 4 * (a).p.x_rows)
#define NIB_X_SUMS_AT(a) (NIB_X_ZEROS_AT(a) + 4 * (a).p.x_rows)
#define NIB_X_END(a)                                                                               \
    ((a).p.x_form != NIB_T_I8   ? NIB_X_SCALES_AT(a)                                               \
     : (a).offset == NIB_O_NONE ? NIB_X_SUMS_AT(a)                                                 \
                                : NIB_X_SUMS_AT(a) + 4 * (a).p.x_rows * (a).scale_cols)

#endif
