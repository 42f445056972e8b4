package cluster

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicenet/sluice/engine"
)

// Credits set the pace of who publishes much to a topic. Each ackEvery bytes of a topic its receivers
// are asked how far they are, and answer when a publisher there would go on by the engine's rules.
// Publishers here wait while the slowest of those that count is more than the window behind. Who says
// nothing for a while does not count until he does again.

const (
	// ackEvery is how many bytes of a topic are sent between two questions.
	ackEvery = 256 << 10
	// stillThere is how often who cannot say yet that a publisher may go on says that it is there.
	stillThere = 200 * time.Millisecond
	// creditIdle is for how long it is remembered how far receivers are.
	creditIdle = 10 * time.Second
	// creditTick is how often it is looked who is silent.
	creditTick = 50 * time.Millisecond
)

// A credit is how far the receivers of a topic are. Of credits.mu.
type credit struct {
	series, sent uint64 // bytes
	asked        uint64 // up to which they were asked
	used         time.Time
	nodes        []creditNode
}

type creditNode struct {
	id      uint8
	acked   uint64
	since   time.Time // it is silent, zero: it is not asked anything
	ignored bool      // it was silent for too long
}

type credits struct {
	window uint64

	mu    sync.Mutex
	hot   map[*target]*credit
	count atomic.Int64 // of hot, once a tick
}

// has reports whether something is remembered of e.
func (c *credits) has(e *target) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.hot[e] != nil
}

// sent notes that e is sent up to an offset. It reports whether the receivers are to be asked. It is
// called by the sender; wants returns who has subscribers.
func (c *credits) sent(e *target, upTo uint64, wants func(*target) idSet) (ask, first bool) {
	ask = upTo-e.ackAt >= ackEvery
	if !ask {
		c.mu.Lock()
		defer c.mu.Unlock()
		if k := c.hot[e]; k != nil {
			k.sent = upTo
			c.judge(e, k)
		}
		return false, false
	}
	some := wants(e)
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.hot[e]
	if k == nil {
		k = &credit{series: e.series}
		c.hot[e] = k
		c.count.Store(int64(len(c.hot)))
		first = len(c.hot) == 1
	}
	k.sent, k.asked, k.used = upTo, upTo, now
	for id := range 256 {
		if !some.has(uint8(id)) {
			continue
		}
		j := slices.IndexFunc(k.nodes, func(n creditNode) bool { return n.id == uint8(id) })
		if j < 0 {
			k.nodes = append(k.nodes, creditNode{id: uint8(id), acked: e.ackAt})
			j = len(k.nodes) - 1
		}
		if n := &k.nodes[j]; n.since.IsZero() {
			n.since = now
		}
	}
	e.ackAt = upTo
	c.judge(e, k)
	return true, first
}

// judge finds out whether publishers wait. mu is held.
func (c *credits) judge(e *target, k *credit) {
	is := false
	for _, n := range k.nodes {
		is = is || !n.ignored && k.sent-n.acked > c.window
	}
	if e.congested.Load() != is {
		e.congested.Store(is)
	}
}

// received notes how far a node is.
func (c *credits) received(e *target, id uint8, series, offset uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.hot[e]
	if k == nil || k.series != series || offset > k.sent {
		return
	}
	for j := range k.nodes {
		n := &k.nodes[j]
		if n.id != id {
			continue
		}
		n.acked, n.ignored = max(n.acked, offset), false
		if n.acked >= k.asked {
			n.since = time.Time{}
		} else {
			n.since = time.Now()
		}
	}
	c.judge(e, k)
}

// tick has those not count that are silent, and returns when it wants to be called again.
func (c *credits) tick(now time.Time) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	for e, k := range c.hot {
		for j := range k.nodes {
			if n := &k.nodes[j]; !n.since.IsZero() && now.Sub(n.since) > silence {
				n.ignored = true
			}
		}
		c.judge(e, k)
		if now.Sub(k.used) > creditIdle && !e.congested.Load() {
			delete(c.hot, e)
		}
	}
	c.count.Store(int64(len(c.hot)))
	if len(c.hot) == 0 {
		return never
	}
	return creditTick
}

// drop forgets a node that has left, or has no subscribers to e any more.
func (c *credits) drop(e *target, id uint8) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if k := c.hot[e]; k != nil {
		k.nodes = slices.DeleteFunc(k.nodes, func(n creditNode) bool { return n.id == id })
		c.judge(e, k)
	}
}

// gone is drop for all topics.
func (c *credits) gone(id uint8) {
	if fault == 9 {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for e, k := range c.hot {
		k.nodes = slices.DeleteFunc(k.nodes, func(n creditNode) bool { return n.id == id })
		c.judge(e, k)
	}
}

// forget forgets everything: the connection is lost.
func (c *credits) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for e := range c.hot {
		e.congested.Store(false)
	}
	clear(c.hot)
	c.count.Store(0)
}

func (c *credits) number() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.hot)
}

// A crowd is what the subscribers here say to a publisher: an engine.Crowd.
type crowd interface{ MayGo() bool }

// acks are questions how far this node is. The receiver puts them in, the rest is the keeper's.
type acks struct {
	crowd func(name string) crowd
	post  func(job)
	wake  func()

	mu sync.Mutex
	in []ack

	topics map[string]*askedTopic
}

type ack struct {
	name           string
	to             origin
	series, offset uint64
	told           time.Time // that this node is there
}

// An askedTopic is a topic that others ask about.
type askedTopic struct {
	crowd crowd
	used  time.Time
	acks  []ack // one per node
}

func (a *acks) put(k ack) {
	a.mu.Lock()
	a.in = append(a.in, k)
	a.mu.Unlock()
	a.wake()
}

// tick answers what can be answered, and returns when it wants to be called again.
func (a *acks) tick(now time.Time) time.Duration {
	a.mu.Lock()
	in := a.in
	a.in = nil
	a.mu.Unlock()
	for _, k := range in {
		t := a.topics[k.name]
		if t == nil {
			t = &askedTopic{crowd: a.crowd(k.name)}
			a.topics[k.name] = t
		}
		t.used = now
		k.told = now
		if j := slices.IndexFunc(t.acks, func(o ack) bool { return o.to == k.to }); j >= 0 {
			k.told = t.acks[j].told
			t.acks[j] = k
		} else {
			t.acks = append(t.acks, k)
		}
	}
	again := never
	for name, t := range entries(a.topics) {
		switch {
		case len(t.acks) == 0:
			if now.Sub(t.used) > creditIdle {
				delete(a.topics, name)
			} else {
				again = min(again, creditIdle)
			}
		case t.crowd.MayGo():
			for _, k := range t.acks {
				a.post(job{kind: jobCredit, ack: k})
			}
			clear(t.acks)
			t.acks = t.acks[:0]
			again = min(again, creditIdle)
		default:
			again = engine.CrowdPause
			for j := range t.acks {
				if k := &t.acks[j]; now.Sub(k.told) >= stillThere {
					k.told = now
					a.post(job{kind: jobCredit, ack: ack{name: name, to: k.to, series: k.series}})
				}
			}
		}
	}
	return again
}

// gone forgets what a node has asked. It is called by the keeper.
func (a *acks) gone(id uint8) {
	for _, t := range a.topics {
		t.acks = slices.DeleteFunc(t.acks, func(k ack) bool { return k.to.id == id })
	}
}
