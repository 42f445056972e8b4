package link

import (
	"encoding/binary"
	"sync"
	"unsafe"
)

// A backlog is the frames that wait for a worker that does not keep up. Each client has a queue of
// its own and they are served in turn, so that one with a thousand frames delays another's only
// frame by one of them. A queue exists while something is in it, and when the backlog is empty it
// keeps next to nothing. It is used under the lock of its outbox.
//
// A turn is worth turnBytes. Frames go out whole: what one takes beyond its turn, its client pays
// with the turns after it, so that clients with long and with short frames get as many bytes.
//
// Bytes lie in segments of pages, chained per queue: before each frame its length, in 4 bytes.
type backlog struct {
	pages []*page
	free  uint32 // the first segment that was used before and is free; 0: none
	fresh uint32 // the first that was never used

	queues    []clientQueue // ownQueue, lastQueue, and the clients' in any order
	freeQueue uint32        // the first that is free; 0: none
	clients   map[uint64]uint32
	first     uint32 // whose turn it is; 0: no client's
	final     uint32 // whose turn is last

	bytes int // of frames
}

// A clientQueue is frames of one client, oldest first.
type clientQueue struct {
	client     uint64
	head, tail uint32 // segments
	start, end uint32 // of the bytes, in head and tail
	bytes      int    // of frames
	credit     int    // bytes that it may still take in its turn; what it owes if negative
	next       uint32 // in turn, or of the free ones
}

const (
	// ownQueue has the gateway's own frames, such as answers. They go first: what a worker is told
	// of a client is never behind an event that came later, and a pong never behind a flood.
	ownQueue = iota
	// lastQueue has what is to be behind everything else: the answer to Unregister, since some
	// workers hang up on it.
	lastQueue
	firstClientQueue
)

const (
	// turnBytes is short, since somebody with one frame waits for a turn of everybody else.
	turnBytes   = 1 << 10
	segmentSize = 256
	pageSize    = 256 // segments
	// queueCost is about what a client's queue takes beside its segments, in bytes.
	queueCost = int(unsafe.Sizeof(clientQueue{})) + 40 // in the map
	// clientCost is about what a client's frames take beside themselves: the last segment, too.
	clientCost = queueCost + segmentSize
	// keptQueues is how many queues an empty backlog may keep room for.
	keptQueues = 64
)

type segment struct {
	next uint32
	data [segmentSize - 4]byte
}

type page [pageSize]segment

var pages = sync.Pool{New: func() any { return new(page) }}

func (b *backlog) empty() bool { return b.bytes == 0 }

// cost returns what counts of the backlog against a limit, in bytes. Of many clients with a short
// frame each it is more than the frames.
func (b *backlog) cost() int { return b.bytes + len(b.clients)*clientCost }

// memory returns what is allocated, in bytes.
func (b *backlog) memory() int {
	return len(b.pages)*int(unsafe.Sizeof(page{})) + cap(b.pages)*8 + cap(b.queues)*queueCost
}

// of returns the bytes of a client's frames.
func (b *backlog) of(client uint64) int {
	if len(b.clients) == 0 {
		return 0
	}
	if i := b.clients[client]; i != 0 {
		return b.queues[i].bytes
	}
	return 0
}

// push appends a frame of a client.
func (b *backlog) push(client uint64, frame []byte) {
	b.prepare()
	i := b.clients[client]
	if i == 0 {
		i = b.open(client)
	}
	b.pushTo(i, frame)
}

// pushTo appends a frame to a queue.
func (b *backlog) pushTo(i uint32, frame []byte) {
	b.prepare()
	var size [4]byte
	binary.LittleEndian.PutUint32(size[:], uint32(len(frame)))
	q := &b.queues[i]
	b.write(q, size[:])
	b.write(q, frame)
	q.bytes += len(frame)
	b.bytes += len(frame)
}

// prepare makes what an empty backlog may not have.
func (b *backlog) prepare() {
	if b.queues == nil {
		b.queues = make([]clientQueue, firstClientQueue, 8)
		b.clients = make(map[uint64]uint32)
	}
}

// open makes a queue, whose turn is last.
func (b *backlog) open(client uint64) (i uint32) {
	if i = b.freeQueue; i != 0 {
		b.freeQueue = b.queues[i].next
	} else {
		i = uint32(len(b.queues))
		b.queues = append(b.queues, clientQueue{})
	}
	b.queues[i] = clientQueue{client: client, credit: turnBytes}
	b.clients[client] = i
	b.toEnd(i)
	return i
}

// toEnd puts a queue that is not among them behind those that have turns.
func (b *backlog) toEnd(i uint32) {
	b.queues[i].next = 0
	if b.first == 0 {
		b.first = i
	} else {
		b.queues[b.final].next = i
	}
	b.final = i
}

// takeFirst takes the queue whose turn it is out of those that have turns.
func (b *backlog) takeFirst() (i uint32) {
	i = b.first
	b.first = b.queues[i].next
	return i
}

// turn returns the queue that is served next. One of them has a frame.
func (b *backlog) turn() uint32 {
	if b.queues[ownQueue].bytes > 0 {
		return ownQueue
	}
	for b.first != 0 {
		q := &b.queues[b.first]
		if q.credit > 0 {
			return b.first
		}
		if b.first == b.final { // alone, it waits for nobody
			q.credit = turnBytes
			continue
		}
		q.credit += turnBytes
		b.toEnd(b.takeFirst())
	}
	return lastQueue
}

// pop moves the frame whose turn it is behind dst. client is 0 for one of the gateway's own. There
// must be one.
func (b *backlog) pop(dst []byte) (_ []byte, client uint64, size int) {
	i := b.turn()
	q := &b.queues[i]
	client, was := q.client, len(dst)
	dst = b.peek(q, dst)
	size = len(dst) - was
	q.credit -= size
	b.drop(q, size)
	if i >= firstClientQueue && q.bytes == 0 {
		b.retire(b.takeFirst())
	}
	b.shrink()
	return dst, client, size
}

// retire gives a queue back that is empty and among no turns.
func (b *backlog) retire(i uint32) {
	delete(b.clients, b.queues[i].client)
	b.queues[i].next = b.freeQueue
	b.freeQueue = i
}

// peek appends the first frame of a queue to dst.
func (b *backlog) peek(q *clientQueue, dst []byte) []byte {
	r := *q
	var room [4]byte
	size := binary.LittleEndian.Uint32(b.read(&r, room[:0], 4))
	return b.read(&r, dst, int(size))
}

// read appends the next n bytes of a queue to dst, without letting go of them.
func (b *backlog) read(q *clientQueue, dst []byte, n int) []byte {
	for n > 0 {
		s := b.at(q.head)
		if q.start == uint32(len(s.data)) {
			q.head, q.start = s.next, 0
			continue
		}
		some := min(n, len(s.data)-int(q.start))
		dst = append(dst, s.data[q.start:int(q.start)+some]...)
		q.start += uint32(some)
		n -= some
	}
	return dst
}

// drop lets go of the first frame of a queue, of size bytes.
func (b *backlog) drop(q *clientQueue, size int) {
	q.bytes -= size
	b.bytes -= size
	for n := size + 4; n > 0; {
		s := b.at(q.head)
		if q.start == uint32(len(s.data)) {
			next := s.next
			b.freeSegment(q.head)
			q.head, q.start = next, 0
			continue
		}
		some := min(n, len(s.data)-int(q.start))
		q.start += uint32(some)
		n -= some
	}
	if q.bytes == 0 {
		b.freeSegment(q.head)
		q.head, q.tail, q.start, q.end = 0, 0, 0, 0
	}
}

// write appends bytes to a queue.
func (b *backlog) write(q *clientQueue, p []byte) {
	for len(p) > 0 {
		if q.tail == 0 || q.end == uint32(len(segment{}.data)) {
			i := b.segment()
			if q.tail == 0 {
				q.head = i
			} else {
				b.at(q.tail).next = i
			}
			q.tail, q.end = i, 0
		}
		n := copy(b.at(q.tail).data[q.end:], p)
		q.end += uint32(n)
		p = p[n:]
	}
}

func (b *backlog) at(i uint32) *segment { return &b.pages[i/pageSize][i%pageSize] }

// segment takes a free segment.
func (b *backlog) segment() (i uint32) {
	if i = b.free; i != 0 {
		b.free = b.at(i).next
		return i
	}
	if b.fresh == 0 {
		b.fresh = 1 // 0 means none
	}
	i = b.fresh
	if int(i/pageSize) == len(b.pages) {
		b.pages = append(b.pages, pages.Get().(*page))
	}
	b.fresh++
	return i
}

// freeSegment gives a segment back to those that segment takes.
func (b *backlog) freeSegment(i uint32) {
	b.at(i).next = b.free
	b.free = i
}

// shrink gives the memory back when nothing is left.
func (b *backlog) shrink() {
	if b.bytes == 0 {
		b.reset()
	}
}

// reset lets go of all frames.
func (b *backlog) reset() {
	for i, p := range b.pages {
		pages.Put(p)
		b.pages[i] = nil
	}
	kept := backlog{pages: b.pages[:0]}
	if cap(b.pages) > keptQueues {
		kept.pages = nil
	}
	if b.queues != nil && cap(b.queues) <= keptQueues {
		clear(b.clients)
		kept.queues, kept.clients = b.queues[:firstClientQueue], b.clients
		clear(kept.queues)
	}
	*b = kept
}

// A withdrawal goes through the clients of a backlog once, a part at a time.
type withdrawal struct {
	begun   bool
	clients int // that are still to be looked at
	frame   []byte
}

// withdraw calls move with frames of clients, in the order of each, and lets go of those that it
// takes. After one that move does not take it goes on with the next client. It reports false when
// all have been looked at, and stops before that when about most bytes have been moved.
func (b *backlog) withdraw(
	w *withdrawal, most int, move func(client uint64, frame []byte) bool,
) (more bool) {
	if !w.begun {
		w.begun, w.clients = true, len(b.clients)
	}
	for w.clients > 0 && b.first != 0 && most > 0 {
		q := &b.queues[b.first]
		for q.bytes > 0 && most > 0 {
			w.frame = b.peek(q, w.frame[:0])
			if !move(q.client, w.frame) {
				break
			}
			most -= len(w.frame)
			b.drop(q, len(w.frame))
		}
		if q.bytes > 0 && most <= 0 {
			return true
		}
		w.clients--
		if i := b.takeFirst(); q.bytes == 0 {
			b.retire(i)
		} else {
			b.toEnd(i)
		}
	}
	b.shrink()
	return w.clients > 0 && b.first != 0
}
