package session

import (
	"math"
	"sync"
	"sync/atomic"
	"unsafe"
)

// Snapshot is the part of a session that lives in the connection while there is one.
type Snapshot struct {
	SessionText string            // set by workers (netsvr "session"); empty means guest
	Topics      []string          // in any order
	Claims      map[string]string // what the login provider vouches for; may be nil
	// Marks are where the connection was in the histories of those topics that have one, in the order
	// of Topics.
	Marks []Mark
	// MarksLost says that nobody knows where it was in those histories that Marks has nothing of.
	MarksLost bool
	// Lost says that there was more, of which nothing is known any more: it was over a bound, or there
	// is no record of the session. The client was not told so, as far as is known.
	Lost bool
}

// A Mark is a place in a topic's history: behind message Seq of what Epoch names.
type Mark struct {
	Topic string // the one of Snapshot.Topics: it is not counted again
	Epoch uint64
	Seq   uint64
	At    int64 // unix ms: messages with greater numbers were published later; 0: not known
	// Last says that so many messages up to the place are wanted, too: nothing was received yet.
	Last uint32
}

// markSize is the bytes that a Mark costs.
const markSize = int(unsafe.Sizeof(Mark{}))

// A snapshot is a Snapshot that the Store keeps, in its shard's list of them, oldest first.
type snapshot struct {
	Snapshot
	bytes      int // what it costs
	owner      *record
	prev, next *snapshot
	number     uint64 // counts the snapshots of the Store
}

// nothing is in place of a snapshot that was not kept: Snapshot.Lost alone. It costs nothing, and is in
// no list.
var nothing = &snapshot{Snapshot: Snapshot{Lost: true}}

// noSnapshot is behind all numbers.
const noSnapshot = uint64(math.MaxUint64)

// snapshotOverhead is the bytes that a snapshot costs besides what is in it.
const snapshotOverhead = int(unsafe.Sizeof(snapshot{}))

// topicOverhead is the bytes that a topic costs beside its name: the string's header.
const topicOverhead = int(unsafe.Sizeof(""))

// claimOverhead is the bytes that a claim costs beside its text: two strings' headers, in a map.
const claimOverhead = 64

// size returns the bytes of the session text, topics and claims.
func (s *Snapshot) size() int {
	n := len(s.SessionText)
	for _, t := range s.Topics {
		n += len(t) + topicOverhead
	}
	for k, v := range s.Claims {
		n += len(k) + len(v) + claimOverhead
	}
	return n + len(s.Marks)*markSize
}

// record is what the Store knows of one session: 80 bytes, and a snapshot while no connection holds it.
type record struct {
	id      SessionID
	user    string
	holder  Ref       // the connection; 0 while detached
	former  Ref       // superseded, and still to hand over its state, or 0
	snap    *snapshot // detached: what the next holder gets; attached: handed over, not yet fetched
	expires int64     // unix milliseconds: no ticket of this session is good any longer
	grace   int64     // unix milliseconds: until then serial-1 is good too; negative: see undelivered
	serial  uint32    // of the newest ticket
	pos     int32     // in recordShard.attached or .detached, as holder says
}

// undelivered reports whether no client was told of serial, the newest ticket, yet, see
// Store.Undelivered: then serial-1 is good whatever the time, and grace is less than zero, minus
// the time until which it would be good.
func (r *record) undelivered() bool { return r.grace < 0 }

func (r *record) dueAt() int64 { return r.expires }
func (r *record) setPos(i int) { r.pos = int32(i) }

// recordShard is one lock's part of the Store. Its methods are called with mu held.
type recordShard struct {
	mu       sync.Mutex
	byID     map[SessionID]*record
	peak     int // of len(byID), see slim
	attached dueHeap[*record]
	detached dueHeap[*record]
	spent    spentSet
	limit    int
	evicted  [numCauses]uint64
	waiting  *waiting // all of the Store's detached records by user
	watcher  Watcher  // the Store's, or nil

	oldest, newest *snapshot      // the list of all
	bytes          *atomic.Int64  // of all snapshots of the Store
	number         *atomic.Uint64 // of the Store's newest snapshot
	first          atomic.Uint64  // number of oldest, noSnapshot if there is none; read without the lock
	_              [64]byte       // keeps the next shard's lock off this cache line
}

// home is the heap that r belongs to, as its holder says.
func (s *recordShard) home(r *record) *dueHeap[*record] {
	if r.holder == 0 {
		return &s.detached
	}
	return &s.attached
}

// add stores r, a new session, in room that makeRoom has made.
func (s *recordShard) add(r *record) {
	s.byID[r.id] = r
	s.peak = max(s.peak, len(s.byID))
	s.join(r)
}

// drop forgets r.
func (s *recordShard) drop(r *record) {
	s.take(r)
	s.leave(r)
	delete(s.byID, r.id)
}

// leave takes r off what its holder says it is in, and join puts it there.
func (s *recordShard) leave(r *record) {
	s.home(r).remove(int(r.pos))
	if r.holder == 0 {
		s.waiting.remove(r)
	}
}

func (s *recordShard) join(r *record) {
	s.home(r).push(r)
	if r.holder == 0 {
		s.waiting.add(r)
	}
}

// keep leaves snap, which may be nil, with r, which has none.
func (s *recordShard) keep(r *record, snap *snapshot) {
	if snap == nil {
		return
	}
	if snap == nothing {
		r.snap = snap
		return
	}
	snap.number = s.number.Add(1)
	r.snap, snap.owner, snap.prev = snap, r, s.newest
	if s.newest != nil {
		s.newest.next = snap
	} else {
		s.oldest = snap
		s.first.Store(snap.number)
	}
	s.newest = snap
	s.bytes.Add(int64(snap.bytes))
}

// take takes away r's snapshot and returns it; ok is false when there is none.
func (s *recordShard) take(r *record) (snap Snapshot, ok bool) {
	n := r.snap
	switch n {
	case nil:
		return Snapshot{}, false
	case nothing:
		r.snap = nil
		return nothing.Snapshot, true
	}
	if n.prev != nil {
		n.prev.next = n.next
	} else {
		s.oldest = n.next
		first := noSnapshot
		if n.next != nil {
			first = n.next.number
		}
		s.first.Store(first)
	}
	if n.next != nil {
		n.next.prev = n.prev
	} else {
		s.newest = n.prev
	}
	r.snap = nil
	if fault != 1 {
		s.bytes.Add(-int64(n.bytes))
	}
	return n.Snapshot, true
}

// hold makes ref the holder of r, or nobody if ref is 0, and moves the expiry.
func (s *recordShard) hold(r *record, ref Ref, expires int64) {
	s.leave(r)
	r.holder, r.expires = ref, expires
	s.join(r)
}

// makeRoom sees to it that one more record fits: one that is due goes, else the detached one that
// expires first, else the attached one that expires first. Of the last two the serial is
// remembered.
func (s *recordShard) makeRoom(ms int64) {
	if len(s.byID) < s.limit || s.expire(ms, 1) > 0 {
		return
	}
	victims := s.detached
	if len(victims) == 0 {
		victims = s.attached
	}
	s.evict(victims[0], forRoom)
}

// expire removes up to max records that are due at unix milliseconds ms and returns their number.
func (s *recordShard) expire(ms int64, max int) (n int) {
	for _, h := range [...]*dueHeap[*record]{&s.detached, &s.attached} {
		for n < max {
			if len(*h) == 0 || (*h)[0].expires > ms {
				break
			}
			r := (*h)[0]
			s.drop(r)
			s.forgotten(r)
			n++
		}
	}
	s.byID, s.peak = slim(s.byID, s.peak)
	return n
}

// A rotation is what rotate changes, as it was before. The zero rotation changed nothing.
type rotation struct {
	stepped bool
	serial  uint32
	grace   int64
}

// rotate checks serial, the one a client presents, against the newest of r, and steps on. The
// newest is good, and any later one (another gateway with our key made it). The one before is good
// while its grace lasts: the answer with the newest may have been lost. It is then given out once
// more rather than rotated, so that using an old ticket again and again does not keep it alive. A
// ticket that no client was told of does not end the one before.
func (r *record) rotate(serial uint32, ms, grace int64) (before rotation, err error) {
	switch {
	case serial >= r.serial:
		before = rotation{stepped: true, serial: serial}
		if serial == r.serial {
			before.grace = r.grace
		}
		r.serial = serial + 1
		r.grace = ms + grace
		return before, nil
	case serial+1 == r.serial && (r.undelivered() || ms < r.grace && r.grace-ms <= 2*grace || fault == 2): // more: the clock was set back
		return rotation{}, nil
	}
	return rotation{}, ErrReplayed
}

// unrotate undoes the latest rotate, which returned before.
func (r *record) unrotate(before rotation) {
	if before.stepped {
		r.serial, r.grace = before.serial, before.grace
	}
}

// supersede decides what the next holder of r, ref, gets now and whose state it has yet to wait for.
func (s *recordShard) supersede(r *record, ref Ref) (snap Snapshot, old Ref) {
	if r.holder != ref {
		old = r.holder
	}
	snap, ok := s.take(r) // nobody else has had it: a holder before ref did not come to fetch it
	if !ok && old != 0 && r.former == 0 {
		r.former = old // else former's state is the session's still, old never received it
	}
	if r.former == ref {
		r.former = 0
	}
	return snap, old
}
