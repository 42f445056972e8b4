#!/usr/bin/env bash
# Makes the release of HEAD twice, in clones at different places, by people with other caches, time
# zones and permissions, and compares the bytes.
set -euo pipefail
repo=$(git rev-parse --show-toplevel)
work=$(mktemp -d)
trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
git clone -q "$repo" "$work/a"
mkdir -p "$work/elsewhere/with a blank"
git clone -q "$repo" "$work/elsewhere/with a blank/b"
(cd "$work/a" && packaging/release.sh "$work/first" >/dev/null)
(
	cd "$work/elsewhere/with a blank/b"
	umask 077
	GOCACHE=$work/cache TZ=Asia/Tokyo LANG=C packaging/release.sh "$work/second" >/dev/null
)
if ! diff "$work/first/SHA256SUMS" "$work/second/SHA256SUMS"; then
	echo "reproduce.sh: not the same bytes"
	exit 1
fi
cat "$work/first/SHA256SUMS"
echo "the same bytes twice"
