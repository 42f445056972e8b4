package websocket

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/sluicenet/sluice/codec/websocket"
	"github.com/sluicenet/sluice/engine"
)

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

// A session serves one connection of a test: messages are echoed, and some words do more.
type session struct {
	Framing
	*first
}

// first is a protocol that has the frame layer in charge from the first byte.
type first struct {
	config *websocket.ReaderConfig
	budget int // before the login, 0: there is none
	over   *Transport
	// deflate says that compression is agreed on.
	deflate bool
	enough  int // bytes to wait for before the first Feed
	faults  chan string
	looks   chan look // after each Feed
	ended   chan engine.Reason
}

// A look is what Feed and the layer say.
type look struct {
	whole      bool
	unfinished int
}

func newFirst(config websocket.ReaderConfig) *first {
	return &first{
		config: &config, over: web(Config{}), faults: make(chan string, 1000), looks: make(chan look, 1000), ended: make(chan engine.Reason, 1),
	}
}

func (p *first) Name() string              { return "frames" }
func (p *first) Sniff([]byte) engine.Match { return engine.Matched }
func (p *first) Open(*engine.Conn) engine.Handler {
	s := &session{first: p}
	if p.budget > 0 {
		s.BeginGuarded(p.config, p.deflate, p.budget)
	} else {
		s.Begin(p.config, p.deflate)
	}
	return s
}

func (s *session) check(c *engine.Conn, when string) {
	if got, want := c.Charged(), s.reader.Buffered(); got != want {
		s.faults <- fmt.Sprintf("%s: %d bytes are charged, %d kept", when, got, want)
	}
}

func (s *session) OnBytes(c *engine.Conn, b []byte) (n, need int) {
	if len(b) < s.enough {
		return 0, s.enough
	}
	s.enough = 0
	n, need, whole := s.Feed(c, b, s)
	if c.Open() {
		s.check(c, "after Feed")
	}
	select {
	case s.looks <- look{whole, s.Unfinished()}:
	default: // nobody looks any more
	}
	return n, need
}

func (s *session) OnMessage(c *engine.Conn, op websocket.Opcode, payload []byte) {
	if !s.deflate {
		s.check(c, "at a message")
	}
	switch {
	case string(payload) == "login":
		s.Admit(s.config)
	case strings.HasPrefix(string(payload), "close"):
		c.Close(engine.ReasonKickedOut)
		return
	case strings.HasPrefix(string(payload), "cut"):
		c.Abort(engine.ReasonServerError)
		return
	}
	c.Commit(websocket.AppendFrame(c.Buffer(len(payload)+websocket.MaxHeaderSize), op, payload), 1)
}

func (s *session) Transport() *Transport { return s.over }

func (s *session) OnPing(c *engine.Conn) { s.check(c, "at a ping") }
func (s *session) OnPong(c *engine.Conn) { s.check(c, "at a pong") }
func (s *session) OnTooLarge(c *engine.Conn, _ websocket.Opcode) {
	s.check(c, "at a message too large")
}
func (s *session) OnInflated(*engine.Conn, int)              {}
func (s *session) OnDeadline(*engine.Conn)                   {}
func (s *session) Goodbye(c *engine.Conn, why engine.Reason) { s.SendClose(c, 1001, why.String()) }
func (s *session) OnClose(c *engine.Conn, why engine.Reason) {
	s.Release(c)
	if n := c.Charged(); n != 0 {
		s.faults <- fmt.Sprintf("%d bytes are charged behind the end (%v)", n, why)
	}
	s.ended <- why
}

// serve runs an engine with p on a port of its own.
func serve(t *testing.T, p engine.Protocol) (e *engine.Engine, addr string) {
	t.Helper()
	e, err := engine.New(engine.Config{Loops: 1, Linger: patience})
	if err == nil {
		err = e.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := e.Stop(ctx); err != nil {
			t.Error(err)
		}
		if n := e.Stats().Panics; n > 0 {
			t.Errorf("%d panics", n)
		}
	})
	a, err := e.Listen(engine.ListenConfig{Network: "tcp", Address: "127.0.0.1:0", Protocols: []engine.Protocol{p}})
	if err != nil {
		t.Fatal(err)
	}
	return e, a.String()
}

func dial(t *testing.T, addr string) net.Conn {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return conn
}

// frame is a client's frame. Its mask is not random.
func frame(op websocket.Opcode, fin bool, payload string) []byte {
	h := websocket.FrameHeader{Fin: fin, Opcode: op, Masked: true, Mask: [4]byte{1, 2, 3, 4}, Length: int64(len(payload))}
	b := h.Append(nil)
	at := len(b)
	b = append(b, payload...)
	websocket.Mask(b[at:], h.Mask, 0)
	return b
}

// stream is a random conversation, and what it ends with.
func stream(rnd *rand.Rand) (wire []byte) {
	text := func() string { return strings.Repeat("x", rnd.IntN(3000)) }
	within := false
	for range 1 + rnd.IntN(40) {
		switch n := rnd.IntN(10); {
		case n == 0:
			wire = append(wire, frame(websocket.OpPing, true, "p")...)
		case n == 1:
			wire = append(wire, frame(websocket.OpPong, true, "")...)
		case within:
			fin := n < 5
			wire = append(wire, frame(websocket.OpContinuation, fin, text())...)
			within = !fin
		case n < 5:
			wire = append(wire, frame(websocket.OpBinary, true, text())...)
		default:
			wire = append(wire, frame(websocket.OpBinary, false, text())...)
			within = true
		}
	}
	op := websocket.OpBinary
	if within {
		op = websocket.OpContinuation
	}
	switch rnd.IntN(8) {
	case 0:
		wire = append(wire, frame(websocket.OpClose, true, "\x03\xe8bye")...)
	case 1:
		wire = append(wire, 0x83, 0x80, 0, 0, 0, 0) // an opcode that there is not
	case 2:
		wire = append(wire, frame(op, true, strings.Repeat("y", 30_000))...) // too large
	case 3:
		wire = append(wire, frame(websocket.OpBinary, true, "close")...) // an error, or the handler closes
	case 4:
		wire = append(wire, frame(websocket.OpBinary, true, "cut")...)
	case 5:
		wire = append(wire, frame(op, false, "half")[:7]...)
	}
	return wire
}

// What is kept of fragments is on the account, all of it and nothing else, whatever comes and
// however it ends.
func TestFragmentsAreCharged(t *testing.T) {
	p := newFirst(websocket.ReaderConfig{MaxMessage: 20_000, SkipLimit: 25_000})
	e, addr := serve(t, p)
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 11))
		wire := stream(rnd)
		conn := dial(t, addr)
		go func() { // the echoes are not looked at
			buf := make([]byte, 64<<10)
			for {
				if _, err := conn.Read(buf); err != nil {
					return
				}
			}
		}()
		for len(wire) > 0 {
			n := min(1+rnd.IntN(4000), len(wire))
			if _, err := conn.Write(wire[:n]); err != nil {
				break
			}
			wire = wire[n:]
		}
		conn.Close()
		select {
		case <-p.ended:
		case <-time.After(patience):
			t.Fatalf("seed %d: the connection did not end", seed)
		}
		select {
		case fault := <-p.faults:
			t.Fatalf("seed %d: %s", seed, fault)
		default:
		}
		// The gauge follows at the end of the loop's turn.
		for deadline := time.Now().Add(patience); e.Stats().Accounts[engine.KindFragments] != 0; time.Sleep(50 * time.Microsecond) {
			if time.Now().After(deadline) {
				t.Fatalf("seed %d: the gauge of fragments says %d with nobody there", seed, e.Stats().Accounts[engine.KindFragments])
			}
		}
	}
}

// While a message is not whole, the gauge says what its fragments cost.
func TestFragmentsGauge(t *testing.T) {
	p := newFirst(websocket.ReaderConfig{})
	e, addr := serve(t, p)
	conn := dial(t, addr)
	wait := func(what string, ok func(int64) bool) {
		t.Helper()
		for deadline := time.Now().Add(patience); !ok(e.Stats().Accounts[engine.KindFragments]); time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%s: %d bytes of fragments", what, e.Stats().Accounts[engine.KindFragments])
			}
		}
	}
	_, _ = conn.Write(frame(websocket.OpBinary, false, strings.Repeat("x", 100_000)))
	wait("a fragment", func(n int64) bool { return n >= 100_000 && n < 150_000 })
	_, _ = conn.Write(frame(websocket.OpContinuation, true, ""))
	wait("the last", func(n int64) bool { return n == 0 })
	_, _ = conn.Write(frame(websocket.OpBinary, false, strings.Repeat("x", 100_000)))
	wait("another", func(n int64) bool { return n >= 100_000 })
	conn.Close()
	wait("the end", func(n int64) bool { return n == 0 })
}

// What comes before the login is counted, whatever it is, and no more once the client is let in.
func TestBudgetBeforeLogin(t *testing.T) {
	const budget = 1000
	ping := string(frame(websocket.OpPing, true, strings.Repeat("p", 94))) // 100 bytes
	login := string(frame(websocket.OpText, true, "login"))                // 11
	for _, tt := range []struct {
		name string
		wire string
		want engine.Reason
	}{
		{"as much as allowed", strings.Repeat(ping, 10), engine.ReasonPeerClosed},
		{"a byte more", strings.Repeat(ping, 9) + string(frame(websocket.OpPing, true, strings.Repeat("p", 95))), engine.ReasonOutOfOrder},
		{"much more", strings.Repeat(ping, 1000), engine.ReasonOutOfOrder},
		{"pongs", strings.Repeat(string(frame(websocket.OpPong, true, "")), 200), engine.ReasonOutOfOrder},
		{"fragments of nothing", string(frame(websocket.OpText, false, "")) + strings.Repeat(string(frame(websocket.OpContinuation, false, "")), 200),
			engine.ReasonOutOfOrder},
		{"much more behind the login", login + strings.Repeat(ping, 1000), engine.ReasonPeerClosed},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newFirst(websocket.ReaderConfig{MaxMessage: 500})
			p.budget = budget
			_, addr := serve(t, p)
			conn := dial(t, addr)
			_, _ = conn.Write([]byte(tt.wire))
			_ = conn.(*net.TCPConn).CloseWrite()
			if got := <-p.ended; got != tt.want {
				t.Errorf("ended with %v, want %v", got, tt.want)
			}
		})
	}
}

// Whole says whether anything has come to its end: control frames between fragments do not end the
// message.
func TestWhole(t *testing.T) {
	start, more := frame(websocket.OpBinary, false, "a"), frame(websocket.OpContinuation, false, "b")
	end, ping := frame(websocket.OpContinuation, true, "c"), frame(websocket.OpPing, true, "")
	message := frame(websocket.OpBinary, true, "abc")
	join := func(parts ...[]byte) (all []byte) {
		for _, p := range parts {
			all = append(all, p...)
		}
		return all
	}
	for _, tt := range []struct {
		name string
		wire []byte
		want look
	}{
		{"half a message", message[:5], look{false, 0}},
		{"a message", message, look{true, 0}},
		{"a ping", ping, look{true, 0}},
		{"a fragment", start, look{false, 2}},
		{"a fragment and a ping", join(start, ping), look{false, 2}},
		{"fragments up to the last", join(start, more, end), look{true, 0}},
		{"a message and a fragment", join(message, start), look{true, 2}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := newFirst(websocket.ReaderConfig{})
			p.enough = len(tt.wire)
			_, addr := serve(t, p)
			conn := dial(t, addr)
			_, _ = conn.Write(tt.wire)
			if got := <-p.looks; got != tt.want {
				t.Errorf("%+v, want %+v", got, tt.want)
			}
		})
	}
}

// A breach is answered with a close frame that says what it was.
func TestCloseReasons(t *testing.T) {
	for _, tt := range []struct {
		name string
		wire []byte
		want *websocket.Error
	}{
		{"RSV1", []byte{0xc1, 0x80, 0, 0, 0, 0}, websocket.ErrReservedBits},
		{"opcode 3", []byte{0x83, 0x80, 0, 0, 0, 0}, websocket.ErrOpcode},
		{"long ping", append([]byte{0x89, 0xfe, 0, 126, 0, 0, 0, 0}, make([]byte, 126)...), websocket.ErrControlFrame},
		{"length not minimal", []byte{0x82, 0xfe, 0, 5, 0, 0, 0, 0}, websocket.ErrLength},
		{"not masked", []byte{0x81, 0x00}, websocket.ErrNotMasked},
		{"continuation of nothing", frame(websocket.OpContinuation, true, "x"), websocket.ErrContinuation},
		{"a message within another", append(frame(websocket.OpText, false, "x"), frame(websocket.OpText, true, "x")...), websocket.ErrInterleaved},
		{"close of one byte", frame(websocket.OpClose, true, "\x03"), websocket.ErrClosePayload},
		{"close with 1005", frame(websocket.OpClose, true, "\x03\xed"), websocket.ErrCloseCode},
		{"text that is not UTF-8", frame(websocket.OpText, true, "\xff"), websocket.ErrUTF8},
		{"too big", frame(websocket.OpBinary, true, strings.Repeat("x", 501)), websocket.ErrTooBig},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, addr := serve(t, newFirst(websocket.ReaderConfig{MaxMessage: 500}))
			conn := dial(t, addr)
			_, _ = conn.Write(tt.wire)
			got, err := io.ReadAll(conn)
			if want := websocket.AppendClose(nil, tt.want.Code, tt.want.Reason); err != nil || !bytes.Equal(got, want) {
				t.Errorf("got %q, %v, want %q", got, err, want)
			}
		})
	}
}
