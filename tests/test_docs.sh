#!/usr/bin/env bash
# test_docs.sh SOURCE_DIR CC LIBNIBBLE [FLAGS] - docs/env.md says what host/core/env.def says, and README.md where schemes load as
# their table does; the C program of docs/matmul.md, cut from the page, builds without a warning against the shared library and gives
# a product that is as good as int4 is.
set -uo pipefail
source_dir=$1 cc=$2 library=$3 flags=${4:-}
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
passed=0 failed=0
check() { # WHAT COMMAND...
    local what=$1
    shift
    if "$@" >"$work/out" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "failed: $what" && head -n 20 "$work/out"
    fi
}
good() { # DEVICE: at least 15 dB
    "$work/matmul" "$1" | tee "$work/line" && awk -v device="$1" '$3 == device ":" && $7 > 15 && $7 < 60 { ok = 1 } END { exit !ok }' "$work/line"
}

variables() { # the rows of env.def as those of the page
    sed -nE 's/^NIB_ENV\([A-Z_]+, *"(\w+)", *"(\w+)", *"(.*)"\)$/| \1 | \2 | \3 |/p' "$source_dir/host/core/env.def"
}
check "docs/env.md has the rows of env.def" diff <(variables) <(grep NIBBLE_ "$source_dir/docs/env.md" | tr -d '`')

schemes() { # NAME|loads in, of the table
    sed -nE 's/^NIB_SCHEME\( *[A-Z0-9_]+, *"(\w+)",.* "\w+", *"([^"]*)", *"[^"]*" *\)$/\1|\2/p' "$source_dir/include/nibble_schemes.def"
}
readme_schemes() { # likewise of README.md, where a row may name several
    awk -F ' *\\| *' '/^## / { inside = $0 == "## Schemes" } inside && NF == 7 && $2 ~ /`/ {
        count = split($2, names, " "); for (i = 1; i <= count; i++) { gsub("`", "", names[i]); print names[i] "|" $6 } }' "$source_dir/README.md"
}
check "the table has schemes" test "$(schemes | wc -l)" -ge 9
check "README.md says where schemes load as the table does" diff <(schemes) <(readme_schemes)

awk '/^```c$/ { inside = 1; next } /^```$/ { inside = 0 } inside' "$source_dir/docs/matmul.md" >"$work/matmul.c"
check "the page holds a program" grep -q nib_matmul_run "$work/matmul.c"
ln -s "$library" "$work/libnibble.so"
# shellcheck disable=SC2086
check "it builds" "$cc" -std=c11 -Wall -Wextra -Wno-misleading-indentation -Werror $flags -I "$source_dir/include" \
    -o "$work/matmul" "$work/matmul.c" -L "$work" -lnibble -lm -Wl,-rpath,"$(dirname "$library")"
export ASAN_OPTIONS=${ASAN_OPTIONS:+$ASAN_OPTIONS:}detect_leaks=0 # it leaves its memory to the process' end
for device in ref cpu; do check "it runs on $device" good $device; done
"$work/matmul" cpus >"$work/cpus" 2>&1 && echo "exit 0" >>"$work/cpus"
check "a device that is none is said" sh -c "grep -q 'no device cpus' '$work/cpus' && ! grep -q 'exit 0' '$work/cpus'"
echo "$passed passed, $failed failed, 0 skipped"
[ $failed -eq 0 ]
