#!/bin/sh
# opencl_lanes.sh TEST_MATMUL - walks the matmuls of opencl:0 with a GPU's work-groups: 64 lanes where a
# CPU's have one (NIB_LANES in kernels/opencl/product.h).
set -eu
walk=$1
here=$(cd "$(dirname "$0")/.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cp -r "$here/kernels/common" "$here/kernels/opencl" "$scratch"
sed -i 's/#ifdef NIB_CPU/#if 0/' "$scratch/opencl/product.h"
NIBBLE_KERNEL_DIR=$scratch NIBBLE_CACHE_DIR=$scratch/cache "$walk" opencl:0 --cases 20
