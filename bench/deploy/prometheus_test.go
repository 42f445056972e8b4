package deploy

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluicenet/sluice/internal/syncbuf"
)

// TestPrometheus: a real Prometheus scrapes a gateway with traffic and a token, takes the rules without an
// error, and has data for every expression of the dashboard and every recording rule.
func TestPrometheus(t *testing.T) {
	if !full {
		t.Skip("takes half a minute: set DEPLOY_FULL=1")
	}
	t.Parallel()
	program := need(t, prometheus)
	p := busy(t, 45*time.Second)
	address := freePort(t)
	rules, err := filepath.Abs(filepath.Join(root, "packaging/prometheus/alerts.yml"))
	if err != nil {
		t.Fatal(err)
	}
	config := write(t, "prometheus.yml", fmt.Sprintf(`
global: {scrape_interval: 1s, evaluation_interval: 1s}
rule_files: [%s]
scrape_configs:
  - job_name: sluice
    authorization: {credentials_file: %s}
    static_configs: [{targets: [%s]}]
`, rules, write(t, "token", operator+"\n"), strings.TrimPrefix(p.url, "http://")))
	cmd := exec.Command(program, "--config.file="+config, "--storage.tsdb.path="+t.TempDir(), "--web.listen-address="+address)
	log := new(syncbuf.Buffer)
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // its data is the test's
		_ = cmd.Wait()
	})
	api := "http://" + address + "/api/v1/"
	await(t, "Prometheus to scrape", func() bool { return query(t, api, `up{job="sluice"} == 1`) > 0 })
	time.Sleep(20 * time.Second) // for rates over 15 s
	var answer struct {
		Groups []struct {
			Rules []struct{ Name, Health, LastError, State string }
		}
	}
	get(t, api+"rules", &answer)
	healthy := 0
	for _, g := range answer.Groups {
		for _, r := range g.Rules {
			if r.Health != "ok" || r.State == "firing" {
				t.Errorf("%s: %s, %s, %s", r.Name, r.Health, r.LastError, r.State)
			}
			healthy++
		}
	}
	if healthy < 12 {
		t.Errorf("%d rules are in force\n%s", healthy, log)
	}
	queries := 0
	for _, panel := range readDashboard(t).Panels {
		for _, target := range panel.Targets {
			expr := strings.NewReplacer("$__rate_interval", "15s", "$job", "sluice", "$instance", ".+").Replace(target.Expr)
			switch n := query(t, api, expr); {
			case n < 0:
				t.Errorf("%s: Prometheus refuses %s", panel.Title, expr)
			case n == 0 && !strings.Contains(expr, "> 0"): // what has not happened
				t.Errorf("%s: no data for %s", panel.Title, expr)
			}
			queries++
		}
	}
	for _, g := range readRules(t).Groups {
		for _, r := range g.Rules {
			n := query(t, api, r.Expr)
			if n < 0 || n == 0 && r.Record != "" && !strings.Contains(r.Expr, "> 1") {
				t.Errorf("%s%s: %d series", r.Record, r.Alert, n)
			}
			queries++
		}
	}
	t.Logf("%d rules, %d queries", healthy, queries)
}

// query returns how many series an expression has now, -1 if it is refused.
func query(t *testing.T, api, expr string) int {
	t.Helper()
	answer, err := http.PostForm(api+"query", url.Values{"query": {expr}})
	if err != nil {
		return 0 // not listening yet
	}
	defer answer.Body.Close()
	var body struct {
		Status string
		Data   struct{ Result []json.RawMessage }
	}
	if err := json.NewDecoder(answer.Body).Decode(&body); err != nil || body.Status != "success" {
		return -1
	}
	return len(body.Data.Result)
}

func get(t *testing.T, from string, data any) {
	t.Helper()
	answer, err := http.Get(from)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &struct{ Data any }{data}); err != nil {
		t.Fatalf("%s: %v: %s", from, err, text)
	}
}

// freePort returns an address on loopback that nobody listens on.
func freePort(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().String()
}
