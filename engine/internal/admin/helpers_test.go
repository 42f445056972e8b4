package admin

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/engine/login"
)

const testKey = "a-key-for-tests"

// newServer makes a Server of a gateway that does not run, ready and behind no listener.
func newServer(t testing.TB, p login.Provider, edit func(*Config)) *Server {
	t.Helper()
	g, err := gateway.New(gateway.Config{Login: p, UserLimit: 7})
	if err != nil {
		t.Fatal(err)
	}
	e, err := engine.New(engine.Config{Loops: 2, Dialects: []engine.Dialect{{Name: "gosoc-a"}, {Name: "gosoc-b"}, {Name: "netsvr-text"}}})
	if err != nil {
		t.Fatal(err)
	}
	config := Config{Address: "127.0.0.1:0", Version: "v1.2.3"}
	if edit != nil {
		edit(&config)
	}
	s, err := New(e, g, nil, nil, config)
	if err != nil {
		t.Fatal(err)
	}
	s.Ready()
	t.Cleanup(func() { s.Shutdown(t.Context()) })
	return s
}

func newOTP(t testing.TB) *login.OTP {
	t.Helper()
	p, err := login.NewOTP(login.OTPConfig{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// ask sends a request to s without a listener. headers are names and values in turn.
func ask(s *Server, method, target string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	r.Host = "127.0.0.1:6070"
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
			continue
		}
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r)
	return w
}

// wantAnswer checks a status, a content type up to its parameters, and a part of the body.
func wantAnswer(t *testing.T, w *httptest.ResponseRecorder, status int, contentType, part string) {
	t.Helper()
	if w.Code != status {
		t.Errorf("status %d, want %d; body %q", w.Code, status, w.Body)
	}
	if got := w.Header().Get("Content-Type"); len(got) < len(contentType) || got[:len(contentType)] != contentType {
		t.Errorf("content type %q, want %q", got, contentType)
	}
	if !strings.Contains(w.Body.String(), part) {
		t.Errorf("body %q has no %q", w.Body, part)
	}
	cache := "no-store"
	if w.Header().Get("ETag") != "" { // a file of the page
		cache = "no-cache"
	}
	if w.Header().Get("X-Content-Type-Options") != "nosniff" || w.Header().Get("Cache-Control") != cache {
		t.Errorf("headers %v", w.Header())
	}
}
