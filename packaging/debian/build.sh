#!/usr/bin/env bash
# Makes a Debian package of what packaging/release.sh has put together: for it alone to call.
#
#   packaging/debian/build.sh ROOT VERSION ARCH OUT
set -euo pipefail
root=$1 version=$2 arch=$3 out=$4
here=$(dirname "$0")

# v1.2.3-rc.1 comes before v1.2.3, which Debian says with a tilde.
upstream=${version#v}
upstream=${upstream/-/\~}
upstream=${upstream//-/.}
debian=$upstream-1

deb=$(mktemp -d)
trap 'rm -rf "$deb"' EXIT
chmod 755 "$deb"
into() { # into MODE DIR FILE...
	mkdir -p "$deb/$2"
	install -m "$1" "${@:3}" "$deb/$2"
}
zipped() { # zipped FILE NAME
	mkdir -p "$deb/$(dirname "$2")"
	gzip -9n <"$1" >"$deb/$2.gz"
}

into 755 usr/bin "$root/bin/sluice" "$root/bin/sluice-bench"
into 644 usr/lib/systemd/system "$root/systemd/sluice.service"
into 644 usr/share/sluice "$root/systemd/systemd-252.conf" "$root/systemd/sluice.socket"
into 644 etc/sluice "$root/systemd/sluice.toml"
into 644 etc/logrotate.d "$root/systemd/sluice.logrotate"
mv "$deb/etc/logrotate.d/sluice.logrotate" "$deb/etc/logrotate.d/sluice"
for page in "$root"/man/*.1; do zipped "$page" "usr/share/man/man1/${page##*/}"; done
into 644 usr/share/bash-completion/completions "$root/completions/sluice.bash"
mv "$deb/usr/share/bash-completion/completions/sluice.bash" "$deb/usr/share/bash-completion/completions/sluice"
into 644 usr/share/zsh/vendor-completions "$root/completions/sluice.zsh"
mv "$deb/usr/share/zsh/vendor-completions/sluice.zsh" "$deb/usr/share/zsh/vendor-completions/_sluice"
into 644 usr/share/fish/vendor_completions.d "$root/completions/sluice.fish"

doc=usr/share/doc/sluice
into 644 $doc "$root/README.md" "$root/SECURITY.md" "$root/BENCHMARKS.md"
into 644 $doc/docs "$root"/docs/*.md
cp -r "$root/examples" "$deb/$doc/examples"
zipped "$root/CHANGELOG.md" $doc/changelog
sed -i 's#](../CHANGELOG.md)#](../changelog.gz)#' "$deb/$doc/docs/README.md"
printf 'sluice (%s) unstable; urgency=medium\n\n  * See changelog.gz.\n\n -- %s  %s\n' \
	"$debian" "$(sed -n 's/^Maintainer: //p' "$here/control")" "$(date -R -d "@$SOURCE_DATE_EPOCH")" >"$deb/changes"
zipped "$deb/changes" $doc/changelog.Debian
rm "$deb/changes"
{
	cat "$here/copyright"
	sed '1,2d; s/^$/./; s/^/ /' "$root/LICENSE"
	printf '\nFiles: usr/bin/*\nCopyright: see LICENSES.txt.gz\nLicense: other\n'
	printf ' What the programs are made of, and the licences, is in LICENSES.txt.gz. On Debian\n'
	printf ' systems the Apache License 2.0 is in /usr/share/common-licenses/Apache-2.0.\n'
} >"$deb/$doc/copyright"
zipped "$root/LICENSES.txt" $doc/LICENSES.txt
into 644 usr/share/lintian/overrides "$here/lintian-overrides"
mv "$deb/usr/share/lintian/overrides/lintian-overrides" "$deb/usr/share/lintian/overrides/sluice"

into 755 DEBIAN "$here/postinst" "$here/prerm" "$here/postrm"
printf '%s\n' /etc/logrotate.d/sluice /etc/sluice/sluice.toml >"$deb/DEBIAN/conffiles"
(cd "$deb" && find usr -type f | sort | xargs md5sum) >"$deb/DEBIAN/md5sums"
size=$(du -sk --apparent-size --exclude=DEBIAN "$deb" | cut -f1)
sed "s/@VERSION@/$debian/; s/@ARCH@/$arch/; s/@SIZE@/$size/" "$here/control" >"$deb/DEBIAN/control"
chmod 644 "$deb"/DEBIAN/{conffiles,md5sums,control} "$deb/$doc"/{copyright,*.gz} "$deb"/usr/share/man/man1/*
find "$deb" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
dpkg-deb --root-owner-group -Zxz --threads-max=1 --build "$deb" "$out/sluice_${debian}_$arch.deb" >/dev/null
