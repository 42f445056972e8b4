package link

import (
	"sync"
	"time"

	"github.com/sluicenet/sluice/codec/netsvr/netsvrpb"
	"github.com/sluicenet/sluice/engine"
)

// delayed is what is to be done later: closes that give a client time to read why, and messages
// that a worker wants judged and delivered after a delay. One goroutine does all of it, in the
// order it is due.
//
// Messages are bounded in bytes. A worker's link may have limit of them, and all links together
// maxDelayedLinks times that, of which a link may have no more than stays free. A message counts
// until it is delivered, also when its link has ended before. Closes are bounded in number.
type delayed struct {
	limit  int             // bytes of a link's messages
	charge func(bytes int) // what is allocated, as it changes
	wake   chan struct{}   // something is due sooner than what was

	mu      sync.Mutex
	items   []delayedItem // a heap by at
	used    int           // bytes of messages
	charged int
	closes  int
	closed  bool
}

// A delayedItem is a close of ref or, if that is 0, a message.
type delayedItem struct {
	at      time.Time
	ref     engine.Ref
	message *delayedMessage
}

// A delayedMessage is a ForceOfflineGuest that waits for its time.
type delayedMessage struct {
	command *netsvrpb.ForceOfflineGuest
	cost    int // bytes
	owner   *delayedOwner
}

// A delayedOwner is the account of a link, which may outlive it.
type delayedOwner struct{ used int }

const (
	// maxDelayedCloses bounds the closes that wait. It is 131,072 clients sent away in 3 s.
	maxDelayedCloses = 1 << 17
	// maxDelayedLinks is how many links' limits all messages may come to.
	maxDelayedLinks = 4
	// delayedItemSize is what an item takes, in bytes, and delayedOverhead a message beside its
	// data and ids: the structs of both, and what the allocator adds to short data and ids.
	delayedItemSize = 40
	delayedOverhead = 128
)

func newDelayed(limit int, charge func(bytes int)) *delayed {
	return &delayed{limit: limit, charge: charge, wake: make(chan struct{}, 1)}
}

// costOf is what m takes, in bytes.
func costOf(m *netsvrpb.ForceOfflineGuest) int {
	n := delayedOverhead + cap(m.Data) + 16*cap(m.UniqIds)
	for _, id := range m.UniqIds {
		n += len(id)
	}
	return n
}

// later keeps a message for its time. It reports false if there is no room for it.
func (d *delayed) later(owner *delayedOwner, wait time.Duration, m *netsvrpb.ForceOfflineGuest) bool {
	cost := costOf(m)
	d.mu.Lock()
	defer d.mu.Unlock()
	free := maxDelayedLinks*d.limit - d.used - cost
	if d.closed || owner.used+cost > min(d.limit, free) {
		return false
	}
	owner.used += cost
	d.used += cost
	d.pushLocked(delayedItem{at: time.Now().Add(wait), message: &delayedMessage{m, cost, owner}})
	return true
}

// closeLater has ref closed later. It reports false if too many closes wait already.
func (d *delayed) closeLater(ref engine.Ref, wait time.Duration) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed || d.closes >= maxDelayedCloses {
		return false
	}
	d.closes++
	d.pushLocked(delayedItem{at: time.Now().Add(wait), ref: ref})
	return true
}

func (d *delayed) pushLocked(it delayedItem) {
	d.items = append(d.items, it)
	i := len(d.items) - 1
	for i > 0 && d.items[i].at.Before(d.items[(i-1)/2].at) {
		d.items[i], d.items[(i-1)/2] = d.items[(i-1)/2], d.items[i]
		i = (i - 1) / 2
	}
	d.accountLocked()
	if i == 0 {
		select {
		case d.wake <- struct{}{}:
		default:
		}
	}
}

// pop takes the first item if it is due; wait is how long until the next one is, 0 for never.
func (d *delayed) pop(now time.Time) (it delayedItem, wait time.Duration, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.items) == 0 {
		return it, 0, false
	}
	if first := d.items[0].at; first.After(now) {
		return it, first.Sub(now), false
	}
	it = d.items[0]
	last := len(d.items) - 1
	d.items[0] = d.items[last]
	d.items[last] = delayedItem{}
	d.items = d.items[:last]
	for i := 0; ; {
		child := 2*i + 1
		if child+1 < last && d.items[child+1].at.Before(d.items[child].at) {
			child++
		}
		if child >= last || !d.items[child].at.Before(d.items[i].at) {
			break
		}
		d.items[i], d.items[child] = d.items[child], d.items[i]
		i = child
	}
	if last == 0 && cap(d.items) > 1024 {
		d.items = nil
	}
	if it.message == nil {
		d.closes--
	}
	d.accountLocked()
	return it, 0, true
}

// delivered says that a message is over.
func (d *delayed) delivered(m *delayedMessage) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return
	}
	m.owner.used -= m.cost
	d.used -= m.cost
	d.accountLocked()
}

func (d *delayed) accountLocked() {
	if n := cap(d.items)*delayedItemSize + d.used; n != d.charged {
		d.charge(n - d.charged)
		d.charged = n
	}
}

// run does what is due until stop is closed.
func (d *delayed) run(stop <-chan struct{}, do func(delayedItem)) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		it, wait, ok := d.pop(time.Now())
		if ok {
			do(it)
			if it.message != nil {
				d.delivered(it.message)
			}
			continue
		}
		if wait == 0 {
			wait = time.Hour
		}
		timer.Reset(wait)
		select {
		case <-timer.C:
		case <-d.wake:
		case <-stop:
			return
		}
	}
}

// close forgets what waits and takes nothing more.
func (d *delayed) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	d.items, d.used, d.closes = nil, 0, 0
	d.accountLocked()
}
