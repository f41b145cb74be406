/* opencl_probe.c - does the device compute as docs/numerics.md section 2 asks? Asked once per
 * device and driver; the answer is kept beside the programs. */
#include "../../kernels/common/probe.h"
#include "../core/host_memory.h"
#include "opencl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { VECTORS = 65536, RESULTS = VECTORS * NIB_PROBE_COUNT };

static const char *const probe_names[NIB_PROBE_COUNT] = {
    [NIB_PROBE_MULTIPLY] = "multiplication",
    [NIB_PROBE_ADD] = "addition",
    [NIB_PROBE_MULTIPLY_ADD] = "a * b + c in two roundings",
    [NIB_PROBE_DIVIDE] = "division",
    [NIB_PROBE_RINT] = "rint",
    [NIB_PROBE_INTEGERS] = "int to float and back",
    [NIB_PROBE_TO_F16] = "f32 to f16",
    [NIB_PROBE_TO_BF16] = "f32 to bf16",
    [NIB_PROBE_FROM_F16] = "f16 to f32",
};

static nib_status run(nib_opencl *cl, cl_command_queue queue, cl_mem out, cl_kernel kernel,
                      uint32_t *results)
{
    const size_t items = VECTORS, lanes = 64;
    nib_mem span[NIB_SPANS] = {[NIB_OUT] = {out, 0, RESULTS * sizeof *results}};
    nib_args args = {.rows = VECTORS, .cols = 1};
    NIB_TRY(nib_opencl_set_args(cl, kernel, span, &args));
    cl_int error =
        nib_cl.clEnqueueNDRangeKernel(queue, kernel, 1, NULL, &items, &lanes, 0, NULL, NULL);
    if (error == CL_SUCCESS)
        error = nib_cl.clEnqueueReadBuffer(queue, out, CL_TRUE, 0, RESULTS * sizeof *results,
                                           results, 0, NULL, NULL);
    return error == CL_SUCCESS ? NIB_OK
                               : nib_opencl_fail(cl->device, "the self-test", error, "%s", "");
}

/* Runs the kernel with a queue and memory of its own. */
static nib_status collect(nib_opencl *cl, uint32_t *results)
{
    cl_program program;
    cl_int error;
    NIB_TRY(nib_opencl_program(cl, NIB_MODULE_probe, &program));
    cl_command_queue queue = nib_cl.clCreateCommandQueue(cl->context, cl->device->id, 0, &error);
    if (error != CL_SUCCESS)
        return nib_opencl_fail(cl->device, "clCreateCommandQueue", error, "%s", "");
    nib_status status = NIB_OK;
    cl_mem out = nib_cl.clCreateBuffer(cl->context, CL_MEM_READ_WRITE, RESULTS * sizeof *results,
                                       NULL, &error);
    if (error != CL_SUCCESS)
        status = nib_opencl_fail(cl->device, "clCreateBuffer", error, "%s", "");
    else {
        cl_kernel kernel = nib_cl.clCreateKernel(program, "probe_vectors", &error);
        if (error != CL_SUCCESS)
            status = nib_opencl_fail(cl->device, "clCreateKernel", error, "probe_vectors");
        else {
            status = run(cl, queue, out, kernel, results);
            nib_cl.clReleaseKernel(kernel);
        }
        nib_cl.clReleaseMemObject(out);
    }
    nib_cl.clReleaseCommandQueue(queue);
    return status;
}

/* Compares with the host's arithmetic; the first difference in words, or "". */
static void judge(const uint32_t *results, char *reason, size_t size)
{
    uint32_t saved = nib_fp_enter();
    reason[0] = 0;
    for (uint32_t vector = 0; vector < VECTORS && !reason[0]; vector++)
        for (int probe = 0; probe < NIB_PROBE_COUNT && !reason[0]; probe++) {
            uint32_t got = results[vector * NIB_PROBE_COUNT + (uint32_t)probe],
                     expected = nib_probe(probe, vector);
            if (got != expected)
                snprintf(reason, size, "its %s is wrong: vector %u gives 0x%08x, not 0x%08x",
                         probe_names[probe], vector, got, expected);
        }
    nib_fp_leave(saved);
}

static void settle(nib_opencl_device *device, const char *reason, size_t length)
{
    snprintf(device->reason, sizeof device->reason, "%.*s", (int)length, reason);
    device->verdict = length ? NIB_FAILED : NIB_PASSED;
}

/* The self-test could not run, for the calling thread's last failure. Not kept: it may run next
 * time. */
static void settle_failed(nib_opencl_device *device)
{
    char failed[512];
    snprintf(failed, sizeof failed, "its self-test cannot run: %.470s", nib_last_error());
    settle(device, failed, strlen(failed));
}

/* What is kept: 'P' for passed, or 'F' and the reason. */
static void probe_now(nib_opencl_device *device, nib_opencl *cl, const nib_cache_key key)
{
    char kept[128];
    uint32_t *results = malloc(RESULTS * sizeof *results);
    if (!results || collect(cl, results) != NIB_OK) {
        if (!results) NIB_FAIL(NIB_E_MEMORY, "no memory for %zu bytes", RESULTS * sizeof *results);
        settle_failed(device);
    } else {
        judge(results, kept + 1, sizeof kept - 1);
        kept[0] = kept[1] ? 'F' : 'P';
        nib_cache_put(key, kept, strlen(kept));
        settle(device, kept + 1, strlen(kept + 1));
    }
    free(results);
}

static void probe_once(nib_opencl_device *device, nib_opencl *cl)
{
    char *source;
    if (nib_opencl_source(NIB_MODULE_probe, &source) != NIB_OK) {
        if (cl) settle_failed(device);
        return;
    }
    const nib_cache_key key = {"verdict", device->identity, device->options, source};
    size_t bytes;
    unsigned char *kept = nib_cache_get(key, &bytes);
    if (kept && bytes >= 1 && (kept[0] == 'P' || kept[0] == 'F'))
        settle(device, (const char *)kept + 1, kept[0] == 'P' ? 0 : bytes - 1);
    else if (cl) probe_now(device, cl, key);
    free(kept);
    free(source);
}

void nib_opencl_probe(nib_opencl_device *device, nib_opencl *cl)
{
    pthread_mutex_lock(&device->mutex);
    if (device->verdict == NIB_UNTESTED) probe_once(device, cl);
    pthread_mutex_unlock(&device->mutex);
}
