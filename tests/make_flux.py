#!/usr/bin/env python3
"""make_flux.py OUT.safetensors: a sparse file with the tensors of Flux Schnell (12 billion parameters) in F16, all zero.
Shapes as its model card and code give them: hidden 3072, 19 double and 38 single blocks."""
import json
import struct
import sys

H = 3072
shapes = {}


def linear(name, out, inp):
    shapes[name + '.weight'] = [out, inp]
    shapes[name + '.bias'] = [out]


linear('img_in', H, 64)
linear('txt_in', H, 4096)
for part, inp in (('time_in', 256), ('vector_in', 768)):
    linear(part + '.in_layer', H, inp)
    linear(part + '.out_layer', H, H)
for i in range(19):
    for side in ('img', 'txt'):
        block = 'double_blocks.%d.%s_' % (i, side)
        linear(block + 'mod.lin', 6 * H, H)
        linear(block + 'attn.qkv', 3 * H, H)
        linear(block + 'attn.proj', H, H)
        linear(block + 'mlp.0', 4 * H, H)
        linear(block + 'mlp.2', H, 4 * H)
        for norm in ('query_norm', 'key_norm'):
            shapes[block + 'attn.norm.' + norm + '.scale'] = [128]
for i in range(38):
    block = 'single_blocks.%d.' % i
    linear(block + 'linear1', 7 * H, H)
    linear(block + 'linear2', H, 5 * H)
    linear(block + 'modulation.lin', 3 * H, H)
    for norm in ('query_norm', 'key_norm'):
        shapes[block + 'norm.' + norm + '.scale'] = [128]
linear('final_layer.linear', 64, H)
linear('final_layer.adaLN_modulation.1', 2 * H, H)

header, at = {}, 0
for name, shape in shapes.items():
    size = 2
    for n in shape:
        size *= n
    header[name] = {'dtype': 'F16', 'shape': shape, 'data_offsets': [at, at + size]}
    at += size
text = json.dumps(header).encode()
with open(sys.argv[1], 'wb') as f:
    f.write(struct.pack('<Q', len(text)) + text)
    f.truncate(8 + len(text) + at)
