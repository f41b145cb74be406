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
kernels/cpu      kernels/common/* include/nibble_schemes.def
kernels/opencl   kernels/common/*
kernels/cuda     kernels/common/* include/nibble_schemes.def
host/core        include/nibble.h include/nibble_matmul.h include/nibble_schemes.def kernels/common/args.h
host/ref         host/core/* include/nibble.h kernels/common/args.h
host/cpu         host/core/* include/nibble.h kernels/common/args.h kernels/common/probe.h
host/opencl      host/core/* include/nibble.h kernels/common/args.h kernels/common/probe.h
host/cuda        host/core/* include/nibble.h kernels/common/args.h kernels/common/probe.h
host/formats     host/core/internal.h include/*
host/quantize    host/core/internal.h host/formats/* include/*
host/bench       include/*
host/cli         include/* host/bench/bench.h
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
        \( -name '*.c' -o -name '*.h' -o -name '*.cl' -o -name '*.cu' -o -name '*.cuh' -o -name '*.cpp' -o -name '*.def' \) | sort
}

# The named files' text without comments, as "file:line:text"; one awk for all, as there are hundreds.
code_of() {
    awk 'FNR == 1 { inside = 0 }
    {
        out = ""
        while (length($0)) {
            i = index($0, inside ? "*/" : "/*")
            if (!inside) out = out (i ? substr($0, 1, i - 1) : $0)
            if (!i) break
            $0 = substr($0, i + 2)
            inside = !inside
        }
        print FILENAME ":" FNR ":" out
    }' "$@"
}

check_includes() { # on lines "file path"
    local file path folder allowed pattern ok
    while read -r file path; do
        folder=${file%/*}
        path=$folder/$path
        while [[ $path =~ ^(.*/)?[^/.][^/]*/\.\./(.*)$ ]]; do path=${BASH_REMATCH[1]}${BASH_REMATCH[2]}; done
        [ "${path%/*}" = "$folder" ] && continue
        [[ $rules =~ (^|$'\n')"$folder "([^$'\n']*) ]] && allowed=${BASH_REMATCH[2]} || allowed=
        ok=0
        set -f
        for pattern in $allowed; do
            # shellcheck disable=SC2053
            [[ $path == $pattern ]] && ok=1
        done
        set +f
        [ $ok = 1 ] || finding "$file includes $path, which is not below it"
    done
}

check_words() { # FOLDERS PATTERN WHY, on the code
    local line
    while read -r line; do finding "${line%:*}: $3"; done < <(
        awk -v folders="^($1)/" -v words="$2" '{
            text = $0
            sub(/^[^:]*:[0-9]+:/, "", text)
            if ($0 ~ folders && text ~ words) print substr($0, 1, length($0) - length(text))
        }' <<<"$code" | sed 's/:$//; s/$/:/')
}

check_tree() {
    local line files=()
    mapfile -t files < <(sources include kernels host bench)
    code=$(code_of "${files[@]}")
    check_includes < <(sed -nE 's/^([^:]*):[0-9]+: *# *include *"([^"]+)".*/\1 \2/p' <<<"$code")
    check_words 'kernels|host/(core|ref|cpu|opencl|cuda|formats|quantize)' \
        '(^|[^a-zA-Z0-9_])(v?printf|vfprintf|fprintf|puts|fputs|putchar|perror|scanf|getchar|abort|_?[eE]xit|assert|signal|sigaction|system) *[(]' \
        'a library neither prints, reads standard input, handles signals nor ends the process'
    check_words 'host/(ref|cpu|opencl|cuda)' 'NIB_(RULE|LAYOUT|SCHEME)_[A-Z]' 'a backend knows no scheme by name'
    check_words 'kernels' '# *include *<(CL/|cuda[.]h|cuda_runtime|pthread|stdio|unistd)' \
        'kernels know no device and no system'
    # functions from a brace in the first column to the one that closes it
    while read -r line; do finding "$line"; done < <(awk -F: '
        !/^(kernels|host)\// { next }
        $3 ~ /^{/ { start = $2 }
        $3 ~ /^}/ { if (start && $2 - start > 61) print $1 ":" start ": a function of " $2 - start - 1 " lines; 60 is the most"
                    start = 0 }' <<<"$code")
    mapfile -t files < <(sources include kernels host bench tests)
    while read -r line; do finding "$line"; done < <(awk '
        FNR == 601 { print FILENAME " has more than 600 lines" }
        /(^|[^A-Za-z])(TODO|FIXME|XXX)($|[^A-Za-z])/ { print FILENAME ":" FNR ": a note to do" }' "${files[@]}")
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
