package interop

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"testing"

	"github.com/coder/websocket"
	"go.uber.org/goleak"
)

// coder/websocket follows RFC 6455 to the letter, as browsers do.
func dialCoder(t *testing.T, g *gateway, target string) (*websocket.Conn, context.Context) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	conn, _, err := websocket.Dial(ctx, "ws://"+g.addr+target, &websocket.DialOptions{CompressionMode: websocket.CompressionContextTakeover})
	if err != nil {
		t.Fatal(err)
	}
	conn.SetReadLimit(64 << 20)
	t.Cleanup(func() { _ = conn.CloseNow() })
	return conn, ctx
}

// say sends a packet and reads the response to it.
func say(t *testing.T, ctx context.Context, conn *websocket.Conn, packet []byte) []byte {
	t.Helper()
	if err := conn.Write(ctx, websocket.MessageBinary, packet); err != nil {
		t.Fatal(err)
	}
	typ, got, err := conn.Read(ctx)
	if err != nil || typ != websocket.MessageBinary || len(got) < 10 || !bytes.Equal(got[1:6], packet[1:6]) {
		t.Fatalf("%v message %x, %v", typ, got[:min(len(got), 40)], err)
	}
	return got
}

func loginCoder(t *testing.T, g *gateway) (*websocket.Conn, context.Context) {
	t.Helper()
	conn, ctx := dialCoder(t, g, "/v2?version=1&codec=1&platform=9")
	token, err := g.token("ann")
	if err != nil {
		t.Fatal(err)
	}
	if got := say(t, ctx, conn, request(2, 1, []byte(text(token)))); got[6] != 0 {
		t.Fatalf("Auth: %x", got)
	}
	return conn, ctx
}

func TestCoderLongbridge(t *testing.T) {
	ignore := goleak.IgnoreCurrent()
	g := startGateway(t, "--user-limit", "0")
	big := make([]byte, 1<<20)
	_, _ = rand.Read(big)

	t.Run("requests and a close from our side", func(t *testing.T) {
		conn, ctx := loginCoder(t, g)
		for _, body := range [][]byte{nil, []byte("hello"), big} {
			if got := say(t, ctx, conn, request(200, 7, body)); !bytes.Equal(got[10:], body) {
				t.Errorf("echo of %d bytes has %d", len(body), len(got)-10)
			}
		}
		if got := say(t, ctx, conn, request(1, 8, []byte("tick"))); string(got[10:]) != "tick" {
			t.Errorf("heartbeat %x", got)
		}
		// A message in as many frames as writes.
		w, err := conn.Writer(ctx, websocket.MessageBinary)
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range request(200, 9, []byte("in pieces")) {
			_, _ = w.Write([]byte{b})
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if _, got, err := conn.Read(ctx); err != nil || string(got[10:]) != "in pieces" {
			t.Errorf("%x, %v", got, err)
		}
		ping := make(chan error, 1)
		go func() { ping <- conn.Ping(ctx) }()
		read, cancel := context.WithCancel(ctx)
		go func() { _, _, _ = conn.Read(read) }()
		if err := <-ping; err != nil {
			t.Errorf("ping: %v", err)
		}
		cancel()
	})
	t.Run("close handshake", func(t *testing.T) {
		conn, _ := loginCoder(t, g)
		if err := conn.Close(websocket.StatusNormalClosure, "bye"); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	for name, ruin := range map[string]func(ctx context.Context, conn *websocket.Conn) error{
		"text": func(ctx context.Context, conn *websocket.Conn) error {
			return conn.Write(ctx, websocket.MessageText, []byte("hello"))
		},
		"garbage": func(ctx context.Context, conn *websocket.Conn) error {
			return conn.Write(ctx, websocket.MessageBinary, []byte{0xff})
		},
	} {
		t.Run(name, func(t *testing.T) {
			conn, ctx := loginCoder(t, g)
			if err := ruin(ctx, conn); err != nil {
				t.Fatal(err)
			}
			if _, got, err := conn.Read(ctx); err != nil || string(got) != "\x03\x00\x00\x00\x02\x08\x03" {
				t.Errorf("%x, %v, want the Close push", got, err)
			}
			// The end of the stream, and no close frame: one notice only.
			if _, got, err := conn.Read(ctx); !errors.Is(err, io.EOF) || websocket.CloseStatus(err) != -1 {
				t.Errorf("%x, %v, want the end", got, err)
			}
		})
	}
	t.Run("shutdown", func(t *testing.T) {
		conn, ctx := loginCoder(t, g)
		done := make(chan struct{})
		go func() {
			defer close(done)
			if _, got, err := conn.Read(ctx); err != nil || string(got) != "\x03\x00\x00\x00\x02\x08\x02" {
				t.Errorf("%x, %v, want the Close push", got, err)
			}
			_ = conn.CloseNow()
		}()
		g.stop()
		<-done
	})
	closeIdle()
	await(t, "goroutines to end", func() bool { return goleak.Find(ignore) == nil }) // which waits, too, but a second at most
}

func TestCoderNetsvr(t *testing.T) {
	t.Parallel()
	g := startGateway(t)
	conn, ctx := dialCoder(t, g, "/netsvr")
	for _, say := range []string{"hello", "\u00e9\u4e16", ""} {
		if err := conn.Write(ctx, websocket.MessageText, []byte("001"+say)); err != nil {
			t.Fatal(err)
		}
		if typ, got, err := conn.Read(ctx); err != nil || typ != websocket.MessageText || string(got) != say {
			t.Errorf("%v %q, %v", typ, got, err)
		}
	}
	if err := conn.Close(websocket.StatusNormalClosure, ""); err != nil {
		t.Errorf("close: %v", err)
	}
}
