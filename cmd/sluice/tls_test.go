package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine/server"
)

// command runs sluice and returns its exit code, and what it prints.
func command(args ...string) (code int, out, errs string) {
	var o, e bytes.Buffer
	code = run(args, &o, &e)
	return code, o.String(), e.String()
}

// write puts text into a file of dir.
func write(t *testing.T, dir, name string, text []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// selfSigned writes a pair made at a time.
func selfSigned(t *testing.T, dir, name string, at time.Time) (cert, key string) {
	t.Helper()
	c, k, err := server.SelfSigned(at)
	if err != nil {
		t.Fatal(err)
	}
	return write(t, dir, name+".pem", c), write(t, dir, name+".key", k)
}

// What does not fit together is refused in one line with the flag, the file and what is wrong.
func TestTLSFlags(t *testing.T) {
	dir := t.TempDir()
	cert, key := selfSigned(t, dir, "a", time.Now())
	_, other := selfSigned(t, dir, "b", time.Now())
	text, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	half := write(t, dir, "half.pem", text[:len(text)/2])
	secure := []string{"--listen", "tls://127.0.0.1:0"}
	pair := []string{"--tls-cert", cert, "--tls-key", key}
	for name, c := range map[string]struct {
		args []string
		says []string
	}{
		"no certificate":      {secure, []string{"--listen tls://127.0.0.1:0", "--tls-cert", "--tls-auto", "--dev"}},
		"nor for workers":     {[]string{"--worker", "tls://127.0.0.1:0"}, []string{"--worker tls://127.0.0.1:0", "--tls-cert"}},
		"nor for operators":   {[]string{"--admin", "https://127.0.0.1:0"}, []string{"--admin https://127.0.0.1:0", "--tls-cert"}},
		"no listener":         {pair, []string{"--tls-cert", "no listener uses TLS"}},
		"two keys":            {append(append([]string{"--tls-key", other}, secure...), pair...), []string{"--tls-cert: 1 files, and 2 of --tls-key"}},
		"no file":             {append([]string{"--tls-cert", dir + "/none", "--tls-key", key}, secure...), []string{"--tls-cert: ", dir + "/none", "no such file"}},
		"wrong key":           {append([]string{"--tls-cert", cert, "--tls-key", other}, secure...), []string{"--tls-key: " + other, "does not fit", cert}},
		"half":                {append([]string{"--tls-cert", half, "--tls-key", key}, secure...), []string{"--tls-cert: " + half, "cut off"}},
		"no authority":        {append(append([]string{"--tls-client-ca", cert}, pair...), secure...), []string{"--tls-client-ca: " + cert, "no certificate authority"}},
		"CA wanted":           {append([]string{"--listen", "tls://127.0.0.1:0?client-cert=required"}, pair...), []string{"?client-cert=required", "--tls-client-ca"}},
		"CA and plain":        {append([]string{"--listen", "tcp://127.0.0.1:0?tls=auto", "--tls-client-ca", cert}, pair...), []string{"?tls=auto", "client-cert=optional"}},
		"login cert, no CA":   {append(append([]string{"--login", "cert"}, pair...), secure...), []string{"--login: cert", "--tls-client-ca"}},
		"no cache":            {append([]string{"--tls-auto", "a.example"}, secure...), []string{"--tls-auto-cache: want a directory"}},
		"cache without hosts": {append(append([]string{"--tls-auto-cache", dir}, pair...), secure...), []string{"--tls-auto-cache", "without a host"}},
		"wildcard":            {append([]string{"--tls-auto", "*.example", "--tls-auto-cache", dir}, secure...), []string{"--tls-auto: ", "wildcards"}},
		"plain service":       {append([]string{"--tls-auto", "a.example", "--tls-auto-cache", dir, "--tls-auto-directory", "http://b.example"}, secure...), []string{"--tls-auto-directory: ", "https"}},
	} {
		args := append([]string{"check", "--login", "open"}, c.args...)
		if name == "login cert, no CA" {
			args = append([]string{"check"}, c.args...)
		}
		code, _, errs := command(args...)
		if code != exitUsage || strings.Count(errs, "\n") != 1 {
			t.Errorf("%s: exit code %d, %q", name, code, errs)
		}
		for _, want := range c.says {
			if !strings.Contains(errs, want) {
				t.Errorf("%s: %q, want %q in it", name, errs, want)
			}
		}
	}
}

// check says ok to what serve would take, and warns of certificates that clients may not take.
func TestTLSCheck(t *testing.T) {
	dir := t.TempDir()
	cert, key := selfSigned(t, dir, "a", time.Now())
	old, oldKey := selfSigned(t, dir, "old", time.Now().Add(-2*365*24*time.Hour))
	for _, args := range [][]string{
		{"--dev", "--listen", "wss://127.0.0.1:0"},
		{"--dev", "--worker", "tls://127.0.0.1:0"},
		{"--dev", "--admin", "https://127.0.0.1:0"},
		{"--dev", "--listen", "tcp://127.0.0.1:0?tls=auto", "--tls-cert", cert, "--tls-key", key, "--tls-min", "1.3"},
		{"--login", "open", "--listen", "tls://127.0.0.1:0", "--tls-auto", "a.example", "--tls-auto-cache", filepath.Join(dir, "acme")},
	} {
		if code, out, errs := command(append([]string{"check", "--memory", "off"}, args...)...); code != exitOK || out != "ok\n" || errs != "" {
			t.Errorf("%v: exit code %d, %q, %q", args, code, out, errs)
		}
	}
	code, _, errs := command("check", "--dev", "--listen", "tls://127.0.0.1:0", "--tls-cert", old, "--tls-key", oldKey)
	if code != exitOK || !strings.Contains(errs, old+": expired on ") {
		t.Errorf("exit code %d, %q", code, errs)
	}
}

func TestCert(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	if code, _, errs := command("cert"); code != exitUsage || !strings.Contains(errs, "--dev") {
		t.Errorf("without --dev: exit code %d, %q", code, errs)
	}
	code, out, errs := command("cert", "--dev", "chat.test", "10.1.2.3")
	if code != exitOK || errs != "" {
		t.Fatalf("exit code %d, %q", code, errs)
	}
	pair, err := tls.LoadX509KeyPair("cert.pem", "key.pem")
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"localhost", "127.0.0.1", "::1", "chat.test", "10.1.2.3"} {
		if err := pair.Leaf.VerifyHostname(host); err != nil {
			t.Error(err)
		}
	}
	text, err := os.ReadFile("cert.pem")
	if err != nil || !strings.Contains(out, server.CertFingerprint(text)) {
		t.Errorf("%q has no fingerprint, %v", out, err)
	}
	for name, mode := range map[string]os.FileMode{"key.pem": 0o600, "cert.pem": 0o644} {
		if info, err := os.Stat(name); err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	for _, gone := range []string{"", "cert.pem", "key.pem"} { // one of the two is enough
		if gone != "" {
			if err := os.Rename(gone, "saved"); err != nil {
				t.Fatal(err)
			}
		}
		if code, _, errs := command("cert", "--dev"); code != exitUsage || !strings.Contains(errs, "--force") {
			t.Errorf("without %q: exit code %d, %q", gone, code, errs)
		}
		if gone == "" {
			continue
		}
		if _, err := os.Stat(gone); err == nil {
			t.Errorf("%s was written beside the other", gone)
		}
		if err := os.Rename("saved", gone); err != nil {
			t.Fatal(err)
		}
	}
	if after, _ := os.ReadFile("cert.pem"); !bytes.Equal(after, text) {
		t.Error("cert.pem was replaced")
	}
	if code, _, errs := command("cert", "--dev", "--force"); code != exitOK {
		t.Errorf("exit code %d, %q", code, errs)
	}
	if _, err := tls.LoadX509KeyPair("cert.pem", "key.pem"); err != nil {
		t.Error(err)
	}
	if after, _ := os.ReadFile("cert.pem"); bytes.Equal(after, text) {
		t.Error("--force replaces nothing")
	}
	for _, args := range [][]string{{"a b"}, {"--cert", "x", "--key", "x"}, {"--cert", "none/x"}} {
		if code, _, _ := command(append([]string{"cert", "--dev", "--force"}, args...)...); code == exitOK {
			t.Errorf("%v was taken", args)
		}
	}
	if left, _ := filepath.Glob("*"); len(left) != 2 {
		t.Errorf("left behind: %v", left)
	}
	sock := socketFile(t, "sock")
	for _, args := range [][]string{{"--cert", sock}, {"--key", sock}} {
		code, _, errs := command(append([]string{"cert", "--dev", "--force"}, args...)...)
		if info, err := os.Stat(sock); code != exitUsage || err != nil || info.Mode().Type() != os.ModeSocket || !strings.Contains(errs, sock) {
			t.Errorf("%v: exit code %d, %q, %v: want a socket left alone", args, code, errs, err)
		}
	}
}

// health asks over https, of a gateway whose certificate it is told to trust.
func TestHealthHTTPS(t *testing.T) {
	dir := t.TempDir()
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) }))
	defer s.Close()
	own := write(t, dir, "own.pem", pemOf(s.Certificate()))
	other, _ := selfSigned(t, dir, "other", time.Now())
	for name, c := range map[string]struct {
		args []string
		code int
		says string
	}{
		"trusted":     {[]string{"--admin", s.URL, "--admin-ca", own}, exitOK, ""},
		"the system":  {[]string{"--admin", s.URL}, exitFailed, "unknown authority"},
		"another":     {[]string{"--admin", s.URL, "--admin-ca", other}, exitFailed, "certificate"},
		"plain":       {[]string{"--admin", "http://127.0.0.1:1", "--admin-ca", own}, exitUsage, "not https"},
		"no file":     {[]string{"--admin", s.URL, "--admin-ca", dir + "/none"}, exitUsage, "--admin-ca"},
		"no PEM":      {[]string{"--admin", s.URL, "--admin-ca", write(t, dir, "x", []byte("x"))}, exitUsage, "no certificate"},
		"no such URL": {[]string{"--admin", "ftp://x"}, exitUsage, "https://HOST:PORT"},
	} {
		if code, _, errs := command(append([]string{"health"}, c.args...)...); code != c.code || !strings.Contains(errs, c.says) {
			t.Errorf("%s: exit code %d, %q", name, code, errs)
		}
	}
}

func pemOf(cert *x509.Certificate) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
}
