package admin

import (
	"maps"
	"math"
	"net/http/httptest"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/link"
	"github.com/sluicenet/sluice/engine/internal/looplag"
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
	"sluice_admin_refused_total": counter, "sluice_admin_busy_total": counter, "sluice_admin_tails": gauge,
	"sluice_admin_tail_messages_total": counter, "sluice_admin_tail_drops_total": counter,
	"sluice_loop_turn_seconds": histogram, "sluice_loop_longest_turn_seconds": gauge, "sluice_request_seconds": histogram,
	"sluice_admin_connections": gauge, "sluice_admin_connections_limit": gauge,
	"sluice_admin_connections_refused_total": counter, "sluice_admin_accept_retries_total": counter,
	"sluice_connections_accepted_total": counter, "sluice_accept_retries_total": counter,
	"sluice_connections_refused_total": counter, "sluice_connections_closed_total": counter,
	"sluice_tls_handshakes_total": counter, "sluice_tls_resumed_total": counter, "sluice_tls_idle_records_total": counter,
	"sluice_tls_handshakes": gauge, "sluice_tls_handshakes_waiting": gauge,
	"sluice_received_bytes_total": counter, "sluice_sent_bytes_total": counter,
	"sluice_received_packets_total": counter, "sluice_sent_packets_total": counter, "sluice_sends_total": counter,
	"sluice_publishes_total": counter, "sluice_publish_waits_total": counter,
	"sluice_history_topics": gauge, "sluice_history_messages": gauge, "sluice_history_appended_total": counter,
	"sluice_history_dropped_total": counter, "sluice_history_replayed_total": counter, "sluice_history_gaps_total": counter,
	"sluice_history_forgotten_total": counter, "sluice_history_refused_total": counter,
	"sluice_deliveries_total": counter, "sluice_delivered_payload_bytes_total": counter, "sluice_drops_total": counter,
	"sluice_memory_bytes": gauge, "sluice_memory_clients_bytes": gauge, "sluice_memory_clients_limit_bytes": gauge, "sluice_topics": gauge,
	"sluice_loop_lag_seconds": histogram, "sluice_loop_last_lag_seconds": gauge,
	"sluice_loop_wakeups_total": counter, "sluice_loop_late_total": counter, "sluice_panics_total": counter, "sluice_client_addresses": gauge, "sluice_client_over_rate_total": counter,
	"sluice_session_journal_bytes": gauge, "sluice_session_journal_missed_total": counter,
	"sluice_logins_total": counter, "sluice_logins_unasked_total": counter, "sluice_login_calls": gauge,
	"sluice_login_bans_total": counter, "sluice_login_user_guesses_total": counter, "sluice_login_suspects": gauge,
	"sluice_logins_waiting": gauge, "sluice_token_calls_total": counter,
	"sluice_tokens": gauge, "sluice_tokens_evicted_total": counter,
	"sluice_users": gauge, "sluice_sessions_resumed_total": counter, "sluice_sessions": gauge, "sluice_sessions_evicted_total": counter,
	"sluice_session_state_bytes": gauge, "sluice_session_states_dropped_total": counter,
	"sluice_subscriptions_refused_total": counter, "sluice_session_texts_refused_total": counter,
	"sluice_renames_refused_total": counter, "sluice_log_lines_omitted_total": counter,
	"sluice_requests_rate_limited_total": counter, "sluice_input_holds_total": counter,
	"sluice_requests_total": counter, "sluice_request_timeouts_total": counter,
	"sluice_request_waits_total": counter, "sluice_inflate_holds_total": counter,
	"sluice_requests_refused_total": counter, "sluice_late_replies_total": counter, "sluice_packets_ignored_total": counter,
	"sluice_traceparents_invalid_total": counter, "sluice_traces_over_limit_total": counter,
	"sluice_worker_holds_total": counter, "sluice_worker_unproven": gauge, "sluice_worker_links": gauge, "sluice_workers": gauge,
	"sluice_worker_commands_total": counter, "sluice_worker_bad_commands_total": counter,
	"sluice_worker_delayed_refused_total": counter, "sluice_worker_links_refused_total": counter, "sluice_worker_accept_retries_total": counter,
	"sluice_worker_transfers_total": counter, "sluice_worker_drops_total": counter,
	"sluice_worker_replies_total": counter, "sluice_worker_lost_requests_total": counter, "sluice_worker_moved_total": counter,
	"sluice_worker_dropped_bytes_total": counter,
}

// scrape returns what collectors say, in the text format.
func scrape(t *testing.T, c *collector) string {
	t.Helper()
	w := httptest.NewRecorder()
	promhttp.HandlerForTransactional(c, promhttp.HandlerOpts{ErrorHandling: promhttp.PanicOnError}).
		ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	return w.Body.String()
}

func gatewayCollector(t testing.TB) *collector {
	s := newServer(t, newOTP(t), nil)
	s.lag = looplag.New(looplag.Config{Loops: s.engine.Loops(), Tell: func(_ int, fn func()) bool { fn(); return true }})
	s.lag.Look()
	return newCollector(func(p *page) {
		s.collect(p)
		collectWorkers(p, link.Stats{Links: 1, Commands: 3, Limited: 2})
	}, nil)
}

func fullPage(t *testing.T) string { return scrape(t, gatewayCollector(t)) }

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

// lint holds a collector's families to Prometheus' own linter.
func lint(c *collector) ([]promlint.Problem, error) {
	return testutil.GatherAndLint(prometheus.GathererFunc(func() ([]*dto.MetricFamily, error) {
		families, _, err := c.Gather()
		return families, err
	}))
}

// TestLint holds the metrics to Prometheus' own linter.
func TestLint(t *testing.T) {
	problems, err := lint(gatewayCollector(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	list, kinds := parsePage(t, fullPage(t))
	samples := make(map[string]int)
	for _, s := range list {
		samples[s.family]++
	}
	for name := range kinds {
		if samples[name] == 0 {
			t.Errorf("%s has no samples", name)
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

func BenchmarkScrape(b *testing.B) {
	s := newServer(b, newOTP(b), nil)
	b.ReportAllocs()
	h := s.newMetrics()
	for b.Loop() {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		b.SetBytes(int64(w.Body.Len()))
	}
}
