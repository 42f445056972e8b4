package engine

import "math/bits"

// A wheel holds at most one deadline per slot. It does not know what time is: the caller says.
// Times are ticks of 100 ms since the engine started.
type wheel struct {
	nodes   []wheelNode // by slot + 1; 0 ends a list
	buckets [wheelSize]uint32
	busy    [wheelSize / 64]uint64 // a bit for each bucket that has nodes
	now     uint32                 // of ticks up to and including now there are no deadlines
	count   int
}

type wheelNode struct {
	next, prev uint32
	due        uint32 // 0: not in the wheel
}

// A bucket is looked at once per turn of the wheel, 102.4 s, so that a client's usual keep-alive
// of 90 s does not come by twice.
const wheelSize = 1024

// set puts slot's deadline at due, which is moved to the next tick when it is not in the future.
func (w *wheel) set(slot, due uint32) {
	if due <= w.now {
		due = w.now + 1
	}
	for int(slot)+1 >= len(w.nodes) {
		w.nodes = append(w.nodes, wheelNode{})
	}
	n := &w.nodes[slot+1]
	if n.due == due {
		return
	}
	if n.due != 0 {
		w.unlink(slot + 1)
	}
	n.due = due
	w.count++
	b := due % wheelSize
	n.prev, n.next = 0, w.buckets[b]
	if n.next != 0 {
		w.nodes[n.next].prev = slot + 1
	}
	w.buckets[b] = slot + 1
	w.busy[b/64] |= 1 << (b % 64)
}

// due returns slot's deadline, 0 if it has none.
func (w *wheel) due(slot uint32) uint32 {
	if int(slot)+1 >= len(w.nodes) {
		return 0
	}
	return w.nodes[slot+1].due
}

// clear takes slot's deadline away, if it has one.
func (w *wheel) clear(slot uint32) {
	if int(slot)+1 < len(w.nodes) && w.nodes[slot+1].due != 0 {
		w.unlink(slot + 1)
	}
}

func (w *wheel) unlink(i uint32) {
	n := &w.nodes[i]
	b := n.due % wheelSize
	if n.prev != 0 {
		w.nodes[n.prev].next = n.next
	} else {
		w.buckets[b] = n.next
		if n.next == 0 {
			w.busy[b/64] &^= 1 << (b % 64)
		}
	}
	if n.next != 0 {
		w.nodes[n.next].prev = n.prev
	}
	*n = wheelNode{}
	w.count--
}

// expire moves the wheel to now and appends slots whose deadline has come to dst, until that is full.
// more says that there may be others: then the wheel stands still in front of them, and to call expire
// again goes on there.
func (w *wheel) expire(dst []uint32, now uint32) (_ []uint32, more bool) {
	if now <= w.now {
		return dst, false
	}
	from := w.now + 1
	if now-w.now > wheelSize {
		from = now - wheelSize + 1 // every bucket once
	}
	for t := from; t <= now && w.count > 0; t++ {
		b := t % wheelSize
		if w.busy[b/64]&(1<<(b%64)) == 0 {
			continue
		}
		for i := w.buckets[b]; i != 0; {
			next := w.nodes[i].next
			if w.nodes[i].due <= now {
				if len(dst) == cap(dst) {
					w.now = t - 1
					return dst, true
				}
				w.unlink(i)
				dst = append(dst, i-1)
			}
			i = next
		}
	}
	w.now = now
	return dst, false
}

// next returns a tick not later than the earliest deadline; ok is false when there is none.
func (w *wheel) next() (tick uint32, ok bool) {
	if w.count == 0 {
		return 0, false
	}
	start := w.now + 1
	for off := uint32(0); off < wheelSize; {
		b := (start + off) % wheelSize
		if word := w.busy[b/64] >> (b % 64); word != 0 {
			return start + off + uint32(bits.TrailingZeros64(word)), true
		}
		off += 64 - b%64
	}
	return 0, false
}
