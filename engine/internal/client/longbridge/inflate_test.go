package longbridge_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/engine/server"
)

// zipped is a request whose body is gzip.
func (p *peer) zipped(cmd byte, id uint32, body []byte) []byte {
	b := p.req(cmd, id, 0, nil, body)
	b[0] |= 0x20
	return b
}

// What a client has inflated comes at its rate, and costs nobody else time.
func TestInflateRate(t *testing.T) {
	t.Parallel()
	const body, bodies, rate = 1 << 20, 3, 512 << 10 // each body is more than there may be at once
	packed := gzipped(strings.Repeat("a", body))
	for _, f := range []form{forms[0], forms[4]} {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, func(c *server.Config) { c.Gateway.MaxInflateRate = rate })
			var came []time.Time
			done := make(chan struct{})
			if err := s.Handle("cmd:10", func(r *gateway.Request) {
				if len(r.Payload) != body {
					t.Errorf("%d bytes", len(r.Payload))
				}
				if came = append(came, time.Now()); len(came) == bodies {
					close(done)
				}
				r.Reply(nil)
			}); err != nil {
				t.Fatal(err)
			}
			p, other := online(t, s, f, "ann"), online(t, s, forms[0], "ben")
			begun := time.Now() // a handler sees the first body only after it was inflated and counted
			for id := range uint32(bodies) {
				p.packet(p.zipped(10, id+1, packed))
			}
			for range 10 {
				other.call(200, "not disturbed")
			}
			for id := range uint32(bodies) {
				p.wantResponse(10, id+1, 0)
			}
			<-done
			// A second's worth comes at once, and the last body goes on what comes behind it.
			least := time.Second * (bodies*body - rate - body) / rate
			if d := came[bodies-1].Sub(begun); d < least-10*time.Millisecond {
				t.Errorf("all were there after %v, want %v at least", d, least)
			}
			if n := s.Gateway().Stats().InflateHolds; n == 0 {
				t.Error("nothing is counted")
			}
			p.call(200, "as ever")
		})
	}
}

func TestNoInflateRate(t *testing.T) {
	s := start(t, func(c *server.Config) { c.Gateway.MaxInflateRate = -1 })
	p := online(t, s, forms[0], "ann")
	packed := gzipped(strings.Repeat("a", 4<<20))
	for id := range uint32(6) {
		p.packet(p.zipped(200, id+1, packed))
		p.wantResponse(200, id+1, 0)
	}
	if n := s.Gateway().Stats().InflateHolds; n > 0 {
		t.Errorf("paused %d times", n)
	}
}

func TestGzipMembers(t *testing.T) {
	s := start(t, func(c *server.Config) { c.Gateway.MaxGzipMembers = 3 })
	for _, f := range forms {
		t.Run(f.name, func(t *testing.T) {
			before := s.Engine().Stats().Closed[engine.ReasonGzipMembers]
			p := online(t, s, f, "ann-"+f.name)
			p.packet(p.zipped(200, 1, bytes.Repeat(gzipped("ab"), 3)))
			if got := p.wantResponse(200, 1, 0); string(got.body) != "ababab" {
				t.Errorf("echo %q", got.body)
			}
			p.packet(p.zipped(200, 2, bytes.Repeat(gzipped(""), 4)))
			p.wantClose(3)
			await(t, "the close to be counted", func() bool {
				return s.Engine().Stats().Closed[engine.ReasonGzipMembers] == before+1
			})
		})
	}
}
