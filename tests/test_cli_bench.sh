#!/usr/bin/env bash
# test_cli_bench.sh - nibble bench and nibble explain as people type them: test_cli_bench.sh NIBBLE
set -ufo pipefail
nibble=$1
# shellcheck source=tests/typed.sh
source "$(dirname "$0")/typed.sh"

# holds PYTHON: an assertion about `out`, as JSON in j, its lines as JSON in lines(), csv in rows().
holds() {
    if python3 -c "
import csv, json
j = None
def lines(): return [json.loads(l) for l in open('out')]
def rows(): return list(csv.DictReader(open('out')))
try: j = json.load(open('out'))
except ValueError: pass
$1" 2>err; then pass; else fail "$1"; fi
}

sized="--shape 96x256 --seconds 0 --rounds 3 --working-set 1M --threads 2"
small="$sized --device cpu"
alone="$small --no-vendor"
# The vendors' own threads are more than the leak sanitizer can look into.
vendors="env ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0 $nibble bench matmul $small"

# ---- mistakes ----
expect 2 "OPERATION is missing" "$nibble" bench
expect 2 "did you mean matmul?" "$nibble" bench matmull
expect 2 "cannot explain 'quantize'" "$nibble" explain quantize
expect 2 "NxK" "$nibble" bench matmul --shape 4096
expect 2 "1 to" "$nibble" bench matmul --shape 4096x0
expect 2 "llama-70b" "$nibble" bench matmul --layers llama
expect 2 "--tp is 3" "$nibble" bench matmul --layers llama-8b --tp 3
expect 2 "--tp goes with" "$nibble" bench matmul --shape 8x8 --tp 2
expect 2 "--m is" "$nibble" bench matmul --m 1-8*1
expect 2 "more than 64" "$nibble" bench matmul --m 1-100
expect 2 "int99" "$nibble" bench matmul --scheme int4,int99
expect 2 "twice" "$nibble" bench matmul --scheme int4,w4a16
expect 2 "twice" "$nibble" bench matmul --scheme w4a8,w4a8
expect 2 "twice" "$nibble" bench matmul --device cpu,cpu
expect 2 "of matmul alone" "$nibble" bench quantize --m 4
expect 2 "of matmul alone" "$nibble" bench quantize --plot x.svg
expect 2 "--tolerance" "$nibble" bench matmul --tolerance -1
expect 2 "--seconds" "$nibble" bench matmul --seconds 1e9
expect 2 "must be one of" "$nibble" bench matmul --format xml
expect 6 "there are:" "$nibble" bench matmul --device cuda:77 $sized
expect 5 "config.json" "$nibble" bench matmul --model nowhere
mkdir model && echo '{"hidden_size": 64}' >model/config.json
expect 3 "num_attention_heads" "$nibble" bench matmul --model model
expect 2 "int32" "$nibble" bench matmul --scheme w8a8 --shape 1x200000 --m 1 --seconds 0 --rounds 1

# ---- matmul ----
"$nibble" devices --json >devices.json
expect 0 "" "$nibble" bench matmul $sized --no-vendor --m 1 --scheme int4 --json
holds "
there = {d['name'] for d in json.load(open('devices.json'))['devices']}
assert [d['name'] for d in j['devices']] == [n for n in ('cpu', 'opencl:0', 'cuda:0') if n in there], there"
expect 0 "Each cell: the median" "$nibble" bench matmul $alone --m 1,5 --as md --all --scheme int4,w8a8
holds "t = open('out').read(); assert t.count('| ---') == 0 and t.count('\n|--') + t.count('\n|-') >= 2 and 'w8a8 codes' in t and 'fastest: ' in t, t"
expect 0 "" $vendors --m 1-20*4 --json --plot plot.svg --scheme int4,int8,w4a8,w8a8
cp out base.json
holds "
assert j['version'] == 1 and j['command'] == 'bench' and len(j['devices']) == 1, j
r = j['records']
ours = [x for x in r if x['by'] == 'nibble']
assert len(ours) == 6 * 3 and {x['m'] for x in r} == {1, 4, 16}
for x in r:
    assert x['device'] == 'cpu' and x['model'] and x['kernel'] and x['n'] == 96 and x['k'] == 256
    assert 0 < x['seconds_p10'] <= x['seconds_median'] <= x['seconds_p90'] and x['rounds'] == 3
    assert x['operations'] == 2 * 96 * 256 * x['m'] and x['bytes'] > 96 * 256 / 2
    assert x['percent_of_roof'] > 0 and x['bound'] in ('memory', 'compute') and 0 <= x['error_share'] <= 1
assert all(x['kernel'].startswith('cpu.matmul.') for x in ours)
assert j['devices'][0]['read_bytes_per_second'] > 1e8 and j['sentences'][0]['text']"
holds "import xml.dom.minidom as x; t = x.parse('plot.svg').toxml(); assert '96 x 256 on cpu' in t and 'Roofline' in t"
expect 0 "" "$nibble" bench matmul $alone --m 2 --format jsonl --hot --scheme int8 --dtype f32
holds "l = lines(); assert len(l) == 1 and not l[0]['cold'] and l[0]['type'] == 'F32' and l[0]['column'] == 'int8'"
expect 0 "" "$nibble" bench matmul $alone --m 2 --format csv --scheme int4 --group-size 32 --dtype f16
holds "r = rows(); assert float(r[0]['seconds_median']) > 0 and r[0]['column'] == 'int4' and r[0]['type'] == 'F16', r"
expect 0 "" "$nibble" bench matmul $sized --no-vendor --m 3 --device ref --device cpu --scheme int4 --as csv
holds "assert [r['device'] for r in rows()] == ['ref', 'cpu']"
echo '{"hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 96}' >model/config.json
expect 0 "" "$nibble" bench matmul --device cpu --model model --tp 2 --m 1 --seconds 0 --rounds 1 --working-set 1M --scheme int4 --no-vendor --as jsonl
holds "assert [(x['n'], x['k']) for x in lines()] == [(64, 64), (64, 32), (96, 64), (64, 48)], lines()"
expect 0 "OpenBLAS" $vendors --m 1 --scheme int4 # measured, or said to be missing
expect 0 "oneDNN" $vendors --m 1 --scheme int4
echo "no picture" >kept.svg
expect 5 "no SVG file" "$nibble" bench matmul $alone --m 1 --scheme int4 --plot kept.svg
holds "assert open('kept.svg').read() == 'no picture\\n'"
expect 0 "" "$nibble" bench matmul $alone --m 1 --scheme int4 --plot plot.svg # again, shorter
holds "import xml.dom.minidom as x; x.parse('plot.svg')"
expect 5 "nowhere/x.svg" "$nibble" bench matmul $alone --m 1 --scheme int4 --plot nowhere/x.svg

# ---- quantize, dequantize ----
for operation in quantize dequantize; do
    expect 0 "its share of the copy rate" "$nibble" bench $operation $small
    expect 0 "" "$nibble" bench $operation $small --scheme int4,int4_asym,int3 --as jsonl
    holds "l = lines(); assert len(l) == 3 and all(x['operation'] == '$operation' and x['m'] == 0 and x['bytes'] > 96 * 256 * 2 for x in l)"
done

# ---- the gate ----
expect 0 "compared" "$nibble" bench matmul $alone --m 1,4 --scheme int4,w8a8 --compare base.json --tolerance 1000
python3 - <<'P'
import json
j = json.load(open('base.json'))
for r in j['records']:
    for key in ('seconds_median', 'seconds_p10', 'seconds_p90'): r[key] *= 1e-4
json.dump(j, open('fast.json', 'w'))
with open('fast.jsonl', 'w') as f:
    for r in j['records']: f.write(json.dumps(r) + '\n')
for r in j['records']: r['model'] = 'another machine'
json.dump(j, open('other.json', 'w'))
P
for base in fast.json fast.jsonl; do
    expect 8 "it was" "$nibble" bench matmul $alone --m 1,4 --scheme int4 --compare $base
done
expect 2 "nothing that was measured now" "$nibble" bench matmul $alone --m 1 --scheme int4 --compare other.json
expect 2 "nothing that was measured now" "$nibble" bench matmul $alone --m 2 --scheme int4 --compare base.json
for other in "--group-size 32" "--hot" "--dtype f32"; do
    expect 2 "nothing that was measured now" "$nibble" bench matmul $alone --m 1 --scheme int4 --compare base.json $other
done
expect 2 "nothing that was measured now" "$nibble" bench matmul ${alone/--threads 2/--threads 1} --m 1 --scheme int4 --compare base.json
expect 2 "whose groups are its own" "$nibble" bench matmul --scheme q4_0 --group-size 64
expect 2 "multiple of 256" "$nibble" bench quantize --scheme q4_K --shape 32x32
expect 0 "" "$nibble" bench matmul $alone --m 1,5 --scheme q4_0,q4_K,Q6_K,iq4_xs --json
holds "assert [(r['column'], r['group']) for r in j['records'] if r['m'] == 5] == [('q4_0', 32), ('q4_K', 32), ('q6_K', 16), ('iq4_xs', 32)], j"
for operation in quantize dequantize; do
    expect 0 "" "$nibble" bench $operation $sized --scheme q8_0,q3_K --device cpu,ref --json
    holds "assert [r['bytes'] for r in j['records']] == 2 * [96 * 256 * 2 + 96 * 272, 96 * 256 * 2 + 96 * 110], j"
done
expect 0 "" "$nibble" bench quantize $small --scheme int4 --as jsonl
mv out codec.jsonl
expect 2 "nothing that was measured now" "$nibble" bench dequantize $small --scheme int4 --compare codec.jsonl
expect 0 "compared" "$nibble" bench quantize $small --scheme int4 --compare codec.jsonl --tolerance 1000
echo '[1, {"records": 3}]' >odd.json
echo '{"records": [' >cut.json
: >empty.json
expect 2 "nothing that was measured now" "$nibble" bench matmul $alone --m 1 --scheme int4 --compare odd.json
expect 3 "cut.json: line" "$nibble" bench matmul $alone --m 1 --scheme int4 --compare cut.json
expect 3 "empty.json" "$nibble" bench matmul $alone --m 1 --scheme int4 --compare empty.json
expect 5 "gone.json" "$nibble" bench matmul $alone --m 1 --scheme int4 --compare gone.json

# ---- explain ----
expect 0 "cpu.matmul" "$nibble" explain matmul --shape 4096x11008 --m 1-512*4 --device cpu
expect 0 "q4_K on cpu, groups of 32" "$nibble" explain matmul --scheme q4_K --device cpu
expect 0 "" "$nibble" explain matmul --shape 64x96 --scheme w4a8 --device ref --json
holds "
k = j['kernels']
runs = [x for x in k if x['runs']]
assert j['scheme'] == 'w4a8' and j['activation_bits'] == 8 and runs[0]['kernel'].startswith('ref.matmul') and runs[0]['from_m'] == 1
assert all(x['refusal'] for x in k if not x['runs']) and all(x['error_class'] in ('exact', 'f32', 'f16', 'bf16') for x in k)"
expect 0 "" "$nibble" explain matmul --shape 64x96 --scheme int8 --acts a8 --device cpu --as csv
holds "assert all(r['kernel'].startswith('cpu.') for r in rows())"
expect 2 "int32" "$nibble" explain matmul --shape 1x200000 --scheme w8a8 --device cpu
expect 6 "there are:" "$nibble" explain matmul --device cuda:77
expect 2 "no kernel is called" env NIBBLE_KERNEL=nope "$nibble" explain matmul --device ref
expect 0 "" env NIBBLE_KERNEL=cpu.matmul.float "$nibble" explain matmul --shape 64x96 --m 1-8 --device cpu --json
holds "
k = j['kernels']
assert [(x['kernel'], x['from_m'], x['to_m']) for x in k if x['runs']] == [('cpu.matmul.float', 1, 8)], k
assert any(x['refusal'] == 'NIBBLE_KERNEL names another' for x in k)"
expect 2 "" env NIBBLE_KERNEL=cpu.matmul.int8 "$nibble" explain matmul --shape 64x96 --m 1-8 --device cpu --json # int4 by floats
holds "assert not any(x['runs'] for x in j['kernels']), j"

echo "$passed passed, $failed failed, 0 skipped"
[ $failed -eq 0 ]
