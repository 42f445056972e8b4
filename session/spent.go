package session

import "math"

// endedSerial as the lowest good serial means that none is.
const endedSerial = math.MaxUint32

// spentTicket remembers of a session without a record which of its tickets are used up.
type spentTicket struct {
	id      SessionID
	expires int64  // unix milliseconds; none of the session's tickets is good any longer
	min     uint32 // the lowest serial still good
	pos     int32  // in spentSet.due
}

func (t *spentTicket) dueAt() int64 { return t.expires }
func (t *spentTicket) setPos(i int) { t.pos = int32(i) }

// spentSet is the bounded memory of spent tickets in one shard. When it overflows, the entry that
// expires first is forgotten and floor rises to its expiry. Every ticket of a forgotten session
// expires at or before floor, so refusing all unknown tickets up to floor errs on the safe side.
type spentSet struct {
	byID  map[SessionID]*spentTicket
	peak  int // of len(byID), see slim
	due   dueHeap[*spentTicket]
	limit int
	floor int64 // unix milliseconds
}

// put remembers that id's tickets below min are spent; two entries of one id join to the stricter.
func (s *spentSet) put(id SessionID, min uint32, expires int64) {
	if t := s.byID[id]; t != nil {
		t.min = max(t.min, min)
		t.expires = max(t.expires, expires)
		s.due.fix(int(t.pos))
		return
	}
	t := &spentTicket{id: id, expires: expires, min: min}
	s.byID[id] = t
	s.peak = max(s.peak, len(s.byID))
	s.due.push(t)
	if len(s.due) > s.limit {
		first := s.due[0]
		s.floor = max(s.floor, first.expires)
		s.drop(first)
	}
}

// check decides on a ticket whose session has no record.
func (s *spentSet) check(t Ticket) error {
	known := s.byID[t.ID]
	switch {
	case known == nil && t.Expires <= s.floor:
		return ErrForgotten
	case known == nil:
		return nil
	case known.min == endedSerial && fault == 3:
		return nil
	case known.min == endedSerial:
		return ErrEnded
	case t.Serial < known.min:
		return ErrReplayed
	}
	return nil
}

// admit is check, and forgets what was known of the session if its ticket may pass: the caller
// makes the record that takes over, which must last until expires.
func (s *spentSet) admit(t Ticket) (expires int64, err error) {
	if err := s.check(t); err != nil {
		return 0, err
	}
	known := s.byID[t.ID]
	if known == nil {
		return t.Expires, nil
	}
	s.drop(known)
	return max(t.Expires, known.expires), nil
}

// expire removes up to max entries that are due and returns their number.
func (s *spentSet) expire(ms int64, max int) (n int) {
	for ; n < max; n++ {
		t, ok := s.due.popDue(ms)
		if !ok {
			break
		}
		delete(s.byID, t.id)
	}
	s.byID, s.peak = slim(s.byID, s.peak)
	return n
}

func (s *spentSet) drop(t *spentTicket) {
	s.due.remove(int(t.pos))
	delete(s.byID, t.id)
}
