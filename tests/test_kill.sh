#!/usr/bin/env bash
# test_kill.sh NIBBLE MAKE_CHECKPOINT - runs that die: SIGKILL at random times, a full disk, a limit on file sizes. What was
# there before stays, nothing half made has the final name, and the same command again ends in the same bytes.
#
# The random times come from SEED (default 1); a failure prints it.
set -uo pipefail
nibble=$1 make_checkpoint=$2
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
RANDOM=${SEED:-1}
passed=0 failed=0 skipped=0 killed=0 resumed=0

holds() { # WHAT COMMAND...
    local what=$1
    shift
    if "$@" >/dev/null 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "failed: SEED=${SEED:-1}: $what"
        tail -n 3 err 2>/dev/null | sed 's/^/    stderr: /'
    fi
}
digest() { # of a file, or of a directory's names and bytes
    if [ -d "$1" ]; then (cd "$1" && find . -type f -print0 | sort -z | xargs -0 sha256sum); else sha256sum <"$1"; fi | sha256sum
}
is() { [ "$(digest "$1" 2>&1)" = "$2" ]; }
absent() { [ ! -e "$1" ]; }
milliseconds() { echo $(($(date +%s%N) / 1000000)); }

# kill_after MS COMMAND...: runs it and kills it then; true if it was still running.
kill_after() {
    local ms=$1 process
    shift
    "$@" >out 2>err &
    process=$!
    sleep "$(printf '%d.%03d' $((ms / 1000)) $((ms % 1000)))"
    kill -KILL $process 2>/dev/null
    wait $process 2>/dev/null
    [ $? -eq 137 ]
}
finish() { # COMMAND...: the same command once more, to its end
    "$@" >out 2>err && { ! grep -q "taken over" out || resumed=$((resumed + 1)); }
}

"$make_checkpoint" model --size 200M --shards 3 >/dev/null || exit 1
"$make_checkpoint" one.safetensors --size 150M >/dev/null || exit 1
input=$(digest model)
command=("$nibble" quantize model -o out.d --device cpu --progress none)
begin=$(milliseconds)
holds "a whole run" "${command[@]}"
span=$(($(milliseconds) - begin))
whole=$(digest out.d)

# ---- killed once, at any time ----
for _ in 1 2 3 4 5 6; do
    rm -rf out.d out.d.partial
    kill_after $((RANDOM % (span + 1))) "${command[@]}" && killed=$((killed + 1))
    if [ -e out.d ]; then holds "what has the final name is whole" is out.d "$whole"; rm -rf out.d; fi
    holds "the same command goes on" finish "${command[@]}"
    holds "a resumed run gives the same bytes" is out.d "$whole"
    holds "nothing is left beside the output" absent out.d.partial
done

# ---- killed once it has something to lose, and again ----
rm -rf out.d
slow=("$nibble" quantize model -o out.d --device ref --progress none)
for _ in 1 2; do # until the journal has grown twice
    size=$(stat -c %s out.d.partial/.nibble-journal 2>/dev/null || echo 100)
    "${slow[@]}" >out 2>err &
    process=$! tries=0
    while [ "$(stat -c %s out.d.partial/.nibble-journal 2>/dev/null || echo 0)" -le "$size" ] && [ $((tries++)) -lt 2000 ]; do
        sleep 0.05
    done
    kill -KILL $process 2>/dev/null
    wait $process 2>/dev/null
    [ $? -ne 137 ] || killed=$((killed + 1))
done
holds "the same command goes on after two kills" finish "${command[@]}"
holds "it takes over what was complete" grep -q "taken over" out
holds "two kills and a resumed run give the same bytes" is out.d "$whole"

# ---- over an earlier output ----
for _ in 1 2 3; do
    "$nibble" quantize model -o out.d --scheme int8 --device cpu --force --quiet 2>err
    earlier=$(digest out.d)
    kill_after $((RANDOM % (span + 1))) "${command[@]}" --force && killed=$((killed + 1))
    now=$(digest out.d)
    holds "the earlier output or the whole new one" test "$now" = "$earlier" -o "$now" = "$whole"
    holds "the same command goes on" finish "${command[@]}" --force
    holds "the new output has replaced the earlier" is out.d "$whole"
    holds "nothing is left beside it" absent out.d.partial
done

# ---- one file ----
command=("$nibble" quantize one.safetensors -o one.int4.safetensors --device cpu --progress none)
"${command[@]}" >out 2>err
whole=$(digest one.int4.safetensors)
for _ in 1 2 3; do
    rm -rf one.int4.safetensors*
    kill_after $((RANDOM % (span + 1))) "${command[@]}" && killed=$((killed + 1))
    if [ -e one.int4.safetensors ]; then holds "what has the final name is whole" is one.int4.safetensors "$whole"; rm one.int4.safetensors; fi
    holds "the same command goes on" finish "${command[@]}"
    holds "a resumed file has the same bytes" is one.int4.safetensors "$whole"
done
holds "the input is as it was" is model "$input"
echo "$killed runs were killed, $resumed of the runs after that took tensors over"
holds "at least five of the kills met a running process" test $killed -ge 5

# ---- no space ----
# refused WORDS COMMAND...: exit code 5, and one line that holds the words.
refused() {
    local words=$1
    shift
    "$@" >out 2>err
    [ $? -eq 5 ] && grep -qiE -- "$words" err
}
export -f refused digest is absent
no_space() { # in a mount namespace of its own
    mkdir -p small
    mount -t tmpfs -o size=30M tmpfs small || return 77
    refused "space|free" "$1" quantize model -o small/out.d --device cpu --progress none || { echo "a small disk: $(cat err)" && return 1; }
    absent small/out.d || { echo "a small disk: something has the final name" && return 1; }
    umount small && mount -t tmpfs -o size=200M tmpfs small || return 77
    "$1" quantize model -o small/out.d --device cpu --quiet || return 1
    local earlier
    earlier=$(digest small/out.d)
    head -c 130M /dev/zero >small/ballast 2>/dev/null
    refused "space|free" "$1" quantize model -o small/out.d --scheme int8 --device cpu --progress none --force ||
        { echo "a disk that got full: $(cat err)" && return 1; }
    is small/out.d "$earlier" || { echo "a disk that got full: the earlier output changed" && return 1; }
    umount small && mount -t tmpfs -o size=200M,nr_inodes=3 tmpfs small || return 77
    refused "space|inode" "$1" quantize model -o small/out.d --device cpu --progress none || { echo "no inodes: $(cat err)" && return 1; }
    umount small && mount -t tmpfs -o ro tmpfs small || return 77
    refused "read-only" "$1" quantize model -o small/out.d --device cpu --progress none || { echo "read-only: $(cat err)" && return 1; }
}
export -f no_space
if ! unshare -rm true 2>/dev/null; then
    echo "skipped: a full disk: this user cannot mount a small one"
    skipped=$((skipped + 1))
else
    unshare -rm bash -c "no_space '$nibble'" >log 2>&1
    case $? in
        0) passed=$((passed + 1)) ;;
        77) echo "skipped: a full disk: $(tail -n 1 log)" && skipped=$((skipped + 1)) ;;
        *) echo "failed: $(cat log)" && failed=$((failed + 1)) ;;
    esac
fi

# ---- a limit on the size of files ----
limited() { (ulimit -f 1000 && "$@"); }
rm -rf out.d
holds "a limit on file sizes is an error, not a death" \
    limited refused "limit|large|space" "$nibble" quantize model -o out.d --device cpu --progress none
holds "a limit on file sizes: nothing has the final name" absent out.d

echo "$passed passed, $failed failed, $skipped skipped"
[ $failed -eq 0 ]
