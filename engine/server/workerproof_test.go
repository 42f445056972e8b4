package server

import (
	"context"
	"crypto/tls"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine/internal/certs/certtest"
	"github.com/sluicenet/sluice/engine/worker"
)

// Where both a certificate and a token are asked for, neither does alone.
func TestWorkerBothProofs(t *testing.T) {
	t.Parallel()
	dir, ca := t.TempDir(), certtest.New(t, "ca")
	cert, key := ca.Issue(t, certtest.Order{}).Write(t, dir, "c")
	const token = "a-token-of-24-bytes-or-so"
	s, _ := begin(t, Config{
		WorkerListen: "tls://127.0.0.1:0", Worker: WorkersConfig{Tokens: []string{token}},
		TLS: TLSConfig{Pairs: []CertPair{{Cert: cert, Key: key}}, WorkerClientCA: certtest.File(t, dir, "ca.pem", ca.PEM)},
	})
	own := []tls.Certificate{ca.Issue(t, certtest.Order{Client: true, CommonName: "w1"}).TLS(t)}
	for _, tc := range []struct {
		name   string
		certs  []tls.Certificate
		token  string
		refuse string // as the counters call it; empty: it is a worker
	}{
		{"certificate alone", own, "", "command-before-token"},
		{"a wrong token beside it", own, "a-token-that-is-not-known", "wrong-token"},
		{"token alone", nil, token, "tls-handshake"},
		{"both", own, token, ""},
	} {
		w, err := worker.New(worker.Config{
			Gateways: []string{s.WorkerAddr()}, Token: tc.token, Links: 1, RedialMin: time.Hour, RedialMax: time.Hour,
			TLS: &tls.Config{RootCAs: ca.Pool(), Certificates: tc.certs},
		})
		if err != nil {
			t.Fatal(err)
		}
		w.Handle("*", func(_ context.Context, r *worker.Request) ([]byte, error) { return r.Payload, nil })
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.Run(ctx) }()
		if tc.refuse == "" {
			soon, stop := context.WithTimeout(ctx, patience)
			if err := w.Ready(soon); err != nil {
				t.Errorf("%s: %v", tc.name, err)
			}
			stop()
		} else {
			waitUntil(t, tc.name, func() bool { return s.hub.Stats().UnprovenClosed[tc.refuse] > 0 })
			if n := s.hub.Stats().Registered; n != 0 {
				t.Errorf("%s: %d are registered", tc.name, n)
			}
		}
		cancel()
		if err := <-done; err != nil && tc.refuse == "" {
			t.Errorf("%s: %v", tc.name, err)
		}
	}
}
