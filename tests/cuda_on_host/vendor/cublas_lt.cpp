// A stand-in for cuBLASLt, by the signatures and numbers of the real header: what `nibble bench` asks of it, in double,
// column-major as the manual says, on a stream of the stand-in driver. Of the four algorithms that it offers, the first
// is not for this product, the second does not launch, the third seems to take 100 s. CUBLAS_HOST_WRONG=1 makes the last
// column of every result wrong; CUBLAS_HOST_CAPTURE=0 makes products fail while their stream is captured.
#include <cublasLt.h>
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <dlfcn.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>

namespace
{

struct Layout {
    cudaDataType type;
    uint64_t rows, cols;
    int64_t pitch;
};

struct Description {
    cublasComputeType_t compute;
    cudaDataType scale;
    cublasOperation_t a, b;
};

struct Preference {
    size_t workspace;
};

const cublasStatus_t OK = CUBLAS_STATUS_SUCCESS, BAD = CUBLAS_STATUS_INVALID_VALUE;

template <class T> T *driver(const char *name)
{
    void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_NOLOAD);
    T *found = library ? reinterpret_cast<T *>(dlsym(library, name)) : nullptr;
    if (library) dlclose(library);
    return found;
}

bool is_set(const char *name, const char *value)
{
    const char *text = std::getenv(name);
    return text && !std::strcmp(text, value);
}

double element(const void *p, const Layout &l, uint64_t row, uint64_t col)
{
    size_t at = col * size_t(l.pitch) + row;
    switch (l.type) {
    case CUDA_R_16F: return double(__half2float(static_cast<const __half *>(p)[at]));
    case CUDA_R_16BF: return double(__bfloat162float(static_cast<const __nv_bfloat16 *>(p)[at]));
    default: return static_cast<const int8_t *>(p)[at];
    }
}

void store(void *p, const Layout &l, uint64_t row, uint64_t col, double value)
{
    size_t at = col * size_t(l.pitch) + row;
    switch (l.type) {
    case CUDA_R_16F: static_cast<__half *>(p)[at] = __float2half_rn(float(value)); break;
    case CUDA_R_16BF:
        static_cast<__nv_bfloat16 *>(p)[at] = __float2bfloat16_rn(float(value));
        break;
    default: static_cast<int32_t *>(p)[at] = int32_t(value);
    }
}

// d = a^T b, which is all that the bench asks for.
void multiply(const void *a, Layout al, const void *b, Layout bl, void *d, Layout dl)
{
    for (uint64_t m = 0; m < dl.cols; m++)
        for (uint64_t n = 0; n < dl.rows; n++) {
            double sum = 0;
            for (uint64_t k = 0; k < al.rows; k++)
                sum += element(a, al, k, n) * element(b, bl, k, m);
            if (is_set("CUBLAS_HOST_WRONG", "1") && n + 1 == dl.rows) sum = sum * 2 + 1;
            store(d, dl, n, m, sum);
        }
}

bool fit(const Description &d, const Layout &a, const Layout &b, const Layout &c)
{
    bool whole = d.compute == CUBLAS_COMPUTE_32I;
    if (d.a != CUBLAS_OP_T || d.b != CUBLAS_OP_N || a.type != b.type) return false;
    if (d.scale != (whole ? CUDA_R_32I : CUDA_R_32F) || (!whole && d.compute != CUBLAS_COMPUTE_32F))
        return false;
    if (whole ? a.type != CUDA_R_8I || c.type != CUDA_R_32I : c.type != a.type) return false;
    return a.rows == b.rows && c.rows == a.cols && c.cols == b.cols && a.pitch >= int64_t(a.rows) &&
           b.pitch >= int64_t(b.rows) && c.pitch >= int64_t(c.rows);
}

template <class T, class H> const T &of(H handle) { return *reinterpret_cast<const T *>(handle); }

} // namespace

size_t cublasLtGetVersion(void) { return 990000; }

cublasStatus_t cublasLtCreate(cublasLtHandle_t *handle)
{
    *handle = reinterpret_cast<cublasLtHandle_t>(new int(1));
    return OK;
}

cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle)
{
    delete reinterpret_cast<int *>(handle);
    return OK;
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t *desc, cublasComputeType_t compute,
                                        cudaDataType_t scale)
{
    *desc = reinterpret_cast<cublasLtMatmulDesc_t>(
        new Description{compute, scale, CUBLAS_OP_N, CUBLAS_OP_N});
    return OK;
}

cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t desc)
{
    delete reinterpret_cast<Description *>(desc);
    return OK;
}

cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t desc,
                                              cublasLtMatmulDescAttributes_t attribute,
                                              const void *value, size_t bytes)
{
    Description &d = *reinterpret_cast<Description *>(desc);
    if (bytes != sizeof(cublasOperation_t)) return BAD;
    if (attribute != CUBLASLT_MATMUL_DESC_TRANSA && attribute != CUBLASLT_MATMUL_DESC_TRANSB)
        return CUBLAS_STATUS_NOT_SUPPORTED;
    std::memcpy(attribute == CUBLASLT_MATMUL_DESC_TRANSA ? &d.a : &d.b, value, bytes);
    return OK;
}

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t *layout, cudaDataType type,
                                          uint64_t rows, uint64_t cols, int64_t pitch)
{
    *layout = reinterpret_cast<cublasLtMatrixLayout_t>(new Layout{type, rows, cols, pitch});
    return OK;
}

cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout)
{
    delete reinterpret_cast<Layout *>(layout);
    return OK;
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t *preference)
{
    *preference = reinterpret_cast<cublasLtMatmulPreference_t>(new Preference{0});
    return OK;
}

cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference)
{
    delete reinterpret_cast<Preference *>(preference);
    return OK;
}

cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void *value, size_t bytes)
{
    if (attribute != CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES || bytes != sizeof(size_t))
        return BAD;
    std::memcpy(&reinterpret_cast<Preference *>(preference)->workspace, value, bytes);
    return OK;
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t desc,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int wanted,
                                              cublasLtMatmulHeuristicResult_t *offers, int *count)
{
    *count = 0;
    if (wanted < 4 || c != d || !of<Preference>(preference).workspace) return BAD;
    if (!fit(of<Description>(desc), of<Layout>(a), of<Layout>(b), of<Layout>(c))) return BAD;
    for (uint64_t i = 0; i < 4; i++) {
        offers[i] = {};
        offers[i].algo.data[0] = i;
        offers[i].workspaceSize = i * 256;
        offers[i].state = i ? OK : CUBLAS_STATUS_NOT_SUPPORTED;
    }
    return *count = 4, OK;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t desc, const void *alpha,
                              const void *a, cublasLtMatrixLayout_t al, const void *b,
                              cublasLtMatrixLayout_t bl, const void *beta, const void *c,
                              cublasLtMatrixLayout_t cl, void *d, cublasLtMatrixLayout_t dl,
                              const cublasLtMatmulAlgo_t *algorithm, void *workspace,
                              size_t workspace_bytes, cudaStream_t stream)
{
    const Description &description = of<Description>(desc);
    const Layout &left = of<Layout>(al), &right = of<Layout>(bl), &out = of<Layout>(dl);
    uint64_t which = algorithm->data[0];
    auto submit = driver<void(void *, const std::function<void()> &)>("cuda_host_submit");
    auto capturing = driver<int(void *)>("cuda_host_capturing");
    auto pretend = driver<void(int)>("cuda_host_pretend");
    if (!submit || !capturing || !pretend || c != d || cl != dl ||
        !fit(description, left, right, out))
        return BAD;
    if (description.scale == CUDA_R_32I
            ? *static_cast<const int32_t *>(alpha) != 1 || *static_cast<const int32_t *>(beta) != 0
            : *static_cast<const float *>(alpha) != 1 || *static_cast<const float *>(beta) != 0)
        return BAD;
    if (which < 2 || !workspace || workspace_bytes < which * 256)
        return CUBLAS_STATUS_NOT_SUPPORTED;
    if (is_set("CUBLAS_HOST_CAPTURE", "0") && capturing(stream)) return CUBLAS_STATUS_NOT_SUPPORTED;
    submit(stream, [=] {
        if (which == 2) pretend(100);
        multiply(a, left, b, right, d, out);
    });
    return OK;
}
