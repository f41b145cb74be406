/* opencl_library.c - loads the OpenCL library by name, so that one nibble runs with and without. */
#include "opencl.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>

nib_opencl_functions nib_cl;

static pthread_once_t load_once = PTHREAD_ONCE_INIT;
static char load_reason[256];

/* The library stays loaded: its threads outlive any context. */
static void load(void)
{
    const char *path = nib_env_get(NIB_ENV_OPENCL_LIB);
    void *library = dlopen(path ? path : "libOpenCL.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        snprintf(
            load_reason, sizeof load_reason,
            "the OpenCL library cannot be loaded (%s); install ocl-icd-libopencl1 and a driver",
            dlerror());
        return;
    }
#define X(function)                                                                                \
    *(void **)&nib_cl.function = dlsym(library, #function);                                        \
    if (!nib_cl.function) {                                                                        \
        snprintf(load_reason, sizeof load_reason,                                                  \
                 "the OpenCL library %s lacks %s; OpenCL 1.2 has it",                              \
                 path ? path : "libOpenCL.so.1", #function);                                       \
        return;                                                                                    \
    }
    NIB_OPENCL_FUNCTIONS(X)
#undef X
}

const nib_opencl_functions *nib_opencl_load(const char **reason_ret)
{
    pthread_once(&load_once, load);
    *reason_ret = load_reason;
    return load_reason[0] ? NULL : &nib_cl;
}

#define PLATFORM_NOT_FOUND (-1001) /* of cl_khr_icd, whose header is another file */

const char *nib_opencl_error(cl_int error, char buffer[32])
{
    static const struct {
        cl_int code;
        const char *name;
    } errors[] = {
#define E(name) {name, #name}
        E(CL_DEVICE_NOT_FOUND),
        E(CL_DEVICE_NOT_AVAILABLE),
        E(CL_COMPILER_NOT_AVAILABLE),
        E(CL_MEM_OBJECT_ALLOCATION_FAILURE),
        E(CL_OUT_OF_RESOURCES),
        E(CL_OUT_OF_HOST_MEMORY),
        E(CL_PROFILING_INFO_NOT_AVAILABLE),
        E(CL_MEM_COPY_OVERLAP),
        E(CL_BUILD_PROGRAM_FAILURE),
        E(CL_MAP_FAILURE),
        E(CL_MISALIGNED_SUB_BUFFER_OFFSET),
        E(CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST),
        E(CL_COMPILE_PROGRAM_FAILURE),
        E(CL_LINKER_NOT_AVAILABLE),
        E(CL_LINK_PROGRAM_FAILURE),
        E(CL_KERNEL_ARG_INFO_NOT_AVAILABLE),
        E(CL_INVALID_VALUE),
        E(CL_INVALID_DEVICE_TYPE),
        E(CL_INVALID_PLATFORM),
        E(CL_INVALID_DEVICE),
        E(CL_INVALID_CONTEXT),
        E(CL_INVALID_QUEUE_PROPERTIES),
        E(CL_INVALID_COMMAND_QUEUE),
        E(CL_INVALID_HOST_PTR),
        E(CL_INVALID_MEM_OBJECT),
        E(CL_INVALID_BINARY),
        E(CL_INVALID_BUILD_OPTIONS),
        E(CL_INVALID_PROGRAM),
        E(CL_INVALID_PROGRAM_EXECUTABLE),
        E(CL_INVALID_KERNEL_NAME),
        E(CL_INVALID_KERNEL_DEFINITION),
        E(CL_INVALID_KERNEL),
        E(CL_INVALID_ARG_INDEX),
        E(CL_INVALID_ARG_VALUE),
        E(CL_INVALID_ARG_SIZE),
        E(CL_INVALID_KERNEL_ARGS),
        E(CL_INVALID_WORK_DIMENSION),
        E(CL_INVALID_WORK_GROUP_SIZE),
        E(CL_INVALID_WORK_ITEM_SIZE),
        E(CL_INVALID_GLOBAL_OFFSET),
        E(CL_INVALID_EVENT_WAIT_LIST),
        E(CL_INVALID_EVENT),
        E(CL_INVALID_OPERATION),
        E(CL_INVALID_BUFFER_SIZE),
        E(CL_INVALID_GLOBAL_WORK_SIZE),
        E(CL_INVALID_PROPERTY),
        E(CL_INVALID_COMPILER_OPTIONS),
        E(CL_INVALID_LINKER_OPTIONS),
#undef E
        {PLATFORM_NOT_FOUND, "CL_PLATFORM_NOT_FOUND_KHR"},
    };
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++)
        if (errors[i].code == error) return errors[i].name;
    snprintf(buffer, 32, "CL error %d", error);
    return buffer;
}

static nib_status status_of(cl_int error)
{
    switch (error) {
    case CL_MEM_OBJECT_ALLOCATION_FAILURE:
    case CL_OUT_OF_HOST_MEMORY:
    case CL_INVALID_BUFFER_SIZE: return NIB_E_MEMORY;
    case CL_DEVICE_NOT_AVAILABLE: return NIB_E_DEVICE_LOST;
    default: return NIB_E_DEVICE;
    }
}

nib_status nib_opencl_fail(const nib_opencl_device *device, const char *call, cl_int error,
                           const char *format, ...)
{
    char rest[512], number[32];
    va_list args;
    va_start(args, format);
    vsnprintf(rest, sizeof rest, format, args);
    va_end(args);
    return NIB_FAIL(status_of(error), "%s: %s failed: %s%s%s", device->info.name, call,
                    nib_opencl_error(error, number), rest[0] ? ": " : "", rest);
}
