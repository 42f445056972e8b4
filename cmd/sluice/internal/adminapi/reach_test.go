package adminapi

import (
	"context"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestUnreached: a gateway that cannot be asked is one line: why, and what to do next.
func TestUnreached(t *testing.T) {
	dir := t.TempDir()
	answer := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") })
	plain, secure := httptest.NewServer(answer), httptest.NewUnstartedServer(answer)
	secure.Config.ErrorLog = nil
	secure.StartTLS()
	t.Cleanup(plain.Close)
	t.Cleanup(secure.Close)
	ca := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: secure.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	forbidden := filepath.Join(dir, "forbidden")
	ln, err := net.Listen("unix", forbidden)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	if err := os.Chmod(forbidden, 0); err != nil {
		t.Fatal(err)
	}
	// What accepts and says nothing.
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	_, port, _ := net.SplitHostPort(secure.Listener.Addr().String())
	for _, tc := range []struct{ what, address, ca, says string }{
		{"nobody", "127.0.0.1:1", "", "is sluice serve running"},
		{"no socket", "unix://" + filepath.Join(dir, "none"), "", "the socket is not there"},
		{"no right to the socket", "unix://" + forbidden, "", "?mode=0660"},
		{"unknown authority", secure.URL, "", "give --admin-ca FILE"},
		{"another name", "https://localhost:" + port, ca, "for another name"},
		{"https of a plain listener", strings.Replace(plain.URL, "http:", "https:", 1), "", "want --admin http://"},
		{"http of a TLS listener", strings.Replace(secure.URL, "https:", "http:", 1), "", "--admin https://127.0.0.1:" + port},
		{"silence", silent.Addr().String(), "", "does not answer in time"},
		{"no name", "http://nothing.invalid:1", "", "has no address"},
	} {
		if tc.what == "no right to the socket" && os.Getuid() == 0 {
			continue // root may use it
		}
		c, err := New(Config{Address: tc.address, CAFile: tc.ca})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		if tc.what == "silence" {
			ctx, cancel = context.WithTimeout(context.Background(), 50*time.Millisecond)
		}
		_, err = c.Get(ctx, "stats", nil)
		cancel()
		if err == nil || !strings.Contains(err.Error(), tc.says) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want %q", tc.what, err, tc.says)
		}
		c.Close()
	}
}

// TestDelete: what is deleted is said, and what is refused.
func TestDelete(t *testing.T) {
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodDelete || r.URL.Path != "/api/v1/sessions" || r.URL.Query().Get("user") != "a b" {
			t.Errorf("%s %s", r.Method, r.URL)
		}
		_, _ = io.WriteString(w, `{"sessions":1}`)
	})
	if got, err := c.Delete(context.Background(), "sessions", map[string][]string{"user": {"a b"}}); err != nil || string(got) != `{"sessions":1}` {
		t.Errorf("%s, %v", got, err)
	}
}

func TestText(t *testing.T) {
	status := 200
	c := client(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, `{"code":"unauthorized","message":"the token is wrong"}`)
	})
	if got, err := c.Text(context.Background(), "/metrics"); err != nil || len(got) == 0 {
		t.Errorf("%s, %v", got, err)
	}
	status = 401
	if _, err := c.Text(context.Background(), "/metrics"); err == nil || !strings.Contains(err.Error(), "the token is wrong") {
		t.Errorf("%v", err)
	}
}
