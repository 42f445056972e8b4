package admin

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine/login"
)

const (
	readToken = "read-token-0123456789"
	fullToken = "full-token-0123456789"
)

func tokenFile(t testing.TB, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func testTokens(t testing.TB) *Tokens {
	t.Helper()
	tokens, err := NewTokens(tokenFile(t, "# operators\nread "+readToken+" # Prometheus\n\nfull\t"+fullToken+"\n"))
	if err != nil {
		t.Fatal(err)
	}
	return tokens
}

func TestTokenFiles(t *testing.T) {
	long := strings.Repeat("x", maxToken+1)
	for _, tc := range []struct{ name, text, want string }{
		{"nothing", "", "holds no tokens"},
		{"comments", "# full " + fullToken, "holds no tokens"},
		{"no role", fullToken, "line 1: 1 fields"},
		{"a third field", "full " + fullToken + " x", "line 1: 3 fields"},
		{"another role", "# \nadmin " + fullToken, "line 2: the first field is no role, want read or full"},
		{"turned around", fullToken + " full", "line 1: the first field is no role"},
		{"short", "full 123456789012345", "line 1: a token of 15 characters, want 16 to 256"},
		{"long", "full " + long, "line 1: a token of 257 characters"},
		{"beyond ASCII", "full 12345678901234567ä", "line 1: the token holds characters"},
		{"twice", "full " + fullToken + "\nread " + fullToken, "line 2: same token as line 1"},
	} {
		_, err := NewTokens(tokenFile(t, tc.text))
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		} else if strings.Contains(err.Error(), fullToken) {
			t.Errorf("%s: the error holds the token: %v", tc.name, err)
		}
	}
	if _, err := NewTokens(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a file that is not there")
	}
}

// TestTokensAreReplaced: a file that cannot be used changes nothing.
func TestTokensAreReplaced(t *testing.T) {
	tokens := testTokens(t)
	s := newServer(t, login.Open{}, func(c *Config) { c.Tokens = tokens })
	status := func(token string) int {
		return ask(s, "GET", "/api/v1/stats", "Authorization", "Bearer "+token).Code
	}
	write := func(text string) {
		if err := os.WriteFile(tokens.File(), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("full")
	if tokens.Reload() == nil || status(readToken) != 200 {
		t.Error("half a file was taken")
	}
	const other = "another-token-0123456789"
	write("read " + other)
	if err := tokens.Reload(); err != nil || status(other) != 200 || status(readToken) != 401 {
		t.Errorf("%v, %d, %d", err, status(other), status(readToken))
	}
	tokens.Replace(testTokens(t))
	if status(other) != 401 || status(readToken) != 200 {
		t.Error("not replaced")
	}
}

// protected are the paths that want a role, each with its least.
var protected = []struct {
	method, target string
	role           Role
	status         int // for who may
}{
	{"GET", "/metrics", ReadRole, 200},
	{"GET", "/api/v1/stats", ReadRole, 200},
	{"GET", "/api/v1/online?user=a", ReadRole, 200},
	{"GET", "/api/v1/closed", ReadRole, 200},
	{"GET", "/api/v1/sessions", ReadRole, 503}, // its loops do not run
	{"GET", "/api/v1/config", ReadRole, 501},
	{"GET", "/api/v1/openapi.json", ReadRole, 200},
	{"GET", "/api/v1/nothing", ReadRole, 404},
	{"OPTIONS", "/api/v1/stats", ReadRole, 204},
	{"POST", "/api/v1/publish", FullRole, 415},
	{"POST", "/api/v1/kick", FullRole, 415},
	{"POST", "/api/v1/drain", FullRole, 501},
	{"POST", "/api/v1/reload", FullRole, 501},
	{"GET", "/debug/pprof/", FullRole, 200},
	{"GET", "/debug/pprof/heap", FullRole, 200},
	{"GET", "/debug/pprof/trace?seconds=.01", FullRole, 200},
	{"GET", "/api/v1/topics/a/tail", FullRole, 503},
}

// TestRoles: what each sort of token opens, on loopback and elsewhere, with and without --dev.
func TestRoles(t *testing.T) {
	type given struct {
		tokens, key, dev, loopback bool
	}
	for _, g := range []given{
		{true, false, false, true}, {true, false, true, true}, {true, true, false, false}, {true, true, true, false},
		{false, true, false, true}, {false, true, true, false}, {false, false, false, true},
		{false, false, true, true}, {false, false, true, false}, {false, false, false, false},
	} {
		s := newServer(t, login.Open{}, func(c *Config) {
			c.Dev = g.dev
			if g.tokens {
				c.Tokens = testTokens(t)
			}
			if g.key {
				c.APIKey = testKey
			}
		})
		s.loopback.Store(g.loopback)
		for _, p := range protected {
			if p.target == "/api/v1/sessions" {
				continue
			}
			for _, shown := range []string{"", readToken, fullToken, testKey, readToken + "x"} {
				has := NoRole
				switch {
				case !g.tokens && !g.key && g.dev && g.loopback:
					has = FullRole
				case g.tokens && shown == readToken:
					has = ReadRole
				case g.tokens && shown == fullToken, !g.tokens && g.key && shown == testKey:
					has = FullRole
				}
				want := p.status
				switch {
				case has >= p.role:
				case !g.tokens && !g.key, has != NoRole:
					want = 403
				default:
					want = 401
				}
				s.guesses = guesses{}
				var headers []string
				if shown != "" {
					headers = []string{"Authorization", "Bearer " + shown}
				}
				w := ask(s, p.method, p.target, headers...)
				if w.Code != want {
					t.Errorf("%+v %s %s with %q: %d, want %d: %s", g, p.method, p.target, shown, w.Code, want, w.Body)
				}
				if want != p.status && (strings.Contains(w.Body.String(), "goroutine") || w.Header().Get("Allow") != "") {
					t.Errorf("%s says more than no: %v %s", p.target, w.Header(), w.Body)
				}
			}
		}
		for _, open := range []string{"/livez", "/readyz"} {
			if w := ask(s, "GET", open); w.Code != 200 || w.Body.String() != "ok\n" {
				t.Errorf("%s: %d %s", open, w.Code, w.Body)
			}
		}
	}
}

// TestReasonsAreForWhoMayKnow: others learn that the gateway is not ready, and not why.
func TestReasonsAreForWhoMayKnow(t *testing.T) {
	s := newServer(t, login.Open{}, func(c *Config) { c.Tokens = testTokens(t) })
	s.gateway.Drain()
	wantAnswer(t, ask(s, "GET", "/readyz?verbose"), 503, "text/plain", "not ready\n")
	if body := ask(s, "GET", "/readyz?verbose").Body.String(); body != "not ready\n" {
		t.Errorf("%q", body)
	}
	wantAnswer(t, ask(s, "GET", "/readyz", "Authorization", "Bearer "+readToken), 503, "text/plain", "draining\n")
	wantAnswer(t, ask(s, "GET", "/readyz?verbose", "Authorization", "Bearer "+readToken), 503, "text/plain", "connections: 0 of")
}

// TestPagesOfOthers: a foreign page in an operator's browser has no token, and is refused where none
// is wanted.
func TestPagesOfOthers(t *testing.T) {
	s := newServer(t, login.Open{}, func(c *Config) { c.Dev = true })
	for _, headers := range [][]string{
		{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Host", "evil.example"},
	} {
		for _, p := range protected {
			if w := ask(s, p.method, p.target, headers...); w.Code != 403 || w.Header().Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("%s %s %v: %d %v", p.method, p.target, headers, w.Code, w.Header())
			}
		}
	}
}

// TestGuesses: wrong tokens are counted, and after a few an address has to wait; but not who has shown
// a right one from there.
func TestGuesses(t *testing.T) {
	var log bytes.Buffer
	s := newServer(t, login.Open{}, func(c *Config) {
		c.Tokens, c.Logger = testTokens(t), slog.New(slog.NewTextHandler(&log, nil))
	})
	from := func(addr, token string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("GET", "/api/v1/stats", nil)
		r.Host = "localhost:6070"
		r.RemoteAddr = addr
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		w := httptest.NewRecorder()
		s.Handler().ServeHTTP(w, r)
		return w
	}
	if w := from("10.0.0.1:1", readToken); w.Code != 200 {
		t.Fatal(w.Code)
	}
	limited := 0
	for i := range 30 {
		switch w := from("10.0.0.1:2", fmt.Sprintf("guess-%d-0123456789", i)); w.Code {
		case 401:
		case 429:
			limited++
			if w.Header().Get("Retry-After") == "" || !strings.Contains(w.Body.String(), `"code":"rate-limited"`) {
				t.Errorf("%v %s", w.Header(), w.Body)
			}
		default:
			t.Fatal(w.Code)
		}
	}
	if limited != 20 || s.access.wrong.Load() != 10 || s.access.limited.Load() != 20 {
		t.Errorf("%d limited; counted %d and %d", limited, s.access.wrong.Load(), s.access.limited.Load())
	}
	if w := from("10.0.0.1:3", fullToken); w.Code != 429 {
		t.Errorf("a right token that was not shown before: %d", w.Code)
	}
	if w := from("10.0.0.1:4", readToken); w.Code != 200 {
		t.Errorf("who was here before: %d", w.Code)
	}
	if w := from("10.0.0.2:4", fullToken); w.Code != 200 {
		t.Errorf("another address: %d", w.Code)
	}
	if from("10.0.0.2:5", ""); s.access.anonymous.Load() != 1 {
		t.Errorf("%d without a token", s.access.anonymous.Load())
	}
	if text := log.String(); !strings.Contains(text, "token is wrong") || strings.Contains(text, "guess-") {
		t.Errorf("the log: %s", text)
	}
}

func TestGuessesPass(t *testing.T) {
	var g guesses
	digest := sha256.Sum256(nil)
	now := time.Unix(1000, 0)
	addr := netip.MustParseAddr("10.0.0.1")
	for range guessBurst {
		if _, ok := g.allow(addr, digest, now); !ok {
			t.Fatal("too early")
		}
		g.failed(addr, now)
	}
	wait, ok := g.allow(addr, digest, now)
	if ok || wait != guessEvery {
		t.Errorf("%v, %v", wait, ok)
	}
	if _, ok := g.allow(addr, digest, now.Add(guessEvery)); !ok {
		t.Error("still, after the time it said")
	}
	for i := range 2 * maxGuessers {
		g.failed(netip.AddrFrom4([4]byte{11, 0, byte(i >> 8), byte(i)}), now.Add(time.Hour))
	}
	if len(g.from) > maxGuessers {
		t.Errorf("%d addresses", len(g.from))
	}
}

func TestPeers(t *testing.T) {
	for text, want := range map[string]string{
		"1.2.3.4:5": "1.2.3.4", "[::ffff:1.2.3.4]:5": "1.2.3.4", "[2001:db8:1:2:3::4]:5": "2001:db8:1:2::", "@": "invalid IP",
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = text
		if got := peerOf(r).String(); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}
