package certs

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"sync/atomic"
	"time"

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
	inner atomic.Pointer[tls.Config]
	keys  [][32]byte // of session tickets, the newest first. Guarded by Store.mu
}

const (
	// ticketKeyAge is how often a listener gets a new key for session tickets.
	ticketKeyAge = 8 * time.Hour
	// ticketKeys is how many it keeps: tickets are good for a day at most.
	ticketKeys = 3
)

// TLS returns the Config for a listener. It stays good when certificates are replaced. Each call
// makes one with ticket keys of its own, so no listener takes another's tickets. It may be copied.
func (s *Store) TLS(u Use) *tls.Config {
	v := &view{Use: u, store: s}
	s.mu.Lock()
	defer s.mu.Unlock()
	v.rotate()
	v.renew(s.state.Load())
	s.views = append(s.views, v)
	return &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: v.forClient}
}

// rotate gives v a new key for session tickets. Store.mu is held.
func (v *view) rotate() {
	var key [32]byte
	_, _ = rand.Read(key[:]) // it cannot fail
	v.keys = append([][32]byte{key}, v.keys[:min(len(v.keys), ticketKeys-1)]...)
	if c := v.inner.Load(); c != nil {
		c.SetSessionTicketKeys(v.keys)
	}
}

// rotateKeys does so for all listeners when it is time.
func (s *Store) rotateKeys() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := s.config.now(); now.Sub(s.rotated) >= ticketKeyAge {
		s.rotated = now
		for _, v := range s.views {
			v.rotate()
		}
	}
}

// renew makes the Config of handshakes that begin from now on. Store.mu is held.
func (v *view) renew(st *state) {
	c := v.config(st)
	c.SetSessionTicketKeys(v.keys)
	v.inner.Store(c)
}

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
