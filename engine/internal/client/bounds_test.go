package client_test

import (
	"bytes"
	"io"
	"testing"
	"time"

	"github.com/sluicenet/sluice/codec/websocket"
	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/server"
)

// Customers connect where Config.Path says, and nowhere else.
func TestNetsvrPath(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *server.Config) { c.Netsvr.Path = "/chat/ws" })
	w := netsvrWire()
	w.hello = upgraded("/chat/ws?a=b", nil)
	c := online(t, s, &w)
	c.write(w.ask(pushMe("hi"), 0))
	if p, err := c.next(); err != nil || w.tell(p) != `push "hi"` {
		t.Errorf("%q, %v", p, err)
	}
	c = dial(t, s, &w)
	c.write(upgraded("/netsvr", nil))
	if line, err := c.r.ReadString('\n'); err != nil || line != "HTTP/1.1 400 Bad Request\r\n" {
		t.Errorf("%q, %v at the old path", line, err)
	}
}

// A message in more frames than Config.WebSocket.MaxFragments ends its connection, whatever protocol
// it carries.
func TestWebSocketFragments(t *testing.T) {
	t.Parallel()
	s := start(t, func(c *server.Config) { c.WebSocket.MaxFragments = 3 })
	ended := uint64(0)
	for _, w := range wires() {
		if !w.webSocket {
			continue
		}
		c := online(t, s, &w)
		c.write(frame(websocket.OpBinary, false, []byte{0}))
		for range 2 {
			c.write(frame(websocket.OpContinuation, false, nil))
		}
		c.write(frame(websocket.OpPing, true, []byte("still there?")))
		if pong, err := c.r.ReadSlice('?'); err != nil || !bytes.Contains(pong, []byte("still there")) {
			t.Fatalf("%s: %q, %v behind three frames", w.name, pong, err)
		}
		c.write(frame(websocket.OpContinuation, false, nil))
		if _, err := io.Copy(io.Discard, c.r); err != nil {
			t.Fatalf("%s: %v", w.name, err)
		}
		c.conn.Close()
		ended++
		for end := time.Now().Add(patience); s.Engine().Stats().Closed[engine.ReasonMalformed] != ended; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: closed %v", w.name, s.Engine().Stats().Closed)
			}
		}
	}
	if ended != 3 {
		t.Errorf("%d protocols over WebSocket", ended)
	}
}
