#!/bin/bash
# test_headers.sh SOURCE_DIR CC - each public header compiles alone, as C11 and, where there is a C++ compiler,
# as C++17, without a warning; and NIB_REPORT_EMPTY is an expression in both.
set -uo pipefail
include=$1/include
cc=$2
cxx=$(command -v c++ || command -v g++ || command -v clang++)
passed=0 failed=0 skipped=0
warnings="-Wall -Wextra -Wpedantic -Werror -fsyntax-only -I$include"

compiles() { # WHAT COMPILER...; the text on standard input
    local what=$1
    shift
    # shellcheck disable=SC2086
    if "$@" $warnings -; then passed=$((passed + 1)); else
        failed=$((failed + 1))
        echo "failed: $what"
    fi
}

for header in "$include"/*.h; do
    name=$(basename "$header")
    texts=("#include <$name>" "#include <$name>
#include <$name>")
    [ "$name" = nibble.h ] && texts+=("#include <$name>
unsigned first(void);
unsigned first(void) { nib_report report = NIB_REPORT_EMPTY; return report.first; }")
    for text in "${texts[@]}"; do
        compiles "$name as C11" "$cc" -std=c11 -x c <<<"$text"
        if [ -n "$cxx" ]; then compiles "$name as C++17" "$cxx" -std=c++17 -x c++ <<<"$text"; else skipped=$((skipped + 1)); fi
    done
done
# and the check can fail
if echo 'nib_status broken(int);' | "$cc" -std=c11 -x c -fsyntax-only - 2>/dev/null; then
    failed=$((failed + 1))
    echo "failed: $cc accepts an undeclared type"
fi
[ -n "$cxx" ] || echo "skipped: C++17: no C++ compiler"
echo "$passed passed, $failed failed, $skipped skipped"
[ "$passed" -gt 0 ] && [ "$failed" = 0 ]
