#!/bin/sh
# Runs the full pressure scenarios of bench/e2e against two gateways in turn, scenario by scenario,
# and prints a line for everything that was measured.
#
#	sh bench/pressure.sh OLD NEW [REPEATS [SCENARIOS]]
#
# SCENARIOS is a regular expression for names such as RollingStalls. SLUICE_PRESSURE_SECONDS=15
# makes those shorter that take a minute.
set -eu
if [ $# -lt 2 ]; then
	sed -n 's/^#//p' "$0" | sed -n '2,9p' >&2
	exit 2
fi
old=$(realpath "$1") new=$(realpath "$2") repeats=${3:-1} scenarios=${4:-.}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$(dirname "$0")/e2e"
go test -c -o "$dir/e2e.test" .
names=$(SLUICE_BIN=$new "$dir/e2e.test" -test.list '^TestPressure' | grep '^TestPressure' | grep -E "$scenarios")
i=0
while [ "$i" -lt "$repeats" ]; do
	i=$((i + 1))
	for name in $names; do
		for which in old new; do
			[ $which = old ] && bin=$old || bin=$new
			SLUICE_PRESSURE=full SLUICE_BIN=$bin "$dir/e2e.test" -test.timeout 30m -test.run "^$name\$" >"$dir/out" 2>&1 || true
			sed -n "s/^pressure |/$which |/p" "$dir/out"
			if grep -q '^panic' "$dir/out"; then
				cat "$dir/out" >&2
				exit 1
			fi
		done
	done
done
