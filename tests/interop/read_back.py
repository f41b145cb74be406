"""read_back.py OUTPUT...: the safetensors library reads every tensor of every output, bit for bit.

The witness is the file itself: header and bytes read by hand, from the format's description alone. Where an output has an
index, it must name every tensor once, in the right shard.
"""
import json
import pathlib
import sys

import safetensors
import torch

TYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I8": torch.int8, "U8": torch.uint8,
         "I32": torch.int32, "I64": torch.int64}


def by_hand(path):
    """name -> (dtype, shape, bytes)"""
    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + length])
    header.pop("__metadata__", None)
    body = data[8 + length:]
    assert max((t["data_offsets"][1] for t in header.values()), default=0) == len(body), f"{path}: bytes no tensor owns"
    return {name: (t["dtype"], t["shape"], body[slice(*t["data_offsets"])]) for name, t in header.items()}


def read_output(folder):
    shards = sorted(folder.glob("*.safetensors"))
    tensors = 0
    where = {}
    for shard in shards:
        expected = by_hand(shard)
        with safetensors.safe_open(shard, "pt") as opened:
            assert sorted(opened.keys()) == sorted(expected), f"{shard}: names differ"
            for name in opened.keys():
                dtype, shape, data = expected[name]
                got = opened.get_tensor(name)
                assert got.dtype == TYPES[dtype] and list(got.shape) == shape, f"{shard}: {name}: type or shape"
                raw = bytes(got.contiguous().flatten().view(torch.uint8).numpy()) if got.numel() else b""
                assert raw == data, f"{shard}: {name}: bytes differ"
                where[name] = shard.name
                tensors += 1
    index = folder / "model.safetensors.index.json"
    if len(shards) > 1:
        assert json.loads(index.read_text())["weight_map"] == where, f"{index}: not what the shards hold"
    assert tensors, f"{folder}: no tensors"
    return {"output": folder.name, "shards": len(shards), "tensors": tensors}


def main():
    failed = 0
    folders = [pathlib.Path(a) for a in sys.argv[1:] if pathlib.Path(a).is_dir()]
    for folder in folders:
        try:
            print(json.dumps({"test": "safetensors", **read_output(folder), "passed": True}))
        except Exception as error:  # whatever the library makes of a bad file is the finding
            print(json.dumps({"test": "safetensors", "output": folder.name, "passed": False, "error": str(error)}))
            failed += 1
    return failed


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
