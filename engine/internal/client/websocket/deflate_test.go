package websocket

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/sluicenet/sluice/codec/websocket"
	"github.com/sluicenet/sluice/engine"
)

// deflated is a client's frame with RSV1 and payload compressed.
func deflated(op websocket.Opcode, payload string) []byte {
	return rsv1(op, true, string(websocket.Deflate(nil, []byte(payload))))
}

func rsv1(op websocket.Opcode, fin bool, payload string) []byte {
	b := frame(op, fin, payload)
	b[0] |= 0x40
	return b
}

func repeat(b []byte, n int) []byte { return bytes.Repeat(b, n) }

// Compressed messages are inflated, within the limits and by the rules of RFC 7692.
func TestInflate(t *testing.T) {
	text := strings.Repeat("compress me, ", 30)
	packed := string(websocket.Deflate(nil, []byte(text)))
	many := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	end := func(e *websocket.Error) string { return string(websocket.AppendClose(nil, e.Code, e.Reason)) }
	message := func(text string) string { return string(websocket.AppendFrame(nil, websocket.OpText, []byte(text))) }
	for _, tt := range []struct {
		name    string
		deflate bool
		wire    []byte
		want    string // what comes back
	}{
		{"a message", true, deflated(websocket.OpText, text), message(text)},
		{"an empty message", true, rsv1(websocket.OpText, true, "\x00"), message("")},
		{"a message without a byte", true, rsv1(websocket.OpText, true, ""), message("")},
		{"RFC 7692 7.2.3.1", true, rsv1(websocket.OpText, true, "\xf2\x48\xcd\xc9\xc9\x07\x00"), message("Hello")},
		{"RFC 7692 7.2.3.3, stored", true, rsv1(websocket.OpText, true, "\x00\x05\x00\xfa\xffHello\x00"), message("Hello")},
		{"RFC 7692 7.2.3.4, last block", true, rsv1(websocket.OpText, true, "\xf3\x48\xcd\xc9\xc9\x07\x00\x00"), message("Hello")},
		{"RFC 7692 7.2.3.5, two blocks", true, rsv1(websocket.OpText, true, "\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"), message("Hello")},
		{"not compressed", true, frame(websocket.OpText, true, text), message(text)},
		{"fragments", true, many(rsv1(websocket.OpText, false, packed[:5]), frame(websocket.OpContinuation, false, packed[5:9]),
			frame(websocket.OpContinuation, true, packed[9:])), message(text)},
		{"a pong between fragments", true, many(rsv1(websocket.OpText, false, packed[:5]), frame(websocket.OpPong, true, "p"),
			frame(websocket.OpContinuation, true, packed[5:])), message(text)},
		{"each by itself", true, many(deflated(websocket.OpText, text), deflated(websocket.OpText, text), frame(websocket.OpText, true, "x")),
			message(text) + message(text) + message("x")},

		{"not agreed on", false, deflated(websocket.OpText, text), end(websocket.ErrReservedBits)},
		{"a compressed ping", true, rsv1(websocket.OpPing, true, "p"), end(websocket.ErrReservedBits)},
		{"a compressed close", true, rsv1(websocket.OpClose, true, "\x03\xe8"), end(websocket.ErrReservedBits)},
		{"RSV1 in the middle", true, many(rsv1(websocket.OpText, false, packed[:5]), rsv1(websocket.OpContinuation, true, packed[5:])),
			end(websocket.ErrReservedBits)},
		{"RSV1 in the middle only", true, many(frame(websocket.OpText, false, "x"), rsv1(websocket.OpContinuation, true, packed)),
			end(websocket.ErrReservedBits)},
		{"RSV2", true, []byte{0xa1, 0x80, 0, 0, 0, 0}, end(websocket.ErrReservedBits)},
		{"no DEFLATE", true, rsv1(websocket.OpText, true, "\xff\xff\xff"), end(websocket.ErrInflate)},
		{"cut short", true, rsv1(websocket.OpText, true, packed[:len(packed)-4]), end(websocket.ErrInflate)},
		{"before the message's beginning", true, rsv1(websocket.OpText, true, "\xf2\x00\x11\x00\x00"), end(websocket.ErrInflate)},
		{"not UTF-8 once inflated", true, deflated(websocket.OpText, strings.Repeat("\xff", 300)), end(websocket.ErrUTF8)},
		{"as long as may be", true, deflated(websocket.OpText, strings.Repeat("x", 500)), message(strings.Repeat("x", 500))},
		{"a byte longer", true, deflated(websocket.OpText, strings.Repeat("x", 501)), end(websocket.ErrTooBig)},
		{"much longer", true, deflated(websocket.OpText, strings.Repeat("x", 400_000)), end(websocket.ErrTooBig)},
		{"fragments, a byte longer", true, many(
			rsv1(websocket.OpText, false, ""),
			frame(websocket.OpContinuation, true, string(websocket.Deflate(nil, []byte(strings.Repeat("x", 501)))))), end(websocket.ErrTooBig)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := newFirst(websocket.ReaderConfig{MaxMessage: 500})
			p.deflate = tt.deflate
			_, addr := serve(t, p)
			for _, cut := range []int{len(tt.wire), 1} {
				conn := dial(t, addr)
				for at := 0; at < len(tt.wire); at += cut {
					if _, err := conn.Write(tt.wire[at:min(at+cut, len(tt.wire))]); err != nil {
						break
					}
				}
				got := make([]byte, len(tt.want))
				if _, err := io.ReadFull(conn, got); err != nil || string(got) != tt.want {
					t.Errorf("cut at %d: %q, %v, want %q", cut, got, err, tt.want)
				}
				conn.Close()
				<-p.ended
			}
			select {
			case fault := <-p.faults:
				t.Error(fault)
			default:
			}
		})
	}
}

// What a compressed message becomes is on the account while it is handled, and counted.
func TestInflatedIsCharged(t *testing.T) {
	p := newFirst(websocket.ReaderConfig{})
	p.deflate = true
	charged := make(chan int, 10)
	_, addr := serve(t, charging{p, charged})
	conn := dial(t, addr)
	wire := deflated(websocket.OpBinary, strings.Repeat("x", 300_000))
	_, _ = conn.Write(wire)
	if n := <-charged; n != 300_000 {
		t.Errorf("%d bytes are charged at a message of 300000", n)
	}
	_, _ = conn.Write(frame(websocket.OpBinary, true, "plain"))
	if n := <-charged; n != 0 {
		t.Errorf("%d bytes are charged behind it", n)
	}
	want := Stats{Inflated: 1, InflatedFrom: uint64(len(wire) - 8), InflatedTo: 300_000}
	if got := p.over.Stats(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	conn.Close()
	<-p.ended
}

// charging tells what is charged at each message.
type charging struct {
	*first
	charged chan int
}

func (p charging) Open(*engine.Conn) engine.Handler {
	h := &chargingSession{session{first: p.first}, p.charged}
	h.Begin(p.config, true)
	return h
}

type chargingSession struct {
	session
	charged chan int
}

func (s *chargingSession) OnBytes(c *engine.Conn, b []byte) (n, need int) {
	n, need, _ = s.Feed(c, b, s)
	return n, need
}

func (s *chargingSession) OnMessage(c *engine.Conn, _ websocket.Opcode, _ []byte) {
	s.charged <- c.Charged()
}

// Before the login, bytes count as what they become.
func TestInflatedBudget(t *testing.T) {
	p := newFirst(websocket.ReaderConfig{MaxMessage: 500})
	p.deflate, p.budget = true, 1000
	_, addr := serve(t, p)
	conn := dial(t, addr)
	_, _ = conn.Write(repeat(deflated(websocket.OpText, strings.Repeat("x", 400)), 3))
	if got := <-p.ended; got != engine.ReasonOutOfOrder {
		t.Errorf("ended with %v, want %v", got, engine.ReasonOutOfOrder)
	}
	conn.Close()
	conn = dial(t, addr)
	_, _ = conn.Write(repeat(deflated(websocket.OpText, strings.Repeat("x", 400)), 2))
	if _, err := io.ReadFull(conn, make([]byte, 2*404)); err != nil {
		t.Errorf("two of them: %v", err)
	}
	conn.Close()
	<-p.ended
}

// A client whose few bytes become very many does not keep its loop from serving others.
func TestInflatingYields(t *testing.T) {
	bombs := newFirst(websocket.ReaderConfig{MaxMessage: 4 << 20, SkipLimit: 64 << 20})
	bombs.deflate = true
	turns := make(chan string, 1000)
	_, addr := serve(t, logging{bombs, turns})
	bomber, other := dial(t, addr), dial(t, addr)
	hello := frame(websocket.OpText, true, "hello")
	_, _ = other.Write(hello)
	if got := <-turns; got != "hello" {
		t.Fatal(got)
	}
	// 60 KiB in one write, each message 1 MiB or, too large, more than 4 MiB.
	var wire []byte
	for range 10 {
		wire = append(wire, deflated(websocket.OpBinary, strings.Repeat("x", 1<<20))...)
		wire = append(wire, deflated(websocket.OpBinary, strings.Repeat("y", 4<<20+1))...)
	}
	_, _ = bomber.Write(wire)
	if got := <-turns; got != "1048576" {
		t.Fatal(got)
	}
	_, _ = other.Write(hello)
	before := 1
	for got := range turns {
		if got == "hello" {
			break
		}
		before++
	}
	if before == 20 {
		t.Error("all of it was handled before the other's message")
	}
	for ; before < 20; before++ {
		<-turns
	}
	bomber.Close()
	other.Close()
	<-bombs.ended
	<-bombs.ended
}

// However many such clients there are, others do not wait for all of them.
func TestManyInflate(t *testing.T) {
	p := newFirst(websocket.ReaderConfig{MaxMessage: 4 << 20})
	p.deflate, p.ended = true, make(chan engine.Reason, 100)
	turns := make(chan string) // the loop waits at each message until it is looked at
	_, addr := serve(t, logging{p, turns})
	bomb := deflated(websocket.OpBinary, strings.Repeat("x", 1<<20))
	bombers := make([]io.ReadWriteCloser, 24)
	for i := range bombers {
		bombers[i] = dial(t, addr)
		_, _ = bombers[i].Write(bomb)
		<-turns
	}
	other := dial(t, addr)
	_, _ = other.Write(frame(websocket.OpText, true, "hold"))
	time.Sleep(10 * time.Millisecond) // nearly always, the loop is there by then
	for _, b := range bombers {
		_, _ = b.Write(bomb)
	}
	last := dial(t, addr)
	_, _ = last.Write(frame(websocket.OpText, true, "hello"))
	before := 0
	for range len(bombers) + 2 {
		switch <-turns {
		case "hello":
			if before > len(bombers)/2 {
				t.Errorf("%d of %d were handled before the other's message", before, len(bombers))
			}
		case "1048576":
			before++
		}
	}
	for _, c := range append(bombers, other, last) {
		c.Close()
		<-p.ended
	}
}

// logging tells what comes, one message in each turn.
type logging struct {
	*first
	turns chan string
}

func (p logging) Open(*engine.Conn) engine.Handler {
	h := &loggingSession{session{first: p.first}, p.turns}
	h.Begin(p.config, true)
	return h
}

type loggingSession struct {
	session
	turns chan string
}

func (s *loggingSession) OnBytes(c *engine.Conn, b []byte) (n, need int) {
	n, need, _ = s.Feed(c, b, s)
	return n, need
}

func (s *loggingSession) OnMessage(_ *engine.Conn, _ websocket.Opcode, payload []byte) {
	if len(payload) < 100 {
		s.turns <- string(payload)
		return
	}
	s.turns <- fmt.Sprint(len(payload))
	time.Sleep(2 * time.Millisecond) // the machine may be quicker than whoever is to come between
}

func (s *loggingSession) OnTooLarge(*engine.Conn, websocket.Opcode) { s.turns <- "too large" }

// A peer that closes its writing side while its messages wait for their turn has them handled.
func TestYieldAtTheEnd(t *testing.T) {
	p := newFirst(websocket.ReaderConfig{MaxMessage: 2 << 20})
	p.deflate = true
	turns := make(chan string, 100)
	_, addr := serve(t, logging{p, turns})
	conn := dial(t, addr)
	_, _ = conn.Write(repeat(deflated(websocket.OpBinary, strings.Repeat("x", 1<<20)), 12))
	_ = conn.(interface{ CloseWrite() error }).CloseWrite()
	for range 12 {
		<-turns
	}
	if got := <-p.ended; got != engine.ReasonPeerClosed {
		t.Errorf("ended with %v", got)
	}
}

// Frames are compressed in their place, if that makes them shorter.
func TestTransportDeflate(t *testing.T) {
	random := make([]byte, 1000)
	for i := range random {
		random[i] = byte(rand.Uint32())
	}
	for _, tt := range []struct {
		name    string
		config  Config
		payload []byte
		shorter bool
		counted uint64
	}{
		{"short", Config{}, repeat([]byte("x"), 125), false, 0},
		{"long enough", Config{}, repeat([]byte("x"), 126), true, 1},
		{"long", Config{}, repeat([]byte("hello "), 10_000), true, 1},
		{"no gain", Config{}, random, false, 1},
		{"short, but it may be", Config{DeflateMin: 1}, repeat([]byte("x"), 100), true, 1},
		{"long, but too short", Config{DeflateMin: 2000}, repeat([]byte("x"), 1000), false, 0},
	} {
		over := web(tt.config)
		plain := websocket.AppendFrame([]byte("before"), websocket.OpBinary, tt.payload)
		got := over.Deflate(bytes.Clone(plain), len("before"))
		if (len(got) < len(plain)) != tt.shorter || over.Stats().Deflated != tt.counted {
			t.Errorf("%s: %d bytes became %d, counted %d times", tt.name, len(plain), len(got), over.Stats().Deflated)
		}
		r := websocket.NewReader(&websocket.ReaderConfig{Client: true}, true)
		ev, n, err := r.Next(got[len("before"):], nil)
		if err != nil || n != len(got)-len("before") || !bytes.Equal(ev.Payload, tt.payload) || ev.Opcode != websocket.OpBinary {
			t.Errorf("%s: %v, %d of %d bytes", tt.name, err, n, len(got))
		}
		if !bytes.HasPrefix(got, []byte("before")) {
			t.Errorf("%s: what was before is gone", tt.name)
		}
	}
}
