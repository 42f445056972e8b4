package certs

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// A logbook keeps log lines.
type logbook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *logbook) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *logbook) lines(with string) (list []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for line := range strings.Lines(b.text.String()) {
		if strings.Contains(line, with) {
			list = append(list, line)
		}
	}
	return list
}

func (b *logbook) logger() *slog.Logger { return slog.New(slog.NewTextHandler(b, nil)) }

func newStore(t *testing.T, c Config) *Store {
	t.Helper()
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A link is both ends of a connection whose handshake is done, or has failed.
type link struct {
	client, server       *tls.Conn
	clientErr, serverErr error
}

// connect makes one over TCP. The server sends a byte at once, so that a client of TLS 1.3 has read
// its ticket, or the server's refusal, when it has read that.
func connect(t *testing.T, server, client *tls.Config) *link {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	l := new(link)
	done := make(chan struct{})
	go func() {
		defer close(done)
		conn, err := ln.Accept()
		if err != nil {
			l.serverErr = err
			return
		}
		l.server = tls.Server(conn, server)
		_ = l.server.SetDeadline(time.Now().Add(30 * time.Second))
		if l.serverErr = l.server.Handshake(); l.serverErr != nil {
			l.server.Close()
			return
		}
		_, l.serverErr = l.server.Write([]byte("!"))
	}()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	l.client = tls.Client(conn, client)
	_ = l.client.SetDeadline(time.Now().Add(30 * time.Second))
	if l.clientErr = l.client.Handshake(); l.clientErr == nil {
		_, l.clientErr = io.ReadFull(l.client, make([]byte, 1))
	}
	if l.clientErr != nil {
		conn.Close()
	}
	<-done
	t.Cleanup(l.close)
	return l
}

func (l *link) close() {
	l.client.Close()
	if l.server != nil {
		l.server.Close()
	}
}

// leaf is the certificate that the server showed.
func (l *link) leaf(t *testing.T) *x509.Certificate {
	t.Helper()
	if l.clientErr != nil {
		t.Fatalf("client: %v; server: %v", l.clientErr, l.serverErr)
	}
	return l.client.ConnectionState().PeerCertificates[0]
}

// alive reports whether bytes still pass both ways.
func (l *link) alive(t *testing.T) bool {
	t.Helper()
	for _, way := range [][2]*tls.Conn{{l.client, l.server}, {l.server, l.client}} {
		if _, err := way[0].Write([]byte("ping")); err != nil {
			return false
		}
		if _, err := io.ReadFull(way[1], make([]byte, 4)); err != nil {
			return false
		}
	}
	return true
}
