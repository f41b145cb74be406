#!/usr/bin/env bash
# gguf.sh - what ./check --interop runs for GGUF: every mixture of two small models, loaded and decoded by llama.cpp itself,
# and read by the gguf package.
#
#   tests/interop/gguf.sh [NIBBLE]     (that of build/release)
#
# llama.cpp comes as the library in the PyPI package xllamacpp (34 MB, glibc 2.17), since llama-cpp-python is a build from source
# that takes longer than all other tests. Exit status 77 where the packages cannot be fetched.
set -euo pipefail
cd "$(dirname "$0")/../.."
nibble=$(realpath "${1:-build/release/nibble}")
here=$PWD/tests/interop golden=$PWD/tests/golden/gguf
work=$PWD/build/interop/gguf
packages="xllamacpp==2026.10.11549 gguf==0.19.0"
mkdir -p "$work"

if [ "$(cat "$work/venv/done" 2>/dev/null)" != "$packages" ]; then
    rm -rf "$work/venv"
    python3 -m venv "$work/venv"
    # shellcheck disable=SC2086 # a list of names
    "$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check $packages ||
        { echo "the Python packages cannot be had (pip's words are in the log)" && exit 77; }
    echo "$packages" >"$work/venv/done"
fi

mixtures="q4_0 q4_1 q5_0 q5_1 q8_0 q2_k q3_k_s q3_k_m q3_k_l q4_k_s q4_k_m q5_k_s q5_k_m q6_k iq4_nl iq4_xs f16 bf16 f32"
: >"$work/list"
for model in llama_f16_gqa4_tied llama_f32_odd_k; do
    for mixture in $mixtures; do
        output=$work/$model.$mixture.gguf
        "$nibble" quantize "$golden/in/$model.gguf" -o "$output" --scheme "$mixture" --device cpu --force --quiet >/dev/null
        echo "$output" >>"$work/list"
    done
done
rm -rf "$work/llama"
python3 tests/gguf_to_hf.py "$golden/in/llama_f16_gqa4_tied.gguf" "$work/llama"
"$nibble" quantize "$work/llama" --gguf-template "$work/llama/template.gguf" -o "$work/from_safetensors.gguf" --scheme q4_k_m \
    --force --quiet >/dev/null
echo "$work/from_safetensors.gguf" >>"$work/list"
"$work/venv/bin/python" "$here/gguf_load.py" "$work/list"
