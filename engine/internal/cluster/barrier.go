package cluster

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// A barrier names topics that have subscribers here from now on. It is sent behind the subscriptions,
// on the same connection, to all nodes, and each answers when it has noted that: what it publishes from
// then on reaches this node. Topics that come while a barrier is on its way go into the next one.
//
// Who does not answer is told that it is not going to be waited for, and some time after its server has
// got that it is excluded (slow.go).
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
	slow   map[uint8]*slowNode
	// records are of nodes that were slow a while ago.
	records map[uint8]record
	probed  time.Time
	// waitForAll has a connection's first barriers wait for everybody, as they do for a node that
	// begins, whose doors are closed yet.
	waitForAll bool
}

// maxBarrier is how long a barrier is waited for in any case: who is slow could not be told so.
const maxBarrier = 3 * time.Second

// setWaitForAll has everybody be waited for longer than it takes to exclude one, or only as long.
func (b *barriers) setWaitForAll(is bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.waitForAll = is
}

// audience returns who is waited for, and whether there are others. mu is held.
func (b *barriers) audience(now time.Time) (s idSet, partial bool) {
	for _, m := range b.nodes.all() {
		if m.Suspect || b.excludes(m.ID, now) {
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
	now := time.Now()
	if to != nil {
		f.waiting.add(*to)
	} else {
		f.waiting, f.partial = b.audience(now)
	}
	if f.partial && f.use == forTopics {
		b.timeouts.Add(1)
	}
	if f.waiting.empty() {
		return false
	}
	f.sent = now
	f.again, f.pause = f.sent.Add(firstAgain), 2*firstAgain
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
	var resting idSet
	if len(b.records) > 0 {
		resting = b.resting(time.Now())
	}
	for _, f := range b.flying {
		if f.use == forPace && !resting.hasAll(&f.waiting) {
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

// answered notes an answer. It returns the barriers for which that was the last one, and what there is to
// be said to the node if it was slow.
func (b *barriers) answered(id uint8, number uint64) (done []*barrier, say jobKind) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f := b.flying[number]
	if f != nil {
		if f.waiting.remove(id); f.waiting.empty() {
			b.done(f)
			done = append(done, f)
		}
	}
	say = b.heard(id, number, f)
	if say == jobReadmit { // it has been told all that older ones say
		done = append(done, b.without(id, number)...)
	}
	return done, say
}

// expire takes off what was not answered in time, and finds out who is slow. It returns what to send again
// and whom to say what, and when it wants to be called again.
func (b *barriers) expire(now time.Time) (late, resend []*barrier, say map[jobKind][]uint8, again time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	again = never
	var warn, exclude []uint8
	for _, f := range entries(b.flying) {
		age := now.Sub(f.sent)
		if f.use == forEverybody {
			if !now.Before(f.again) {
				resend = append(resend, f)
				f.again, f.pause = now.Add(f.pause), 2*f.pause
			}
			again = min(again, f.again.Sub(now))
		}
		if age < b.timeout {
			again = min(again, b.timeout-age)
			continue
		}
		for _, m := range b.nodes.all() {
			if !f.waiting.has(m.ID) {
				continue
			}
			switch told, wait := b.overdue(m.ID, f, now); {
			case !told:
				warn = append(warn, m.ID)
			case wait > 0:
				again = min(again, wait)
			case f.use == forEverybody && b.waitForAll:
			default:
				exclude = append(exclude, m.ID)
			}
		}
		limit := maxBarrier
		if f.use != forTopics && f.use != forEverybody {
			limit = silence
		}
		if age < limit {
			again = min(again, limit-age)
			continue
		}
		b.done(f)
		b.timedOut(f)
		late = append(late, f)
	}
	for _, id := range exclude {
		late = append(late, b.exclude(id)...)
	}
	for _, f := range late {
		f.partial = true
		if f.use == forTopics || f.use == forEverybody {
			b.timeouts.Add(1)
		}
	}
	probe, wait := b.probe(now)
	return late, resend, map[jobKind][]uint8{jobWarn: warn, jobProbe: probe}, min(again, wait)
}

// gone forgets a node, and returns what waits for nobody else.
func (b *barriers) gone(id uint8) (done []*barrier) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.slow, id)
	delete(b.records, id)
	return b.without(id, math.MaxUint64)
}

// forget forgets everything: the connection is lost. It returns who has waited for what is not known now.
func (b *barriers) forget() (passings []passing) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range entries(b.flying) {
		passings = append(passings, f.passings...)
	}
	clear(b.flying)
	b.uses = [forOne + 1]int{}
	clear(b.slow)
	clear(b.records)
	return passings
}
