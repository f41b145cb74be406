#!/usr/bin/env bash
# test_cli.sh - the command as people type it: test_cli.sh NIBBLE MAKE_CHECKPOINT
set -ufo pipefail
nibble=$1 make_checkpoint=$2
golden=$(cd "$(dirname "$0")" && pwd)/golden
# shellcheck source=tests/typed.sh
source "$(dirname "$0")/typed.sh"

# holds WHAT COMMAND...: the command succeeds.
holds() {
    local what=$1
    shift
    if "$@" >/dev/null 2>&1; then pass; else fail "$what"; fi
}

is_json() { python3 -m json.tool <"$1"; }
are_json_lines() { python3 -c 'import json, sys; lines = [json.loads(l) for l in open(sys.argv[1])]; assert lines, "none"; assert all(l["version"] == 1 for l in lines)' "$1"; }
same_files() { diff -r "$1" "$2"; }

# ---- help and usage ----
expect 0 "nibble quantize" "$nibble"
expect 0 "nibble quantize" "$nibble" --help
expect 0 "nibble 0." "$nibble" --version
commands="doctor inspect plan quantize dequantize compare check schemes devices selftest bench explain"
for command in $commands; do
    expect 0 "--help" "$nibble" "$command" --help
    cp out help
    expect 0 "nibble $command" "$nibble" help "$command"
    holds "help $command is $command --help" cmp out help
    expect 2 "did you mean --json?" "$nibble" "$command" --jsno
    expect 2 "did you mean --help?" "$nibble" "$command" --hel # an abbreviation
    expect 2 "nibble $command --help" "$nibble" "$command" -Z
    expect 2 "takes no argument" "$nibble" "$command" --json=1
    expect 2 "must be one of" "$nibble" "$command" --as xml
done
expect 2 "did you mean quantize?" "$nibble" quantise x
expect 2 "did you mean selftest?" "$nibble" help self-test
expect 2 "unknown command" "$nibble" zzzzzzzzzz
expect 2 "unknown scheme 'nope' (see" "$nibble" plan x --scheme nope # copy is too far

# ---- the machine ----
expect 0 "cpu" "$nibble" doctor
expect 0 "opencl" env NIBBLE_OPENCL_LIB=/nonexistent "$nibble" doctor
expect 0 "did you mean NIBBLE_CPU?" env NIBBLE_CPUS=avx2 "$nibble" doctor
expect 0 "ref" "$nibble" devices
expect 0 "int4_asym" "$nibble" schemes
expect 0 " 0 wrong" "$nibble" selftest --device cpu
expect 2 "OTHER is empty" "$nibble" compare model ""
expect 0 "ref.quantize" "$nibble" selftest --device ref --list
expect 6 "did you mean cpu?" "$nibble" selftest --device cpus
expect 6 "there are:" "$nibble" selftest --device cuda:77
for command in doctor schemes devices "selftest --device cpu" "selftest --device cpu --list"; do
    for form in text md csv json; do
        expect 0 "" "$nibble" $command --as $form
        [ $form = json ] && holds "$command: JSON" is_json out
    done
done
"$nibble" schemes >/dev/full 2>err
if [ $? -eq 5 ] && grep -q "standard output" err; then pass; else fail "a full stdout is an error"; fi
"$nibble" schemes 2>err | true
if [ "${PIPESTATUS[0]}" -eq 0 ] && [ ! -s err ]; then pass; else fail "a reader that leaves is no error"; fi

# ---- looking at checkpoints ----
"$make_checkpoint" model --layers 2 --intermediate 768 --shards 2 >/dev/null || exit 1
"$make_checkpoint" one.safetensors --layers 1 --intermediate 768 >/dev/null || exit 1
expect 0 "2 files" "$nibble" inspect model
expect 0 "model.layers.1.mlp.down_proj.weight" "$nibble" inspect model --tensors
expect 0 '"version": 1' "$nibble" inspect model --tensors --json
holds "inspect: JSON" is_json out
expect 0 "1 file" "$nibble" inspect one.safetensors
expect 2 "MODEL is missing" "$nibble" inspect
expect 2 "unexpected operand 'x'" "$nibble" inspect model x
expect 5 "nowhere" "$nibble" inspect nowhere
expect 0 "model" "$nibble" inspect -- model
expect 2 "must be a size" "$nibble" inspect model --max-memory 12x
expect 4 "" "$nibble" inspect model --max-memory 1k
set +f
for bad in "$golden"/safetensors_bad/[is]*; do
    case $bad in *i00_escape*) continue ;; esac # what i01 to i09 must not reach
    expect 3 "$(basename "$bad")" "$nibble" inspect "$bad"
done
for valid in "$golden"/safetensors_valid/[vx]*; do
    expect 0 "parameters" "$nibble" inspect "$valid" --tensors
    if LC_ALL=C grep -q $'[\x01-\x09\x0b-\x1f\x7f]' out; then fail "control characters: $valid"; else pass; fi
done
set -f
head -c 100000 one.safetensors >cut.safetensors
expect 3 "cut.safetensors" "$nibble" inspect cut.safetensors

# ---- planning ----
expect 0 "the default" "$nibble" plan model
expect 0 "next:   nibble quantize model --asym -x '.*down_proj.*' -o OUT" "$nibble" plan model --asym -x '.*down_proj.*'
expect 0 "free" "$nibble" plan model --scheme int8 -o some/where/out
expect 0 "--dry-run" "$nibble" quantize model --dry-run
for form in text md csv json; do
    expect 0 "int4" "$nibble" plan model --as $form
    expect 0 "int8" "$nibble" plan model --scheme int8 --as $form
    [ $form = json ] && holds "plan: JSON" is_json out
done
"$make_checkpoint" odd.safetensors --layers 1 --intermediate 704 >/dev/null || exit 1
expect 0 "warning: int4 is refused: group size 128 does not divide" "$nibble" plan odd.safetensors
holds "the other schemes are shown" grep -q "^ int8 .* MB " out
holds "the refused one is in the table, and without details" test "$(grep -c int4 out)" -eq 2
for mixture in q4_0 q2_k_s f16 copy; do
    holds "$mixture does not know the names" grep -q "^needs --gguf-template or --architecture:.* $mixture\( \|$\)" out
done
expect 2 "set --group-size to 88, 64, 44, 32, or --group-fallback to channel or skip" "$nibble" plan odd.safetensors --scheme int4
expect 2 "set --architecture, or --gguf-template" "$nibble" plan model --scheme q4_k_m
expect 2 "set --architecture" "$nibble" plan model --format gguf
expect 0 " q4_k_m " "$nibble" plan model --scheme q4_k_m --architecture mine
expect 0 "int4" "$nibble" plan odd.safetensors --group-fallback skip
echo '{"scheme": "int8"}' >recipe.json
expect 0 "int8 channel" "$nibble" plan model --recipe recipe.json
expect 0 "int4 group 128" "$nibble" plan model --recipe recipe.json --scheme int4
expect 0 "--ignore '.*down_prj.*' matches no tensor" "$nibble" plan model --ignore '.*down_proj.*' --ignore 're:.*down_prj.*'
holds "one warning" test "$(wc -l <err)" -eq 1
expect 0 "matches no tensor" "$nibble" quantize model --scheme int8 --dry-run --ignore typo
expect 0 "matches no tensor" "$nibble" plan model --json --ignore typo
expect 0 "" "$nibble" plan model --scheme q8_0 --architecture mine --ignore '.*norm' --ignore lm_head
holds "patterns that match are not warned of" test ! -s err
# The names of other tools.
"$nibble" plan model --scheme int4_asym --group-size 64 --as csv >expected
for names in "--bits 4 --asym --q-group-size 64" "--q-bits 4 --use_zero_point --group_size=64" \
    "-s w4a16_asym --block_size 64" "--weight-format INT4-ASYM -g 64" "--scheme int4 --w_bit=4 --asymmetric -g64"; do
    expect 0 "" "$nibble" plan model $names --as csv
    holds "plan $names is as expected" cmp out expected
done
"$nibble" plan model --scheme int8 --group-size channel --ignore '.*down_proj.*' --as csv | cut -d, -f1-5 | sort >expected
for names in "-g -1 --exclude .*down_proj.*" "-g 0 --ignore_layers=re:.*down_proj.*" "--group-size 0 --tensor-type .*down_proj.*=keep"; do
    expect 0 "" "$nibble" plan model --bits 8 --sym $names --as csv
    cut -d, -f1-5 out | sort >sizes # the reasons differ
    holds "plan $names has the same sizes" cmp sizes expected
done

# ---- contradictions ----
contradict="contradict each other"
expect 2 "--scheme int4 and --bits 8 $contradict" "$nibble" plan model -s int4 --bits 8
expect 2 "--scheme w4a16_asym and --sym $contradict" "$nibble" plan model -s w4a16_asym --sym
expect 2 "--asym and --sym $contradict" "$nibble" plan model --asym --sym
expect 2 "--bits 4 and --bits 8 $contradict" "$nibble" plan model --bits 4 --w-bit 8
expect 2 "--scheme int4 and --scheme int8 $contradict" "$nibble" plan model -s int4 -s int8
expect 2 "--json and --as csv $contradict" "$nibble" plan model --json --as csv
expect 2 "--max-memory 1G and --max-memory 2G $contradict" "$nibble" plan model -m 1G -m 2G
expect 2 "--min-sqnr 1 and --min-sqnr 2 $contradict" "$nibble" compare model model --min-sqnr 1 --min-sqnr 2
expect 2 "$contradict" "$nibble" plan model --keep-quantized --allow-requantize --architecture mine -s q4_0
expect 0 "int8" "$nibble" plan model -s w8a16 --bits 8 --sym --bits 8 --scheme w8a16 -m 1G --max-memory 1024M --as json --json
expect 0 "int4_asym" "$nibble" plan model -s int4 --bits 4 --asym

# ---- mistakes ----
expect 2 "did you mean int4?" "$nibble" quantize model -o out.d --scheme imt4
expect 2 "nibble schemes" "$nibble" quantize model -o out.d --bits 3 --asym
expect 2 "-o OUT is missing" "$nibble" quantize model
expect 2 "did you mean channel?" "$nibble" quantize model -o out.d --group-fallback chanel
expect 2 "must be" "$nibble" quantize model -o out.d --group-size some
expect 2 "must be" "$nibble" quantize model -o out.d --threads -3
expect 2 "needs an argument" "$nibble" quantize model -o
expect 2 "must be" "$nibble" quantize model -o ""
expect 2 "must be a number" "$nibble" compare model model --min-sqnr high
expect 6 "did you mean cpu?" "$nibble" quantize model -o out.d --device cpi
expect 5 "nowhere" "$nibble" quantize nowhere -o out.d
expect 5 "recipe" "$nibble" quantize model -o out.d --recipe nowhere.json
expect 3 "cut.safetensors" "$nibble" quantize cut.safetensors -o out.d
expect 2 "" "$nibble" quantize model -o model
expect 2 "" "$nibble" quantize one.safetensors -o one.safetensors
expect 2 "" "$nibble" quantize model -o out.d --ignore '('
expect 2 "" "$nibble" quantize model -o out.d --group-size 100
expect 2 "does not divide" timeout -k 1 20 "$nibble" quantize model -o out.d --group-size 9000000000000000000
expect 2 "MODEL is empty" "$nibble" quantize "" -o out.d
expect 4 "--max-memory of 1048576 bytes is too little" "$nibble" compare model model --max-memory 1M
expect 4 "raise --max-memory" "$nibble" quantize model -o out.d --max-memory 1k
expect 5 "File too large" bash -c 'ulimit -f 64; exec "$1" quantize model -o limited.d' - "$nibble"
holds "nothing was made" test ! -e out.d -a ! -e out.d.partial

# ---- csv ----
# is_csv COLUMNS: `out` has a heading, rows of as many cells, and no "-" for a number.
is_csv() { python3 -c 'import csv, sys; rows = list(csv.reader(open("out"))); assert rows and all(len(r) == int(sys.argv[1]) and "-" not in r for r in rows)' "$1"; }
expect 0 "q4_0,,,," "$nibble" plan model --as csv
holds "plan: csv" is_csv 6
expect 7 "only in A" "$nibble" compare model one.safetensors --min-sqnr 1 --as csv
holds "compare: csv" is_csv 6
expect 0 "tensor,what is wrong" "$nibble" check one.safetensors --as csv
expect 0 "kernel" "$nibble" selftest --list --device ref --as csv
holds "selftest --list: a heading" test "$(head -n 1 out)" = kernel
expect 0 "8.004" "$nibble" schemes --as csv
holds "schemes: csv" is_csv 8
holds "schemes: a group is a number" grep -q '^int8,w8a16,8,0,' out
expect 0 "tensor,as,SQNR" "$nibble" dequantize one.safetensors -o plain.d --as csv
python3 - <<'END'
import json, struct
name = 'a,"\x1b[31mred\x7f\u009b1m|\n' + '.weight'
header = json.dumps({name: {'dtype': 'F32', 'shape': [2, 2], 'data_offsets': [0, 16]}}).encode()
open('red.safetensors', 'wb').write(struct.pack('<Q', len(header)) + header + bytes(16))
END
for form in text md csv; do
    expect 0 "red??1m" "$nibble" inspect red.safetensors --tensors --as $form
    if LC_ALL=C grep -q $'[\x01-\x09\x0b-\x1f\x7f]\|\xc2\x9b' out; then fail "control characters in $form"; else pass; fi
done
expect 0 '"a,""?[31mred??1m|?.weight",2 x 2' "$nibble" inspect red.safetensors --tensors --as csv

# ---- quantizing ----
"$make_checkpoint" nan.safetensors --layers 1 --intermediate 768 --nan model.layers.0.mlp.up_proj.weight >/dev/null || exit 1
expect 3 "model.layers.0.mlp.up_proj.weight" "$nibble" quantize nan.safetensors -o nan.d
expect 0 "NaN or infinite" "$nibble" quantize nan.safetensors -o nan.d --nonfinite zero
expect 0 "" "$nibble" quantize nan.safetensors -o nan.d --nonfinite keep --force
expect 3 "NaN" "$nibble" check nan.safetensors
expect 0 "next:   nibble compare model int4.d" "$nibble" quantize model -o int4.d --device cpu
expect 0 "nothing is wrong" "$nibble" check int4.d
expect 0 "changes 1 tensor, leaves 20" "$nibble" plan model --scheme int4 --ignore '.*(layers.0|mlp|[qkv]_proj).*'
expect 2 "no scheme \"nope\"; \`nibble schemes\`" "$nibble" plan model --tensor '.*=nope'
expect 2 "did you mean \"int4\"?" "$nibble" plan model --tensor '.*=imt4'
expect 2 "replace it with --force" "$nibble" quantize model -o int4.d
cp -r int4.d copy.d
expect 2 "" "$nibble" quantize model -o int4.d --scheme int8
holds "an existing output stays as it was" same_files int4.d copy.d
expect 3 "" "$nibble" quantize int4.d -o again.d
expect 3 "already quantized" "$nibble" plan int4.d # no scheme fits
expect 0 "" "$nibble" quantize model -o int4.d --scheme int4 --force
holds "a second run gives the same bytes" same_files int4.d copy.d
for device in ref opencl:0; do
    "$nibble" devices --as csv >out
    grep -q "^$device," out || continue
    expect 0 "" "$nibble" quantize model -o device.d --device $device --force
    holds "$device gives the same bytes" same_files int4.d device.d
done
expect 0 "PASS" "$nibble" compare model int4.d --min-sqnr 10
expect 7 "below 60 dB" "$nibble" compare model int4.d --min-sqnr 60
expect 7 "only in A" "$nibble" compare model one.safetensors --min-sqnr 1
expect 0 "" "$nibble" dequantize int4.d -o back.d --dtype bf16
expect 0 "" "$nibble" compare int4.d back.d
expect 0 "" "$nibble" quantize one.safetensors -o one.int8.safetensors --scheme int8
holds "a file becomes a file" test -f one.int8.safetensors
expect 0 "compressed-tensors" "$nibble" inspect int4.d
for run in "quantize model -o json.d --force" "dequantize int4.d -o json2.d --force" "compare model int4.d" "check int4.d" \
    "inspect int4.d"; do
    expect 0 '"version": 1' "$nibble" $run --json
    holds "$run: JSON" is_json out
    if [ -s err ]; then holds "$run: progress as JSON lines" are_json_lines err; fi
done
expect 0 "" "$nibble" quantize model -o quiet.d --quiet
holds "--quiet says nothing" test ! -s out -a ! -s err
"$nibble" quantize model -o full.d >/dev/full 2>err
holds "a report that cannot be printed is an error" test $? -eq 5

# ---- the line on a terminal ----
if command -v script >/dev/null; then
    TERM=xterm COLUMNS=60 NO_COLOR=1 script -qec "$nibble quantize model -o line.d --device ref --threads 1" line.log >/dev/null
    if LC_ALL=C grep -q $'\x1b\\[3' line.log; then fail "NO_COLOR"; else pass; fi
    holds "a line with a rate" grep -q "/s  ETA" line.log
    longest=$(tr '\r' '\n' <line.log | grep ETA | sed $'s/\x1b\\[K//' | wc -L)
    holds "$longest columns fit into 60" test "$longest" -le 60
fi

# ---- interrupted and resumed ----
"$make_checkpoint" long --hidden 512 --intermediate 1536 --layers 3 >/dev/null || exit 1
"$nibble" quantize long -o whole.d --device ref --quiet || fail "quantize long"
# interrupt SIGNAL: stops a run after its second tensor.
interrupt() {
    rm -rf stopped.d stopped.d.partial err
    env --default-signal=INT,TERM,HUP "$nibble" quantize long -o stopped.d --device ref --progress json >out 2>err &
    local process=$! tries=0
    while [ "$(cat err 2>&1 | grep -c '"event":"tensor"')" -lt 2 ] && [ $((tries++)) -lt 600 ]; do sleep 0.02; done
    kill -"$1" $process
    wait $process
}
for signal in INT TERM HUP; do
    interrupt $signal 2>/dev/null
    code=$?
    if [ $code -eq 130 ]; then pass; else fail "$signal: exit code $code, not 130"; fi
    holds "$signal: how to go on" grep -q "run the same command again" err
    holds "$signal: nothing under the final name" test ! -e stopped.d
done
expect 0 "taken over" "$nibble" quantize long -o stopped.d --device cpu
holds "a resumed run gives the same bytes" same_files stopped.d whole.d
holds "nothing is left beside it" test ! -e stopped.d.partial

echo "$passed passed, $failed failed, 0 skipped"
[ $failed -eq 0 ]
