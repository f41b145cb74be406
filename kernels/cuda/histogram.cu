/* histogram.cu - how often each code occurs: counts in shared memory, added to the result once a
 * block. Bound: memory for 8 bits; shared-memory atomics for fewer codes. */
#include "device.cuh"

NIB_CUDA_KERNEL(nib_cuda_histogram)
{
    SHARED_ARRAY(nib_u32, counts, [256]);
    counts[threadIdx.x] = 0;
    __syncthreads();
    nib_i64 octets = (a.cols + 7) / 8;
    for (nib_i64 item = grid_thread(); item < items; item += grid_threads()) {
        nib_i64 row = item / octets, k = item % octets;
        int count = (int)(a.cols - k * 8 < 8 ? a.cols - k * 8 : 8);
        nib_u64 packed = load_octet_codes(s.codes, a, row, k);
        for (int i = 0; i < count; i++) atomicAdd(&counts[octet_code(packed, a, i)], 1u);
    }
    __syncthreads();
    if (threadIdx.x < 1u << a.bits && counts[threadIdx.x])
        atomicAdd((nib_u32 *)s.out + threadIdx.x, counts[threadIdx.x]);
}
