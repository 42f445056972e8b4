package admin

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/sluicenet/sluice/engine/login"
)

// TestRoutes asks for every path there is and for some that there are not.
func TestRoutes(t *testing.T) {
	const text, html, jsonType = "text/plain", "text/html", "application/json"
	s := newServer(t, newOTP(t), func(c *Config) { c.APIKey = testKey })
	key := []string{"Authorization", "Bearer " + testKey}
	for _, tc := range []struct {
		method, target string
		headers        []string
		status         int
		contentType    string
		part           string
	}{
		{"GET", "/livez", nil, 200, text, "ok\n"},
		{"HEAD", "/livez", nil, 200, text, ""},
		{"POST", "/livez", nil, 405, jsonType, `"code":405`},
		{"GET", "/readyz", nil, 200, text, "ok\n"},
		{"DELETE", "/readyz", nil, 405, jsonType, "GET, HEAD"},
		{"GET", "/metrics", key, 200, "text/plain; version=0.0.4", "sluice_connections 0\n"},
		{"PUT", "/metrics", key, 405, jsonType, ""},
		{"GET", "/", nil, 200, html, `/page/app.js`},
		{"GET", "/page/app.js", nil, 200, "text/javascript", ""},
		{"GET", "/page/app.css", nil, 200, "text/css", ""},
		{"GET", "/page/uplot/LICENSE", nil, 200, text, "Leon Sorokin"},
		{"GET", "/page/", nil, 404, text, ""},
		{"GET", "/page/index.html", nil, 404, text, ""},
		{"POST", "/", nil, 405, jsonType, ""},
		{"GET", "/index.html", nil, 404, text, "not found"},
		{"GET", "/etc/passwd", nil, 404, text, "not found"},
		{"GET", "/livez/", nil, 404, text, "not found"},
		{"GET", "/api/v1/stats", key, 200, jsonType, `"version":"v1.2.3"`},
		{"POST", "/api/v1/stats", key, 405, jsonType, `"code":"method-not-allowed"`},
		{"GET", "/api", nil, 307, "", ""},
		{"GET", "/api/", key, 404, jsonType, `"code":"not-found"`},
		{"GET", "/api/v1/stats/x", key, 404, jsonType, `"code":"not-found"`},
		{"GET", "/api/v1/topics/", key, 404, jsonType, "there is no /api/v1/topics/"},
		{"GET", "/api/v1/topics/", nil, 401, jsonType, "a token is wanted"},
		{"GET", "/api/v1/topics/%2F/history?x=1", key, 400, jsonType, "unknown parameter"},
		{"GET", "/api/v1/topics/%2f/history", nil, 401, jsonType, "a token is wanted"},
		{"GET", "/api/v1/topics/%2F%2F/history?x=1", key, 400, jsonType, "unknown parameter"},
		{"GET", "/api/v1/topics/%2F/none", key, 404, jsonType, "there is no /api/v1/topics///none"},
		{"GET", "/api/v1/connections/", key, 404, jsonType, "there is no /api/v1/connections/"},
		{"POST", "/api/v1/connections/%2F", key, 405, jsonType, "method-not-allowed"},
		{"GET", "/api/v2/stats", key, 404, jsonType, "/api/v2/stats"},
		{"GET", "/api/" + strings.Repeat("x", 5000), key, 404, jsonType, `xx..."`},
		{"GET", "/v1/socket", nil, 404, jsonType, `"code":404`},
		{"GET", "/v2/socket/token/x", nil, 404, jsonType, `"code":404`},
		{"GET", "/v3/socket/token", nil, 404, text, "not found"},
		{"GET", "/v1/socket/token?user=ann", []string{"X-Api-Key", testKey}, 200, jsonType, `{"code":0,"message":"","data":{"otp":"`},
		{"GET", "/v2/socket/token?user=ann", []string{"X-Api-Key", testKey}, 200, jsonType, `,"limit":7,"online":0}}`},
		{"HEAD", "/v2/socket/token?user=ann", []string{"X-Api-Key", testKey}, 405, jsonType, ""},
		{"POST", "/v2/socket/token?user=ann", []string{"X-Api-Key", testKey}, 405, jsonType, "want GET"},
		{"GET", "/v2/socket/token", []string{"X-Api-Key", testKey}, 400, jsonType, "?user=ID"},
		{"GET", "/v2/socket/token?user=a%00b", []string{"X-Api-Key", testKey}, 400, jsonType, "no such user"},
		{"GET", "/v2/socket/token?user=" + strings.Repeat("u", 257), []string{"X-Api-Key", testKey}, 400, jsonType, "no such user"},
		{"GET", "/debug/pprof", nil, 307, "", ""},
		{"GET", "/debug/pprof/", key, 200, html, "goroutine"},
		{"GET", "/debug/pprof/goroutine?debug=1", key, 200, text, "goroutine profile"},
		{"GET", "/debug/pprof/heap?debug=1", key, 200, text, "heap profile"},
		{"GET", "/debug/pprof/cmdline", key, 404, text, "Unknown profile"},
		{"GET", "/debug/pprof/symbol", key, 200, text, "num_symbols"},
		{"POST", "/debug/pprof/symbol", key, 405, jsonType, ""},
		{"GET", "/debug/pprof/profile?seconds=1", key, 200, "application/octet-stream", ""},
		{"GET", "/debug/pprof/trace?seconds=0.05", key, 200, "application/octet-stream", ""},
		{"GET", "/debug/pprof/nothing", key, 404, text, "Unknown profile"},
		{"GET", "/debug/vars", nil, 404, text, "not found"},
	} {
		name := tc.method + " " + clip(tc.target)
		t.Run(name, func(t *testing.T) {
			wantAnswer(t, ask(s, tc.method, tc.target, tc.headers...), tc.status, tc.contentType, tc.part)
		})
	}
}

func TestStatsJSON(t *testing.T) {
	s := newServer(t, login.Open{}, func(c *Config) { c.Dev = true })
	var r report
	d := json.NewDecoder(ask(s, "GET", "/api/v1/stats").Body)
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		t.Fatal(err)
	}
	if !r.Ready || r.NotReady == nil || len(r.Loops) != 2 || r.Version != "v1.2.3" || r.Workers != nil {
		t.Errorf("%+v", r)
	}
	if _, ok := r.Connections.Clients["gosoc"]; !ok || len(r.Connections.Clients) != 2 {
		t.Errorf("clients by protocol: %v", r.Connections.Clients)
	}
	if _, ok := r.Logins["ok"]; !ok {
		t.Errorf("logins: %v", r.Logins)
	}
}

func TestAddresses(t *testing.T) {
	for _, address := range []string{"", "6070", "localhost", "localhost:", "localhost:http", "1.2.3.4:65536", "::1:6070", "http://127.0.0.1:6070"} {
		if _, err := New(newServer(t, login.Open{}, nil).engine, nil, nil, nil, Config{Address: address}); err == nil || !strings.Contains(err.Error(), "HOST:PORT") {
			t.Errorf("%q: %v", address, err)
		}
	}
}

func TestHeaderNames(t *testing.T) {
	s := newServer(t, newOTP(t), func(c *Config) { c.APIKey = testKey })
	w := ask(s, "POST", "/v1/socket/token", "X-Api-Key", testKey)
	if w.Header().Get("Allow") != http.MethodGet {
		t.Errorf("Allow: %q", w.Header().Get("Allow"))
	}
	w = ask(s, "GET", "/v1/socket/token")
	if !strings.HasPrefix(w.Header().Get("WWW-Authenticate"), "Bearer") {
		t.Errorf("WWW-Authenticate: %q", w.Header().Get("WWW-Authenticate"))
	}
}
