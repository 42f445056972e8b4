package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// scanPaths are where data could be, beside what the API's description names, and what a scan tries.
var scanPaths = []string{
	"/", "/metrics", "/metrics/", "//metrics", "/./metrics", "/%6detrics", "/METRICS", "/livez", "/readyz", "/readyz?verbose", "/livez?verbose",
	"/api", "/api/", "/api/v1", "/api/v1/", "/api/v2/connections", "/api/v1/connections/", "/api/v1//connections", "/api/v1/../v1/connections",
	"/api/v1/openapi.json", "/debug", "/debug/", "/debug/loops", "/debug/vars", "/debug/pprof", "/debug/pprof/", "/debug/pprof/heap?debug=1",
	"/debug/pprof/goroutine?debug=2", "/debug/pprof/allocs", "/debug/pprof/block", "/debug/pprof/mutex", "/debug/pprof/threadcreate",
	"/debug/pprof/profile?seconds=1", "/debug/pprof/trace?seconds=1", "/debug/pprof/symbol", "/debug/pprof/cmdline", "/v1/socket/token",
	"/v2/socket/token", "/v1/", "/v2/", "/v1/socket/token?user=ann", "/page", "/page/", "/page/index.html", "/favicon.ico", "/robots.txt",
	"/.git/config", "/server-status", "/health", "/status", "/admin", "/config", "/*", "*", "http://localhost/metrics",
}

var scanMethods = []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get"}

// TestScan: who has no token of an operator gets nothing out of the admin listener, whatever is asked for and
// however: no word of clients, topics, versions or counters. Only /livez, /readyz and the page's empty
// files answer.
func TestScan(t *testing.T) {
	t.Parallel()
	p := startServe(t, "--login", "open", "--listen", "tcp://127.0.0.1:0", "--dev", "--admin-token", operators(t))
	const user, topic = "a-planted-user", "a.planted.topic"
	c := p.login(t, compact, token(user))
	c.subscribe(topic)
	id := c.whoami().UniqID
	operator := []string{"Authorization", "Bearer " + operatorToken}
	status, text := p.admin(t, "/api/v1/openapi.json", operator...)
	var described struct {
		Paths map[string]json.RawMessage `json:"paths"`
	}
	if err := json.Unmarshal([]byte(text), &described); err != nil || status != 200 {
		t.Fatalf("%d: %v", status, err)
	}
	paths := slices.Clone(scanPaths)
	for _, path := range slices.Sorted(maps.Keys(described.Paths)) {
		paths = append(paths, strings.NewReplacer("{id}", id, "{name}", topic).Replace(path))
	}
	if len(paths) < len(scanPaths)+15 {
		t.Fatalf("the API has %d paths", len(paths)-len(scanPaths))
	}
	// What the right token is shown, so that nobody gets nothing because there is nothing.
	if _, text := p.admin(t, "/api/v1/connections/"+id, operator...); !strings.Contains(text, user) || !strings.Contains(text, topic) {
		t.Fatalf("an operator is shown %s", text)
	}
	_, version := p.admin(t, "/metrics", operator...)
	_, version, _ = strings.Cut(version, `goversion="`)
	version, _, _ = strings.Cut(version, `"`)

	strangers := [][]string{
		nil,
		{"Authorization: Bearer not-the-token"},
		{"X-Api-Key: not-the-token", "Authorization: Basic " + operatorToken},
		{"Authorization: Bearer ", "Cookie: token=" + operatorToken, "X-Forwarded-For: 127.0.0.1"},
	}
	words := []string{user, topic, id, version, "sluice_", "goroutine", "heap profile", "openapi", `"connections"`, `"uniqId"`, "max-topics"}
	asked, answered := 0, make(map[string]bool)
	for i, headers := range strangers {
		for _, path := range paths {
			for _, method := range scanMethods {
				if i > 1 && method != "GET" && method != "POST" {
					continue
				}
				asked++
				status, body := p.scan(t, method, path, headers)
				for _, word := range words {
					if word != "" && strings.Contains(body, word) && !strings.HasPrefix(path, "/page") {
						t.Errorf("%s %s with %q: %d, and %q in %.200s", method, path, headers, status, word, body)
					}
				}
				if status < 300 {
					answered[strings.TrimSuffix(path, "?verbose")] = true
				}
			}
		}
	}
	for path := range answered {
		switch path {
		case "/", "/page/index.html", "/livez", "/readyz":
		case "*": // OPTIONS: net/http's own answer, which is empty
		default:
			t.Errorf("%s answers who has no token", path)
		}
	}
	for _, path := range []string{"/livez", "/readyz", "/readyz?verbose"} {
		if status, body := p.scan(t, "GET", path, nil); status != 200 || body != "ok\n" {
			t.Errorf("%s: %d %q", path, status, body)
		}
	}
	// The page's files are what they are: the same before anybody has connected.
	if !answered["/"] {
		t.Error("the page is not served")
	}
	if got := p.metric(t, `sluice_admin_refused_total{reason="no-token"}`); got == "0" || got == "" {
		t.Errorf("%s requests without a token are counted", got)
	}
	t.Logf("%d requests", asked)
	if _, text := p.admin(t, "/api/v1/connections/"+id, operator...); !strings.Contains(text, user) {
		t.Errorf("behind the scan an operator is shown %s", text)
	}
}

// operators makes a file of the tests' own token.
func operators(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "operators")
	writeFile(t, file, "full "+operatorToken+"\n")
	return file
}

// writeFile makes a file that its owner alone can read.
func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// scan sends a request as it is written, and returns what is answered.
func (p *process) scan(t *testing.T, method, target string, headers []string) (status int, body string) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", strings.TrimPrefix(p.adminURL(t), "http://"), patience)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	text := fmt.Sprintf("%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n", method, target)
	for _, h := range headers {
		text += h + "\r\n"
	}
	if method == "POST" || method == "PUT" {
		text += "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
	} else {
		text += "\r\n"
	}
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: strings.ToUpper(method)})
	if err != nil {
		t.Fatalf("%s %s: %v", method, target, err)
	}
	defer resp.Body.Close()
	answer, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(answer)
}
