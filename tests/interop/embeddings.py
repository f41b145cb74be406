"""embeddings.py MODEL WORK SCHEME...: transformers loads WORK/minilm-SCHEME with compressed-tensors, on the CPU.

For each scheme: every weight loads under its own name; every weight as the consumer decodes it is bit for bit what
`nibble dequantize` wrote (WORK/minilm-SCHEME-decoded); and the sentence embeddings agree with the original's. The limit
for 8 bits is a mean cosine of 0.999; for fewer bits it is the consumer's own round-to-nearest with the same settings,
applied to the original weights.
"""
import copy
import json
import pathlib
import sys

import safetensors.torch
import torch
from compressed_tensors.quantization import QuantizationArgs
from compressed_tensors.quantization.lifecycle.forward import fake_quantize
from compressed_tensors.quantization.utils import calculate_qparams
from transformers import AutoModel, AutoTokenizer

LIMIT_8_BITS = 0.999
SUM_NOISE = 1e-6  # matmul sums are not bit-equal from run to run


def embed(model, tokenizer, sentences):
    """Mean of the last hidden state over the tokens of each sentence, as unit vectors."""
    batch = tokenizer(sentences, padding=True, return_tensors="pt")
    with torch.no_grad():
        hidden = model(**batch).last_hidden_state
    mask = batch["attention_mask"].unsqueeze(-1).float()
    return torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=1)


def round_to_nearest(weight, args):
    """What the consumer's own arithmetic makes of a weight."""
    rows, cols = weight.shape
    group = args.group_size or cols
    grouped = weight.reshape(rows, cols // group, group)
    scale, zero = calculate_qparams(grouped.amin(-1), grouped.amax(-1), args)
    return fake_quantize(weight, scale, zero, args)


def consumer_model(original, args, names):
    """The original with the named weights rounded by the consumer."""
    model = copy.deepcopy(original)
    modules = dict(model.named_modules())
    for name in names:
        modules[name].weight.data = round_to_nearest(modules[name].weight.data, args)
    return model


def load(folder):
    model, info = AutoModel.from_pretrained(folder, output_loading_info=True)
    problems = [k for key in ("missing_keys", "unexpected_keys", "mismatched_keys") for k in info[key]]
    return model.eval(), [str(p) for p in problems if "position_ids" not in str(p)]


def check_scheme(scheme, work, original, tokenizer, sentences, truth):
    folder = work / f"minilm-{scheme}"
    config = json.loads((folder / "config.json").read_text())["quantization_config"]
    (group,) = config["config_groups"].values()
    args = QuantizationArgs(**group["weights"])
    model, problems = load(folder)
    cosine = (embed(model, tokenizer, sentences) * truth).sum(1)  # the first forward decodes the weights

    decoded = safetensors.torch.load_file(work / f"minilm-{scheme}-decoded" / "model.safetensors")
    quantized = [n for n, m in model.named_modules() if getattr(m, "quantization_scheme", None)]
    modules = dict(model.named_modules())
    wrong = [n for n in quantized if not torch.equal(modules[n].weight.data, decoded[n + ".weight"])]

    own = consumer_model(original, args, quantized)
    own_modules = dict(own.named_modules())
    total = sum(modules[n].weight.numel() for n in quantized)
    differ = sum((own_modules[n].weight != modules[n].weight).sum().item() for n in quantized)
    own_cosine = (embed(own, tokenizer, sentences) * truth).sum(1).mean().item()
    limit = LIMIT_8_BITS if args.num_bits == 8 else own_cosine - SUM_NOISE
    passed = not problems and not wrong and bool(quantized) and cosine.mean().item() >= limit
    print(json.dumps({"test": "embeddings", "scheme": scheme, "passed": passed, "sentences": len(sentences),
                      "mean_cosine": round(cosine.mean().item(), 6), "min_cosine": round(cosine.min().item(), 6),
                      "consumer_rtn_mean_cosine": round(own_cosine, 6), "limit": round(limit, 6),
                      "quantized_layers": len(quantized), "weights_unlike_consumers": differ / total,
                      "decoded_unlike_nibbles": wrong, "loading_problems": problems}))
    return passed


def main():
    source, work, schemes = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3:]
    sentences = (pathlib.Path(__file__).parent / "sentences.txt").read_text().splitlines()
    tokenizer = AutoTokenizer.from_pretrained(source)
    original, _ = load(source)
    truth = embed(original, tokenizer, sentences)
    return all([check_scheme(s, work, original, tokenizer, sentences, truth) for s in schemes])


if __name__ == "__main__":
    torch.set_num_threads(2)
    sys.exit(0 if main() else 1)
