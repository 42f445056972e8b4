package session

import (
	"sync"
	"sync/atomic"
	"unsafe"
)

// waiting finds the detached sessions of a user, oldest first, so that one user has only so many of
// them. The sessions of anonymous clients are nobody's, and not in it. Its locks are taken under
// those of the records' shards: nobody takes the two the other way round.
//
// A session that is its user's only one, as nearly all are, costs an entry of a map.
type waiting struct {
	max    atomic.Int64 // sessions of a user; 0: any number
	bytes  atomic.Int64
	shards [shardCount]waitingShard
}

// waitingShard is the users of one lock.
type waitingShard struct {
	mu     sync.Mutex
	one    map[string]*record              // users with one session
	more   map[string]*line                // users with two or more
	places map[*record]*place              // of the sessions in more
	peak   struct{ one, more, places int } // of their lengths, see slim
	_      [8]byte                         // a cache line of its own
}

// A line is the detached sessions of a user in the order in which they lost their connections.
type line struct {
	n              int
	oldest, newest *place
}

type place struct {
	r            *record
	older, newer *place
}

// What an entry costs: itself, and a map's slots that are taken for two thirds.
const (
	oneBytes   = int64(3 * (unsafe.Sizeof("") + unsafe.Sizeof((*record)(nil))) / 2)
	placeBytes = int64(unsafe.Sizeof(place{})) + int64(3*(unsafe.Sizeof((*record)(nil))+unsafe.Sizeof((*place)(nil)))/2)
	lineBytes  = int64(unsafe.Sizeof(line{})) + oneBytes
)

func newWaiting() *waiting {
	w := new(waiting)
	for i := range w.shards {
		w.shards[i].one = make(map[string]*record)
	}
	return w
}

func (w *waiting) shard(user string) *waitingShard { return &w.shards[stringShard(user)] }

// add makes r, which has become detached, its user's newest. Its shard's lock is held, here and in
// remove.
func (w *waiting) add(r *record) {
	if r.user == "" {
		return
	}
	s := w.shard(r.user)
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.more[r.user]
	first := s.one[r.user]
	switch {
	case l != nil:
	case first == nil:
		s.one[r.user] = r
		s.peak.one = max(s.peak.one, len(s.one))
		w.bytes.Add(oneBytes)
		return
	default:
		if s.more == nil {
			s.more, s.places = make(map[string]*line), make(map[*record]*place)
		}
		l = new(line)
		s.dropOne(r.user)
		s.more[r.user] = l
		s.peak.more = max(s.peak.more, len(s.more))
		s.push(l, first)
		w.bytes.Add(lineBytes + placeBytes - oneBytes)
	}
	s.push(l, r)
	w.bytes.Add(placeBytes)
}

// remove forgets r, which is detached no more, or gone.
func (w *waiting) remove(r *record) {
	if r.user == "" {
		return
	}
	s := w.shard(r.user)
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.places[r]
	if p == nil {
		s.dropOne(r.user)
		w.bytes.Add(-oneBytes)
		return
	}
	l := s.more[r.user]
	s.pull(l, p)
	w.bytes.Add(-placeBytes)
	if l.n > 1 {
		return
	}
	last := l.oldest
	s.pull(l, last)
	delete(s.more, r.user)
	s.more, s.peak.more = slim(s.more, s.peak.more)
	s.one[r.user] = last.r
	s.peak.one = max(s.peak.one, len(s.one))
	w.bytes.Add(oneBytes - lineBytes - placeBytes)
}

// over returns the oldest session of a user who has more than he may, else nil.
func (w *waiting) over(user string) *record {
	most := w.max.Load()
	if most <= 0 || user == "" {
		return nil
	}
	s := w.shard(user)
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.more[user]; l != nil && int64(l.n) > most {
		return l.oldest.r
	}
	return nil
}

func (s *waitingShard) dropOne(user string) {
	delete(s.one, user)
	s.one, s.peak.one = slim(s.one, s.peak.one)
}

func (s *waitingShard) push(l *line, r *record) {
	p := &place{r: r, older: l.newest}
	if l.newest != nil {
		l.newest.newer = p
	} else {
		l.oldest = p
	}
	l.newest = p
	l.n++
	s.places[r] = p
	s.peak.places = max(s.peak.places, len(s.places))
}

func (s *waitingShard) pull(l *line, p *place) {
	if p.older != nil {
		p.older.newer = p.newer
	} else {
		l.oldest = p.newer
	}
	if p.newer != nil {
		p.newer.older = p.older
	} else {
		l.newest = p.older
	}
	l.n--
	delete(s.places, p.r)
	s.places, s.peak.places = slim(s.places, s.peak.places)
}

// SetMaxPerUser is StoreConfig.MaxPerUser from now on. A user who has more keeps them until one
// more of his is detached.
func (s *Store) SetMaxPerUser(n int) { s.waiting.max.Store(int64(max(n, 0))) }

// WaitingBytes returns the bytes that it takes to find the detached sessions of a user. Any
// goroutine may call it, it takes no lock.
func (s *Store) WaitingBytes() int64 { return s.waiting.bytes.Load() }

// trimUser evicts the oldest detached sessions of user until MaxPerUser holds. No lock is held.
func (s *Store) trimUser(user string) {
	for {
		r := s.waiting.over(user)
		if r == nil {
			return
		}
		sh := s.shard(r.id)
		sh.mu.Lock()
		evicted := s.waiting.over(user) == r // still: under this lock r stays what it is
		if evicted {
			sh.evict(r, forUser)
		}
		sh.mu.Unlock()
		if evicted && s.overUser != nil {
			s.overUser(user)
		}
	}
}
