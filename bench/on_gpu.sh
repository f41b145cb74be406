#!/usr/bin/env bash
# on_gpu.sh - everything that a machine with a GPU can tell about the CUDA backend, in one command of at most ten minutes:
#
#   bench/on_gpu.sh OUT [DEVICE]
#
# Needs gcc, nvcc and an NVIDIA driver; no network, no root. Each part has its log and time limit in OUT and goes on where
# another fails; the table at the end, also in OUT/summary.txt, says passed, failed or skipped for each, then predicted
# (bench/predict.jsonl) beside measured. What needs jansson and xxHash (whole checkpoints) is skipped without them.
# Exit status: 0 all passed or were skipped, 1 a part failed, 77 no GPU: then it says what it would do.
set -uo pipefail
out=${1:?usage: bench/on_gpu.sh OUT [DEVICE]}
device=${2:-cuda:0}
mkdir -p "$out" && out=$(cd "$out" && pwd) || exit 2
cd "$(dirname "$0")/.." || exit 2
jobs=$(nproc)
cuda=${CUDA_HOME:-/usr/local/cuda}
nvcc=$(command -v nvcc || echo "$cuda/bin/nvcc")
sanitizer=$(command -v compute-sanitizer || echo "$cuda/bin/compute-sanitizer")
build=$out/build
export NIBBLE_CACHE_DIR=$out/cache
: >"$out/summary.txt"
dry=0

say() { echo "$*" | tee -a "$out/summary.txt"; }

# part NAME SECONDS COMMAND...: its output goes to OUT/NAME.log; exit status 77 is a skip, and the log's last line says why.
part() {
    local name=$1 limit=$2 log="$out/$1.log" begin=$SECONDS status
    shift 2
    [ $limit -le $((590 - SECONDS)) ] || limit=$((590 - SECONDS))
    if [ $limit -le 0 ]; then say "$(printf '%-9s %-12s the ten minutes are over' skipped "$name")" && return; fi
    if [ $dry -eq 1 ]; then say "$(printf '%-9s %-12s at most %3d s: %s' would "$name" "$limit" "$*")" && return; fi
    (
        set -e
        "$@"
    ) >"$log" 2>&1 </dev/null &
    local child=$!
    (sleep "$limit" && kill -TERM -- "-$child") 2>/dev/null &
    local watch=$!
    disown $watch # its end is not worth a line
    wait $child 2>/dev/null # bash has a line to say of a part that was ended
    status=$?
    kill -- -$watch 2>/dev/null
    case $status in
        0) say "$(printf '%-9s %-12s %3d s  %s' passed "$name" $((SECONDS - begin)) "$(tail -n 1 "$log" | cut -c1-110)")" ;;
        77) say "$(printf '%-9s %-12s %3d s  %s' skipped "$name" $((SECONDS - begin)) "$(tail -n 1 "$log" | cut -c1-110)")" ;;
        *) failures=$((failures + 1)) && say "$(printf '%-9s %-12s %3d s  exit status %d: %s' FAILED "$name" $((SECONDS - begin)) $status "$(tail -n 1 "$log" | cut -c1-110)")" ;;
    esac
    return $status
}
failures=0
set -m # a part is a process group, so that its limit ends all of it

facts() {
    nvidia-smi || true
    nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,clocks.max.mem,ecc.mode.current --format=csv || true
    "$nvcc" --version
    gcc --version
    lscpu
    git log -1 --format='revision %h' 2>/dev/null || true
}

gpu_arch() {
    local arch
    arch=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -n 1 | tr -d '. ')
    arch=${arch:-90}
    echo "${arch/#90/90a}" # wgmma is of sm_90a alone
}

# libnibble, the walk, the emulator's instructions and the kernel benchmark by gcc and nvcc alone, for the GPU at hand.
build_kernels() {
    mkdir -p "$build"
    local arch
    arch=$(gpu_arch)
    gcc -O1 -o "$build/embed" cmake/embed.c
    local commands=$build/commands flags="-std=c11 -O2 -D_GNU_SOURCE -ffp-contract=off -fno-math-errno -isystem $cuda/include -c"
    : >"$commands"
    local f stem symbol extra
    for f in kernels/cuda/*.cu; do
        stem=$(basename "$f" .cu)
        echo "$nvcc -std=c++17 -fatbin -arch=sm_$arch -lineinfo -fmad=false -ftz=false -prec-div=true -prec-sqrt=true -o $build/$stem.fatbin $f && $build/embed $build/$stem.fatbin nib_blob_${stem}_fatbin $build/blob_$stem.c && gcc $flags -o $build/blob_$stem.o $build/blob_$stem.c" >>"$commands"
    done
    for f in kernels/opencl/*.cl kernels/opencl/*.h kernels/common/*.h; do
        symbol=$(basename "$f" | tr -c 'A-Za-z0-9\n' _)
        echo "$build/embed $f nib_blob_$symbol $build/blob_$symbol.c && gcc $flags -o $build/blob_$symbol.o $build/blob_$symbol.c" >>"$commands"
    done
    for f in host/core/*.c host/ref/*.c host/cpu/*.c host/opencl/*.c host/cuda/*.c kernels/ref/*.c kernels/cpu/*.c; do
        extra=
        case $f in
            *_avx2.c) extra="-O3 -mavx2 -mfma -mf16c -mbmi2" ;;
            *_avx512.c) extra="-O3 -mavx512f -mavx512bw -mavx512vl -mavx512dq -mfma -mf16c -mbmi2" ;;
        esac
        echo "gcc $flags $extra -o $build/$(echo "${f%.c}" | tr / _).o $f" >>"$commands"
    done
    echo "$nvcc -std=c++17 -fatbin -arch=sm_$arch -fmad=false -o $build/instructions.fatbin tests/cuda_instructions.cu" >>"$commands"
    tr '\n' '\0' <"$commands" | xargs -0 -P "$jobs" -I{} sh -c '{}'
    gcc -std=c11 -O2 -D_GNU_SOURCE -o "$build/test_kernels" tests/test_kernels.c "$build"/*.o -lpthread -ldl -lm
    gcc -std=c11 -O2 -D_GNU_SOURCE -ffp-contract=off -o "$build/test_matmul" tests/test_matmul.c "$build"/*.o -lpthread -ldl -lm
    gcc -std=c11 -O2 -D_GNU_SOURCE -ffp-contract=off -o "$build/test_cuda_instructions" tests/test_cuda_instructions.c "$build"/*.o -lpthread -ldl -lm
    gcc -std=c11 -O2 -D_GNU_SOURCE -o "$build/bench_kernels" bench/bench_kernels.c bench/copy.c "$build"/*.o -lpthread -ldl -lm
    echo "built for sm_$arch"
}

# The walk on one device by as many processes as there are cores.
walk() { # DEVICE PROCESSES
    local device=$1 processes=$2 i failed=0 log
    log=$(mktemp -d)
    local pids=()
    for ((i = 0; i < processes; i++)); do
        "$build/test_kernels" "$device" --part "$i/$processes" >"$log/$i" 2>&1 &
        pids+=($!)
    done
    for ((i = 0; i < processes; i++)); do
        wait "${pids[$i]}" || failed=$?
        tail -n 30 "$log/$i"
    done
    rm -rf "$log"
    echo "$device: $processes parts, last failing status $failed"
    return $failed
}

sanitize() { # TOOL
    [ -x "$sanitizer" ] || { echo "compute-sanitizer is not installed" && return 77; }
    local status=0 found
    found=$("$sanitizer" --tool "$1" --error-exitcode 9 "$build/test_kernels" "$device" --part 0/40 --elements 9000 2>&1) || status=$?
    echo "$found"
    grep -q SUMMARY <<<"$found" || { echo "compute-sanitizer refuses this device or machine" && return 77; }
    grep SUMMARY <<<"$found"
    # A part of the walk need not run every row, which test_kernels calls a failure (1); 9 is the tool's own finding.
    [ $status -ne 9 ] && ! grep -q 'bytes differ' <<<"$found"
}

bench() { # TYPE COLS TENSORS [--blocks]
    "$build/bench_kernels" --device "$device" --type "$1" --cols "$2" --tensors "$3" --rounds 9 --repeats 8 ${4:-} \
        --revision "$(git log -1 --format=%h 2>/dev/null)" --json "$out/kernels.jsonl"
}

build_all() {
    command -v cmake >/dev/null || { echo "cmake is not installed" && return 77; }
    pkg-config --exists jansson libxxhash || { echo "jansson or xxHash is not installed" && return 77; }
    local generator="Unix Makefiles" arch
    command -v ninja >/dev/null && generator=Ninja
    arch=$(gpu_arch)
    cmake -S . -B "$build/all" -G "$generator" -DCMAKE_BUILD_TYPE=Release -DNIBBLE_CUDA_ARCHS="$arch" -DOPENCL_HEADERS="$cuda/include"
    cmake --build "$build/all" -j "$jobs" --target nibble_command make_checkpoint
}

# `nibble bench matmul`, where this revision has it.
bench_matmul() {
    "$build/all/nibble" bench --help 2>/dev/null | grep -q matmul || { echo "the command has no bench matmul" && return 77; }
    "$build/all/nibble" bench matmul --device "$device" --m '1-512*4' --dequantize --json >"$out/matmul.json"
    cat "$out/matmul.json"
}

pipeline() {
    [ -x "$build/all/nibble" ] || { echo "the command was not built" && return 77; }
    local w=$out/pipeline d
    rm -rf "$w" && mkdir -p "$w"
    "$build/all/tests/make_checkpoint" "$w/model" --layers 4 --hidden 4096 --intermediate 14336 --vocab 32000
    for d in cpu "$device"; do
        "$build/all/nibble" quantize "$w/model" "$w/$d" --device "$d"
    done
    diff -r "$w/cpu" "$w/$device"
    rm -rf "$w"
    echo "the same bytes on cpu and $device"
}

table() {
    [ -s "$out/kernels.jsonl" ] || { echo "nothing was measured" && return 77; }
    command -v python3 >/dev/null || { echo "python3 is not installed; see kernels.jsonl" && return 77; }
    python3 bench/predicted.py bench/predict.jsonl "$out/kernels.jsonl"
}

if ! nvidia-smi >/dev/null 2>&1 && ! ls /dev/nvidia0 >/dev/null 2>&1; then
    dry=1
    say "no NVIDIA GPU here; with one, this is what would run (device $device, $jobs cores, results in $out):"
fi
part facts 20 facts
part build 200 build_kernels
if [ $dry -eq 1 ] || [ -x "$build/test_kernels" ]; then
    part instructions 30 "$build/test_cuda_instructions" "$build/instructions.fatbin"
    part matmul 90 "$build/test_matmul" "$device" --cases 30
    part walk 150 walk "$device" 4 # as many parts as still run every row each
    for type in BF16 F16 F32; do part "bench-$type" 45 bench $type 4096 6; done
    part bench-row4 45 bench BF16 8192 3
    part bench-row8 45 bench BF16 14336 3
    part bench-blocks 60 bench F16 4096 6 --blocks
    for tool in memcheck racecheck initcheck synccheck; do part $tool 60 sanitize $tool; done
    part opencl 90 walk opencl:0 4
fi
part build-all 120 build_all
part pipeline 90 pipeline
part bench-matmul 120 bench_matmul
part table 20 table
[ $dry -eq 1 ] && exit 77
[ -s "$out/table.log" ] && cat "$out/table.log" && cat "$out/table.log" >>"$out/summary.txt"
say "$failures parts failed; logs and JSON lines are in $out"
test $failures -eq 0
