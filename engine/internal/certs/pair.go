package certs

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sluicenet/sluice/internal/utf8bom"
)

// maxFile bounds a file of certificates or of a key, in bytes.
const maxFile = 1 << 20

// leastRSA is the shortest RSA key of the "intermediate" list, in bits.
const leastRSA = 2048

// A loaded is a certificate in force.
type loaded struct {
	cert     *tls.Certificate
	file     string    // empty: from memory
	notAfter time.Time // the earliest of the chain
	lifetime time.Duration
	warnings []string
	warned   time.Time // when its end was last logged; guarded by Store.mu
}

// parsePair reads a pair from the text of its files.
func parsePair(p Pair, cert, key []byte, now time.Time) (*loaded, error) {
	cert, key = utf8bom.Trim(cert), utf8bom.Trim(key)
	chain, err := parseChain(cert)
	if err != nil {
		return nil, wrong(FieldCert, "%s: %w", p.Cert, err)
	}
	if err := checkKeyText(key); err != nil {
		return nil, wrong(FieldKey, "%s: %w", p.Key, err)
	}
	made, err := tls.X509KeyPair(cert, key)
	if err != nil {
		what := strings.TrimPrefix(err.Error(), "tls: ")
		if strings.Contains(what, "does not match") {
			if n := certificateOf(key, chain); n > 0 {
				return nil, wrong(FieldCert, "%s: the key is that of certificate %d in it: put that first, and behind it who signed it", p.Cert, n)
			}
			return nil, wrong(FieldKey, "%s: the key does not fit the certificate in %s", p.Key, p.Cert)
		}
		return nil, wrong(FieldKey, "%s: %s", p.Key, what)
	}
	l, err := newLoaded(&made, chain, now)
	if err != nil {
		return nil, wrong(FieldCert, "%s: %w", p.Cert, err)
	}
	l.file = p.Cert
	return l, nil
}

// certificateOf returns which certificate a key belongs to, counted from 1; 0: none of them.
func certificateOf(key []byte, chain []*x509.Certificate) int {
	for i, c := range chain {
		one := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Raw})
		if _, err := tls.X509KeyPair(one, key); err == nil {
			return i + 1
		}
	}
	return 0
}

// newLoaded checks a certificate. chain is it, parsed.
func newLoaded(cert *tls.Certificate, chain []*x509.Certificate, now time.Time) (*loaded, error) {
	leaf := chain[0]
	cert.Leaf = leaf
	if err := checkStrength(leaf); err != nil {
		return nil, err
	}
	l := &loaded{cert: cert, notAfter: leaf.NotAfter, lifetime: leaf.NotAfter.Sub(leaf.NotBefore)}
	for i, c := range chain {
		if c.NotAfter.Before(l.notAfter) {
			l.notAfter = c.NotAfter
		}
		if i > 0 && chain[i-1].CheckSignatureFrom(c) != nil {
			l.warn("certificate %d of the chain did not sign the one before it", i+1)
		}
	}
	if now.Before(leaf.NotBefore) {
		l.warn("not valid before %s", leaf.NotBefore.UTC().Format(time.RFC3339))
	}
	if len(leaf.ExtKeyUsage) > 0 && !slices.ContainsFunc(leaf.ExtKeyUsage, func(u x509.ExtKeyUsage) bool {
		return u == x509.ExtKeyUsageServerAuth || u == x509.ExtKeyUsageAny
	}) {
		l.warn("not made for servers: its extended key usage lacks serverAuth")
	}
	if len(leaf.DNSNames) == 0 && len(leaf.IPAddresses) == 0 {
		l.warn("holds no name of a host: no client will find that it is for this one")
	}
	return l, nil
}

func (l *loaded) warn(format string, args ...any) {
	l.warnings = append(l.warnings, fmt.Sprintf(format, args...))
}

// parseChain reads the certificates of a file, all of which must be whole.
func parseChain(text []byte) ([]*x509.Certificate, error) {
	var chain []*x509.Certificate
	rest := text
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %s", len(chain)+1, strings.TrimPrefix(err.Error(), "x509: "))
		}
		chain = append(chain, c)
	}
	switch {
	case bytes.Contains(rest, []byte("-----BEGIN")):
		return nil, fmt.Errorf("cut off, or damaged, behind %d whole certificates", len(chain))
	case len(chain) > 0:
		return chain, nil
	case len(bytes.TrimSpace(text)) == 0:
		return nil, errors.New("is empty")
	}
	return nil, errors.New("holds no certificate in PEM (-----BEGIN CERTIFICATE-----)")
}

// checkKeyText says what tls.X509KeyPair would not say in words that help.
func checkKeyText(text []byte) error {
	block, rest := pem.Decode(text)
	for block != nil && !strings.HasSuffix(block.Type, "PRIVATE KEY") {
		block, rest = pem.Decode(rest)
	}
	switch {
	case block == nil && len(bytes.TrimSpace(text)) == 0:
		return errors.New("is empty")
	case block == nil && bytes.Contains(rest, []byte("-----BEGIN")):
		return errors.New("cut off, or damaged")
	case block == nil:
		return errors.New("holds no key in PEM (-----BEGIN PRIVATE KEY-----)")
	case block.Type == "ENCRYPTED PRIVATE KEY", strings.Contains(block.Headers["Proc-Type"], "ENCRYPTED"):
		return errors.New("the key is encrypted: want it without a passphrase")
	}
	return nil
}

// checkStrength refuses what is below the "intermediate" list.
func checkStrength(leaf *x509.Certificate) error {
	switch key := leaf.PublicKey.(type) {
	case *rsa.PublicKey:
		if n := key.N.BitLen(); n < leastRSA {
			return fmt.Errorf("an RSA key of %d bits, want %d or more", n, leastRSA)
		}
	case *ecdsa.PublicKey:
		if key.Curve == elliptic.P224() {
			return errors.New("an ECDSA key on P-224, want P-256 or P-384")
		}
	case ed25519.PublicKey:
	default:
		return fmt.Errorf("a key of a kind that TLS does not use: %v", leaf.PublicKeyAlgorithm)
	}
	switch leaf.SignatureAlgorithm {
	case x509.MD2WithRSA, x509.MD5WithRSA, x509.SHA1WithRSA, x509.ECDSAWithSHA1, x509.DSAWithSHA1:
		return fmt.Errorf("signed with %v, which clients do not trust any more", leaf.SignatureAlgorithm)
	}
	return nil
}

// parseCAs reads a file of certificate authorities.
func parseCAs(text []byte) (*x509.CertPool, error) {
	list, err := parseChain(utf8bom.Trim(text))
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	for i, c := range list {
		if !c.IsCA && (c.BasicConstraintsValid || c.Version >= 3) { // earlier ones do not say
			return nil, fmt.Errorf("certificate %d, of %q, is no certificate authority's", i+1, c.Subject.CommonName)
		}
		pool.AddCert(c)
	}
	return pool, nil
}

// names are the hosts that a certificate is for.
func names(leaf *x509.Certificate) []string {
	if len(leaf.DNSNames) > 0 || len(leaf.IPAddresses) > 0 || leaf.Subject.CommonName == "" {
		return leaf.DNSNames
	}
	return []string{leaf.Subject.CommonName}
}

// allNames are the names of hosts, and the addresses, that a certificate is for.
func allNames(leaf *x509.Certificate) []string {
	return slices.Concat(names(leaf), texts(leaf.IPAddresses))
}

// Fingerprint is the SHA-256 of a certificate in DER, as openssl x509 -fingerprint prints it.
func Fingerprint(der []byte) string {
	sum := sha256.Sum256(der)
	text := strings.ToUpper(hex.EncodeToString(sum[:]))
	var b strings.Builder
	for i := 0; i < len(text); i += 2 {
		if i > 0 {
			b.WriteByte(':')
		}
		b.WriteString(text[i : i+2])
	}
	return b.String()
}
