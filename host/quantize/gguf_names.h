/* gguf_names.h - what a safetensors checkpoint becomes as GGUF: its architecture, and the names and
 * the order of rows that llama.cpp wants. */
#ifndef NIB_QUANTIZE_GGUF_NAMES_H
#define NIB_QUANTIZE_GGUF_NAMES_H

#include "../../include/nibble_quantize.h"

enum { NIB_GGUF_NAME_ROOM = 64 }; /* a name with its NUL */

/* The architecture of an image model, by its tensors' names; NULL where none is recognised. Static
 * storage. */
const char *nib_gguf_guess_architecture(const nib_file *input);

/* 1: nibble knows the names of the language models of that architecture. */
int nib_gguf_knows_names(const char *architecture);
/* The tensor's name in GGUF; "" where it is left out. E_NAME where it has no place there. */
nib_status nib_gguf_rename(const char *architecture, const char *name,
                           char renamed_ret[NIB_GGUF_NAME_ROOM]);
/* 1: q, 2: k of an architecture whose rotary embedding pairs neighbours, where transformers pairs
 * halves; 0: rows stay. Of a name in GGUF. */
int nib_gguf_is_permuted(const char *architecture, const char *renamed);

/* The row of the input that becomes row `row`, where heads of `head_rows` rows are permuted. */
static inline int64_t nib_gguf_source_row(int64_t row, int64_t head_rows)
{
    int64_t in = row % head_rows;
    return row - in + in % 2 * (head_rows / 2) + in / 2;
}

#endif
