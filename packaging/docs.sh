#!/usr/bin/env bash
# Copies what there is to read into DIR, for packaging/release.sh. Links between these texts stay as they
# are; what they link to besides is on GitHub, as it is at REF, a commit or a tag.
#
#   packaging/docs.sh DIR REF
set -euo pipefail
mkdir -p "$1/docs"
dir=$(realpath "$1") ref=$2
cd "$(dirname "$0")/.."
install -m 644 LICENSE README.md CHANGELOG.md SECURITY.md BENCHMARKS.md "$dir"
install -m 644 docs/*.md "$dir/docs"
dirs=
for d in */; do [ "$d" = docs/ ] || dirs+="${dirs:+|}${d%/}"; done
site=https://github.com/sluicenet/sluice
sed -E -i "
s#(!\[[^]]*\])\((\.\./)?(($dirs)(/[^)]*)?)\)#\1($site/raw/$ref/\3)#g
s#\]\((\.\./)?(($dirs)(/[^)]*)?)\)#]($site/blob/$ref/\2)#g" "$dir"/*.md "$dir"/docs/*.md
