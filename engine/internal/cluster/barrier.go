package cluster

import (
	"sync"
	"sync/atomic"
	"time"
)

// A barrier names topics that have subscribers here from now on. It is sent behind the subscriptions,
// on the same connection, to all nodes, and each answers when it has noted that: what it publishes from
// then on reaches this node. Topics that come while a barrier is on its way go into the next one.
//
// A node that does not answer in time is behind: it is not waited for, and asked twice a second. When
// it answers it is told everything anew.
//
// The answers to barriers without topics come from each node when it has passed on to its loops what was
// sent before. They set the sender's pace, and say to who waits for it that it is so (passed.go).

const (
	// barrierPause is the least time between two barriers for all.
	barrierPause = time.Millisecond
	// firstAgain is when a connection's first barrier is sent again, then after twice the time each: who
	// comes is not known to everybody at once.
	firstAgain = 25 * time.Millisecond
	// silence is how long who sets a pace may be silent before it does not count any more.
	silence = 500 * time.Millisecond
	// maxStatement bounds the lists of a frame, in bytes, so that it fits into any server's message.
	maxStatement = 48 << 10
)

type barrierUse uint8

const (
	forTopics    barrierUse = iota
	forEverybody            // the first ones of a connection: nothing is published before
	forPace
	forPassed
	forOne // whoever is behind
)

type barrier struct {
	number  uint64
	use     barrierUse
	topics  []*ownTopic
	waiting idSet
	sent    time.Time
	from    uint64 // forPace: bytes that had been sent at the one before
	// forPassed: who waits, and whether not all who are there were asked, or have answered.
	passings []passing
	partial  bool
	// forEverybody: when it is sent again to those who may not have known the node, and the time between
	// that and the next time.
	again time.Time
	pause time.Duration
}

// barriers are those on their way.
type barriers struct {
	nodes    *nodes
	timeout  time.Duration
	timeouts atomic.Uint64
	count    atomic.Uint64

	mu     sync.Mutex
	flying map[uint64]*barrier
	uses   [forOne + 1]int // of flying
	behind idSet
	probed time.Time
}

// audience returns who is waited for, and whether there are others. mu is held.
func (b *barriers) audience() (s idSet, partial bool) {
	for _, m := range b.nodes.all() {
		if m.Suspect || b.behind.has(m.ID) {
			partial = true
		} else {
			s.add(m.ID)
		}
	}
	return s, partial
}

// add registers a barrier that is about to be sent to all, or to one node. It reports false when nobody
// is to be waited for.
func (b *barriers) add(f *barrier, to *uint8) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if to != nil {
		f.waiting.add(*to)
	} else {
		f.waiting, f.partial = b.audience()
	}
	if f.waiting.empty() {
		return false
	}
	f.sent = time.Now()
	f.again, f.pause = f.sent.Add(firstAgain), 2*firstAgain
	if !b.behind.empty() && f.use == forTopics {
		b.timeouts.Add(1) // not all are waited for
	}
	b.flying[f.number] = f
	b.uses[f.use]++
	b.count.Add(1)
	return true
}

// renew gives a barrier another number, to be sent again. It reports false when nobody waits for it.
func (b *barriers) renew(f *barrier, number uint64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.flying[f.number] != f {
		return false
	}
	delete(b.flying, f.number)
	f.number = number
	b.flying[number] = f
	return true
}

// has returns how many are on their way for a use.
func (b *barriers) has(u barrierUse) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.uses[u]
}

// pace returns how many bytes had been sent when everybody had passed on what was sent before; sent if
// nothing is waited for.
func (b *barriers) pace(sent uint64) uint64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.uses[forPace] == 0 {
		return sent
	}
	for _, f := range b.flying {
		if f.use == forPace {
			sent = min(sent, f.from)
		}
	}
	return sent
}

// done takes a barrier off. mu is held.
func (b *barriers) done(f *barrier) {
	delete(b.flying, f.number)
	b.uses[f.use]--
}

// answered notes an answer. It returns the barrier if that was the last one, and whether the node was
// behind.
func (b *barriers) answered(id uint8, number uint64) (f *barrier, back bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if back = b.behind.has(id); back {
		b.behind.remove(id)
	}
	f = b.flying[number]
	if f == nil {
		return nil, back
	}
	f.waiting.remove(id)
	if !f.waiting.empty() {
		return nil, back
	}
	b.done(f)
	return f, back
}

// expire takes off what was not answered in time, and notes who is behind. It returns what to send
// again, whom to ask whether it is there again, and when it wants to be called again.
func (b *barriers) expire(now time.Time) (late, resend []*barrier, ask []uint8, again time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	again = never
	for _, f := range b.flying {
		timeout := b.timeout
		if f.use != forTopics && f.use != forEverybody {
			timeout = silence
		}
		if wait := f.sent.Add(timeout).Sub(now); wait > 0 {
			again = min(again, wait)
			if f.use == forEverybody {
				if !now.Before(f.again) {
					resend = append(resend, f)
					f.again, f.pause = now.Add(f.pause), 2*f.pause
				}
				again = min(again, f.again.Sub(now))
			}
			continue
		}
		for _, m := range b.nodes.all() {
			if f.waiting.has(m.ID) {
				b.behind.add(m.ID)
			}
		}
		b.done(f)
		f.partial = true
		late = append(late, f)
		if f.use == forTopics || f.use == forEverybody {
			b.timeouts.Add(1)
		}
	}
	if b.behind.empty() {
		return late, resend, nil, again
	}
	if wait := b.probed.Add(silence).Sub(now); wait > 0 {
		return late, resend, nil, min(again, wait)
	}
	b.probed = now
	for _, m := range b.nodes.all() {
		if b.behind.has(m.ID) {
			ask = append(ask, m.ID)
		}
	}
	return late, resend, ask, min(again, silence)
}

// gone forgets a node, and returns what waits for nobody else.
func (b *barriers) gone(id uint8) (done []*barrier) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.behind.remove(id)
	for _, f := range b.flying {
		f.waiting.remove(id)
		if f.waiting.empty() {
			b.done(f)
			done = append(done, f)
		}
	}
	return done
}

// forget forgets everything: the connection is lost. It returns who has waited for what is not known now.
func (b *barriers) forget() (passings []passing) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range b.flying {
		passings = append(passings, f.passings...)
	}
	clear(b.flying)
	b.uses = [forOne + 1]int{}
	b.behind = idSet{}
	return passings
}
