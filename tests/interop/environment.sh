#!/usr/bin/env bash
# environment.sh VENV - makes the Python environment of the interop tests, once.
#
# torch is the heavy one. Its CPU build (200 MB) is not on PyPI but on its own index; where that is out of reach, PyPI's build
# is installed without its dependencies, and of the CUDA libraries that it links, those that the machine does not have (in
# the CUDA toolkit) are installed as wheels. VENV/libraries holds the search path to them all.
set -euo pipefail
venv=$1
packages="numpy==2.4.6 safetensors==0.8.0 tokenizers==0.23.3 huggingface-hub==2.4.0 packaging pyyaml regex tqdm typer psutil
    pydantic==2.14.3 loguru filelock sympy networkx jinja2 fsspec typing-extensions mpmath setuptools>=77.0.3"
consumers="transformers==5.23.0 compressed-tensors==0.20.0"
torch="torch==2.15.0"
wanted="$packages $consumers $torch"

[ "$(cat "$venv/done" 2>/dev/null)" != "$wanted" ] || exit 0
rm -rf "$venv"
python3 -m venv "$venv"
pip() { "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-warn-conflicts "$@"; }

# The library that a file needs and the system lacks -> the wheel that carries it, at the version torch asks for.
wheel_of() {
    local name
    case $1 in
        libcudart.*) name=nvidia-cuda-runtime ;;
        libcublas*) name=nvidia-cublas ;;
        libcufft.*) name=nvidia-cufft ;;
        libcufile.*) name=nvidia-cufile ;;
        libcupti.*) name=nvidia-cuda-cupti ;;
        libcurand.*) name=nvidia-curand ;;
        libcusolver*) name=nvidia-cusolver ;;
        libcusparse.*) name=nvidia-cusparse ;;
        libnvJitLink.*) name=nvidia-nvjitlink ;;
        libnvrtc*) name=nvidia-cuda-nvrtc ;;
        libcudnn*) name=nvidia-cudnn-cu13 ;;
        libcusparseLt.*) name=nvidia-cusparselt-cu13 ;;
        libnccl.*) name=nvidia-nccl-cu13 ;;
        libnvshmem*) name=nvidia-nvshmem-cu13 ;;
        *) echo "no wheel is known for $1" >&2 && return 1 ;;
    esac
    "$venv/bin/python" - "$name" <<'PYTHON'
import importlib.metadata, re, sys
wanted = sys.argv[1]
for line in importlib.metadata.requires("torch") or []:
    match = re.match(r"([\w-]+)(==[\w.]+)", line)
    if match and match[1] == wanted:
        wanted += match[2]
print(wanted)
PYTHON
}

search_path() {
    local site
    site=$(echo "$venv"/lib/python3*/site-packages)
    printf '%s:' "$site"/nvidia/*/lib
    echo /usr/local/cuda/lib64
}

# Installs wheels until every library that torch links is found; NCCL always, as torch needs its very version.
link_torch() {
    local site missing library
    site=$(echo "$venv"/lib/python3*/site-packages)
    [ -f "$site/torch/lib/libtorch_cuda.so" ] || return 0
    pip --no-deps "$(wheel_of libnccl.so.2)"
    for _ in 1 2 3; do # a wheel may need another's library
        missing=$(LD_LIBRARY_PATH=$(search_path) ldd "$site"/torch/lib/*.so 2>/dev/null |
            awk '/not found/ && /^[ \t]*lib(cu|nv)/ && !/libcuda.so/ {print $1}' | sort -u)
        [ -n "$missing" ] || return 0
        for library in $missing; do pip --no-deps "$(wheel_of "$library")"; done
    done
}

# shellcheck disable=SC2086 # lists of names
{
    pip --upgrade $packages
    pip --no-deps --index-url https://download.pytorch.org/whl/cpu --timeout 15 --retries 0 $torch 2>/dev/null ||
        pip --no-deps $torch
    pip --no-deps $consumers
}
link_torch
search_path >"$venv/libraries"
LD_LIBRARY_PATH=$(cat "$venv/libraries") "$venv/bin/python" -c 'import torch, transformers, compressed_tensors'
echo "$wanted" >"$venv/done"
