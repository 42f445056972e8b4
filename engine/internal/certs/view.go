package certs

import (
	"crypto/tls"
	"crypto/x509"
	"sync/atomic"

	"golang.org/x/crypto/acme"
)

// A Use is what a listener wants of a tls.Config.
type Use struct {
	// Protocols are the names it speaks (ALPN), the best first. Empty: it does not look at them.
	Protocols []string
	// Auth is what it wants of clients' certificates.
	Auth tls.ClientAuthType
	// Workers has them come from Config.WorkerClientCA, and not from ClientCA.
	Workers bool
	// Challenges has it answer an ACME service that looks whether the host is ours.
	Challenges bool
}

// HTTP1 is the name of HTTP/1.1, and so of WebSocket, in Use.Protocols.
const HTTP1 = "http/1.1"

// A view is one listener's side of a Store.
type view struct {
	Use
	store *Store
	outer *tls.Config // has the ticket keys
	inner atomic.Pointer[tls.Config]
}

// TLS returns the Config for a listener. It stays good when certificates are replaced. Each call
// makes one with ticket keys of its own, so no listener takes another's tickets.
func (s *Store) TLS(u Use) *tls.Config {
	v := &view{Use: u, store: s}
	v.outer = v.config(nil)
	v.outer.GetConfigForClient = v.forClient
	s.mu.Lock()
	defer s.mu.Unlock()
	v.renew(s.state.Load())
	s.views = append(s.views, v)
	return v.outer
}

// renew makes the Config of handshakes that begin from now on.
func (v *view) renew(st *state) {
	c := v.config(st)
	v.inner.Store(c)
}

// config makes a Config; without a state it is one that is good for its ticket keys alone.
func (v *view) config(st *state) *tls.Config {
	c := &tls.Config{
		MinVersion:       tls.VersionTLS12,
		CipherSuites:     suites,
		CurvePreferences: curves,
		NextProtos:       v.Protocols,
		GetCertificate:   v.store.certificate,
		Time:             v.store.config.now,
		Renegotiation:    tls.RenegotiateNever,
		// Records are as large as what is sent together.
		DynamicRecordSizingDisabled: true,
	}
	if st == nil {
		return c
	}
	c.MinVersion = st.min
	c.ClientAuth, c.ClientCAs = v.Auth, st.clientCA
	if v.Workers {
		c.ClientCAs = st.workerCA
	}
	if c.ClientAuth >= tls.VerifyClientCertIfGiven && c.ClientCAs == nil {
		c.ClientCAs = x509.NewCertPool() // nobody: nil would mean the system's
	}
	return c
}

// forClient is tls.Config.GetConfigForClient.
func (v *view) forClient(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	if v.Challenges && v.store.auto != nil && len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == acme.ALPNProto {
		return v.store.auto.challenge, nil
	}
	return v.inner.Load(), nil
}
