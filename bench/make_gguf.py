#!/usr/bin/env python3
"""Makes a model of llama's shapes as an F16 GGUF file of about SIZE bytes (as 1G), with weights of a normal distribution.

  make_gguf.py OUT SIZE [IMATRIX]   IMATRIX: an importance matrix for it, as llama-imatrix writes

Layers of 2048 x 2048, 256 x 2048 and 5632 x 2048, as many as fit, and an embedding of 32000 x 2048. The weights repeat
every 4194301 elements, a prime, so that no two rows begin alike; no vocabulary: llama-quantize needs none.
"""
import random
import struct
import sys

F32, F16, ALIGNMENT, PERIOD = 0, 1, 32, 4194301
EMBD, KV, FF, VOCAB = 2048, 256, 5632, 32000
LAYER = [('attn_q', EMBD, EMBD), ('attn_k', EMBD, KV), ('attn_v', EMBD, KV), ('attn_output', EMBD, EMBD),
         ('ffn_gate', EMBD, FF), ('ffn_up', EMBD, FF), ('ffn_down', FF, EMBD)]


def text(s):
    return struct.pack('<Q', len(s)) + s.encode()


def key(name, value):
    kind, form = (4, 'I') if isinstance(value, int) else (6, 'f')
    if isinstance(value, str):
        return text(name) + struct.pack('<I', 8) + text(value)
    return text(name) + struct.pack('<I' + form, kind, value)


def write(path, keys, tensors, fill):
    """tensors: (name, shape fastest first, type); fill(file, name, count, type) writes one."""
    with open(path, 'wb') as f:
        f.write(b'GGUF' + struct.pack('<IQQ', 3, len(tensors), len(keys)) + b''.join(keys))
        at = 0
        for name, shape, kind in tensors:
            f.write(text(name) + struct.pack('<I%dQIQ' % len(shape), len(shape), *shape, kind, at))
            size = count_of(shape) * (4 if kind == F32 else 2)
            at += -(-size // ALIGNMENT) * ALIGNMENT
        for name, shape, kind in tensors:
            f.write(b'\0' * (-f.tell() % ALIGNMENT))
            fill(f, name, count_of(shape), kind)
        f.write(b'\0' * (-f.tell() % ALIGNMENT))


def count_of(shape):
    n = 1
    for d in shape:
        n *= d
    return n


class Weights:
    """F16 from a pool, onwards from where the last tensor ended."""

    def __init__(self, draw):
        pool = struct.pack('<%de' % PERIOD, *(draw() * 0.02 for _ in range(PERIOD)))
        self.pool, self.at = pool + pool, 0

    def fill(self, f, name, count, kind):
        if kind == F32:
            f.write(struct.pack('<f', 1.0) * count)
            return
        while count:
            n = min(count, PERIOD)
            f.write(memoryview(self.pool)[2 * self.at:2 * (self.at + n)])
            self.at = (self.at + n) % PERIOD
            count -= n


def model(path, size, draw):
    of_layer = sum(k * n for _, k, n in LAYER)
    layers = max(1, round((size / 2 - VOCAB * EMBD) / of_layer))
    keys = [key('general.architecture', 'llama'), key('llama.context_length', 2048), key('llama.embedding_length', EMBD),
            key('llama.block_count', layers), key('llama.feed_forward_length', FF), key('llama.attention.head_count', 32),
            key('llama.attention.head_count_kv', 4), key('llama.attention.layer_norm_rms_epsilon', 1e-5),
            key('llama.vocab_size', VOCAB), key('tokenizer.ggml.model', 'none')]
    tensors = [('token_embd.weight', (EMBD, VOCAB), F16), ('output_norm.weight', (EMBD,), F32)]
    for i in range(layers):
        tensors += [('blk.%d.%s.weight' % (i, name), (k, n), F16) for name, k, n in LAYER]
        tensors += [('blk.%d.%s.weight' % (i, name), (EMBD,), F32) for name in ('attn_norm', 'ffn_norm')]
    write(path, keys, tensors, Weights(draw).fill)
    return tensors


def imatrix(path, tensors, draw):
    keys = [key('general.type', 'imatrix'), text('imatrix.datasets') + struct.pack('<IIQ', 9, 8, 1) + text('made'),
            key('imatrix.chunk_count', 1), key('imatrix.chunk_size', 512)]
    entries = []
    for name, shape, kind in tensors:
        if kind == F16:
            entries += [(name + '.in_sum2', (shape[0], 1), F32), (name + '.counts', (1, 1), F32)]

    def fill(f, name, count, kind):
        values = [512.0] if name.endswith('.counts') else [draw() ** 2 * 512 for _ in range(count)]
        f.write(struct.pack('<%df' % count, *values))

    write(path, keys, entries, fill)


def main():
    number, unit = sys.argv[2][:-1], sys.argv[2][-1]
    draw = random.Random(1).gauss
    tensors = model(sys.argv[1], float(number) * {'M': 1e6, 'G': 1e9}[unit], lambda: draw(0.0, 1.0))
    if len(sys.argv) > 3:
        imatrix(sys.argv[3], tensors, lambda: draw(0.0, 1.0))


main()
