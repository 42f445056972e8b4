package login

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"time"
)

// Cert is the provider that knows clients by their certificates, which the gateway has verified: the
// user is the name that CertUser takes. A token says nothing. The login ends with the certificate.
type Cert struct{}

var _ Immediate = Cert{}

// Login implements Provider.
func (p Cert) Login(_ context.Context, r Request) (Identity, error) {
	return p.LoginNow(time.Now(), r)
}

// LoginNow implements Immediate. It fails with ErrNoCert, ErrExpired, ErrNoName or ErrIdentity.
func (Cert) LoginNow(now time.Time, r Request) (Identity, error) {
	if r.Cert == nil {
		return Identity{}, ErrNoCert
	}
	if now.After(r.Cert.NotAfter) {
		return Identity{}, ErrExpired
	}
	user, err := CertUser(r.Cert)
	if err != nil {
		return Identity{}, err
	}
	sum := sha256.Sum256(r.Cert.Raw)
	return Identity{User: user, Expires: r.Cert.NotAfter, Proof: max(binary.BigEndian.Uint64(sum[:]), 1)}, nil
}

// Unguessable implements Unguessable: a certificate that was verified cannot be guessed.
func (Cert) Unguessable() bool { return true }

// CertUser is the user's name in a certificate: the subject's common name, or, in one without, the first
// of its alternative names: of the e-mail addresses, then of the DNS names, then of the URIs. It fails
// with ErrNoName when there is none, and with ErrIdentity when it cannot be a user id.
func CertUser(cert *x509.Certificate) (string, error) {
	user := cert.Subject.CommonName
	switch {
	case user != "":
	case len(cert.EmailAddresses) > 0:
		user = cert.EmailAddresses[0]
	case len(cert.DNSNames) > 0:
		user = cert.DNSNames[0]
	case len(cert.URIs) > 0:
		user = cert.URIs[0].String()
	}
	if user == "" {
		return "", ErrNoName
	}
	return user, checkUser(user)
}
