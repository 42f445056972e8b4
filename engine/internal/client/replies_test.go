package client_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/sluicenet/sluice/codec/gosoc"
	"github.com/sluicenet/sluice/codec/websocket"
	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/server"
)

// Replies are not pushes: with room for next to nothing and a policy that drops, all of them arrive.
func TestRepliesAreNotDropped(t *testing.T) {
	const requests = 300
	for _, policy := range []engine.SlowConsumer{engine.SlowDropNewest, engine.SlowDropOldest} {
		s := start(t, func(c *server.Config) {
			c.SlowConsumer = policy
			c.Engine.Backlog = 4 // so little that any push is too much behind another message
		})
		for _, w := range wires() {
			t.Run(fmt.Sprint(w.name, policy), func(t *testing.T) {
				var stream []byte
				for i := range requests {
					stream = append(stream, w.ask(echo("x"), i+1)...)
					if w.webSocket {
						stream = append(stream, frame(websocket.OpPing, true, []byte("p"))...)
					}
				}
				if w.greetings == 0 {
					return // no requests here
				}
				c := online(t, s, &w)
				c.write(stream)
				for i := range requests {
					packet, err := c.next()
					if want := fmt.Sprintf("reply %d ", i+1); err != nil || !strings.HasPrefix(w.tell(packet), want) {
						t.Fatalf("%q, %v, want %s", w.tell(packet), err, want)
					}
				}
			})
		}
	}
}

// Very many requests in one message are answered in order, and what waits of the message meanwhile,
// because the answers are not read, is on the account.
func TestRequestsOfOneMessage(t *testing.T) {
	const requests = 4000
	s := start(t, func(c *server.Config) { c.Engine.SendBuffer = 16 << 10 })
	w := gosocWire("", gosoc.Compact, true)
	single := gosocWire("", gosoc.Compact, false)
	c := online(t, s, &w)
	text := strings.Repeat("x", 1000)
	var packets []byte
	for i := range requests {
		packets = append(packets, single.ask(echo(text), i+1)...)
	}
	c.write(frame(websocket.OpBinary, true, packets))
	wantAccount(t, s, engine.KindInput, requests*500, 2*requests*1100)
	for i := range requests {
		packet, err := c.next()
		if want := fmt.Sprintf("reply %d ", i+1); err != nil || !strings.HasPrefix(w.tell(packet), want) {
			t.Fatalf("%.40q, %v, want %s", w.tell(packet), err, want)
		}
	}
	wantAccount(t, s, engine.KindInput, 0, 0)
}

// A GOSOC client that asks for no keep-alive, or for a long one, gets the longest there is.
func TestMaxKeepAlive(t *testing.T) {
	t.Parallel()
	const most = time.Second
	s := start(t, func(c *server.Config) { c.Gosoc.MaxKeepAlive = most })
	for _, w := range wires()[:3] {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			since := time.Now()
			c := online(t, s, &w)
			for {
				if _, err := c.next(); err != nil {
					break
				}
			}
			if took := time.Since(since); took < most*3/2-10*time.Millisecond {
				t.Errorf("ended after %v, want %v", took, most*3/2)
			}
		})
	}
	t.Cleanup(func() {
		if n := s.Engine().Stats().Closed[engine.ReasonHeartbeatTimeout]; n != 3 && !t.Failed() {
			t.Errorf("%d closed for their silence, want 3", n)
		}
	})
}
