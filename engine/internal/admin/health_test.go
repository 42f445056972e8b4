package admin

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine/login"
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
	failed := errors.New("fetching keys from id.example:\n status 500")
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
	s := newServer(t, &keyedLogin{}, nil)
	s.ready.Store(false)
	wantAnswer(t, ask(s, "GET", "/readyz"), 503, "text/plain", "not listening yet\nlogin: no keys yet\n")
	s.Ready()
	s.gateway.Drain()
	wantAnswer(t, ask(s, "GET", "/readyz"), 503, "text/plain", "draining\nlogin: no keys yet\n")
	wantAnswer(t, ask(s, "GET", "/"), 200, "text/html", "Not ready: draining;")
	wantAnswer(t, ask(s, "GET", "/metrics"), 200, "text/plain", "sluice_ready 0\n")
	wantAnswer(t, ask(s, "GET", "/api/v1/stats"), 200, "application/json", `"ready":false,"notReady":["draining",`)
	s.Shutdown(context.Background())
	wantAnswer(t, ask(s, "GET", "/readyz"), 503, "text/plain", "draining\n")
}
