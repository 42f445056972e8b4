package certs

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine/internal/certs/certtest"
)

// Each file that cannot be used is refused with the field, the file and what is wrong with it.
func TestPairRefused(t *testing.T) {
	t.Parallel()
	ca := certtest.New(t, "ca")
	good, other := ca.Issue(t, certtest.Order{}), ca.Issue(t, certtest.Order{})
	inter := ca.Intermediate(t, "inter").Issue(t, certtest.Order{})
	encrypted := pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")})
	short := ca.Issue(t, certtest.Order{RSA: 1024})
	for name, c := range map[string]struct {
		cert, key   []byte
		field, want string
	}{
		"empty certificate": {nil, good.Key, FieldCert, "is empty"},
		"no certificate":    {[]byte("hello\n"), good.Key, FieldCert, "holds no certificate"},
		"key as cert":       {good.Key, good.Key, FieldCert, "holds no certificate"},
		"cut off":           {good.Cert[:len(good.Cert)/2], good.Key, FieldCert, "cut off"},
		"chain cut off":     {inter.Cert[:len(inter.Cert)-40], inter.Key, FieldCert, "cut off, or damaged, behind 1 whole"},
		"damaged": {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("junk")}), good.Key, FieldCert,
			"certificate 1: malformed"},
		"empty key":     {good.Cert, []byte("\n"), FieldKey, "is empty"},
		"no key":        {good.Cert, good.Cert, FieldKey, "holds no key"},
		"half key":      {good.Cert, good.Key[:60], FieldKey, "cut off"},
		"encrypted key": {good.Cert, encrypted, FieldKey, "encrypted"},
		"wrong key":     {good.Cert, other.Key, FieldKey, "does not fit the certificate in c.pem"},
		"its CA first": {append(slices.Clone(other.Cert), good.Cert...), good.Key, FieldCert,
			"the key is that of certificate 2 in it: put that first"},
		"short RSA": {short.Cert, short.Key, FieldCert, "RSA key of 1024 bits"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parsePair(Pair{"c.pem", "k.pem"}, c.cert, c.key, time.Now())
			var e *Error
			if !errors.As(err, &e) || e.Field != c.field || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %s ... %s", err, c.field, c.want)
			}
			if file := map[string]string{FieldCert: "c.pem", FieldKey: "k.pem"}[c.field]; !strings.Contains(err.Error(), file) {
				t.Errorf("%v does not name %s", err, file)
			}
		})
	}
}

// Editors of Windows begin a file with a byte order mark.
func TestPairBehindMark(t *testing.T) {
	t.Parallel()
	ca := certtest.New(t, "ca")
	good := ca.Issue(t, certtest.Order{})
	behind := func(text []byte) []byte { return append([]byte("\ufeff"), text...) }
	if _, err := parsePair(Pair{"c.pem", "k.pem"}, behind(good.Cert), behind(good.Key), time.Now()); err != nil {
		t.Error(err)
	}
	if _, err := parseCAs(behind(ca.PEM)); err != nil {
		t.Error(err)
	}
}

// What may be used, but hardly was meant, is warned of.
func TestPairWarnings(t *testing.T) {
	t.Parallel()
	ca, foreign := certtest.New(t, "ca"), certtest.New(t, "foreign")
	now := time.Now()
	chain := ca.Issue(t, certtest.Order{})
	chain.Cert = append(chain.Cert, foreign.PEM...)
	for name, c := range map[string]struct {
		pair certtest.Pair
		want string // empty: none
	}{
		"good":        {ca.Issue(t, certtest.Order{}), ""},
		"RSA":         {ca.Issue(t, certtest.Order{RSA: 2048}), ""},
		"with chain":  {ca.Intermediate(t, "inter").Issue(t, certtest.Order{}), ""},
		"expired":     {ca.Issue(t, certtest.Order{NotBefore: now.Add(-time.Hour), NotAfter: now.Add(-time.Minute)}), "expired on"},
		"near":        {ca.Issue(t, certtest.Order{NotBefore: now.Add(-time.Hour * 24), NotAfter: now.Add(time.Hour)}), "expires on"},
		"not yet":     {ca.Issue(t, certtest.Order{NotBefore: now.Add(time.Hour)}), "not valid before"},
		"client's":    {ca.Issue(t, certtest.Order{Client: true, Names: []string{"a.example"}}), "not made for servers"},
		"nameless":    {ca.Issue(t, certtest.Order{CommonName: "a.example"}), "no name of a host"},
		"wrong chain": {chain, "did not sign"},
	} {
		t.Run(name, func(t *testing.T) {
			cert, key := c.pair.Write(t, t.TempDir(), "c")
			s, err := New(Config{Pairs: []Pair{{cert, key}}})
			if err != nil {
				t.Fatal(err)
			}
			switch text := strings.Join(s.Warnings(), "\n"); {
			case c.want == "" && text != "":
				t.Errorf("warned of %q", text)
			case !strings.Contains(text, c.want) || c.want != "" && !strings.HasPrefix(text, cert+": "):
				t.Errorf("got %q, want %q", text, c.want)
			}
		})
	}
}

func TestSelfSigned(t *testing.T) {
	t.Parallel()
	now := time.Now()
	cert, key, err := SelfSigned(now, "chat.Example.com.", "10.1.2.3", "[fd00::1]", "*.dev.example")
	if err != nil {
		t.Fatal(err)
	}
	l, err := parsePair(Pair{"c", "k"}, cert, key, now)
	if err != nil || len(l.warnings) > 0 {
		t.Fatal(err, l)
	}
	leaf := l.cert.Leaf
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	for _, name := range []string{"localhost", "127.0.0.1", "::1", "chat.example.com", "10.1.2.3", "fd00::1", "x.dev.example"} {
		if _, err := leaf.Verify(x509.VerifyOptions{Roots: pool, DNSName: name}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if leaf.IsCA || leaf.PublicKeyAlgorithm != x509.ECDSA || leaf.NotAfter.Sub(now) > 398*24*time.Hour {
		t.Errorf("%v, authority %v, until %v", leaf.PublicKeyAlgorithm, leaf.IsCA, leaf.NotAfter)
	}
	want := []string{"localhost", "chat.example.com", "127.0.0.1", "::1", "10.1.2.3"}
	cert, key, err = SelfSigned(now, "localhost", "Chat.example.com", "::1", "10.1.2.3", "chat.example.com", "127.0.0.1", "10.1.2.3", "::ffff:127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	if l, err = parsePair(Pair{"c", "k"}, cert, key, now); err != nil || !slices.Equal(allNames(l.cert.Leaf), want) {
		t.Errorf("with names twice: %q, %v, want %q", allNames(l.cert.Leaf), err, want)
	}
	for _, bad := range []string{"", "a b", "-x.example", "x..y", "a.*.example", strings.Repeat("a.", 130) + "example", "fe80::1%eth0"} {
		if _, _, err := SelfSigned(now, bad); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

func TestConfigRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca := certtest.New(t, "ca")
	cert, key := ca.Issue(t, certtest.Order{}).Write(t, dir, "c")
	caFile := certtest.File(t, dir, "ca.pem", ca.PEM)
	silent := certtest.File(t, dir, "silent.pem", ca.Issue(t, certtest.Order{
		Extend: func(c *x509.Certificate) { c.BasicConstraintsValid = false },
	}).Cert)
	pairs := []Pair{{cert, key}}
	autos := func(set func(*AutoConfig)) Config {
		a := AutoConfig{Hosts: []string{"a.example"}, Cache: dir}
		set(&a)
		return Config{Auto: a}
	}
	for name, c := range map[string]struct {
		config      Config
		field, want string
	}{
		"version":       {Config{Pairs: pairs, Min: 0x0302}, FieldMin, "0x302"},
		"no key":        {Config{Pairs: []Pair{{cert, ""}}}, FieldKey, cert},
		"no file":       {Config{Pairs: []Pair{{dir + "/none.pem", key}}}, FieldCert, "no such file"},
		"no key file":   {Config{Pairs: []Pair{{cert, dir + "/none.key"}}}, FieldKey, "no such file"},
		"directory":     {Config{Pairs: []Pair{{dir, key}}}, FieldCert, "is a directory"},
		"CA":            {Config{Pairs: pairs, ClientCA: cert}, FieldClientCA, "no certificate authority"},
		"CA by no word": {Config{Pairs: pairs, ClientCA: silent}, FieldClientCA, "no certificate authority"},
		"worker CA":     {Config{Pairs: pairs, WorkerClientCA: key}, FieldWorkerCA, "holds no certificate"},
		"CA missing":    {Config{Pairs: pairs, ClientCA: caFile + "x"}, FieldClientCA, "no such file"},
		"no cache":      {autos(func(a *AutoConfig) { a.Cache = "" }), FieldCache, "want a directory"},
		"cache file":    {autos(func(a *AutoConfig) { a.Cache = cert }), FieldCache, "not a directory"},
		"cache parent":  {autos(func(a *AutoConfig) { a.Cache = dir + "/a/b" }), FieldCache, "no directory to make it in"},
		"wildcard":      {autos(func(a *AutoConfig) { a.Hosts = []string{"*.example"} }), FieldAuto, "wildcards"},
		"localhost":     {autos(func(a *AutoConfig) { a.Hosts = []string{"localhost"} }), FieldAuto, "on the Internet"},
		"address":       {autos(func(a *AutoConfig) { a.Hosts = []string{"10.0.0.1"} }), FieldAuto, "on the Internet"},
		"twice":         {autos(func(a *AutoConfig) { a.Hosts = []string{"a.example", "A.example."} }), FieldAuto, "twice"},
		"plain":         {autos(func(a *AutoConfig) { a.Directory = "http://acme.example/dir" }), FieldService, "https"},
		"email":         {autos(func(a *AutoConfig) { a.Email = "nobody" }), FieldEmail, "address"},
		"no hosts":      {autos(func(a *AutoConfig) { a.Hosts = nil }), FieldCache, "without a host"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New(c.config)
			var e *Error
			if !errors.As(err, &e) || e.Field != c.field || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %s ... %s", err, c.field, c.want)
			}
			if strings.Count(err.Error(), c.field) > 1 || bytes.ContainsRune([]byte(err.Error()), '\n') {
				t.Errorf("clumsy: %v", err)
			}
		})
	}
	if _, err := New(Config{Pairs: pairs, ClientCA: caFile, WorkerClientCA: caFile}); err != nil {
		t.Error(err)
	}
}
