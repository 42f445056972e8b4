package engine

import (
	"math"
	"sync/atomic"
	"time"
)

// A ticker wakes loops when their wheels have something due, and sleeps otherwise: waking two
// idle loops every 20 ms costs 5% of a core.
type ticker struct {
	target  atomic.Int64 // ms on the engine's clock when it means to wake
	rearmed chan struct{}
	stop    chan struct{}
	done    chan struct{}
}

func newTicker() *ticker {
	t := &ticker{rearmed: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
	t.target.Store(math.MaxInt64)
	return t
}

// rearm makes the ticker look again when it means to sleep beyond next. Any goroutine may call it.
func (t *ticker) rearm(next int64) {
	if next < t.target.Load() {
		select {
		case t.rearmed <- struct{}{}:
		default:
		}
	}
}

// run ticks e's loops until close.
func (t *ticker) run(e *Engine) {
	defer close(t.done)
	seen := make([]int64, len(e.loops))
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		now, next := e.Now(), int64(math.MaxInt64)
		for i, l := range e.loops {
			due := l.nextDue.Load()
			seen[i] = due
			if due <= now {
				l.mailbox.postTick()
				due = now + tickMillis // unless the loop says otherwise
			}
			next = min(next, due)
		}
		t.target.Store(next)
		// A loop that announced an earlier time between the look and the store has seen the old
		// target: look once more.
		again := false
		for i, l := range e.loops {
			again = again || l.nextDue.Load() < seen[i]
		}
		if again {
			continue
		}
		timer.Reset(time.Duration(min(max(next-now, 1), time.Hour.Milliseconds())) * time.Millisecond)
		select {
		case <-timer.C:
		case <-t.rearmed:
		case <-t.stop:
			return
		}
	}
}

func (t *ticker) close() {
	close(t.stop)
	<-t.done
}
