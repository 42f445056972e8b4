package session

import (
	"sync/atomic"
	"time"
)

// Ref names a connection: loop, slot and generation packed by the engine. Zero names none.
type Ref = uint64

// IDLen is the length of a gateway-made uniqId in bytes: 18 upper-case hex digits (netsvr protocol
// 2, identifiers).
const IDLen = 18

// Key is the part of a gateway-made uniqId that tells connections of one gateway apart:
//
//	63          32 31          0
//	| unix seconds |  counter   |
type Key uint64

const upperHex = "0123456789ABCDEF"

// AppendID writes the uniqId of k after dst: server id (2 digits), unix seconds (8), counter (8).
func AppendID(dst []byte, serverID byte, k Key) []byte {
	dst = append(dst, upperHex[serverID>>4], upperHex[serverID&15])
	for shift := 60; shift >= 0; shift -= 4 {
		dst = append(dst, upperHex[k>>shift&15])
	}
	return dst
}

// FormatID is AppendID into a new string.
func FormatID(serverID byte, k Key) string {
	var b [IDLen]byte
	return string(AppendID(b[:0], serverID, k))
}

// ParseID takes a gateway-made uniqId apart. Only the canonical form is accepted, exactly 18
// upper-case hex digits: then each Key has one spelling, and a look-up by Key is a look-up by name.
// It allocates nothing.
func ParseID[T ~string | ~[]byte](id T) (serverID byte, k Key, ok bool) {
	if len(id) != IDLen {
		return 0, 0, false
	}
	hi, lo := nibble(id[0]), nibble(id[1])
	bad := hi | lo
	for i := 2; i < IDLen; i++ {
		n := nibble(id[i])
		bad |= n
		k = k<<4 | Key(n&15)
	}
	if bad > 15 {
		return 0, 0, false
	}
	return hi<<4 | lo, k, true
}

// nibble is the value of an upper-case hex digit, or 0x80 for anything else.
func nibble(c byte) byte {
	if d := c - '0'; d < 10 {
		return d
	}
	if d := c - 'A'; d < 6 {
		return d + 10
	}
	return 0x80
}

// Generator makes the Keys of one gateway. Two are equal only if more than 2^32 are made within one
// second, or a restart within the second hits the same counter, which the random start makes
// unlikely.
type Generator struct {
	counter atomic.Uint32
}

// NewGenerator returns a Generator whose first id carries counter start+1. Let start be random.
func NewGenerator(start uint32) *Generator {
	g := new(Generator)
	g.counter.Store(start)
	return g
}

// Next makes the Key of a connection opened at now. Any goroutine may call it.
func (g *Generator) Next(now time.Time) Key {
	return Key(uint32(now.Unix()))<<32 | Key(g.counter.Add(1))
}
