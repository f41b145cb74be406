/* backend.h - what a backend is: device plumbing behind one small table. A backend knows devices,
 * modules and queues; it knows no scheme, rule or layout. To add one: CONTRIBUTING.md. */
#ifndef NIB_CORE_BACKEND_H
#define NIB_CORE_BACKEND_H

#include "kernel.h"

typedef struct nib_backend {
    const char *name;
    int numbered;    /* devices are "name:N"; 0: there is one, "name" */
    int host_memory; /* kernels take host pointers */

    /* How many devices there are; 0 where the driver is absent. Never fails. */
    int (*count)(void);
    /* Why there are no devices, or which were left out; "" where all is well. NULL: there always
     * are. */
    const char *(*note)(void);
    /* Describes device `index`: fast, no compilation. After `open`, with what opening found. */
    nib_status (*describe)(int index, nib_device_info *info_ret);

    /* impl_ret: the backend's own state of a context. */
    nib_status (*open)(int index, const nib_options *options, void **impl_ret);
    void (*close)(void *impl);
    uint32_t (*features)(void *impl); /* feature bits for kernel rows */
    int takes_native;                 /* options->native may be a context of the caller's */
    void *(*native)(void *impl);      /* nib_ctx_native; NULL: there is none */

    /* native: the caller's own queue, which stays the caller's (checked by nobody); NULL: a new
     * one. */
    nib_status (*stream_open)(void *impl, void *native, void **queue_ret);
    void (*stream_close)(void *impl, void *queue, int borrowed);
    nib_status (*sync)(void *impl, void *queue);
    /* nib_stream_wait (of one event or more) and nib_stream_mark. NULL: there are no events. */
    nib_status (*wait)(void *impl, void *queue, void *const *events, size_t count);
    nib_status (*mark)(void *impl, void *queue, void **event_ret);

    nib_status (*alloc)(void *impl, size_t bytes, void **handle_ret);
    void (*free)(void *impl, void *handle);
    nib_status (*upload)(void *impl, void *queue, nib_mem dst, const void *src, size_t bytes);
    nib_status (*download)(void *impl, void *queue, void *dst, nib_mem src, size_t bytes);

    /* Runs the kernel's launches in stream order. `items` > 0 for the first. */
    nib_status (*launch)(void *impl, void *queue, const nib_kernel *kernel,
                         const nib_request *request);

    /* Does what the kernel's first launch on the queue would have to do besides launching: compile,
     * look up, allocate. NULL: nothing. */
    nib_status (*load)(void *impl, void *queue, const nib_kernel *kernel);

    /* Best first within an operation; the last row of each has no condition. */
    const nib_kernel *kernels;
    size_t kernel_count;
} nib_backend;

/* The backends, in the order in which devices are listed. */
#define NIB_BACKENDS(X) X(cpu) X(ref) X(opencl) X(cuda)
#define X(name) extern const nib_backend nib_backend_##name;
NIB_BACKENDS(X)
#undef X

struct nib_ctx {
    const nib_backend *backend;
    void *impl;
    uint32_t features;
    nib_device_info info;
};

struct nib_stream {
    nib_ctx *ctx;
    void *queue;
    int borrowed; /* the caller's own queue */
};

/* The first kernel row of the context's backend that accepts the request, or the row that `forced`
 * (a name) or NIBBLE_KERNEL names. E_UNSUPPORTED with the first refusal of each row in
 * nib_last_error. host/core/plan.c. */
nib_status nib_plan(const nib_ctx *ctx, const nib_request *request, const char *forced,
                    const nib_kernel **kernel_ret);

/* Why a row refuses a request: a static text, or NULL where it accepts. */
const char *nib_kernel_refusal(const nib_kernel *kernel, uint32_t features,
                               const nib_request *request);

/* Plans and launches a validated request; what every public operation ends in, and what tests call
 * to force a row. */
nib_status nib_run(nib_stream *stream, const nib_request *request, const char *forced);

#endif
