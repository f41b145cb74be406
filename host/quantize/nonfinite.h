/* nonfinite.h - NaN and infinities in tensors that are to be quantized. */
#ifndef NIB_QUANTIZE_NONFINITE_H
#define NIB_QUANTIZE_NONFINITE_H

#include "job.h"

/* The index of the first element of F32, F16 or BF16 that is not finite, or -1. */
int64_t nib_nonfinite_find(const void *elements, nib_dtype type, int64_t count);

/* Makes NaN zero, and infinities zero or (`saturate`) the largest finite value. */
void nib_nonfinite_replace(void *elements, nib_dtype type, int64_t count, int saturate);

/* E_NONFINITE with the tensor's name, the element's index and its value. `first`: index of
 * elements[0] in the tensor. */
nib_status nib_nonfinite_fail(const nib_tensor *tensor, const void *elements, int64_t first,
                              int64_t count);

/* Reads every tensor that is to be quantized; those with NaN or infinities are left as they are
 * instead. */
nib_status nib_job_keep_nonfinite(nib_job *job, const volatile int *cancel);

#endif
