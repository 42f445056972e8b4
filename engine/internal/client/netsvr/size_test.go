package netsvr

import (
	"testing"
	"unsafe"
)

// A customer that says nothing costs the state of its protocol for as long as it lasts. The size is
// a size class of the allocator.
func TestIdleSize(t *testing.T) {
	if n := unsafe.Sizeof(customer{}); n > 112 {
		t.Errorf("a customer has %d bytes, want at most 112", n)
	}
}
