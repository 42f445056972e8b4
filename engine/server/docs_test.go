package server_test

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/certs"
	"github.com/sluicenet/sluice/engine/login"
	"github.com/sluicenet/sluice/engine/server"
)

// pages are the documents for users, from the root of the module.
var pages = func() []string {
	list := []string{"README.md", "CHANGELOG.md", "SECURITY.md", "engine/worker/README.md"}
	docs, _ := filepath.Glob("../../docs/*.md")
	for _, name := range docs {
		list = append(list, "docs/"+filepath.Base(name))
	}
	return list
}()

func page(t *testing.T, name string) string {
	text, err := os.ReadFile(filepath.Join("../..", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestDocsCounters: each counter that the documents name is there, and each kind of memory has its
// place in docs/backpressure.md.
func TestDocsCounters(t *testing.T) {
	cert, key, err := certs.SelfSigned(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	both := filepath.Join(t.TempDir(), "both.pem")
	if err := os.WriteFile(both, append(cert, key...), 0o600); err != nil {
		t.Fatal(err)
	}
	srv, err := server.New(server.Config{
		Listen:  []string{"tcp://127.0.0.1:0?tls=auto"},
		TLS:     server.TLSConfig{Pairs: []certs.Pair{{Cert: both, Key: both}}},
		Gateway: server.GatewayConfig{Login: login.Open{}},
		Memory:  1 << 30,
		Admin: server.AdminConfig{
			Address:    "https://127.0.0.1:0",
			LogDropped: func() uint64 { return 0 },

			AccessLogDropped: func() uint64 { return 0 },
			Spans:            func() (_, _, _ uint64) { return 0, 0, 0 },

			Dev: true,
		},

		WorkerListen: "tcp://127.0.0.1:0",
		Cluster:      server.ClusterConfig{URLs: []string{"nats://127.0.0.1:1"}}, // where nobody is
	})
	if err != nil {
		t.Fatal(err)
	}
	// It waits for NATS, and operators are served already.
	started := make(chan error, 1)
	go func() { started <- srv.Start() }()
	for srv.AdminURL() == "" {
		select {
		case err := <-started:
			t.Fatal(err)
		case <-time.After(time.Millisecond):
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	defer srv.Stop(ctx)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, Timeout: 10 * time.Second}
	answer, err := client.Get(srv.AdminURL() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	metrics, err := io.ReadAll(answer.Body)
	answer.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`sluice_[a-z_]+[a-z]`)
	seen := 0
	for _, name := range pages {
		if name == "CHANGELOG.md" { // also names what is gone
			continue
		}
		for _, metric := range named.FindAllString(page(t, name), -1) {
			if metric == "sluice_default_nodes" || metric == "sluice_default_names" || metric == "sluice_default_sessions" { // buckets of NATS
				continue
			}
			seen++
			if !regexp.MustCompile(`(?m)^` + metric + `(_count)?[ {]`).Match(metrics) {
				t.Errorf("%s: no counter %s", name, metric)
			}
		}
	}
	if seen < 10 {
		t.Errorf("%d counters in the documents", seen)
	}
	for _, k := range engine.Kinds() {
		if !strings.Contains(page(t, "docs/backpressure.md"), "`"+k.String()+"`") {
			t.Errorf("docs/backpressure.md says nothing of memory of kind %s", k)
		}
	}
}

// TestDocsReasons: docs/operating.md explains why connections end, docs/backpressure.md why messages
// are dropped: each reason that there is, and no other.
func TestDocsReasons(t *testing.T) {
	_, section, _ := strings.Cut(page(t, "docs/operating.md"), "\n## Reasons\n")
	section, _, _ = strings.Cut(section, "\n## ")
	explained := make(map[string]bool)
	for line := range strings.Lines(section) {
		if cells := strings.Split(line, "|"); len(cells) > 2 {
			for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cells[1], -1) {
				explained[m[1]] = true
			}
		}
	}
	for _, why := range engine.Reasons() {
		if !explained[why.String()] {
			t.Errorf("docs/operating.md does not explain the reason %s", why)
		}
		delete(explained, why.String())
	}
	for name := range explained {
		t.Errorf("docs/operating.md explains %s, which is no reason", name)
	}
	_, drops, _ := strings.Cut(page(t, "docs/backpressure.md"), "`sluice_drops_total{reason}`")
	drops, _, _ = strings.Cut(drops, "\n")
	for _, why := range engine.Drops() {
		if !strings.Contains(drops, "`"+why.String()+"`") {
			t.Errorf("docs/backpressure.md does not explain the drop %s", why)
		}
	}
}

// TestDocsDependencies: the README names each direct dependency of go.mod, and no other.
func TestDocsDependencies(t *testing.T) {
	direct := regexp.MustCompile(`(?m)^\t(\S+) v\S+$`)
	table := page(t, "README.md")
	_, table, found := strings.Cut(table, "\n## Dependencies\n")
	if !found {
		t.Fatal("the README has no dependencies")
	}
	table, _, _ = strings.Cut(table, "\n## ")
	var rows []string // the modules named
	for line := range strings.Lines(table) {
		if cells := strings.Split(line, "|"); len(cells) > 2 {
			rows = append(rows, strings.Split(strings.TrimSpace(cells[1]), ", ")...)
		}
	}
	known := map[string]bool{"module": true, "---": true}
	for _, m := range direct.FindAllStringSubmatch(page(t, "go.mod"), -1) {
		known[strings.TrimPrefix(m[1], "github.com/")] = true
	}
	if len(known) < 5 {
		t.Fatalf("dependencies of go.mod: %v", known)
	}
	for _, row := range rows {
		if !known[row] {
			t.Errorf("the README names %s, which go.mod does not need", row)
		}
		delete(known, row)
	}
	for module := range known {
		t.Errorf("the README does not name %s", module)
	}
}

// TestDocsIndex: docs/README.md lists every document.
func TestDocsIndex(t *testing.T) {
	if len(pages) < 20 {
		t.Fatalf("there are %d documents", len(pages))
	}
	for _, name := range pages {
		to := "](../" + name + ")"
		if dir, base := filepath.Split(name); dir == "docs/" {
			to = "](" + base + ")"
		}
		if name != "docs/README.md" && !strings.Contains(page(t, "docs/README.md"), to) {
			t.Errorf("docs/README.md does not list %s", name)
		}
	}
}

// anchors are the headings of a page, as links name them.
func anchors(text string) map[string]bool {
	all, code := make(map[string]bool), false
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "```") {
			code = !code
		}
		if heading := strings.TrimLeft(line, "#"); heading != line && !code {
			heading = regexp.MustCompile(`[^a-z0-9_ -]`).ReplaceAllString(strings.ToLower(strings.TrimSpace(heading)), "")
			all[strings.ReplaceAll(heading, " ", "-")] = true
		}
	}
	return all
}

// TestDocsPaths: what the documents link to is there, the headings of pages too, and the README's list
// of folders is complete.
func TestDocsPaths(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]*)(?:#([^)]*))?\)`)
	for _, name := range pages {
		for _, m := range link.FindAllStringSubmatch(page(t, name), -1) {
			to := name
			if m[1] != "" {
				to = filepath.Join(filepath.Dir(name), m[1])
			}
			if _, err := os.Stat(filepath.Join("../..", to)); err != nil {
				t.Errorf("%s: link to %s: %v", name, m[1], err)
			} else if m[2] != "" && !anchors(page(t, to))[m[2]] {
				t.Errorf("%s: link to %s#%s: no such heading", name, to, m[2])
			}
		}
	}
	_, list, _ := strings.Cut(page(t, "README.md"), "\n## Read it\n")
	list, _, _ = strings.Cut(list, "\n## ")
	listed := make(map[string]bool)
	for _, m := range regexp.MustCompile(`(?m)^    ([a-z/]+)/ `).FindAllStringSubmatch(list, -1) {
		listed[m[1]] = true
		if _, err := os.Stat(filepath.Join("../..", m[1])); err != nil {
			t.Errorf("the README lists %s: %v", m[1], err)
		}
	}
	for _, under := range []string{"", "engine", "engine/internal"} {
		entries, err := os.ReadDir(filepath.Join("../..", under))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			dir := filepath.Join(under, e.Name())
			if !e.IsDir() || strings.HasPrefix(e.Name(), ".") || dir == "bin" || dir == "dist" || dir == "engine/internal" {
				continue
			}
			if !listed[dir] {
				t.Errorf("the README does not list %s", dir)
			}
		}
	}
	for _, under := range []string{"codec", "internal", "cmd", "cmd/sluice/internal"} { // listed in words
		entries, err := os.ReadDir(filepath.Join("../..", under))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if e.IsDir() && e.Name() != "internal" && !regexp.MustCompile(`\b`+e.Name()+`\b`).MatchString(list) {
				t.Errorf("the README does not list %s of %s", e.Name(), under)
			}
		}
	}
}

// TestDocsWidth: texts are wrapped at 100 columns; tables and the code of examples are as wide as
// they must be.
func TestDocsWidth(t *testing.T) {
	for _, name := range pages {
		n, code := 0, false
		for line := range strings.Lines(page(t, name)) {
			n++
			line = strings.TrimRight(line, "\n")
			if strings.HasPrefix(line, "```") {
				code = !code
			}
			if len([]rune(line)) > 100 && !code && !strings.HasPrefix(line, "|") {
				t.Errorf("%s:%d has %d columns: %s", name, n, len([]rune(line)), line)
			}
		}
	}
}
