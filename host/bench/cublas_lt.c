/* cublas_lt.c - loads cuBLASLt once. */
#include "cublas_lt.h"

#include <dlfcn.h>

const library *cublas_lt_load(void)
{
    static library lib;
    static int tried, works;
    if (tried++) return works ? &lib : NULL;
    static const char *const names[] = {"libcublasLt.so.13", "libcublasLt.so.12"};
    void *cublas = NULL;
    for (size_t i = 0; i < 2 && !cublas; i++) cublas = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    works = cublas != NULL;
#define X(name, symbol, arguments)                                                                 \
    works = works && (*(void **)&lib.name = dlsym(cublas, #symbol)) != NULL;
    CUBLAS(X)
#undef X
    size_t (*version)(void) = NULL;
    if (cublas) *(void **)&version = dlsym(cublas, "cublasLtGetVersion");
    snprintf(lib.name, sizeof lib.name, "cuBLASLt %zu", version ? version() : 0);
    return works ? &lib : NULL;
}
