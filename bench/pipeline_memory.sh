#!/usr/bin/env bash
# pipeline_memory.sh - the largest resident memory of whole runs, under a cap, on a checkpoint and on one four times as large.
#
#   bench/pipeline_memory.sh WORK_DIR [SIZE] [CAP]      (4G, 256M; needs 7 times SIZE of disk; build/release)
#
# Makes the checkpoints (synthetic, bf16), quantizes each to int4 on the CPU, and prints a line of JSON a run: the kernel's own
# count (VmHWM by GNU time's -f %M, or getrusage), not nibble's.
set -euo pipefail
bin=$(dirname "$0")/../build/release
work=$1 size=${2:-4G} cap=${3:-256M}
mkdir -p "$work"
number=${size%[GM]} unit=${size: -1}
for factor in 1 4; do
    "$bin/tests/make_checkpoint" "$work/model" --size "$((number * factor))$unit" --shards 2 >/dev/null
    python3 - "$bin/nibble" quantize "$work/model" -o "$work/out" --device cpu --max-memory "$cap" --quiet --no-verify --force <<'P'
import json, os, resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
model = sys.argv[3]
print(json.dumps({"bench": "pipeline_memory", "input_bytes": sum(e.stat().st_size for e in os.scandir(model)),
                  "cap": sys.argv[sys.argv.index("--max-memory") + 1],
                  "peak_resident_bytes": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024}))
P
    rm -rf "$work/model" "$work/out"
done
