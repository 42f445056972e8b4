package cluster

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"
)

// What others have subscribers to is known of the topics that are published to here, and forgotten when
// that has not been done for a while. Of a topic that nothing is known of anybody may have subscribers.
//
// A node says by itself when it gains and loses topics, and answers for those that it is asked about.
// When a node comes, or the connection is back, nothing is known any more until there are new answers:
// then the epoch, which is part of what is known, is another. That a topic has no subscribers is believed
// while trust.go allows it.

const (
	// maxKnown is how many topics are known. Of others it is not known who wants them, so that they
	// are sent: that costs more, and nothing is lost.
	maxKnown = 1 << 18
	// targetCost is what one costs beside its name and its subject, in bytes.
	targetCost = 320
	// sweepEvery is how often the topics are looked through: one that was not published to in between
	// is forgotten the second time, the others are asked about again, in case an answer has been lost.
	sweepEvery = 30 * time.Second
	// askEvery is the time between two questions about a topic that not everybody has answered for.
	askEvery = time.Second
)

// unknown is an epoch that there never is.
const unknown = math.MaxUint64 >> 1

// A target is a topic that is published to here.
type target struct {
	name, subject string
	hash          uint64
	next          atomic.Pointer[target] // in its bucket

	// state is the epoch in which all have answered, times two, and 1 if somebody has subscribers.
	state     atomic.Uint64
	used      atomic.Bool // since it was swept last
	dead      atomic.Bool // it is forgotten
	asked     atomic.Bool // it is in interest.open
	congested atomic.Bool // the slowest of those that count is too far behind

	// Of interest.mu.
	some, answered idSet
	resets         uint64 // the answers are from after this many
	idle           int
	askedAt        time.Time

	// Of the sender.
	series, sent, offset, ackAt uint64
}

type buckets []atomic.Pointer[target]

func (b buckets) of(hash uint64) *atomic.Pointer[target] { return &b[hash&uint64(len(b)-1)] }

// interest is what is known of the others' subscribers.
type interest struct {
	nodes  *nodes
	subs   subjects
	charge func(int64)
	wake   func() // the sender: there are questions
	keep   func() // wakes the keeper: it is to call tick
	trust  *trust

	table   atomic.Pointer[buckets]
	changes atomic.Uint64
	resets  atomic.Uint64

	mu        sync.Mutex
	count     atomic.Int64 // written with mu held
	open      []*target    // not everybody has answered for, asked about or to be
	questions []string     // to be asked
	swept     time.Time
}

func newInterest(nodes *nodes, subs subjects, charge func(int64), wake, keep func(), trust *trust) *interest {
	i := &interest{
		nodes: nodes, subs: subs, charge: charge, wake: wake, keep: keep, trust: trust, swept: time.Now(),
	}
	b := make(buckets, 64)
	i.table.Store(&b)
	return i
}

// epoch is another when a node has come or the connection was lost.
func (i *interest) epoch() uint64 {
	if fault == 4 {
		return i.resets.Load()
	}
	return i.nodes.joins.Load() + i.resets.Load()
}

// number implements engine.Remote's Changes.
func (i *interest) number() uint64 { return i.changes.Load() + i.epoch() }

func (i *interest) find(name []byte) *target {
	h := xxhash.Sum64(name)
	for e := i.table.Load().of(h).Load(); e != nil; e = e.next.Load() {
		if e.hash == h && e.name == string(name) {
			return e
		}
	}
	return nil
}

// reaches implements engine.Remote's Reaches. It takes no lock and allocates nothing.
func (i *interest) reaches(name []byte, now int64) bool {
	if len(i.nodes.all()) == 0 || len(name) == 0 || len(name) > maxName {
		return false
	}
	e := i.find(name)
	if e == nil {
		return true
	}
	if !e.used.Load() {
		e.used.Store(true)
	}
	return e.reaches(i.epoch()) || !i.trust.given(now)
}

func (e *target) reaches(epoch uint64) bool {
	s := e.state.Load()
	return s&1 == 1 || s>>1 != epoch
}

// known reports whether everybody has answered for e.
func (e *target) known(epoch uint64) bool { return e.state.Load()>>1 == epoch }

// get returns the target of a topic that is published to, which is made if there is none, and has it
// asked about if need be. It is nil when there are too many.
func (i *interest) get(name []byte) *target {
	e := i.find(name)
	if e == nil {
		if e = i.add(name); e == nil {
			return nil
		}
	}
	if !e.used.Load() {
		e.used.Store(true)
	}
	if !e.asked.Load() && !e.known(i.epoch()) {
		i.mu.Lock()
		i.ask(e, time.Now())
		i.mu.Unlock()
		i.wake()
		i.keep()
	}
	return e
}

func (i *interest) add(name []byte) *target {
	i.mu.Lock()
	defer i.mu.Unlock()
	if e := i.find(name); e != nil {
		return e
	}
	n := i.count.Load()
	if n >= maxKnown {
		return nil
	}
	t := *i.table.Load()
	if int(n) >= len(t) {
		t = i.grow(t)
	}
	e := &target{name: string(name), hash: xxhash.Sum64(name)}
	e.subject = i.subs.topic(e.name)
	e.state.Store(unknown << 1)
	b := t.of(e.hash)
	e.next.Store(b.Load())
	b.Store(e)
	i.count.Add(1)
	i.charge(e.cost())
	return e
}

func (e *target) cost() int64 { return int64(targetCost + len(e.name) + len(e.subject)) }

// grow makes the table twice as big. Who looks into the old one meanwhile may miss one, and looks
// again with the lock held, or takes the topic for an unknown one.
func (i *interest) grow(old buckets) buckets {
	t := make(buckets, 2*len(old))
	for j := range old {
		for e := old[j].Load(); e != nil; {
			next := e.next.Load()
			b := t.of(e.hash)
			e.next.Store(b.Load())
			b.Store(e)
			e = next
		}
	}
	i.table.Store(&t)
	return t
}

// ask has all be asked about e. mu is held.
func (i *interest) ask(e *target, now time.Time) {
	if e.asked.Load() {
		return
	}
	e.asked.Store(true)
	e.askedAt = now
	i.open = append(i.open, e)
	i.questions = append(i.questions, e.name)
}

// takeQuestions returns the names of topics to be asked about.
func (i *interest) takeQuestions() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	q := i.questions
	i.questions = nil
	return q
}

// judge finds out anew who wants e. mu is held.
func (i *interest) judge(e *target) {
	epoch := i.epoch() // first: who comes behind that makes it another
	i.refresh(e)
	was := e.reaches(epoch)
	some, all := false, true
	for _, m := range i.nodes.all() {
		some = some || e.some.has(m.ID)
		all = all && e.answered.has(m.ID)
	}
	state := uint64(unknown) << 1
	if all {
		state = epoch << 1
	}
	if some {
		state |= 1
	}
	e.state.Store(state)
	if !was && e.reaches(epoch) {
		i.changes.Add(1)
	}
}

// refresh forgets answers from before the connection was lost. mu is held.
func (i *interest) refresh(e *target) {
	if n := i.resets.Load(); e.resets != n {
		e.resets, e.answered = n, idSet{}
	}
}

// note notes for topics of a list that a node has subscribers, or none. What of the topics is not
// published to here need not be known.
func (i *interest) note(id uint8, l list, some bool, f func(*target)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for {
		name, ok := l.next()
		if !ok {
			return
		}
		e := i.find(name)
		if e == nil {
			continue
		}
		i.refresh(e)
		e.answered.add(id)
		if some {
			e.some.add(id)
		} else {
			e.some.remove(id)
		}
		i.judge(e)
		if f != nil {
			f(e)
		}
	}
}

// reset forgets whose answers there are: while the connection was lost anything may have been said.
func (i *interest) reset() {
	if fault != 8 {
		i.resets.Add(1)
	}
}

// gone forgets what a node wanted.
func (i *interest) gone(id uint8) {
	i.each(func(e *target) {
		e.some.remove(id)
		e.answered.remove(id)
		i.judge(e)
	})
}

// each calls f with mu held.
func (i *interest) each(f func(*target)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	t := *i.table.Load()
	for j := range t {
		for e := t[j].Load(); e != nil; e = e.next.Load() {
			f(e)
		}
	}
}

// wants returns which nodes have subscribers to e.
func (i *interest) wants(e *target) idSet {
	i.mu.Lock()
	defer i.mu.Unlock()
	return e.some
}

// tick asks again about what not everybody has answered for, and returns when it wants to be called
// again.
func (i *interest) tick(now time.Time) time.Duration {
	if now.Sub(i.swept) >= sweepEvery {
		i.swept = now
		i.sweep()
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	epoch := i.epoch()
	kept := i.open[:0]
	for _, e := range i.open {
		switch {
		case e.known(epoch), e.dead.Load():
			e.asked.Store(false)
			continue
		case now.Sub(e.askedAt) >= askEvery:
			if !e.used.Load() {
				e.asked.Store(false) // nobody cares at the moment
				continue
			}
			e.askedAt = now
			i.questions = append(i.questions, e.name)
		}
		kept = append(kept, e)
	}
	clear(i.open[len(kept):])
	i.open = kept
	if len(kept) == 0 {
		i.open = nil
	}
	if len(i.questions) > 0 {
		i.wake()
	}
	switch {
	case len(kept) > 0:
		return askEvery / 2
	case i.count.Load() > 0:
		return sweepEvery
	}
	return never
}

// sweep forgets what nobody has published to for a while.
func (i *interest) sweep() {
	i.mu.Lock()
	defer i.mu.Unlock()
	t := *i.table.Load()
	for j := range t {
		at := &t[j]
		for e := at.Load(); e != nil; e = at.Load() {
			if e.used.Swap(false) {
				e.idle = 0
				if e.state.Load()&1 == 1 && !e.asked.Load() {
					i.questions = append(i.questions, e.name)
				}
			} else {
				e.idle++
			}
			if e.idle < 2 {
				at = &e.next
				continue
			}
			e.dead.Store(true)
			at.Store(e.next.Load())
			i.count.Add(-1)
			i.charge(-e.cost())
		}
	}
	if i.count.Load() == 0 && len(t) > 64 {
		b := make(buckets, 64)
		i.table.Store(&b)
	}
}
