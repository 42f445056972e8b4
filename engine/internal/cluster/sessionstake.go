package cluster

import (
	"container/heap"
	"context"
	"encoding/binary"
	"errors"
	"time"

	"github.com/sluicenet/sluice/session"
)

// What nodes say to one another about sessions. A command is what it is, the session's id, and the serial
// of the ticket that was shown, uint32, big-endian.
const (
	sessionGive  = iota + 1 // give it up; wants an answer
	sessionEnd              // it was ended
	sessionCheck            // it was taken over without a word: look at its key

	sessionCommandLen = 1 + 16 + 4
)

// The answer to sessionGive is one of these and, with gaveSession, the key's revision, uint64, and a
// session.Shared.
const (
	gaveSession  = iota // it is the asker's
	notMine             // this node does not have it
	ticketSpent         // the ticket is not good any more
	sessionTaken        // somebody else was faster
)

func appendSessionCommand(dst []byte, what byte, id session.SessionID, serial uint32) []byte {
	dst = append(append(dst, what), id[:]...)
	return binary.BigEndian.AppendUint32(dst, serial)
}

// handle does what another node wants. answer is nil when none is wanted. It does not block.
func (s *sessions) handle(_ uint8, payload []byte, answer func([]byte)) {
	if answer == nil {
		answer = func([]byte) {}
	}
	if len(payload) != sessionCommandLen {
		s.stats.foreign.Add(1)
		answer([]byte{notMine})
		return
	}
	var id session.SessionID
	copy(id[:], payload[1:])
	switch serial := binary.BigEndian.Uint32(payload[17:]); payload[0] {
	case sessionGive:
		s.give(id, serial, answer)
	case sessionEnd:
		answer(nil)
		s.stats.ended.Add(1)
		s.holder.EndShared(id)
	case sessionCheck:
		answer(nil)
		s.mu.Lock()
		if e := s.entries[id]; e != nil {
			e.check = true
			s.enqueue(e, time.Now())
		}
		s.mu.Unlock()
		s.wake()
	default:
		s.stats.foreign.Add(1)
		answer([]byte{notMine})
	}
}

// give gives a session up. Its key is left alone from now on: the asker writes it.
func (s *sessions) give(id session.SessionID, serial uint32, answer func([]byte)) {
	s.mu.Lock()
	e := s.entries[id]
	if e != nil && e.giving || s.taking[id] > 0 && fault != 56 {
		s.mu.Unlock()
		answer([]byte{sessionTaken})
		return
	}
	if e != nil {
		e.giving = true
		if s.marks() {
			s.await(e)
		}
	}
	s.mu.Unlock()
	s.holder.GiveSession(id, serial, func(shared session.Shared, err error) {
		s.mu.Lock()
		if e != nil && e.writing {
			e.then = func() { s.given(e, shared, err, answer) }
			s.mu.Unlock()
			return
		}
		s.mu.Unlock()
		s.given(e, shared, err, answer)
	})
}

// given answers when nothing is written any more, but for the session itself, where that is still to be.
// e is nil when there is no key.
func (s *sessions) given(e *sharedEntry, shared session.Shared, err error, answer func([]byte)) {
	if e == nil || err != nil || fault == 54 {
		s.answerGiven(e, shared, err, answer)
		return
	}
	s.mu.Lock()
	if e.gone || !e.dirty && !s.marks() {
		s.mu.Unlock()
		s.answerGiven(e, shared, err, answer)
		return
	}
	e.last = &shared
	e.then = func() { s.answerGiven(e, shared, err, answer) }
	e.due = time.Now()
	if e.pos >= 0 {
		heap.Fix(&s.queue, int(e.pos))
	} else {
		heap.Push(&s.queue, e)
	}
	s.mu.Unlock()
	s.wake()
}

func (s *sessions) answerGiven(e *sharedEntry, shared session.Shared, err error, answer func([]byte)) {
	var revision uint64
	if e != nil {
		s.mu.Lock()
		e.giving, e.last = false, nil
		revision = e.revision
		if err == nil && !e.ended {
			s.drop(e)
		} else if e.dirty || e.awaited != 0 {
			s.enqueue(e, time.Now())
		}
		s.mu.Unlock()
		s.wake()
	}
	switch {
	case err == nil:
		s.stats.given.Add(1)
		b := binary.BigEndian.AppendUint64([]byte{gaveSession}, revision)
		answer(shared.Append(b))
	case errors.Is(err, session.ErrUnknown):
		answer([]byte{notMine})
	case errors.Is(err, session.ErrHeld):
		s.stats.notGiven.Add(1)
		answer([]byte{sessionTaken})
	default:
		s.stats.notGiven.Add(1)
		answer([]byte{ticketSpent})
	}
}

// Take implements gateway.SessionShare.
func (s *sessions) Take(t session.Ticket, done func(session.Shared, error)) {
	s.mu.Lock()
	connected := s.connected
	s.mu.Unlock()
	if !connected {
		s.refuse(takeAway, done)
		return
	}
	select {
	case <-s.stop:
		s.refuse(takeAway, done)
		return
	default:
	}
	select {
	case s.takes <- sessionTake{t, done}:
	default:
		s.refuse(takeBusy, done)
	}
}

func (s *sessions) refuse(why takeError, done func(session.Shared, error)) {
	s.stats.refused[why].Add(1)
	if why != takeUnknown {
		s.log.Info("a session of another node is not resumed", "reason", takeErrors[why].reason)
	}
	done(session.Shared{}, why)
}

// taker takes one session after the other over.
func (s *sessions) taker() {
	for {
		select {
		case <-s.stop:
			select {
			case t := <-s.takes:
				s.refuse(takeAway, t.done)
				continue
			default:
				return
			}
		case t := <-s.takes:
			s.takeOver(t)
		}
	}
}

func (s *sessions) takeOver(t sessionTake) {
	s.setTaking(t.ticket.ID, 1)
	defer s.setTaking(t.ticket.ID, -1)
	shared, err := s.take(t.ticket)
	var why takeError
	switch {
	case err == nil:
		s.stats.taken.Add(1)
		t.done(shared, nil)
		s.Changed(t.ticket.ID) // what was written is what is to come of it
	case errors.As(err, &why):
		s.refuse(why, t.done)
	default:
		t.done(shared, err)
	}
}

// setTaking notes that one more take of a session is under way, or one less.
func (s *sessions) setTaking(id session.SessionID, more int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taking[id] += more; s.taking[id] == 0 {
		delete(s.taking, id)
	}
}

// take makes a session this node's, and returns it as it was. The error is a takeError, or
// session.ErrHeld when it is this node's already.
func (s *sessions) take(t session.Ticket) (shared session.Shared, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), takeWait)
	defer cancel()
	key := keyOfSession(t.ID)
	var owner origin // who had it when it was first looked at
	given := false   // by that one
	for i := range 4 {
		now, err := s.store.Get(ctx, key)
		if errors.Is(err, ErrKeyNotFound) {
			return shared, takeUnknown
		}
		if err != nil {
			return shared, s.takeFailed(err)
		}
		by, written, ended, err := parseSession(now.Value)
		switch {
		case err != nil || !ended && written.ID != t.ID:
			s.stats.foreign.Add(1)
			return shared, takeUnknown
		case ended:
			return shared, takeUnknown
		case i > 0 && by != owner, given && written.Attached && fault != 57: // also by its owner, for a client of his
			return shared, takeRival
		case by == s.self && s.owns(t.ID):
			return shared, session.ErrHeld
		}
		owner = by
		if !given {
			shared = written
			a := ownerAnswer{unknown: owner == s.self}
			if owner != s.self {
				a = s.askOwner(owner, t)
			}
			switch {
			case a.err != nil:
				return shared, a.err
			case a.given:
				given, shared = true, a.shared
			default:
				s.place(ctx, owner, a.unknown, &shared)
			}
			if a.revision != 0 {
				now.Revision = a.revision
			}
		}
		stepped := shared
		stepped.Behind = fault != 55 // until its connection has what it lacks
		if err := s.holder.StepSession(&stepped, t); err != nil && !given {
			return shared, takeUnknown
		} // else the ticket is refused when the session is here
		value, sum := s.value(&stepped)
		revision, err := s.store.Update(ctx, key, value, now.Revision)
		switch {
		case err == nil:
			s.own(t.ID, revision, sum)
			if !given && owner != s.self {
				s.tellTaken(owner, t.ID)
			}
			return shared, nil
		case !errors.Is(err, ErrKeyExists):
			return shared, s.takeFailed(err)
		} // else a write of its owner's, or a rival
	}
	return shared, takeRival
}

func (s *sessions) takeFailed(err error) error {
	s.log.Warn("a session of another node could not be taken over", "err", err)
	return takeFailed
}

// owns reports whether a key is this node's, as far as it knows.
func (s *sessions) owns(id session.SessionID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.entries[id] != nil
}

// own notes that a key is this node's.
func (s *sessions) own(id session.SessionID, revision, sum uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.entries[id]; e != nil {
		s.drop(e) // of a time when the session was this node's before
	}
	if e := s.entry(id); e != nil {
		e.revision, e.sum, e.written = revision, sum, time.Now()
		s.setBehind(e, fault != 55)
	}
}

// An ownerAnswer is what a session's owner says of it. The zero one says nothing.
type ownerAnswer struct {
	given    bool // it is the asker's, as shared, and its key has this revision, if it is not 0
	shared   session.Shared
	revision uint64
	unknown  bool  // the owner does not have it: who writes first has it
	err      error // why it is not to be had
}

// askOwner asks a session's owner for it.
func (s *sessions) askOwner(owner origin, t session.Ticket) ownerAnswer {
	m, ok := s.nodes.find(owner.id)
	if !ok || m.Incarnation != owner.incarnation || m.Suspect {
		return ownerAnswer{}
	}
	type reply struct {
		b   []byte
		err error
	}
	ch := make(chan reply, 1)
	s.rpc.ask([]uint8{owner.id}, appendSessionCommand(nil, sessionGive, t.ID, t.Serial), giveWait,
		func(_ uint8, answer []byte, err error) { ch <- reply{answer, err} }, nil)
	r := <-ch
	switch {
	case r.err != nil || len(r.b) == 0:
		s.stats.silent.Add(1)
		return ownerAnswer{}
	case r.b[0] == ticketSpent:
		return ownerAnswer{err: takeUnknown}
	case r.b[0] == sessionTaken:
		return ownerAnswer{err: takeRival}
	case r.b[0] == notMine:
		return ownerAnswer{unknown: true}
	case r.b[0] == gaveSession && len(r.b) > 9:
		got, err := session.ParseShared(r.b[9:])
		if err == nil && got.ID == t.ID {
			return ownerAnswer{given: true, shared: got, revision: binary.BigEndian.Uint64(r.b[1:])}
		}
	}
	s.stats.foreign.Add(1)
	return ownerAnswer{}
}

// tellTaken has an owner who could not be asked find out.
func (s *sessions) tellTaken(owner origin, id session.SessionID) {
	m, ok := s.nodes.find(owner.id)
	if !ok || m.Incarnation != owner.incarnation {
		return
	}
	if err := s.rpc.tell([]uint8{owner.id}, appendSessionCommand(nil, sessionCheck, id, 0)); err != nil {
		s.log.Debug("the former owner of a session was not told", "node", owner.id, "err", err)
	}
}

// counts returns the counters, zeros of nil.
func (s *sessions) counts() SessionStats {
	if s == nil {
		s = new(sessions)
	}
	st := &s.stats
	c := SessionStats{
		Written: st.written.Load(), Failed: st.failed.Load(), Over: st.over.Load(), Taken: st.taken.Load(),
		Silent: st.silent.Load(), Given: st.given.Load(), Kept: st.notGiven.Load(), Lost: st.lost.Load(),
		Ended: st.ended.Load(), Foreign: st.foreign.Load(), Emptied: st.emptied.Load(), Points: st.points.Load(), PointsLate: st.pointsLate.Load(),
		MarksCut: st.marksCut.Load(), Refused: make(map[string]uint64),
	}
	for i := range st.refused {
		c.Refused[takeErrors[i].reason] = st.refused[i].Load()
	}
	s.mu.Lock()
	c.Shared, c.Waiting, c.Behind = len(s.entries), len(s.queue)+s.writing, len(s.points.behind)
	if at := s.points.when; !at.IsZero() {
		c.PointAge = max(time.Since(at), 1)
	}
	s.mu.Unlock()
	return c
}
