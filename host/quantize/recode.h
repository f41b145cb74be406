/* recode.h - tiles of rows that change from one of GGUF's stored types to another:
 *
 *     plain -> blocks:  X --quantize--> CODES --dequantize--> Y (f32) --compare with X--> BLOCKS
 *     blocks -> blocks: X --dequantize--> WIDE (f32), then the same with WIDE for X
 *     to plain:         X --dequantize or convert--> CODES
 *
 * Rows are independent, so any tile gives the same bytes. */
#ifndef NIB_QUANTIZE_RECODE_H
#define NIB_QUANTIZE_RECODE_H

#include "job.h"
#include "stage.h"

/* Raises bytes[] to what a tile of `rows` rows needs. E_OVERFLOW, E_SHAPE. */
nib_status nib_recode_need(const nib_unit *unit, int64_t rows, size_t bytes[NIB_STAGE_BUFFERS]);

/* How many error blocks a tile has; 0 where it is not measured. */
nib_status nib_recode_blocks(const nib_unit *unit, int64_t rows, int64_t *blocks_ret);

/* Reads rows first.. and makes their new bytes: then the stage's CODES hold *bytes_ret bytes of
 * output, BLOCKS the error blocks and REPORT the report, all on the host. E_NONFINITE names the
 * tensor, what is wrong and where. */
nib_status nib_recode_tile(const nib_job *job, const nib_unit *unit, nib_stage *stage,
                           int64_t first, int64_t rows, size_t *bytes_ret);

#endif
