package gateway

import (
	"crypto/rand"
	"fmt"
	"io"
	mrand "math/rand/v2"
	"sync/atomic"
	"unsafe"

	"github.com/valyala/bytebufferpool"

	"github.com/sluicenet/sluice/engine"
)

// A Ticket names a request that is to be answered later. Any goroutine may use it. The zero
// Ticket answers nothing.
type Ticket struct{ id uint64 }

// newTicket names a place in a loop's table. Its id:
//
//	63    56 55              32 31          0
//	| loop  | place in the table | check     |
//
// The check is random: a worker can answer the requests that it was given, and cannot guess others'.
func newTicket(loop int, place, check uint32) Ticket {
	return Ticket{uint64(loop)<<56 | uint64(place)<<32 | uint64(check)}
}

// TicketOf returns the ticket whose ID is id. It may name nothing.
func TicketOf(id uint64) Ticket { return Ticket{id} }

// ID returns the number by which the request can be named on a wire, 0 for the zero Ticket.
func (t Ticket) ID() uint64 { return t.id }

// Loop returns the index of the loop whose request it is.
func (t Ticket) Loop() int { return int(t.id >> 56) }

func (t Ticket) place() uint32 { return uint32(t.id>>32) & maxPlace }
func (t Ticket) check() uint32 { return uint32(t.id) }

// An Owner is who was given a request. The zero Owner is a handler in this process.
type Owner struct {
	Worker int    // the worker id: only its links may answer
	Link   uint32 // the link, see Gateway.FailLink
}

// A pendingTable holds a loop's requests that wait for an answer, and the replies that came before
// their turn. It is the only place that knows of them.
type pendingTable struct {
	loop    *engine.Loop // nil before the first request
	list    []pending    // place 0 is not used
	free    []uint32     // places, the one that became free last at the end
	used    int
	limit   int       // places; 0 means maxPlace+1
	rand    io.Reader // seeds random; nil means crypto/rand
	random  *mrand.ChaCha8
	spans   map[uint32]*Span // of the requests that are recorded, by place
	clients clientPool

	_      [64]byte      // links' readers look at what follows, loops write what is before for each request
	places atomic.Uint32 // the length of list, for other goroutines
	_      [64]byte
}

// A pending is a request and its place in its client's queue.
type pending struct {
	ref        engine.Ref
	deadline   int64 // ms on the engine's clock
	reply      *bytebufferpool.ByteBuffer
	check      uint32
	id         uint32 // the protocol's own
	next, prev uint32 // in the queue, 0 at its ends
	bytes      int32  // of the request, charged until it is answered
	status     int32  // of the reply
	given      uint32 // ms on the engine's clock, modulo 2^32, when it was given to its owner
	link       uint32
	worker     uint16
	cmd        uint8
	answered   bool // and the reply waits for its turn
}

const (
	// pendingCost is the bytes that a request costs beside what is in it: its place, also when it
	// is free.
	pendingCost = int(unsafe.Sizeof(pending{})) + 4
	maxPlace    = 1<<24 - 1
	// keptPlaces is how long an empty table may stay.
	keptPlaces = 1024
)

// A pendingQueue is a client's requests in the table of its loop, oldest first.
type pendingQueue struct {
	first, last uint32
	open        int32  // requests that are not answered
	bytes       uint32 // charged to the connection, for requests and replies
	armed       int64  // no request has an earlier deadline; 0 when there is none
}

func (q *pendingQueue) empty() bool { return q.first == 0 }

// add appends a request of a connection to q. What more there is of it is the caller's to fill in,
// before the next. place is 0 when the table is full.
func (t *pendingTable) add(q *pendingQueue, ref engine.Ref, id uint32, cmd uint8) (place uint32, p *pending) {
	switch last := len(t.free) - 1; {
	case last >= 0: // what is at place has left the cache: nothing here reads it
		place = t.free[last]
		t.free = t.free[:last]
	case len(t.list) > maxPlace || t.limit > 0 && len(t.list) >= t.limit:
		return 0, nil
	default:
		if t.list == nil {
			t.list = make([]pending, 1, 64)
		}
		place = uint32(len(t.list))
		t.list = append(t.list, pending{})
		t.places.Store(uint32(len(t.list)))
	}
	t.used++
	p = &t.list[place]
	p.ref, p.check, p.id, p.cmd, p.prev = ref, uint32(t.numbers().Uint64()), id, cmd, q.last
	if q.last != 0 {
		t.list[q.last].next = place
	} else {
		q.first = place
	}
	q.last = place
	q.open++
	return place, p
}

// numbers returns the loop's random numbers, which nobody can guess.
func (t *pendingTable) numbers() *mrand.ChaCha8 {
	if t.random == nil {
		var seed [32]byte
		if t.rand == nil {
			t.rand = rand.Reader
		}
		if _, err := io.ReadFull(t.rand, seed[:]); err != nil {
			panic(fmt.Sprintf("gateway: no random numbers: %v", err)) // crypto/rand never fails
		}
		t.random = mrand.NewChaCha8(seed)
	}
	return t.random
}

// find returns the place of the request that a ticket names, 0 when it is over or was given to
// another worker. worker is 0 for who has not registered as one.
func (t *pendingTable) find(ticket Ticket, worker int) (place uint32) {
	place = ticket.place()
	if place == 0 || int(place) >= len(t.list) {
		return 0
	}
	p := &t.list[place]
	if p.ref == 0 || p.check != ticket.check() || p.answered {
		return 0
	}
	if p.worker != 0 && worker != 0 && int(p.worker) != worker {
		return 0
	}
	return place
}

// remove takes a request out of q and of the table.
func (t *pendingTable) remove(q *pendingQueue, place uint32) {
	p := &t.list[place]
	if p.prev != 0 {
		t.list[p.prev].next = p.next
	} else {
		q.first = p.next
	}
	if p.next != 0 {
		t.list[p.next].prev = p.prev
	} else {
		q.last = p.prev
	}
	*p = pending{}
	t.free = append(t.free, place)
	if t.used--; t.used == 0 && len(t.list) > keptPlaces {
		t.list, t.free = nil, nil
		t.places.Store(0)
	}
}

// earliest returns the next deadline among q's unanswered, 0 when there is none.
func (t *pendingTable) earliest(q *pendingQueue) (first int64) {
	for i := q.first; i != 0; i = t.list[i].next {
		if p := &t.list[i]; !p.answered && (first == 0 || p.deadline < first) {
			first = p.deadline
		}
	}
	return first
}

// replyBuffers are replies that wait for their turn, or for their loop.
var replyBuffers bytebufferpool.Pool

// bufferCost is the bytes that a buffer costs beside its capacity.
const bufferCost = int(unsafe.Sizeof(bytebufferpool.ByteBuffer{}))

// copyReply returns a copy of payload. The pool may offer room for a reply of a thousand times the
// size, which the client would have to pay for.
func copyReply(payload []byte) *bytebufferpool.ByteBuffer {
	b := replyBuffers.Get()
	if cap(b.B) < len(payload) || cap(b.B) > 2*max(len(payload), 256) {
		replyBuffers.Put(b)
		b = &bytebufferpool.ByteBuffer{B: make([]byte, 0, len(payload))}
	}
	b.B = append(b.B[:0], payload...)
	return b
}

// A clientPool is a loop's memory for what clients have while they wait for replies: they come to
// wait and cease to with every request that a worker answers.
type clientPool struct{ free []*extra }

// maxPooled is how many are kept.
const maxPooled = 256

// get returns a zero extra. The pool may be nil.
func (p *clientPool) get() *extra {
	if p == nil || len(p.free) == 0 {
		return new(extra)
	}
	last := len(p.free) - 1
	x := p.free[last]
	p.free[last] = nil
	p.free = p.free[:last]
	return x
}

// put takes one that is not used any more.
func (p *clientPool) put(x *extra) {
	if len(p.free) < maxPooled {
		*x = extra{}
		p.free = append(p.free, x)
	}
}
