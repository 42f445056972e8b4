package deploy

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicenet/sluice/bench"
	"github.com/sluicenet/sluice/engine/worker"
)

// targetLabels are those that Prometheus gives each series of a target.
var targetLabels = []string{"job", "instance"}

// ownMetrics are Prometheus' own, with their labels.
var ownMetrics = map[string][]string{"up": targetLabels, "ALERTS": {"alertname", "alertstate", "job", "instance", "severity"}}

// A registry is what a scrape has shown: the values of each label of each metric.
type registry map[string]map[string]map[string]bool

var (
	sample = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? \S+$`)
	label  = regexp.MustCompile(`([a-zA-Z_]+)="((?:[^"\\]|\\.)*)"`)
)

func readScrape(t *testing.T, text string) registry {
	t.Helper()
	r := make(registry)
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		m := sample.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		if m == nil {
			t.Fatalf("no sample: %s", line)
		}
		if r[m[1]] == nil {
			r[m[1]] = make(map[string]map[string]bool)
		}
		for _, l := range label.FindAllStringSubmatch(m[2], -1) {
			if r[m[1]][l[1]] == nil {
				r[m[1]][l[1]] = make(map[string]bool)
			}
			r[m[1]][l[1]][l[2]] = true
		}
	}
	if len(r) < 100 {
		t.Fatalf("a scrape of %d metrics", len(r))
	}
	return r
}

// problems says what an expression reads that is not there. rules are the metrics that recording rules
// make.
func (r registry) problems(text string, rules map[string]expression) (list []string) {
	e, err := parseExpression(text)
	if err != nil {
		return []string{err.Error()}
	}
	if len(e.selectors) == 0 {
		return []string{"reads no metric"}
	}
	known := slices.Clone(targetLabels)
	for _, s := range e.selectors {
		labels := r[s.metric]
		_, rule := rules[s.metric]
		if labels == nil && !rule && ownMetrics[s.metric] == nil {
			list = append(list, "no metric "+s.metric)
			continue
		}
		known = append(known, slices.Collect(maps.Keys(labels))...)
		known = append(known, ownMetrics[s.metric]...)
		for _, m := range s.matchers {
			list = append(list, r.mismatch(s.metric, m)...)
		}
	}
	for _, l := range e.groups {
		if !slices.Contains(known, l) {
			list = append(list, "no label "+l)
		}
	}
	return list
}

// mismatch says what a matcher names that no series has: each alternative of a pattern must be there,
// also of one that leaves series out.
func (r registry) mismatch(metric string, m matcher) (list []string) {
	if slices.Contains(targetLabels, m.label) || slices.Contains(ownMetrics[metric], m.label) {
		return nil
	}
	values := r[metric][m.label]
	if values == nil {
		return []string{metric + " has no label " + m.label}
	}
	alternatives := []string{regexp.QuoteMeta(m.value)}
	if strings.HasSuffix(m.op, "~") {
		alternatives = strings.Split(m.value, "|")
	}
	for _, a := range alternatives {
		pattern, err := regexp.Compile("^(?:" + a + ")$")
		if err != nil {
			return []string{err.Error()}
		}
		if !slices.ContainsFunc(slices.Collect(maps.Keys(values)), pattern.MatchString) {
			list = append(list, metric+" has no "+m.label+" "+a)
		}
	}
	return list
}

// busy is a gateway of which every metric is there, with some traffic behind it: clients of a topic,
// requests, and a worker.
func busy(t *testing.T, seconds time.Duration) *process {
	t.Helper()
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if out, err := exec.Command(gateway, "cert", "--dev", "--cert", cert, "--key", key).CombinedOutput(); err != nil {
		t.Fatalf("sluice cert: %v\n%s", err, out)
	}
	collector := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(collector.Close)
	p := start(t, "--access-log", filepath.Join(dir, "access.log"), "--otlp", collector.URL, "--trace-sample", "0.01",
		"--dev", "--route", "slow.*=2", "--memory", "1GiB", "--tls-cert", cert, "--tls-key", key, "--admin-token", operatorFile(t),
		"--session-key", filepath.Join(dir, "session.key"), "--session-journal", filepath.Join(dir, "journal"),
		"--listen", "tcp://127.0.0.1:0", "--listen", "tls://127.0.0.1:0", "--worker", "tcp://127.0.0.1:0", "--admin", "127.0.0.1:0")
	serveWorker(t, p, worker.Config{WorkerID: 2}, time.Millisecond)
	var loads sync.WaitGroup
	t.Cleanup(loads.Wait) // before p ends: then each has had what it asked for
	for _, load := range []bench.Config{
		{Scenario: "fanout", Rate: 200},
		{Scenario: "worker", Rate: 500, Route: "slow.Echo"},
		{Scenario: "churn", Rate: 20},
	} {
		load.Target, load.Connections, load.Duration, load.TokenPrefix = p.client, 20, seconds, load.Scenario
		loads.Go(func() {
			if _, err := bench.Run(context.Background(), load, bench.Observer{}); err != nil {
				t.Errorf("%s: %v", load.Scenario, err)
			}
		})
	}
	await(t, "traffic", func() bool {
		_, text := p.ask(t, "/metrics", operator)
		return regexp.MustCompile(`(?m)^sluice_deliveries_total [1-9]`).MatchString(text) &&
			regexp.MustCompile(`(?m)^sluice_request_seconds_count [1-9]`).MatchString(text)
	})
	return p
}

// clusterRegistry is what a gateway of a cluster has besides, and all of its metrics as they are scraped. It
// looks for its NATS server in vain, and has its metrics meanwhile.
func clusterRegistry(t *testing.T) (besides registry, scrape string) {
	t.Helper()
	admin := freePort(t)
	cmd := exec.Command(gateway, "serve", "--dev", "--listen", "tcp://127.0.0.1:0", "--worker", "tcp://127.0.0.1:0",
		"--admin", admin, "--cluster", "nats://"+freePort(t), "--history", "room.*=100,1m")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // it has no clients
		_ = cmd.Wait()
	})
	var text []byte
	await(t, "the metrics of a cluster", func() bool {
		resp, err := http.Get("http://" + admin + "/metrics")
		if err != nil {
			return false // it does not listen yet
		}
		defer resp.Body.Close()
		text, err = io.ReadAll(resp.Body)
		return err == nil && resp.StatusCode == http.StatusOK
	})
	all := readScrape(t, string(text))
	maps.DeleteFunc(all, func(name string, _ map[string]map[string]bool) bool {
		return !strings.HasPrefix(name, "sluice_cluster_")
	})
	if len(all) < 20 {
		t.Fatalf("a cluster has %d metrics", len(all))
	}
	return all, string(text)
}

// TestExpressions: each metric that the dashboard, the alerts and the recording rules read is there, with
// each label that they choose and group by, and each value that they name.
func TestExpressions(t *testing.T) {
	t.Parallel()
	p := busy(t, 2*time.Second)
	status, text := p.ask(t, "/metrics", operator)
	if status != 200 {
		t.Fatalf("status %d: %s", status, text)
	}
	ofCluster, clusterText := clusterRegistry(t)
	t.Run("promtool", func(t *testing.T) { // Prometheus' own linter
		for _, text := range []string{text, clusterText} {
			check := exec.Command(need(t, promtool), "check", "metrics")
			check.Stdin = strings.NewReader(text)
			if out, err := check.CombinedOutput(); err != nil || len(out) > 0 {
				t.Errorf("promtool check metrics: %v\n%s", err, out)
			}
		}
	})
	live := readScrape(t, text)
	maps.Copy(live, ofCluster)
	file := readRules(t)
	recorded := make(map[string]expression)
	check := func(where, expr string) {
		for _, problem := range live.problems(expr, recorded) {
			t.Errorf("%s: %s: %s", where, expr, problem)
		}
	}
	seen := 0
	for _, g := range file.Groups {
		for _, rule := range g.Rules {
			check(rule.Alert+rule.Record, rule.Expr)
			if rule.Record != "" {
				e, _ := parseExpression(rule.Expr) // check has said so
				recorded[rule.Record] = e
			}
			seen++
		}
	}
	d := readDashboard(t)
	for _, panel := range d.Panels {
		for _, target := range panel.Targets {
			check(panel.Title, concrete(target.Expr))
			for _, l := range placeholders(target.LegendFormat) {
				e, _ := parseExpression(concrete(target.Expr))
				if !live.shows(e, l) {
					t.Errorf("%s: {{%s}} is no label of %s", panel.Title, l, target.Expr)
				}
			}
			seen++
		}
	}
	for _, a := range d.Annotations.List {
		check(a.Name, concrete(a.Expr))
	}
	values := regexp.MustCompile(`^label_values\((.+), (\w+)\)$`)
	for _, v := range d.Templating.List {
		if v.Type != "query" {
			continue
		}
		var query struct{ Query string }
		if err := json.Unmarshal(v.Query, &query); err != nil {
			t.Fatal(err)
		}
		m := values.FindStringSubmatch(query.Query)
		if m == nil {
			t.Errorf("variable %s: %s", v.Name, v.Query)
			continue
		}
		check(v.Name, concrete(m[1]))
		if e, _ := parseExpression(concrete(m[1])); !live.shows(e, m[2]) {
			t.Errorf("variable %s: no label %s", v.Name, m[2])
		}
	}
	if seen < 100 {
		t.Errorf("%d expressions", seen)
	}
	t.Logf("%d expressions, %d metrics", seen, len(live))
	for _, bad := range []string{
		`sluice_connection`, `rate(sluice_drops_total{why="closing"}[5m])`, `sum by (protocol) (sluice_topics)`,
		`sluice_drops_total{reason="closed"}`, `sluice_drops_total{reason!~"closing|gone"}`, `sluice_sessions{state=~"attached|nowhere.+"}`,
		`instance:sluice_nothing:rate5m > 1`, `1 + 1`,
	} {
		if live.problems(bad, recorded) == nil {
			t.Errorf("nothing is wrong with %s", bad)
		}
	}
}

// shows reports whether the series of e have a label.
func (r registry) shows(e expression, name string) bool {
	if e.joins {
		return slices.Contains(e.by, name)
	}
	return slices.Contains(targetLabels, name) || slices.ContainsFunc(e.selectors, func(s selector) bool {
		return r[s.metric][name] != nil || slices.Contains(ownMetrics[s.metric], name)
	})
}
