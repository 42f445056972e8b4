#!/usr/bin/env bash
# Makes a release in DIR (dist), for ARCHES (amd64 arm64): archives, Debian packages, bills of material,
# and their checksums. The same commit gives the same bytes, wherever and whenever it is built with the
# same Go. Wants go, GNU tar and dpkg-deb.
#
#   packaging/release.sh [DIR]
set -euo pipefail
umask 022
export LC_ALL=C TZ=UTC
cd "$(dirname "$0")/.."
out=${1:-dist}
go=${GO:-go}
version=$(packaging/version.sh)
: "${SOURCE_DATE_EPOCH:=$(git show -s --format=%ct HEAD)}"
commit=$(git rev-parse HEAD 2>/dev/null || true)
export SOURCE_DATE_EPOCH
# What would change the binaries and may be set where this runs.
unset GOAMD64 GOARM64 GOEXPERIMENT GOOS GOARCH GODEBUG
export CGO_ENABLED=0 GOFLAGS=-mod=readonly GOWORK=off

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
rm -rf "$out"
mkdir -p "$out"

"$go" build -C tools -o "$work/bom" ./bom
uplot=engine/internal/admin/page/uplot
uplot_version=$(head -c 200 $uplot/uPlot.iife.min.js | sed -n 's/.*uPlot (v\([0-9.]*\)).*/\1/p')
# Completions come from a program of this machine.
"$go" build -trimpath -buildvcs=false -o "$work/host" ./cmd/sluice
mkdir "$work/completions"
for shell in bash zsh fish; do "$work/host" completion $shell >"$work/completions/sluice.$shell"; done
mkdir "$work/man"
date=$(date -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%d)
for page in packaging/man/*.1; do
	# .TH NAME 1 DATE SOURCE "User Commands"
	sed "1s/ 1 [0-9-]* \(\S*\) / 1 $date \"\1 ${version#v}\" /" "$page" >"$work/man/${page##*/}"
done

fixed() { find "$1" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +; }

# docs_into DIR copies what there is to read.
docs_into() {
	mkdir -p "$1/examples"
	packaging/docs.sh "$1" "${commit:-$version}"
	cp -r engine/worker/example/. "$1/examples"
	chmod -R u=rwX,go=rX "$1/examples"
}

for arch in ${ARCHES:-amd64 arm64}; do
	name=sluice-$version-linux-$arch
	root=$work/$name
	mkdir -p "$root/bin"
	GOOS=linux GOARCH=$arch "$go" build -trimpath -buildvcs=false \
		-ldflags "-s -w -X main.release=$version -X main.commit=$commit" -o "$root/bin/" ./cmd/sluice ./cmd/sluice-bench
	"$work/bom" -version "$version" -epoch "$SOURCE_DATE_EPOCH" -licenses "$root/LICENSES.txt" \
		-also "pkg:npm/uplot@$uplot_version=$uplot/LICENSE" -out "$out/$name.cdx.json" \
		"$root/bin/sluice" "$root/bin/sluice-bench"
	docs_into "$root"
	cp -r "$work/man" "$work/completions" "$root"
	mkdir "$root/systemd"
	install -m 644 packaging/systemd/sluice.* packaging/systemd/*.conf packaging/sluice.toml packaging/sluice.logrotate "$root/systemd"
	fixed "$root"
	tar -C "$work" --sort=name --format=ustar --owner=0 --group=0 --numeric-owner -cf - "$name" | gzip -9n >"$out/$name.tar.gz"
	packaging/debian/build.sh "$root" "$version" "$arch" "$out"
done
(cd "$out" && sha256sum -- * >"$work/sums" && mv "$work/sums" SHA256SUMS)
chmod 644 "$out"/*
echo "$out:"
(cd "$out" && ls -l)
