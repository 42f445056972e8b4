#!/bin/sh
# Prints what version this is: the tag of HEAD, as v1.2.3, or what Go calls a commit behind a tag, as
# v1.2.4-0.20260102030405-0123456789ab; with +dirty for changes that are not committed. VERSION, if
# set, counts before that.
set -eu
if [ -n "${VERSION:-}" ]; then
	echo "$VERSION"
	exit
fi
cd "$(dirname "$0")/.."
if ! commit=$(git rev-parse --short=12 HEAD 2>/dev/null); then
	echo "version.sh: no git repository here: set VERSION=v1.2.3 and SOURCE_DATE_EPOCH" >&2
	exit 1
fi
dirty=
[ -z "$(git status --porcelain)" ] || dirty=+dirty
if tag=$(git describe --tags --exact-match --match 'v[0-9]*' HEAD 2>/dev/null); then
	echo "$tag$dirty"
	exit
fi
time=$(TZ=UTC git show -s --date=format-local:%Y%m%d%H%M%S --format=%cd HEAD)
if ! tag=$(git describe --tags --abbrev=0 --match 'v[0-9]*' HEAD 2>/dev/null); then
	echo "v0.0.0-$time-$commit$dirty"
	exit
fi
case $tag in
*-*) echo "$tag.0.$time-$commit$dirty" ;; # behind a release candidate
*) echo "${tag%.*}.$((${tag##*.} + 1))-0.$time-$commit$dirty" ;;
esac
