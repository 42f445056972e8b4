package doctor

// A check is something to look at. Those of the host need Linux's /proc and /sys.
type check struct {
	name, area string
	host       bool
	run        func(*exam) []Finding
}

// checks are run in this order, which is that of the Report among what is equally grave.
var checks = []check{
	{"gateway", "gateway", false, (*exam).gateway},
	{"ready", "gateway", false, (*exam).ready},
	{"loops", "gateway", false, (*exam).lateLoops},
	{"refused", "gateway", false, (*exam).refusedClients},
	{"losses", "gateway", false, (*exam).losses},
	{"certificates", "gateway", false, (*exam).certificates},

	{"flags", "flags", false, (*exam).flagErrors},
	{"login", "flags", false, (*exam).openLogin},
	{"guests", "flags", false, (*exam).guests},
	{"login-tls", "flags", false, (*exam).plainLogin},
	{"cluster-tls", "flags", false, (*exam).clusterTLS},
	{"otlp-tls", "flags", false, (*exam).collectorTLS},
	{"client-tls", "flags", false, (*exam).clientTLS},
	{"worker-port", "flags", false, (*exam).workerPort},
	{"admin-port", "flags", false, (*exam).adminPort},
	{"proxy-trust", "flags", false, (*exam).proxyTrust},
	{"abuse-limits", "flags", false, (*exam).abuseLimits},
	{"secrets", "flags", false, (*exam).secrets},
	{"session-key", "flags", false, (*exam).sessionKey},
	{"max-connections", "flags", false, (*exam).maxConnections},
	{"drain", "flags", false, (*exam).drain},

	{"open-files", "files", true, (*exam).openFiles},
	{"system-files", "files", true, (*exam).systemFiles},

	{"listen-queue", "network", true, (*exam).listenQueue},
	{"syn-queue", "network", true, (*exam).synQueue},
	{"tcp-memory", "network", true, (*exam).tcpMemory},
	{"send-buffer", "network", true, (*exam).sendBuffer},
	{"orphans", "network", true, (*exam).orphans},
	{"port-range", "network", true, (*exam).portRange},
	{"conntrack", "network", true, (*exam).conntrack},
	{"listen-drops", "network", true, (*exam).listenDrops},
	{"memory-drops", "network", true, (*exam).memoryDrops},
	{"packet-drops", "network", true, (*exam).packetDrops},

	{"memory-limit", "memory", true, (*exam).memoryLimit},
	{"huge-pages", "memory", true, (*exam).hugePages},
	{"swap", "memory", true, (*exam).swap},
	{"overcommit", "memory", true, (*exam).overcommit},
	{"core-dumps", "memory", true, (*exam).coreDumps},

	{"cpu-quota", "cpu", true, (*exam).cpuQuota},
	{"threads", "cpu", true, (*exam).threads},
	{"governor", "cpu", true, (*exam).governor},
	{"clock", "cpu", true, (*exam).clock},

	{"host", "host", false, (*exam).unread},
}

// unread says what could not be looked at. It is the last check.
func (e *exam) unread() []Finding {
	if e.System != "linux" {
		return is(Note, "this is "+e.System+": files, network, memory and CPU were not looked at",
			"what they are is read from /proc and /sys of Linux, where the gateway is at home; run this on the machine that it runs on")
	}
	if len(e.refused) == 0 {
		return nil
	}
	text := ""
	for i, name := range e.refused {
		if i > 0 {
			text += ", "
		}
		text += name
	}
	return is(Note, "cannot be read: "+text, "what they hold was not looked at", "sudo sluice doctor")
}
