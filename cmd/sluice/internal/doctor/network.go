package doctor

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// loopLate is one in so many of a second: a loop counts as late after 100 ms (sluice_loop_late_total),
// so for that long a listener may be left alone. When all connections come again within a second, after
// a fault of the network, a tenth of them arrives meanwhile. A round trip of 100 ms, for which a
// connection is half open, leads to the same number.
const loopLate = 10

func (e *exam) burst() int64 { return max(int64(e.want)/loopLate, 1) }

// listenQueue looks at how many connections may wait to be accepted.
func (e *exam) listenQueue() []Finding {
	most, ok := e.number("proc/sys/net/core/somaxconn")
	if !ok {
		return nil
	}
	found := fmt.Sprintf("%s may wait to be accepted (somaxconn)", plural(most, "connection"))
	if most >= e.burst() {
		return fine("%s, %s wanted", found, number(e.burst()))
	}
	return is(Warning, fmt.Sprintf("%s, %s are wanted", found, number(e.burst())),
		fmt.Sprintf("when %s come again within a second, that many come in the 100 ms that a loop may be late; others get no answer and try again a second later",
			number(e.want)),
		sysctl("net.core.somaxconn", powerAtLeast(e.burst()))+"   # then restart the gateway: it asks once")
}

// synQueue looks at how many connections may be half open, and what happens to more.
func (e *exam) synQueue() []Finding {
	most, ok := e.number("proc/sys/net/ipv4/tcp_max_syn_backlog")
	if !ok {
		return nil
	}
	cookies, known := e.number("proc/sys/net/ipv4/tcp_syncookies")
	stamps, stamped := e.number("proc/sys/net/ipv4/tcp_timestamps")
	found := fmt.Sprintf("%s may be half open (tcp_max_syn_backlog)", plural(most, "connection"))
	switch {
	case known && cookies == 0:
		return is(Warning, found+", and there are no SYN cookies (tcp_syncookies)",
			"whoever sends SYNs and nothing else keeps all others out", sysctl("net.ipv4.tcp_syncookies", 1))
	case known && cookies == 2:
		return is(Note, "every connection is opened by a SYN cookie (tcp_syncookies is 2)",
			"that is for tests of the kernel: cookies are for when the queue is full", sysctl("net.ipv4.tcp_syncookies", 1))
	case stamped && stamps == 0:
		return is(Note, found+"; TCP has no timestamps",
			"without them a connection opened by a SYN cookie has no window scaling, and round trips are measured less well",
			sysctl("net.ipv4.tcp_timestamps", 1))
	}
	if most < e.burst() {
		return fine("%s, beyond that SYN cookies", found)
	}
	return fine("%s, %s wanted; beyond that SYN cookies", found, number(e.burst()))
}

// portRange looks at how many connections a proxy or a load tool of this machine can open to one port
// of the gateway from one address.
func (e *exam) portRange() []Finding {
	ports := e.numbers("proc/sys/net/ipv4/ip_local_port_range")
	if len(ports) < 2 {
		return nil
	}
	low, high := ports[0], ports[1]
	n := high - low + 1
	own := e.ownPorts()
	taken := slices.DeleteFunc(slices.Clone(own), func(p int64) bool { return p < low || p > high || e.reserved(p) })
	found := fmt.Sprintf("ports %d to %d are for outgoing connections: %s from one address to one port", low, high, number(n))
	if len(taken) > 0 {
		return is(Note, fmt.Sprintf("the gateway listens on %s, within %d to %d, which are for outgoing connections", join(taken), low, high),
			"while it is down some outgoing connection may be given that port: then it cannot start",
			fmt.Sprintf("sysctl -w net.ipv4.ip_local_reserved_ports=%s", join(own)))
	}
	if n >= int64(e.want) {
		return fine("%s", found)
	}
	s, who := Note, "a proxy or a load tool on this machine cannot open "
	if e.localProxy() {
		s, who = Warning, "the proxy on this machine cannot open "
	}
	lowest := int64(1024) // those below are for the system's services
	for _, p := range own {
		if p < low {
			lowest = max(lowest, p+1)
		}
	}
	fix := []string{fmt.Sprintf("sysctl -w net.ipv4.ip_local_port_range=\"%d 65535\"", lowest)}
	if int64(e.want) > 65535-lowest+1 {
		fix = append(fix, "--listen unix:///run/sluice/clients   # no ports at all; or several listeners or addresses")
	}
	return is(s, found, who+number(e.want)+"; clients of other machines do not mind", fix...)
}

// ownPorts are those that the gateway listens on, sorted.
func (e *exam) ownPorts() (list []int64) {
	for _, l := range e.Flags.listeners() {
		if p, err := strconv.ParseInt(l.port, 10, 64); err == nil && p > 0 {
			list = append(list, p)
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// reserved reports whether the kernel gives a port to nobody who does not ask for it.
func (e *exam) reserved(port int64) bool {
	text, _ := e.text("proc/sys/net/ipv4/ip_local_reserved_ports")
	for part := range strings.SplitSeq(text, ",") {
		from, to, ok := strings.Cut(part, "-")
		if !ok {
			to = from
		}
		a, err1 := strconv.ParseInt(from, 10, 64)
		b, err2 := strconv.ParseInt(to, 10, 64)
		if err1 == nil && err2 == nil && a <= port && port <= b {
			return true
		}
	}
	return false
}

func join(list []int64) string {
	texts := make([]string, len(list))
	for i, n := range list {
		texts[i] = strconv.FormatInt(n, 10)
	}
	return strings.Join(texts, ",")
}

// conntrack looks at the kernel's table of connections, where a firewall has it keep one. A connection
// that ends stays in it for two minutes (nf_conntrack_tcp_timeout_time_wait), so when all come again
// there are two entries for each.
func (e *exam) conntrack() []Finding {
	most, ok := e.number("proc/sys/net/netfilter/nf_conntrack_max")
	used, counted := e.number("proc/sys/net/netfilter/nf_conntrack_count")
	if !ok || !counted {
		return fine("connections are not tracked here")
	}
	open := int64(0)
	if e.Gateway != nil && e.FilesAreHere {
		open = min(int64(e.Gateway.Connections()), used) // which are among those used, if they are tracked
	}
	others, want := used-open, int64(e.want)
	found := fmt.Sprintf("%s of %s entries of conntrack are used", number(used), number(most))
	fix := sysctl("net.netfilter.nf_conntrack_max", powerAtLeast(others+2*want))
	switch {
	case others+want > most:
		return is(Error, fmt.Sprintf("%s; %s do not fit", found, plural(e.want, "connection")),
			"when the table is full the kernel drops the packets of new connections, and says \"nf_conntrack: table full\" in its log", fix)
	case others+2*want > most:
		return is(Warning, fmt.Sprintf("%s; %s fit once, but not twice", found, plural(e.want, "connection")),
			"one that ends stays for two minutes: when all come again after a fault, the table is full and new connections are dropped", fix)
	}
	return fine("%s", found)
}

// listenDrops looks for connections that were dropped before they were accepted.
func (e *exam) listenDrops() []Finding {
	if len(e.after) == 0 {
		return nil
	}
	text, now := e.dropped([]drop{
		{"ListenOverflows", "times that a listener's queue was full (ListenOverflows)"},
		{"TCPReqQFullDrop", "SYNs dropped because too many were half open (TCPReqQFullDrop)"},
	})
	if text == "" {
		return fine("no listener's queue was full%s", sinceStart)
	}
	most, _ := e.number("proc/sys/net/core/somaxconn")
	return is(grows(now), text+sinceStart,
		"whoever was dropped tries again after a second or more; it may have been another server of this machine",
		sysctl("net.core.somaxconn", powerAtLeast(max(2*most, e.burst())))+"   # then restart the gateway; and see sluice_loop_late_total")
}

// packetDrops looks for packets that came faster than a CPU took them.
func (e *exam) packetDrops() []Finding {
	if _, ok := e.after[softnet]; !ok {
		return nil
	}
	text, now := e.dropped([]drop{{softnet, "packets dropped because a CPU's queue was full (/proc/net/softnet_stat)"}})
	if text == "" {
		return fine("no packet was dropped for want of a CPU%s", sinceStart)
	}
	most, _ := e.number("proc/sys/net/core/netdev_max_backlog")
	return is(grows(now), text+sinceStart, "each is sent again after 200 ms or more",
		sysctl("net.core.netdev_max_backlog", powerAtLeast(2*max(most, 1000))))
}
