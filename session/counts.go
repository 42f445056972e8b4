package session

import (
	"encoding/binary"
	"sync"
)

// A Slot is what Counts counts once: a session, however many connections hold it for the moment in
// which one takes over from another. Connections that have no session, or none yet, are counted by
// their Ref.
type Slot uint64

// Slot returns the session's Slot.
func (id SessionID) Slot() Slot { return Slot(binary.BigEndian.Uint64(id[:])) } // as random as the id

// Counts counts the connections of each user against a limit (Longbridge: limit and online of
// AuthResponse). Any goroutine may call its methods.
type Counts struct {
	shards [shardCount]countShard
}

type countShard struct {
	mu    sync.Mutex
	users map[string]uint32 // occupied slots
	slots map[Slot]uint32   // connections in each
	_     [40]byte          // a cache line of its own
}

// NewCounts returns a Counts of nobody.
func NewCounts() *Counts {
	c := new(Counts)
	for i := range c.shards {
		c.shards[i].users = make(map[string]uint32)
		c.shards[i].slots = make(map[Slot]uint32)
	}
	return c
}

func (c *Counts) shard(user string) *countShard { return &c.shards[stringShard(user)] }

// Acquire counts one more connection of user, in slot. A slot that is occupied already has room for
// it; a new one has unless that would exceed limit; zero and negative mean no limit. online is the
// number of user's slots after the call. Each success is paid back by one Drop. The string user is
// kept while its count is above zero.
func (c *Counts) Acquire(user string, slot Slot, limit int) (online int, ok bool) {
	s := c.shard(user)
	s.mu.Lock()
	defer s.mu.Unlock()
	n, held := s.users[user], s.slots[slot]
	if held == 0 {
		if limit > 0 && int(n) >= limit {
			return int(n), false
		}
		n++
		s.users[user] = n
	}
	s.slots[slot] = held + 1
	return int(n), true
}

// Move counts the one connection in slot from in slot to, a new one: its session has begun.
func (c *Counts) Move(user string, from, to Slot) {
	s := c.shard(user)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.slots[to] = s.slots[from]
	delete(s.slots, from)
}

// Drop counts one connection of user in slot less.
func (c *Counts) Drop(user string, slot Slot) {
	s := c.shard(user)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch s.slots[slot] {
	case 0:
	case 1:
		delete(s.slots, slot)
		if n := s.users[user]; n > 1 {
			s.users[user] = n - 1
		} else {
			delete(s.users, user)
		}
	default:
		s.slots[slot]--
	}
}

// Online returns the number of user's slots that are occupied.
func (c *Counts) Online(user string) int {
	s := c.shard(user)
	s.mu.Lock()
	defer s.mu.Unlock()
	return int(s.users[user])
}

// Len counts the users that have a connection, one shard at a time.
func (c *Counts) Len() int {
	n := 0
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		n += len(s.users)
		s.mu.Unlock()
	}
	return n
}
