package admin

import (
	"maps"
	"math"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/worker"
)

// A series is one line of a page, parsed.
type series struct {
	family, name, labels string
	value                float64
}

var (
	headLine   = regexp.MustCompile(`^# (HELP|TYPE) ([a-z][a-z0-9_]*) (.+)$`)
	sampleLine = regexp.MustCompile(`^([a-z][a-z0-9_]*)(?:\{((?:[a-z]+="(?:[^"\\\n]|\\["\\n])*",?)+)\})? (\S+)$`)
)

// parsePage reads a page more strictly than a scraper does: each family once, with help and type
// before its samples, no series twice.
func parsePage(t *testing.T, text string) (list []series, kinds map[string]kind) {
	t.Helper()
	kinds = make(map[string]kind)
	helps, seen, family := map[string]bool{}, map[string]bool{}, ""
	if !strings.HasSuffix(text, "\n") {
		t.Error("the last line has no end")
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if m := headLine.FindStringSubmatch(line); m != nil {
			switch m[1] {
			case "HELP":
				if helps[m[2]] {
					t.Errorf("family %s twice", m[2])
				}
				helps[m[2]], family = true, m[2]
			case "TYPE":
				if m[2] != family || kinds[family] != "" {
					t.Errorf("%q does not follow its HELP", line)
				}
				kinds[family] = kind(m[3])
			}
			continue
		}
		m := sampleLine.FindStringSubmatch(line)
		if m == nil {
			t.Errorf("%q is no sample", line)
			continue
		}
		suffix, ok := strings.CutPrefix(m[1], family)
		allowed := map[kind][]string{counter: {""}, gauge: {""}, histogram: {"_bucket", "_sum", "_count"}, summary: {"", "_sum", "_count"}}
		if !ok || !slices.Contains(allowed[kinds[family]], suffix) {
			t.Errorf("%q in family %s, a %s", line, family, kinds[family])
		}
		v, err := strconv.ParseFloat(m[3], 64)
		if err != nil || math.IsNaN(v) || v < 0 {
			t.Errorf("%q: value %v, %v", line, v, err)
		}
		if key := m[1] + "{" + m[2]; seen[key] {
			t.Errorf("%q twice", line)
		} else {
			seen[key] = true
		}
		list = append(list, series{family, m[1], m[2], v})
	}
	return list, kinds
}

// wantFamilies are the gateway's own metrics: names that dashboards and alerts rely on.
var wantFamilies = map[string]kind{
	"sluice_build_info": gauge, "sluice_ready": gauge,
	"sluice_connections": gauge, "sluice_connections_limit": gauge, "sluice_clients": gauge,
	"sluice_connections_accepted_total": counter, "sluice_accept_retries_total": counter,
	"sluice_connections_refused_total": counter, "sluice_connections_closed_total": counter,
	"sluice_received_bytes_total": counter, "sluice_sent_bytes_total": counter,
	"sluice_received_packets_total": counter, "sluice_sent_packets_total": counter, "sluice_sends_total": counter,
	"sluice_publishes_total": counter, "sluice_publish_waits_total": counter,
	"sluice_deliveries_total": counter, "sluice_delivered_payload_bytes_total": counter, "sluice_drops_total": counter,
	"sluice_backlog_bytes": gauge, "sluice_backlog_limit_bytes": gauge, "sluice_topics": gauge,
	"sluice_loop_lag_seconds": histogram, "sluice_loop_last_lag_seconds": gauge,
	"sluice_loop_wakeups_total": counter, "sluice_panics_total": counter,
	"sluice_logins_total": counter, "sluice_token_calls_total": counter,
	"sluice_tokens": gauge, "sluice_tokens_evicted_total": counter,
	"sluice_users": gauge, "sluice_sessions_resumed_total": counter, "sluice_sessions": gauge, "sluice_sessions_evicted_total": counter,
	"sluice_requests_total": counter, "sluice_request_timeouts_total": counter,
	"sluice_requests_refused_total": counter, "sluice_late_replies_total": counter,
	"sluice_worker_links": gauge, "sluice_workers": gauge,
	"sluice_worker_commands_total": counter, "sluice_worker_bad_commands_total": counter,
	"sluice_worker_transfers_total": counter, "sluice_worker_drops_total": counter,
	"sluice_worker_replies_total": counter, "sluice_worker_lost_requests_total": counter, "sluice_worker_dropped_bytes_total": counter,
}

func fullPage(t *testing.T) string {
	s := newServer(t, newOTP(t), nil)
	s.lag.tell = func(_ int, fn func()) bool { fn(); return true }
	s.lag.sample()
	var p page
	s.collect(&p)
	collectWorkers(&p, worker.Stats{Links: 1, Commands: 3, Limited: 2})
	return string(p.b)
}

func TestFamilies(t *testing.T) {
	_, kinds := parsePage(t, fullPage(t))
	if !maps.Equal(kinds, wantFamilies) {
		for name, k := range wantFamilies {
			if kinds[name] != k {
				t.Errorf("%s is a %q, want a %s", name, kinds[name], k)
			}
		}
		for name := range kinds {
			if wantFamilies[name] == "" {
				t.Errorf("%s is new: say so in the list", name)
			}
		}
	}
}

// TestLint holds the metrics to the naming rules that Prometheus' own linter checks.
func TestLint(t *testing.T) {
	text := fullPage(t)
	var p page
	collectGo(&p)
	collectProcess(&p)
	list, kinds := parsePage(t, text+string(p.b))
	for name, k := range kinds {
		if total := strings.HasSuffix(name, "_total"); total != (k == counter) {
			t.Errorf("%s is a %s: counters and nothing else end in _total", name, k)
		}
		for _, word := range strings.Split(name, "_") {
			switch word {
			case "bucket", "sum", "count", "gauge", "counter", "histogram", "summary":
				t.Errorf("%s: %q belongs to the format", name, word)
			case "ms", "us", "ns", "milliseconds", "minutes", "kib", "mib", "kilobytes", "megabytes", "bits":
				t.Errorf("%s: %q is no base unit", name, word)
			}
		}
	}
	samples := make(map[string]int)
	for _, s := range list {
		samples[s.family]++
	}
	for name := range kinds {
		if samples[name] == 0 {
			t.Errorf("%s has no samples", name)
		}
	}
	for _, name := range []string{"go_goroutines", "go_info", "go_gc_duration_seconds", "go_memstats_alloc_bytes_total",
		"process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds", "process_max_fds", "process_start_time_seconds"} {
		if kinds[name] == "" {
			t.Errorf("no %s", name)
		}
	}
}

func TestHistogramAddsUp(t *testing.T) {
	list, _ := parsePage(t, fullPage(t))
	last, inf, count := 0.0, -1.0, -2.0
	for _, s := range list {
		if s.family != "sluice_loop_lag_seconds" {
			continue
		}
		switch s.name {
		case s.family + "_bucket":
			if s.value < last {
				t.Errorf("bucket %s falls to %v", s.labels, s.value)
			}
			if last = s.value; s.labels == `le="+Inf"` {
				inf = s.value
			}
		case s.family + "_count":
			count = s.value
		}
	}
	if inf != count || count != 2 {
		t.Errorf("%v in all buckets, count %v, want 2", inf, count)
	}
}

func TestProcessMetricsAreRight(t *testing.T) {
	var p page
	collectProcess(&p)
	list, _ := parsePage(t, string(p.b))
	got := make(map[string]float64)
	for _, s := range list {
		got[s.name] = s.value
	}
	started := time.Unix(0, int64(got["process_start_time_seconds"]*1e9))
	if ago := time.Since(started); ago < -2*time.Second || ago > time.Hour {
		t.Errorf("started %v ago", ago)
	}
	names, err := os.ReadDir("/proc/self/fd")
	if n := float64(len(names)); err != nil || got["process_open_fds"] < n-4 || got["process_open_fds"] > n+4 {
		t.Errorf("%v open files, want about %v", got["process_open_fds"], n)
	}
	if rss := got["process_resident_memory_bytes"]; rss < 1<<20 || rss > got["process_virtual_memory_bytes"] {
		t.Errorf("resident %v, virtual %v", rss, got["process_virtual_memory_bytes"])
	}
}

func TestPageText(t *testing.T) {
	var p page
	p.family("a", gauge, "A \\ and\na line.")
	p.sample("a", 1, "l", "q\"b\\n\n", "m", "")
	p.sample("a", 1e6)
	p.sample("a", 1.5e-7)
	p.sample("a", math.Inf(1))
	p.sample("a", 1<<60)
	want := "# HELP a A \\\\ and\\na line.\n# TYPE a gauge\n" +
		`a{l="q\"b\\n\n",m=""} 1` + "\na 1000000\na 1.5e-07\na +Inf\na 1.152921504606847e+18\n"
	if string(p.b) != want {
		t.Errorf("%q\nwant %q", p.b, want)
	}
}

// TestReasonsHaveNames: a reason added without a name would become a label that says nothing.
func TestReasonsHaveNames(t *testing.T) {
	for _, r := range engine.Reasons() {
		if r.String() == "" || r.String() == "unknown" {
			t.Errorf("reason %d has no name", r)
		}
	}
	for _, d := range engine.Drops() {
		if d.String() == "" || d.String() == "unknown" {
			t.Errorf("drop %d has no name", d)
		}
	}
}
