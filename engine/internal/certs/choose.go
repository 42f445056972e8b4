package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"
)

// A state is what handshakes are served from. It does not change.
type state struct {
	list     []*loaded // the first is the default
	exact    map[string][]*loaded
	wildcard map[string][]*loaded // by what follows the star: .example.com
	clientCA *x509.CertPool
	workerCA *x509.CertPool
	min      uint16
}

// index fills in the maps.
func (st *state) index() {
	st.exact, st.wildcard = make(map[string][]*loaded), make(map[string][]*loaded)
	for _, l := range st.list {
		for _, name := range names(l.cert.Leaf) {
			name = canonical(name)
			if suffix, ok := strings.CutPrefix(name, "*"); ok {
				st.wildcard[suffix] = append(st.wildcard[suffix], l)
			} else {
				st.exact[name] = append(st.exact[name], l)
			}
		}
	}
}

// canonical is a host's name as names are compared.
func canonical(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// named returns a certificate for the host that the client names, nil if there is none.
func (st *state) named(name string, hello *tls.ClientHelloInfo) *tls.Certificate {
	if name == "" {
		return nil
	}
	if list := st.exact[name]; len(list) > 0 {
		return usable(list, hello)
	}
	if dot := strings.IndexByte(name, '.'); dot > 0 {
		if list := st.wildcard[name[dot:]]; len(list) > 0 {
			return usable(list, hello)
		}
	}
	return nil
}

// usable returns the first certificate of list that the client's algorithms allow, else the first.
func usable(list []*loaded, hello *tls.ClientHelloInfo) *tls.Certificate {
	if len(list) > 1 {
		nameless := *hello // names were compared already
		nameless.ServerName = ""
		for _, l := range list {
			if nameless.SupportsCertificate(l.cert) == nil {
				return l.cert
			}
		}
	}
	return list[0].cert
}

var errNoCertificate = errors.New("certs: no certificate for this host")

// certificate is tls.Config.GetCertificate.
func (s *Store) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	st, name := s.state.Load(), canonical(hello.ServerName)
	if c := st.named(name, hello); c != nil {
		return c, nil
	}
	if s.auto != nil && s.auto.serves(name) {
		return s.auto.certificate(hello, name)
	}
	if len(st.list) > 0 {
		return usable(st.list, hello), nil
	}
	if s.auto != nil {
		if c := s.auto.first(); c != nil {
			return c, nil
		}
	}
	return nil, errNoCertificate
}
