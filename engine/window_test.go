package engine

import (
	"bytes"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A protocol that learns a packet's length only at its end is not called for each byte of a long one.
func TestLongPacketOfUnknownLength(t *testing.T) {
	var calls atomic.Int64
	p := testProtocol{open: func(*Conn) Handler { return &callsHandler{calls: &calls} }}
	_, addr := startLine(t, Config{Loops: 1}, ListenConfig{Protocols: []Protocol{p}})
	c := dialLine(t, addr)
	_ = c.tcp().SetWriteBuffer(8 << 10)
	long := strings.Repeat("x", 512<<10)
	for _, part := range []string{"ECHO ", long[:len(long)/2], long[len(long)/2:] + "\n"} {
		if _, err := c.Write([]byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	_ = c.SetReadDeadline(time.Now().Add(patience))
	if got, err := c.r.ReadString('\n'); err != nil || got != long+"\n" {
		t.Fatalf("%d bytes came back, %v, want %d", len(got), err, len(long)+1)
	}
	if n := calls.Load(); n > 4096 {
		t.Errorf("%d calls for %d bytes", n, len(long))
	}
}

type callsHandler struct {
	lineHandler
	calls *atomic.Int64
}

func (h *callsHandler) OnBytes(c *Conn, b []byte) (n, need int) {
	h.calls.Add(1)
	if !bytes.ContainsRune(b, '\n') {
		return 0, len(b) + 1
	}
	return h.lineHandler.OnBytes(c, b)
}
