package certs

import (
	"crypto/tls"
	"strings"
	"testing"

	"github.com/sluicenet/sluice/engine/internal/certs/certtest"
)

// The name that the client says decides; the first pair is for the rest.
func TestSNI(t *testing.T) {
	t.Parallel()
	ca, dir := certtest.New(t, "ca"), t.TempDir()
	var config Config
	for i, names := range [][]string{
		{"default.example"}, {"a.example", "www.a.example"}, {"*.b.example"}, {"x.b.example"},
	} {
		cert, key := ca.Issue(t, certtest.Order{CommonName: string(rune('0' + i)), Names: names}).Write(t, dir, string(rune('0'+i)))
		config.Pairs = append(config.Pairs, Pair{cert, key})
	}
	server := newStore(t, config).TLS(Use{})
	for name, want := range map[string]string{
		"":                "0",
		"default.example": "0",
		"unknown.example": "0",
		"a.example":       "1",
		"WWW.A.Example":   "1",
		"b.example":       "0", // the star is for one label
		"y.b.example":     "2",
		"z.y.b.example":   "0",
		"x.b.example":     "3", // the very name counts before the wildcard
	} {
		l := connect(t, server, &tls.Config{ServerName: name, InsecureSkipVerify: true})
		if got := l.leaf(t).Subject.CommonName; got != want {
			t.Errorf("%q: got pair %s, want %s", name, got, want)
		}
	}
}

// Of an RSA and an ECDSA pair for one name the client gets what it can check.
func TestKeyKinds(t *testing.T) {
	t.Parallel()
	ca, dir := certtest.New(t, "ca"), t.TempDir()
	names := []string{"a.example"}
	ecdsa, ecdsaKey := ca.Issue(t, certtest.Order{CommonName: "ecdsa", Names: names}).Write(t, dir, "e")
	rsa, rsaKey := ca.Issue(t, certtest.Order{CommonName: "rsa", Names: names, RSA: 2048}).Write(t, dir, "r")
	server := newStore(t, Config{Pairs: []Pair{{ecdsa, ecdsaKey}, {rsa, rsaKey}}}).TLS(Use{})
	for suite, want := range map[uint16]string{
		tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256:   "rsa",
		tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256: "ecdsa",
	} {
		for _, name := range []string{"a.example", "other.example", ""} {
			l := connect(t, server, &tls.Config{
				ServerName: name, InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, CipherSuites: []uint16{suite},
			})
			if got := l.leaf(t).Subject.CommonName; got != want {
				t.Errorf("%s, %q: got %s", tls.CipherSuiteName(suite), name, got)
			}
		}
	}
}

// No version, suite or curve below the "intermediate" list is spoken.
func TestIntermediate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := certtest.New(t, "ca").Issue(t, certtest.Order{RSA: 2048}).Write(t, dir, "c")
	config := Config{Pairs: []Pair{{cert, key}}}
	from12 := newStore(t, config)
	config.Min = tls.VersionTLS13
	from13 := newStore(t, config)
	weak := []uint16{
		tls.TLS_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA, tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA,
	}
	for name, c := range map[string]struct {
		store  *Store
		client *tls.Config
		ok     bool
	}{
		"1.0":           {from12, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10}, false},
		"1.1":           {from12, &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}, false},
		"1.2":           {from12, &tls.Config{MaxVersion: tls.VersionTLS12}, true},
		"1.3":           {from12, &tls.Config{MinVersion: tls.VersionTLS13}, true},
		"1.2, from 1.3": {from13, &tls.Config{MaxVersion: tls.VersionTLS12}, false},
		"1.3, from 1.3": {from13, &tls.Config{}, true},
		"weak suites":   {from12, &tls.Config{MaxVersion: tls.VersionTLS12, CipherSuites: weak}, false},
		"P-521":         {from12, &tls.Config{CurvePreferences: []tls.CurveID{tls.CurveP521}}, false},
		"P-384":         {from12, &tls.Config{CurvePreferences: []tls.CurveID{tls.CurveP384}}, true},
	} {
		c.client.InsecureSkipVerify = true
		l := connect(t, c.store.TLS(Use{}), c.client)
		if (l.clientErr == nil) != c.ok {
			t.Errorf("%s: client %v, server %v", name, l.clientErr, l.serverErr)
		}
	}
}

// A client that offers protocols must offer one that is spoken; who offers none is taken.
func TestALPN(t *testing.T) {
	t.Parallel()
	cert, key := certtest.New(t, "ca").Issue(t, certtest.Order{}).Write(t, t.TempDir(), "c")
	s := newStore(t, Config{Pairs: []Pair{{cert, key}}})
	for _, c := range []struct {
		serves, offers []string
		want           string // "-": refused
	}{
		{[]string{HTTP1}, nil, ""},
		{[]string{HTTP1}, []string{"http/1.1"}, "http/1.1"},
		{[]string{HTTP1}, []string{"h2", "http/1.1"}, "http/1.1"},
		{[]string{HTTP1}, []string{"h2"}, "-"},
		{[]string{HTTP1}, []string{"acme-tls/1"}, "-"}, // without ACME hosts
		{[]string{HTTP1, "gosoc"}, []string{"gosoc"}, "gosoc"},
		{[]string{HTTP1, "gosoc"}, []string{"gosoc", "http/1.1"}, "http/1.1"},
		{nil, []string{"anything"}, ""},
	} {
		l := connect(t, s.TLS(Use{Protocols: c.serves, Challenges: true}), &tls.Config{InsecureSkipVerify: true, NextProtos: c.offers})
		switch {
		case c.want == "-":
			if l.clientErr == nil || !strings.Contains(l.clientErr.Error(), "no application protocol") {
				t.Errorf("%v for %v: %v, want no_application_protocol", c.offers, c.serves, l.clientErr)
			}
		case l.clientErr != nil || l.client.ConnectionState().NegotiatedProtocol != c.want:
			t.Errorf("%v for %v: %q, %v", c.offers, c.serves, l.client.ConnectionState().NegotiatedProtocol, l.clientErr)
		}
	}
}
