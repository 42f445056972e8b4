package worker

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine/internal/certs/certtest"
)

// secureDial is a Config.Dial for a fake gateway behind TLS.
func (g *fakeGateway) secureDial(config *tls.Config) func(context.Context, string, string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) {
		ln, err := net.Listen("tcp", "127.0.0.1:0") // net.Pipe has no room for what TLS writes on its own
		if err != nil {
			return nil, err
		}
		defer ln.Close()
		ours, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			return nil, err
		}
		theirs, err := ln.Accept()
		if err != nil {
			return nil, err
		}
		g.accept(tls.Server(theirs, config))
		return ours, nil
	}
}

// The scheme, or a Config.TLS without one, says that a gateway is behind TLS; it must be who it is said
// to be, and is shown the worker's certificate.
func TestTLS(t *testing.T) {
	ca, other := certtest.New(t, "ca"), certtest.New(t, "other")
	server := &tls.Config{
		Certificates: []tls.Certificate{ca.Issue(t, certtest.Order{}).TLS(t)},
		ClientAuth:   tls.RequireAndVerifyClientCert, ClientCAs: ca.Pool(),
	}
	own := []tls.Certificate{ca.Issue(t, certtest.Order{Client: true, CommonName: "w"}).TLS(t)}
	for _, tt := range []struct {
		name, gateway string
		tls           *tls.Config
		fails         string
	}{
		{"tls", "tls://localhost:6061", &tls.Config{RootCAs: ca.Pool(), Certificates: own}, ""},
		{"no scheme", "127.0.0.1:6061", &tls.Config{RootCAs: ca.Pool(), Certificates: own}, ""},
		{"another name", "tls://gateway.example:6061", &tls.Config{RootCAs: ca.Pool(), Certificates: own}, "not gateway.example"},
		{"given name", "tls://gateway.example:6061", &tls.Config{RootCAs: ca.Pool(), Certificates: own, ServerName: "localhost"}, ""},
		{"another authority", "tls://localhost:6061", &tls.Config{RootCAs: other.Pool(), Certificates: own}, "unknown authority"},
		{"the system's", "tls://localhost:6061", nil, "unknown authority"},
		{"no certificate", "tls://localhost:6061", &tls.Config{RootCAs: ca.Pool()}, "certificate required"},
		{"old", "tls://localhost:6061", &tls.Config{RootCAs: ca.Pool(), MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}, "version"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			g := newFake(t)
			w := run(t, Config{
				Gateways: []string{tt.gateway}, TLS: tt.tls, Dial: g.secureDial(server),
				RedialMin: time.Millisecond, QueryTimeout: 30 * time.Second, DialTimeout: 30 * time.Second,
			}, func(w *Worker) { w.Handle("*", echo) })
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			if tt.fails != "" {
				fails(t, ctx, w.Worker, tt.fails)
				return
			}
			if err := w.Ready(ctx); err != nil {
				t.Fatal(err)
			}
			if got := w.Gateways()[0].Addr(); strings.Contains(got, "//") {
				t.Errorf("address %q", got)
			}
			w.halt()
		})
	}
}

// fails waits until a link is down for a reason.
func fails(t *testing.T, ctx context.Context, w *Worker, why string) {
	t.Helper()
	l := w.Gateways()[0].Links()[0]
	for {
		l.mu.Lock()
		err, changed := l.err, l.changed
		l.mu.Unlock()
		if err != nil && strings.Contains(err.Error(), why) {
			return
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("%v, want %s", err, why)
		}
	}
}

func TestGatewaySchemes(t *testing.T) {
	for text, ok := range map[string]bool{
		"host:1": true, "tcp://host:1": true, "tls://host:1": true, "tls://host:1/": true,
		"https://host:1": false, "tls://host": false, "host": false,
	} {
		if _, err := New(Config{Gateways: []string{text}}); (err == nil) != ok || err != nil && !errors.Is(err, ErrConfig) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if _, err := New(Config{Gateways: []string{"tcp://host:1", "tls://host:1"}}); err == nil {
		t.Error("one address twice was taken")
	}
}

// A TLS link to a gateway that takes a little now and then lives on: only one that takes nothing is
// late.
func TestSteadyWriter(t *testing.T) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	defer theirs.Close()
	w := &steadyWriter{Conn: ours, timeout: 200 * time.Millisecond}
	done := make(chan error, 1)
	go func() {
		_, err := w.Write(make([]byte, 6))
		done <- err
	}()
	for range 6 { // longer than the timeout in all
		time.Sleep(50 * time.Millisecond)
		if _, err := theirs.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n, err := w.Write([]byte("x")); n != 0 || err == nil {
		t.Errorf("%d bytes were written to who takes nothing", n)
	}
}
