#!/usr/bin/env python3
"""Turns a small plain GGUF file of a language model into what it could have come from.

  gguf_to_hf.py IN.gguf OUTDIR   writes OUTDIR/model.safetensors under transformers' names, q and k in
                                 its order of rows where the architecture is llama, and
                                 OUTDIR/template.gguf with the keys alone
"""
import json
import os
import re
import struct
import sys

SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
TYPES = {0: ('F32', 4), 1: ('F16', 2), 30: ('BF16', 2)}
LAYER = {'attn_norm': 'input_layernorm', 'attn_q': 'self_attn.q_proj', 'attn_k': 'self_attn.k_proj',
         'attn_v': 'self_attn.v_proj', 'attn_output': 'self_attn.o_proj', 'ffn_norm': 'post_attention_layernorm',
         'ffn_gate': 'mlp.gate_proj', 'ffn_up': 'mlp.up_proj', 'ffn_down': 'mlp.down_proj'}
TOP = {'token_embd': 'model.embed_tokens', 'output_norm': 'model.norm', 'output': 'lm_head'}


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 4

    def take(self, form):
        value = struct.unpack_from('<' + form, self.data, self.at)[0]
        self.at += struct.calcsize('<' + form)
        return value

    def string(self):
        size = self.take('Q')
        self.at += size
        return self.data[self.at - size:self.at].decode()

    def skip(self, kind):
        if kind == 8:
            self.string()
        elif kind == 9:
            element, count = self.take('I'), self.take('Q')
            for _ in range(count):
                self.skip(element)
        else:
            self.at += SIZES[kind]


def to_halves(data, rows, heads):
    """Rows of each head from pairs of neighbours to two halves."""
    row, head = len(data) // rows, rows // heads
    order = [h * head + i * 2 + j for h in range(heads) for j in range(2) for i in range(head // 2)]
    return b''.join(data[r * row:(r + 1) * row] for r in order)


def main():
    source, out = sys.argv[1], sys.argv[2]
    data = open(source, 'rb').read()
    r = Reader(data)
    version, tensors, keys = r.take('I'), r.take('q'), r.take('q')
    start, numbers, architecture = r.at, {}, None
    for _ in range(keys):
        name, kind = r.string(), r.take('I')
        at = r.at
        r.skip(kind)
        if kind == 4:
            numbers[name] = struct.unpack_from('<I', data, at)[0]
        if name == 'general.architecture':
            architecture = data[at + 8:r.at].decode()
    os.makedirs(out, exist_ok=True)
    with open(os.path.join(out, 'template.gguf'), 'wb') as f:
        f.write(struct.pack('<4sIqq', b'GGUF', version, 0, keys) + data[start:r.at])
    infos = []
    for _ in range(tensors):
        name, rank = r.string(), r.take('I')
        shape = [r.take('q') for _ in range(rank)][::-1]
        infos.append((name, shape, r.take('I'), r.take('Q')))
    base = -(-r.at // 32) * 32
    header, body = {}, b''
    for name, shape, kind, offset in infos:
        kind_name, size = TYPES[kind]
        for n in shape:
            size *= n
        values = data[base + offset:base + offset + size]
        layer = re.match(r'blk\.(\d+)\.(\w+)\.(\w+)$', name)
        stem, ending = name.rsplit('.', 1)
        theirs = 'model.layers.%s.%s.%s' % (layer[1], LAYER[layer[2]], layer[3]) if layer else TOP[stem] + '.' + ending
        heads = {'attn_q': 'head_count', 'attn_k': 'head_count_kv'}.get(layer and layer[2])
        if heads and architecture == 'llama':
            values = to_halves(values, shape[0], numbers['llama.attention.' + heads])
        header[theirs] = {'dtype': kind_name, 'shape': shape, 'data_offsets': [len(body), len(body) + size]}
        body += values
    text = json.dumps(header).encode()
    with open(os.path.join(out, 'model.safetensors'), 'wb') as f:
        f.write(struct.pack('<Q', len(text)) + text + body)


if __name__ == "__main__":
    main()
