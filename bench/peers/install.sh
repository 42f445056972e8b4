#!/bin/sh
# Installs the servers that Debian has, if they are missing, and stops the services that come with them. The
# others are built by the runner: nats-server 2.15 and gnet from the Go module proxy, sender.c with cc.
set -eu
PATH=$PATH:/usr/sbin:/sbin

as_root() {
	if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

missing=
command -v nats-server >/dev/null || missing="$missing nats-server"
command -v mosquitto >/dev/null || missing="$missing mosquitto"
command -v cc >/dev/null || missing="$missing gcc libc6-dev"
[ -n "$missing" ] || exit 0

as_root apt-get update
# shellcheck disable=SC2086 # a list
as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing
for service in nats-server mosquitto; do
	case $missing in
	*"$service"*) as_root service "$service" stop >/dev/null 2>&1 || true ;; # it may never have started
	esac
done
