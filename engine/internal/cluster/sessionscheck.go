package cluster

import (
	"slices"
	"time"

	"github.com/sluicenet/sluice/session"
)

// sample has the key of one session, whichever, be looked at, to see whether the Store has lost what was
// there.
func (s *sessions) sample() {
	s.mu.Lock()
	for _, e := range s.entries {
		if e.revision != 0 && !e.dirty && !e.writing && !e.ended {
			e.check = true
			s.enqueue(e, time.Now())
			break
		}
	}
	s.mu.Unlock()
	s.wake()
}

// emptied has all sessions be looked at, and be written where that is due: the Store has lost one.
func (s *sessions) emptied() {
	s.log.Warn("the bucket of sessions has lost what was there: it is written again")
	s.stats.emptied.Add(1)
	s.checkAll(s.holder.SharedSessions())
}

// checkAll has sessions be looked at, one after the other.
func (s *sessions) checkAll(ids []session.SessionID) {
	at := time.Now()
	for some := range slices.Chunk(ids, readmitAtOnce) {
		s.mu.Lock()
		for _, id := range some {
			if e := s.entry(id); e != nil {
				e.check = true
				s.enqueue(e, at)
			}
			at = at.Add(checkPace)
		}
		s.mu.Unlock()
	}
	s.wake()
}
