#!/bin/sh
# opencl_lanes.sh TEST_MATMUL - walks the matmuls of opencl:0 with a GPU's work-groups: 64 lanes where a
# CPU's have one (NIB_LANES in kernels/opencl/product.h). Then again by integer dot products, with a
# plain function in their place where the device has none.
set -eu
walk=$1
here=$(cd "$(dirname "$0")/.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cp -r "$here/kernels/common" "$here/kernels/opencl" "$scratch"
product=$scratch/opencl/product.h
feature=__opencl_c_integer_dot_product_input_4x8bit_packed
sed -i 's/#ifdef NIB_CPU/#if 0/' "$product"
NIBBLE_KERNEL_DIR=$scratch NIBBLE_CACHE_DIR=$scratch/cache "$walk" opencl:0 --cases 20
sed -i "s/^#ifdef $feature/#ifndef $feature\\
NIB_FN int dot_4x8packed_us_int(uint u, uint s)\\
{\\
    int4 product = convert_int4(as_uchar4(u)) * convert_int4(as_char4(s));\\
    return product.x + product.y + product.z + product.w;\\
}\\
#endif\\
#if 1/" "$product"
grep -q '^NIB_FN int dot_4x8packed_us_int' "$product"
NIBBLE_KERNEL_DIR=$scratch NIBBLE_CACHE_DIR=$scratch/cache "$walk" opencl:0 --cases 20
