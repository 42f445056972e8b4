package session

import (
	"hash/maphash"
	"math/bits"
	"slices"
	"sync"
)

// Members finds all connections of a user, for protocols on which a user may have several (see
// Users for those on which he has one). Any goroutine may call its methods.
//
// It keeps a hash of the name instead of the name: 16 bytes a slot, 18 to 23 for a user with one
// connection, and nothing for the garbage collector to follow. The hash has 64 bits under a random
// seed, so that nobody can choose names that meet, and those of ten million users all differ with a
// chance of 0.999997.
type Members struct {
	seed   maphash.Seed
	shards [shardCount]memberShard
}

// memberShard is a hash table of tags and references with linear probing, for users with one
// connection, and a map for the few who have more.
type memberShard struct {
	mu   sync.Mutex
	tags []uint64
	refs []Ref // by the index of their tag; 0: the slot is free
	used int
	more map[uint64]*crowd
	_    [48]byte // a cache line of its own
}

// A crowd is the connections of one tag, two or more.
type crowd struct {
	few  []Ref
	many map[Ref]struct{} // in place of few, from maxFew on
}

const (
	// maxFew is how many references are searched one by one.
	maxFew = 32
	// minSlots is the least size of a shard's table.
	minSlots = 16
)

// NewMembers returns a Members of nobody.
func NewMembers() *Members {
	return &Members{seed: maphash.MakeSeed()}
}

func (m *Members) shard(user string) (*memberShard, uint64) {
	h := maphash.String(m.seed, user)
	return &m.shards[h%shardCount], h
}

// Add makes ref, which must not be 0, one of user's connections.
func (m *Members) Add(user string, ref Ref) {
	s, tag := m.shard(user)
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.more[tag]; c != nil {
		c.add(ref)
		return
	}
	i, ok := s.find(tag)
	if !ok {
		s.insert(tag, ref)
		return
	}
	if s.refs[i] == ref {
		return
	}
	if s.more == nil {
		s.more = make(map[uint64]*crowd)
	}
	s.more[tag] = &crowd{few: []Ref{s.refs[i], ref}}
	s.remove(i)
}

// Remove ends that. It reports false when ref was not among user's connections.
func (m *Members) Remove(user string, ref Ref) bool {
	s, tag := m.shard(user)
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.more[tag]; c != nil {
		if !c.remove(ref) {
			return false
		}
		if c.len() == 1 {
			delete(s.more, tag)
			s.insert(tag, c.appendTo(nil)[0])
		}
		return true
	}
	i, ok := s.find(tag)
	if !ok || s.refs[i] != ref {
		return false
	}
	s.remove(i)
	return true
}

// Append adds user's connections to dst, in no order.
func (m *Members) Append(dst []Ref, user string) []Ref {
	s, tag := m.shard(user)
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.more[tag]; c != nil {
		return c.appendTo(dst)
	}
	if i, ok := s.find(tag); ok {
		dst = append(dst, s.refs[i])
	}
	return dst
}

// Count returns how many connections user has.
func (m *Members) Count(user string) int {
	s, tag := m.shard(user)
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.more[tag]; c != nil {
		return c.len()
	}
	if _, ok := s.find(tag); ok {
		return 1
	}
	return 0
}

// Len counts the connections, one shard at a time.
func (m *Members) Len() int {
	n := 0
	for i := range m.shards {
		s := &m.shards[i]
		s.mu.Lock()
		n += s.used
		for _, c := range s.more {
			n += c.len()
		}
		s.mu.Unlock()
	}
	return n
}

// home is where a tag would like to be: tags lie in the table in about their own order.
func (s *memberShard) home(tag uint64) int {
	i, _ := bits.Mul64(tag, uint64(len(s.tags)))
	return int(i)
}

func (s *memberShard) next(i int) int {
	if i++; i < len(s.tags) {
		return i
	}
	return 0
}

// find returns where tag is, or where its search has ended.
func (s *memberShard) find(tag uint64) (i int, ok bool) {
	if len(s.tags) == 0 {
		return 0, false
	}
	for i = s.home(tag); s.refs[i] != 0; i = s.next(i) {
		if s.tags[i] == tag {
			return i, true
		}
	}
	return i, false
}

// insert adds a tag that is not there.
func (s *memberShard) insert(tag uint64, ref Ref) {
	if 8*(s.used+1) > 7*len(s.tags) {
		s.resize(max(minSlots, len(s.tags)+len(s.tags)/4))
	}
	i, _ := s.find(tag)
	s.tags[i], s.refs[i] = tag, ref
	s.used++
}

// remove frees slot i and moves up those behind it that would not be found across a gap.
func (s *memberShard) remove(i int) {
	s.used--
	n := len(s.tags)
	for j := s.next(i); s.refs[j] != 0; j = s.next(j) {
		if fromHome := (j - s.home(s.tags[j]) + n) % n; fromHome >= (j-i+n)%n {
			s.tags[i], s.refs[i] = s.tags[j], s.refs[j]
			i = j
		}
	}
	s.refs[i] = 0
	if n > minSlots && s.used < n/4 {
		s.resize(max(minSlots, n/2))
	}
}

func (s *memberShard) resize(n int) {
	tags, refs := s.tags, s.refs
	s.tags, s.refs = make([]uint64, n), make([]Ref, n)
	for i, ref := range refs {
		if ref != 0 {
			j, _ := s.find(tags[i])
			s.tags[j], s.refs[j] = tags[i], ref
		}
	}
}

func (c *crowd) len() int { return len(c.few) + len(c.many) }

func (c *crowd) add(ref Ref) {
	switch {
	case c.many != nil:
		c.many[ref] = struct{}{}
	case slices.Contains(c.few, ref):
	case len(c.few) < maxFew:
		c.few = append(c.few, ref)
	default:
		c.many = make(map[Ref]struct{}, 2*maxFew)
		for _, r := range c.few {
			c.many[r] = struct{}{}
		}
		c.many[ref] = struct{}{}
		c.few = nil
	}
}

func (c *crowd) remove(ref Ref) bool {
	if c.many == nil {
		i := slices.Index(c.few, ref)
		if i < 0 {
			return false
		}
		last := len(c.few) - 1
		c.few[i] = c.few[last]
		c.few = c.few[:last]
		return true
	}
	if _, ok := c.many[ref]; !ok {
		return false
	}
	delete(c.many, ref)
	if len(c.many) <= maxFew/2 {
		c.few, c.many = c.appendTo(nil), nil
	}
	return true
}

func (c *crowd) appendTo(dst []Ref) []Ref {
	dst = append(dst, c.few...)
	for ref := range c.many {
		dst = append(dst, ref)
	}
	return dst
}
