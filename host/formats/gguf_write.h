/* gguf_write.h - the header of a GGUF file to be written (version 3). */
#ifndef NIB_FORMATS_GGUF_WRITE_H
#define NIB_FORMATS_GGUF_WRITE_H

#include "../../include/nibble_file.h"
#include "output_plan.h"
#include "text.h"

/* Appends keys to the text of a header. A failure sticks in `text->status`. */
void nib_gguf_put_number(nib_text *text, const char *name, nib_key_type type, uint64_t bits);
void nib_gguf_put_string(nib_text *text, const char *name, const char *value);
/* A key of an open file, byte for byte; its value is read from there. */
nib_status nib_gguf_put_key(nib_text *text, const nib_file *file, const nib_key *key);

/* The header of one shard, and the places of its tensors, in the order of `entries`. E_NAME,
 * E_RANK, E_DTYPE, E_ROW, E_OVERFLOW, E_MEMORY. */
nib_status nib_gguf_plan_shard(nib_planned_shard *shard, const nib_output_entry *entries,
                               int64_t count, const nib_output_options *options, int32_t number);

#endif
