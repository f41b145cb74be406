/* block_source.h - where the searches of common/block_parts.h get the values of a block: global
 * memory, anew each time they are needed. */
#ifndef NIB_OPENCL_BLOCK_SOURCE_H
#define NIB_OPENCL_BLOCK_SOURCE_H

#include "spans.h"

typedef struct nib_source {
    __global const uchar *x;
    __global const float *importance;
    nib_i64 first;
    nib_i32 type, nonfinite, weighted;
    float mean;
} nib_source;

NIB_FN float nib_source_x(nib_source s, nib_i32 i)
{
    float x = nib_load(s.x, s.type, s.first + i);
    return nib_is_finite(x) ? x : nib_substitute(x, s.nonfinite, s.type);
}
NIB_FN float nib_source_weight(nib_source s, nib_i32 i) { return s.importance[i]; }
NIB_FN float nib_source_mean(nib_source s) { return s.mean; }

#endif
