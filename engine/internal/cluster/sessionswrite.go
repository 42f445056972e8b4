package cluster

import (
	"container/heap"
	"context"
	"errors"
	"time"

	"github.com/sluicenet/sluice/session"
	"github.com/sluicenet/sluice/topic"
)

// writer writes one session after the other.
func (s *sessions) writer() {
	t := time.NewTimer(time.Hour)
	defer t.Stop()
	for {
		e, wait := s.next()
		if over := s.stats.over.Load(); s.stats.loggedOver.Swap(over) != over {
			s.log.Warn("too many sessions wait to be written: some cannot be resumed on other nodes until they are",
				"limit", s.bounds.queue, "so_far", over)
		}
		if e != nil {
			s.write(e)
			continue
		}
		t.Reset(wait)
		select {
		case <-s.halt:
			return
		case <-s.kick:
		case <-t.C:
		}
	}
}

// next returns an entry that is to be written, or how long there is none.
func (s *sessions) next() (e *sharedEntry, wait time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.readmit(now)
	select {
	case <-s.halt:
		return nil, time.Hour
	default:
	}
	switch {
	case !s.connected || len(s.queue) == 0:
		return nil, time.Hour
	case s.hold.After(now):
		return nil, s.hold.Sub(now)
	case s.queue[0].due.After(now):
		return nil, s.queue[0].due.Sub(now)
	}
	e = heap.Pop(&s.queue).(*sharedEntry)
	e.dirty, e.writing = false, true
	e.awaiting, e.awaited = e.awaited, 0
	s.writing++
	if len(s.queue) > 0 {
		s.wake() // perhaps another can be written beside it
	}
	return e, 0
}

// readmit queues some of what there was no room for. s.mu is held.
func (s *sessions) readmit(now time.Time) {
	for range readmitAtOnce {
		n := len(s.missed)
		if n == 0 || len(s.queue) >= s.bounds.queue {
			return
		}
		e := s.missed[n-1]
		s.missed[n-1], s.missed = nil, s.missed[:n-1]
		e.missed = false
		if e.dirty {
			s.enqueue(e, now)
		}
	}
}

// write does what is to be done about an entry's key, and says what is next.
func (s *sessions) write(e *sharedEntry) {
	again, wait := s.writeOnce(e)
	s.mu.Lock()
	e.writing = false
	s.writing--
	if again && !e.gone && e.awaiting != 0 { // it is still to be written
		s.settle(e.awaited)
		e.awaited = e.awaiting
	} else {
		s.settle(e.awaiting)
	}
	e.awaiting = 0
	if e.dirty || again {
		at := time.Now().Add(wait)
		if next := e.written.Add(sessionPause); wait == 0 && !again && !e.ended && next.After(at) && !s.closing {
			at = next
		}
		s.enqueue(e, at)
	}
	then := e.then
	e.then = nil
	s.mu.Unlock()
	s.wake()
	if then != nil {
		then()
	}
}

// writeOnce reports whether it is to be tried again, and when.
func (s *sessions) writeOnce(e *sharedEntry) (again bool, wait time.Duration) {
	s.mu.Lock()
	if e.last != nil {
		s.mu.Unlock()
		s.writeLast(e)
		return false, 0
	}
	ended, check, upTo := e.ended, e.check, s.points.candidate
	e.check = false
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), renewTimeout)
	defer cancel()
	if ended {
		return s.writeEnd(ctx, e)
	}
	shared, err := s.share(e.id, upTo)
	switch {
	case errors.Is(err, session.ErrUnknown):
		return s.let(e), 0
	case err != nil:
		s.recheck(e, check)
		return true, sessionPause / 4
	}
	value, sum := s.value(&shared)
	if sum == e.sum && e.revision != 0 {
		if !check {
			return false, 0
		}
		now, err := s.store.Get(ctx, keyOfSession(e.id))
		if err == nil && now.Revision == e.revision {
			return false, 0
		}
		return s.differs(e, now, err)
	}
	var revision uint64
	if e.revision == 0 {
		revision, err = s.store.Create(ctx, keyOfSession(e.id), value)
	} else {
		revision, err = s.store.Update(ctx, keyOfSession(e.id), value, e.revision)
	}
	switch {
	case err == nil:
		s.stats.written.Add(1)
		s.mu.Lock()
		s.failed = nil
		e.revision, e.sum, e.written = revision, sum, time.Now()
		s.setBehind(e, shared.Attached && shared.Behind)
		s.mu.Unlock()
		return false, 0
	case errors.Is(err, ErrKeyExists):
		now, err := s.store.Get(ctx, keyOfSession(e.id))
		return s.differs(e, now, err)
	}
	s.recheck(e, check)
	return s.failure(err)
}

func (s *sessions) recheck(e *sharedEntry, check bool) {
	if check {
		s.mu.Lock()
		e.check = true
		s.mu.Unlock()
	}
}

// failure pauses all writes after the store has failed.
func (s *sessions) failure(err error) (again bool, wait time.Duration) {
	s.stats.failed.Add(1)
	s.log.Warn("a session could not be written: trying again", "err", err)
	s.mu.Lock()
	s.hold, s.failed = time.Now().Add(storePause), err
	s.mu.Unlock()
	return true, storePause
}

// differs decides what it means that a session's key is not as this node has left it.
func (s *sessions) differs(e *sharedEntry, now Entry, err error) (again bool, wait time.Duration) {
	if errors.Is(err, ErrKeyNotFound) { // lost with its server, or expired
		s.mu.Lock()
		lost := e.revision != 0 && time.Since(e.written) < s.store.Life() && time.Since(s.looked) > sessionMargin
		if lost {
			s.looked = time.Now()
		}
		s.mu.Unlock()
		s.revise(e, 0)
		if lost {
			s.emptied()
		}
		return true, 0
	}
	if err != nil {
		s.recheck(e, true)
		return s.failure(err)
	}
	owner, shared, ended, err := parseSession(now.Value)
	switch {
	case err != nil || shared.ID != e.id && !ended: // nobody can read it: it is written over
		s.stats.foreign.Add(1)
		s.revise(e, now.Revision)
		return true, 0
	case ended:
		s.stats.ended.Add(1)
		s.forget(e)
		s.holder.EndShared(e.id)
		return false, 0
	case owner == s.self: // a write whose answer was lost
		s.revise(e, now.Revision)
		return true, 0
	}
	if s.let(e) {
		return true, 0
	}
	s.stats.lost.Add(1)
	s.log.Info("a session was taken over by another node while this one could not be asked", "session", e.id.String(),
		"node", owner.id)
	s.holder.LoseSession(e.id)
	return false, 0
}

// writeLast writes a session that is given up, as it is: whoever asked for it may not get the answer, or
// die before he writes.
func (s *sessions) writeLast(e *sharedEntry) {
	ctx, cancel := context.WithTimeout(context.Background(), giveWait/2)
	defer cancel()
	value, sum := s.value(e.last)
	if sum == e.sum && e.revision != 0 {
		return
	}
	var revision uint64
	var err error
	if e.revision == 0 {
		revision, err = s.store.Create(ctx, keyOfSession(e.id), value)
	} else {
		revision, err = s.store.Update(ctx, keyOfSession(e.id), value, e.revision)
	}
	if err != nil {
		s.stats.failed.Add(1)
		s.log.Warn("a session that is given up could not be written", "err", err)
		return
	}
	s.stats.written.Add(1)
	s.mu.Lock()
	e.revision, e.sum, e.written = revision, sum, time.Now()
	s.mu.Unlock()
}

// revise notes the revision behind which a key is to be written.
func (s *sessions) revise(e *sharedEntry, revision uint64) {
	s.mu.Lock()
	e.revision, e.sum = revision, 0
	s.mu.Unlock()
}

// let forgets the entry of a session that is not this node's, unless it was ended here meanwhile: then
// that is still to be said, and let reports true.
func (s *sessions) let(e *sharedEntry) (ended bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !e.ended {
		s.drop(e)
	}
	return e.ended
}

func (s *sessions) forget(e *sharedEntry) {
	s.mu.Lock()
	s.drop(e)
	s.mu.Unlock()
}

// share asks for what is to be written.
func (s *sessions) share(id session.SessionID, upTo topic.Position) (session.Shared, error) {
	type answer struct {
		session.Shared
		err error
	}
	ch := make(chan answer, 1)
	s.holder.ShareSession(id, upTo, func(shared session.Shared, err error) { ch <- answer{shared, err} })
	select {
	case a := <-ch:
		return a.Shared, a.err
	default:
	}
	t := time.NewTimer(shareWait)
	defer t.Stop()
	select {
	case a := <-ch:
		return a.Shared, a.err
	case <-t.C:
		return session.Shared{}, session.ErrHeld
	case <-s.halt:
		return session.Shared{}, session.ErrHeld
	}
}

// writeEnd has nobody resume a session that was ended here.
func (s *sessions) writeEnd(ctx context.Context, e *sharedEntry) (again bool, wait time.Duration) {
	key := keyOfSession(e.id)
	if e.revision != 0 {
		err := s.store.Delete(ctx, key, e.revision)
		if err == nil {
			s.forget(e)
			return false, 0
		}
		if !errors.Is(err, ErrKeyExists) {
			return s.failure(err)
		}
		s.revise(e, 0)
	}
	now, err := s.store.Get(ctx, key)
	if errors.Is(err, ErrKeyNotFound) {
		s.forget(e)
		return false, 0
	}
	if err != nil {
		return s.failure(err)
	}
	owner, _, ended, err := parseSession(now.Value)
	switch {
	case ended && e.unsure: // by this node, and it is not known any more whose it was
		s.tellEnded(nil, e)
		return false, 0
	case ended:
		s.forget(e)
		return false, 0
	case err != nil || owner == s.self:
		s.revise(e, now.Revision)
		return true, 0
	}
	// What is left says so to an owner who cannot be told now.
	if _, err := s.store.Update(ctx, key, s.endValue(), now.Revision); errors.Is(err, ErrKeyExists) {
		return true, 0
	} else if err != nil {
		e.unsure = true // only its writer looks at that
		return s.failure(err)
	}
	s.tellEnded([]uint8{owner.id}, e)
	return false, 0
}

// tellEnded has the owner of a session that was ended here close its connection.
func (s *sessions) tellEnded(nodes []uint8, e *sharedEntry) {
	s.forget(e)
	if err := s.rpc.tell(nodes, appendSessionCommand(nil, sessionEnd, e.id, 0)); err != nil {
		s.log.Warn("the owner of a session that was ended was not told: it finds out when it writes", "err", err)
	}
}
