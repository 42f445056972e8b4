package admin

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine/login"
)

func TestHostAllowed(t *testing.T) {
	for _, tc := range []struct {
		host, own string
		want      bool
	}{
		{"localhost", "", true},
		{"localhost:6070", "127.0.0.1", true},
		{"LocalHost.:6070", "127.0.0.1", true},
		{"127.0.0.1", "", true},
		{"127.0.0.1:6070", "", true},
		{"[::1]:6070", "", true},
		{"[::1]", "", true},
		{"10.1.2.3:80", "", true}, // an address cannot be rebound
		{"gw.internal:6070", "gw.internal", true},
		{"GW.internal.", "gw.internal", true},
		{"", "", false},
		{":6070", "", false},
		{".", "", false},
		{"evil.example", "", false},
		{"evil.example:6070", "gw.internal", false},
		{"localhost.evil.example", "", false},
		{"127.0.0.1.evil.example", "", false},
		{"127.0.0.1.evil.example:6070", "127.0.0.1", false},
		{"evil.example:127.0.0.1", "", false},
		{"0x7f.1", "", false}, // browsers normalise it; a Host that is not is somebody's trick
	} {
		if got := hostAllowed(tc.host, tc.own); got != tc.want {
			t.Errorf("Host %q, own %q: %v, want %v", tc.host, tc.own, got, tc.want)
		}
	}
}

func TestRebinding(t *testing.T) {
	s := newServer(t, newOTP(t), func(c *Config) { c.Dev = true })
	for _, target := range []string{"/v1/socket/token?user=a", "/v2/socket/token?user=a", "/api/v1/stats", "/debug/pprof/", "/debug/pprof/heap"} {
		wantAnswer(t, ask(s, "GET", target, "Host", "evil.example:6070"), 403, "application/json", "host name")
		wantAnswer(t, ask(s, "GET", target, "Host", "localhost:6070"), 200, "", "")
	}
	wantAnswer(t, ask(s, "GET", "/metrics", "Host", "evil.example:6070"), 403, "application/json", "host name")
	for _, target := range []string{"/livez", "/readyz"} { // an orchestrator asks by what name it likes
		wantAnswer(t, ask(s, "GET", target, "Host", "pod-7.example"), 200, "text/plain", "")
	}
	s.loopback.Store(false) // its names are the operator's affair
	wantAnswer(t, ask(s, "GET", "/api/v1/stats", "Host", "gw.example"), 403, "application/json", "--admin-token")
}

func TestAPIKey(t *testing.T) {
	const target = "/v1/socket/token?user=ann"
	for _, tc := range []struct {
		name    string
		key     string
		dev     bool
		headers []string
		status  int
	}{
		{"no key, none shown", "", false, nil, 403},
		{"no key, empty one shown", "", false, []string{"X-Api-Key", ""}, 403},
		{"no key, some shown", "", false, []string{"X-Api-Key", testKey}, 403},
		{"no key, development", "", true, nil, 200},
		{"no key, development, a page's request", "", true, []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"no key, development, typed into a browser", "", true, []string{"Sec-Fetch-Site", "none"}, 200},
		{"key, none shown", testKey, false, nil, 401},
		{"key, development, none shown", testKey, true, nil, 401},
		{"key, right", testKey, false, []string{"X-Api-Key", testKey}, 200},
		{"key, bearer", testKey, false, []string{"Authorization", "Bearer " + testKey}, 200},
		{"key, bearer in other case", testKey, false, []string{"Authorization", "bearer  " + testKey + " "}, 200},
		{"key, wrong", testKey, false, []string{"X-Api-Key", testKey + "x"}, 401},
		{"key, prefix", testKey, false, []string{"X-Api-Key", testKey[:5]}, 401},
		{"key, other case", testKey, false, []string{"X-Api-Key", strings.ToUpper(testKey)}, 401},
		{"key, basic", testKey, false, []string{"Authorization", "Basic " + testKey}, 401},
		{"key, without scheme", testKey, false, []string{"Authorization", testKey}, 401},
		{"key, in the query", testKey, false, nil, 401},
		{"key, wrong one and a right bearer", testKey, false, []string{"X-Api-Key", "x", "Authorization", "Bearer " + testKey}, 401},
	} {
		t.Run(tc.name, func(t *testing.T) {
			otp := newOTP(t)
			s := newServer(t, otp, func(c *Config) { c.APIKey, c.Dev = tc.key, tc.dev })
			w := ask(s, "GET", target+"&api_key="+testKey, tc.headers...)
			wantAnswer(t, w, tc.status, "application/json", "")
			want := 0
			if tc.status == 200 {
				want = 1
			} else if s.tokens.unauthorized.Load() != 1 {
				t.Error("not counted")
			}
			if n, _ := otp.Len(); n != want {
				t.Errorf("%d tokens issued, want %d", n, want)
			}
			if strings.Contains(w.Body.String(), testKey) {
				t.Error("the answer holds the key")
			}
		})
	}
}

func TestTokenIsGoodOnce(t *testing.T) {
	otp := newOTP(t)
	s := newServer(t, otp, func(c *Config) { c.Dev = true })
	for _, tc := range []struct{ target, user string }{
		{"/v1/socket/token?user=ann", "ann"},
		{"/v2/socket/token?user=%C3%A9+b", "é b"},
		{"/v2/socket/token", devUser},
	} {
		var answer struct {
			Code int
			Data issued
		}
		if err := json.Unmarshal(ask(s, "GET", tc.target).Body.Bytes(), &answer); err != nil || answer.Code != 0 {
			t.Fatalf("%s: %+v, %v", tc.target, answer, err)
		}
		id, err := otp.LoginNow(time.Now(), login.Request{Token: answer.Data.OTP})
		if err != nil || id.User != tc.user {
			t.Errorf("%s: %+v, %v", tc.target, id, err)
		}
		if _, err := otp.LoginNow(time.Now(), login.Request{Token: answer.Data.OTP}); err == nil {
			t.Errorf("%s: good twice", tc.target)
		}
	}
}

func TestNoTokensWithoutOTP(t *testing.T) {
	s := newServer(t, login.Open{}, func(c *Config) { c.Dev = true })
	wantAnswer(t, ask(s, "GET", "/v1/socket/token?user=ann"), 409, "application/json", "--login otp")
}
