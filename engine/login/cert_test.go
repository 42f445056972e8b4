package login

import (
	"context"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

// The user is the common name, or else the first of the e-mail addresses, DNS names and URIs.
func TestCert(t *testing.T) {
	now := time.Now()
	uri, err := url.Parse("spiffe://example/ann")
	if err != nil {
		t.Fatal(err)
	}
	named := func(name string) *x509.Certificate {
		return &x509.Certificate{Subject: pkix.Name{CommonName: name}, DNSNames: []string{"x.example"}}
	}
	for name, c := range map[string]struct {
		cert *x509.Certificate
		user string
		err  error
	}{
		"no certificate": {nil, "", ErrNoCert},
		"common name":    {named("ann"), "ann", nil},
		"e-mail":         {&x509.Certificate{EmailAddresses: []string{"a@b", "c@d"}, DNSNames: []string{"x"}}, "a@b", nil},
		"DNS":            {&x509.Certificate{DNSNames: []string{"x", "y"}, URIs: []*url.URL{uri}}, "x", nil},
		"URI":            {&x509.Certificate{URIs: []*url.URL{uri}}, "spiffe://example/ann", nil},
		"nameless":       {&x509.Certificate{Subject: pkix.Name{Organization: []string{"o"}}}, "", ErrNoName},
		"too long":       {named(strings.Repeat("x", MaxUserLen+1)), "", ErrIdentity},
		"control bytes":  {named("a\x00b"), "", ErrIdentity},
	} {
		if c.cert != nil {
			c.cert.Raw, c.cert.NotAfter = []byte(name), now.Add(time.Hour)
		}
		id, err := Cert{}.LoginNow(now, Request{Cert: c.cert, Token: "whatever"})
		if !errors.Is(err, c.err) || c.err != nil && !errors.Is(err, ErrRefused) || id.User != c.user {
			t.Errorf("%s: %q, %v", name, id.User, err)
		}
		if err == nil && (!id.Expires.Equal(c.cert.NotAfter) || id.Proof == 0) {
			t.Errorf("%s: %+v", name, id)
		}
	}
	old := named("ann")
	old.NotAfter = now.Add(-time.Second)
	if _, err := (Cert{}).Login(context.Background(), Request{Cert: old}); !errors.Is(err, ErrExpired) {
		t.Errorf("after its end: %v", err)
	}
	if p, err := Parse("cert"); err != nil || p != (Cert{}) {
		t.Errorf("%v, %v", p, err)
	}
	if _, err := Parse("cert:x"); err == nil {
		t.Error("cert with options was taken")
	}
}

// An HTTP service is shown the client's certificate, and nothing of it when there is none.
func TestHTTPCert(t *testing.T) {
	asked := make(chan string, 2)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		asked <- string(body)
		_, _ = io.WriteString(w, `{"user":"ann"}`)
	}))
	defer server.Close()
	p, err := NewHTTP(HTTPConfig{URL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	cert := &x509.Certificate{Raw: []byte("x"), Subject: pkix.Name{CommonName: "ann", Organization: []string{"o"}}}
	want := `"certificate":{"user":"ann","subject":"CN=ann,O=o","sha256":"2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"}`
	for _, r := range []Request{{Cert: cert}, {}} {
		if _, err := p.Login(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		if body := <-asked; strings.Contains(body, want) != (r.Cert != nil) || strings.Contains(body, "certificate") != (r.Cert != nil) {
			t.Errorf("asked %s, want %s", body, want)
		}
	}
}
