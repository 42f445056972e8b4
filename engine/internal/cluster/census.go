package cluster

import (
	"log/slog"
	"slices"
	"sync"
	"time"
)

// A census keeps the table of nodes by what a Store tells of their leases.
type census struct {
	nodes *nodes
	self  uint8
	own   uint64 // the incarnation of this process
	log   *slog.Logger
	life  func() time.Duration
	// gone is called when a member has left the table, or another process has its id, and came when one
	// is new in it. What concerns one id is told in turn.
	came, gone func(Member)
	// changed is called when the table has changed in any way.
	changed func()
	// contested is called when the own id's key has changed otherwise than by this process, and dated when
	// it has by this one.
	contested func()
	dated     func(revision uint64, at time.Time)

	mu    sync.Mutex // held while it tells, too
	seen  map[uint8]*sighting
	whole bool      // the keys that there were at the start have been told
	last  time.Time // of the last tick
	heard time.Time // when any other node has renewed last
	known chan struct{}
}

// A sighting is when a node has renewed its lease last.
type sighting struct {
	revision uint64
	written  time.Time // by the server's clock
	at       time.Time // moved on by times in which nobody renewed
}

// before reports whether an entry was written before the sighting's, or is it: another watch tells
// it again. Of a bucket that was made anew the revisions are lower, and the times are not.
func (s *sighting) before(e Entry) bool {
	return e.Revision == s.revision || e.Revision < s.revision && !e.At.After(s.written)
}

func newCensus(c *Config, table *nodes) *census {
	return &census{
		nodes: table, self: c.Self, own: c.Incarnation, log: c.logger(), life: c.Nodes.Life,
		came: func(Member) {}, gone: func(Member) {}, contested: func() {}, dated: func(uint64, time.Time) {}, changed: func() {},
		seen: make(map[uint8]*sighting), known: make(chan struct{}),
	}
}

// hear takes what a Store's Watch tells.
func (c *census) hear(e Entry) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.Key == "" {
		if !c.whole {
			c.whole = true
			close(c.known)
		}
		return
	}
	id, ok := idOf(e.Key)
	if !ok {
		return
	}
	if e.Value == nil {
		if s := c.seen[id]; s != nil && s.before(e) {
			return
		}
		delete(c.seen, id)
		if id == c.self {
			c.contested()
			return
		}
		c.leave(id, "it has given its server id back")
		return
	}
	m, err := readClaim(id, e.Value)
	if err != nil {
		c.log.Warn("a key of the bucket of leases is no node's", "key", e.Key, "err", err)
		return
	}
	if id == c.self {
		if m.Incarnation == c.own {
			c.dated(e.Revision, e.At)
		} else {
			c.contested()
		}
		return
	}
	s := c.seen[id]
	switch {
	case s == nil:
		s = new(sighting)
		c.seen[id] = s
	case s.before(e):
		return
	}
	s.revision, s.written, s.at = e.Revision, e.At, time.Now()
	c.heard = s.at
	c.put(m)
}

// put has a member be in the table as its claim says.
func (c *census) put(m Member) {
	old, ok := c.nodes.find(m.ID)
	if ok && old.Incarnation != m.Incarnation {
		c.leave(m.ID, "another process has its server id")
		ok = false
	}
	switch {
	case !ok:
		c.nodes.put(m)
		c.log.Info("a node is there", "node", m.ID, "address", m.Address, "version", m.Version)
		c.came(m)
		c.changed()
	case old.Suspect:
		c.log.Info("a node renews its lease again", "node", m.ID, "address", m.Address)
		c.nodes.put(m)
		c.changed()
	case old.Address != m.Address || !slices.Equal(old.Workers, m.Workers) || !old.strays.hasAll(&m.strays) ||
		old.History != m.History:
		c.nodes.put(m)
		c.changed()
	}
}

// leave takes a member out of the table.
func (c *census) leave(id uint8, why string) {
	m, ok := c.nodes.find(id)
	if !ok {
		return
	}
	c.nodes.remove(id)
	c.log.Info("a node has left", "node", id, "address", m.Address, "why", why)
	c.gone(m)
	c.changed()
}

// tick judges who does not renew. renewed is when this node has done so last. Time in which nobody has
// renewed counts for nobody: that was NATS.
func (c *census) tick(renewed time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	since := now.Sub(c.last)
	first := c.last.IsZero()
	c.last = now
	if first {
		return
	}
	quiet := min(now.Sub(renewed), now.Sub(c.heard)) > 2*renewEvery
	for id, s := range c.seen {
		if quiet || since > suspectAfter { // or this process has stood still
			s.at = s.at.Add(since)
		}
		m, ok := c.nodes.find(id)
		switch age := now.Sub(s.at); {
		case !ok:
		case age >= c.life():
			delete(c.seen, id)
			c.leave(id, "its lease has expired")
		case age >= suspectAfter && !m.Suspect:
			m.Suspect = true
			c.nodes.put(m)
			c.changed()
			c.log.Warn("a node does not renew its lease: it is suspect", "node", id, "address", m.Address, "for", age)
		}
	}
}
