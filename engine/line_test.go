package engine

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine/internal/leak"
)

// lineProtocol is the smallest protocol that reaches every part of the engine: commands and
// answers are lines.
type lineProtocol struct{ opened chan Ref }

func (lineProtocol) Name() string { return "line" }

func (lineProtocol) Sniff(first []byte) Match {
	if first[0] >= 'A' && first[0] <= 'Z' {
		return Matched
	}
	return NoMatch
}

func (p lineProtocol) Open(c *Conn) Handler {
	c.SetDialect(0)
	c.SetDeadline(0)
	if p.opened != nil {
		p.opened <- c.Ref()
	}
	return &lineHandler{}
}

type lineHandler struct{ closed Reason }

func (h *lineHandler) OnBytes(c *Conn, b []byte) (n, need int) {
	for c.Open() && !c.Paused() && !c.OutputFull() {
		i := bytes.IndexByte(b[n:], '\n')
		if i < 0 {
			return n, len(b) - n + 1
		}
		line := b[n : n+i]
		n += i + 1
		c.CountPackets(1)
		word, rest, _ := bytes.Cut(line, []byte(" "))
		switch string(word) {
		case "ECHO":
			c.Write(append(append([]byte{}, rest...), '\n'))
		case "BIG":
			c.Write(append(bytes.Repeat([]byte("b"), len(rest)*1000), '\n'))
		case "SUB":
			fmt.Fprintf(connWriter{c}, "SUBSCRIBED %v\n", c.Subscribe(rest))
		case "UNSUB":
			fmt.Fprintf(connWriter{c}, "UNSUBSCRIBED %v\n", c.Unsubscribe(rest))
		case "PUB":
			t, data, _ := bytes.Cut(rest, []byte(" "))
			c.Publish(t, Push{Payload: data})
		case "HOLD":
			c.Pause()
			ref, e := c.Ref(), c.Loop().Engine()
			time.AfterFunc(50*time.Millisecond, func() {
				e.Tell(ref, func(c *Conn) {
					if c != nil {
						c.Write([]byte("RESUMED\n"))
						c.Resume()
					}
				})
			})
		case "STOP":
			c.Pause()
		case "TIMER":
			c.SetDeadline(100 * time.Millisecond)
		case "PANIC":
			panic("asked to")
		case "PEER":
			fmt.Fprintf(connWriter{c}, "%v\n", c.Peer())
		case "CLOSE":
			c.Close(ReasonForcedOffline)
		case "CUT":
			c.Abort(ReasonForcedOffline)
		}
	}
	return n, 0
}

type connWriter struct{ c *Conn }

func (w connWriter) Write(p []byte) (int, error) { w.c.Write(p); return len(p), nil }

func (h *lineHandler) OnDeadline(c *Conn)          { c.Write([]byte("DEADLINE\n")) }
func (h *lineHandler) Goodbye(c *Conn, why Reason) { c.Write([]byte("BYE " + why.String() + "\n")) }
func (h *lineHandler) OnClose(c *Conn, why Reason) { h.closed = why }

var lineDialect = Dialect{Name: "line", Append: func(dst []byte, p Push) ([]byte, error) {
	dst = append(dst, p.Payload...)
	return append(dst, '\n'), nil
}}

type testLog struct{ t testing.TB }

func (w testLog) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

// TestMain gives the loops threads of their own: a test's clients run in this process too, and
// the scheduler would have a loop wait its turn behind dozens of busy readers.
func TestMain(m *testing.M) {
	runtime.GOMAXPROCS(16)
	os.Exit(leak.Run(m))
}

// startLine runs an engine with the line protocol and returns its address.
func startLine(t testing.TB, config Config, lc ListenConfig, prepare ...func(*Engine)) (*Engine, string) {
	t.Helper()
	config.Dialects = []Dialect{lineDialect}
	if config.Loops == 0 {
		config.Loops = 2
	}
	config.Logger = slog.New(slog.NewTextHandler(testLog{t}, nil))
	e, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range prepare {
		f(e)
	}
	if err := e.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := e.Stop(ctx); err != nil {
			t.Error(err)
		}
		if s := e.Stats(); s.Connections != 0 || s.Topics != 0 || s.Total != 0 || s.Accounts != [numKinds]int64{} {
			t.Errorf("after stop: %d connections, %d topics, %d bytes kept: %v", s.Connections, s.Topics, s.Total, s.Accounts)
		}
	})
	lc.Network, lc.Address = "tcp", "127.0.0.1:0"
	if allOverTLS && lc.TLS == nil {
		lc.TLS = serverTLS()
	}
	if lc.Protocols == nil {
		lc.Protocols = []Protocol{lineProtocol{}}
	}
	addr, err := e.Listen(lc)
	if err != nil {
		t.Fatal(err)
	}
	return e, addr.String()
}

// allOverTLS has the tests that use startLine and dialLine run over TLS: make test-tls.
var allOverTLS = os.Getenv("SLUICE_TEST_TLS") != ""

// plainOnly is for tests of what is different before, or without, a handshake.
func plainOnly(t *testing.T) {
	t.Helper()
	if allOverTLS {
		t.Skip("of plain connections")
	}
}

// patience is when something hangs that is only late on a machine that stands still for seconds.
const patience = 30 * time.Second

type lineClient struct {
	t testing.TB
	net.Conn
	r *bufio.Reader
}

func dialLine(t testing.TB, addr string) *lineClient {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if allOverTLS {
		return overTLS(t, c, clientTLS(0))
	}
	return &lineClient{t, c, bufio.NewReader(c)}
}

func (c *lineClient) send(format string, args ...any) {
	c.t.Helper()
	if _, err := fmt.Fprintf(c, format+"\n", args...); err != nil {
		c.t.Fatal(err)
	}
}

func (c *lineClient) expect(want string) {
	c.t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(patience))
	got, err := c.r.ReadString('\n')
	if err != nil || got != want+"\n" {
		c.t.Fatalf("got %q, %v, want %q", got, err, want)
	}
}

func (c *lineClient) expectEOF() {
	c.t.Helper()
	_ = c.SetReadDeadline(time.Now().Add(patience))
	if got, err := c.r.ReadString('\n'); err == nil || got != "" || err.Error() != "EOF" {
		c.t.Fatalf("got %q, %v, want EOF", got, err)
	}
}

func waitFor(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !cond(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("timed out waiting for %s", what)
		}
	}
}

// tcp returns the socket, below TLS if there is one.
func (c *lineClient) tcp() *net.TCPConn {
	if secure, ok := c.Conn.(*tls.Conn); ok {
		return secure.NetConn().(*net.TCPConn)
	}
	return c.Conn.(*net.TCPConn)
}
