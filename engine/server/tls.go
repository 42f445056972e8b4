package server

import (
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sluicenet/sluice/engine/internal/certs"
)

type (
	// A TLSConfig says which certificates the listeners have.
	TLSConfig = certs.Config
	// A CertPair is the files of a certificate and its key.
	CertPair = certs.Pair
	// A TLSAutoConfig has certificates made by an ACME service.
	TLSAutoConfig = certs.AutoConfig
	// A TLSError says which part of a TLSConfig cannot be used.
	TLSError = certs.Error
	// A TLSStatus is one certificate's name and end.
	TLSStatus = certs.Status
	// TLSStats are counters of certificates, and how long they are good.
	TLSStats = certs.Stats
)

// SelfSigned makes a certificate and its key, in PEM, for trying out: for localhost, 127.0.0.1, ::1 and
// the names and addresses given, for a year. No client trusts it unless it is told to.
func SelfSigned(now time.Time, hosts ...string) (cert, key []byte, err error) {
	return certs.SelfSigned(now, hosts...)
}

// secured lists what wants a certificate, for errors.
func (s *Server) secured() (list []string) {
	for _, e := range s.endpoints {
		if e.Secure() {
			list = append(list, e.Scheme+"://"+e.Address)
		}
	}
	if s.workerListen.Scheme == "tls" && s.config.Worker.TLS == nil {
		list = append(list, "the worker listener")
	}
	if s.adminListen.Scheme == "https" && s.config.Admin.TLS == nil {
		list = append(list, "the admin listener")
	}
	return list
}

// loadCertificates makes the store of certificates, if a listener wants one, and refuses settings
// without effect.
func (s *Server) loadCertificates() error {
	config := &s.config.TLS
	users := s.secured()
	clients := slices.ContainsFunc(s.endpoints, func(e endpoint) bool { return e.Secure() })
	switch {
	case len(users) == 0 && !certs.IsZero(config):
		return errors.New("server: Config.TLS is set: no listener uses it; want tls:// or wss:// in Config.Listen, or ?tls=auto")
	case len(users) == 0:
		return nil
	case !certs.Any(config):
		return fmt.Errorf("server: Config.TLS has no certificates, and %s wants one", strings.Join(users, ", "))
	case config.ClientCA != "" && !clients:
		return errors.New("server: Config.TLS.ClientCA is set: no listener for clients uses TLS")
	case config.WorkerClientCA != "" && s.workerListen.Scheme != "tls":
		return errors.New("server: Config.TLS.WorkerClientCA is set: want tls:// in Config.WorkerListen, too")
	case len(config.Auto.Hosts) > 0 && !clients:
		return errors.New("server: Config.TLS.Auto is set: the ACME service looks for a listener for clients, and none uses TLS")
	}
	for _, e := range s.endpoints {
		switch {
		case !e.Secure() || e.ClientCert == "none":
		case config.ClientCA == "" && e.ClientCert != "":
			return fmt.Errorf("server: %s://%s wants client certificates: want Config.TLS.ClientCA, too", e.Scheme, e.Address)
		case config.ClientCA != "" && e.ClientCert == "" && e.TLSAuto:
			return fmt.Errorf("server: %s://%s takes plain connections, which show no certificate: say client-cert=optional or none", e.Scheme, e.Address)
		}
	}
	c := *config
	if c.Logger == nil {
		c.Logger = s.gateway.Log()
	}
	store, err := certs.New(c)
	if err != nil {
		return fmt.Errorf("server: Config.TLS.%w", err)
	}
	s.certs = store
	return nil
}

// tlsFor returns the TLS of a listener for clients, nil if it is plain.
func (s *Server) tlsFor(l Listen) *tls.Config {
	if !l.Secure() {
		return nil
	}
	use := certs.Use{Protocols: []string{certs.HTTP1}, Challenges: true}
	if !l.http() {
		for _, p := range s.speaking(l) {
			if p.Name() != "http" {
				use.Protocols = append(use.Protocols, p.Name())
			}
		}
	}
	if s.config.TLS.ClientCA != "" {
		use.Auth = map[string]tls.ClientAuthType{
			"": tls.RequireAndVerifyClientCert, "required": tls.RequireAndVerifyClientCert, "optional": tls.VerifyClientCertIfGiven,
		}[l.ClientCert]
	}
	return s.certs.TLS(use)
}

// secure gives the other listeners their TLS, if their scheme wants it and config does not have it.
func (s *Server) secure(config *Config) {
	if s.workerListen.Scheme == "tls" && config.Worker.TLS == nil {
		config.Worker.TLS = s.tlsForWorkers()
		config.Worker.Certificates = config.TLS.WorkerClientCA != ""
	}
	if s.adminListen.Scheme == "https" && config.Admin.TLS == nil {
		config.Admin.TLS = s.certs.TLS(certs.Use{Protocols: []string{certs.HTTP1}})
	}
}

func (s *Server) tlsForWorkers() *tls.Config {
	use := certs.Use{Workers: true}
	if s.config.TLS.WorkerClientCA != "" {
		use.Auth = tls.RequireAndVerifyClientCert
	}
	return s.certs.TLS(use)
}

// SetTLS replaces Pairs, Certificates, Dev and Min of Config.TLS, reads all of its files again,
// those of client CAs, too, and reports whether anything is different now. Connections that are
// there go on. On an error, which names a field as a TLSError does, nothing has changed. The rest
// of config is as New was told. Where no listener speaks TLS it does nothing. Any goroutine may
// call it.
func (s *Server) SetTLS(config TLSConfig) (changed bool, err error) {
	use, err := s.PrepareTLS(config)
	if err != nil {
		return false, err
	}
	return use(), nil
}

// PrepareTLS is SetTLS up to the point where it would change anything. The function that it returns
// does the rest, and reports what SetTLS does. Whoever changes certificates together with other things
// can see to it that all of them change or none. Other calls of SetTLS in between are overruled.
func (s *Server) PrepareTLS(config TLSConfig) (use func() (changed bool), err error) {
	if s.certs == nil {
		return func() bool { return false }, nil
	}
	if use, err = s.certs.Prepare(config); err != nil {
		return nil, fmt.Errorf("server: Config.TLS.%w", err)
	}
	return use, nil
}

// RecheckTLS looks at the files of Config.TLS now, for whoever has found that they cannot be used:
// the admin listener's /readyz?verbose names them when it returns. Otherwise it does so when two
// looks have seen the same. It takes nothing over. Any goroutine may call it; SetTLS and PrepareTLS
// do, before they return an error.
func (s *Server) RecheckTLS() {
	if s.certs != nil {
		s.certs.Recheck()
	}
}

// CheckTLS reads the files of config, and says with a *TLSError what cannot be used. It keeps nothing.
func CheckTLS(config TLSConfig) error {
	_, err := certs.New(config)
	return err
}

// TLSWarnings returns what an operator should know of the certificates: that one ends soon, for one.
func (s *Server) TLSWarnings() []string {
	if s.certs == nil {
		return nil
	}
	return s.certs.Warnings()
}

// TLS returns the counters of certificates.
func (s *Server) TLS() TLSStats {
	if s.certs == nil {
		return TLSStats{}
	}
	return s.certs.Stats()
}

// CertFingerprint is the SHA-256 of the first certificate of a PEM text, as openssl prints it; empty if
// there is none.
func CertFingerprint(text []byte) string {
	block, _ := pem.Decode(text)
	if block == nil {
		return ""
	}
	return certs.Fingerprint(block.Bytes)
}
