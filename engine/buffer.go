package engine

import (
	"bytes"
	"math/bits"
	"sync"
	"sync/atomic"
)

// A block is pooled memory that holds encoded bytes on their way to sockets. It is written by one
// owner, then only read. Loops that hold it share one atomic count; within a loop a blockRef counts
// without atomics, which is why the usual buffer pools do not fit here.
type block struct {
	data   []byte // what was encoded; the capacity is the block's size class
	class  int8   // index into blockPools, or -1: too big to pool
	born   int64  // of a run: ms on the engine's clock when it was begun
	shared atomic.Int32
	span   span // which messages of a topic's history it holds
}

// Size classes are powers of two from 1 KiB to 256 KiB: a reply fits the first, and an odd giant is
// not worth keeping.
const (
	minBlockShift = 10
	numClasses    = 9
)

var blockPools [numClasses]sync.Pool

// newBlock returns an empty block with room for at least n bytes, held by one loop.
func newBlock(n int) *block {
	class := 0
	if n > 1<<minBlockShift {
		class = bits.Len(uint(n-1)) - minBlockShift
	}
	if class >= numClasses {
		b := &block{data: make([]byte, 0, n), class: -1}
		b.shared.Store(1)
		return b
	}
	b, _ := blockPools[class].Get().(*block)
	if b == nil {
		b = &block{data: make([]byte, 0, 1<<(minBlockShift+class)), class: int8(class)}
	}
	b.shared.Store(1)
	return b
}

// release gives up one loop's hold; the last one returns the memory. It reports the capacity
// that was freed, in bytes.
func (b *block) release() int64 {
	if b.shared.Add(-1) > 0 {
		return 0
	}
	n := int64(cap(b.data))
	b.span = span{}
	if b.class >= 0 {
		b.data = b.data[:0]
		blockPools[b.class].Put(b)
	}
	return n
}

// A blockRef is one loop's share of a block.
type blockRef struct {
	block *block
	refs  int32 // the loop's queue entries that point into it, and whoever made it
	// kind is what the block's bytes are charged under.
	kind Kind
	// growing is set while one connection may still append to the block: it holds that
	// connection's own bytes and nobody else's.
	growing bool
	// file is the place of the run's file among the loop's, from 1; 0: it has none; or fileOver.
	file int8
	next *blockRef // the loop's free list
}

// memory is what a loop keeps for use again.
type memory struct {
	refs        *blockRef // free list
	numRefs     int
	queues      []*queue
	uncommitted *blockRef    // between Conn.Buffer and Conn.Commit
	scratch     []byte       // where short entries are gathered for one send
	sealing     []byte       // what crypto/tls has just written
	plain       []byte       // where records are decrypted; empty
	record      bytes.Buffer // lent to crypto/tls
}

// newRef wraps a block that this loop holds. It starts with one reference, the caller's.
func (l *Loop) newRef(b *block, kind Kind) *blockRef {
	m := &l.memory
	r := m.refs
	if r == nil {
		r = new(blockRef)
	} else {
		m.refs = r.next
		m.numRefs--
	}
	*r = blockRef{block: b, refs: 1, kind: kind}
	return r
}

// maxRefs bounds the free list: 64 KiB of bookkeeping.
const maxRefs = 2048

// releaseRef gives up one reference; the last one lets the loop's hold on the block go.
func (l *Loop) releaseRef(r *blockRef) {
	if r.refs--; r.refs > 0 {
		return
	}
	l.closeFile(r)
	l.accounts.add(r.kind, -r.block.release())
	r.block = nil
	if m := &l.memory; m.numRefs < maxRefs {
		r.next = m.refs
		m.refs = r
		m.numRefs++
	}
}

// adopt makes b, which was appended to the block's data, its contents. When appending had to move
// the bytes, the block is the size it happens to be and is not pooled.
func (l *Loop) adopt(r *blockRef, b []byte) {
	if cap(b) != cap(r.block.data) {
		l.accounts.add(r.kind, int64(cap(b)-cap(r.block.data)))
		r.block.class = -1
	}
	r.block.data = b
}

// enqueue queues e, adding its reference, without looking at limits.
func (l *Loop) enqueue(c *Conn, e entry) {
	e.ref.refs++
	c.push(e)
}
