/* cuda.h - the functions of the CUDA driver that the bench calls itself, by dlopen, one row
 * each: the streams that it lends to nibble and to cuBLASLt, their graphs, events, and kernels
 * that measure a roof. A status of 0 is success; handles are pointers. Written from cuda.h of
 * CUDA 13, with which tests/cuda_declarations.cpp compares them. */
#ifndef NIB_BENCH_CUDA_H
#define NIB_BENCH_CUDA_H

#include <stddef.h>

/* clang-format off */
#define BENCH_DRIVER(X) \
    X(module_load,    cuModuleLoadData,              (void **module, const void *image)) \
    X(find_kernel,    cuModuleGetFunction,           (void **function, void *module, const char *name)) \
    X(launch,         cuLaunchKernel,                (void *function, unsigned grid_x, unsigned grid_y, unsigned grid_z, \
                                                      unsigned block_x, unsigned block_y, unsigned block_z, \
                                                      unsigned shared_bytes, void *stream, void **params, void **extra)) \
    X(push,           cuCtxPushCurrent_v2,           (void *context)) \
    X(pop,            cuCtxPopCurrent_v2,            (void **context)) \
    X(device_get,     cuDeviceGet,                   (int *device, int ordinal)) \
    X(attribute,      cuDeviceGetAttribute,          (int *value, int attribute, int device)) \
    X(bus_id,         cuDeviceGetPCIBusId,           (char *text, int length, int device)) \
    X(stream_create,  cuStreamCreate,                (void **stream, unsigned flags)) \
    X(stream_destroy, cuStreamDestroy_v2,            (void *stream)) \
    X(event_create,   cuEventCreate,                 (void **event, unsigned flags)) \
    X(event_destroy,  cuEventDestroy_v2,             (void *event)) \
    X(event_record,   cuEventRecord,                 (void *event, void *stream)) \
    X(event_elapsed,  cuEventElapsedTime,            (float *milliseconds, void *begin, void *end)) \
    X(capture_begin,  cuStreamBeginCapture_v2,       (void *stream, int mode)) \
    X(capture_end,    cuStreamEndCapture,            (void *stream, void **graph)) \
    X(graph_destroy,  cuGraphDestroy,                (void *graph)) \
    X(instantiate,    cuGraphInstantiateWithFlags,   (void **instance, void *graph, unsigned long long flags)) \
    X(graph_launch,   cuGraphLaunch,                 (void *instance, void *stream)) \
    X(exec_destroy,   cuGraphExecDestroy,            (void *instance))
/* clang-format on */

enum {
    BENCH_STREAM_NON_BLOCKING = 1,
    BENCH_CAPTURE_THREAD = 1,      /* CU_STREAM_CAPTURE_MODE_THREAD_LOCAL */
    BENCH_ATTRIBUTE_L2_BYTES = 38, /* CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE */
};

typedef struct bench_driver {
#define X(name, symbol, arguments) int(*name) arguments;
    BENCH_DRIVER(X)
#undef X
} bench_driver;

/* The driver that nibble uses too, loaded once; NULL where it or a function of it is missing. */
const bench_driver *bench_driver_load(void);

/* The driver's number of the device "cuda:N"; -1 where there is none. */
int bench_cuda_device(const char *name);

#endif
