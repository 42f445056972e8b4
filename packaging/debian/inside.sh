#!/bin/bash
# What check.sh does inside of a container that systemd has booted.
# shellcheck disable=SC2053,SC2317 # patterns are meant, and functions are called by ok
set -uo pipefail
export LC_ALL=C SLUICE_ADMIN_TOKEN_FILE=/etc/sluice/admin-tokens
bad=0
ok() { # ok WHAT COMMAND...
	local what=$1 out
	shift
	if out=$("$@" 2>&1); then echo "ok    $what"; else
		echo "FAIL  $what: $* says $? $out"
		bad=1
	fi
}
not() { # not WHAT COMMAND...
	local what=$1
	shift
	if "$@" >/dev/null 2>&1; then
		echo "FAIL  $what: $*"
		bad=1
	else echo "ok    $what"; fi
}
is() { # is WHAT WANT GOT
	if [[ $3 == $2 ]]; then echo "ok    $1"; else
		echo "FAIL  $1: $3, want $2"
		bad=1
	fi
}
show() { systemctl show -P "$1" sluice; }
until_active() {
	for _ in $(seq 100); do
		[ "$(show ActiveState)" = active ] && return
		sleep 0.1
	done
	return 1
}
# A client with a token: what the gateway answers to its login, and to a request.
client() {
	local json="{\"token\":\"$1\"}"
	exec 3<>/dev/tcp/127.0.0.1/7000 || return
	printf "\\x10\\x$(printf %x $((11 + ${#json})))\\x05GOSOC\\x01\\x00\\x00\\x3c\\x$(printf %x ${#json})%s" "$json" >&3
	timeout 5 head -c 4 <&3 | od -An -tx1 | tr -d ' \n'
	exec 3>&-
}

version=$(systemctl --version | sed -n '1s/^systemd \([0-9]*\).*/\1/p')
echo "Debian $(cat /etc/debian_version), systemd $version"

ok "installs" dpkg -i /check/sluice.deb
ok "runs" until_active
is "as its user" sluice "$(stat -c %U /proc/"$(show MainPID)")"
is "enabled" enabled "$(systemctl is-enabled sluice)"
is "status" "Serving 0 connections" "$(show StatusText)"
is "tokens" "640 root sluice" "$(stat -c '%a %U %G' /etc/sluice/admin-tokens)"
is "session key" "600 sluice sluice" "$(stat -c '%a %U %G' /var/lib/sluice/session.key)"
is "workers' socket" "660 sluice sluice" "$(stat -c '%a %U %G' /run/sluice/workers)"
is "version" "sluice v*" "$(sluice version)"
ok "healthy" sluice health
ok "check" sluice check --config /etc/sluice/sluice.toml
not "nobody gets a token without the file" env -u SLUICE_ADMIN_TOKEN_FILE sluice token --user ann
token=$(sluice token -q --user ann)
is "a client with a token" "20020000" "$(client "$token")"
is "a client without" "2002*" "$(client wrong-token)"
is "an operator reads" 0 "$(sluice conns >/dev/null 2>&1; echo $?)"

if [ "$version" -ge 253 ]; then
	is "type" notify-reload "$(show Type)"
	is "systemd-analyze verify" "" "$(systemd-analyze verify --man=no /usr/lib/systemd/system/sluice.service 2>&1)"
else
	is "type" notify "$(show Type)"
fi
is "systemd-analyze security" "*1.*OK*" "$(systemd-analyze security --offline=true --no-pager /usr/lib/systemd/system/sluice.service 2>/dev/null | tail -1)"

sed -i 's/^# access-log/access-log/' /etc/sluice/sluice.toml
systemctl restart sluice
ok "runs with an access log" until_active
client "$(sluice token -q --user bob)" >/dev/null
sleep 0.3
is "which it writes" "*bob*" "$(cat /var/log/sluice/access.log)"
mv /var/log/sluice/access.log /var/log/sluice/access.log.1
pid=$(show MainPID)
ok "reloads" systemctl reload sluice
is "a log that was rotated is opened anew" "600 sluice" "$(stat -c '%a %U' /var/log/sluice/access.log)"
is "and is there" "active running" "$(show ActiveState) $(show SubState)"
sed -i 's/^drain = .*/drain = "nonsense"/' /etc/sluice/sluice.toml
systemctl reload sluice 2>/dev/null
sleep 0.5
is "a reload that fails is in the status" "*reload of * failed*" "$(show StatusText)"
is "and nothing else has happened" "active $pid" "$(show ActiveState) $(show MainPID)"
sed -i 's/^drain = .*/drain = "20s"/' /etc/sluice/sluice.toml
systemctl reload sluice 2>/dev/null
sleep 0.5
is "one that does not takes it back" "Serving *connections" "$(show StatusText)"
sed -i 's/^drain = .*/drain = "19s"/' /etc/sluice/sluice.toml # for the restart below

# Everything at once within the sandbox: TLS on a port below 1024, unix sockets, load.
mkdir -p /run/systemd/system/sluice.service.d /etc/sluice/tls
(cd /etc/sluice/tls && sluice cert --dev --cert cert.pem --key key.pem localhost >/dev/null && chgrp sluice key.pem && chmod 640 key.pem)
(umask 077 && echo "full its-systemd-that-hands-this-over" >/check/operators)
cat >/run/systemd/system/sluice.service.d/check.conf <<-END
	[Service]
	WatchdogSec=2s
	LoadCredential=operators:/check/operators
	ExecStart=
	ExecStart=/usr/bin/sluice serve --dev --listen tcp://127.0.0.1:7000 --listen tls://127.0.0.1:443 --listen unix:///run/sluice/clients \
	    --tls-cert /etc/sluice/tls/cert.pem --tls-key /etc/sluice/tls/key.pem --session-key /var/lib/sluice/other.key --admin-token %d/operators
END
systemctl daemon-reload
ok "restarts" systemctl restart sluice
ok "runs with a watchdog of 2 s" until_active
ok "has the credential" sluice conns --admin-token-file /check/operators
ok "is loaded" sluice-bench fanout -c 50 -r 200 -d 2s --warmup 0s -q --expect lost=0,closed=0
ok "is loaded over TLS on port 443" sluice-bench echo -t tls://127.0.0.1:443 -c 20 -r 500 -d 2s --warmup 0s -q --expect lost=0,closed=0
is "its life was not in doubt" 0 "$(show NRestarts)"
pid=$(show MainPID)
kill -STOP "$pid"
for _ in $(seq 200); do
	[ "$(show NRestarts)" = 1 ] && break
	sleep 0.1
done
is "one that stands still is started again" 1 "$(show NRestarts)"
ok "and runs" until_active
is "why" "*watchdog*" "$(journalctl -u sluice --no-pager -o cat | grep -i watchdog | head -1 | tr '[:upper:]' '[:lower:]')"
# What is not needed is refused, not the death of it.
is "the kernel has refused nothing" "" "$(journalctl -u sluice -k --no-pager -o cat | grep -i 'type=1326\|seccomp\|sigsys\|operation not permitted' | head -3)"
rm -r /run/systemd/system/sluice.service.d /etc/sluice/tls
systemctl daemon-reload
systemctl restart sluice

key=$(md5sum </var/lib/sluice/session.key)
tokens=$(md5sum </etc/sluice/admin-tokens)
pid=$(show MainPID)
ok "is upgraded" dpkg -i --force-confold /check/later.deb
ok "runs after it" until_active
is "it is the new one" yes "$([ "$(show MainPID)" != "$pid" ] && echo yes)"
is "settings stay" 'drain = "19s"' "$(grep ^drain /etc/sluice/sluice.toml)"
is "the session key stays" "$key" "$(md5sum </var/lib/sluice/session.key)"
is "the tokens stay" "$tokens" "$(md5sum </etc/sluice/admin-tokens)"

ok "stops" systemctl stop sluice
is "in peace" "inactive success 0" "$(show ActiveState) $(show Result) $(show ExecMainStatus)"
is "the log says so" "*stopped*" "$(journalctl -u sluice --no-pager -o cat | grep -F msg=stopped | tail -1)"
ok "starts" systemctl start sluice
ok "is removed" dpkg -r sluice
not "it is gone" systemctl is-active -q sluice
ok "settings are not" test -e /etc/sluice/sluice.toml
ok "is purged" dpkg -P sluice
for f in /etc/sluice /var/lib/sluice /var/log/sluice /run/sluice /usr/share/sluice /usr/share/doc/sluice /usr/lib/systemd/system/sluice.service; do
	not "no $f" test -e $f
done
is "nothing of it is left in /etc" "" "$(find /etc -name '*sluice*' ! -path '/etc/*-')"
not "no user" getent passwd sluice
not "no group" getent group sluice
if [ $bad != 0 ]; then journalctl -u sluice --no-pager -o short-monotonic | tail -60; fi
exit $bad
