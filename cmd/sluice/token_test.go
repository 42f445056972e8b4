package main

import (
	"bytes"
	"context"
	"encoding/hex"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine/login"
	"github.com/sluicenet/sluice/engine/server"
)

// startGateway runs a gateway that serves operators, and returns where.
func startGateway(t *testing.T, kind string, dev bool, key string) *server.Server {
	t.Helper()
	p, err := login.Parse(kind)
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.New(server.Config{
		Listen:  []string{"tcp://127.0.0.1:0"},
		Dev:     dev,
		Gateway: server.GatewayConfig{Login: p},
		Admin:   server.AdminConfig{Address: "127.0.0.1:0", APIKey: key},
	})
	if err == nil {
		err = s.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Stop(context.Background()) })
	return s
}

// sluice runs a command line.
func sluice(args ...string) (code int, stdout, stderr string) {
	var out, errs bytes.Buffer
	code = run(args, &out, &errs)
	return code, out.String(), errs.String()
}

// wantLine checks that a command failed with one line.
func wantLine(t *testing.T, code, wantCode int, stdout, stderr, part string) {
	t.Helper()
	if code != wantCode || stdout != "" || !strings.Contains(stderr, part) || strings.Count(stderr, "\n") != 1 {
		t.Errorf("exit code %d, want %d; stdout %q, stderr %q, want one line with %q", code, wantCode, stdout, stderr, part)
	}
}

func TestToken(t *testing.T) {
	const key = "a-key-for-tests"
	dir := t.TempDir()
	keyFile, empty := filepath.Join(dir, "key"), filepath.Join(dir, "empty")
	for name, text := range map[string]string{keyFile: key + "\n", empty: " \n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	keyed := startGateway(t, "otp", false, key).AdminURL()
	keyless := startGateway(t, "otp", false, "").AdminURL()
	dev := startGateway(t, "otp", true, "").AdminURL()
	open := startGateway(t, "open", true, "").AdminURL()
	for _, tc := range []struct {
		name string
		args []string
		code int
		says string // on standard error; empty: a token comes out
	}{
		{"key", []string{"--admin", keyed, "--user", "ann", "--api-key", key}, 0, ""},
		{"key file", []string{"--admin", keyed, "--user", "ann", "--api-key-file", keyFile}, 0, ""},
		{"address without scheme", []string{"--admin", strings.TrimPrefix(dev, "http://"), "--user", "ann"}, 0, ""},
		{"development, no user", []string{"--admin", dev}, 0, ""},
		{"no key shown", []string{"--admin", keyed, "--user", "ann"}, 1, "401: wrong or no API key: send it as X-Api-Key or as Authorization: Bearer; --api-key-file or"},
		{"wrong key", []string{"--admin", keyed, "--user", "ann", "--api-key", "x"}, 1, "401: wrong or no API key: send it as X-Api-Key or as Authorization: Bearer; --api-key-file or"},
		{"no user", []string{"--admin", keyed, "--api-key", key}, 1, "?user=ID"},
		{"no key set", []string{"--admin", keyless, "--user", "ann", "--api-key", key}, 1, "--api-key-file"},
		{"no one-time tokens", []string{"--admin", open, "--user", "ann"}, 1, "--login otp"},
		{"both kinds of key", []string{"--admin", keyed, "--api-key", key, "--api-key-file", keyFile}, 2, "choose one"},
		{"key file missing", []string{"--admin", keyed, "--api-key-file", filepath.Join(dir, "none")}, 2, "none"},
		{"key file empty", []string{"--admin", keyed, "--api-key-file", empty}, 2, "empty"},
		{"key with a blank", []string{"--admin", keyed, "--api-key", "a b"}, 2, "--api-key"},
		{"no URL", []string{"--admin", "ftp://127.0.0.1:1"}, 2, "http://HOST:PORT"},
		{"nobody there", []string{"--admin", "127.0.0.1:1"}, 1, "refused"},
		{"stray argument", []string{"extra"}, 2, "extra"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			code, out, errs := sluice(append([]string{"token"}, tc.args...)...)
			if tc.says != "" {
				wantLine(t, code, tc.code, out, errs, tc.says)
				return
			}
			if code != 0 || !strings.HasPrefix(out, "token   ") || !strings.Contains(out, "online  0 of 10\n") || errs != "" {
				t.Errorf("exit code %d, stdout %q, stderr %q", code, out, errs)
			}
		})
	}
}

func TestTokenQuiet(t *testing.T) {
	s := startGateway(t, "otp", true, "")
	code, out, errs := sluice("token", "-q", "--user", "ann", "--admin", s.AdminURL())
	token := strings.TrimSuffix(out, "\n")
	if raw, err := hex.DecodeString(token); code != 0 || err != nil || len(raw) != 16 || errs != "" {
		t.Fatalf("exit code %d, stdout %q, stderr %q", code, out, errs)
	}
	code, out, errs = sluice("token", "--json", "--user", "ann", "--admin", s.AdminURL())
	if code != 0 || !strings.HasPrefix(out, `{"otp":"`) || !strings.HasSuffix(out, `","limit":10,"online":0}`+"\n") || errs != "" {
		t.Errorf("as JSON: exit code %d, stdout %q, stderr %q", code, out, errs)
	}
	code, out, errs = sluice("token", "--json", "-q", "--admin", s.AdminURL())
	wantLine(t, code, exitUsage, out, errs, "choose one")
	otp := s.Gateway().Config().Login.(*login.OTP)
	if id, err := otp.LoginNow(time.Now(), login.Request{Token: token}); err != nil || id.User != "ann" {
		t.Errorf("%+v, %v", id, err)
	}
}

// TestTokenFromSomethingElse: what is no gateway's answer is said so, and the key goes nowhere else.
func TestTokenFromSomethingElse(t *testing.T) {
	var leaked bool
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { leaked = true }))
	defer other.Close()
	for name, h := range map[string]http.HandlerFunc{
		"text":     func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("hello")) },
		"other":    func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"ok":true}`)) },
		"redirect": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, http.StatusFound) },
	} {
		srv := httptest.NewServer(h)
		code, out, errs := sluice("token", "--admin", srv.URL, "--user", "ann", "--api-key", "secret")
		srv.Close()
		t.Log(name)
		wantLine(t, code, 1, out, errs, "admin listener?")
	}
	if leaked {
		t.Error("followed a redirect")
	}
}

func TestHealth(t *testing.T) {
	s := startGateway(t, "open", false, "")
	code, out, errs := sluice("health", "--admin", s.AdminURL())
	if code != 0 || out != "" || errs != "" {
		t.Errorf("exit code %d, stdout %q, stderr %q", code, out, errs)
	}
	s.Gateway().Drain()
	code, out, errs = sluice("health", "--admin", s.AdminURL())
	wantLine(t, code, 1, out, errs, "not ready (HTTP status 503): draining")
	code, out, errs = sluice("health", "--admin", "127.0.0.1:1")
	wantLine(t, code, 1, out, errs, "refused")
	code, out, errs = sluice("health", "--admin", "http://")
	wantLine(t, code, 2, out, errs, "--admin")
}

func TestServeAdminFlags(t *testing.T) {
	for _, tc := range []struct {
		args []string
		says string // empty: fine
	}{
		{nil, ""},
		{[]string{"--admin", "none"}, ""},
		{[]string{"--admin", "localhost:0", "--api-key", "k"}, ""},
		{[]string{"--admin", "6070"}, "HOST:PORT"},
		{[]string{"--api-key-file", "/nonexistent/key"}, "/nonexistent/key"},
		{[]string{"--api-key", "a\nb"}, "--api-key"},
	} {
		code, out, errs := sluice(append([]string{"check", "--dev"}, tc.args...)...)
		if tc.says != "" {
			wantLine(t, code, 2, out, errs, tc.says)
		} else if code != 0 {
			t.Errorf("%q: exit code %d, %s", tc.args, code, errs)
		}
	}
}
