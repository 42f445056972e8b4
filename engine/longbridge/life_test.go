package longbridge_test

import (
	"bufio"
	"io"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine/longbridge"
	"github.com/sluicenet/sluice/engine/server"
)

func newReader(r io.Reader) *bufio.Reader { return bufio.NewReaderSize(r, 64<<10) }

func heartbeats(timeout, interval time.Duration) func(*server.Config) {
	return func(c *server.Config) {
		c.Longbridge = longbridge.Config{HeartbeatTimeout: timeout, HeartbeatInterval: interval}
	}
}

func TestSilence(t *testing.T) {
	t.Parallel()
	s := start(t, heartbeats(600*time.Millisecond, time.Hour))
	for _, f := range forms {
		for _, half := range []int{0, 1, 12, 40} {
			t.Run(f.name, func(t *testing.T) {
				t.Parallel()
				begun := time.Now() // before anything is heard
				p := online(t, s, f, "")
				packet := p.wire(p.req(200, 1, 0, nil, make([]byte, 100)))
				p.write(packet[:half])
				p.wantClose(0)
				if d := time.Since(begun); d < 590*time.Millisecond || d > 5*time.Second {
					t.Errorf("closed after %v, want 600 ms", d)
				}
			})
		}
	}
}

// Code 0 without a reason is an empty body, vector 9.
func TestSilenceVector(t *testing.T) {
	s := start(t, heartbeats(100*time.Millisecond, time.Hour))
	conn := dialRaw(t, address(s))
	_, _ = conn.Write(unhex("1109" + auth123))
	got, err := io.ReadAll(conn)
	if want := "\x03\x00\x00\x00\x00"; err != nil || len(got) < 5 || string(got[len(got)-5:]) != want {
		t.Errorf("%x, %v, want %x at the end", got, err, want)
	}
}

// Any byte counts as life, also those of a packet that takes its time.
func TestTrickle(t *testing.T) {
	t.Parallel()
	s := start(t, heartbeats(400*time.Millisecond, time.Hour))
	for _, f := range forms {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			p := online(t, s, f, "")
			packet := p.wire(p.req(200, 1, 0, nil, []byte("slowly")))
			for _, b := range packet {
				p.write([]byte{b})
				time.Sleep(100 * time.Millisecond) // 1.7 s in all
			}
			if got := p.wantResponse(200, 1, 0); string(got.body) != "slowly" {
				t.Errorf("echo %q", got.body)
			}
			begun := time.Now()
			p.wantClose(0)
			if d := time.Since(begun); d > 3*time.Second {
				t.Errorf("closed after %v of silence", d)
			}
		})
	}
}

func TestServerHeartbeats(t *testing.T) {
	t.Parallel()
	s := start(t, heartbeats(900*time.Millisecond, 300*time.Millisecond))
	for _, f := range []form{forms[0], forms[1], forms[2]} {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			p := online(t, s, f, "")
			ids := make(map[uint32]bool)
			for range 5 { // 1.5 s: the answers keep the connection
				g := p.want()
				m := p.decode(g.body)
				if g.typ != 1 || g.cmd != 1 || g.id == 0 || ids[g.id] {
					t.Fatalf("got %+v, want a heartbeat request of a new id", g)
				}
				if !f.json && m["code"] == nil || f.json && m["timestamp"] == nil { // both are field 1
					t.Errorf("heartbeat %v has no timestamp", m)
				}
				ids[g.id] = true
				metadata := ""
				if f.v2 {
					metadata = "\x00\x00"
				}
				p.write([]byte("\x02\x01" + string([]byte{byte(g.id >> 24), byte(g.id >> 16), byte(g.id >> 8), byte(g.id)}) + "\x00" +
					metadata + string([]byte{0, 0, byte(len(g.body))}) + string(g.body)))
			}
			// None while the client talks.
			for range 10 {
				p.call(200, "x")
				time.Sleep(100 * time.Millisecond)
			}
			// One that is not answered, another, then the end.
			begun := time.Now()
			n := 0
			for {
				g := p.want()
				if g.typ == 3 {
					break
				}
				n++
			}
			if d := time.Since(begun); n < 1 || n > 2 || d < 700*time.Millisecond {
				t.Errorf("%d heartbeats in %v of silence", n, d)
			}
		})
	}
	for _, f := range forms[4:] {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			p := online(t, s, f, "")
			for begun := time.Now(); time.Since(begun) < 1500*time.Millisecond; {
				p.call(200, "x") // pings come whatever the client does
				time.Sleep(20 * time.Millisecond)
			}
			if p.pings < 3 || p.pings > 6 {
				t.Errorf("%d pings in 1.5 s, want one every 300 ms", p.pings)
			}
			// Pongs alone keep the connection.
			for before := p.pings; p.pings < before+4; {
				_ = p.conn.SetReadDeadline(time.Now().Add(400 * time.Millisecond))
				if g, err := p.next(); err == nil {
					t.Fatalf("got %+v", g)
				} else if !isTimeout(err) {
					t.Fatal(err)
				}
			}
			_ = p.conn.SetReadDeadline(time.Now().Add(patience))
			p.call(200, "x")
		})
	}
}

func isTimeout(err error) bool {
	e, ok := err.(interface{ Timeout() bool })
	return ok && e.Timeout()
}
