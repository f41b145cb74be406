/* driver.h - the CUDA driver API by dlopen: the functions nibble uses, one row each, and the few
 * types they need, so that neither a toolkit nor a driver is needed to build or to start. Numbers
 * are those of cuda.h 13.0; tests/cuda_declarations.cpp compares them with it. */
#ifndef NIB_CUDA_DRIVER_H
#define NIB_CUDA_DRIVER_H

#include "../../include/nibble.h"

typedef int CUresult, CUdevice;
typedef unsigned long long CUdeviceptr;
typedef struct CUctx_st *CUcontext;
typedef struct CUmod_st *CUmodule;
typedef struct CUfunc_st *CUfunction;
typedef struct CUstream_st *CUstream;

enum {
    CUDA_SUCCESS = 0,
    CUDA_ERROR_OUT_OF_MEMORY = 2,
    CUDA_ERROR_NO_BINARY_FOR_GPU = 209,
    CUDA_ERROR_UNSUPPORTED_PTX_VERSION = 222,
    CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT = 16,
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR = 75,
    CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR = 76,
    CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES = 8,
    CU_STREAM_NON_BLOCKING = 1,
};

/* clang-format off */
/*    name                       exported symbol                  arguments */
#define NIB_CUDA_FUNCTIONS(X) \
    X(cuInit,                    cuInit,                         (unsigned flags)) \
    X(cuDriverGetVersion,        cuDriverGetVersion,             (int *version)) \
    X(cuGetErrorName,            cuGetErrorName,                 (CUresult error, const char **text)) \
    X(cuGetErrorString,          cuGetErrorString,               (CUresult error, const char **text)) \
    X(cuDeviceGetCount,          cuDeviceGetCount,               (int *count)) \
    X(cuDeviceGet,               cuDeviceGet,                    (CUdevice *device, int index)) \
    X(cuDeviceGetName,           cuDeviceGetName,                (char *name, int length, CUdevice device)) \
    X(cuDeviceTotalMem,          cuDeviceTotalMem_v2,            (size_t *bytes, CUdevice device)) \
    X(cuDeviceGetAttribute,      cuDeviceGetAttribute,           (int *value, int attribute, CUdevice device)) \
    X(cuDevicePrimaryCtxRetain,  cuDevicePrimaryCtxRetain,       (CUcontext *context, CUdevice device)) \
    X(cuDevicePrimaryCtxRelease, cuDevicePrimaryCtxRelease_v2,   (CUdevice device)) \
    X(cuCtxGetCurrent,           cuCtxGetCurrent,                (CUcontext *context)) \
    X(cuCtxGetDevice,            cuCtxGetDevice,                 (CUdevice *device)) \
    X(cuCtxPushCurrent,          cuCtxPushCurrent_v2,            (CUcontext context)) \
    X(cuCtxPopCurrent,           cuCtxPopCurrent_v2,             (CUcontext *context)) \
    X(cuStreamCreate,            cuStreamCreate,                 (CUstream *stream, unsigned flags)) \
    X(cuStreamDestroy,           cuStreamDestroy_v2,             (CUstream stream)) \
    X(cuStreamSynchronize,       cuStreamSynchronize,            (CUstream stream)) \
    X(cuMemAlloc,                cuMemAlloc_v2,                  (CUdeviceptr *address, size_t bytes)) \
    X(cuMemFree,                 cuMemFree_v2,                   (CUdeviceptr address)) \
    X(cuMemcpyHtoDAsync,         cuMemcpyHtoDAsync_v2,           (CUdeviceptr dst, const void *src, size_t bytes, CUstream stream)) \
    X(cuMemcpyDtoHAsync,         cuMemcpyDtoHAsync_v2,           (void *dst, CUdeviceptr src, size_t bytes, CUstream stream)) \
    X(cuModuleLoadData,          cuModuleLoadData,               (CUmodule *module, const void *image)) \
    X(cuModuleUnload,            cuModuleUnload,                 (CUmodule module)) \
    X(cuModuleGetFunction,       cuModuleGetFunction,            (CUfunction *function, CUmodule module, const char *name)) \
    X(cuFuncSetAttribute,        cuFuncSetAttribute,             (CUfunction function, int attribute, int value)) \
    X(cuLaunchKernel,            cuLaunchKernel,                 (CUfunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z, \
                                                                  unsigned block_x, unsigned block_y, unsigned block_z, \
                                                                  unsigned shared_bytes, CUstream stream, void **params, void **extra))
/* clang-format on */

typedef struct nib_cuda_driver {
#define X(name, symbol, arguments) CUresult(*name) arguments;
    NIB_CUDA_FUNCTIONS(X)
#undef X
} nib_cuda_driver;

/* The driver, loaded and initialised once; NULL where there is none, with the reason in *why_ret
 * (static text). */
const nib_cuda_driver *nib_cuda_load(const char **why_ret);

#endif
