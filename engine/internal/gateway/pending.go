package gateway

import (
	"slices"
	"sort"
)

// A pendingQueue holds a client's requests that wait for a reply, oldest first. On a protocol that
// answers in order it also holds the replies that came before their turn.
type pendingQueue struct {
	list []pending // by sequence number, modulo 2^32
	room []pending // the array that list lies in, from its beginning
	next uint32    // sequence number of the next request
	open int       // requests in list that are not answered
}

type pending struct {
	id       uint32
	seq      uint32
	cmd      uint8
	answered bool
	sent     bool // answered, and the reply is out: only on protocols without order
	status   int32
	deadline int64 // ms on the engine's clock
	payload  []byte
}

func (q *pendingQueue) empty() bool { return len(q.list) == 0 }

// add appends a request and returns its sequence number.
func (q *pendingQueue) add(s *spares, id uint32, cmd uint8, deadline int64) uint32 {
	if len(q.list) == cap(q.list) {
		q.makeRoom(s)
	}
	q.list = append(q.list, pending{id: id, seq: q.next, cmd: cmd, deadline: deadline})
	q.open++
	q.next++
	return q.next - 1
}

// makeRoom lets list grow: to where those at the front were, or into a bigger array.
func (q *pendingQueue) makeRoom(s *spares) {
	n := len(q.list)
	if n > 0 && n <= len(q.room)/2 {
		copy(q.room, q.list)
		clear(q.room[n:])
	} else {
		room := s.takeRoom(2 * n)
		copy(room, q.list)
		s.keepRoom(q.room)
		q.room = room
	}
	q.list = q.room[:n]
}

// find returns the request with a sequence number, nil when it is over.
func (q *pendingQueue) find(seq uint32) *pending {
	if len(q.list) == 0 {
		return nil
	}
	first := q.list[0].seq
	i := int(seq - first) // its place, unless some have been taken out before it
	if i >= len(q.list) || q.list[i].seq != seq {
		i = sort.Search(len(q.list), func(i int) bool { return q.list[i].seq-first >= seq-first })
	}
	if i == len(q.list) || q.list[i].seq != seq || q.list[i].answered {
		return nil
	}
	return &q.list[i]
}

// trim removes the requests at the front whose replies are out, and others when they have become
// many: where replies come in any order, one slow request must not keep all that came after it.
func (q *pendingQueue) trim(s *spares) {
	n := 0
	for n < len(q.list) && q.list[n].sent {
		n++
	}
	if n == len(q.list) {
		s.keepRoom(q.room)
		q.list, q.room = nil, nil
		return
	}
	if n > 0 {
		q.list = q.list[n:]
	}
	if len(q.list) >= sparse && q.open < len(q.list)/2 {
		q.list = slices.DeleteFunc(q.list, func(p pending) bool { return p.sent })
	}
}

// sparse is the length of a list from which it is worth the while to take out what is over.
const sparse = 64

// earliest returns the next deadline among the unanswered, 0 when there is none.
func (q *pendingQueue) earliest() int64 {
	var first int64
	for i := range q.list {
		if p := &q.list[i]; !p.answered && (first == 0 || p.deadline < first) {
			first = p.deadline
		}
	}
	return first
}

// spares is a loop's memory for clients that wait for replies: clients come to wait and cease to
// with every request that a worker answers.
type spares struct {
	mores []*more
	rooms [][]pending
}

const (
	maxSpares = 256 // of each kind
	leastRoom = 4   // requests
	maxSpare  = 64  // requests in an array that is kept
)

// takeRoom returns a zeroed array for n requests or more.
func (s *spares) takeRoom(n int) []pending {
	last := len(s.rooms) - 1
	for i := last; i >= max(0, last-3); i-- { // a look at those used last
		if room := s.rooms[i]; len(room) >= n {
			s.rooms[i], s.rooms[last] = s.rooms[last], nil
			s.rooms = s.rooms[:last]
			return room
		}
	}
	return make([]pending, max(n, leastRoom))
}

// keepRoom takes an array that is not used any more.
func (s *spares) keepRoom(room []pending) {
	if len(room) == 0 || len(room) > maxSpare || len(s.rooms) == maxSpares {
		return
	}
	clear(room)
	s.rooms = append(s.rooms, room)
}

// takeMore returns a zero more. s may be nil.
func (s *spares) takeMore() *more {
	if s == nil || len(s.mores) == 0 {
		return new(more)
	}
	last := len(s.mores) - 1
	m := s.mores[last]
	s.mores[last] = nil
	s.mores = s.mores[:last]
	return m
}

// keepMore takes one that is not used any more.
func (s *spares) keepMore(m *more) {
	if len(s.mores) < maxSpares {
		*m = more{}
		s.mores = append(s.mores, m)
	}
}
