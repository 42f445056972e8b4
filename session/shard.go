package session

import (
	"encoding/binary"
	"sync"

	"github.com/cespare/xxhash/v2"
)

// shardCount is the number of locks an index is spread over: some eight times the loops of a large
// machine, so that two rarely want the same one. It is a power of two.
const shardCount = 64

func stringShard(s string) uint64 { return xxhash.Sum64String(s) % shardCount }

func keyShard(k Key) uint64 {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(k))
	return xxhash.Sum64(b[:]) % shardCount
}

// shardsFor is the number of shards (a power of two) over which max entries are bounded one shard
// at a time. Random keys spread unevenly; with 4096 or more a shard the first one is full when the
// whole is within some five percent.
func shardsFor(max int) int {
	const least = 4096
	n := 1
	for n < shardCount && max/(n*2) >= least {
		n *= 2
	}
	return n
}

// slimAbove is the size from which memory is given back.
const slimAbove = 512

// slim returns m, or a copy when m has an eighth of the entries it once had, peak: Go's maps do not
// shrink by themselves. It returns the new peak, too.
func slim[K comparable, V any](m map[K]V, peak int) (map[K]V, int) {
	if peak <= slimAbove || len(m) >= peak/8 {
		return m, peak
	}
	small := make(map[K]V, 2*len(m))
	for k, v := range m {
		small[k] = v
	}
	return small, len(small)
}

// refShard is one lock's part of a map to connections.
type refShard[K comparable] struct {
	mu sync.Mutex
	m  map[K]Ref
	_  [48]byte // a cache line of its own, lest two locks share one
}

// boundRef is an entry copied out of a refShard.
type boundRef[K comparable] struct {
	key K
	ref Ref
}

func (s *refShard[K]) get(k K) Ref {
	s.mu.Lock()
	ref := s.m[k]
	s.mu.Unlock()
	return ref
}

func (s *refShard[K]) put(k K, ref Ref) (prev Ref) {
	s.mu.Lock()
	prev = s.m[k]
	s.m[k] = ref
	s.mu.Unlock()
	return prev
}

func (s *refShard[K]) putIfAbsent(k K, ref Ref) (holder Ref) {
	s.mu.Lock()
	holder = s.m[k]
	if holder == 0 {
		s.m[k] = ref
	}
	s.mu.Unlock()
	return holder
}

// deleteIf removes k while it is bound to ref.
func (s *refShard[K]) deleteIf(k K, ref Ref) bool {
	s.mu.Lock()
	held, ok := s.m[k]
	ok = ok && held == ref
	if ok {
		delete(s.m, k)
	}
	s.mu.Unlock()
	return ok
}

func (s *refShard[K]) len() int {
	s.mu.Lock()
	n := len(s.m)
	s.mu.Unlock()
	return n
}

// appendAll copies the entries after dst.
func (s *refShard[K]) appendAll(dst []boundRef[K]) []boundRef[K] {
	s.mu.Lock()
	for k, ref := range s.m {
		dst = append(dst, boundRef[K]{k, ref})
	}
	s.mu.Unlock()
	return dst
}
