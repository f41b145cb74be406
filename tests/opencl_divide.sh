#!/bin/sh
# opencl_divide.sh TEST_KERNELS - walks opencl:0 with the division of devices that have none correctly
# rounded (NIB_DIVIDE_LONG in kernels/common/number.h).
set -eu
walk=$1
here=$(cd "$(dirname "$0")/.." && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
cp -r "$here/kernels/common" "$here/kernels/opencl" "$scratch"
sed -i '1i #define NIB_DIVIDE_LONG' "$scratch/common/prelude.h"
NIBBLE_KERNEL_DIR=$scratch NIBBLE_CACHE_DIR=$scratch/cache "$walk" opencl:0 --part 0/4
