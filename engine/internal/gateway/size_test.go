package gateway

import (
	"testing"
	"unsafe"
)

// What is known of a client costs memory for as long as it is connected. The sizes are size classes
// of the allocator.
func TestIdleSize(t *testing.T) {
	if n := unsafe.Sizeof(Client{}); n > 40 {
		t.Errorf("a client has %d bytes, want at most 40", n)
	}
	if n := unsafe.Sizeof(extra{}); n > 144 {
		t.Errorf("what only some clients have is %d bytes, want at most 144", n)
	}
}
