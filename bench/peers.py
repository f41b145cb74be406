#!/usr/bin/env python3
"""PyTorch's own quantized products beside nibble's, for the same shapes and M, in one table.

    nibble bench matmul --shape 4096x4096 --m 1-64*4 --device cpu --as jsonl >nibble.jsonl
    bench/peers.py nibble.jsonl [--json FILE] [--seconds S] [--working-set MB]

Takes device, shapes, M, type and threads from nibble's records and runs, where PyTorch has them for that device and type:

    int4 tinygemm   bf16 x, 4-bit codes with a scale and a zero per 128 columns (_weight_int4pack_mm)
    int8 weight     bf16 x, 8-bit codes with a scale a row (_weight_int8pack_mm)
    int8 codes      int8 x int8 -> int32, without scales (_int_mm)
    plain           x @ W^T in the records' type

As nibble bench does: some elements of y are checked against sums in double first; each run takes the next of several copies of
its weights, which add up to the working set; arms take turns; medians. On CUDA a sample is a CUDA graph of several runs
between two events; no GPU has run that part yet. Prints a table, fastest first; --json writes records with the fields of nibble's.
Exit status 77 without PyTorch.
"""
import argparse
import json
import statistics
import sys
import time

GROUP = 128
ROUNDS = 15


class Arm:
    """One product: `make(w)` packs a copy of the weights, `run(x, packed)` multiplies, `dense` is what the codes stand for."""

    def __init__(self, column, group, make, run, dense, x):
        self.column, self.group, self.make, self.run, self.dense, self.x = column, group, make, run, dense, x
        self.copies = []


def int4_codes(torch, w):
    """Codes 0..15, scales and the value of code 8, which is what tinygemm calls zero; [N, K], [N, K / GROUP] twice."""
    groups = w.float().reshape(w.shape[0], -1, GROUP)
    low, high = groups.amin(2), groups.amax(2)
    scale = ((high - low) / 15).clamp(min=1e-6).bfloat16().float()
    zero = (low + 8 * scale).bfloat16().float()
    codes = ((groups - zero[..., None]) / scale[..., None] + 8).round().clamp(0, 15)
    dense = (codes - 8) * scale[..., None] + zero[..., None]
    return codes.reshape(w.shape).int(), scale, zero, dense.reshape(w.shape)


def int8_codes(w):
    scale = (w.float().abs().amax(1, keepdim=True) / 127).clamp(min=1e-12)
    codes = (w.float() / scale).round().clamp(-127, 127)
    return codes.char(), scale


def int4_arm(torch, x, w):
    codes, scale, zero, dense = int4_codes(torch, w)
    cuda = x.is_cuda
    params = torch.stack((scale, zero), 2).transpose(0, 1).contiguous().bfloat16()

    def make():
        if not cuda:
            return torch.ops.aten._convert_weight_to_int4pack_for_cpu(codes, 1), params.clone()
        pairs = (codes[:, ::2] << 4 | codes[:, 1::2]).byte().contiguous()
        return torch.ops.aten._convert_weight_to_int4pack(pairs, 8), params.clone()

    multiply = torch.ops.aten._weight_int4pack_mm if cuda else torch.ops.aten._weight_int4pack_mm_for_cpu
    return Arm("int4 tinygemm", GROUP, make, lambda x, p: multiply(x, p[0], GROUP, p[1]), dense, x)


def int8_weight_arm(torch, x, w):
    codes, scale = int8_codes(w)
    scale = scale.bfloat16()
    multiply = torch.ops.aten._weight_int8pack_mm
    return Arm("int8 weight", 0, lambda: (codes.clone(), scale.flatten().clone()),
               lambda x, p: multiply(x, p[0], p[1]), codes.float() * scale.float(), x)


def int8_codes_arm(torch, x, w):
    codes, _ = int8_codes(w)
    x8, _ = int8_codes(x)
    return Arm("int8 codes", 0, codes.clone, lambda x, p: torch._int_mm(x, p.t()), codes.float(), x8)


def plain_arm(torch, x, w):
    return Arm(str(x.dtype).split(".")[-1], 0, w.clone, lambda x, p: x @ p.t(), w.float(), x)


def check(arm, y):
    """Corners and some more against sums in double; how far off they are, as a share of sum |x w|."""
    m, n = y.shape
    rows, columns = sorted({0, m // 2, m - 1}), sorted({0, n // 3, n - 1})
    worst = 0.0
    for i in rows:
        for j in columns:
            products = arm.x[i].double() * arm.dense[j].double()
            worst = max(worst, abs(y[i, j].double() - products.sum()).item() / max(products.abs().sum().item(), 1e-30))
    return worst


def sampler(torch, arm, runs):
    """A function that returns the seconds of a run."""
    turn = 0

    def several():
        nonlocal turn
        for _ in range(runs):
            arm.run(arm.x, arm.copies[turn % len(arm.copies)])
            turn += 1

    if not arm.x.is_cuda:
        def sample():
            begin = time.perf_counter()
            several()
            return (time.perf_counter() - begin) / runs
        return sample
    runs = max(runs, len(arm.copies))
    several()
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        several()
    first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)

    def sample():
        first.record()
        graph.replay()
        last.record()
        last.synchronize()
        return first.elapsed_time(last) / 1000 / runs
    return sample


def bytes_of(packed):
    tensors = packed if isinstance(packed, tuple) else (packed,)
    return sum(t.numel() * t.element_size() for t in tensors)


def open_arms(torch, x, w, working_set, words):
    arms = []
    for build in (int4_arm, int8_weight_arm, int8_codes_arm, plain_arm):
        try:
            arm = build(torch, x, w)
            first = arm.make()
            worst = check(arm, arm.run(arm.x, first))
        except (RuntimeError, NotImplementedError, AttributeError) as error:
            words.add(f"{build.__name__[:-4]}: {str(error).splitlines()[0][:110]}")
            continue
        if worst > 2.0 ** -6:
            words.add(f"{arm.column}: off by {worst:.3g} of the sum of |x w|: left out")
            continue
        arm.copies = [first] + [arm.make() for _ in range(int(working_set / bytes_of(first)))]
        arms.append(arm)
    return arms


def measure(torch, key, settings, words):
    n, k, m = key["n"], key["k"], key["m"]
    place = "cuda" if key["device"].startswith("cuda") else "cpu"
    dtype = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32}[key["type"]]
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(m, k, generator=generator).to(dtype).to(place)
    w = (torch.randn(n, k, generator=generator) * 0.02).to(dtype).to(place)
    arms = open_arms(torch, x, w, settings.working_set * 1e6, words)
    samplers = []
    for arm in arms:
        once = sampler(torch, arm, 1)
        once()
        samplers.append(sampler(torch, arm, max(1, int(0.002 / once()))))
    times = [[] for _ in arms]
    begin = time.monotonic()
    for _ in range(ROUNDS):
        for sample, list_ in zip(samplers, times):
            list_.append(sample())
        if time.monotonic() - begin > settings.seconds * max(1, len(arms)) and len(times[0]) >= 3:
            break
    for arm, list_ in zip(arms, times):
        ordered = sorted(list_)
        yield key | {"column": arm.column, "group": arm.group, "by": f"PyTorch {torch.__version__}", "cold": True,
                     "timed": "graph" if place == "cuda" else "runs", "rounds": len(list_),
                     "seconds_median": statistics.median(list_), "seconds_p10": ordered[len(ordered) // 10],
                     "seconds_p90": ordered[-1 - len(ordered) // 10]}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("nibble", help="records of nibble bench matmul --as jsonl")
    parser.add_argument("--json", help="where to write PyTorch's records")
    parser.add_argument("--seconds", type=float, default=1.0, help="what an arm may take for one M")
    parser.add_argument("--working-set", type=float, default=512, help="megabytes of weights that runs take in turn")
    settings = parser.parse_args()
    records = [json.loads(line) for line in open(settings.nibble)]
    records = [r for r in records if r.get("operation") == "matmul" and "seconds_median" in r]
    if not records:
        sys.exit(f"peers.py: {settings.nibble} holds no record of nibble bench matmul --as jsonl")
    try:
        import torch
    except (ImportError, OSError) as error:
        print(f"PyTorch is not here: {error}")
        sys.exit(77)
    threads = records[0]["threads"]
    if threads:
        torch.set_num_threads(threads)
    fields = ("version", "command", "operation", "device", "model", "shape", "n", "k", "m", "type")
    keys, words, peers = [], set(), []
    for record in records:
        key = {name: record[name] for name in fields}
        usable = record["device"] == "cpu" or record["device"].startswith("cuda:") and torch.cuda.is_available()
        if key not in keys and usable:
            keys.append(key)
    for key in keys:
        with torch.inference_mode():
            peers += measure(torch, key, settings, words)
    if settings.json:
        with open(settings.json, "w") as file:
            file.writelines(json.dumps(record) + "\n" for record in peers)
    print_table(keys, records, peers)
    for word in sorted(words):
        print(f"Not measured: {word}")
    sys.exit(0 if peers else 77)


def print_table(keys, records, peers):
    print("| shape | M | device | column | by | us, median | PyTorch's plain product over it |\n|---|---:|---|---|---|---:|---:|")
    for key in keys:
        here = [r for r in records + peers if all(r[name] == value for name, value in key.items())]
        plain = [r["seconds_median"] for r in here if r["by"].startswith("PyTorch") and r["column"].startswith(("bfl", "fl"))]
        for r in sorted(here, key=lambda r: r["seconds_median"]):
            ratio = f"{plain[0] / r['seconds_median']:.2f}" if plain else ""
            print(f"| {key['shape']} | {key['m']} | {key['device']} | {r['column']} | {r['by']} | "
                  f"{r['seconds_median'] * 1e6:.1f} | {ratio} |")


if __name__ == "__main__":
    main()
