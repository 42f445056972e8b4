#!/usr/bin/env bash
# Tries a Debian package on Debians of its own, which systemd boots in containers: installs it, starts,
# reloads, upgrades and purges it, by inside.sh. As root; wants debootstrap, systemd-container and
# Debian's mirror.
#
#   packaging/debian/check.sh PACKAGE.deb [SUITE...]
#
# CACHE (/var/tmp/sluice-debootstrap) keeps the Debians as they are before.
set -euo pipefail
deb=$(realpath "$1")
shift
suites=("$@")
[ $# -gt 0 ] || suites=(bookworm trixie)
here=$(cd "$(dirname "$0")" && pwd)
cache=${CACHE:-/var/tmp/sluice-debootstrap}
mkdir -p "$cache"
for tool in debootstrap systemd-nspawn dpkg-deb; do
	command -v $tool >/dev/null || { echo "check.sh: no $tool here (Debian: debootstrap systemd-container)"; exit 1; }
done

work=$(mktemp -d)
trap 'rm -rf --one-file-system "$work"' EXIT
# The same package, but later.
dpkg-deb -R "$deb" "$work/later"
sed -i 's/^Version: .*/Version: 99.0-1/' "$work/later/DEBIAN/control"
dpkg-deb --root-owner-group -Znone --build "$work/later" "$work/later.deb" >/dev/null

failed=0
for suite in "${suites[@]}"; do
	if [ ! -e "$cache/$suite.tar" ]; then
		debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,adduser "$suite" "$work/$suite" \
			"${MIRROR:-http://deb.debian.org/debian}" >"$work/debootstrap.log" 2>&1 || { tail "$work/debootstrap.log"; exit 1; }
		tar -C "$work/$suite" -cf "$cache/$suite.tar" .
		rm -rf "${work:?}/$suite"
	fi
	root=$work/$suite
	mkdir "$root"
	tar -C "$root" -xf "$cache/$suite.tar"
	mkdir "$root/check"
	cp "$deb" "$root/check/sluice.deb"
	cp "$work/later.deb" "$here/inside.sh" "$root/check"
	cat >"$root/etc/systemd/system/check.service" <<-END
		[Unit]
		After=multi-user.target
		[Service]
		Type=oneshot
		ExecStart=/bin/bash -c '/check/inside.sh >/check/log 2>&1; echo \$? >/check/code; systemctl poweroff --no-block'
		[Install]
		WantedBy=multi-user.target
	END
	mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
	ln -s ../check.service "$root/etc/systemd/system/multi-user.target.wants/check.service"
	SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 timeout 300 systemd-nspawn -q -D "$root" --private-network --register=no --keep-unit -b \
		</dev/null >"$work/boot.log" 2>&1 || true
	echo "== $suite"
	cat "$root/check/log" 2>/dev/null || tail -20 "$work/boot.log"
	if [ "$(cat "$root/check/code" 2>/dev/null)" != 0 ]; then
		failed=1
		echo "== $suite: FAILED"
	fi
done
exit $failed
