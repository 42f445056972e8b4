package e2e

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Operators with tokens see into a gateway, change it, and end it; those without get nothing.
func TestOperators(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	const full, read, other = "full-token-0123456789", "read-token-0123456789", "other-token-0123456789"
	tokens := write("tokens", "full "+full+"\nread "+read+"\n")
	config := write("config.toml", "max-topics = 10\n")
	p := startServe(t, "--login", "open", "--listen", "tcp://127.0.0.1:0", "--admin-token", tokens, "--config", config)
	want := func(method, path, token, body string, status int, part string) {
		t.Helper()
		var real struct{ Admin string }
		if err := json.Unmarshal(p.ports, &real); err != nil {
			t.Fatal(err)
		}
		r, err := http.NewRequest(method, real.Admin+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		r.Close = true
		r.Header.Set("Content-Type", "application/json")
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		got, text := answerTo(t, r)
		if got != status || !strings.Contains(text, part) {
			t.Errorf("%s %s: %d %s, want %d %s", method, path, got, text, status, part)
		}
	}
	for _, path := range []string{"/metrics", "/api/v1/stats", "/api/v1/connections", "/debug/pprof/heap", "/debug/loops", "/api/v1/openapi.json"} {
		want("GET", path, "", "", 401, "unauthorized")
	}
	want("GET", "/metrics", read, "", 200, "sluice_connections 0")
	want("GET", "/debug/pprof/heap?debug=1", read, "", 403, "role full")
	want("GET", "/debug/pprof/heap?debug=1", full, "", 200, "heap profile")
	want("GET", "/api/v1/config", read, "", 200, `"name":"max-topics","table":"limits","key":"max-topics","env":"SLUICE_MAX_TOPICS","value":"10","source":"file","where":"`+config+`:1","live":true}`)
	want("POST", "/api/v1/reload", read, "", 403, "role full")

	write("config.toml", "max-topics = 7\nloops = 1\n")
	want("POST", "/api/v1/reload", full, "{}", 422, "cannot change while the gateway runs, so nothing has changed: loops")
	want("GET", "/api/v1/config", full, "", 200, `"env":"SLUICE_MAX_TOPICS","value":"10","source":"file"`)
	write("config.toml", "\n[limits]\nmax-topics = 7\n")
	want("POST", "/api/v1/reload", full, "{}", 200, `{"changed":["max-topics"],"login":false}`)
	want("GET", "/api/v1/config", full, "", 200, `"env":"SLUICE_MAX_TOPICS","value":"7","source":"file","where":"`+config+`:3"`)
	write("config.toml", "max-topics = \"many\"\n")
	want("POST", "/api/v1/reload", full, "{}", 422, "max-topics")
	write("config.toml", "max-topics = 7\n")
	write("tokens", "full "+other+"\n")
	want("POST", "/api/v1/reload", full, "{}", 200, `"login":true`)
	want("GET", "/metrics", full, "", 401, "wrong")
	want("POST", "/api/v1/drain", other, "{}", 202, `{"draining":true}`)
	<-p.exited
	if p.err != nil {
		t.Errorf("the gateway ended with %v", p.err)
	}
	p.stopped = true
	for _, secret := range []string{full, read, other} {
		if strings.Contains(p.stderr.String(), secret) {
			t.Errorf("the log holds a token: %s", p.stderr)
		}
	}
}
