#!/usr/bin/env bash
# on_gpu.sh - everything that a machine with a GPU can tell about the CUDA backend, in one command of at most nine minutes, what
# matters most first:
#
#   bench/on_gpu.sh OUT [DEVICE [BUILT [SECONDS [PARTS]]]]
#   bench/on_gpu.sh --pack BUILT [ARCH]       builds for it, on any machine that builds nibble with CUDA (ARCH: 90a)
#
# With BUILT, that machine needs an NVIDIA driver alone; without, what nibble needs to be built. No network, no root. Each
# part has its log and time limit in OUT and goes on where another fails; the table at the end, also in OUT/summary.txt, says
# passed, failed or skipped for each, then predicted (bench/predict.jsonl) beside measured. PARTS, as 'walk|matmul-.*', names
# those to run. Where NIBBLE_CUDA_DRIVER names a stand-in driver (tests/cuda_on_host), the parts run on that: a rehearsal.
# Exit status: 0 all passed or were skipped, 1 a part failed, 77 no GPU: then it says what it would do.
set -uo pipefail
usage="usage: bench/on_gpu.sh OUT [DEVICE [BUILT [SECONDS [PARTS]]]], or --pack BUILT [ARCH]"
root=$(cd "$(dirname "$0")/.." && pwd)
jobs=$(nproc)
cuda=${CUDA_HOME:-/usr/local/cuda}
programs="nibble_command make_checkpoint test_kernels test_matmul test_cuda_graph test_cuda_instructions bench_kernels"

# Programs, and the two libraries of theirs that a machine may lack, into a directory that can be carried.
pack() { # BUILT ARCH
    local built=$1 arch=$2 tree=$root/build/on_gpu nvcc program
    nvcc=$(command -v nvcc || echo "$cuda/bin/nvcc")
    cmake -S "$root" -B "$tree" -DCMAKE_BUILD_TYPE=Release -DNIBBLE_CUDA_ARCHS="$arch"
    # shellcheck disable=SC2086
    cmake --build "$tree" -j "$jobs" --target $programs
    mkdir -p "$built"
    for program in nibble bench/bench_kernels tests/{make_checkpoint,test_kernels,test_matmul,test_cuda_graph,test_cuda_instructions}; do
        strip -o "$built/$(basename "$program")" "$tree/$program"
    done
    ldd "$built/nibble" | awk '/jansson|xxhash/ {print $3}' | xargs -r cp -Lt "$built"
    "$nvcc" -std=c++17 -fatbin "-arch=sm_$arch" -fmad=false -o "$built/instructions.fatbin" "$root/tests/cuda_instructions.cu"
    git -C "$root" describe --always --dirty >"$built/revision" 2>/dev/null || true
    echo "built for sm_$arch"
}

if [ "${1:-}" = --pack ]; then
    set -e
    pack "${2:?$usage}" "${3:-90a}"
    exit
fi

out=${1:?$usage}
device=${2:-cuda:0}
mkdir -p "$out" && out=$(cd "$out" && pwd) || exit 2
built=${3:-$out/built}
seconds=${4:-540}
parts=${5:-.*}
[ -d "$built" ] && built=$(cd "$built" && pwd)
cd "$root" || exit 2
sanitizer=$(command -v compute-sanitizer || echo "$cuda/bin/compute-sanitizer")
export NIBBLE_CACHE_DIR=$out/cache
: >"$out/summary.txt"
rm -f "$out"/*.jsonl
dry=0

say() { echo "$*" | tee -a "$out/summary.txt" || true; }

# part NAME SECONDS COMMAND...: its output goes to OUT/NAME.log; exit status 77 is a skip, and the log's last line says why.
part() {
    local name=$1 limit=$2 log="$out/$1.log" begin=$SECONDS status words
    shift 2
    [[ $name =~ ^(build|table|$parts)$ ]] || return 0
    [ "$limit" -le $((seconds - SECONDS)) ] || limit=$((seconds - SECONDS))
    [ "$limit" -gt 0 ] || { say "$(printf '%-8s %-18s the time is over' skipped "$name")" && return; }
    [ $dry -eq 0 ] || { say "$(printf '%-8s %-18s at most %3d s: %s' would "$name" "$limit" "$*")" && return; }
    (
        set +m # what it starts stays in its group
        set -e
        "$@"
    ) >"$log" 2>&1 </dev/null &
    local child=$!
    (sleep "$limit" && echo "the limit of $limit s is over" >>"$log" && kill -TERM -- "-$child" && sleep 5 && kill -KILL -- "-$child") 2>/dev/null &
    local watch=$!
    disown $watch # its end is not worth a line
    wait $child 2>/dev/null # bash has a line to say of a part that was ended
    status=$?
    kill -- -$watch 2>/dev/null
    kill -KILL -- "-$child" 2>/dev/null # what outlives it
    words=$(tail -n 1 "$log" | cut -c1-110)
    case $status in
        0) say "$(printf '%-8s %-18s %3d s  %s' passed "$name" $((SECONDS - begin)) "$words")" ;;
        77) say "$(printf '%-8s %-18s %3d s  %s' skipped "$name" $((SECONDS - begin)) "$words")" ;;
        *) failures=$((failures + 1)) && say "$(printf '%-8s %-18s %3d s  exit status %d: %s' FAILED "$name" $((SECONDS - begin)) $status "$words")" ;;
    esac
    return $status
}
failures=0
set -m # a part is a process group, so that its limit ends all of it

facts() {
    nvidia-smi || true
    nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,clocks.max.mem,ecc.mode.current --format=csv || true
    lscpu || true
    echo "LD_LIBRARY_PATH=${LD_LIBRARY_PATH:-}"
    "$built/nibble" devices || true
    echo "revision $(cat "$built/revision" 2>/dev/null || git describe --always --dirty 2>/dev/null)"
}

build() {
    command -v cmake >/dev/null || { echo "cmake is not installed" && return 77; }
    pkg-config --exists jansson libxxhash || { echo "jansson or xxHash is not installed" && return 77; }
    local arch
    arch=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader 2>/dev/null | head -n 1 | tr -d '. ')
    arch=${arch:-90}
    pack "$built" "${arch/#90/90a}" # wgmma is of sm_90a alone
}

# Where libcublasLt lies, if the loader does not find it: in the toolkit or among Python's packages.
cublas_directory() {
    local found
    ldconfig -p 2>/dev/null | grep -q 'libcublasLt\.so\.1[23]' && return
    found=$(timeout 20 find "$cuda" /usr/lib /usr/local /opt -name 'libcublasLt.so.1[23]' -print -quit 2>/dev/null)
    [ -z "$found" ] || dirname "$found"
}

# A walk by several processes, each of which takes a part of it and has a log of its own.
walk() { # PROCESSES PROGRAM DEVICE ARGUMENT...
    local processes=$1 i failed=0 log pids=()
    shift
    log=$out/$(basename "$1")-${2%%:*}
    for ((i = 0; i < processes; i++)); do
        "$@" --part "$i/$processes" >"$log-$i.txt" 2>&1 &
        pids+=($!)
    done
    for ((i = 0; i < processes; i++)); do
        wait "${pids[$i]}" || failed=$?
        grep -E 'failed:|passed,|differ' "$log-$i.txt" | tail -n 30 || true
    done
    echo "$processes parts, last failing status $failed"
    return $failed
}

sanitize() { # TOOL LOG PROGRAM ARGUMENT...: the tool's own finding is 9
    [ -x "$sanitizer" ] || { echo "compute-sanitizer is not installed" && return 77; }
    local status=0 tool=$1 log=$2
    shift 2
    "$sanitizer" --tool "$tool" --error-exitcode 9 --print-limit 20 "$@" || status=$?
    grep -q SUMMARY "$out/$log.log" || { echo "compute-sanitizer refuses this device or machine" && return 77; }
    grep SUMMARY "$out/$log.log"
    return $status
}

small_walk() { # TOOL: of rows without tensor cores
    sanitize "$1" "$1-kernels" "$built/test_kernels" "$device" --part 0/120 --elements 9000 --rows some
}

small_products() { # TOOL
    sanitize "$1" "$1-matmul" "$built/test_matmul" "$device" --cases 3 --products 300000
}

bench() { # TYPE COLS TENSORS [--blocks]
    "$built/bench_kernels" --device "$device" --type "$1" --cols "$2" --tensors "$3" --rounds 9 --repeats 8 ${4:-} \
        --revision "$(cat "$built/revision" 2>/dev/null)" --json "$out/kernels.jsonl"
}

products() { # OPTION...
    "$built/nibble" bench matmul --device "$device" --rounds 9 --seconds 0.3 --quiet --as jsonl "$@" | tee -a "$out/matmul.jsonl"
    tail -n 1 "$out/matmul.jsonl" | cut -c1-100
}

pipeline() {
    local w=$out/pipeline d
    rm -rf "$w" && mkdir -p "$w"
    "$built/make_checkpoint" "$w/model" --layers 4 --hidden 4096 --intermediate 14336 --vocab 32000
    for d in cpu "$device"; do
        "$built/nibble" quantize "$w/model" "$w/$d" --device "$d"
    done
    diff -r "$w/cpu" "$w/$device"
    rm -rf "$w"
    echo "the same bytes on cpu and $device"
}

table() {
    command -v python3 >/dev/null || { echo "python3 is not installed; see the JSON lines" && return 77; }
    touch "$out/kernels.jsonl" "$out/matmul.jsonl"
    python3 bench/predicted.py table bench/predict.jsonl "$out/kernels.jsonl" "$out/matmul.jsonl"
}

if [ -z "${NIBBLE_CUDA_DRIVER:-}" ] && ! nvidia-smi >/dev/null 2>&1 && ! ls /dev/nvidia0 >/dev/null 2>&1; then
    dry=1
    say "no NVIDIA GPU here; with one, this is what would run (device $device, $jobs cores, results in $out):"
fi
LD_LIBRARY_PATH=$built:$(cublas_directory):${LD_LIBRARY_PATH:-}
LD_LIBRARY_PATH=$(sed 's/::*/:/g; s/:$//' <<<"$LD_LIBRARY_PATH")
export LD_LIBRARY_PATH
if ! "$built/nibble" --help >/dev/null 2>&1; then # none, or not for this machine
    built=$out/built
    LD_LIBRARY_PATH=$built:$LD_LIBRARY_PATH
    part build 300 build
fi
part facts 20 facts
if [ $dry -eq 1 ] || [ -x "$built/nibble" ]; then
    part instructions 30 "$built/test_cuda_instructions" "$built/instructions.fatbin"
    part graph 30 "$built/test_cuda_graph"
    part walk-matmul 90 walk "$jobs" "$built/test_matmul" "$device" --cases 30
    part walk 120 walk 4 "$built/test_kernels" "$device" # as many parts as still run every row each
    part matmul-int4 60 products --shape 8192x8192 --m 1,16,64,256 --scheme int4,int8
    part matmul-int8 60 products --shape 8192x8192 --m 16,64,256 --scheme w8a8,w4a8 --no-vendor
    part matmul-large 60 products --shape 8192x8192 --m 1024,8192 --scheme int4,int8,w8a8,w4a8
    part bench-BF16 45 bench BF16 4096 6
    part matmul-llama 60 products --layers llama-8b --m 1-256*4 --scheme int4,w8a8
    part memcheck-matmul 60 small_products memcheck
    part racecheck-matmul 60 small_products racecheck
    part bench-blocks 60 bench F16 4096 6 --blocks
    part matmul-f16 45 products --shape 8192x8192 --m 1,16,64,8192 --scheme int4,int8 --dtype f16 --no-vendor
    for type in F16 F32; do part bench-$type 45 bench $type 4096 6; done
    part bench-row4 45 bench BF16 8192 3
    part bench-row8 45 bench BF16 14336 3
    part pipeline 60 pipeline
    for tool in memcheck racecheck synccheck initcheck; do part $tool-kernels 60 small_walk $tool; done
    part opencl 60 walk 4 "$built/test_kernels" opencl:0
fi
[ $dry -eq 1 ] && exit 77
seconds=$((SECONDS + 20)) # however late
part table 20 table
[ -s "$out/table.log" ] && cat "$out/table.log" && cat "$out/table.log" >>"$out/summary.txt"
say "$failures parts failed; logs and JSON lines are in $out"
test $failures -eq 0
