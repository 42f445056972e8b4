// Package tracecontext reads and writes traceparent, by which a request is part of a trace: W3C Trace
// Context, level 1.
//
//	00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
//	|  trace id, 16 bytes               parent id, 8     flags: 01 is sampled
//	version
package tracecontext

import "encoding/hex"

// Size is how long a traceparent is that Append writes.
const Size = 2 + 1 + 32 + 1 + 16 + 1 + 2

// A Context says of which trace something is a part, and of which of its spans. The zero Context is of
// none.
type Context struct {
	TraceID [16]byte
	SpanID  [8]byte
	Sampled bool // whoever began the trace has it recorded
}

// Valid reports whether c is of a trace.
func (c *Context) Valid() bool { return c.TraceID != [16]byte{} && c.SpanID != [8]byte{} }

// Parse reads a traceparent. Of a version after 00 it reads what 00 has, as the standard wants it.
func Parse[T string | []byte](text T) (c Context, ok bool) {
	if len(text) < Size || text[2] != '-' || text[35] != '-' || text[52] != '-' {
		return Context{}, false
	}
	var version, flags [1]byte
	if !decode(version[:], text[:2]) || !decode(c.TraceID[:], text[3:35]) ||
		!decode(c.SpanID[:], text[36:52]) || !decode(flags[:], text[53:55]) {
		return Context{}, false
	}
	switch {
	case version[0] == 0xff:
		return Context{}, false
	case len(text) > Size && (version[0] == 0 || text[Size] != '-'):
		return Context{}, false
	}
	c.Sampled = flags[0]&1 != 0
	if !c.Valid() {
		return Context{}, false
	}
	return c, true
}

// decode reads hex digits, which are in lower case.
func decode[T string | []byte](dst []byte, text T) bool {
	for i := range dst {
		high, low := digit(text[2*i]), digit(text[2*i+1])
		if high > 15 || low > 15 {
			return false
		}
		dst[i] = high<<4 | low
	}
	return true
}

func digit(b byte) byte {
	switch {
	case '0' <= b && b <= '9':
		return b - '0'
	case 'a' <= b && b <= 'f':
		return b - 'a' + 10
	}
	return 0xff
}

// Append writes c after dst, as version 00. Of the zero Context it writes nothing.
func (c *Context) Append(dst []byte) []byte {
	if !c.Valid() {
		return dst
	}
	dst = append(dst, "00-"...)
	dst = hex.AppendEncode(dst, c.TraceID[:])
	dst = append(dst, '-')
	dst = hex.AppendEncode(dst, c.SpanID[:])
	if c.Sampled {
		return append(dst, "-01"...)
	}
	return append(dst, "-00"...)
}

// String is what Append writes.
func (c *Context) String() string { return string(c.Append(nil)) }
