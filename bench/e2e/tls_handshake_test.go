package e2e

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Handshakes that are begun and left are closed at the deadline, and clients that come or are there
// meanwhile are served.
func TestTLSHandshakesLeft(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := certificate(t, dir)
	p := startServe(t, "--dev", "--listen", "tls://127.0.0.1:0", "--tls-cert", cert, "--tls-key", key, "--tls-handshake-timeout", "3s")
	config := trusting(t, filepath.Join(dir, "cert.pem"))
	there, err := loginTLS(p.addr, config, "there")
	if err != nil {
		t.Fatal(err)
	}
	defer there.conn.Close()
	hello := clientHello(t, config)
	const left = 500
	begun := time.Now()
	for i := range left {
		conn, err := net.Dial("tcp", p.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		part := [][]byte{nil, hello[:len(hello)/2], hello}[i%3]
		if _, err := conn.Write(part); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 20 {
		c, err := loginTLS(p.addr, config, fmt.Sprint("honest", i))
		if err != nil {
			t.Fatal(err)
		}
		if err := c.echo(1); err != nil {
			t.Error(err)
		}
		c.conn.Close()
		if err := there.echo(uint16(i + 1)); err != nil {
			t.Fatal(err)
		}
	}
	want := fmt.Sprintf(`sluice_connections_closed_total{reason="tls-timeout"} %d`, left)
	p.await(func() bool { return strings.Contains(page(t, p), want) }, want)
	if took := time.Since(begun); took < 3*time.Second {
		t.Errorf("closed after %v", took)
	}
	for _, want := range []string{
		fmt.Sprintf(`sluice_tls_handshakes_total{result="timeout",version="none"} %d`, left),
		`sluice_tls_handshakes_total{result="ok",version="1.3"} 21`, "sluice_tls_handshakes 0", "sluice_tls_handshakes_waiting 0",
		`sluice_memory_bytes{kind="handshakes"} 0`,
	} {
		if !strings.Contains(page(t, p), want+"\n") {
			t.Errorf("the metrics do not say %s", want)
		}
	}
}

// clientHello returns what a client begins with.
func clientHello(t *testing.T, config *tls.Config) []byte {
	t.Helper()
	near, far := net.Pipe()
	defer far.Close()
	go func() { _ = tls.Client(near, config).Handshake() }()
	_ = far.SetReadDeadline(time.Now().Add(patience))
	buf := make([]byte, 16<<10)
	n, err := far.Read(buf)
	if err != nil {
		t.Fatal(err)
	}
	return buf[:n]
}

func page(t *testing.T, p *process) string {
	t.Helper()
	_, text := p.admin(t, "/metrics")
	return text
}

// A recordCounter notes how long the records are that a client reads.
type recordCounter struct {
	net.Conn
	head  []byte // of the record under way
	left  int
	sizes []int
}

func (r *recordCounter) Read(p []byte) (int, error) {
	n, err := r.Conn.Read(p)
	for b := p[:n]; len(b) > 0; {
		if r.left > 0 {
			m := min(r.left, len(b))
			r.left, b = r.left-m, b[m:]
			continue
		}
		m := min(5-len(r.head), len(b))
		if r.head, b = append(r.head, b[:m]...), b[m:]; len(r.head) == 5 {
			r.left = int(r.head[3])<<8 | int(r.head[4])
			r.sizes = append(r.sizes, r.left)
			r.head = r.head[:0]
		}
	}
	return n, err
}

// GOSOC's answers to requests that come together are a record each, unless the flag says otherwise.
func TestTLSRecordsOfGOSOC(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	cert, key := certificate(t, dir)
	config := trusting(t, filepath.Join(dir, "cert.pem"))
	for records, want := range map[string]int{"packet": 50, "run": 1} {
		p := startServe(t, "--dev", "--listen", "tls://127.0.0.1:0", "--tls-cert", cert, "--tls-key", key, "--gosoc-tls-records", records)
		raw, err := net.Dial("tcp", p.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		_ = raw.SetDeadline(time.Now().Add(patience))
		counter := &recordCounter{Conn: raw}
		c := tls.Client(counter, config)
		r := bufio.NewReader(c)
		if _, err := c.Write(compact.connect(0, token("u"))); err != nil {
			t.Fatal(err)
		}
		if p, err := compact.read(r); err != nil || p.typ != connAck {
			t.Fatalf("%v, %v", p, err)
		}
		counter.sizes = nil
		var all []byte
		for id := range 50 {
			all = append(all, compact.ask(uint16(id+1), "sluice.Echo", `{"n":1}`)...)
		}
		if _, err := c.Write(all); err != nil {
			t.Fatal(err)
		}
		for range 50 {
			if p, err := compact.read(r); err != nil || p.typ != sendResp {
				t.Fatalf("%v, %v", p, err)
			}
		}
		if got := len(counter.sizes); got != want {
			t.Errorf("--gosoc-tls-records %s: 50 answers in %d records, want %d", records, got, want)
		}
	}
}
