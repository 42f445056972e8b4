package engine

import (
	"iter"
	"sync/atomic"
	"time"

	"github.com/sluicenet/sluice/topic"
)

// A Remote takes what is published here to subscribers elsewhere. Its methods are called by loops, and
// must neither block nor call the engine back. They must be safe for concurrent use.
type Remote interface {
	// Reaches reports whether somebody elsewhere may be subscribed to a topic. It is asked once for
	// each run of messages, at now, in ms on the engine's clock: reading that costs more than the rest.
	// name is borrowed.
	Reaches(name []byte, now int64) bool
	// Changes returns a number that is another when Reaches has become true of any topic. A message
	// that is published behind that begins a run of its own.
	Changes() uint64
	// Congested reports whether messages to a topic must wait, because those elsewhere, or the way to
	// them, cannot take more. It becomes false again by itself when they stand still. name is borrowed.
	Congested(name []byte) bool
	// Publish sends messages to those elsewhere, n records of topic.AppendRecord one after the other.
	// Both slices are borrowed. Calls for one topic by one Publisher are in the order of its messages.
	Publish(name, records []byte, n int)
	// Subscribed says that a topic has a first subscriber here, and Unsubscribed that it has none any
	// more. For one topic they are called in turn, in the order in which it happens, with a lock held.
	Subscribed(name string)
	Unsubscribed(name string)
	// Expect says that a topic is about to get a subscriber here: it is as if it had one that has
	// left at once, and those elsewhere may know of it for some seconds more. name is borrowed.
	Expect(name []byte)
	// Settle has f called, on any goroutine, once everything that is published elsewhere from then on
	// reaches the subscribers here; false means that it does already, and f is not called. name is
	// borrowed.
	Settle(name []byte, f func()) bool
}

// Expect says that topics are about to get subscribers here, so that WhenSettled can be asked about
// them before they have. Who has a topic expected and does not subscribe to it has to do nothing.
// topics is borrowed. It does not block, and any goroutine may call it.
func (e *Engine) Expect(topics iter.Seq[[]byte]) {
	r := e.config.Remote
	if r == nil {
		return
	}
	for t := range topics {
		r.Expect(t)
	}
}

// WhenSettled has f called once, on any goroutine, when what is published elsewhere to each of some
// topics reaches its subscribers here, which have subscribed before or are expected; false means
// that it does already, or that nobody is elsewhere, and f is not called. Whoever answers a
// subscription that is to miss nothing does so in f. topics is borrowed. It does not block, and any
// goroutine may call it.
func (e *Engine) WhenSettled(topics iter.Seq[[]byte], f func()) (later bool) {
	r := e.config.Remote
	if r == nil {
		return false
	}
	var left atomic.Int32
	left.Store(1) // until all are asked about
	settled := func() {
		if left.Add(-1) == 0 {
			f()
		}
	}
	for t := range topics {
		left.Add(1)
		if r.Settle(t, settled) {
			later = true
		} else {
			left.Add(-1)
		}
	}
	if left.Add(-1) > 0 {
		return true
	}
	if later { // all of them have settled meanwhile
		f()
	}
	return later
}

// An Injector publishes what has come from elsewhere: it goes to subscribers here and nowhere else. It
// waits for room in the mailboxes, so that memory is bounded, and never for subscribers: see Crowd.
// Only one goroutine may use it.
type Injector struct{ pb Publisher }

// NewInjector makes an Injector for a goroutine that may block.
func (e *Engine) NewInjector() *Injector {
	return &Injector{Publisher{engine: e, local: true, roomOnly: true}}
}

// Publish publishes records of topic.AppendRecord to a topic's subscribers and returns when they are on
// their way to the loops. The error is topic.ErrRecord when they cannot be read: those before the bad
// one are published; or ErrStopped.
func (i *Injector) Publish(name, records []byte) error {
	var m topic.Message
	for len(records) > 0 {
		n, err := m.Read(records)
		if err != nil {
			i.pb.Flush()
			return err
		}
		records = records[n:]
		if err := i.pb.Publish(name, Push{Route: m.Route, Cmd: m.Cmd, Payload: m.Payload}); err != nil {
			return err
		}
	}
	i.pb.Flush()
	return nil
}

// A Crowd is a topic's subscribers here, as somebody elsewhere who publishes to them sees it. Only one
// goroutine may use it.
type Crowd struct {
	pb      Publisher
	to      audience
	wait    wait
	waiting bool
}

// NewCrowd makes the Crowd of a topic.
func (e *Engine) NewCrowd(name string) *Crowd {
	return &Crowd{pb: Publisher{engine: e}, to: audience{kind: subscribersOf, name: []byte(name)}}
}

// MayGo reports whether a publisher here would go on, by the rules of wait.go. Where it says false it
// wants to be asked again a few ms later.
func (c *Crowd) MayGo() bool {
	e := c.pb.engine
	key, ok := e.topics.Lookup(c.to.name)
	if !ok {
		return true
	}
	c.to.key = key
	now := e.Now()
	if !c.waiting {
		c.wait, c.waiting = wait{begun: now}, true
	}
	s := c.pb.see(&c.to)
	if s.full || !c.wait.mayGo(&s, &c.pb.debt, now) {
		return false
	}
	c.waiting = false
	return true
}

// CrowdPause is how long to wait before MayGo is asked again.
const CrowdPause = 2 * time.Millisecond
