/* matmul.h - what a plan is made of, for host/core/matmul.c and the tests that force a kernel. */
#ifndef NIB_CORE_MATMUL_H
#define NIB_CORE_MATMUL_H

#include "../../include/nibble_matmul.h"
#include "backend.h"

/* Packed weights: the numbers of a pack, and how many bytes they come to. */
nib_status nib_pack_numbers(nib_pack pack, nib_args *args, size_t *bytes_ret);
const char *nib_pack_name(nib_pack pack);

/* Checks a description and works out what does not depend on the kernel; p.m is max_m. */
nib_status nib_matmul_numbers(const nib_matmul_desc *desc, nib_args *args_ret);

/* nib_matmul_plan_open with the kernel row named `forced` alone: a run with an M that it does not
 * serve is E_UNSUPPORTED. NULL: every row. */
nib_status nib_matmul_plan_forced(nib_ctx *ctx, const nib_matmul_desc *desc, const char *forced,
                                  nib_matmul **plan_ret);

#endif
