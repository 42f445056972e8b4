package cluster

import (
	"context"
	"errors"
	"slices"
	"time"
)

// What the stream has is asked for by one goroutine, the clerk, for all who have to know.

const (
	// auditEvery is the time between two looks at what was not heard of, idleEvery the same while
	// nothing is followed here.
	auditEvery = time.Second
	idleEvery  = 5 * time.Second
	// complainEvery is how often the same is said of it.
	complainEvery = 10 * time.Second
	// againEvery is the time between two tries of what has failed.
	againEvery = 250 * time.Millisecond
	// confirmAfter is how long after a topic was begun with the stream is asked once more.
	confirmAfter = 50 * time.Millisecond
)

// doubt has the stream be asked for its state.
func (h *history) doubt(gone bool) {
	h.mu.Lock()
	h.unsure = true
	h.missing = h.missing || gone
	h.mu.Unlock()
	h.wake()
}

// catch has the stream be asked whether frames are missing. broken says that they may have gone
// from it, too.
func (h *history) catch(broken bool) {
	h.mu.Lock()
	h.catchUp = true
	h.broken = h.broken || broken
	h.mu.Unlock()
	h.wake()
}

// confirmSoon has topics be compared with the stream that were begun with now.
func (h *history) confirmSoon() {
	time.AfterFunc(confirmAfter, func() {
		h.mu.Lock()
		h.confirm = true
		h.mu.Unlock()
		h.wake()
	})
}

// clerk is the goroutine that asks the stream for its state: when topics are joined, after a loss, and
// once a second for those that were not heard of, and for what an administrator has changed.
func (h *history) clerk() {
	timer := time.NewTimer(never)
	defer timer.Stop()
	var audited time.Time
	dropped := h.t.bus.Dropped()
	for h.ctx.Err() == nil {
		if n := h.t.bus.Dropped(); n != dropped {
			dropped = n
			h.follower.post(func() error { h.follower.lost(); return nil })
			h.catch(true)
		}
		every := auditEvery
		if h.follower.topics.Load() == 0 {
			every = idleEvery
		}
		again := every
		switch {
		case !h.wanted.Load() || !h.reachable.Load():
			again = never
		case !h.turn():
			again = againEvery
		case time.Since(audited) >= every:
			audited = time.Now()
			h.audit()
		}
		h.mendIfDue()
		timer.Reset(again)
		select {
		case <-h.ctx.Done():
		case <-h.wakes:
		case <-timer.C:
		}
	}
}

// turn does what waits, and reports false if some of that has failed.
func (h *history) turn() bool {
	h.mu.Lock()
	joins, unsure, missing, catchUp, broken := h.joining, h.unsure, h.missing, h.catchUp, h.broken
	confirm, asked := h.confirm, time.Now()
	h.joining, h.unsure, h.catchUp, h.broken, h.confirm = nil, false, false, false, false
	h.mu.Unlock()
	if len(joins) == 0 && !unsure && !missing && !catchUp && !confirm {
		return true
	}
	var st StreamState
	var err error
	if missing {
		if err = h.open(h.ctx); err == nil {
			st, _ = h.lastState()
		}
	} else {
		st, err = h.ask(h.t.barriers.timeout)
	}
	if err != nil {
		if h.ctx.Err() != nil {
			return true
		}
		h.complain(err)
		h.mu.Lock()
		joins = slices.DeleteFunc(joins, func(j *joining) bool { return j.losses != h.losses })
		h.joining = append(joins, h.joining...)
		h.unsure = h.unsure || unsure
		h.missing = h.missing || errors.Is(err, ErrNoStream)
		h.catchUp = h.catchUp || catchUp
		h.broken = h.broken || broken
		h.confirm = h.confirm || confirm
		h.mu.Unlock()
		return false
	}
	for _, j := range joins {
		h.follower.post(func() error {
			err := h.follower.join(j.topics, st)
			h.settle(j)
			return err
		})
	}
	if unsure {
		h.follower.post(func() error { return h.follower.resolved(st) })
	}
	if catchUp {
		h.follower.post(func() error { return h.follower.review(st, broken) })
	}
	if confirm {
		h.follower.post(func() error { h.follower.confirm(st, asked); return nil })
	}
	return true
}

// complain says why the stream does not answer, and not with each try again.
func (h *history) complain(err error) {
	if text := err.Error(); text != h.complaint || time.Since(h.complained) >= complainEvery {
		h.complaint, h.complained = text, time.Now()
		h.log.Warn("the log of histories does not answer", "err", err)
	}
}

// audit looks whether the stream has frames of topics that were not heard of for a while.
func (h *history) audit() {
	h.counts.audits.Add(1)
	st, err := h.ask(time.Second)
	if err != nil {
		if errors.Is(err, ErrNoStream) {
			h.doubt(true)
		}
		return
	}
	h.follower.post(func() error { h.follower.audit(st); return nil })
}

// look asks for the last frames of topics, and has the follower compare.
func (h *history) look(topics []*ownTopic, from uint64, st StreamState) {
	subjects := make([]string, len(topics))
	for i, o := range topics {
		subjects[i] = h.t.subs.history(o.name)
	}
	ctx, cancel := context.WithTimeout(h.ctx, renewTimeout)
	defer cancel()
	last, err := h.stream.Last(ctx, subjects, from)
	if err != nil {
		h.counts.failures.Add(1)
		h.catch(false)
		return
	}
	h.follower.post(func() error { return h.follower.compare(topics, subjects, last, st) })
}
