package session

import (
	"bytes"
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
			l := Listed{ID: id, User: r.user, Holder: r.holder, Expires: r.expires}
			if r.snap != nil {
				l.Topics, l.Bytes = len(r.snap.Topics), r.snap.bytes
			}
			if !match(&l) {
				continue
			}
			if list = append(list, l); len(list) >= 4*limit+64 {
				order() // what is behind the last of them cannot be in the answer
			}
		}
		sh.mu.Unlock()
	}
	order()
	return list
}
