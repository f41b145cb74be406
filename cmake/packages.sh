# shellcheck shell=bash
# packages.sh - sourced by ./check and ./quickstart: installs what cmake/packages.txt lists and the machine lacks.

# Whether the compiler links libFuzzer and the sanitizers.
probe_fuzzer() {
    local out status
    out=$(mktemp) || return 1
    echo 'int LLVMFuzzerTestOneInput(const char *d, unsigned long n) { return d && n > 9; }' |
        "$1" -fsanitize=fuzzer,address -xc - -o "$out"
    status=$?
    rm -f "$out"
    return $status
}

# Whether a probe of packages.txt holds.
package_there() {
    local kind=${1%%:*} what=${1#*:}
    case $kind in
        cmd) command -v "$what" ;;
        pc) pkg-config --exists "$what" ;;
        inc) echo "#include <$what>" | gcc -E -xc - ;;
        lib) PATH=$PATH:/sbin:/usr/sbin ldconfig -p | grep -F "$what" ;;
        icd) ls /etc/OpenCL/vendors/*"$what"* ;;
        py) python3 -c "import $what" ;;
        fuzzer) probe_fuzzer "$what" ;;
    esac >/dev/null 2>&1
}

# Prints the packages of one need whose probe fails, in apt's names.
packages_missing() {
    local need probe names
    while read -r need probe names; do
        [ "$need" = "$1" ] || continue
        package_there "$probe" || package_name "$names"
    done <"$(dirname "${BASH_SOURCE[0]}")/packages.txt"
}

# The first of a|b|c that apt knows; the first of all where apt knows none.
package_name() {
    local name
    for name in ${1//|/ }; do
        apt-cache show "$name" >/dev/null 2>&1 && echo "$name" && return
    done
    echo "${1%%|*}"
}

apt_install() {
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" </dev/null >/dev/null 2>&1
}

# Installs what is missing, of the needs given ("build", "python", "test"). Fails if a build package is still missing after that;
# a missing test package is only named: the tests that need it say that they are skipped.
packages_install() {
    local need missing="" sudo=""
    for need in "$@"; do missing+=" $(packages_missing "$need" | tr '\n' ' ')"; done
    [ -n "${missing// /}" ] || return 0
    [ "$(id -u)" -eq 0 ] || sudo="sudo"
    [ -z "$sudo" ] || [ -t 0 ] || sudo="sudo -n" # without a terminal nobody can type a password
    if ! command -v apt-get >/dev/null; then
        echo "packages: no apt-get here; install what your system calls:$missing"
    elif [ -n "$sudo" ] && ! command -v sudo >/dev/null; then
        echo "packages: not root and no sudo; as root: apt-get install$missing"
    else
        echo "packages: installing$missing"
        $sudo apt-get update -qq </dev/null >/dev/null || echo "packages: apt-get update failed"
        missing="" # names again: the fresh index may know other alternatives
        for need in "$@"; do missing+=" $(packages_missing "$need" | tr '\n' ' ')"; done
        # All at once; where that fails one by one, so that a package that this system lacks does not cost the others.
        # shellcheck disable=SC2086 # a list of names
        apt_install $missing || for need in $missing; do
            apt_install "$need" || echo "packages: apt-get could not install $need"
        done
    fi
    for need in "$@"; do
        missing=$(packages_missing "$need" | tr '\n' ' ')
        [ -z "$missing" ] && continue
        echo "packages: still missing for the $need: $missing"
        [ "$need" != build ] || return 1
    done
}
