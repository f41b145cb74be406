// What nibble declares of the CUDA driver and of cuBLASLt by itself (host/cuda/driver.h, host/bench/cuda.h,
// host/bench/cublas_lt.h), compared with the toolkit's own headers: numbers, sizes, and each function's arguments one
// by one. It is compiled and never run; a stand-in library would share a mistake of these headers, and a GPU would
// crash on it.
#define __CUDA_API_VERSION_INTERNAL // declares every version of a function, and renames none
#include <cublasLt.h>
#include <cuda.h>

#include <type_traits>

#include "../include/nibble_matmul.h"

#define _Static_assert static_assert
namespace ours
{
#include "../host/bench/cublas_lt.h"
#include "../host/bench/cuda.h"
#include "../host/cuda/driver.h"
} // namespace ours

// Two types that pass alike: of one size, both pointers or both whole numbers; what pointers lead to likewise, where
// neither hides it.
template <class A, class B> constexpr bool alike()
{
    if constexpr (std::is_void_v<A> || std::is_void_v<B> || std::is_class_v<A> ||
                  std::is_class_v<B>)
        return true;
    else if constexpr (std::is_pointer_v<A> && std::is_pointer_v<B>)
        return alike<std::remove_cv_t<std::remove_pointer_t<A>>,
                     std::remove_cv_t<std::remove_pointer_t<B>>>();
    else
        return !std::is_pointer_v<A> && !std::is_pointer_v<B> && sizeof(A) == sizeof(B) &&
               std::is_floating_point_v<A> == std::is_floating_point_v<B>;
}

template <class R, class... A, class S, class... B> constexpr bool alike(R (*)(A...), S (*)(B...))
{
    if constexpr (sizeof...(A) != sizeof...(B)) return false;
    else return alike<R, S>() && (alike<A, B>() && ...);
}

#define FUNCTION(table, name, symbol)                                                              \
    static_assert(alike(decltype(ours::table::name)(nullptr), decltype (&::symbol)(nullptr)),      \
                  #symbol);
#define X(name, symbol, arguments) FUNCTION(nib_cuda_driver, name, symbol)
NIB_CUDA_FUNCTIONS(X)
#undef X
#define X(name, symbol, arguments) FUNCTION(bench_driver, name, symbol)
BENCH_DRIVER(X)
#undef X
#define X(name, symbol, arguments) FUNCTION(library, name, symbol)
CUBLAS(X)
#undef X
static_assert(alike<size_t, decltype(cublasLtGetVersion())>(), "cublasLtGetVersion");

#define NUMBER(name, real) static_assert(int(ours::name) == int(::real), #real);
#define SAME(name) NUMBER(name, name)
SAME(CUDA_SUCCESS)
SAME(CUDA_ERROR_OUT_OF_MEMORY)
SAME(CUDA_ERROR_NO_BINARY_FOR_GPU)
SAME(CUDA_ERROR_UNSUPPORTED_PTX_VERSION)
SAME(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)
SAME(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)
SAME(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)
SAME(CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES)
SAME(CU_STREAM_NON_BLOCKING)
NUMBER(BENCH_STREAM_NON_BLOCKING, CU_STREAM_NON_BLOCKING)
NUMBER(BENCH_CAPTURE_THREAD, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL)
NUMBER(BENCH_ATTRIBUTE_L2_BYTES, CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE)
NUMBER(R_32F, CUDA_R_32F)
NUMBER(R_16F, CUDA_R_16F)
NUMBER(R_8I, CUDA_R_8I)
NUMBER(R_32I, CUDA_R_32I)
NUMBER(R_16BF, CUDA_R_16BF)
NUMBER(COMPUTE_32F, CUBLAS_COMPUTE_32F)
NUMBER(COMPUTE_32I, CUBLAS_COMPUTE_32I)
NUMBER(DESC_TRANSA, CUBLASLT_MATMUL_DESC_TRANSA)
NUMBER(OP_T, CUBLAS_OP_T)
NUMBER(PREF_MAX_WORKSPACE, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES)
static_assert(sizeof(ours::CUdeviceptr) == sizeof(::CUdeviceptr) &&
                  sizeof(ours::CUdevice) == sizeof(::CUdevice),
              "");

typedef ours::heuristic Ours;
typedef cublasLtMatmulHeuristicResult_t Real;
static_assert(sizeof(Ours) == sizeof(Real) && offsetof(Ours, algorithm) == offsetof(Real, algo) &&
                  offsetof(Ours, workspace_bytes) == offsetof(Real, workspaceSize) &&
                  offsetof(Ours, state) == offsetof(Real, state) &&
                  offsetof(Ours, waves) == offsetof(Real, wavesCount),
              "cublasLtMatmulHeuristicResult_t");
