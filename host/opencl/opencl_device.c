/* opencl_device.c - finds the devices of all platforms and what they can do. */
#include "opencl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEVICE_MAX = 32 };

static pthread_once_t find_once = PTHREAD_ONCE_INIT;
static nib_opencl_device devices[DEVICE_MAX];
static int device_count;
static char note[256];

/* Cut to `size`; the library itself would refuse a text that does not fit. */
static void device_text(cl_device_id id, cl_device_info what, char *text, size_t size)
{
    char whole[1024] = "";
    if (nib_cl.clGetDeviceInfo(id, what, sizeof whole - 1, whole, NULL) != CL_SUCCESS) whole[0] = 0;
    snprintf(text, size, "%s", whole);
}

static cl_uint device_uint(cl_device_id id, cl_device_info what)
{
    cl_uint value = 0;
    nib_cl.clGetDeviceInfo(id, what, sizeof value, &value, NULL);
    return value;
}

static cl_ulong device_ulong(cl_device_id id, cl_device_info what)
{
    cl_ulong value = 0;
    nib_cl.clGetDeviceInfo(id, what, sizeof value, &value, NULL);
    return value;
}

/* Why nibble's kernels cannot run on a device, or NULL. They load 16, 32 and 64-bit words of
 * little-endian planes and count in 64 bits. */
static const char *unfit(cl_device_id id)
{
    char version[64]; /* "OpenCL 1.2 ..." */
    int major = 0, minor = 0;
    device_text(id, CL_DEVICE_VERSION, version, sizeof version);
    if (sscanf(version, "OpenCL %d.%d", &major, &minor) != 2 || major * 10 + minor < 12)
        return "it is older than OpenCL 1.2";
    if (!device_uint(id, CL_DEVICE_AVAILABLE)) return "it is not available";
    if (!device_uint(id, CL_DEVICE_COMPILER_AVAILABLE)) return "it has no compiler";
    if (!device_uint(id, CL_DEVICE_ENDIAN_LITTLE)) return "it is big-endian";
    size_t lanes = 0;
    nib_cl.clGetDeviceInfo(id, CL_DEVICE_MAX_WORK_GROUP_SIZE, sizeof lanes, &lanes, NULL);
    if (lanes < 128) return "its work-groups hold fewer than 128 work-items";
    if (device_uint(id, CL_DEVICE_ADDRESS_BITS) != 64) return "its addresses are not 64-bit";
    return NULL;
}

/* PoCL before 6.0 counts the users of a loaded kernel wrongly where launches of different widths
 * are under way at once, and aborts (pocl_release_dlhandle_cache). Its kernels take all cores
 * anyway. */
static int takes_one_kernel(const char *platform_name, const char *driver)
{
    return !strcmp(platform_name, "Portable Computing Language") && atoi(driver) < 6;
}

/* Whether it adds 4 products of bytes, packed in words, at once: a feature of OpenCL C 3.0. */
static int has_dots(cl_device_id id, const char *version)
{
    enum { CAPABILITIES = 0x1073, PACKED = 1 << 0 }; /* of cl_khr_integer_dot_product */
    int major = 0;
    return sscanf(version, "OpenCL %d.", &major) == 1 && major >= 3 &&
           (device_ulong(id, CAPABILITIES) & PACKED);
}

static void describe(nib_opencl_device *d, const char *platform_name, const char *platform_version)
{
    char model[128], driver[64], version[128], vendor[128];
    device_text(d->id, CL_DEVICE_NAME, model, sizeof model);
    device_text(d->id, CL_DRIVER_VERSION, driver, sizeof driver);
    device_text(d->id, CL_DEVICE_VERSION, version, sizeof version);
    device_text(d->id, CL_DEVICE_VENDOR, vendor, sizeof vendor);
    snprintf(d->info.name, sizeof d->info.name, "opencl:%d", device_count);
    snprintf(d->info.driver, sizeof d->info.driver, "%.60s %s", platform_name, driver);
    cl_ulong single = device_ulong(d->id, CL_DEVICE_SINGLE_FP_CONFIG);
    int divides = (single & CL_FP_CORRECTLY_ROUNDED_DIVIDE_SQRT) != 0;
    d->is_cpu = (device_ulong(d->id, CL_DEVICE_TYPE) & CL_DEVICE_TYPE_CPU) != 0;
    int dots = has_dots(d->id, version);
    for (int i = 0; i < 2; i++)
        snprintf(i ? d->dot_options : d->options, sizeof d->options, "-cl-std=CL%s%s%s",
                 i && dots ? "3.0" : "1.2",
                 divides ? " -cl-fp32-correctly-rounded-divide-sqrt" : " -DNIB_DIVIDE_LONG",
                 d->is_cpu ? " -DNIB_CPU" : "");
    snprintf(d->info.features, sizeof d->info.features, "%s%s%s",
             divides ? "correctly-rounded-divide" : "", divides && dots ? " " : "",
             dots ? "integer-dot-product" : "");
    d->info.memory_bytes = device_ulong(d->id, CL_DEVICE_GLOBAL_MEM_SIZE);
    d->info.units = (int32_t)device_uint(d->id, CL_DEVICE_MAX_COMPUTE_UNITS);
    d->one_kernel = takes_one_kernel(platform_name, driver);
    d->max_alloc = device_ulong(d->id, CL_DEVICE_MAX_MEM_ALLOC_SIZE);
    snprintf(d->identity, sizeof d->identity, "%s|%s|%s|%s|%s|%s", platform_name, platform_version,
             vendor, model, version, driver);
    memcpy(d->info.model, model, sizeof model);
}

static void find_on(cl_platform_id platform)
{
    cl_device_id ids[DEVICE_MAX];
    cl_uint count = 0;
    char name[128] = "", version[128] = "";
    if (nib_cl.clGetDeviceIDs(platform, CL_DEVICE_TYPE_ALL, DEVICE_MAX, ids, &count) != CL_SUCCESS)
        return;
    nib_cl.clGetPlatformInfo(platform, CL_PLATFORM_NAME, sizeof name, name, NULL);
    nib_cl.clGetPlatformInfo(platform, CL_PLATFORM_VERSION, sizeof version, version, NULL);
    for (cl_uint i = 0; i < count && i < DEVICE_MAX && device_count < DEVICE_MAX; i++) {
        const char *reason = unfit(ids[i]);
        if (reason) {
            char model[96];
            device_text(ids[i], CL_DEVICE_NAME, model, sizeof model);
            snprintf(note, sizeof note, "device %.60s of %.40s is left out: %s", model, name,
                     reason);
            continue;
        }
        nib_opencl_device *d = &devices[device_count];
        d->platform = platform;
        d->id = ids[i];
        pthread_mutex_init(&d->mutex, NULL);
        describe(d, name, version);
        device_count++;
    }
}

static void find(void)
{
    const char *reason;
    if (!nib_opencl_load(&reason)) {
        snprintf(note, sizeof note, "%s", reason);
        return;
    }
    cl_platform_id platforms[DEVICE_MAX];
    cl_uint count = 0;
    cl_int error = nib_cl.clGetPlatformIDs(DEVICE_MAX, platforms, &count);
    if (error != CL_SUCCESS || count == 0) {
        char number[32];
        snprintf(note, sizeof note,
                 "the OpenCL library finds no platform (%s); install a driver, for a CPU "
                 "pocl-opencl-icd",
                 error ? nib_opencl_error(error, number) : "none");
        return;
    }
    for (cl_uint i = 0; i < count && i < DEVICE_MAX; i++) find_on(platforms[i]);
    if (device_count == 0 && !note[0])
        snprintf(note, sizeof note, "%u OpenCL platform%s, but none has a device", count,
                 count == 1 ? "" : "s");
}

nib_opencl_device *nib_opencl_devices(int *count_ret, const char **note_ret)
{
    pthread_once(&find_once, find);
    *count_ret = device_count;
    if (note_ret) *note_ret = note;
    return devices;
}
