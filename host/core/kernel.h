/* kernel.h - operations, requests and kernel rows: what the planner matches and what a backend
 * launches. */
#ifndef NIB_CORE_KERNEL_H
#define NIB_CORE_KERNEL_H

#include "../../include/nibble_matmul.h"
#include "../../kernels/common/args.h"

/* Operations. A request names one; each backend has at least one row for each whose condition is
 * always met. */
#define NIB_OPS(X)                                                                                 \
    X(RANGES, "ranges")                                                                            \
    X(QUANTIZE, "quantize")                                                                        \
    X(DEQUANTIZE, "dequantize")                                                                    \
    X(REPACK, "repack")                                                                            \
    X(CONVERT, "convert")                                                                          \
    X(ERRORS, "errors")                                                                            \
    X(HISTOGRAM, "histogram")                                                                      \
    X(QUANTIZE_BLOCKS, "quantize_blocks")                                                          \
    X(DEQUANTIZE_BLOCKS, "dequantize_blocks")                                                      \
    X(UNPACK_BLOCKS, "unpack_blocks")                                                              \
    X(PACK, "pack")                                                                                \
    X(ACTS, "acts")                                                                                \
    X(MATMUL, "matmul")

typedef enum nib_op {
#define X(ID, name) NIB_OP_##ID,
    NIB_OPS(X)
#undef X
        NIB_OP_COUNT
} nib_op;

/* How weights are packed for a family of matmul kernels: one row each; the files that pack and read
 * them draw what lies where.
 *         ID        name       rows and columns are rounded up to, least bits of a code, bytes of a
 *                              scale (0: as stored), sums of each group's codes */
#define NIB_PACKS(X)                                                                               \
    X(PLAIN, "plain", 1, 1, 8, 4, 1)                                                               \
    X(PANEL, "panel", 64, 32, 4, 0, 0)                                                             \
    X(CL_PANEL, "cl_panel", 64, 32, 4, 4, 0)                                                       \
    X(FRAGMENTS, "fragments", 128, 128, 4, 0, 0)                                                   \
    X(FRAGMENTS_SUMS, "fragments_sums", 128, 128, 4, 0, 1)

typedef enum nib_pack {
    NIB_PACK_NONE,
#define X(ID, ...) NIB_PACK_##ID,
    NIB_PACKS(X)
#undef X
        NIB_PACK_COUNT
} nib_pack;

/* A validated call: complete numbers, and spans that are in bounds, aligned and do not overlap. */
typedef struct nib_request {
    nib_op op;
    nib_pack pack; /* pack, matmul: of the packed weights */
    nib_args args;
    nib_mem span[NIB_SPANS];
} nib_request;

/* What one work item of a launch is; nib_item_count says how many a request has. */
typedef enum nib_item {
    NIB_ITEM_NONE = 0, /* no launch */
    NIB_ITEM_CELL,     /* one scale, or one block: period * scale_cols */
    NIB_ITEM_ROW,      /* one row of the matrix */
    NIB_ITEM_RUN,      /* 32 elements of a row, which are whole bytes: rows * ceil(cols / 32) */
    NIB_ITEM_OCTET,    /* 8 elements of a row, which are `width` bytes: rows * ceil(cols / 8) */
    NIB_ITEM_BLOCK,    /* one error block: rows * segments * segment_blocks */
    NIB_ITEM_CHUNK,    /* 1024 consecutive elements, rows ignored */
    NIB_ITEM_BYTE,     /* one byte of the `other` plane */
    NIB_ITEM_PANEL,    /* pack: so many rows of W as the pack rounds up to */
    NIB_ITEM_TOKEN,    /* acts: one row of prepared x */
    NIB_ITEM_TILE, /* matmul: tile_m x tile_n elements of y, and a share of K where split > 1; tiles
                       run along N, then M, then shares */
    NIB_ITEM_ALL,  /* everything: one item */
} nib_item;

int64_t nib_item_count(nib_item item, const nib_args *args);

/* A kernel that runs on the host: items begin..end-1. Spans that a request lacks are NULL. */
typedef void nib_host_kernel(void *const span[NIB_HOST_SPANS], const nib_args *args, nib_i64 begin,
                             nib_i64 end);

typedef struct nib_launch {
    nib_item item;         /* NIB_ITEM_TILE: one item a block or work-group */
    nib_host_kernel *host; /* cpu, ref */
    const char *entry;     /* opencl, cuda: the entry point's name */
    const char *module;    /* opencl, cuda: the source file's stem */
    int32_t lanes;   /* threads that share one item. cuda: 1 to 32 (a warp), or a block; opencl:
                      1, or 0: a work-group, whose size stands in the source */
    int32_t threads; /* cuda: of a block; 0 = 256 */
    int32_t shared_bytes; /* cuda: dynamic shared memory of a block */
} nib_launch;

#define NIB_BIT(n) (UINT32_C(1) << (n))
#define NIB_ANY UINT32_MAX

/* Conditions on the grid and the planes, all of which must hold. */
enum {
    NIB_IF_ROWS = 1 << 0,       /* every row has its own scales: period == rows */
    NIB_IF_CODES = 1 << 1,      /* errors against codes; without it, against either */
    NIB_IF_PLAIN = 1 << 2,      /* errors against plain elements */
    NIB_IF_GROUP8 = 1 << 3,     /* group % 8 == 0, or one group per row */
    NIB_IF_GROUP32 = 1 << 4,    /* group % 32 == 0, or one group per row */
    NIB_IF_ONE_GROUP = 1 << 5,  /* one group per row */
    NIB_IF_WARP_GROUP = 1 << 6, /* group is 32, 64, 128 or 256 and divides the columns */
    NIB_IF_ALIGN16 = 1 << 7,    /* x, y and codes begin at multiples of 16 bytes; cols % 8 == 0 */
    NIB_IF_SEGMENT32 = 1 << 8,  /* segment % 32 == 0, or one segment per row */
    NIB_IF_NO_SUMS = 1 << 9,    /* the blocks need no sum over their row (NIB_W_ROW) */
    NIB_IF_GROUP64 = 1 << 10,   /* group % 64 == 0, or one group per row */
};

/* What a row of MATMUL has besides. A row of PACK has the pack alone. */
typedef struct nib_matmul_row {
    nib_pack pack;
    int32_t x_form;         /* NIB_T_I8, F32, F16, BF16: it reads prepared x; 0: x itself */
    int32_t tile_m, tile_n; /* of one item */
    int64_t from_m, to_m;   /* the M it serves; to_m 0 = any */
    nib_error_class error_class;
    /* How many items share a tile, for `tiles` tiles on a device of `units` units; NULL = 1. */
    int32_t (*split)(const nib_args *args, int64_t tiles, int32_t units);
} nib_matmul_row;

/* A kernel row. Masks have bit n for number n: bits of a code, element types, offsets. The name is
 * "<backend>.<op>.<what>", with ".<feature>" where there is one. */
typedef struct nib_kernel {
    const char *name;
    nib_op op;
    uint32_t bits, x_types, y_types, scale_types, offsets;
    uint32_t conditions;  /* NIB_IF_* */
    uint32_t features;    /* the backend's own feature bits that the device must have */
    nib_launch launch[2]; /* in order */
    int64_t max_cols;     /* of the matrix; 0 = any */
    uint32_t blocks;      /* block types, bit n for number n; 0 = any */
    nib_matmul_row matmul;
} nib_kernel;

#endif
