#!/bin/bash
# test_symbols.sh HEADER_DIR LIBRARY... - every symbol that a shared library exports starts with nib_ and is declared
# in a public header; every global name inside a static library starts with nib_; and each header's functions are in
# its library: nibble.h's in all, the others' in libnibble_file. Names that begin with two underscores are the
# compiler's and the sanitizers'.
set -euo pipefail
headers=$1
shift
failed=0 count=0

# The functions that headers declare: the name before the first parenthesis of each NIB_API declaration.
declared() {
    cat "$@" | awk 'BEGIN { RS = ";" } /NIB_API/ && match($0, /nib_[a-z0-9_]+\(/) { print substr($0, RSTART, RLENGTH - 1) }'
}
for library in "$@"; do
    if [[ $library == *.a ]]; then names=$(nm -g --defined-only "$library"); else names=$(nm -D --defined-only "$library"); fi
    while read -r name; do
        count=$((count + 1))
        if [[ $name != nib_* ]]; then
            failed=$((failed + 1))
            echo "$(basename "$library") exports $name"
        elif [[ $library != *.a ]] && ! grep -qE "\b$name\(" "$headers"/*.h; then
            failed=$((failed + 1))
            echo "$(basename "$library") exports $name, which no public header declares"
        fi
    done < <(awk 'NF >= 3 && $3 !~ /^__/ { print $3 }' <<<"$names" | sort -u)
    [[ $library == *.a ]] && continue
    own=("$headers/nibble.h")
    [[ $library == *nibble_file* ]] && own=("$headers"/*.h)
    while read -r name; do
        grep -qw "$name" <<<"$names" && continue
        failed=$((failed + 1))
        echo "$(basename "$library") lacks $name"
    done < <(declared "${own[@]}")
done
echo "$count symbols, $failed findings"
[ "$count" -gt 0 ] && [ "$failed" = 0 ]
