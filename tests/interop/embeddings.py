"""embeddings.py MODEL WORK SCHEME...: transformers loads WORK/minilm-SCHEME with compressed-tensors, on the CPU.

For each scheme:
- the stored planes are bit for bit what the consumer's own compressor stores for the original weights;
- the weights it decodes are bit for bit what `nibble dequantize` wrote (WORK/minilm-SCHEME-decoded);
- the embeddings of sentences.txt agree with the original's: for 8-bit weights a mean cosine of at least 0.999, for fewer
  bits at least that of the consumer's own round-to-nearest with the same settings;
- the same for the model as it runs compressed, with activations quantized where the scheme says so.
"""
import copy
import json
import logging
import pathlib
import sys

import safetensors.torch
import torch
from compressed_tensors.compressors import PackedQuantizationCompressor
from compressed_tensors.quantization import QuantizationScheme
from compressed_tensors.quantization.lifecycle.forward import fake_quantize, quantize
from compressed_tensors.quantization.utils import calculate_qparams
from transformers import AutoModel, AutoTokenizer, CompressedTensorsConfig

LIMIT_8_BITS = 0.999
SUM_NOISE = 1e-6  # matmul sums are not bit-equal from run to run


def embed(model, tokenizer, sentences):
    """Mean of the last hidden state over the tokens of each sentence, as unit vectors."""
    batch = tokenizer(sentences, padding=True, return_tensors="pt")
    with torch.no_grad():
        hidden = model(**batch).last_hidden_state
    mask = batch["attention_mask"].unsqueeze(-1).float()
    return torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1)


def parameters(weight, args):
    """The consumer's scales and zero points of a weight, one row a channel."""
    rows, cols = weight.shape
    group = args.group_size or cols
    grouped = weight.reshape(rows, cols // group, group)
    return calculate_qparams(grouped.amin(-1), grouped.amax(-1), args)


def consumer_planes(weight, scheme, packed):
    """What the consumer stores for a weight, by plane."""
    scale, zero = parameters(weight, scheme.weights)
    planes = {"weight": weight, "weight_scale": scale, "weight_zero_point": zero}
    if packed:
        return PackedQuantizationCompressor.compress(planes, scheme)
    return {"weight": quantize(weight, scale, zero, scheme.weights, dtype=torch.int8), "weight_scale": scale}


def wrong_planes(stored, name, weight, scheme):
    """The planes of a layer that differ from the consumer's."""
    expected = consumer_planes(weight, scheme, f"{name}.weight_packed" in stored)
    same = [k for k, v in expected.items()
            if f"{name}.{k}" in stored and v.dtype == stored[f"{name}.{k}"].dtype and torch.equal(v, stored[f"{name}.{k}"])]
    return [f"{name}.{k}" for k in expected if k not in same]


def with_consumer_weights(model, original, scheme, names):
    """A copy of a model whose named weights are the original's as the consumer rounds them."""
    model, sources = copy.deepcopy(model), dict(original.named_modules())
    for name, module in model.named_modules():
        if name in names:
            weight = sources[name].weight.data
            module.weight.data = fake_quantize(weight, *parameters(weight, scheme.weights), scheme.weights)
    return model


def load(folder, **options):
    model, info = AutoModel.from_pretrained(folder, output_loading_info=True, **options)
    return model.eval(), [str(k) for key in ("missing_keys", "unexpected_keys", "mismatched_keys") for k in info[key]]


class Judge:
    def __init__(self, source):
        self.sentences = (pathlib.Path(__file__).parent / "sentences.txt").read_text().splitlines()
        self.tokenizer = AutoTokenizer.from_pretrained(source)
        self.original, _ = load(source)
        self.truth = embed(self.original, self.tokenizer, self.sentences)

    def cosine(self, model):
        cosines = (embed(model, self.tokenizer, self.sentences) * self.truth).sum(1)
        return round(cosines.mean().item(), 6), round(cosines.min().item(), 6)

    def check(self, scheme_name, work):
        folder = work / f"minilm-{scheme_name}"
        stored = safetensors.torch.load_file(folder / "model.safetensors")
        config = json.loads((folder / "config.json").read_text())["quantization_config"]
        scheme = QuantizationScheme(**next(iter(config["config_groups"].values())))
        names = {k.rsplit(".", 1)[0] for k in stored if k.endswith(".weight_scale")}
        modules = dict(self.original.named_modules())
        planes = [p for n in sorted(names) for p in wrong_planes(stored, n, modules[n].weight.data, scheme)]

        decoded, problems = load(folder, quantization_config=CompressedTensorsConfig(dequantize=True))
        expected = safetensors.torch.load_file(work / f"minilm-{scheme_name}-decoded" / "model.safetensors")
        wrong = [k for k, v in decoded.state_dict().items() if not torch.equal(v, expected[k])]
        mean, least = self.cosine(decoded)
        consumer, _ = self.cosine(with_consumer_weights(self.original, self.original, scheme, names))
        limit = LIMIT_8_BITS if scheme.weights.num_bits == 8 else consumer - SUM_NOISE
        passed = bool(names) and not (planes or wrong or problems) and mean >= limit
        result = {"test": "embeddings", "scheme": scheme_name, "mean_cosine": mean, "min_cosine": least,
                  "consumer_rtn_mean_cosine": consumer, "limit": limit, "sentences": len(self.sentences),
                  "layers": len(names), "planes_unlike_consumers": planes, "decoded_unlike_nibbles": wrong,
                  "loading_problems": problems}
        if scheme.weights.symmetric:
            # With zero points compressed-tensors 0.20 expects them unpacked in a module and finds them packed in the file,
            # its own files included: such models load decoded only.
            running, problems = load(folder)
            result["compressed_mean_cosine"], _ = self.cosine(running)
            own = with_consumer_weights(running, self.original, scheme, names)
            result["compressed_consumer_mean_cosine"], _ = self.cosine(own)
            passed &= not problems
            passed &= result["compressed_mean_cosine"] >= result["compressed_consumer_mean_cosine"] - SUM_NOISE
        print(json.dumps({**result, "passed": passed}), flush=True)
        return passed


def main():
    logging.disable(logging.WARNING)
    torch.set_num_threads(2)
    judge, work = Judge(sys.argv[1]), pathlib.Path(sys.argv[2])
    return all([judge.check(scheme, work) for scheme in sys.argv[3:]])


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
