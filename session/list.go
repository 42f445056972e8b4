package session

import (
	"bytes"
	"maps"
	"slices"
)

// A Listed is what the Store knows of a session, for people to look at.
type Listed struct {
	ID      SessionID
	User    string
	Holder  Ref   // the connection; 0: detached
	Expires int64 // unix milliseconds
	Topics  int   // kept for its next holder; those of a connection are the connection's
	Bytes   int   // that this takes
}

// Describe returns what is known of session id, and what is kept for its next holder, which is the
// caller's. ok is false if there is no record of it.
func (s *Store) Describe(id SessionID) (l Listed, kept Snapshot, ok bool) {
	sh := s.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	r := sh.byID[id]
	if r == nil {
		return l, kept, false
	}
	if r.snap != nil {
		kept = Snapshot{
			SessionText: r.snap.SessionText, Topics: slices.Clone(r.snap.Topics), Claims: maps.Clone(r.snap.Claims),
			Marks: slices.Clone(r.snap.Marks), Lost: r.snap.Lost,
		}
	}
	return r.listed(), kept, true
}

func (r *record) listed() Listed {
	l := Listed{ID: r.id, User: r.user, Holder: r.holder, Expires: r.expires}
	if r.snap != nil {
		l.Topics, l.Bytes = len(r.snap.Topics), r.snap.bytes
	}
	return l
}

// List returns the sessions that match accepts in the order of their ids, behind after, at most limit.
// It holds one shard's lock at a time, and calls match under it. Whoever goes on behind the last id
// meets each session once that stays.
func (s *Store) List(after SessionID, limit int, match func(*Listed) bool) []Listed {
	var list []Listed
	order := func() {
		slices.SortFunc(list, func(a, b Listed) int { return bytes.Compare(a.ID[:], b.ID[:]) })
		list = list[:min(len(list), limit)]
	}
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		for id, r := range sh.byID {
			if bytes.Compare(id[:], after[:]) <= 0 {
				continue
			}
			l := r.listed()
			if !match(&l) {
				continue
			}
			list = append(list, l)
		}
		sh.mu.Unlock()
		if len(list) >= 4*limit+64 { // not under the lock, for which a loop may wait
			order() // what is behind the last of them cannot be in the answer
		}
	}
	order()
	return list
}
