package e2e

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

var tlsConns = flag.Int("tls-conns", 200, "connections over TLS that live through changes of certificates")

// certificate has the binary write a self-signed pair into dir, in place of what is there.
func certificate(t *testing.T, dir string, names ...string) (cert, key string) {
	t.Helper()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	args := append([]string{"cert", "--dev", "--force", "--cert", cert, "--key", key}, names...)
	if out, err := exec.Command(gatewayBinary, args...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return cert, key
}

// trusting is a client's config that trusts a file of certificates.
func trusting(t *testing.T, file string) *tls.Config {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		t.Fatalf("no certificate in %s", file)
	}
	return &tls.Config{RootCAs: pool, ServerName: "localhost"}
}

// A secureClient is a client over TLS.
type secureClient struct {
	conn *tls.Conn
	r    *bufio.Reader
}

// compact is the form that these clients speak.
var compact = mode{}

// loginTLS logs in over TLS.
func loginTLS(address string, config *tls.Config, user string) (*secureClient, error) {
	conn, err := tls.Dial("tcp", address, config)
	if err != nil {
		return nil, err
	}
	c := &secureClient{conn, bufio.NewReader(conn)}
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write(compact.connect(0, token(user))); err != nil {
		return nil, err
	}
	if p, err := compact.read(c.r); err != nil || p.typ != connAck || p.body[1] != accepted {
		return nil, fmt.Errorf("login: %v, %w", p, err)
	}
	return c, nil
}

// echo asks for one and waits for the answer.
func (c *secureClient) echo(id uint16) error {
	_ = c.conn.SetDeadline(time.Now().Add(patience))
	if _, err := c.conn.Write(compact.ask(id, "sluice.Echo", `{"n":1}`)); err != nil {
		return err
	}
	p, err := compact.read(c.r)
	if err == nil && p.typ != sendResp {
		err = fmt.Errorf("got %v", p)
	}
	return err
}

// Certificates change under many live connections and their traffic, by themselves and by SIGHUP, with
// half-written files in between: none is closed.
func TestTLSSwap(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := certificate(t, dir)
	p := startServe(t, "--dev", "--listen", "tls://127.0.0.1:0", "--tls-cert", cert, "--tls-key", key, "--max-connections-per-address", "0")
	config := trusting(t, cert)
	config.ClientSessionCache = tls.NewLRUClientSessionCache(0)
	clients := make([]*secureClient, *tlsConns)
	var dialling sync.WaitGroup
	places := make(chan struct{}, 64)
	for i := range clients {
		dialling.Go(func() {
			places <- struct{}{}
			defer func() { <-places }()
			var err error
			if clients[i], err = loginTLS(p.addr, config, fmt.Sprint("user", i)); err != nil {
				t.Error(err)
			}
		})
	}
	if dialling.Wait(); t.Failed() {
		return
	}
	stop, traffic := make(chan struct{}), sync.WaitGroup{}
	for i, c := range clients {
		defer c.conn.Close()
		traffic.Go(func() {
			for n := uint16(1); ; n++ {
				select {
				case <-stop:
					return
				case <-time.After(time.Duration(len(clients)) * time.Millisecond):
				}
				if err := c.echo(n); err != nil {
					t.Errorf("connection %d after %d requests: %v", i, n, err)
					return
				}
			}
		})
	}
	fingerprint := func() string {
		t.Helper()
		conn, err := tls.Dial("tcp", p.addr, &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return string(conn.ConnectionState().PeerCertificates[0].Raw)
	}
	changes := func() string { return fmt.Sprint(strings.Count(p.stderr.String(), `msg="certificate read"`)) }
	for step := range 4 {
		before, lines := fingerprint(), changes()
		if step == 1 { // half a file first
			text, err := os.ReadFile(cert)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(cert, text[:len(text)/2], 0o644); err != nil {
				t.Fatal(err)
			}
			p.await(func() bool { return strings.Contains(p.stderr.String(), "stays in force") }, "a line about half a file")
			if fingerprint() != before {
				t.Error("half a file has changed the certificate")
			}
		}
		certificate(t, dir)
		if step%2 == 1 {
			p.signal(syscall.SIGHUP)
		}
		p.await(func() bool { return changes() != lines }, "a line about the new certificate")
		if fingerprint() == before {
			t.Errorf("step %d: the certificate has not changed", step)
		}
	}
	close(stop)
	traffic.Wait()
	for i, c := range clients {
		if err := c.echo(65535); err != nil {
			t.Errorf("connection %d has not outlived the changes: %v", i, err)
		}
	}
	// A session of before all changes is resumed.
	c, err := loginTLS(p.addr, config, "again")
	if err != nil {
		t.Fatal(err)
	}
	defer c.conn.Close()
	if !c.conn.ConnectionState().DidResume {
		t.Error("no session was resumed")
	}
}

// SIGHUP takes over pairs and the least version from the config file, and leaves all as it is when a
// file of them is no good.
func TestTLSReload(t *testing.T) {
	t.Parallel()
	dir, file := t.TempDir(), filepath.Join(t.TempDir(), "sluice.toml")
	cert, key := certificate(t, dir)
	other, otherKey := certificate(t, t.TempDir(), "other.test")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte("dev = true\nlisten = \"tls://127.0.0.1:0\"\n"+text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pairs := func(list ...string) string {
		return fmt.Sprintf("tls-cert = [%q, %q]\ntls-key = [%q, %q]\n", list[0], list[1], list[2], list[3])
	}
	write(fmt.Sprintf("tls-cert = %q\ntls-key = %q\n", cert, key))
	p := startServe(t, "--config", file)
	leaf := func(config *tls.Config) (*x509.Certificate, error) {
		config.InsecureSkipVerify = true
		conn, err := tls.Dial("tcp", p.addr, config)
		if err != nil {
			return nil, err
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0], nil
	}
	seen := len(p.stderr.String())
	reload := func(until string) {
		t.Helper()
		p.signal(syscall.SIGHUP)
		p.await(func() bool { return strings.Contains(p.stderr.String()[seen:], until) }, until)
		seen = len(p.stderr.String())
	}
	wantNamed := func(want bool) {
		t.Helper()
		c, err := leaf(&tls.Config{ServerName: "other.test"})
		if err != nil || (c.VerifyHostname("other.test") == nil) != want {
			t.Errorf("the certificate of another pair is there: want %v, %v", want, err)
		}
	}
	wantNamed(false)
	reload("nothing has changed")
	write(pairs(cert, other, key, otherKey) + "tls-min = \"1.3\"\n")
	reload(`changed="[tls-cert tls-key tls-min]"`)
	wantNamed(true)
	if _, err := leaf(&tls.Config{MaxVersion: tls.VersionTLS12}); err == nil {
		t.Error("1.2 is still spoken")
	}
	write(pairs(cert, other, otherKey, key))
	reload("reload failed")
	wantNamed(true)
	if text := p.stderr.String(); !strings.Contains(text, "does not fit the certificate in "+cert) {
		t.Errorf("the log does not say which key: %s", tail(text))
	}
	write(fmt.Sprintf("tls-cert = %q\ntls-key = %q\n", cert, key))
	reload("reloaded")
	wantNamed(false)
}

// A gateway for trying out makes its certificate itself and says what it is; operators are served over
// https, and the command's own verbs know how to ask.
func TestTLSDev(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := certificate(t, dir)
	p := startServe(t, "--dev", "--listen", "wss://127.0.0.1:0")
	conn, err := tls.Dial("tcp", p.addr, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if !strings.Contains(p.stderr.String(), "self-signed certificate") || !strings.Contains(p.stderr.String(), "sha256=") {
		t.Errorf("the log has no fingerprint: %s", p.stderr)
	}
	_ = conn.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(conn, "GET /netsvr HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"+
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	if resp, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil || resp.StatusCode != http.StatusSwitchingProtocols {
		t.Error(resp, err)
	}

	p = startServe(t, "--dev", "--listen", "tcp://127.0.0.1:0", "--admin", "https://127.0.0.1:0", "--worker", "tls://127.0.0.1:0",
		"--tls-cert", cert, "--tls-key", key)
	var real struct{ Worker, Admin string }
	if err := json.Unmarshal(p.ports, &real); err != nil || !strings.HasPrefix(real.Admin, "https://") || !strings.HasPrefix(real.Worker, "tls://") {
		t.Fatalf("--ports-file holds %s", p.ports)
	}
	if out, err := exec.Command(gatewayBinary, "health", "--admin", real.Admin, "--admin-ca", cert).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if out, err := exec.Command(gatewayBinary, "health", "--admin", real.Admin).CombinedOutput(); err == nil {
		t.Errorf("health trusts a certificate that nobody knows: %s", out)
	}
}

// openssl finds nothing that should not be spoken.
func TestTLSOpenSSL(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("openssl"); err != nil {
		t.Skip("openssl is not here")
	}
	dir := t.TempDir()
	cert, key := certificate(t, dir)
	p := startServe(t, "--dev", "--listen", "tls://127.0.0.1:0", "--tls-cert", cert, "--tls-key", key)
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"-tls1_2"}, "Cipher is ECDHE-ECDSA-AES128-GCM-SHA256"},
		{[]string{"-tls1_3"}, "Cipher is TLS_"},
		{[]string{"-alpn", "http/1.1"}, "ALPN protocol: http/1.1"},
		{[]string{"-alpn", "h2"}, "no application protocol"},
		{[]string{"-tls1_1", "-cipher", "ALL:@SECLEVEL=0"}, "protocol version"},
		{[]string{"-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0"}, "handshake failure"},
		{[]string{"-tls1_2", "-fallback_scsv"}, "inappropriate fallback"},
	} {
		cmd := exec.Command("openssl", append([]string{"s_client", "-connect", p.addr, "-CAfile", cert, "-servername", "localhost"}, tc.args...)...)
		cmd.Stdin = bytes.NewReader(nil)
		out, _ := cmd.CombinedOutput() // its exit code says little
		if !bytes.Contains(out, []byte(tc.want)) {
			t.Errorf("%v: want %q in\n%s", tc.args, tc.want, out)
		}
	}
	cmd := exec.Command("openssl", "s_client", "-connect", p.addr, "-CAfile", cert, "-servername", "localhost", "-verify_return_error", "-quiet")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	if _, err := in.Write(compact.connect(0, token("ann"))); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, 4)
	if _, err := io.ReadFull(out, answer); err != nil || !bytes.Equal(answer, []byte{connAck << 4, 2, 0, accepted}) {
		t.Errorf("%x, %v", answer, err)
	}
}
