package client_test

import (
	"strings"
	"testing"

	"github.com/sluicenet/sluice/codec/gosoc"
	"github.com/sluicenet/sluice/codec/longbridge"
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
