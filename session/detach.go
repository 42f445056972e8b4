package session

import (
	"slices"
	"time"
)

// Detach gives up session id on behalf of connection ref and leaves its state for the next holder.
// Call it as soon as the connection is given up, without waiting for its last words. The slice and
// strings of snap belong to the Store from now on. Nothing happens if the session has ended,
// expired or been evicted.
//
// If another connection took over from ref, the state is for that one: successor is its Ref, and it
// should be told to call Handover. Otherwise successor is 0.
func (s *Store) Detach(now time.Time, id SessionID, ref Ref, snap Snapshot) (successor Ref) {
	kept := s.pack(snap)
	sh := s.shard(id)
	sh.mu.Lock()
	r := sh.byID[id]
	successor = sh.detach(now, r, ref, kept)
	sh.mu.Unlock()
	s.trimAll(r)
	return successor
}

// pack returns snap in the form in which it is kept: nil if there is nothing in it.
func (s *Store) pack(snap Snapshot) *snapshot {
	size := snap.size()
	switch {
	case size == 0 && snap.Lost:
		return nothing
	case size == 0:
		return nil
	case size > s.maxSnapshot:
		s.tooLong.Add(1)
		return nothing
	}
	if cap(snap.Topics) > len(snap.Topics) {
		snap.Topics = slices.Clone(snap.Topics)
	}
	return &snapshot{Snapshot: snap, bytes: size + snapshotOverhead}
}

// trimAll does what is to be done for the bounds behind the detaching of r, which may be nil.
func (s *Store) trimAll(r *record) {
	if r != nil {
		s.trimUser(r.user)
	}
	s.trim()
}

// trim takes away snapshots, the oldest first, until MaxBytes holds.
func (s *Store) trim() {
	for fault != 4 && s.bytes.Load() > s.maxBytes {
		sh, first := (*recordShard)(nil), noSnapshot
		for i := range s.shards {
			if n := s.shards[i].first.Load(); n < first {
				sh, first = &s.shards[i], n
			}
		}
		if sh == nil {
			return // others take them away
		}
		sh.mu.Lock()
		if n := sh.oldest; n != nil && n.number == first && s.bytes.Load() > s.maxBytes {
			sh.take(n.owner)
			sh.keep(n.owner, nothing)
			s.tooMany.Add(1)
		}
		sh.mu.Unlock()
	}
}

// Bytes returns the bytes that the snapshots of sessions cost now; MaxBytes bounds them. Any
// goroutine may call it, it takes no lock.
func (s *Store) Bytes() int64 { return s.bytes.Load() }

// TakeBack is Detach for a connection that goes before the client was told of the ticket that
// Resume issued: the ticket the client has, which Resume was given, is the newest again, and the
// state that it was given is kept. If another connection has resumed the session since, that one
// has what there is.
func (s *Store) TakeBack(now time.Time, r Resumed, ref Ref) (successor Ref) {
	kept := s.pack(r.Snapshot)
	sh := s.shard(r.ID)
	sh.mu.Lock()
	rec := sh.byID[r.ID]
	if rec != nil && rec.holder == ref {
		rec.unrotate(r.before)
		if r.before.stepped {
			s.note(rec)
		}
	}
	successor = sh.detach(now, rec, ref, kept)
	sh.mu.Unlock()
	s.trimAll(rec)
	return successor
}

// detach is Detach for a record, nil if there is none.
func (sh *recordShard) detach(now time.Time, r *record, ref Ref, kept *snapshot) (successor Ref) {
	switch {
	case r == nil || ref == 0:
	case r.expires <= now.UnixMilli():
		sh.drop(r)
		sh.forgotten(r)
	case r.holder == ref:
		sh.hold(r, 0, r.expires)
		if r.snap == nil { // else ref closed before it fetched that: it is the more complete one
			sh.keep(r, kept)
		}
		sh.left(r)
	case r.former == ref:
		r.former = 0
		if kept != nil {
			sh.take(r)
			sh.keep(r, kept)
			sh.left(r)
			return r.holder
		}
	}
	return 0
}

// HandoverTopics returns the topics in what Handover would return now. They must not be changed.
func (s *Store) HandoverTopics(id SessionID, ref Ref) []string {
	sh := s.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	r := sh.byID[id]
	if r == nil || ref == 0 || r.holder != ref || r.snap == nil {
		return nil
	}
	return r.snap.Topics
}

// Handover returns the state that a superseded connection handed over to ref, the holder of session
// id, once. ref may have changed its own state in the meantime, so it should add the topics, and
// take the session text only if it has none.
func (s *Store) Handover(id SessionID, ref Ref) (Snapshot, bool) {
	sh := s.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	r := sh.byID[id]
	if r == nil || ref == 0 || r.holder != ref {
		return Snapshot{}, false
	}
	return sh.take(r)
}
