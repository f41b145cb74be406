#!/bin/sh
# oclgrind.sh TEST_KERNELS TEST_MATMUL - a part of the walks on oclgrind, an OpenCL device that reports data races,
# uninitialised and out-of-bounds accesses and wrong API calls. nibble loads oclgrind's run-time
# library in place of libOpenCL.so.1. It is slow; OCLGRIND_PART names another part of the walk.
set -eu
walk=$1
matmul=$2
here=$(cd "$(dirname "$0")/.." && pwd)
launcher=$(command -v oclgrind) || { echo "skipped: oclgrind is not installed"; exit 77; }
library=$(dirname "$(dirname "$launcher")")/lib/oclgrind/liboclgrind-rt.so
[ -e "$library" ] || { echo "skipped: $library is not there"; exit 77; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

export NIBBLE_OPENCL_LIB="$library" NIBBLE_CACHE_DIR="${NIBBLE_CACHE_DIR:-$scratch}/oclgrind"
# Without optimisation: oclgrind 21.10 lacks the instruction "freeze" that optimisation brings in.
export OCLGRIND_BUILD_OPTIONS=-cl-opt-disable

# The matmuls in a GPU's work-groups, which share local memory (NIB_LANES in kernels/opencl/product.h);
# oclgrind lacks what clang writes where it inlines.
cp -r "$here/kernels/common" "$here/kernels/opencl" "$scratch"
sed -i 's/#ifdef NIB_CPU/#if 0/; s/ __attribute__((always_inline))//' "$scratch/opencl/product.h"

# The self-tests first and unchecked, for their verdicts, which are kept: checked, they take minutes.
"$walk" opencl:0 --elements -1 >/dev/null 2>&1 || true
NIBBLE_KERNEL_DIR=$scratch "$matmul" opencl:0 --cases 0 >/dev/null 2>&1 || true

export OCLGRIND_DATA_RACES=1 OCLGRIND_UNINITIALIZED=1 OCLGRIND_CHECK_API=1 OCLGRIND_LOG="$scratch/log"
status=0
"$walk" opencl:0 --elements 1100 --part "${OCLGRIND_PART:-0/150}" --rows some || status=$?
NIBBLE_KERNEL_DIR=$scratch "$matmul" opencl:0 --cases 1 --products 20000 || status=$?
if [ -s "$scratch/log" ]; then
    head -n 60 "$scratch/log"
    echo "oclgrind found errors"
    exit 1
fi
exit $status
