/* cublas_lt.h - cuBLASLt by dlopen: the functions, types and numbers that the bench uses,
 * written from cublasLt.h of CUDA 13, with which tests/cuda_declarations.cpp compares them. */
#ifndef NIB_BENCH_CUBLAS_LT_H
#define NIB_BENCH_CUBLAS_LT_H

#include "bench.h"

/* From library_types.h and cublasLt.h. */
enum {
    R_32F = 0,
    R_16F = 2,
    R_8I = 3,
    R_32I = 10,
    R_16BF = 14,
    COMPUTE_32F = 68,
    COMPUTE_32I = 72
};
enum { DESC_TRANSA = 3, OP_T = 1, PREF_MAX_WORKSPACE = 1 };

typedef struct heuristic {
    uint64_t algorithm[8];
    size_t workspace_bytes;
    int state;
    float waves;
    int reserved[4];
} heuristic;
_Static_assert(sizeof(heuristic) == 96, "cublasLtMatmulHeuristicResult_t");

/* A status of 0 is success; handles are pointers. */
/* clang-format off */
#define CUBLAS(X) \
    X(create,          cublasLtCreate,                        (void **lt)) \
    X(destroy,         cublasLtDestroy,                       (void *lt)) \
    X(desc_create,     cublasLtMatmulDescCreate,              (void **desc, int compute, int scale_type)) \
    X(desc_destroy,    cublasLtMatmulDescDestroy,             (void *desc)) \
    X(desc_set,        cublasLtMatmulDescSetAttribute,        (void *desc, int attribute, const void *value, size_t bytes)) \
    X(layout_create,   cublasLtMatrixLayoutCreate,            (void **layout, int type, uint64_t rows, uint64_t cols, int64_t pitch)) \
    X(layout_destroy,  cublasLtMatrixLayoutDestroy,           (void *layout)) \
    X(pref_create,     cublasLtMatmulPreferenceCreate,        (void **preference)) \
    X(pref_destroy,    cublasLtMatmulPreferenceDestroy,       (void *preference)) \
    X(pref_set,        cublasLtMatmulPreferenceSetAttribute,   (void *preference, int attribute, const void *value, size_t bytes)) \
    X(offer,           cublasLtMatmulAlgoGetHeuristic,        (void *lt, void *desc, void *a, void *b, void *c, void *d, void *preference, \
                                                               int wanted, heuristic *offers, int *count)) \
    X(multiply,        cublasLtMatmul,                        (void *lt, void *desc, const void *alpha, const void *a, void *a_layout, \
                                                               const void *b, void *b_layout, const void *beta, const void *c, void *c_layout, \
                                                               void *d, void *d_layout, const void *algorithm, void *workspace, \
                                                               size_t workspace_bytes, void *stream))
/* clang-format on */

typedef struct library {
    char name[BENCH_NAME]; /* "cuBLASLt 130100" */
#define X(name, symbol, arguments) int(*name) arguments;
    CUBLAS(X)
#undef X
} library;

/* Loaded once; NULL where it is not there. */
const library *cublas_lt_load(void);

#endif
