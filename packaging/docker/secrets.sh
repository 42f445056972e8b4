#!/bin/sh
# Makes the secrets that compose.yaml mounts, in secrets/ beside this file. What is there stays.
set -eu
cd "$(dirname "$0")"
umask 077
mkdir -p secrets
random() { head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n'; }
# Each is written beside its place and renamed. The folder is closed to others on this machine; the
# files are open, since each container has a user of its own.
make() {
	[ ! -e "secrets/$1" ] || return 0
	cat >"secrets/$1.new"
	chmod 0444 "secrets/$1.new"
	mv "secrets/$1.new" "secrets/$1"
	echo "secrets/$1: made"
}
# Clients: TOKEN USER.
printf '%s ann\n%s bob\n' "$(random)" "$(random)" | make users
random | make workers
random | make scrape
random | make grafana
printf 'read %s\nfull %s\n' "$(cat secrets/scrape)" "$(random)" | make operators
