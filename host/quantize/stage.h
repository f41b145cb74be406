/* stage.h - one lane's buffers on the host and on the device, and moving tiles through them. */
#ifndef NIB_QUANTIZE_STAGE_H
#define NIB_QUANTIZE_STAGE_H

#include "../../include/nibble_quantize.h"

/* What a stage holds: elements in, the planes, elements out, zeros in a packed layout, and error
 * blocks; for GGUF's blocks also elements that were decoded to be encoded anew, and the columns'
 * importance. */
typedef enum nib_stage_buffer {
    NIB_STAGE_X,
    NIB_STAGE_CODES,
    NIB_STAGE_SCALES,
    NIB_STAGE_OFFSETS,
    NIB_STAGE_Y,
    NIB_STAGE_PACKED,
    NIB_STAGE_BLOCKS,
    NIB_STAGE_REPORT,
    NIB_STAGE_WIDE,
    NIB_STAGE_IMPORTANCE,
    NIB_STAGE_BUFFERS
} nib_stage_buffer;

/* Bytes that each host buffer takes more: room for a direct read's edges. */
enum { NIB_STAGE_SLACK = 8192 };

typedef struct nib_stage {
    nib_ctx *ctx;
    nib_stream *stream;
    unsigned char *host[NIB_STAGE_BUFFERS]; /* aligned to 4096 */
    unsigned char *data[NIB_STAGE_BUFFERS]; /* where in them the bytes begin: of a direct read it
                                               may be further in */
    nib_mem device[NIB_STAGE_BUFFERS]; /* the host memory itself where kernels use host memory */
    double read_seconds, kernel_seconds, write_seconds;
    uint64_t read_bytes, written_bytes;
} nib_stage;

/* Takes buffers of these sizes; 0: none. E_MEMORY. nib_stage_close releases what there is, also
 * after a failure. */
nib_status nib_stage_open(nib_stage *stage, nib_ctx *ctx, const size_t bytes[NIB_STAGE_BUFFERS]);
void nib_stage_close(nib_stage *stage);

/* Between host and device buffers; nothing where they are one. */
nib_status nib_stage_up(nib_stage *stage, nib_stage_buffer buffer, size_t bytes);
nib_status nib_stage_down(nib_stage *stage, nib_stage_buffer buffer, size_t bytes);

/* Makes `bytes` bytes of the caller's stand in the device's buffer; they must stay until the
 * stream is synchronised. */
nib_status nib_stage_lend(nib_stage *stage, nib_stage_buffer buffer, const void *bytes,
                          size_t count);

/* Reads a span into a host buffer (data[] says where), and its time into the stage's account. */
nib_status nib_stage_read(nib_stage *stage, const nib_file *file, int32_t shard, uint64_t offset,
                          nib_stage_buffer buffer, size_t bytes);

/* The description of `rows` rows of a tensor that is cut by rows. */
nib_quant nib_tile_quant(const nib_quant *quant, int64_t rows);
/* Rows of a tile must be a multiple of this, but for a tensor's last. */
int64_t nib_tile_multiple(const nib_quant *quant);
/* Whether zeros are packed along the rows, so that kernels work on canonical ones. */
int nib_tile_repacks(const nib_quant *quant);
/* What kernels see: canonical zeros where the layout packs them. */
nib_quant nib_tile_kernel_quant(const nib_quant *quant, int64_t rows);

/* Adds to bytes[] what a tile of `rows` rows of the quantized tensor needs of the plane buffers. */
nib_status nib_tile_need(const nib_quant *quant, int64_t rows, size_t bytes[NIB_STAGE_BUFFERS]);

/* Reads the planes of rows first.. of a quantized tensor, uploads them and makes zeros
 * canonical: then the stage holds what nib_tile_kernel_quant describes. */
nib_status nib_stage_load_planes(nib_stage *stage, const nib_file *file, const nib_tensor *tensor,
                                 int64_t first, int64_t rows);

#endif
