# shellcheck shell=bash
# typed.sh - sourced by tests of the command as people type it: a folder of its own to work in, and checks that count.
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
    elif [ -n "$words" ] && ! grep -qF -- "$words" out err; then
        fail "no '$words' from: $*"
    elif [ "$code" -ge 2 ] && [ "$code" -le 6 ] && [ "$(wc -l <err)" -ne 1 ]; then
        fail "not one line of error: $*"
    else
        pass
    fi
}
