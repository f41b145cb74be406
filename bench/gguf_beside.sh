#!/usr/bin/env bash
# gguf_beside.sh - whole files through llama-quantize and through nibble, in turns: bytes, times, memory.
#
#   bench/gguf_beside.sh LLAMA_QUANTIZE WORK_DIR [--nibble FILE] [--model F16.gguf] [--size 1.2G] [--types "Q8_0 Q4_0 ..."]
#                        [--rounds 5] [--importance FILE] [--json FILE]
#
# Without --model it makes WORK_DIR/model-f16.gguf and an importance matrix for it, WORK_DIR/imatrix.gguf (make_gguf.py).
# Both run with --pure on 2 threads, read the same F16 file from the page cache and write to WORK_DIR; each round starts with
# no output there and nothing waiting to be written. What a run is: nibble's ends with its file synced, renamed and a journal
# gone; llama-quantize's leaves its file to the kernel. So there are three ratios, of medians: "as_run"; "synced", where
# llama-quantize's time has an fsync of its file added; "processor", of user and system time, which other programs disturb
# least. nibble runs with --no-verify, since llama-quantize does not read its output back; "verified" is its time with it, once.
# "copy" is cat of the input beside head of as many bytes as the output has: no quantizer on 2 threads copies less.
# Peak memory is the kernel's count (ru_maxrss), which for llama-quantize contains the pages of the input that it maps.
# A line of JSON a type; exit 1 where bytes differ.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
llama=$1 work=$2 nibble=$here/../build/release/nibble model='' size=1.2G rounds=5 importance='' json=/dev/null
types="Q8_0 Q4_0 Q4_K_M Q5_K_M Q6_K Q3_K_M Q2_K"
shift 2
while [ $# -gt 0 ]; do
    case $1 in
    --nibble) nibble=$2 && shift ;;
    --model) model=$2 && shift ;;
    --size) size=$2 && shift ;;
    --types) types=$2 && shift ;;
    --rounds) rounds=$2 && shift ;;
    --importance) importance=$2 && shift ;;
    --json) json=$2 && shift ;;
    *) echo "gguf_beside.sh: unknown option $1" >&2 && exit 2 ;;
    esac
    shift
done
mkdir -p "$work"
if [ -z "$model" ]; then
    model=$work/model-f16.gguf
    [ -f "$model" ] || python3 "$here/make_gguf.py" "$model" "$size" "$work/imatrix.gguf"
fi
python3 - "$llama" "$nibble" "$model" "$work" "$rounds" "$importance" "$types" <<'P' | tee "$json"
import filecmp, json, os, statistics, subprocess, sys, time
llama, nibble, model, work, rounds, importance, types = sys.argv[1:]
theirs, ours = os.path.join(work, 'theirs.gguf'), os.path.join(work, 'ours.gguf')


def run(command, out):
    """Seconds until it ends, until its output is synced too, of the processor; peak bytes."""
    if os.path.exists(out):
        os.remove(out)
    os.sync()
    start = time.monotonic()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    end = time.monotonic()
    if status:
        sys.exit('%s: status %d' % (' '.join(command), status))
    file = os.open(out, os.O_RDWR)
    os.fsync(file)
    os.close(file)
    return end - start, time.monotonic() - start, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024


def copy(out, count):
    return run(['sh', '-c', 'cat "$0" >/dev/null & head -c %d "$0" >"$1"; wait' % count, model, out], out)


def ratio(a, b):
    each = sorted(x / y for x, y in zip(a, b))
    return {'of_medians': round(statistics.median(a) / statistics.median(b), 2), 'lowest': round(each[0], 2),
            'highest': round(each[-1], 2)}


def seconds(x):
    return round(statistics.median(x), 3)


different = False
for name in types.split():
    their = [llama] + (['--imatrix', importance] if importance else []) + ['--pure', model, theirs, name, '2']
    our = [nibble, 'quantize', model, '-o', ours, '--scheme', name.lower(), '--pure', '--threads', '2', '--device', 'cpu']
    our += ['--quiet']
    our += ['--importance', importance] if importance else []
    with open(model, 'rb') as f:
        while f.read(1 << 24):
            pass
    a, b, c = [], [], []
    for _ in range(int(rounds)):
        a.append(run(their, theirs))
        b.append(run(our + ['--no-verify'], ours))
        c.append(copy(theirs + '.copy', os.path.getsize(theirs))[:3])
        os.remove(theirs + '.copy')
    same = filecmp.cmp(theirs, ours, shallow=False)
    different |= not same
    wall, synced, processor, peak = zip(*a)
    our_wall, our_synced, our_processor, our_peak = zip(*b)
    verified = run(our, ours)[0]
    print(json.dumps({
        'bench': 'gguf_beside', 'type': name, 'importance': bool(importance), 'input_bytes': os.path.getsize(model),
        'output_bytes': os.path.getsize(theirs), 'same_bytes': same, 'rounds': int(rounds),
        'file_system': subprocess.run(['stat', '-f', '-c', '%T', work], capture_output=True, text=True).stdout.strip(),
        'llama_quantize_s': seconds(wall), 'llama_quantize_synced_s': seconds(synced),
        'llama_quantize_processor_s': seconds(processor), 'nibble_s': seconds(our_wall),
        'nibble_processor_s': seconds(our_processor), 'nibble_verified_s': round(verified, 3),
        'copy_s': seconds([x[0] for x in c]), 'copy_processor_s': seconds([x[2] for x in c]),
        'as_run': ratio(wall, our_wall), 'synced': ratio(synced, our_synced), 'processor': ratio(processor, our_processor),
        'llama_quantize_peak_bytes': max(peak), 'nibble_peak_bytes': max(our_peak)}), flush=True)
os.remove(theirs)
os.remove(ours)
sys.exit(different)
P
