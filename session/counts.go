package session

import "sync"

// Counts counts the connections of each user against a limit (Longbridge: limit and online of AuthResponse). Any
// goroutine may call its methods.
type Counts struct {
	shards [shardCount]countShard
}

type countShard struct {
	mu sync.Mutex
	m  map[string]uint32
	_  [48]byte // a cache line of its own
}

// NewCounts returns a Counts of nobody.
func NewCounts() *Counts {
	c := new(Counts)
	for i := range c.shards {
		c.shards[i].m = make(map[string]uint32)
	}
	return c
}

func (c *Counts) shard(user string) *countShard { return &c.shards[stringShard(user)] }

// Acquire counts one more connection of user unless that would exceed limit; zero and negative mean no limit. online
// is the number of connections counted after the call. Each success is paid back by one Drop. The string user is kept
// while its count is above zero.
func (c *Counts) Acquire(user string, limit int) (online int, ok bool) {
	s := c.shard(user)
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.m[user]
	if limit > 0 && int(n) >= limit {
		return int(n), false
	}
	s.m[user] = n + 1
	return int(n) + 1, true
}

// Drop counts one connection of user less.
func (c *Counts) Drop(user string) {
	s := c.shard(user)
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := s.m[user]; n > 1 {
		s.m[user] = n - 1
	} else {
		delete(s.m, user)
	}
}

// Online returns the number of user's connections.
func (c *Counts) Online(user string) int {
	s := c.shard(user)
	s.mu.Lock()
	defer s.mu.Unlock()
	return int(s.m[user])
}

// Len counts the users that have a connection, one shard at a time.
func (c *Counts) Len() int {
	n := 0
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		n += len(s.m)
		s.mu.Unlock()
	}
	return n
}
