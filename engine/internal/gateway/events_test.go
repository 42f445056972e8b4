package gateway_test

import (
	"bufio"
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/engine/login"
)

// lineSession is a client whose first line is its token and whose others are requests: "quit" closes.
type lineSession struct {
	gateway.Client
	g         *gateway.Gateway
	exclusive bool
}

type lineProtocol struct {
	g         *gateway.Gateway
	exclusive bool
}

func (p lineProtocol) Name() string              { return "line" }
func (p lineProtocol) Sniff([]byte) engine.Match { return engine.Matched }
func (p lineProtocol) Open(*engine.Conn) engine.Handler {
	return &lineSession{g: p.g, exclusive: p.exclusive}
}

func (s *lineSession) Base() *gateway.Client           { return &s.Client }
func (s *lineSession) Protocol() string                { return "line" }
func (s *lineSession) Dialect() uint8                  { return 0 }
func (s *lineSession) Ordered() bool                   { return false }
func (s *lineSession) NextDeadline(*engine.Conn) int64 { return 0 }

func (s *lineSession) OnBytes(c *engine.Conn, b []byte) (n, need int) {
	line, _, ok := strings.Cut(string(b), "\n")
	if !ok {
		return 0, len(b) + 1
	}
	if s.Fresh() {
		s.g.Login(c, s, gateway.Credentials{Token: line, Exclusive: s.exclusive})
	} else {
		c.Close(engine.ReasonClientClose)
	}
	return len(line) + 1, 0
}

func (s *lineSession) LoginDone(c *engine.Conn, o gateway.Outcome) {
	c.SetDeadline(0)
	c.Write([]byte(o.String() + "\n"))
}

func (s *lineSession) NoWorker(c *engine.Conn)                          { c.Close(engine.ReasonNoWorker) }
func (s *lineSession) Answer(*engine.Conn, uint32, uint8, int, []byte)  {}
func (s *lineSession) Failure(status int, message string) (int, []byte) { return status, nil }
func (s *lineSession) OnDeadline(c *engine.Conn)                        { c.Close(engine.ReasonLoginTimeout) }
func (s *lineSession) Goodbye(*engine.Conn, engine.Reason)              {}
func (s *lineSession) OnClose(c *engine.Conn, why engine.Reason)        { s.g.Closed(c, s, why) }

// witness notes what it is told, and does what the user's name says of it.
type witness struct {
	name string
	log  *witnessLog
}

type witnessLog struct {
	mu    sync.Mutex
	lines []string
	more  chan struct{}
}

func (l *witnessLog) add(line string) {
	l.mu.Lock()
	l.lines = append(l.lines, line)
	l.mu.Unlock()
	l.more <- struct{}{}
}

func (w witness) Opened(c *engine.Conn, s gateway.Session) bool {
	user := s.Base().User()
	w.log.add(fmt.Sprint(w.name, " opened ", user))
	switch user {
	case w.name + "-panics":
		panic("asked to")
	case w.name + "-closes":
		c.Close(engine.ReasonForcedOffline)
	case w.name + "-refuses":
		return false
	}
	return true
}

func (w witness) Closed(c *engine.Conn, s gateway.Session, id []byte, why engine.Reason) {
	user := s.Base().User()
	w.log.add(fmt.Sprint(w.name, " closed ", user, " ", why, " ", len(id), " ", c.Peer().Addr()))
	if user == w.name+"-panics-at-the-end" {
		panic("asked to")
	}
}

func startLine(t *testing.T, exclusive bool, events ...gateway.Events) (*gateway.Gateway, string) {
	t.Helper()
	return startLineWith(t, gateway.Config{Login: login.Open{}}, exclusive, events...)
}

func startLineWith(t *testing.T, config gateway.Config, exclusive bool, events ...gateway.Events) (*gateway.Gateway, string) {
	t.Helper()
	return startProtocol(t, config, func(g *gateway.Gateway) engine.Protocol { return lineProtocol{g, exclusive} }, events...)
}

// startProtocol serves one protocol on a loop.
func startProtocol(
	t *testing.T, config gateway.Config, protocol func(*gateway.Gateway) engine.Protocol, events ...gateway.Events,
) (*gateway.Gateway, string) {
	t.Helper()
	g, err := gateway.New(config)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		g.AddEvents(e)
	}
	e, err := engine.New(engine.Config{Loops: 1, Logger: slog.New(slog.DiscardHandler),
		Dialects: []engine.Dialect{{Name: "line-text", Append: func(dst []byte, p engine.Push) ([]byte, error) {
			return append(append(dst, p.Payload...), '\n'), nil
		}}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Start(); err != nil {
		t.Fatal(err)
	}
	g.Bind(e)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := e.Stop(ctx); err != nil {
			t.Error(err)
		}
		if err := g.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	addr, err := e.Listen(engine.ListenConfig{Network: "tcp", Address: "127.0.0.1:0", Protocols: []engine.Protocol{protocol(g)}})
	if err != nil {
		t.Fatal(err)
	}
	return g, addr.String()
}

// lineLogin logs in and returns the connection with the verdict.
func lineLogin(t *testing.T, addr, token string) (net.Conn, string) {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := c.Write([]byte(token + "\n")); err != nil {
		t.Fatal(err)
	}
	verdict, _ := bufio.NewReader(c).ReadString('\n')
	return c, strings.TrimSpace(verdict)
}

// Everybody is told of each client that comes and goes, in order and once; who was not told that it
// came is not told that it went; one that panics costs the client, and the others still hear of it.
func TestEventsOfTwo(t *testing.T) {
	for _, tc := range []struct {
		user string
		want []string
	}{
		{"ann", []string{"a opened ann", "b opened ann", "a closed ann client-close 18 127.0.0.1", "b closed ann client-close 18 127.0.0.1"}},
		{"a-panics", []string{"a opened a-panics", "a closed a-panics server-error 18 127.0.0.1"}},
		{"b-panics", []string{"a opened b-panics", "b opened b-panics", "a closed b-panics server-error 18 127.0.0.1", "b closed b-panics server-error 18 127.0.0.1"}},
		{"a-closes", []string{"a opened a-closes", "a closed a-closes forced-offline 18 127.0.0.1"}},
		{"a-refuses", []string{"a opened a-refuses", "a closed a-refuses no-worker 18 127.0.0.1"}},
		{"a-panics-at-the-end", []string{"a opened a-panics-at-the-end", "b opened a-panics-at-the-end",
			"a closed a-panics-at-the-end client-close 18 127.0.0.1", "b closed a-panics-at-the-end client-close 18 127.0.0.1"}},
	} {
		t.Run(tc.user, func(t *testing.T) {
			log := &witnessLog{more: make(chan struct{}, 100)}
			g, addr := startLine(t, false, witness{"a", log}, witness{"b", log})
			c, _ := lineLogin(t, addr, tc.user)
			_, _ = c.Write([]byte("quit\n"))
			for range tc.want {
				select {
				case <-log.more:
				case <-time.After(30 * time.Second):
					t.Fatal("not told")
				}
			}
			log.mu.Lock()
			defer log.mu.Unlock()
			if got := strings.Join(log.lines, "\n"); got != strings.Join(tc.want, "\n") {
				t.Errorf("told:\n%s\nwant:\n%s", got, strings.Join(tc.want, "\n"))
			}
			if panics := strings.Contains(tc.user, "panics"); panics != (g.Stats().Panics == 1) {
				t.Errorf("%d panics", g.Stats().Panics)
			}
		})
	}
}

// A user's connections are found while they are logged in, on protocols that allow one of them and
// on those that allow many.
func TestConnections(t *testing.T) {
	for _, exclusive := range []bool{false, true} {
		t.Run(fmt.Sprint("exclusive ", exclusive), func(t *testing.T) {
			log := &witnessLog{more: make(chan struct{}, 100)}
			g, addr := startLine(t, exclusive, witness{"w", log})
			var conns []net.Conn
			for range 3 {
				c, verdict := lineLogin(t, addr, "ann")
				if verdict != "ok" {
					t.Fatal(verdict)
				}
				conns = append(conns, c)
				<-log.more
			}
			lineLogin(t, addr, "bob")
			lineLogin(t, addr, "") // anonymous
			want := 3
			if exclusive {
				want = 1
			}
			if n := len(g.Connections(nil, "ann")); n != want {
				t.Errorf("ann has %d connections, want %d", n, want)
			}
			if n := len(g.Connections(nil, "bob")); n != 1 {
				t.Errorf("bob has %d connections", n)
			}
			if n := len(g.Connections(nil, "")); n != 0 {
				t.Errorf("nobody has %d connections", n)
			}
			for _, c := range conns {
				c.Close()
			}
			for deadline := time.Now().Add(30 * time.Second); len(g.Connections(nil, "ann")) > 0; time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("connections are found that are gone")
				}
			}
		})
	}
}
