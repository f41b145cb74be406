#!/usr/bin/env python3
"""rope_factors.py FILE.gguf HEAD BASE FACTOR LOW HIGH CONTEXT: the tensor rope_freqs.weight of a GGUF file, which must
lie in its place by name, against the formula as llama.cpp's converter states it."""
import math
import struct
import sys

from gguf_to_hf import Reader


def read(path):
    """Names in the file's order, and the F32 values of rope_freqs.weight."""
    data = open(path, 'rb').read()
    r = Reader(data)
    r.take('I')
    tensors, keys = r.take('q'), r.take('q')
    for _ in range(keys):
        r.string()
        r.skip(r.take('I'))
    names, place = [], None
    for _ in range(tensors):
        names.append(r.string())
        shape = [r.take('q') for _ in range(r.take('I'))]
        kind, offset = r.take('I'), r.take('Q')
        if names[-1] == 'rope_freqs.weight' and kind == 0 and len(shape) == 1:
            place = (offset, shape[0])
    return names, struct.unpack_from('<%df' % place[1], data, -(-r.at // 32) * 32 + place[0])


def main():
    names, values = read(sys.argv[1])
    head, base, factor, low, high, context = map(float, sys.argv[2:])
    top = [name for name in names if not name.startswith('blk.')]
    assert names[:len(top)] == sorted(top), names
    assert len(values) == head / 2, len(values)
    kinds = set()
    for i, value in enumerate(values):
        wavelength = 2 * math.pi / (1 / base ** (2 * i / head))
        if wavelength < context / high:
            kinds.add('short')
            expected = 1
        elif wavelength > context / low:
            kinds.add('long')
            expected = factor
        else:
            kinds.add('between')
            smooth = (context / wavelength - low) / (high - low)
            expected = 1 / ((1 - smooth) / factor + smooth)
        assert abs(value - expected) <= 1e-6 * expected, (i, value, expected)
    assert len(kinds) == 3, kinds


if __name__ == "__main__":
    main()
