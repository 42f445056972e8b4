package doctor

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/sluicenet/sluice/cmd/sluice/internal/table"
)

// A Gateway is what one that runs says of itself.
type Gateway struct {
	Address string
	Metrics Metrics
	Reasons []string // why it is not ready; nil: it is
	Now     time.Time
	// Elsewhere says that it is perhaps not on this machine.
	Elsewhere bool
}

// Metrics are series of a page in the text format, as name{label="value"}, by which values are found.
type Metrics map[string]float64

// ParseMetrics reads a page. Lines that are no samples are left out.
func ParseMetrics(page []byte) Metrics {
	m := make(Metrics)
	for line := range strings.Lines(string(page)) {
		line = strings.TrimSpace(line)
		i := strings.LastIndexByte(line, ' ')
		if i < 0 || line[0] == '#' {
			continue
		}
		if v, err := strconv.ParseFloat(line[i+1:], 64); err == nil {
			m[line[:i]] = v
		}
	}
	return m
}

// labelled calls f with the labels and the value of each series of a family, in order.
func (m Metrics) labelled(name string, f func(labels map[string]string, v float64)) {
	var list []string
	for series := range m {
		if strings.HasPrefix(series, name+"{") {
			list = append(list, series)
		}
	}
	slices.Sort(list)
	for _, series := range list {
		labels := make(map[string]string)
		for rest := strings.TrimSuffix(series[len(name)+1:], "}"); rest != ""; {
			key, after, ok := strings.Cut(rest, "=")
			quoted, err := strconv.QuotedPrefix(after)
			if !ok || err != nil {
				break
			}
			labels[key], _ = strconv.Unquote(quoted)
			rest = strings.TrimPrefix(after[len(quoted):], ",")
		}
		f(labels, m[series])
	}
}

// metric returns a value, 0 if it is not known, also for a nil Gateway.
func (g *Gateway) metric(name string) float64 {
	if g == nil {
		return 0
	}
	return g.Metrics[name]
}

// Connections returns how many clients are connected.
func (g *Gateway) Connections() int { return int(g.metric("sluice_connections")) }

// Loops returns how many event loops it has, 0 if that is not known.
func (g *Gateway) Loops() (n int) {
	g.Metrics.labelled("sluice_loop_last_lag_seconds", func(map[string]string, float64) { n++ })
	return n
}

// describe says in a few words who it is.
func (g *Gateway) describe() string {
	text := g.Address
	g.Metrics.labelled("sluice_build_info", func(labels map[string]string, _ float64) { text += ", " + labels["version"] })
	if at := g.metric("process_start_time_seconds"); at > 0 {
		text += ", up " + table.Duration(g.Now.Sub(time.UnixMilli(int64(at*1000))).Round(time.Second))
	}
	return text + ", " + plural(g.Connections(), "connection")
}

// gateway says whether there is one to look at.
func (e *exam) gateway() []Finding {
	switch {
	case e.Gateway != nil && e.Gateway.Elsewhere:
		return is(Note, e.Gateway.describe()+": it may be on another machine", "what is said of files, network, memory and CPU is of this one",
			"sluice doctor   # there")
	case e.Gateway != nil:
		return fine("%s", e.Gateway.describe())
	}
	if e.GatewayErr == nil {
		return nil
	}
	return is(Note, e.GatewayErr.Error(), "what runs was not looked at", e.gatewayFix())
}

func (e *exam) gatewayFix() string {
	if strings.Contains(e.GatewayErr.Error(), "no admin token is set") {
		return "--admin-token FILE   # for sluice serve, and as --admin-token-file for this: a line \"read TOKEN\" or \"full TOKEN\""
	}
	if strings.Contains(e.GatewayErr.Error(), "token") {
		return "sluice doctor --admin-token-file FILE   # with a line \"read TOKEN\" of the gateway's --admin-token"
	}
	return "sluice doctor --admin URL   # or SLUICE_ADMIN, where the gateway serves operators"
}

// ready says why no clients should come.
func (e *exam) ready() []Finding {
	if e.Gateway == nil {
		return nil
	}
	if e.Gateway.Reasons == nil {
		return fine("it takes clients")
	}
	return is(Warning, "it is not ready: "+strings.Join(e.Gateway.Reasons, "; "), "load balancers send nobody here")
}

// late is from when on a loop counts as late, as in sluice_loop_late_total.
const late = 100 * time.Millisecond

// lateLoops says whether loops are late now, and whether they were.
func (e *exam) lateLoops() []Finding {
	g := e.Gateway
	if g == nil || g.Loops() == 0 {
		return nil
	}
	worst, times := time.Duration(0), uint64(g.metric("sluice_loop_late_total"))
	g.Metrics.labelled("sluice_loop_last_lag_seconds", func(_ map[string]string, v float64) {
		worst = max(worst, time.Duration(v*float64(time.Second)))
	})
	text := fmt.Sprintf("loops are up to %s late now, and were more than 100 ms late %s since the start", table.Duration(worst), plural(times, "time"))
	why := "all connections of a loop wait for it; a handler blocks, or the machine has too little CPU"
	fix := "grep \"a loop is late\"   # in the gateway's log: the stack of what kept it"
	switch {
	case worst > late:
		return is(Warning, text, why, fix)
	case times > 0:
		return is(Note, text, why, fix)
	}
	return fine("%s, %s late now", plural(g.Loops(), "loop"), table.Duration(worst))
}

// refusals are limits by the reason for which clients were refused, with what to raise.
var refusals = map[string]string{
	"too-many-clients":     "--max-connections",
	"address-limit":        "--max-connections-per-address",
	"address-connect-rate": "--connect-rate-per-address",
	"connect-rate":         "--connect-rate",
	"memory":               "--memory",
}

// refusedClients says who was turned away, and for which limit.
func (e *exam) refusedClients() []Finding {
	if e.Gateway == nil {
		return nil
	}
	var list, fix []string
	e.Gateway.Metrics.labelled("sluice_connections_refused_total", func(labels map[string]string, v float64) {
		if v == 0 {
			return
		}
		list = append(list, fmt.Sprintf("%s for %s", number(uint64(v)), labels["reason"]))
		if flag := refusals[labels["reason"]]; flag != "" {
			fix = append(fix, fmt.Sprintf("%s N   # more than now, if those were clients of yours (%s)", flag, labels["reason"]))
		}
	})
	if list == nil {
		return fine("no client was refused")
	}
	return is(Note, "clients were refused since the start: "+strings.Join(list, ", "),
		"sluice_connections_refused_total says whether it goes on, and the log who they were", fix...)
}

// losses are counters that should not move, with what to do when they do.
var losses = []struct {
	name, what, why, fix string
	severity             Severity
}{
	{"sluice_accept_retries_total", "accept failed %s", "mostly there were too many open files", "", Warning},
	{"sluice_panics_total", "handlers have panicked %s", "each has cost a message or a connection", "grep panic   # in the gateway's log: its stack", Warning},
	{"sluice_log_lines_dropped_total", "lines of the log were lost %s", "nobody reads them in time, or the disk is full", "journalctl --disk-usage", Note},
	{"sluice_session_journal_missed_total", "the session journal could not be written %s", "tickets that were used may be good again after a restart", "df -h   # is there room where --session-journal is?", Warning},
	{"sluice_tls_reloads_failed_total", "changed certificates could not be used %s", "those from before stay in force, until they end", "sluice check   # with the gateway's flags: it says what is wrong with the files", Warning},
}

// losses says what has gone wrong inside.
func (e *exam) losses() (list []Finding) {
	if e.Gateway == nil {
		return nil
	}
	for _, l := range losses {
		if n := e.Gateway.metric(l.name); n > 0 {
			list = append(list, is(l.severity, fmt.Sprintf(l.what, plural(uint64(n), "time"))+" ("+l.name+")", l.why, l.fix)...)
		}
	}
	if list == nil {
		return fine("no panics, no lost log lines, no failed accepts")
	}
	return list
}

// renewBefore is when the ACME client replaces a certificate: one that ends sooner has missed that.
const renewBefore = 30 * 24 * time.Hour

// certificates says when they end.
func (e *exam) certificates() (list []Finding) {
	if e.Gateway == nil {
		return nil
	}
	soonest, n := time.Duration(math.MaxInt64), 0
	e.Gateway.Metrics.labelled("sluice_tls_certificate_expiry_timestamp_seconds", func(labels map[string]string, v float64) {
		if v == 0 {
			return // there is none yet
		}
		left := time.Unix(int64(v), 0).Sub(e.Gateway.Now)
		name, auto := labels["name"], slices.Contains(e.Flags.list("tls-auto"), labels["name"])
		fix := "sluice reload   # when there is a new file in its place"
		if auto {
			fix = "grep acme   # in the gateway's log, and see that port 443 of the host leads here"
		}
		n++
		soonest = min(soonest, left)
		switch {
		case left <= 0:
			list = append(list, is(Error, fmt.Sprintf("the certificate %s ended %s ago", name, table.Duration(-left)), "clients refuse it", fix)...)
		case left < renewBefore && auto:
			list = append(list, is(Warning, fmt.Sprintf("the certificate of %s ends in %s", name, table.Duration(left)),
				"it should have been renewed 30 days before its end", fix)...)
		case left < renewBefore:
			list = append(list, is(Note, fmt.Sprintf("the certificate %s ends in %s", name, table.Duration(left)), "clients refuse it then", fix)...)
		}
	})
	if list == nil && n > 0 {
		return fine("%s, the first ends in %s", plural(n, "certificate"), table.Duration(soonest))
	}
	return list
}
