#!/usr/bin/env python3
"""What the tuned CUDA rows should take, beside what they took.

    tests/cuda_binary.sh | bench/predicted.py make > bench/predict.jsonl
    bench/predicted.py table bench/predict.jsonl kernels.jsonl matmul.jsonl

A prediction is bytes moved, one read and one write of each, at 90 % of an H200's 4.8 TB/s, on about 4096 x 14336 elements
(fewer columns and more rows for rows that take less); occupancy is what registers allow of an sm_90's 64 warps. Measured
is bench_kernels' median rate on the same bytes, beside its share of the copy's; of a matmul, the median of `nibble bench matmul
--as jsonl` beside its share of the roof. Scales are two bytes.

Of ggml's blocks, from and to F16: at that rate, or at 80 % of an H200's instructions (132 units of four warps a clock,
1.755 GHz) where that takes longer. Instructions an element were counted in nvcc 13.0's SASS for sm_90a, with the branches
of a rare case compiled away (x not aligned or not finite, sums too large for the short way to round, a step of 0): steps of
a search, times how many there are (passes: at most), and what is done once a group. Integers, comparisons and selections
go at half the rate: where they take longer so, twice their number counts. Rows "weighted" are with an importance.

Of a matmul: 8192 x 8192, m rows of x, int4 in groups of 128 or int8 with one scale a row. W is read at that rate, with 2.5 us
more for start and tail, or tensor cores are the limit where that takes longer: 400 TFLOPS (f16, bf16) and 600 TOPS (int8
with scales in the loop) are what the best mma.sync kernels published for an H200 reach, 850 TOPS is hoped for of exact128.
"""
import json
import re
import sys

BANDWIDTH = 4.8e12 * 0.9
ELEMENTS = 4096 * 14336
WIDTH = {"F32": 4, "F16": 2, "BF16": 2}


def rows():
    """(row, entry, type, columns, bytes an element beyond the elements themselves)"""
    for t in WIDTH:
        for bits in (4, 8):
            yield f"cuda.quantize.groups.{t}_{bits}", f"quantize_groups_{t}_{bits}", t, 14336, bits / 8 + 2 / 128
        for v in (1, 2, 4, 8):
            if v < 8 or t != "F32":
                cols = min(2048 * v, 14336)
                yield f"cuda.quantize.row{v}.{t}_8", f"quantize_row{v}_{t}_8", t, cols, 1 + 2 / cols
        yield f"cuda.ranges.groups.{t}", f"ranges_groups_{t}", t, 14336, 12 / 128
        yield f"cuda.ranges.rows.{t}", f"ranges_rows_{t}", t, 14336, 12 / 14336
        yield f"cuda.dequantize.octets.{t}_4", f"dequantize_{t}_4", t, 14336, 1 / 2 + 2 / 128
        yield f"cuda.dequantize.octets.{t}_8", f"dequantize_{t}_8", t, 14336, 1 + 2 / 14336


def matmul_rows():
    """(family, type, bits, m, bytes an element of W, threads, bytes of shared memory, operations a second)"""
    for t in ("F16", "BF16", "I8"):
        for bits in (4, 8):
            w = 1 / 2 + 2 / 128 if bits == 4 else 1 + 2 / 8192
            small = {("F", 4, 8): 73728, ("F", 8, 8): 61440, ("F", 4, 16): 98304, ("F", 8, 16): 73728,
                     ("I", 4, 16): 73728, ("I", 8, 16): 61440}
            for m in (8, 16):
                shared = small.get(("I" if t == "I8" else "F", bits, m))
                if shared:
                    yield f"small{m}", t, bits, 1 if m == 8 else 16, w, 128, shared, 400e12
            tiles = {("F", 4): (49152, 81920), ("F", 8): (65536, 98304), ("I", 4): (33792, 67584), ("I", 8): (49152, 67584)}
            for name, m, shared in zip(("tiles64", "tiles128"), (64, 8192), tiles[("I" if t == "I8" else "F", bits)]):
                yield name, t, bits, m, w, 256, shared, 600e12 if t == "I8" else 400e12
            if t == "I8":
                yield "exact128", t, bits, 8192, w, 128, 67584, 850e12


def make_matmul(registers):
    n = 8192
    for name, t, bits, m, w, threads, shared, rate in matmul_rows():
        count = registers[f"matmul_{name}_{t}_{bits}"]
        blocks = min(65536 // (-(-int(count) // 8) * 8 * threads), 227 * 1024 // (shared + 2048))
        us = max(n * n * w / BANDWIDTH, 2 * m * n * n / rate) * 1e6 + 2.5
        print(json.dumps({"row": f"cuda.matmul.{name}.{t}_{bits}", "rows": n, "cols": n, "m": m,
                          "bytes_per_element": round(w, 4), "registers": int(count), "shared_bytes": shared,
                          "occupancy_percent": round(blocks * threads / 32 / 64 * 100), "microseconds": round(us, 1)}))


# elements and bytes of a block, instructions a weight of quantize, without and with an importance, of dequantize and unpack
BLOCKS = {
    "q4_0": (32, 18, 13.5, 263, 11.0, 10.6), "q4_1": (32, 20, 16.1, 832, 12.2, 13.9), "q5_0": (32, 22, 14.9, 264, 12.3, 13.6),
    "q5_1": (32, 24, 17.4, 833, 13.3, 16.6), "q8_0": (32, 34, 16.3, None, 11.0, 10.6), "iq4_nl": (32, 18, 1013, 1034, 14.3, 14.8),
    "q2_K": (256, 84, 441, 1418, 17.6, 25.0), "q3_K": (256, 110, 309, 688, 16.6, 20.1), "q4_K": (256, 144, 534, 983, 12.8, 15.1),
    "q5_K": (256, 176, 427, 984, 13.9, 17.8), "q6_K": (256, 210, 344, 329, 17.4, 20.5), "iq4_xs": (256, 136, 1020, 1047, 14.1, 14.7),
}
ISSUE = 132 * 4 * 32 * 1.755e9 * 0.8
BITS = {"q2_K": 2, "q3_K": 3, "q4_0": 4, "q4_1": 4, "q4_K": 4, "q5_0": 5, "q5_1": 5, "q5_K": 5, "q6_K": 6}


def block_rows():
    """(row, entry, bytes an element, instructions an element)"""
    for name, (elements, size, plain, weighted, back, planes) in BLOCKS.items():
        stored, of_32 = size / elements, elements == 32 and name != "iq4_nl"
        planar = BITS.get(name, 8) / 8 + (2 / 32 if elements == 32 else 4 / (16 if name in ("q2_K", "q3_K", "q6_K") else 32))
        upper = name.upper()[:-2] + "_K" if name.endswith("_K") else name.upper()
        yield f"cuda.quantize_blocks.{name}", f"quantize_blocks_{name}", 2 + stored, plain
        if weighted and of_32:
            yield f"cuda.quantize_blocks.weighted_{name}", f"quantize_blocks_weighted_{name}", 4 + stored, weighted
        elif weighted:
            yield f"cuda.quantize_blocks.{name} weighted", f"quantize_blocks_{name}", 2 + stored, weighted
        yield f"cuda.dequantize_blocks.{name}", f"dequantize_blocks_{upper}", 2 + stored, back
        yield f"cuda.unpack_blocks.{name}", f"unpack_blocks_{upper}", planar + stored, planes


def make_blocks(kernels):
    for row, entry, per_element, instructions in block_rows():
        count, shared = kernels[entry]
        blocks = min(16, 65536 // (-(-count // 8) * 8 * 128), 227 * 1024 // (shared + 1024))
        us = ELEMENTS * max(per_element / BANDWIDTH, instructions / ISSUE) * 1e6
        print(json.dumps({"row": row, "rows": 4096, "cols": 14336, "bytes_per_element": round(per_element, 4),
                          "instructions_per_element": instructions, "registers": count, "shared_bytes": shared,
                          "occupancy_percent": round(blocks * 4 / 64 * 100), "microseconds": round(us, 1)}))


def make():
    text = sys.stdin.read()
    registers = dict(re.findall(r"'nib_cuda_(\w+)'[^:]*?: +(\d+) registers", text))
    shared = dict(re.findall(r"'nib_cuda_(\w+)'[^:]*?: +\d+ registers.*?(\d+) bytes smem", text))
    for row, entry, t, cols, extra in rows():
        count = int(registers[entry])
        blocks = min(8, 65536 // (-(-count // 8) * 8 * 256))
        per_element = WIDTH[t] + extra
        print(json.dumps({"row": row, "rows": ELEMENTS // cols, "cols": cols, "bytes_per_element": round(per_element, 4),
                          "registers": count, "occupancy_percent": round(blocks * 8 / 64 * 100),
                          "microseconds": round(ELEMENTS // cols * cols * per_element / BANDWIDTH * 1e6, 1)}))
    make_matmul(registers)
    make_blocks({entry: (int(count), int(shared.get(entry, 0))) for entry, count in registers.items()})


def row_of(m):
    """The row that bench_kernels' arm ran, by the conditions of cuda_kernels.def."""
    four, t = m["on"] == "int4 g128", m["type"]
    if m["on"] in BLOCKS:
        return f"cuda.{m['operation']}_blocks.{m['on']}"
    if m["operation"] == "dequantize":
        return f"cuda.dequantize.octets.{t}_{4 if four else 8}"
    if m["operation"] == "ranges":
        return f"cuda.ranges.{'groups' if four else 'rows'}.{t}"
    if m["operation"] == "quantize":
        vectors = next((v for v in (1, 2, 4, 8) if m["cols"] <= 2048 * v), None)
        return f"cuda.quantize.groups.{t}_4" if four else f"cuda.quantize.row{vectors}.{t}_8"
    return None


def read(path):
    with open(path) as lines:
        return [json.loads(line) for line in lines]


def table(predictions, kernels, products):
    measured = {row_of(m): m for m in read(kernels)}
    # int8 activations: of two columns with one kernel the later, "codes", is without the launch that makes them
    matmul = {(m["kernel"], m["n"], m["k"], m["m"]): m for m in read(products) if m["by"] == "nibble"}
    print("| row | shape | bytes/element | registers | predicted us | measured us | % of copy or roof |")
    print("|---|---|---:|---:|---:|---:|---:|")
    for p in read(predictions):
        us, percent, shape = None, None, f"{p['rows']}x{p['cols']}"
        if "m" in p:
            shape += f", M {p['m']}"
            m = matmul.get((p["row"], p["rows"], p["cols"], p["m"]))
            if m:
                us, percent = m["seconds_median"] * 1e6, m["percent_of_roof"]
        elif p["row"] in measured:
            m = measured[p["row"]]
            us = p["rows"] * p["cols"] * p["bytes_per_element"] / (m["gbps_median"] * 1e9) * 1e6
            percent = m["percent_of_copy_median"]
        print(f"| {p['row']} | {shape} | {p['bytes_per_element']:.3f} | {p['registers']} | {p['microseconds']:.1f} "
              f"| {'-' if us is None else f'{us:.1f}'} | {'-' if percent is None else f'{percent:.0f}'} |")


if __name__ == "__main__":
    if sys.argv[1:] == ["make"]:
        make()
    elif len(sys.argv) == 5 and sys.argv[1] == "table":
        table(*sys.argv[2:])
    else:
        sys.exit(__doc__)
