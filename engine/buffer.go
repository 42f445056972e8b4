package engine

import (
	"math/bits"
	"sync"
	"sync/atomic"
)

// A block is pooled memory that holds encoded bytes on their way to sockets. It is written by
// one owner, then only read. Loops that hold it share one atomic count; within a loop a hold
// counts without atomics.
type block struct {
	data   []byte // what was encoded; the capacity is the block's size class
	class  int8   // index into blockPools, or -1: too big to pool
	shared atomic.Int32
}

// Size classes are powers of four from 1 KiB to 256 KiB: a reply fits the first, a run the
// fourth (64 KiB), and an odd giant is not worth keeping.
const (
	minBlockShift = 10
	numClasses    = 5
)

var blockPools [numClasses]sync.Pool

// newBlock returns an empty block with room for at least n bytes, held by one loop.
func newBlock(n int) *block {
	class := 0
	if n > 1<<minBlockShift {
		class = (bits.Len(uint(n-1)) - minBlockShift + 1) / 2
	}
	if class >= numClasses {
		b := &block{data: make([]byte, 0, n), class: -1}
		b.shared.Store(1)
		return b
	}
	b, _ := blockPools[class].Get().(*block)
	if b == nil {
		b = &block{data: make([]byte, 0, 1<<(minBlockShift+2*class)), class: int8(class)}
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
	if b.class >= 0 {
		b.data = b.data[:0]
		blockPools[b.class].Put(b)
	}
	return n
}

// A hold is one loop's share of a block. refs counts the loop's queue entries that point into it.
type hold struct {
	block *block
	refs  int32
	// growing is set while one connection may still append to the block: it holds that
	// connection's own replies and nobody else's.
	growing bool
	next    *hold // the loop's free list
}

// newHold wraps a block that this loop holds. It starts with one reference, the caller's.
func (l *Loop) newHold(b *block) *hold {
	h := l.holds
	if h == nil {
		h = new(hold)
	} else {
		l.holds = h.next
		l.numHolds--
	}
	*h = hold{block: b, refs: 1}
	return h
}

// maxHolds bounds the free list: 64 KiB of bookkeeping.
const maxHolds = 2048

// unhold gives up one reference; the last one lets the loop's hold on the block go.
func (l *Loop) unhold(h *hold) {
	if h.refs--; h.refs > 0 {
		return
	}
	l.backlogDelta -= h.block.release()
	h.block = nil
	if l.numHolds < maxHolds {
		h.next = l.holds
		l.holds = h
		l.numHolds++
	}
}

// adopt makes b, which was appended to blk.data, blk's contents. When appending had to move the
// bytes, the block is the size it happens to be and is not pooled.
func (l *Loop) adopt(blk *block, b []byte) {
	if cap(b) != cap(blk.data) {
		l.backlogDelta += int64(cap(b) - cap(blk.data))
		blk.class = -1
	}
	blk.data = b
}

// pushEntry queues e, adding its reference, without looking at limits.
func (l *Loop) pushEntry(c *Conn, e entry) {
	e.hold.refs++
	c.push(e)
}
