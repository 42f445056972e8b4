package gosoc

import (
	"testing"
	"unsafe"
)

// A connection that says nothing costs the state of its protocol for as long as it lasts. The sizes
// are size classes of the allocator.
func TestIdleSize(t *testing.T) {
	if n := unsafe.Sizeof(conn{}); n > 64 {
		t.Errorf("a connection over TCP has %d bytes, want at most 64", n)
	}
	if n := unsafe.Sizeof(webSocketConn{}); n > 128 {
		t.Errorf("a connection over WebSocket has %d bytes, want at most 128", n)
	}
}
