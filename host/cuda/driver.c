/* driver.c - loads libcuda once. */
#include "driver.h"

#include "../core/internal.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

static nib_cuda_driver driver;
static char why[256];
static int usable;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void load(void)
{
    static const struct {
        const char *symbol;
        size_t offset;
    } functions[] = {
#define X(name, symbol, arguments) {#symbol, offsetof(nib_cuda_driver, name)},
        NIB_CUDA_FUNCTIONS(X)
#undef X
    };
    const char *path = nib_env_get(NIB_ENV_CUDA_DRIVER);
    void *library = dlopen(path ? path : "libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (!library) {
        snprintf(why, sizeof why, "no NVIDIA driver (a GPU needs version 580 or later): %s",
                 dlerror());
        return;
    }
    for (size_t i = 0; i < sizeof functions / sizeof functions[0]; i++) {
        void *symbol = dlsym(library, functions[i].symbol);
        if (!symbol) {
            snprintf(why, sizeof why, "the NVIDIA driver lacks %s; version 580 or later is needed",
                     functions[i].symbol);
            return;
        }
        memcpy((char *)&driver + functions[i].offset, &symbol, sizeof symbol);
    }
    CUresult result = driver.cuInit(0);
    if (result != CUDA_SUCCESS) {
        const char *name = NULL; /* the toolkit's stub library answers 34 and knows no names */
        driver.cuGetErrorName(result, &name);
        snprintf(why, sizeof why, "cuInit: %s (%d)", name ? name : "?", result);
        return;
    }
    usable = 1;
}

const nib_cuda_driver *nib_cuda_load(const char **why_ret)
{
    pthread_once(&once, load);
    if (why_ret) *why_ret = usable ? "" : why;
    return usable ? &driver : NULL;
}
