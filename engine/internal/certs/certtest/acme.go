package certtest

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/asn1"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// An ACME is a small service as of RFC 8555: accounts with ES256 keys, orders of one name, the
// challenge tls-alpn-01. It connects to Target, whatever the name is, as to port 443 of it.
type ACME struct {
	URL string // of the directory
	CA  *CA

	tb     testing.TB
	mu     sync.Mutex
	target string
	hold   chan struct{} // non-nil: validation waits until it is closed
	fault  Fault
	nonces map[string]bool
	keys   map[string]*ecdsa.PublicKey // by account URL
	orders []*acmeOrder
	stats  ACMEStats
}

// ACMEStats are what the service has done.
type ACMEStats struct {
	Accounts, Orders, Issued int
	Failed                   []string // why validations failed
}

type acmeOrder struct {
	host, token, status, keyAuth string
	chain                        []byte
}

// NewACME runs a service until the test ends.
func NewACME(tb testing.TB) *ACME {
	a := &ACME{tb: tb, CA: New(tb, "acme"), nonces: make(map[string]bool), keys: make(map[string]*ecdsa.PublicKey)}
	s := httptest.NewServer(http.HandlerFunc(a.serve))
	tb.Cleanup(s.Close)
	a.URL = s.URL
	return a
}

// Target sets where names are looked for.
func (a *ACME) Target(address string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.target = address
}

// Hold has validations wait until release is called.
func (a *ACME) Hold() (release func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	hold := make(chan struct{})
	a.hold = hold
	return func() { close(hold) }
}

// Break has orders that come end with a fault; the empty one has them succeed again.
func (a *ACME) Break(f Fault) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fault = f
}

// A Fault is what an ACME service can get wrong, or refuse.
type Fault string

// The faults.
const (
	Forbidden   Fault = "forbidden"    // the host is not to have a certificate
	RateLimited Fault = "rate limited" // there were too many orders: in an hour again
	OrderOver   Fault = "order over"   // the order's time was over before the host was looked at
	Unproven    Fault = "unproven"     // the host is somewhere else than the gateway
	Expired     Fault = "expired"      // the certificate has ended
	AnotherKey  Fault = "another key"  // the certificate is for a key of somebody else
	NoPEM       Fault = "no PEM"       // the answer is no certificate
)

// Stats returns what it has done so far.
func (a *ACME) Stats() ACMEStats {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.stats
}

var b64 = base64.RawURLEncoding

// A signed is a request's body: RFC 7515, flattened.
type signed struct {
	Protected, Payload, Signature string
}

type protected struct {
	Alg, Nonce, URL, Kid string
	JWK                  *struct{ Kty, Crv, X, Y string }
}

// open checks the signature and the nonce of a request.
func (a *ACME) open(r *http.Request) (head protected, key *ecdsa.PublicKey, payload []byte, err error) {
	var body signed
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		return head, nil, nil, err
	}
	text, err := b64.DecodeString(body.Protected)
	if err != nil {
		return head, nil, nil, err
	}
	if err := json.Unmarshal(text, &head); err != nil {
		return head, nil, nil, err
	}
	switch {
	case head.Alg != "ES256":
		return head, nil, nil, errors.New("alg " + head.Alg)
	case !a.nonces[head.Nonce]:
		return head, nil, nil, errors.New("nonce")
	case head.JWK != nil:
		x, _ := b64.DecodeString(head.JWK.X)
		y, _ := b64.DecodeString(head.JWK.Y)
		point := append(append([]byte{4}, x...), y...)
		if key, err = ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point); err != nil {
			return head, nil, nil, err
		}
	default:
		if key = a.keys[head.Kid]; key == nil {
			return head, nil, nil, errors.New("no such account")
		}
	}
	delete(a.nonces, head.Nonce)
	signature, err := b64.DecodeString(body.Signature)
	if err != nil || len(signature) != 64 {
		return head, nil, nil, errors.New("signature")
	}
	digest := sha256.Sum256([]byte(body.Protected + "." + body.Payload))
	r1, s1 := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
	if !ecdsa.Verify(key, digest[:], r1, s1) {
		return head, nil, nil, errors.New("signature does not match")
	}
	payload, err = b64.DecodeString(body.Payload)
	return head, key, payload, err
}

func (a *ACME) serve(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	nonce := rand.Text()
	a.nonces[nonce] = true
	w.Header().Set("Replay-Nonce", nonce)
	answer := func(status int, v any) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(v)
	}
	type object map[string]any
	switch {
	case r.URL.Path == "/":
		answer(http.StatusOK, object{
			"newNonce": a.URL + "/nonce", "newAccount": a.URL + "/account", "newOrder": a.URL + "/order",
			"revokeCert": a.URL + "/revoke", "keyChange": a.URL + "/key",
		})
		return
	case r.URL.Path == "/nonce":
		w.WriteHeader(http.StatusOK)
		return
	}
	head, key, payload, err := a.open(r)
	if err == nil && head.URL != a.URL+r.URL.Path {
		err = errors.New("url")
	}
	if err != nil {
		answer(http.StatusBadRequest, object{"type": "urn:ietf:params:acme:error:malformed", "detail": err.Error()})
		return
	}
	if r.URL.Path == "/account" {
		a.stats.Accounts++
		account := fmt.Sprintf("%s/account/%d", a.URL, a.stats.Accounts)
		a.keys[account] = key
		w.Header().Set("Location", account)
		answer(http.StatusCreated, object{"status": "valid"})
		return
	}
	if r.URL.Path == "/order" {
		var asked struct {
			Identifiers []struct{ Type, Value string }
		}
		if json.Unmarshal(payload, &asked) != nil || len(asked.Identifiers) != 1 {
			answer(http.StatusBadRequest, object{"type": "urn:ietf:params:acme:error:malformed"})
			return
		}
		if a.fault == Forbidden {
			answer(http.StatusForbidden, object{"type": "urn:ietf:params:acme:error:rejectedIdentifier", "detail": "not\nthis \x1b[31mhost"})
			return
		}
		if a.fault == RateLimited {
			w.Header().Set("Retry-After", "3600")
			answer(http.StatusTooManyRequests, object{"type": "urn:ietf:params:acme:error:rateLimited", "detail": "too many new orders"})
			return
		}
		a.stats.Orders++
		o := &acmeOrder{host: asked.Identifiers[0].Value, token: rand.Text(), status: "pending"}
		if a.fault == OrderOver {
			o.status = "invalid"
		}
		a.orders = append(a.orders, o)
	}
	kind, number, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	n := len(a.orders) - 1
	if number != "" {
		if _, err := fmt.Sscan(number, &n); err != nil {
			n = -1
		}
	}
	if n < 0 || n >= len(a.orders) {
		answer(http.StatusNotFound, object{"type": "urn:ietf:params:acme:error:malformed"})
		return
	}
	o := a.orders[n]
	url := func(kind string) string { return fmt.Sprintf("%s/%s/%d", a.URL, kind, n) }
	authorized := map[string]string{"ready": "valid", "valid": "valid", "invalid": "invalid"}[o.status]
	if authorized == "" {
		authorized = "pending"
	}
	challenge := object{"type": "tls-alpn-01", "url": url("challenge"), "token": o.token, "status": authorized}
	switch kind {
	case "authz":
		answer(http.StatusOK, object{
			"status": authorized, "identifier": object{"type": "dns", "value": o.host},
			"challenges": []object{{"type": "http-01", "url": url("http"), "token": o.token, "status": "pending"}, challenge},
		})
		return
	case "challenge":
		o.keyAuth = o.token + "." + thumbprint(key)
		target := a.target
		if a.fault == Unproven {
			target = strings.TrimPrefix(a.URL, "http://") // a port where nobody shows the challenge
		}
		go a.validate(o, target, a.hold)
		answer(http.StatusOK, challenge)
		return
	case "finalize":
		if err := a.issue(o, payload); err != nil {
			answer(http.StatusBadRequest, object{"type": "urn:ietf:params:acme:error:badCSR", "detail": err.Error()})
			return
		}
	case "cert":
		w.Header().Set("Content-Type", "application/pem-certificate-chain")
		_, _ = w.Write(o.chain)
		return
	}
	w.Header().Set("Location", url("order"))
	status := http.StatusOK
	if r.URL.Path == "/order" {
		status = http.StatusCreated
	}
	answer(status, object{
		"status": o.status, "identifiers": []object{{"type": "dns", "value": o.host}},
		"authorizations": []string{url("authz")}, "finalize": url("finalize"), "certificate": url("cert"),
	})
}

// thumbprint is RFC 7638's.
func thumbprint(key *ecdsa.PublicKey) string {
	point, _ := key.Bytes()
	text := fmt.Sprintf(`{"crv":"P-256","kty":"EC","x":"%s","y":"%s"}`, b64.EncodeToString(point[1:33]), b64.EncodeToString(point[33:]))
	sum := sha256.Sum256([]byte(text))
	return b64.EncodeToString(sum[:])
}

// validate looks whether the name's host knows the challenge: RFC 8737.
func (a *ACME) validate(o *acmeOrder, target string, hold chan struct{}) {
	if hold != nil {
		<-hold
	}
	err := shows(target, o.host, o.keyAuth)
	a.mu.Lock()
	defer a.mu.Unlock()
	if o.status = "ready"; err != nil {
		o.status = "invalid"
		a.stats.Failed = append(a.stats.Failed, err.Error())
	}
}

func shows(target, host, keyAuth string) error {
	d := net.Dialer{Timeout: 10 * time.Second}
	conn, err := tls.DialWithDialer(&d, "tcp", target, &tls.Config{
		ServerName: host, NextProtos: []string{"acme-tls/1"}, InsecureSkipVerify: true, // it is self-signed
	})
	if err != nil {
		return err
	}
	defer conn.Close()
	state := conn.ConnectionState()
	if state.NegotiatedProtocol != "acme-tls/1" {
		return fmt.Errorf("ALPN %q", state.NegotiatedProtocol)
	}
	leaf := state.PeerCertificates[0]
	if len(leaf.DNSNames) != 1 || leaf.DNSNames[0] != host {
		return fmt.Errorf("names %v", leaf.DNSNames)
	}
	sum := sha256.Sum256([]byte(keyAuth))
	want, _ := asn1.Marshal(sum[:])
	for _, e := range leaf.Extensions {
		if e.Id.Equal(asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 1, 31}) && e.Critical && bytes.Equal(e.Value, want) {
			return nil
		}
	}
	return errors.New("no such challenge")
}

func (a *ACME) issue(o *acmeOrder, payload []byte) error {
	var asked struct{ CSR string }
	if err := json.Unmarshal(payload, &asked); err != nil {
		return err
	}
	der, err := b64.DecodeString(asked.CSR)
	if err != nil {
		return err
	}
	csr, err := x509.ParseCertificateRequest(der)
	switch {
	case err != nil:
		return err
	case o.status != "ready":
		return errors.New("the order is " + o.status)
	case csr.CheckSignature() != nil || len(csr.DNSNames) != 1 || csr.DNSNames[0] != o.host:
		return errors.New("another name")
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial.Add(1)), DNSNames: csr.DNSNames,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(90 * 24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	public := csr.PublicKey
	switch a.fault {
	case Expired:
		template.NotBefore, template.NotAfter = time.Now().Add(-48*time.Hour), time.Now().Add(-24*time.Hour)
	case AnotherKey:
		public = a.CA.Cert.PublicKey
	}
	if der, err = x509.CreateCertificate(rand.Reader, template, a.CA.Cert, public, a.CA.key); err != nil {
		return err
	}
	o.chain = append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), a.CA.PEM...)
	if a.fault == NoPEM {
		o.chain = []byte("<html>busy</html>")
	}
	o.status = "valid"
	a.stats.Issued++
	return nil
}
