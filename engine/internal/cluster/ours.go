package cluster

import (
	"sync"
	"sync/atomic"
	"time"
)

// ownCost is what a topic with subscribers here costs beside its name and its subject, in bytes.
const ownCost = 256

// An ownTopic is a topic that has subscribers here, or had some a moment ago.
type ownTopic struct {
	name, subject string
	gone          atomic.Bool // it was let go: another one may be there

	// Of ours.mu.
	subscribed bool
	left       time.Time // when its last subscriber has
	settled    bool      // all that count know of it
	waiters    []func()

	following *following // of the receiver; nil: it has no history, or is not joined yet

	senders  []progress   // of the receiver
	progress atomic.Int64 // bytes of senders that are charged
}

// ours are the topics with subscribers here.
type ours struct {
	subs   subjects
	linger time.Duration
	charge func(int64)
	post   func(job)       // to the sender
	wake   func()          // the keeper
	letGo  func(*ownTopic) // says that one has gone; nil: nobody wants to know

	mu        sync.Mutex
	connected bool
	topics    map[string]*ownTopic
	lingering []lingering // the first to go first
}

type lingering struct {
	topic *ownTopic
	left  time.Time
}

// carried reports whether topics of that name go to other nodes.
func carried(name string) bool { return name != "" && len(name) <= maxName }

func (o *ours) gained(name string) {
	if !carried(name) {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if t := o.topics[name]; t != nil {
		t.subscribed = true
		return
	}
	o.add(name).subscribed = true
}

// add begins with a topic. mu is held.
func (o *ours) add(name string) *ownTopic {
	t := &ownTopic{name: name, subject: o.subs.topic(name)}
	o.topics[name] = t
	o.charge(t.cost())
	o.post(job{kind: jobSubscribe, topic: t})
	return t
}

// expect implements engine.Remote's Expect.
func (o *ours) expect(name []byte) {
	if !carried(string(name)) {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	t := o.topics[string(name)]
	switch {
	case t == nil:
		t = o.add(string(name))
	case t.subscribed || time.Since(t.left) < o.linger/2: // it is known of for long enough
		return
	}
	o.letLinger(t)
}

func (t *ownTopic) cost() int64 { return int64(ownCost + len(t.name) + len(t.subject)) }

func (o *ours) lost(name string) {
	if !carried(name) {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	t := o.topics[name]
	if t == nil {
		return
	}
	t.subscribed = false
	o.letLinger(t)
}

// letLinger has a topic without subscribers be let go some time from now. mu is held.
func (o *ours) letLinger(t *ownTopic) {
	t.left = time.Now()
	o.lingering = append(o.lingering, lingering{t, t.left})
	if len(o.lingering) == 1 {
		o.wake()
	}
}

// find returns the topic of that name, nil if there are no subscribers here.
func (o *ours) find(name []byte) *ownTopic {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.topics[string(name)]
}

// has says of each topic of a list whether there are subscribers here.
func (o *ours) has(names []string) (some, none []string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, name := range names {
		if o.topics[name] != nil {
			some = append(some, name)
		} else {
			none = append(none, name)
		}
	}
	return some, none
}

func (o *ours) all() []*ownTopic {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := make([]*ownTopic, 0, len(o.topics))
	for _, t := range entries(o.topics) {
		all = append(all, t)
	}
	return all
}

func (o *ours) number() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return len(o.topics)
}

// tick lets go what has lingered, and returns when it wants to be called again, and who has waited for
// what is gone.
func (o *ours) tick(now time.Time) (time.Duration, []func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var due []func()
	for len(o.lingering) > 0 {
		l := o.lingering[0]
		if wait := l.left.Add(o.linger).Sub(now); wait > 0 {
			return wait, due
		}
		o.lingering[0] = lingering{}
		o.lingering = o.lingering[1:]
		t := l.topic
		if t.subscribed || t.left != l.left || t.gone.Load() {
			continue
		}
		delete(o.topics, t.name)
		t.gone.Store(true)
		if o.letGo != nil {
			o.letGo(t)
		}
		o.charge(-t.cost() - t.progress.Swap(0))
		due = append(due, t.waiters...)
		t.waiters = nil
		o.post(job{kind: jobLetGo, topic: t})
	}
	o.lingering = nil
	return never, due
}

// settle implements engine.Remote's Settle.
func (o *ours) settle(name []byte, f func()) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	t := o.topics[string(name)]
	if !o.connected || t == nil || t.settled || fault == 2 {
		return false
	}
	t.waiters = append(t.waiters, f)
	return true
}

// settled notes that all that count know of topics, and returns who has waited for that.
func (o *ours) settled(topics []*ownTopic) (due []func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, t := range topics {
		t.settled = true
		due = append(due, t.waiters...)
		t.waiters = nil
	}
	return due
}

// change notes that there is a connection or none. Nothing is settled, and nobody waits any more.
func (o *ours) change(connected bool) (due []func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.connected = connected
	for _, t := range entries(o.topics) {
		t.settled = false
		if fault != 10 {
			due = append(due, t.waiters...)
		}
		t.waiters = nil
	}
	return due
}
