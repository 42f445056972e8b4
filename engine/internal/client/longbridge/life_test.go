package longbridge_test

import (
	"bufio"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/client/longbridge"
	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/engine/internal/unhurried"
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
	const silence = time.Second
	s := start(t, heartbeats(silence, never))
	halves := []int{0, 1, 12, 40}
	t.Cleanup(func() {
		if n := s.Engine().Stats().Closed[engine.ReasonHeartbeatTimeout]; int(n) != len(forms)*len(halves) && !t.Failed() {
			t.Errorf("%d were closed for their silence", n)
		}
	})
	for _, f := range forms {
		for _, half := range halves {
			t.Run(f.name, func(t *testing.T) {
				t.Parallel()
				p := online(t, s, f, "")
				packet := p.wire(p.req(200, 1, 0, nil, make([]byte, 100)))
				p.write(packet[:half])
				p.wantClose(0) // within its time for reading, or not at all: no other timer runs here
				if d := time.Since(p.begun); d < silence-time.Millisecond {
					t.Errorf("closed after %v, want %v", d, silence)
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
	for _, f := range forms {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			unhurried.Run(t, func(t *unhurried.Try, silence time.Duration) {
				p := online(t, start(t, heartbeats(silence, never)), f, "")
				packet := p.wire(p.req(200, 1, 0, nil, []byte("slowly")))
				pause := silence * 6 / 5 / time.Duration(len(packet))
				begun := time.Now()
				var last time.Time
				for _, b := range packet {
					last = time.Now()
					p.write([]byte{b})
					time.Sleep(pause)
				}
				if got := p.wantResponse(200, 1, 0); string(got.body) != "slowly" {
					t.Errorf("echo %q", got.body)
				}
				if d := last.Sub(begun); d < silence {
					t.Errorf("the bytes took only %v", d)
				}
				p.wantClose(0)
				if d := time.Since(last); d < silence-time.Millisecond || d > patience {
					t.Errorf("closed after %v of silence", d)
				}
			})
		})
	}
}

func TestServerHeartbeats(t *testing.T) {
	t.Parallel()
	for _, f := range forms {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			unhurried.Run(t, func(t *unhurried.Try, silence time.Duration) {
				interval := silence / 10
				p := online(t, start(t, heartbeats(silence, interval)), f, "")
				if f.framed {
					p.expectPings(silence, interval)
				} else {
					p.expectHeartbeats(silence, interval)
				}
			})
		})
	}
}

// atMost is how many heartbeats there can be in a time that begins before one could and ends after
// the last.
func atMost(d, interval time.Duration) int { return int(d/interval) + 1 }

// expectHeartbeats answers heartbeats for longer than silence, and then no more.
func (p *peer) expectHeartbeats(silence, interval time.Duration) {
	p.tb.Helper()
	ids := make(map[uint32]bool)
	last := p.begun // before the client's last sign of life
	// The answers keep the connection.
	for time.Since(p.begun) < silence*6/5 || len(ids) < 5 {
		g := p.want()
		m := p.decode(g.body)
		if g.typ != 1 || g.cmd != 1 || g.id == 0 || ids[g.id] {
			p.tb.Fatalf("got %+v, want a heartbeat request of a new id", g)
		}
		if !p.json && m["code"] == nil || p.json && m["timestamp"] == nil { // both are field 1
			p.tb.Errorf("heartbeat %v has no timestamp", m)
		}
		ids[g.id] = true
		metadata := ""
		if p.v2 {
			metadata = "\x00\x00"
		}
		last = time.Now()
		p.write([]byte("\x02\x01" + string([]byte{byte(g.id >> 24), byte(g.id >> 16), byte(g.id >> 8), byte(g.id)}) + "\x00" +
			metadata + string([]byte{0, 0, byte(len(g.body))}) + string(g.body)))
	}
	if d := time.Since(p.begun); len(ids) > atMost(d, interval) {
		p.tb.Errorf("%d heartbeats in %v", len(ids), d)
	}
	// Some that are not answered, then the end.
	n := 0
	for {
		g := p.want()
		if g.typ == 3 {
			break
		}
		n++
	}
	if d := time.Since(last); n < 1 || n > atMost(d, interval) || d < silence-time.Millisecond {
		p.tb.Errorf("%d heartbeats in %v of silence", n, d)
	}
}

// expectPings sends requests, and then nothing but pongs for longer than silence.
func (p *peer) expectPings(silence, interval time.Duration) {
	p.tb.Helper()
	for p.pings < 3 && time.Since(p.begun) < patience {
		p.call(200, "x") // pings come whatever the client does
		time.Sleep(20 * time.Millisecond)
	}
	if d := time.Since(p.begun); p.pings < 3 || p.pings > atMost(d, interval) {
		p.tb.Errorf("%d pings in %v, want one every %v", p.pings, d, interval)
	}
	// Pongs alone keep the connection.
	before := p.pings
	p.nextID++
	request := p.req(200, p.nextID, 0, nil, nil)
	time.AfterFunc(silence*5/4, func() { p.packet(request) })
	p.wantResponse(200, p.nextID, 0)
	if n := p.pings - before; n < 4 {
		p.tb.Errorf("%d pings in %v", n, silence*5/4)
	}
}

// TCP clients are not sent any while they talk.
func TestNoServerHeartbeats(t *testing.T) {
	t.Parallel()
	for _, f := range []form{forms[0], forms[1], forms[2]} {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			unhurried.Run(t, func(t *unhurried.Try, interval time.Duration) {
				p := online(t, start(t, heartbeats(never, interval)), f, "")
				for time.Since(p.begun) < interval*5/4 {
					p.call(200, "x")
					time.Sleep(interval / 20)
				}
			})
		})
	}
}

// A loop that was busy for longer than its clients may be silent comes to their deadlines before it has read from all of them.
// Those who have spoken meanwhile are not silent.
func TestSilenceOfABusyLoop(t *testing.T) {
	t.Parallel()
	unhurried.Run(t, func(t *unhurried.Try, silence time.Duration) {
		busy := silence * 2
		s := start(t, func(c *server.Config) {
			heartbeats(silence, time.Hour)(c)
			c.Engine.Loops = 1
		})
		begun := make(chan struct{})
		if err := s.Handle("cmd:20", func(*gateway.Request) { close(begun); time.Sleep(busy) }); err != nil { // on the loop
			t.Fatal(err)
		}
		first := online(t, s, forms[0], "first") // the loop is woken for the deadline of this one, before the others speak
		time.Sleep(silence / 4)
		peers := make([]*peer, 300) // more than a loop reads from at a time
		each(len(peers), func(i int) { peers[i] = online(t, s, forms[0], fmt.Sprint("user-", i)) })
		peers[0].send(20, "")
		select {
		case <-begun:
		case <-time.After(busy): // its client was silent for too long before it came to speak
		}
		if time.Since(first.begun) > silence {
			t.Slow()
		}
		time.Sleep(silence) // all others are silent for longer than they may
		for _, p := range peers[1:] {
			p.send(200, "still here")
		}
		if time.Since(first.begun) > busy {
			t.Slow()
		}
		for _, p := range peers[1:] {
			p.wantResponse(200, p.nextID, 0)
		}
	})
}

func isTimeout(err error) bool {
	e, ok := err.(interface{ Timeout() bool })
	return ok && e.Timeout()
}
