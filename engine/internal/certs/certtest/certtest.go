// Package certtest makes certificate authorities and certificates for tests.
package certtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// A CA signs certificates.
type CA struct {
	Cert *x509.Certificate
	PEM  []byte
	key  crypto.Signer
}

// An Order is what a certificate is to be. Its zero value is one for localhost and 127.0.0.1, good for
// a day.
type Order struct {
	CommonName string
	Names      []string // empty, with no CommonName: localhost
	Emails     []string
	Client     bool // for clients, and not for servers
	NotBefore  time.Time
	NotAfter   time.Time
	RSA        int // bits; 0: ECDSA
	Extend     func(*x509.Certificate)
}

// A Pair is a certificate, with what signed it behind it if that is an intermediate, and its key.
type Pair struct {
	Cert, Key []byte // PEM
}

var serial atomic.Int64

// New makes an authority.
func New(tb testing.TB, name string) *CA {
	tb.Helper()
	return newCA(tb, name, nil)
}

// Intermediate makes one that ca has signed.
func (ca *CA) Intermediate(tb testing.TB, name string) *CA {
	tb.Helper()
	return newCA(tb, name, ca)
}

func newCA(tb testing.TB, name string, parent *CA) *CA {
	key := newKey(tb, 0)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial.Add(1)), Subject: pkix.Name{CommonName: name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(48 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	ca := &CA{key: key}
	if parent == nil {
		parent = &CA{Cert: template, key: key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent.Cert, key.Public(), parent.key)
	if err != nil {
		tb.Fatal(err)
	}
	if ca.Cert, err = x509.ParseCertificate(der); err != nil {
		tb.Fatal(err)
	}
	ca.PEM = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return ca
}

func newKey(tb testing.TB, bits int) (key crypto.Signer) {
	tb.Helper()
	var err error
	if bits > 0 {
		key, err = rsa.GenerateKey(rand.Reader, bits)
	} else {
		key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	}
	if err != nil {
		tb.Fatal(err)
	}
	return key
}

// Pool has ca alone.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.Cert)
	return pool
}

// Issue makes a certificate.
func (ca *CA) Issue(tb testing.TB, o Order) Pair {
	tb.Helper()
	key := newKey(tb, o.RSA)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial.Add(1)), Subject: pkix.Name{CommonName: o.CommonName},
		NotBefore: o.NotBefore, NotAfter: o.NotAfter, DNSNames: o.Names, EmailAddresses: o.Emails,
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	if o.Client {
		template.ExtKeyUsage[0] = x509.ExtKeyUsageClientAuth
	} else if len(o.Names) == 0 && o.CommonName == "" {
		template.DNSNames, template.IPAddresses = []string{"localhost"}, []net.IP{net.IPv4(127, 0, 0, 1)}
	}
	if o.NotBefore.IsZero() {
		template.NotBefore = time.Now().Add(-time.Hour)
	}
	if o.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(24 * time.Hour)
	}
	if o.Extend != nil {
		o.Extend(template)
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.Cert, key.Public(), ca.key)
	if err != nil {
		tb.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	p := Pair{
		Cert: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		Key:  pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}),
	}
	if ca.Cert.Issuer.String() != ca.Cert.Subject.String() {
		p.Cert = append(p.Cert, ca.PEM...)
	}
	return p
}

// TLS returns p as crypto/tls takes it.
func (p Pair) TLS(tb testing.TB) tls.Certificate {
	tb.Helper()
	c, err := tls.X509KeyPair(p.Cert, p.Key)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

// Write puts p into files NAME.pem and NAME.key of dir, and returns their names.
func (p Pair) Write(tb testing.TB, dir, name string) (cert, key string) {
	tb.Helper()
	return File(tb, dir, name+".pem", p.Cert), File(tb, dir, name+".key", p.Key)
}

// File writes a file of dir, as a whole, and returns its name.
func File(tb testing.TB, dir, name string, text []byte) string {
	tb.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		tb.Fatal(err)
	}
	if err := os.Rename(path+".new", path); err != nil {
		tb.Fatal(err)
	}
	return path
}
