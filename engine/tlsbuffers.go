package engine

import (
	"bytes"
	"crypto/tls"
	"reflect"
	"unsafe"
)

// crypto/tls keeps the memory of a connection's longest record and of its longest handshake message for
// as long as the connection lasts: 20 KiB of an idle one that has sent 16 KiB once. Between two calls
// there is nothing in it, since crypto/tls is given whole records and what is in them is taken at once.
// So the loop lends each connection its own buffer for the length of a call, and lets go of what the
// handshake has left.
//
// That reaches into fields that are crypto/tls's own. Where they are not what they are known to be, as
// a later Go may have it, they are left alone, and connections cost more.

// buffers are where in a tls.Conn its buffers are.
type buffers struct {
	raw, input, hand uintptr
	known            bool
}

var connBuffers = findBuffers(reflect.TypeFor[tls.Conn]())

func findBuffers(conn reflect.Type) (b buffers) {
	b.known = true
	find := func(name string, want reflect.Type) uintptr {
		f, ok := conn.FieldByName(name)
		b.known = b.known && ok && f.Type == want
		return f.Offset
	}
	buffer := reflect.TypeFor[bytes.Buffer]()
	b.raw = find("rawInput", buffer) // records as they come
	b.input = find("input", reflect.TypeFor[bytes.Reader]())
	b.hand = find("hand", buffer) // handshake messages
	return b
}

// lend gives crypto/tls the loop's buffer for the next call of Read.
func (t *tlsConn) lend(m *memory) {
	if !connBuffers.known {
		return
	}
	raw := (*bytes.Buffer)(unsafe.Add(unsafe.Pointer(t.tls), connBuffers.raw))
	if raw.Cap() == 0 {
		*raw, m.record = m.record, bytes.Buffer{}
	}
}

// takeBack takes the loop's buffer back, or lets go of the connection's own. What has something in it
// stays: the beginning of a handshake message.
func (t *tlsConn) takeBack(m *memory) {
	if !connBuffers.known {
		return
	}
	raw := (*bytes.Buffer)(unsafe.Add(unsafe.Pointer(t.tls), connBuffers.raw))
	input := (*bytes.Reader)(unsafe.Add(unsafe.Pointer(t.tls), connBuffers.input))
	if raw.Len() == 0 && input.Len() == 0 {
		if raw.Reset(); raw.Cap() > m.record.Cap() {
			m.record = *raw
		}
		*raw, *input = bytes.Buffer{}, bytes.Reader{}
	}
	if hand := (*bytes.Buffer)(unsafe.Add(unsafe.Pointer(t.tls), connBuffers.hand)); hand.Len() == 0 {
		*hand = bytes.Buffer{}
	}
}
