package session

import (
	"slices"
	"sync"
)

// Snapshot is the part of a session that lives in the connection while there is one.
type Snapshot struct {
	SessionText string   // set by workers (netsvr "session"); empty means guest
	Topics      []string // in any order
	Omitted     int      // set by the Store: how many topics, and the session text as one, were too much to keep
}

func (s *Snapshot) empty() bool { return s.SessionText == "" && len(s.Topics) == 0 && s.Omitted == 0 }

// within returns what of s fits into limit bytes, nil if there is nothing to remember. A topic counts 16 bytes beside
// its name. The session text goes first and is kept whole or not at all: half of it would mean something else.
func (s Snapshot) within(limit int) *Snapshot {
	s.Omitted = 0
	if len(s.SessionText) > limit {
		s.SessionText = ""
		s.Omitted++
	}
	used := len(s.SessionText)
	for i, t := range s.Topics {
		if used += len(t) + 16; used > limit {
			s.Omitted += len(s.Topics) - i
			s.Topics = slices.Clone(s.Topics[:i]) // frees the array behind the rest
			break
		}
	}
	if s.empty() {
		return nil
	}
	return &s
}

// record is what the Store knows of one session: 80 bytes, and a Snapshot while no connection holds it.
type record struct {
	id      SessionID
	user    string
	holder  Ref       // the connection; 0 while detached
	former  Ref       // superseded, and still to hand over its state, or 0
	snap    *Snapshot // detached: what the next holder gets; attached: handed over, not yet inherited
	expires int64     // unix milliseconds: no ticket of this session is good any longer
	grace   int64     // unix milliseconds: until then serial-1 is good too
	serial  uint32    // of the newest ticket
	pos     int32     // in recordShard.attached or .detached, as holder says
}

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
	evicted  uint64
	_        [64]byte // keeps the next shard's lock off this cache line
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
	s.home(r).push(r)
}

// drop forgets r.
func (s *recordShard) drop(r *record) {
	s.home(r).remove(int(r.pos))
	delete(s.byID, r.id)
}

// hold makes ref the holder of r, or nobody if ref is 0, and moves the expiry.
func (s *recordShard) hold(r *record, ref Ref, expires int64) {
	s.home(r).remove(int(r.pos))
	r.holder, r.expires = ref, expires
	s.home(r).push(r)
}

// makeRoom sees to it that one more record fits: one that is due goes, else the detached one that expires first, else
// the attached one that expires first. Of the last two the serial is remembered.
func (s *recordShard) makeRoom(ms int64) {
	if len(s.byID) < s.limit || s.expire(ms, 1) > 0 {
		return
	}
	victims := s.detached
	if len(victims) == 0 {
		victims = s.attached
	}
	r := victims[0]
	s.drop(r)
	s.spent.put(r.id, r.serial, r.expires)
	s.evicted++
}

// expire removes up to max records that are due at unix milliseconds ms and returns their number.
func (s *recordShard) expire(ms int64, max int) (n int) {
	for _, h := range [...]*dueHeap[*record]{&s.detached, &s.attached} {
		for n < max {
			r, ok := h.popDue(ms)
			if !ok {
				break
			}
			delete(s.byID, r.id)
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

// rotate checks serial, the one a client presents, against the newest of r, and steps on. The newest is good, and any
// later one (another gateway with our key made it). The one before is good while its grace lasts: the answer with the
// newest may have been lost. It is then given out once more rather than rotated, so that using an old ticket again and
// again does not keep it alive.
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
	case serial+1 == r.serial && ms < r.grace:
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

// supersede settles what the next holder, ref, gets now and whose state it has yet to wait for.
func (r *record) supersede(ref Ref) (snap Snapshot, old Ref) {
	if r.holder != ref {
		old = r.holder
	}
	switch {
	case r.snap != nil: // nobody else has had it: a holder before ref did not come to inherit
		snap, r.snap = *r.snap, nil
	case old != 0 && r.former == 0: // else former's state is the session's still, old never received it
		r.former = old
	}
	if r.former == ref {
		r.former = 0
	}
	return snap, old
}
