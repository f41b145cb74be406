#!/usr/bin/env bash
# cuda_binary.sh - what nvcc makes of kernels/cuda, without a GPU: every row of cuda_kernels.def has its entry point, no kernel
# spills registers or has local memory, and the PTX holds no approximate, flushing or contracted arithmetic (docs/numerics.md section 2).
# Prints registers and shared memory of each kernel on sm_90. Skips (77) without nvcc.
set -euo pipefail
cd "$(dirname "$0")/.."
nvcc=$(command -v nvcc || ls "${CUDA_HOME:-/usr/local/cuda}/bin/nvcc" 2>/dev/null) || { echo "nvcc is not installed" && exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
flags=(-std=c++17 -fmad=false -ftz=false -prec-div=true -prec-sqrt=true)
passed=0 failed=0
check() { # WHAT COMMAND...: the command must succeed
    local what=$1
    shift
    if "$@"; then passed=$((passed + 1)); else failed=$((failed + 1)) && echo "failed: $what"; fi
}

for source in kernels/cuda/*.cu; do
    stem=$(basename "$source" .cu)
    "$nvcc" "${flags[@]}" -arch=compute_80 -ptx -o "$work/$stem.ptx" "$source"
    "$nvcc" "${flags[@]}" -arch=sm_90 -cubin -Xptxas -v -o "$work/$stem.cubin" "$source" 2>"$work/$stem.txt"
    readelf -sW "$work/$stem.cubin" | awk -v m="$stem" '$4 == "FUNC" && $NF ~ /^nib_/ {print m, $NF}' >>"$work/entries"
    check "$stem: approximate or flushing arithmetic in its PTX" bash -c "! grep -nE 'approx|\.ftz' '$work/$stem.ptx'"
    # Sums of a matmul may be fused, and peaks.cu is about that; elsewhere the only fused operations are nib_quotient's two for each code that is rounded.
    fused=$(grep -c 'fma.rn.f32' "$work/$stem.ptx" || true)
    codes=$(grep -c 'cvt.rni.s32.f32' "$work/$stem.ptx" || true)
    [ "$stem" = quantize ] || codes=0
    [[ $stem =~ ^(matmul_.*|peaks)$ ]] || check "$stem: $fused fused operations, expected $((2 * codes))" test "$fused" -eq $((2 * codes))
    check "$stem: a kernel spills registers" bash -c "! grep -E '[1-9][0-9]* bytes spill' '$work/$stem.txt'"
    check "$stem: a kernel has local memory" bash -c "! grep -E '[1-9][0-9]* bytes stack' '$work/$stem.txt'"
    grep -oE "Compiling entry function '[^']*'|Used [0-9]+ registers.*" "$work/$stem.txt" |
        sed "s/Compiling entry function//; s/Used/: /" | paste -sd ' \n'
done

# Inline PTX stands in one file, and a GPU's compiler takes every instruction that tests/cuda_instructions.cu runs.
check "inline PTX outside kernels/cuda/ptx.cuh" bash -c "! grep -nw asm kernels/cuda/*.cu kernels/cuda/device.cuh"
for arch in sm_80 sm_90a; do
    check "tests/cuda_instructions.cu for $arch" "$nvcc" "${flags[@]}" -arch=$arch -Werror all-warnings -cubin -o "$work/i.cubin" tests/cuda_instructions.cu
done

# The rows' modules and entries, by the preprocessor.
{
    echo '#define NIB_KERNEL(op, name, bits, x, y, c, m, module, item, lanes, entry) ROW module @ entry @'
    echo '#define NIB_PACKER(name, pack, lanes, entry) ROW "pack" @ entry @'
    echo '#define NIB_MATMUL(name, bits, x, mins, c, cols, pack, form, tm, tn, from, to, class, split, module, threads, shared, entry) ROW module @ entry @'
    echo '#define NIB_KERNEL2(op, name, bits, x, y, c, m, module, i, l, entry, i2, l2, entry2) ROW module @ entry @ ROW module @ entry2 @'
    cat host/cuda/cuda_kernels.def
} | gcc -E -P -xc - | tr -d '\n' | sed 's/ROW/\n/g' | tr -d '" ' | awk -F@ 'NF > 2 && $2 != "NULL" {print $1, $2}' >"$work/rows"
check "no rows were found" test -s "$work/rows"
grep -o 'nib_cuda_peak_[a-z0-9]*' host/bench/roofs_cuda.c | sed 's/^/peaks /' >>"$work/rows" # the bench's own
while read -r module entry; do
    check "$entry is not in $module.cu" grep -qx "$module $entry" "$work/entries"
done <"$work/rows"
while read -r module entry; do
    check "$entry of $module.cu has no row" grep -qx "$module $entry" "$work/rows"
done <"$work/entries"
echo "$passed passed, $failed failed"
test "$failed" -eq 0
