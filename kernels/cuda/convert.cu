/* convert.cu - between F32, F16 and BF16: docs/numerics.md section 5. Bound: memory. A thread
 * converts every 32nd element of its warp's 1024, so accesses are whole lines at any alignment. */
#include "device.cuh"

/* items: chunks of 1024 elements; a warp each. */
NIB_CUDA_KERNEL(nib_cuda_convert)
{
    nib_i64 count = a.rows * a.cols;
    for (nib_i64 item = grid_thread() / 32; item < items; item += grid_threads() / 32) {
        nib_i64 end = item * 1024 + 1024 < count ? item * 1024 + 1024 : count;
        for (nib_i64 i = item * 1024 + threadIdx.x % 32; i < end; i += 32)
            store_raw(s.y, a.y_type, i, nib_to_type(a.y_type, load_element(s.x, a.x_type, i)));
    }
}
