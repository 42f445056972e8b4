package engine

import (
	"math/bits"
	"sync"
)

// gnet keeps unhandled input in pooled rings, and hands a ring that a long packet has blown up to the
// next connection with a few bytes: nobody could say whose memory that is. So the loop takes a packet
// that is longer than inputWindow over into memory of its own, which doubles as bytes arrive and is
// charged as it is.

// A longInput is the unhandled input of one connection, in place of gnet's.
type longInput struct {
	buf   []byte
	off   int // what is before is handled
	class int
}

// Sizes are powers of two from 1 KiB to 16 MiB; longer ones are not pooled. What is taken over from
// gnet has at least minLong bytes.
const (
	minLongShift   = 10
	numLongClasses = 15
	minLong        = 128 << 10
)

var longPools [numLongClasses]sync.Pool

// newLongInput returns an empty one with room for at least n bytes.
func newLongInput(n int) *longInput {
	class := max(bits.Len(uint(max(n, 1)-1))-minLongShift, 0)
	if class >= numLongClasses {
		return &longInput{buf: make([]byte, 0, n), class: -1}
	}
	if k, _ := longPools[class].Get().(*longInput); k != nil {
		return k
	}
	return &longInput{buf: make([]byte, 0, 1<<(minLongShift+class)), class: class}
}

func (k *longInput) recycle() {
	if k.class >= 0 {
		k.buf, k.off = k.buf[:0], 0
		longPools[k.class].Put(k)
	}
}

// buffered returns how many bytes of c's input are not handled, after it has moved those that have
// arrived behind a long packet's.
func (l *Loop) buffered(c *Conn) int {
	if c.sock == nil {
		return len(l.halfClosed[c.slot])
	}
	n := c.sock.InboundBuffered()
	if c.flags&flagLongInput == 0 {
		return n
	}
	k := l.long[c.slot]
	if n == 0 {
		return len(k.buf) - k.off
	}
	b, err := c.sock.Peek(n)
	if err != nil {
		return len(k.buf) - k.off
	}
	if len(k.buf)+n > cap(k.buf) {
		left := k.buf[k.off:]
		bigger := newLongInput(len(left) + n)
		bigger.buf = append(bigger.buf, left...)
		l.accounts.add(KindInput, int64(cap(bigger.buf)-cap(k.buf)))
		k.recycle()
		k = bigger
		l.long[c.slot] = k
	}
	k.buf = append(k.buf, b...)
	_, _ = c.sock.Discard(n)
	return len(k.buf) - k.off
}

// peek returns the first n bytes of c's unhandled input, which are there.
func (l *Loop) peek(c *Conn, n int) ([]byte, error) {
	if c.sock == nil {
		return l.halfClosed[c.slot][:n], nil
	}
	if c.flags&flagLongInput != 0 {
		k := l.long[c.slot]
		return k.buf[k.off : k.off+n], nil
	}
	return c.sock.Peek(n)
}

// discard takes n bytes off c's unhandled input.
func (l *Loop) discard(c *Conn, n int) {
	if c.sock == nil {
		l.halfClosed[c.slot] = l.halfClosed[c.slot][n:]
		return
	}
	if c.flags&flagLongInput == 0 {
		_, _ = c.sock.Discard(n)
		return
	}
	if k := l.long[c.slot]; k.off+n < len(k.buf) {
		k.off += n
	} else {
		l.dropLongInput(c)
	}
}

// takeLongInput takes over what gnet has of c's input, left bytes.
func (l *Loop) takeLongInput(c *Conn, left int) {
	b, err := c.sock.Peek(left)
	if err != nil {
		return
	}
	k := newLongInput(max(left, minLong))
	k.buf = append(k.buf, b...)
	_, _ = c.sock.Discard(left)
	if l.long == nil {
		l.long = make(map[uint32]*longInput)
	}
	l.long[c.slot] = k
	l.accounts.add(KindInput, int64(cap(k.buf))-inputRoom(c.input))
	c.flags |= flagLongInput
	c.input = uint32(left)
}

// dropLongInput lets go of what the loop has taken over.
func (l *Loop) dropLongInput(c *Conn) {
	k := l.long[c.slot]
	l.accounts.add(KindInput, -int64(cap(k.buf)))
	delete(l.long, c.slot)
	k.recycle()
	c.flags &^= flagLongInput
	c.input = 0
}

// inputRoom returns how many bytes c's unhandled input takes.
func (c *Conn) inputRoom() int64 {
	if c.flags&flagLongInput != 0 {
		return int64(cap(c.loop.long[c.slot].buf))
	}
	return inputRoom(c.input)
}
