#!/bin/bash
# test_layers.sh SOURCE_DIR - the house rules that a compiler does not check:
#   arrows point down only (docs/architecture.md), the reference shares nothing with kernels/common,
#   backends name no scheme, libraries neither print nor end the process, files and functions stay small.
# Prints one line a finding and a closing count. It first checks itself on a tree with one breach of each rule.
set -euo pipefail

# Who may include what, besides their own folder: folder, then patterns of paths. No row: may include nothing.
rules='
include          include/*
kernels/common
kernels/ref      kernels/common/args.h
kernels/cpu      kernels/common/*
kernels/opencl   kernels/common/*
kernels/cuda     kernels/common/*
host/core        include/nibble.h include/nibble_schemes.def kernels/common/args.h
host/ref         host/core/* include/nibble.h kernels/common/args.h
host/cpu         host/core/* include/nibble.h kernels/common/args.h kernels/common/probe.h
host/opencl      host/core/* include/nibble.h kernels/common/args.h kernels/common/probe.h
host/cuda        host/core/* include/nibble.h kernels/common/args.h kernels/common/probe.h
host/formats     host/core/internal.h include/*
host/quantize    host/core/internal.h host/formats/* include/*
host/cli         include/*
bench            include/*
'

findings=0
finding() {
    findings=$((findings + 1))
    echo "$1"
}

# Sources below the folders named, as paths without a leading "./".
sources() {
    local folders=()
    for folder in "$@"; do [ -d "$folder" ] && folders+=("$folder"); done
    [ ${#folders[@]} = 0 ] || find "${folders[@]}" -type f \
        \( -name '*.c' -o -name '*.h' -o -name '*.cl' -o -name '*.cu' -o -name '*.cuh' -o -name '*.def' \) | sort
}

# The text of a file without comments, line for line.
code_of() {
    awk '{
        out = ""
        while (length($0)) {
            if (inside) {
                i = index($0, "*/")
                if (!i) { $0 = ""; break }
                $0 = substr($0, i + 2); inside = 0
            } else {
                i = index($0, "/*")
                if (!i) { out = out $0; $0 = ""; break }
                out = out substr($0, 1, i - 1); $0 = substr($0, i + 2); inside = 1
            }
        }
        print out
    }' "$1"
}

# Functions over 60 lines: from a brace in the first column to the one that closes it.
long_functions() {
    awk '/^\{/ { start = NR } /^}/ { if (start && NR - start - 1 > 60) print start, NR - start - 1; start = 0 }' "$1"
}

check_includes() {
    local file=$1 folder path allowed pattern ok
    folder=$(dirname "$file")
    allowed=$(awk -v f="$folder" '$1 == f { $1 = ""; print }' <<<"$rules")
    while read -r path; do
        path=$(realpath -m --relative-to=. "$folder/$path")
        [ "$(dirname "$path")" = "$folder" ] && continue
        ok=0
        set -f
        for pattern in $allowed; do
            # shellcheck disable=SC2053
            [[ $path == $pattern ]] && ok=1
        done
        set +f
        [ $ok = 1 ] || finding "$file includes $path, which is not below it"
    done < <(code_of "$file" | sed -nE 's/^ *# *include *"([^"]+)".*/\1/p')
}

check_words() { # FILE PATTERN WHY
    local lines
    lines=$(code_of "$1" | grep -nE "$2" | cut -d: -f1 | tr '\n' ' ') || true
    [ -z "$lines" ] || finding "$1: line ${lines% }: $3"
}

check_tree() {
    local file
    while read -r file; do check_includes "$file"; done < <(sources include kernels host bench)
    while read -r file; do
        check_words "$file" '(^|[^a-zA-Z0-9_])(v?printf|vfprintf|fprintf|puts|fputs|putchar|perror|scanf|getchar|abort|_?[eE]xit|assert|signal|sigaction|system) *\(' \
            'a library neither prints, reads standard input, handles signals nor ends the process'
    done < <(sources kernels host | grep -v '^host/cli/')
    while read -r file; do
        check_words "$file" 'NIB_(RULE|LAYOUT|SCHEME)_[A-Z]' 'a backend knows no scheme by name'
    done < <(sources host/ref host/cpu host/opencl host/cuda)
    while read -r file; do
        check_words "$file" '# *include *<(CL/|cuda\.h|cuda_runtime|pthread|stdio|unistd)' 'kernels know no device and no system'
    done < <(sources kernels)
    while read -r file; do
        local lines
        lines=$(wc -l <"$file")
        [ "$lines" -le 600 ] || finding "$file has $lines lines; 600 is the most"
        ! grep -nE '\b(TODO|FIXME|XXX)\b' "$file" >/dev/null || finding "$file has a note to do"
    done < <(sources include kernels host bench tests)
    while read -r file; do
        while read -r start lines; do
            finding "$file:$start: a function of $lines lines; 60 is the most"
        done < <(long_functions "$file")
    done < <(sources kernels host)
}

# One breach each, all of which must be found.
self_check() {
    local tree expected=9
    tree=$(mktemp -d)
    mkdir -p "$tree"/{include,kernels/{common,ref},host/{core,formats,quantize,cpu,cli}}
    echo '#include "../common/rule.h"' >"$tree/kernels/ref/a.c"
    echo '#include <pthread.h>' >"$tree/kernels/ref/b.c"
    echo '#include "../quantize/pipeline.h"' >"$tree/host/formats/a.c"
    echo '#include "../core/backend.h"' >"$tree/host/formats/b.c"
    echo '# include "../core/internal.h"' >"$tree/host/cli/a.c"
    echo '    printf("x");' >"$tree/host/core/a.c"
    echo 'int x = NIB_RULE_SYM_FULL;' >"$tree/host/cpu/a.c"
    seq 601 >"$tree/host/quantize/a.c"
    { echo '{'; seq 61; echo '}'; } >"$tree/host/quantize/b.c"
    # and what must not be found
    echo '/* printf( */ int y; /* abort( */ #include "../common/args.h"' >"$tree/kernels/ref/c.c"
    echo 'snprintf(a, b, "exit");' >"$tree/host/core/b.c"
    (cd "$tree" && check_tree && echo "$findings") >"$tree/found"
    if [ "$(tail -n 1 "$tree/found")" != "$expected" ]; then
        echo "self-check: expected $expected findings:"
        cat "$tree/found"
        exit 1
    fi
    rm -r "$tree"
}

self_check
cd "$1"
count=$(sources include kernels host bench tests | wc -l)
check_tree
echo "$count files, $findings findings"
[ "$count" -gt 0 ] && [ "$findings" = 0 ]
