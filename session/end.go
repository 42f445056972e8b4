package session

import "time"

// End revokes session id, known here or not: a kick-out, a forced offline, a logout. Its tickets
// are refused with ErrEnded until all that were issued before now have expired. holder is the
// connection that held it, or 0; known says whether there was a record of it.
func (s *Store) End(now time.Time, id SessionID) (holder Ref, known bool) {
	sh := s.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	r := sh.byID[id]
	if r != nil {
		holder = r.holder
	}
	s.endLocked(sh, now, id, r)
	return holder, r != nil
}

// endLocked ends the session of r, nil if there is no record of it.
func (s *Store) endLocked(sh *recordShard, now time.Time, id SessionID, r *record) {
	expires := now.UnixMilli() + s.ttl
	if r != nil {
		expires = max(expires, r.expires)
		sh.drop(r)
	}
	sh.spent.put(id, endedSerial, expires)
	if s.journal != nil {
		s.journal(JournalEntry{id, endedSerial, expires})
	}
	if s.watcher != nil {
		s.watcher.Ended(id)
	}
}

// EndHeld is End for the sake of connection ref, which is sent away. It reports false and does
// nothing if another connection has taken the session over: then ref has it no more, and should
// call Detach.
func (s *Store) EndHeld(now time.Time, id SessionID, ref Ref) bool {
	sh := s.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	r := sh.byID[id]
	if r != nil && r.holder != ref && r.holder != 0 {
		return false
	}
	s.endLocked(sh, now, id, r)
	return true
}

// Ended reports whether session id was revoked, as far as that is remembered.
func (s *Store) Ended(id SessionID) bool {
	sh := s.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	known := sh.spent.byID[id]
	return known != nil && known.min == endedSerial
}
