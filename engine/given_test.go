package engine

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// wrapped accepts connections that are not plain TCP, as a TLS listener does.
type wrapped struct{ net.Listener }

func (w wrapped) Accept() (net.Conn, error) {
	c, err := w.Listener.Accept()
	return struct{ net.Conn }{c}, err
}

func listenTCP(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln
}

func TestGivenListenersThatAreRefused(t *testing.T) {
	e, _ := plainEngine(t, Config{})
	packets, err := net.Listen("unixpacket", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Listen(ListenConfig{Listener: packets}); err == nil || !strings.Contains(err.Error(), "want tcp or unix") {
		t.Errorf("a listener for packets: %v", err)
	}
	closed := listenTCP(t)
	closed.Close()
	if _, err := e.Listen(ListenConfig{Listener: closed}); err == nil {
		t.Error("a closed listener is served")
	}
	if err := stopWithin(e, patience); err != nil {
		t.Fatal(err)
	}
	late := listenTCP(t)
	if _, err := e.Listen(ListenConfig{Listener: late}); !errors.Is(err, ErrStopped) {
		t.Errorf("after Stop: %v", err)
	}
	for _, ln := range []net.Listener{packets, late} {
		if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("refused and not closed: %v", err)
		}
	}
}

func TestGivenListener(t *testing.T) {
	e, _ := plainEngine(t, Config{SendBuffer: 64 << 10})
	ln := listenTCP(t)
	addr, err := e.Listen(ListenConfig{Listener: ln, Protocols: []Protocol{lineProtocol{}}})
	if err != nil || addr.String() != ln.Addr().String() {
		t.Fatalf("listens at %v, %v, want %v", addr, err, ln.Addr())
	}
	c, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write([]byte("ECHO given\n")); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(c).ReadString('\n'); line != "given\n" {
		t.Errorf("%q, %v", line, err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	c.Close()
	if err := e.Stop(ctx); err != nil {
		t.Error(err)
	}
	if _, err := ln.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Stop has left the listener open: %v", err)
	}
}

// What is not a plain connection is refused and counted, and leaves nothing behind.
func TestGivenListenerThatWraps(t *testing.T) {
	e, _ := plainEngine(t, Config{})
	defer func() { _ = stopWithin(e, patience) }()
	addr, err := e.Listen(ListenConfig{Listener: wrapped{listenTCP(t)}, Protocols: []Protocol{lineProtocol{}}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", addr.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("read: %v, want the end", err)
	}
	if s := e.Stats(); s.Refused[ReasonServerError] != 1 || e.Connections() != 0 {
		t.Errorf("%d refused, %d connections", s.Refused[ReasonServerError], e.Connections())
	}
}
