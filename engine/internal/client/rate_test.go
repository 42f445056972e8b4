package client_test

import (
	"strings"
	"testing"
	"time"

	"github.com/sluicenet/sluice/codec/gosoc"
	"github.com/sluicenet/sluice/codec/longbridge"
	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/server"
)

// Requests over a client's rate are refused, each with a word that says so; another client is served.
func TestMaxRequestRate(t *testing.T) {
	t.Parallel()
	for _, w := range []wire{
		gosocWire("gosoc", gosoc.Compact, false), longbridgeWire("longbridge", longbridge.Version1, false), netsvrWire(),
	} {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, func(c *server.Config) { c.Gateway.MaxRequestRate = 1 })
			c, other := online(t, s, &w), online(t, s, &w)
			ask := func(c *caller, id int) string {
				c.write(w.ask(pushMe("x"), id))
				for {
					p, err := c.next()
					if err != nil {
						t.Fatal(err)
					}
					if text := w.tell(p); !strings.HasPrefix(text, "push") || w.name == "netsvr" {
						return text
					}
				}
			}
			if text := ask(c, 1); strings.Contains(text, "too many") {
				t.Errorf("the first: %s", text)
			}
			if w.name == "netsvr" { // which has no words for it
				c.write(w.ask(pushMe("x"), 2))
				ask(other, 1)
				if n := s.Gateway().Stats().RateLimited; n > 1 {
					t.Errorf("%d over the rate", n)
				}
				return
			}
			refused := uint64(0)
			for id := 2; id < 10; id++ {
				if strings.Contains(ask(c, id), "too many requests") {
					refused++
				}
			}
			if n := s.Gateway().Stats().RateLimited; n != refused || n == 0 {
				t.Errorf("%d over the rate, %d refused", n, refused)
			}
			if text := ask(other, 1); strings.Contains(text, "too many") {
				t.Errorf("another client: %s", text)
			}
		})
	}
}

// A client that sends more packets than it may is read at its rate and gets all its answers, whatever
// it speaks, also when all of them come in one piece; another does not wait for it.
func TestMaxPacketRate(t *testing.T) {
	t.Parallel()
	const rate, asked = 40, 60
	for _, w := range []wire{
		gosocWire("gosoc", gosoc.Compact, false), longbridgeWire("longbridge", longbridge.Version1, false), netsvrWire(),
	} {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			s := start(t, func(c *server.Config) { c.Engine.MaxPacketRate = rate })
			c, other := online(t, s, &w), online(t, s, &w)
			var all []byte
			for id := range asked {
				all = append(all, w.ask(pushMe("x"), id+1)...)
			}
			begun := time.Now()
			c.write(all)
			other.write(w.ask(pushMe("x"), 1))
			if _, err := other.next(); err != nil {
				t.Fatal(err)
			}
			for pushes := 0; pushes < asked; {
				p, err := c.next()
				if err != nil {
					t.Fatal(err)
				}
				if strings.HasPrefix(w.tell(p), "push") {
					pushes++
				}
			}
			if took, least := time.Since(begun), time.Second*(asked-rate-1)/rate; took < least-10*time.Millisecond {
				t.Errorf("%d packets took %v, want %v at least", asked, took, least)
			}
			if s.Engine().Stats().OverRate[engine.RatePackets] == 0 {
				t.Error("it is not counted")
			}
		})
	}
}
