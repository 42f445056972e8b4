package e2e

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// A WebSocket library that shares nothing with the gateway, as its users use it.
func TestNetsvrOtherClient(t *testing.T) {
	t.Parallel()
	s := startScene(t)
	l := s.l
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	dial := func(options *websocket.DialOptions) (*websocket.Conn, string) {
		t.Helper()
		c, _, err := websocket.Dial(ctx, "ws://"+s.p.addr+"/netsvr?from=afar", options)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.CloseNow() })
		c.SetReadLimit(8 << 20)
		open := l.event(workerConnOpen)
		if open.text(2) != "from=afar" {
			t.Errorf("query %q", open.text(2))
		}
		return c, open.text(1)
	}
	want := func(c *websocket.Conn, typ websocket.MessageType, text string) {
		t.Helper()
		got, b, err := c.Read(ctx)
		if err != nil || got != typ || string(b) != text {
			t.Fatalf("got %v %.60q, %v, want %v %.60q", got, b, err, typ, text)
		}
	}
	for _, options := range []*websocket.DialOptions{
		nil,
		{Subprotocols: []string{"chat", "news"}},
		{CompressionMode: websocket.CompressionContextTakeover}, // offered, and not taken
		{HTTPHeader: http.Header{"Origin": {"http://anywhere.example"}}},
	} {
		c, id := dial(options)
		if options != nil && len(options.Subprotocols) > 0 && c.Subprotocol() != "chat" {
			t.Errorf("sub-protocol %q", c.Subprotocol())
		}
		for _, text := range []string{"hello", "", "é∀😀", strings.Repeat("long ", 100_000)} {
			if err := c.Write(ctx, websocket.MessageText, []byte("001"+text)); err != nil {
				t.Fatal(err)
			}
			l.wantTransferOf(id, "", text)
			if text != "" {
				l.send(workerSingleCast, workerCast(id, text))
				want(c, websocket.MessageText, text)
			}
		}
		if err := c.Write(ctx, websocket.MessageBinary, []byte(workerPing)); err != nil {
			t.Fatal(err)
		}
		want(c, websocket.MessageBinary, workerPong)
		// A message in pieces, written as they come.
		w, err := c.Writer(ctx, websocket.MessageBinary)
		if err != nil {
			t.Fatal(err)
		}
		for range 10 {
			if _, err := w.Write(bytes.Repeat([]byte("001"), 1000)); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		l.wantTransferOf(id, "", strings.Repeat("001", 10_000)[3:])
		// The library checks that a pong repeats the payload of its ping.
		pings := c.CloseRead(ctx)
		if err := c.Ping(ctx); err != nil {
			t.Error(err)
		}
		if pings.Err() != nil {
			t.Error(pings.Err())
		}
		if err := c.Close(websocket.StatusNormalClosure, "bye"); err != nil {
			t.Errorf("close: %v", err) // it wants the frame echoed
		}
		l.wantClosed(id, "")
	}
	// Forced offline: the end without a close frame, which the library knows as no status at all.
	c, id := dial(nil)
	l.send(workerForceOffline, workerList(id))
	if _, _, err := c.Read(ctx); err == nil || websocket.CloseStatus(err) != -1 {
		t.Errorf("forced offline: %v, status %v", err, websocket.CloseStatus(err))
	}
	l.wantClosed(id, "")
	// Refused.
	_, resp, err := websocket.Dial(ctx, "ws://"+s.p.addr+"/elsewhere", nil)
	if err == nil || resp == nil || resp.StatusCode != 400 {
		t.Errorf("another path: %v", err)
	}
	// A shutdown says so.
	c, id = dial(nil)
	s.p.signal(15)
	_, _, err = c.Read(ctx)
	var closed websocket.CloseError
	if !errors.As(err, &closed) || closed.Code != websocket.StatusGoingAway {
		t.Errorf("shutdown: %v", err)
	}
	l.wantClosed(id, "")
	s.p.wantExit(0)
}
