package client_test

import (
	"testing"
	"time"

	"github.com/sluicenet/sluice/codec/websocket"
	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/unhurried"
	"github.com/sluicenet/sluice/engine/server"
)

// The rest of a packet must come in time, whatever the protocol's keep-alive: none is set here, and
// the protocols that always have one have a long one.
func TestPacketTimeout(t *testing.T) {
	t.Parallel()
	const timeout = 500 * time.Millisecond
	s := start(t, func(c *server.Config) {
		c.Gateway.PacketTimeout = timeout
		c.Gosoc.MaxKeepAlive = -1
		c.Longbridge.HeartbeatTimeout, c.Longbridge.HeartbeatInterval = time.Hour, time.Hour
		c.Netsvr.Idle = time.Hour
	})
	type way struct {
		name  string
		begin []byte
		drip  []byte // written again and again behind begin
	}
	count := uint64(0)
	for _, w := range wires() {
		whole := w.ask(pushMe("some text"), 1)
		ways := []way{
			{"half a packet", whole[:len(whole)-1], nil},
			{"a packet and a byte of the next", append(append([]byte(nil), whole...), whole[0]), nil},
		}
		if w.webSocket {
			start := frame(websocket.OpBinary, false, []byte("12345"))
			ways = append(ways,
				way{"a fragment", start, nil},
				way{"a fragment, then pings", start, frame(websocket.OpPing, true, []byte("!"))},
				way{"a fragment, then fragments of a byte", start, frame(websocket.OpContinuation, false, []byte("6"))})
		}
		for _, way := range ways {
			count++
			t.Run(w.name+", "+way.name, func(t *testing.T) {
				t.Parallel()
				c := online(t, s, &w)
				since := time.Now()
				c.write(way.begin)
				if way.drip != nil {
					go func() {
						for range 200 { // bounded: the connection ends long before
							time.Sleep(50 * time.Millisecond)
							if _, err := c.conn.Write(way.drip); err != nil {
								return
							}
						}
					}()
				}
				for {
					if _, err := c.next(); err != nil {
						break
					}
				}
				if took := time.Since(since); took < timeout-10*time.Millisecond || took > patience/2 {
					t.Errorf("ended after %v, want %v", took, timeout)
				}
			})
		}
	}
	t.Cleanup(func() {
		if closed := s.Engine().Stats().Closed; closed[engine.ReasonPacketTimeout] != count && !t.Failed() {
			t.Errorf("closed: %v, want %d of %v", closed, count, engine.ReasonPacketTimeout)
		}
	})
}

// A packet that keeps coming may take as long as it needs, and a client without one need not speak.
func TestPacketsThatKeepComing(t *testing.T) {
	t.Parallel()
	for _, w := range wires() {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			unhurried.Run(t, func(t *unhurried.Try, timeout time.Duration) { packetThatKeepsComing(t, &w, timeout) })
		})
	}
}

func packetThatKeepsComing(t *unhurried.Try, w *wire, timeout time.Duration) {
	s := start(t, func(c *server.Config) {
		c.Gateway.PacketTimeout = timeout
		c.Gosoc.MaxKeepAlive = -1
		c.Longbridge.HeartbeatTimeout, c.Longbridge.HeartbeatInterval = time.Hour, time.Hour
		c.Netsvr.Idle = time.Hour
	})
	c := online(t, s, w)
	long := make([]byte, 60_000)
	for i := range long {
		long[i] = 'x'
	}
	packet := w.ask(pushMe(string(long)), 1)
	begun := time.Now()
	const parts = 20
	for i := range parts {
		c.write(packet[i*len(packet)/parts : (i+1)*len(packet)/parts])
		if i < parts-1 {
			time.Sleep(timeout * 2 / parts)
		}
	}
	if took := time.Since(begun); took < timeout*3/2 {
		t.Fatalf("sent within %v", took)
	}
	c.wantLong(len(long))
	time.Sleep(timeout * 5 / 4) // silence is not half a packet
	c.write(packet)
	c.wantLong(len(long))
}

// wantLong wants a push of n bytes of text and more.
func (c *caller) wantLong(n int) {
	c.t.Helper()
	for {
		packet, err := c.next()
		if err != nil {
			c.t.Fatal(err)
		}
		if len(packet) > n {
			return
		}
	}
}
