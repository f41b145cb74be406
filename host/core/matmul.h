/* matmul.h - what a plan is made of, for host/core/matmul*.c and the tests that force a kernel. */
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

/* A range of M, up to `to_m`, and what runs there; kernel NULL: nothing does. */
typedef struct nib_segment {
    int64_t to_m;
    const nib_kernel *kernel, *acts;
} nib_segment;

enum { NIB_MATMUL_SEGMENTS = 16 };

struct nib_matmul {
    nib_ctx *ctx;
    nib_args args; /* of max_m rows */
    nib_pack pack;
    const nib_kernel *packer;
    nib_segment segments[NIB_MATMUL_SEGMENTS];
    int segment_count;
    size_t weights_bytes, workspace_bytes;
    /* The workspace: counters (zero between runs; as many in every plan of a device, so that plans
     * can share a workspace), prepared x, partial sums. */
    int64_t counter_bytes, prepared_bytes, partial_bytes;
};

/* matmul_plan.c: sets what depends on the kernel and on m. */
void nib_matmul_for_kernel(nib_args *args, const nib_kernel *kernel, int64_t m);
/* How many items share K; 1: each sums all of it. */
int32_t nib_matmul_split(const nib_matmul *plan, const nib_kernel *kernel, const nib_args *args);

#endif
