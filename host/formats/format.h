/* format.h - what a checkpoint format is to the rest of host/: how it stores a quantized tensor.
 * One row per format. (Reading: logical.c.)
 *
 * A checkpoint of one file has no config.json: its quantization_config stands in __metadata__, as a
 * string of JSON under that name, and is read from there. */
#ifndef NIB_FORMATS_FORMAT_H
#define NIB_FORMATS_FORMAT_H

#include "../../include/nibble_quantize.h"

enum { NIB_FORMAT_PLANES = 4 };

/* One raw tensor of a quantized logical tensor. */
typedef struct nib_format_plane {
    char *name; /* malloc'd; the caller frees */
    nib_dtype type;
    int32_t rank;
    int64_t shape[NIB_MAX_RANK];
    int source;              /* a nib_plane, or -1: constant bytes */
    unsigned char bytes[16]; /* where source is -1 */
    int32_t byte_count;
} nib_format_plane;

typedef struct nib_format {
    const char *name, *text;
    /* NULL where the format can carry the tensor so quantized; otherwise why not, in a few words
     * (static text). */
    const char *(*refusal)(const nib_tensor *tensor, const nib_scheme *scheme,
                           const nib_quant *quant);
    /* The raw tensors, in file order. */
    nib_status (*planes)(const nib_tensor *tensor, const nib_quant *quant,
                         nib_format_plane planes_ret[NIB_FORMAT_PLANES], int *count_ret);
    /* config.json with the quantization described (decisions of a whole job), or with its
     * description removed where no decision quantizes; all else stays byte for byte. `config` ""
     * where the input has none: the text then holds the description alone, or is "". E_UNSUPPORTED
     * where tensors stay quantized that cannot be described. malloc'd text; the caller frees. */
    nib_status (*config)(const char *config, const nib_decision *decisions, int64_t count,
                         char **text_ret);
} nib_format;

extern const nib_format nib_format_compressed_tensors;

#endif
