#!/usr/bin/env python3
"""What the tuned CUDA rows should take, beside what they took.

    tests/cuda_binary.sh | bench/predicted.py make > bench/predict.jsonl
    bench/predicted.py table bench/predict.jsonl kernels.jsonl

A prediction is bytes moved, one read and one write of each, at 90 % of an H200's 4.8 TB/s, on about 4096 x 14336 elements
(fewer columns and more rows for rows that take less); occupancy is what registers allow of an sm_90's 64 warps. Measured
is bench_kernels' median rate on the same bytes. Scales are two bytes.
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


def make():
    registers = dict(re.findall(r"'nib_cuda_(\w+)'[^U]*?: +(\d+) registers", sys.stdin.read()))
    for row, entry, t, cols, extra in rows():
        count = int(registers[entry])
        blocks = min(8, 65536 // (-(-count // 8) * 8 * 256))
        per_element = WIDTH[t] + extra
        print(json.dumps({"row": row, "rows": ELEMENTS // cols, "cols": cols, "bytes_per_element": round(per_element, 4),
                          "registers": count, "occupancy_percent": round(blocks * 8 / 64 * 100),
                          "microseconds": round(ELEMENTS // cols * cols * per_element / BANDWIDTH * 1e6, 1)}))


def row_of(m):
    """The row that bench_kernels' arm ran, by the conditions of cuda_kernels.def."""
    four, t = m["on"] == "int4 g128", m["type"]
    if m["operation"] == "dequantize":
        return f"cuda.dequantize.octets.{t}_{4 if four else 8}"
    if m["operation"] == "ranges":
        return f"cuda.ranges.{'groups' if four else 'rows'}.{t}"
    if m["operation"] == "quantize":
        vectors = next((v for v in (1, 2, 4, 8) if m["cols"] <= 2048 * v), None)
        return f"cuda.quantize.groups.{t}_4" if four else f"cuda.quantize.row{vectors}.{t}_8"
    return None


def table(predictions, measurements):
    measured = {row_of(m): m for m in map(json.loads, open(measurements))}
    print("| row | shape | bytes/element | registers | predicted us | measured us | % of copy |")
    print("|---|---|---:|---:|---:|---:|---:|")
    for p in map(json.loads, open(predictions)):
        m = measured.get(p["row"])
        us = p["rows"] * p["cols"] * p["bytes_per_element"] / (m["gbps_median"] * 1e9) * 1e6 if m else None
        print(f"| {p['row']} | {p['rows']}x{p['cols']} | {p['bytes_per_element']:.3f} | {p['registers']} "
              f"| {p['microseconds']:.1f} | {f'{us:.1f}' if m else '-'} "
              f"| {m['percent_of_copy_median'] if m else '-'} |")


if __name__ == "__main__":
    if sys.argv[1:] == ["make"]:
        make()
    elif len(sys.argv) == 4 and sys.argv[1] == "table":
        table(*sys.argv[2:])
    else:
        sys.exit(__doc__)
