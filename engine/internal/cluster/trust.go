package cluster

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// What a node knows of the others' subscribers is no better than its hearing. One that is alive and busy
// may be behind with what the others say while it publishes. They wait for its answers, but not for ever:
// when they have given up, it must not take a topic for one that nobody wants on the word of yesterday.
//
// So a node trusts what it knows only while it has shown itself that it hears: it sends itself an echo,
// over the control connection, that comes in over the data connection behind what others have sent before.
// What an echo shows is good for a while (trust.good) from when it was sent, which is less than others wait
// (barrier.go), so that who has waited in vain for a node knows that the node trusts nothing that is older.
// A node that has stood still trusts nothing when it wakes: the clock has gone on.
//
// It trusts nothing either while another node has told it that it is not waited for, and when somebody
// speaks who is not in its table yet. Without trust every topic may have subscribers anywhere: messages
// are sent that nobody gets, which costs time, and nothing else.

const (
	// strangerFor is how long a node that is not in the table may be one that comes.
	strangerFor = 2 * time.Second
	// warnedFor is how long a node's word holds that it does not wait for this one: it is said again each
	// silence, and who has not said it for excludedFor waits.
	warnedFor, excludedFor = 2 * time.Second, time.Second
)

// A trust says whether what is known of others may be relied upon. Times are in ms, on the engine's clock:
// who asks has looked at it already.
type trust struct {
	now  func() int64
	good int64            // how long an echo is good
	send func(sent int64) // sends an echo
	wake func()           // the keeper: it is to call tick
	lost func()           // is told when there is no trust any more

	until  atomic.Int64
	wanted atomic.Bool // it was asked for since the last tick

	mu     sync.Mutex // guards what follows
	is     bool       // as far as tick has seen
	sent   int64      // when the last echo was
	heard  int64      // when the last one that has come back was sent
	closed int64      // until then there is no trust
	warned map[uint8]int64
}

// init has there be trust without an echo, until require.
func (t *trust) init(good time.Duration, wake, lost func()) {
	begun := time.Now()
	t.now = func() int64 { return time.Since(begun).Milliseconds() }
	t.good, t.wake, t.lost = good.Milliseconds(), wake, lost
	t.warned = make(map[uint8]int64)
	t.until.Store(math.MaxInt64)
}

// require has trust want echoes, which send sends; before start.
func (t *trust) require(send func(sent int64)) {
	t.send = send
	t.sent, t.heard = math.MinInt64/2, math.MinInt64/2
	t.until.Store(0)
}

// given reports whether what is known of others may be relied upon at now. It takes no lock.
func (t *trust) given(now int64) bool {
	if !t.wanted.Load() {
		t.wanted.Store(true)
		t.wake()
	}
	return now < t.until.Load() || fault == 12
}

// judge finds out until when there is trust. mu is held.
func (t *trust) judge(now int64) {
	if t.send == nil {
		return
	}
	until := t.heard + t.good
	if now < t.closed {
		until = 0
	}
	for id, end := range t.warned {
		switch {
		case now >= end:
			delete(t.warned, id)
		case fault != 13:
			until = 0
		}
	}
	t.until.Store(until)
	is := now < until
	if t.is && !is {
		t.lost()
	}
	t.is = is
}

// echo is an echo that has come back.
func (t *trust) echo(sent int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now := t.now(); sent > t.heard && sent <= now {
		t.heard = sent
		t.judge(now)
	}
}

// close has there be no trust for a while.
func (t *trust) close(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	t.closed = max(t.closed, now+d.Milliseconds())
	t.judge(now)
}

// warn notes whether a node does not wait for this one.
func (t *trust) warn(id uint8, is bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	if is {
		t.warned[id] = now + warnedFor.Milliseconds()
	} else {
		delete(t.warned, id)
	}
	t.judge(now)
}

// tick sends an echo if it is time and somebody asks for trust. It returns when it wants to be called
// again.
func (t *trust) tick() time.Duration {
	if t.send == nil {
		return never
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	now, every := t.now(), t.good/3
	t.judge(now)
	again := never.Milliseconds()
	if t.is {
		again = t.until.Load() - now // to see it end
	}
	if now-t.sent < every {
		return time.Duration(min(again, t.sent+every-now)) * time.Millisecond
	}
	if t.wanted.Swap(false) {
		t.sent = now
		t.send(now)
		again = min(again, every)
	}
	return time.Duration(again) * time.Millisecond
}
