package interop

import (
	"bytes"
	"context"
	"crypto/rand"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"
	gorilla "github.com/gorilla/websocket"
)

// texts are what customers say and get back: what compresses well, badly and not at all.
func texts(t *testing.T) map[string]string {
	t.Helper()
	random := make([]byte, 64<<10)
	if _, err := rand.Read(random); err != nil {
		t.Fatal(err)
	}
	return map[string]string{
		"nothing": "", "short": "hi", "long": strings.Repeat("all work and no play ", 50_000), "\u4e16": strings.Repeat("\u4e16\u754c", 1000),
		"zeros": strings.Repeat("\x00", 1<<20), "random": string(random),
	}
}

// coder/websocket with each of its kinds of compression.
func TestCoderDeflate(t *testing.T) {
	t.Parallel()
	g := startGateway(t, "--netsvr-deflate")
	for mode, extensions := range map[websocket.CompressionMode]string{
		websocket.CompressionDisabled:          "",
		websocket.CompressionContextTakeover:   "permessage-deflate",
		websocket.CompressionNoContextTakeover: "permessage-deflate",
	} {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		conn, resp, err := websocket.Dial(ctx, "ws://"+g.addr+"/netsvr", &websocket.DialOptions{CompressionMode: mode, CompressionThreshold: 1})
		if err != nil {
			t.Fatal(err)
		}
		conn.SetReadLimit(64 << 20)
		if got, _, _ := strings.Cut(resp.Header.Get("Sec-WebSocket-Extensions"), ";"); got != extensions {
			t.Errorf("mode %v: extensions %q, want %q", mode, got, extensions)
		}
		for name, text := range texts(t) {
			for range 2 { // the second time a context would be at hand
				if err := conn.Write(ctx, websocket.MessageBinary, []byte("001"+text)); err != nil {
					t.Fatal(err)
				}
				if _, got, err := conn.Read(ctx); err != nil || string(got) != text {
					t.Fatalf("mode %v, %s: %d bytes back of %d, %v", mode, name, len(got), len(text), err)
				}
			}
		}
		if err := conn.Close(websocket.StatusNormalClosure, ""); err != nil {
			t.Errorf("mode %v: close: %v", mode, err)
		}
	}
}

// gorilla/websocket, on which very many clients are built.
func TestGorilla(t *testing.T) {
	t.Parallel()
	g := startGateway(t, "--netsvr-deflate", "--guest-max-fragments", "0", "--ws-subprotocol", "chat", "--allow-origin", "good.example")
	dialer := gorilla.Dialer{EnableCompression: true, HandshakeTimeout: patience, Subprotocols: []string{"first", "chat"}}
	origin := func(host string) http.Header { return http.Header{"Origin": {"https://" + host}} }
	conn, resp, err := dialer.Dial("ws://"+g.addr+"/netsvr", origin("www.good.example"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := resp.Header.Get("Sec-WebSocket-Extensions"); !strings.HasPrefix(got, "permessage-deflate; server_no_context_takeover; client_no_context_takeover") {
		t.Errorf("extensions %q", got)
	}
	if got := conn.Subprotocol(); got != "chat" {
		t.Errorf("sub-protocol %q", got)
	}
	for name, text := range texts(t) {
		for _, compressed := range []bool{true, false} {
			conn.EnableWriteCompression(compressed)
			if err := conn.WriteMessage(gorilla.BinaryMessage, []byte("001"+text)); err != nil {
				t.Fatal(err)
			}
			if _, got, err := conn.ReadMessage(); err != nil || !bytes.Equal(got, []byte(text)) {
				t.Fatalf("%s, compressed: %v: %d bytes back of %d, %v", name, compressed, len(got), len(text), err)
			}
		}
	}
	for _, path := range []string{"/netsvr", "/gosoc", "/v2?version=1&codec=1&platform=9"} {
		if conn, resp, err := dialer.Dial("ws://"+g.addr+path, origin("evil.example")); err == nil || resp == nil || resp.StatusCode != http.StatusForbidden {
			t.Errorf("%s: an evil page: %v, %v, %v", path, conn, resp, err)
		}
		if conn, _, err := dialer.Dial("ws://"+g.addr+path, origin("good.example")); err != nil {
			t.Errorf("%s: a good page: %v", path, err)
		} else {
			conn.Close()
		}
	}
	// The reason of a close frame.
	late, _, err := dialer.Dial("ws://"+g.addr+"/gosoc", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close()
	if err := late.WriteMessage(gorilla.TextMessage, []byte("text")); err != nil {
		t.Fatal(err)
	}
	_, _, err = late.ReadMessage()
	if e, ok := err.(*gorilla.CloseError); !ok || e.Code != gorilla.CloseUnsupportedData || e.Text != "GOSOC packets are binary" {
		t.Errorf("a text message on /gosoc: %v", err)
	}
}
