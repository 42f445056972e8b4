package interop

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

//go:embed page.html
var page string

// installing is how long it may take to install the browser: 10 s where the mirror is near.
const installing = 3 * time.Minute

// findChromium returns the browser's program, or skips the test.
func findChromium(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	if os.Getenv("INTEROP_INSTALL") != "1" || os.Geteuid() != 0 {
		t.Skip("no Chromium here: install the package chromium, or, as root on Debian, set INTEROP_INSTALL=1")
	}
	ctx, cancel := context.WithTimeout(context.Background(), installing)
	defer cancel()
	begun := time.Now()
	for _, args := range [][]string{{"update", "-q"}, {"install", "-q", "-y", "--no-install-recommends", "chromium"}} {
		cmd := exec.CommandContext(ctx, "apt-get", append([]string{"-o", "DPkg::Lock::Timeout=60", "-o", "Acquire::http::Timeout=20"}, args...)...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		cmd.WaitDelay = time.Second
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Skipf("Chromium cannot be installed: apt-get %v: %v\n%s", args, err, out[max(0, len(out)-2048):])
		}
	}
	t.Logf("installed Chromium in %v", time.Since(begun).Round(time.Second))
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("the package chromium has no program chromium")
	}
	return path
}

// TestChromium has a page in a browser speak to both WebSocket endpoints, and to be refused by each, in
// plain text and over TLS.
func TestChromium(t *testing.T) {
	browser := findChromium(t)
	for _, scheme := range []string{"ws", "wss"} {
		t.Run(scheme, func(t *testing.T) { speaksToChromium(t, browser, scheme) })
	}
}

// keyPin is what Chromium calls a certificate by that it is to trust: the digest of its public key.
func keyPin(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(certFile)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(cert.RawSubjectPublicKeyInfo)
	return base64.StdEncoding.EncodeToString(sum[:])
}

func speaksToChromium(t *testing.T, browser, scheme string) {
	g := startGateway(t)
	token, err := g.token("ann")
	if err != nil {
		t.Fatal(err)
	}
	reports := make(chan map[string]string, 1)
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/":
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = io.WriteString(w, strings.NewReplacer("ws://GATEWAY", scheme+"://"+g.addr, "TOKEN", token).Replace(page))
		case "/report":
			report := make(map[string]string)
			if err := json.NewDecoder(r.Body).Decode(&report); err != nil {
				t.Errorf("report: %v", err)
			}
			reports <- report
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(site.Close)

	ctx, cancel := context.WithTimeout(context.Background(), 3*patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
		"--no-first-run", "--ignore-certificate-errors-spki-list="+keyPin(t), "--disable-extensions", "--disable-background-networking", "--user-data-dir="+t.TempDir(), site.URL)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // it has many processes
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	var log output
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Skipf("Chromium does not start: %v", err)
	}
	defer func() {
		cancel()
		_ = cmd.Wait()
	}()
	var report map[string]string
	select {
	case report = <-reports:
	case <-ctx.Done():
		t.Fatalf("no report from the browser\n%s", log.String())
	}
	want := map[string]string{
		"netsvr echo":           "hello \u4e16",
		"netsvr close":          "1000 clean",
		"longbridge extensions": "permessage-deflate; server_no_context_takeover; client_no_context_takeover",

		"longbridge auth":    "020200000001" + "00",
		"longbridge echo":    "02c80000000200" + "000003" + "616263",
		"longbridge big":     "1048586",
		"longbridge close":   "1000 clean",
		"longbridge garbage": "03000000020803 then 1006",
		"bad query":          "1006",
	}
	for name, text := range want {
		if report[name] != text {
			t.Errorf("%s: %q, want %q", name, report[name], text)
		}
	}
	if report["error"] != "" {
		t.Errorf("the page: %s", report["error"])
	}
}
