#!/usr/bin/env bash
# test_gguf.sh - GGUF as people type it: test_gguf.sh NIBBLE MAKE_CHECKPOINT
set -uf -o pipefail
nibble=$1 make_checkpoint=$2
here=$(cd "$(dirname "$0")" && pwd)
golden=$here/golden/gguf
# shellcheck source=tests/typed.sh
source "$(dirname "$0")/typed.sh"

# is WHAT COMMAND...: the command succeeds.
is() {
    local what=$1
    shift
    if "$@" >/dev/null 2>err; then pass; else fail "$what"; fi
}

# has_hash FILE ENTRY: the file has the SHA-256 of the manifest's entry.
has_hash() {
    python3 - "$golden/manifest.json" "$1" "$2" <<'END'
import hashlib, json, sys
entry = next(e for e in json.load(open(sys.argv[1]))['entries'] if e['id'] == sys.argv[3])
sys.exit(hashlib.sha256(open(sys.argv[2], 'rb').read()).hexdigest() != entry['sha256'])
END
}

tied=$golden/in/llama_f16_gqa4_tied.gguf

# ---- reading ----
expect 0 "gguf, 1 file, 20 tensors" "$nibble" inspect "$tied"
expect 0 "architecture: llama" "$nibble" inspect "$tied"
expect 0 '"llama.block_count"' "$nibble" inspect "$tied" --json
expect 0 "nothing is wrong" "$nibble" check "$tied"
expect 3 "1 finding" "$nibble" check "$golden/in/edge_f16_nan.gguf" --quiet
expect 0 "2 files, 50 tensors" "$nibble" inspect "$golden/in/qwen2_bf16_bias_tied_split-00001-of-00002.gguf"

expect 0 "q5_k_m" "$nibble" schemes
expect 0 '"mixtures"' "$nibble" schemes --json

# ---- plan ----
expect 0 "q4_k_m" "$nibble" plan "$tied"
expect 0 "needs --importance" "$nibble" plan "$tied"
expect 0 "Q6_K" "$nibble" quantize "$tied" --scheme Q4_K_M --dry-run
python3 "$here/make_flux.py" flux.safetensors
"$nibble" plan flux.safetensors --format gguf --json >flux.json 2>err
cat >sizes.py <<'END'
import json, sys
sizes = {s['scheme']: s.get('output_bytes', 0) / 1e9 for s in json.load(open('flux.json'))['schemes']}
table = {r['format']: r['gigabytes'] for r in json.load(open(sys.argv[1]))['sizes']['rows']}
types = {'F16': ['f16'], 'Q8': ['q8_0'], 'Q5': ['q5_0', 'q5_k_s'], 'Q4': ['q4_0', 'q4_k_s', 'iq4_nl'], 'Q2': ['q2_k']}
wrong = [(n, t, sizes[t], table[n]) for n in types for t in types[n] if abs(sizes[t] / table[n] - 1) > 0.02]
print(wrong)
sys.exit(bool(wrong) or set(types) != set(table))
END
is "sizes of a model of 12 billion parameters" python3 sizes.py "$here/golden/seeds/seeds.json"
expect 0 "Q2_K" "$nibble" plan flux.safetensors --scheme q2_k

# ---- quantizing ----
expect 0 "done:" "$nibble" quantize "$tied" -o m.gguf # the default is q4_k_m
is "the default is q4_k_m" has_hash m.gguf llama_f16_gqa4_tied.Q4_K_M.default
expect 2 "exists" "$nibble" quantize "$tied" -o m.gguf
expect 0 "done:" "$nibble" quantize "$tied" -o m.gguf --force --scheme Q5-K-S --imatrix "$golden/imatrix/llama_f16_gqa4_tied.gguf"
is "a name in any case, an importance matrix" has_hash m.gguf llama_f16_gqa4_tied.Q5_K_S.imatrix
expect 0 "nothing is wrong" "$nibble" check m.gguf
expect 0 "20 tensors" "$nibble" compare "$tied" m.gguf --min-sqnr 20
expect 7 "below" "$nibble" compare "$tied" m.gguf --min-sqnr 60
expect 0 "" "$nibble" quantize "$golden/in/llama_f32_mha_8l.gguf" -o t.gguf --scheme q4_k_m --tensor '.*attn_v=q8_0' --tensor '.*ffn_down=q3_k' --quiet
is "types by pattern" has_hash t.gguf llama_f32_mha_8l.Q4_K_M.types
expect 0 "" "$nibble" quantize "$golden/in/qwen2_bf16_bias_tied_split-00001-of-00002.gguf" -o split --keep-split --scheme q4_0 --quiet
expect 0 "2 files, 50 tensors" "$nibble" inspect split
expect 2 "a directory of GGUF files" "$nibble" quantize "$golden/in/qwen2_bf16_bias_tied_split-00001-of-00002.gguf" -o s.gguf --keep-split --force

# ---- and back ----
expect 0 "done:" "$nibble" dequantize m.gguf -o back.safetensors --dtype f32
expect 0 "20 identical" "$nibble" compare m.gguf back.safetensors
expect 0 "done:" "$nibble" dequantize m.gguf -o back.d
expect 0 "safetensors, 1 file, 20 tensors" "$nibble" inspect back.d

expect 0 "done:" "$nibble" quantize "$tied" -o odd.gguf --scheme copy --override-kv general.file_type=str:x
expect 0 "keys (--json lists them)" "$nibble" inspect odd.gguf
is "a file_type that is no number names no mixture" test "$(grep -c mixture out)" = 0

# ---- safetensors into GGUF ----
python3 "$here/gguf_to_hf.py" "$tied" llama
python3 "$here/gguf_to_hf.py" "$golden/in/qwen2_bf16_bias_tied.gguf" qwen2
expect 0 "done:" "$nibble" quantize llama --gguf-template llama/template.gguf -o l.gguf --scheme q4_k_m
is "llama's names and rows" has_hash l.gguf llama_f16_gqa4_tied.Q4_K_M.default
expect 0 "done:" "$nibble" quantize qwen2 --gguf-template qwen2/template.gguf -o q.gguf --scheme q5_k_m --imatrix "$golden/imatrix/qwen2_bf16_bias_tied.gguf"
is "qwen2's names" has_hash q.gguf qwen2_bf16_bias_tied.Q5_K_M.imatrix

# ---- rotary factors out of config.json (Llama 3.1 and later) ----
rope='"rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192'
echo "{\"head_dim\": 128, \"rope_theta\": 500000.0, \"rope_scaling\": {$rope}}" >llama/config.json
expect 0 "done:" "$nibble" quantize llama --gguf-template llama/template.gguf -o rope.gguf --scheme q4_k_m
expect 0 "21 tensors" "$nibble" inspect rope.gguf
is "rotary factors" python3 "$here/rope_factors.py" rope.gguf 128 500000 32 1 4 8192
echo "{\"hidden_size\": 512, \"num_attention_heads\": 8, \"rope_parameters\": {$rope, \"rope_theta\": 10000}}" >llama/config.json
expect 0 "done:" "$nibble" quantize llama --gguf-template llama/template.gguf -o rope.gguf --scheme q4_k_m --force
is "rotary factors, as newer models say it" python3 "$here/rope_factors.py" rope.gguf 64 10000 32 1 4 8192
echo "{\"head_dim\": 63, \"rope_scaling\": {$rope}}" >llama/config.json
expect 3 "a head has 63 elements" "$nibble" quantize llama --gguf-template llama/template.gguf -o n.gguf
echo "{\"rope_scaling\": {$rope}}" >llama/config.json
expect 3 "hidden_size must be a positive number" "$nibble" quantize llama --gguf-template llama/template.gguf -o n.gguf
echo "{\"head_dim\": 64, \"rope_scaling\": {\"type\": \"llama3\", \"low_freq_factor\": 4}}" >llama/config.json
expect 3 "must be below high_freq_factor" "$nibble" quantize llama --gguf-template llama/template.gguf -o n.gguf
echo "{\"head_dim\": 64, \"head_dim\": 64, \"rope_scaling\": {$rope}}" >llama/config.json
expect 3 "config.json, line 1 column 27: duplicate object key" "$nibble" quantize llama --gguf-template llama/template.gguf -o n.gguf
rm llama/config.json
expect 2 "--architecture" "$nibble" quantize llama -o own.gguf
expect 0 "done:" "$nibble" quantize llama -o own.gguf --architecture mine --scheme q8_0
expect 0 "20 tensors: 5 identical, 15 differ, 0 not measured" "$nibble" compare llama own.gguf --min-sqnr 30
expect 0 "model.layers.0.mlp.up_proj.weight" "$nibble" inspect own.gguf --tensors
expect 0 '"mine"' "$nibble" inspect own.gguf --json
"$make_checkpoint" one.safetensors --layers 1 --intermediate 768 >/dev/null || exit 1
expect 0 "done:" "$nibble" quantize one.safetensors -o one.gguf --architecture mine --scheme q4_k_m
expect 0 "nothing is wrong" "$nibble" check one.gguf

# ---- blocks that are there already ----
expect 0 "done:" "$nibble" quantize "$tied" -o part.gguf --scheme q4_0 --ignore '.*ffn_up'
expect 3 "--keep-quantized" "$nibble" quantize part.gguf -o n.gguf --scheme q8_0
expect 0 "kept: already quantized" "$nibble" quantize part.gguf -o kept.gguf --scheme q8_0 --keep-quantized
expect 0 "20 tensors: 18 identical, 2 differ" "$nibble" compare part.gguf kept.gguf --min-sqnr 30
"$nibble" inspect kept.gguf --tensors >out
is "blocks stay as they are" test "$(grep -c ' Q4_0' out)" -ge 12
is "the others are quantized" grep -q 'ffn_up.weight .* Q8_0' out

# ---- endings ----
expect 2 "the output is a GGUF file" "$nibble" quantize "$tied" -o n.safetensors --scheme q4_0
expect 2 "a directory of safetensors" "$nibble" dequantize m.gguf -o n.gguf
expect 2 "a directory of safetensors" "$nibble" quantize one.safetensors -o n.gguf --format compressed-tensors
expect 2 "a directory of safetensors" "$nibble" quantize llama -o n.safetensors --scheme int4 --group-fallback channel
is "nothing is made under a wrong name" test ! -e n.safetensors -a ! -e n.gguf -a ! -e n.gguf.partial

# ---- refused ----
expect 2 "did you mean q4_k_m?" "$nibble" quantize "$tied" -o n.gguf --scheme q4_k_mm
expect 2 "no scheme of GGUF" "$nibble" quantize "$tied" -o n.gguf --scheme int4
expect 2 "a scheme of GGUF" "$nibble" quantize llama -o n --scheme q4_k_m --format compressed-tensors
expect 2 "blocks are fixed" "$nibble" quantize "$tied" -o n.gguf --group-size 64
expect 2 "options of GGUF" "$nibble" quantize one.safetensors -o n --pure
echo '{"scheme": "int4"}' >recipe.json
expect 2 "blocks are fixed" "$nibble" quantize "$tied" -o n.gguf --recipe recipe.json
echo '{"overrides": [{"match": ".*attn_v", "scheme": "q8_0"}, {"match": ".*ffn_down", "scheme": "q3_K"}]}' >recipe.json
expect 0 "" "$nibble" quantize "$golden/in/llama_f32_mha_8l.gguf" -o r.gguf --scheme q4_k_m --recipe recipe.json --quiet
is "types by recipe" cmp r.gguf t.gguf
expect 2 "needs an importance matrix" "$nibble" quantize "$tied" -o n.gguf --scheme q2_k_s
expect 3 "says nothing of" "$nibble" quantize "$golden/in/llama_bf16_gqa8_17l.gguf" -o n.gguf --scheme q2_k_s --importance "$golden/imatrix/llama_bf16_gqa8_17l.gguf"
expect 3 "--allow-requantize" "$nibble" quantize m.gguf -o n.gguf --scheme q4_0
expect 2 "cannot be Q4_K" "$nibble" quantize "$golden/in/llama_f32_odd_k.gguf" -o n.gguf --scheme q5_k_m --output-tensor-type q4_K
expect 2 "no type that nibble writes" "$nibble" quantize "$tied" -o n.gguf --token-embedding-type iq2_xs
expect 2 "no type that nibble writes" "$nibble" quantize "$tied" -o n.gguf --tensor '.*=int4'
expect 2 "no tensor has such a name" "$nibble" quantize "$tied" -o n.gguf --tensor 'none=q8_0'
expect 2 "unknown scheme" "$nibble" quantize "$tied" -o n.gguf --scheme q9_9
expect 3 "NaN at element" "$nibble" quantize "$golden/in/edge_nan_weight.gguf" -o n.gguf
expect 3 "infinity at element" "$nibble" quantize "$golden/in/edge_inf_norm.gguf" -o n.gguf --scheme q8_0
expect 3 "is not finite as F16" "$nibble" quantize "$golden/in/edge_f16_overflow.gguf" -o n.gguf --scheme f16
expect 3 "is nan" "$nibble" quantize "$golden/in/edge_imatrix_nan.gguf" -o n.gguf --importance "$golden/imatrix/edge_imatrix_nan.gguf"
expect 3 "another model's" "$nibble" quantize "$golden/in/edge_imatrix_short.gguf" -o n.gguf --importance "$golden/imatrix/edge_imatrix_short.gguf"
expect 3 "no importance matrix" "$nibble" quantize "$tied" -o n.gguf --importance "$tied"
expect 2 "must be numbers" "$nibble" quantize "$tied" -o n.gguf --prune-layers 1,x
expect 2 "cannot be pruned" "$nibble" quantize "$tied" -o n.gguf --prune-layers 2
expect 2 "KEY=TYPE:VALUE" "$nibble" quantize "$tied" -o n.gguf --override-kv a=int
expect 2 "0 to 4294967295" "$nibble" quantize "$tied" -o n.gguf --override-kv a=int:-7
for bad in general.alignment=int:64 general.alignment=int:3 general.alignment=str:32; do
    expect 2 "aligned to 32" "$nibble" quantize "$tied" -o n.gguf --override-kv $bad
done
for bad in count=int:1 no=int:3 tensors.count=int:20 ours=str:x; do
    expect 2 "cannot be set" "$nibble" quantize "$tied" -o n.gguf --override-kv split.$bad
done
for bad in int:5 str: "str:$(printf '%064d' 0)"; do
    expect 2 "a str of 1 to 63 bytes" "$nibble" quantize "$tied" -o n.gguf --override-kv "general.architecture=$bad"
done
expect 2 '"a": it is given twice' "$nibble" quantize "$tied" -o n.gguf --override-kv a=int:1 --override-kv a=str:x
expect 2 "layers that are left" "$nibble" quantize "$tied" -o n.gguf --override-kv llama.block_count=int:2 --prune-layers 1
expect 2 "has more than 63 bytes" "$nibble" quantize llama -o n.gguf --architecture "$(printf '%064d' 0)"
expect 0 "done:" "$nibble" quantize "$tied" -o keys.gguf --override-kv general.alignment=int:32 --override-kv general.architecture=str:mine
expect 0 "architecture: mine" "$nibble" inspect keys.gguf
expect 3 "cut short" "$nibble" quantize "$here/golden/gguf_bad/g53_data_one_short.gguf" -o n.gguf
expect 2 "template is for safetensors" "$nibble" quantize "$tied" -o n.gguf --gguf-template "$tied"
expect 3 "has no place" "$nibble" quantize back.safetensors -o n.gguf --gguf-template llama/template.gguf
is "nothing has the final name" test ! -e n.gguf
expect 0 "done:" "$nibble" quantize "$golden/in/edge_nan_weight.gguf" -o n.gguf --nonfinite keep

echo "$passed passed, $failed failed, 0 skipped"
[ $failed -eq 0 ]
