/* opencl.h - what the files of the OpenCL backend share: the library's functions, devices,
 * programs, the disk cache and the self-test. */
#ifndef NIB_OPENCL_H
#define NIB_OPENCL_H

#define CL_TARGET_OPENCL_VERSION 120
#include <CL/cl.h>

#include "../core/backend.h"
#include "../core/internal.h"

#include <pthread.h>

/* ---- opencl_library.c: the library, loaded at run time ---- */

#define NIB_OPENCL_FUNCTIONS(X)                                                                    \
    X(clGetPlatformIDs)                                                                            \
    X(clGetPlatformInfo)                                                                           \
    X(clGetDeviceIDs)                                                                              \
    X(clGetDeviceInfo)                                                                             \
    X(clCreateContext)                                                                             \
    X(clRetainContext)                                                                             \
    X(clReleaseContext)                                                                            \
    X(clGetContextInfo)                                                                            \
    X(clCreateCommandQueue)                                                                        \
    X(clRetainCommandQueue)                                                                        \
    X(clReleaseCommandQueue)                                                                       \
    X(clGetCommandQueueInfo)                                                                       \
    X(clCreateBuffer)                                                                              \
    X(clReleaseMemObject)                                                                          \
    X(clEnqueueReadBuffer)                                                                         \
    X(clEnqueueWriteBuffer)                                                                        \
    X(clCreateProgramWithSource)                                                                   \
    X(clCreateProgramWithBinary)                                                                   \
    X(clBuildProgram)                                                                              \
    X(clGetProgramBuildInfo)                                                                       \
    X(clGetProgramInfo)                                                                            \
    X(clReleaseProgram)                                                                            \
    X(clCreateKernel)                                                                              \
    X(clReleaseKernel)                                                                             \
    X(clReleaseEvent)                                                                              \
    X(clGetKernelWorkGroupInfo)                                                                    \
    X(clSetKernelArg)                                                                              \
    X(clEnqueueNDRangeKernel)                                                                      \
    X(clEnqueueBarrierWithWaitList)                                                                \
    X(clEnqueueMarkerWithWaitList)                                                                 \
    X(clFlush)                                                                                     \
    X(clFinish)

typedef struct nib_opencl_functions {
#define X(function) __typeof__(function) *function;
    NIB_OPENCL_FUNCTIONS(X)
#undef X
} nib_opencl_functions;

/* The library's functions; NULL where it cannot be loaded, with the reason in words. Loaded once.
 */
const nib_opencl_functions *nib_opencl_load(const char **reason_ret);
/* The same, for code that holds a device. */
extern nib_opencl_functions nib_cl;

/* "CL_OUT_OF_RESOURCES" for -5; "CL error -N" for an unknown code, in `buffer`. */
const char *nib_opencl_error(cl_int error, char buffer[32]);
/* E_MEMORY, E_DEVICE_LOST or E_DEVICE, with "DEVICE: CALL failed: CL_NAME" and the printf-style
 * rest. */
struct nib_opencl_device;
__attribute__((format(printf, 4, 5))) nib_status
nib_opencl_fail(const struct nib_opencl_device *device, const char *call, cl_int error,
                const char *format, ...);

/* ---- opencl_device.c ---- */

typedef enum nib_opencl_verdict { NIB_UNTESTED, NIB_PASSED, NIB_FAILED } nib_opencl_verdict;

typedef struct nib_opencl_device {
    cl_platform_id platform;
    cl_device_id id;
    nib_device_info info;  /* but quantizes and note */
    char options[128];     /* of builds */
    char dot_options[128]; /* of modules that may use integer dot products */
    int is_cpu;            /* its kernels are built with NIB_CPU */
    uint64_t max_alloc;    /* bytes of the largest buffer */
    int one_kernel;        /* kernels of different queues must not be under way at once */
    char identity[1024];   /* everything that tells one compiler and device from another */
    pthread_mutex_t mutex; /* guards what follows */
    nib_opencl_verdict verdict;
    char reason[512]; /* where the verdict is NIB_FAILED */
} nib_opencl_device;

/* The devices of all platforms that can run nibble's kernels, found once; *note_ret: why there are
 * none, or what was left out, or "". */
nib_opencl_device *nib_opencl_devices(int *count_ret, const char **note_ret);

/* ---- opencl_program.c ---- */

typedef enum nib_opencl_module {
#define NIB_OPENCL_MODULE(module, path, blob, dots) NIB_MODULE_##module,
#include "opencl_sources.def"
    NIB_MODULE_COUNT
} nib_opencl_module;

/* A module's whole text, malloc'd and NUL-terminated. E_NOT_FOUND names the file where
 * NIBBLE_KERNEL_DIR lacks it. */
nib_status nib_opencl_source(nib_opencl_module module, char **source_ret);

/* A built program, from the disk cache where it is there. The caller releases it. */
nib_status nib_opencl_build(const nib_opencl_device *device, cl_context context,
                            nib_opencl_module module, cl_program *program_ret);

/* ---- opencl_cache.c: files of key and value, correct or absent ---- */

/* What a value depends on, as NUL-terminated parts: all are compared. */
enum { NIB_CACHE_PARTS = 4 };
typedef const char *nib_cache_key[NIB_CACHE_PARTS];

/* The value of a key (malloc'd), or NULL. A damaged or foreign file counts as absent. */
unsigned char *nib_cache_get(const nib_cache_key key, size_t *bytes_ret);
/* Keeps a value, replacing what was there in one step. Failing to is no error: the cache only saves
 * time. */
void nib_cache_put(const nib_cache_key key, const void *value, size_t bytes);

/* ---- opencl.c ---- */

typedef struct nib_opencl {
    nib_opencl_device *device;
    cl_context context;
    pthread_mutex_t mutex;                 /* guards what follows */
    cl_program programs[NIB_MODULE_COUNT]; /* NULL until first used */
    cl_event last;                         /* launched, where device->one_kernel; or NULL */
} nib_opencl;

/* The program of a module, built on first use. Borrowed. */
nib_status nib_opencl_program(nib_opencl *cl, nib_opencl_module module, cl_program *program_ret);

/* Sets the arguments of a kernel, common to all: args.h's spans, their offsets, its numbers. */
nib_status nib_opencl_set_args(const nib_opencl *cl, cl_kernel kernel,
                               const nib_mem span[NIB_SPANS], const nib_args *args);

/* ---- opencl_probe.c ---- */

/* Tests the device's arithmetic once per process, or takes the verdict of an earlier run from the
 * cache; sets the device's verdict and reason. `cl` may be NULL: then only the cache is asked. */
void nib_opencl_probe(nib_opencl_device *device, nib_opencl *cl);

#endif
