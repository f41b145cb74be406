#!/usr/bin/env bash
# test_cli.sh - the command as people type it: test_cli.sh NIBBLE MAKE_CHECKPOINT
set -uo pipefail
nibble=$1 make_checkpoint=$2
golden=$(cd "$(dirname "$0")" && pwd)/golden
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
export NIBBLE_CACHE_DIR=${NIBBLE_CACHE_DIR:-$work/cache}
unset NO_COLOR COLUMNS
passed=0 failed=0

pass() { passed=$((passed + 1)); }
fail() {
    failed=$((failed + 1))
    echo "failed: line ${BASH_LINENO[1]}: $*"
    sed 's/^/    stderr: /' err | head -n 5
}

# expect CODE WORDS COMMAND...: the exit code, and the words (a fixed string) on stdout or stderr. Errors are one line.
expect() {
    local code=$1 words=$2 got
    shift 2
    "$@" >out 2>err </dev/null
    got=$?
    if [ $got -ne "$code" ]; then
        fail "exit code $got, expected $code: $*"
    elif [ -n "$words" ] && ! cat out err | grep -qF -- "$words"; then
        fail "no '$words' from: $*"
    elif [ "$code" -eq 2 ] && [ "$(wc -l <err)" -ne 1 ]; then
        fail "not one line of error: $*"
    else
        pass
    fi
}

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
expect 0 "nibble inspect" "$nibble"
expect 0 "nibble inspect" "$nibble" --help
expect 0 "nibble 0." "$nibble" --version
commands="doctor inspect schemes devices selftest"
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
expect 2 "did you mean inspect?" "$nibble" inspetc x
expect 2 "did you mean selftest?" "$nibble" help self-test
expect 2 "unknown command" "$nibble" zzzzzzzzzz

# ---- the machine ----
expect 0 "cpu" "$nibble" doctor
expect 0 "opencl" env NIBBLE_OPENCL_LIB=/nonexistent "$nibble" doctor
expect 0 "did you mean NIBBLE_CPU?" env NIBBLE_CPUS=avx2 "$nibble" doctor
expect 0 "ref" "$nibble" devices
expect 0 "int4_asym" "$nibble" schemes
expect 0 " 0 wrong" "$nibble" selftest --device cpu
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
"$make_checkpoint" model --layers 2 --shards 2 >/dev/null || exit 1
"$make_checkpoint" one.safetensors --layers 1 >/dev/null || exit 1
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
for bad in "$golden"/safetensors_bad/[is]*; do
    case $bad in *i00_escape*) continue ;; esac # what i01 to i09 must not reach
    expect 3 "$(basename "$bad")" "$nibble" inspect "$bad"
done
for valid in "$golden"/safetensors_valid/[vx]*; do
    expect 0 "parameters" "$nibble" inspect "$valid" --tensors
    if LC_ALL=C grep -q $'[\x01-\x09\x0b-\x1f\x7f]' out; then fail "control characters: $valid"; else pass; fi
done
head -c 100000 one.safetensors >cut.safetensors
expect 3 "cut.safetensors" "$nibble" inspect cut.safetensors

echo "$passed passed, $failed failed, 0 skipped"
[ $failed -eq 0 ]
