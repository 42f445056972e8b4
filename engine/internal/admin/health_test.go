package admin

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine/internal/looplag"
	"github.com/sluicenet/sluice/engine/login"
	"github.com/sluicenet/sluice/internal/faketime"
)

// keyedLogin is a provider whose keys are in the state a test wants.
type keyedLogin struct {
	login.Open
	keys int
	at   time.Time
	err  error
}

func (p *keyedLogin) Status() (int, time.Time, error) { return p.keys, p.at, p.err }

func TestReadyOfKeys(t *testing.T) {
	failed := errors.New("fetching keys from id.example:\n\x1b status 500")
	for _, tc := range []struct {
		name   string
		p      keyedLogin
		status int
		part   string
	}{
		{"none yet", keyedLogin{}, 503, "login: no keys yet\n"},
		{"none could be fetched", keyedLogin{err: failed}, 503, "login: fetching keys from id.example: status 500\n"},
		{"good", keyedLogin{keys: 2, at: time.Now()}, 200, "ok\n"},
		{"not fetched again", keyedLogin{keys: 2, at: time.Now().Add(-20 * time.Minute), err: failed}, 200, "ok\n"},
		{"too old", keyedLogin{keys: 2, at: time.Now().Add(-2 * time.Hour), err: failed}, 503, "status 500\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := newServer(t, &tc.p, nil)
			wantAnswer(t, ask(s, "GET", "/readyz"), tc.status, "text/plain", tc.part)
			wantAnswer(t, ask(s, "GET", "/livez"), 200, "text/plain", "ok\n")
		})
	}
}

// TestRemoteJWTHasStatus: the provider that fetches keys is one whose state we look at.
func TestRemoteJWTHasStatus(t *testing.T) {
	var p login.Provider = new(login.RemoteJWT)
	if _, ok := p.(keyed); !ok {
		t.Error("login.RemoteJWT has no Status")
	}
}

func TestReadyStates(t *testing.T) {
	s := newServer(t, &keyedLogin{}, func(c *Config) { c.Dev = true })
	s.ready.Store(false)
	wantAnswer(t, ask(s, "GET", "/readyz"), 503, "text/plain", "not listening yet\nlogin: no keys yet\n")
	s.Ready()
	s.gateway.Drain()
	wantAnswer(t, ask(s, "GET", "/readyz"), 503, "text/plain", "draining\nlogin: no keys yet\n")
	wantAnswer(t, ask(s, "GET", "/metrics"), 200, "text/plain", "sluice_ready 0\n")
	wantAnswer(t, ask(s, "GET", "/api/v1/stats"), 200, "application/json", `"ready":false,"notReady":["draining",`)
	s.Shutdown(context.Background())
	wantAnswer(t, ask(s, "GET", "/readyz"), 503, "text/plain", "draining\n")
}

// TestLiveOfLoops: a loop that stands still fails both, by its number, until it runs again.
func TestLiveOfLoops(t *testing.T) {
	faketime.Test(t, testLiveOfLoops)
}

func testLiveOfLoops(t *testing.T) {
	var log bytes.Buffer
	s := newServer(t, login.Open{}, func(c *Config) {
		c.Stall = 50 * time.Millisecond
		c.Logger = slog.New(slog.NewTextHandler(&log, nil))
	})
	told := make([]func(), 2)
	s.lag = looplag.New(looplag.Config{Loops: 2, Tell: func(loop int, fn func()) bool {
		told[loop] = fn
		return true
	}})
	s.lag.Look()
	s.watch()
	wantAnswer(t, ask(s, "GET", "/livez"), 200, "text/plain", "ok\n")
	told[0]()
	time.Sleep(60 * time.Millisecond)
	s.watch()
	s.watch()
	for _, path := range []string{"/livez", "/readyz"} {
		w := ask(s, "GET", path)
		wantAnswer(t, w, 503, "text/plain", "loop 1 stands still for ")
		if strings.Contains(w.Body.String(), "loop 0") {
			t.Errorf("%s: %q", path, w.Body)
		}
	}
	told[1]()
	s.watch()
	wantAnswer(t, ask(s, "GET", "/livez"), 200, "text/plain", "ok\n")
	if text := log.String(); strings.Count(text, "a loop stands still") != 1 || strings.Count(text, "a loop runs again") != 1 {
		t.Errorf("the log says %q", text)
	}
}
