package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// nameBatch keys are made right at once.
	nameBatch = 16
	// A walk over all keys does walkStep of them in each walkEvery.
	walkEvery, walkStep = 100 * time.Millisecond, 200
	// awayPause is how long a bucket that failed is let alone.
	awayPause = time.Second
	// minRenewal is the least time between two walks that write the keys so that they do not expire.
	minRenewal = time.Minute
	// sampleEvery is how often one key is looked at, to see whether the bucket has lost what was there: an
	// administrator may have purged or deleted it, of which nobody is told.
	sampleEvery = 5 * time.Second
	// lostWait is how long a connection stays whose key has gone before the bucket counts as having lost it:
	// where another node has taken it out of the key, it is ended meanwhile.
	lostWait = time.Second
	// probeKey is a key that nobody has.
	probeKey = "probe"
)

// start lets names run: the node has its server id.
func (n *names) start() { n.tasks.Go(n.run) }

// queueLocked has a key be made right.
func (n *names) queueLocked(k *heldKey) {
	switch {
	case k.busy:
		k.again = true
		return
	case k.queued:
		return
	}
	k.queued = true
	if len(k.list) == 0 {
		n.empty++
	}
	n.todo = append(n.todo, k)
	n.wakeUp()
}

func (n *names) wakeUp() {
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// again has all keys be looked at: others may have forgotten this node, or the bucket its keys.
func (n *names) again() {
	n.mu.Lock()
	n.walkLocked(false)
	n.mu.Unlock()
	n.wakeUp()
}

func (n *names) walkLocked(touch bool) {
	n.walk = n.walk[:0]
	for key := range n.keys {
		n.walk = append(n.walk, key)
	}
	n.touch = touch
}

// run makes right what is queued, asks again for ends that were not answered, and walks.
func (n *names) run() {
	t := time.NewTicker(endAgain)
	defer t.Stop()
	renewed, sampled := time.Now(), time.Now()
	var bad errNames
	if _, err := n.ask(n.ctx, n.store, probeKey); errors.As(err, &bad) { // before a login finds out
		n.failedAt(bad)
	}
	for n.ctx.Err() == nil {
		busy := n.makeRight(n.ctx)
		select {
		case <-t.C:
			n.endAgain(n.ctx)
			n.checkLost()
			if time.Since(sampled) >= n.sampling {
				sampled = time.Now()
				n.sample()
			}
			if life := n.store.Life(); life > 0 && time.Since(renewed) >= max(life/3, minRenewal) {
				renewed = time.Now()
				n.mu.Lock()
				n.walkLocked(true)
				n.mu.Unlock()
			}
			continue
		default:
		}
		if busy {
			continue
		}
		if !n.usable() {
			select {
			case <-n.ctx.Done():
			case <-time.After(awayPause):
				n.probe()
			}
			continue
		}
		var walk <-chan time.Time
		if n.step() {
			walk = time.After(walkEvery)
		}
		select {
		case <-n.ctx.Done():
		case <-n.wake:
		case <-walk:
		case <-time.After(endAgain):
		}
	}
}

// sample has one of the keys be looked at, whichever.
func (n *names) sample() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, k := range n.keys {
		if !k.queued && !k.busy {
			n.queueLocked(k)
			return
		}
	}
}

// missed notes that a key has gone in which a connection of this node was.
func (n *names) missed(h *holding) {
	n.mu.Lock()
	if n.lost == nil {
		n.lost, n.lostAt = h, time.Now()
	}
	n.mu.Unlock()
}

// checkLost finds out whether the bucket has lost what was missed.
func (n *names) checkLost() {
	n.mu.Lock()
	h := n.lost
	if h == nil || time.Since(n.lostAt) < lostWait {
		n.mu.Unlock()
		return
	}
	n.lost = nil
	stays := slices.Contains(h.key.list, h)
	n.mu.Unlock()
	if stays {
		n.emptied()
	}
}

// emptied notes that the bucket has lost what was there: all is written again.
func (n *names) emptied() {
	n.log.Warn("the bucket of names has lost what was there: it is written again")
	n.count.emptied.Add(1)
	n.mu.Lock()
	for _, k := range n.keys {
		for _, h := range k.list {
			h.there = false // so that this is noted once
		}
	}
	n.walkLocked(false)
	n.mu.Unlock()
	n.wakeUp()
}

// step queues the next keys of the walk, and reports whether there were some.
func (n *names) step() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	rest := len(n.walk)
	if rest == 0 {
		return false
	}
	last := max(rest-walkStep, 0)
	for _, key := range n.walk[last:] {
		if k := n.keys[key]; k != nil {
			k.touch = k.touch || n.touch
			n.queueLocked(k)
		}
	}
	if n.walk = n.walk[:last]; last == 0 {
		n.walk = nil
	}
	return true
}

// dequeue takes up to most of the keys that are queued, which are to be made right now. n.mu is held.
func (n *names) dequeue(most int) []*heldKey {
	batch := n.todo[:min(most, len(n.todo))]
	n.todo = n.todo[len(batch):]
	if len(n.todo) == 0 {
		n.todo = nil
	}
	for _, k := range batch {
		k.queued, k.busy = false, true
		if len(k.list) == 0 {
			n.empty--
		}
	}
	return batch
}

// makeRight makes some of the keys right that are queued. It reports whether there may be more: not when
// the bucket cannot be used.
func (n *names) makeRight(ctx context.Context) bool {
	n.mu.Lock()
	if len(n.todo) == 0 || !n.away.IsZero() {
		n.mu.Unlock()
		return false
	}
	batch := n.dequeue(nameBatch)
	n.mu.Unlock()
	var all sync.WaitGroup
	var failed atomic.Bool
	for _, k := range batch {
		all.Go(func() {
			err := n.sync(ctx, k)
			if err != nil {
				failed.Store(true)
			}
			n.done(k, err)
		})
	}
	all.Wait()
	return !failed.Load()
}

// done notes that a key was made right, or that it could not be.
func (n *names) done(k *heldKey, err error) {
	var bad errNames
	if errors.As(err, &bad) {
		n.failedAt(bad)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	again := k.again || err != nil
	k.busy, k.again = false, false
	switch {
	case again:
		n.queueLocked(k)
	case len(k.list) == 0 && n.keys[k.key] == k:
		delete(n.keys, k.key)
	}
	if err == nil {
		k.touch = false
	}
}

// sync has a key's list say what this node has: a connection that may not be beside a later one of
// another node goes, and the other way round.
func (n *names) sync(ctx context.Context, k *heldKey) error {
	ctx, cancel := context.WithTimeout(ctx, 5*nameWait)
	defer cancel()
	n.mu.Lock()
	touch := k.touch
	n.mu.Unlock()
	var gone ends        // elsewhere
	var lose []*holding  // here
	var there []*holding // in the list
	var missed *holding  // the list has had it, and the key has gone
	err := n.change(ctx, k.key, touch, func(list []nameEntry) ([]nameEntry, error) {
		now := n.now().UnixMicro()
		lose, there = lose[:0], there[:0]
		n.mu.Lock() // behind the reading of the list: what is not held by now has ended
		own := make([]*holding, 0, len(k.list))
		for _, h := range k.list {
			if h.there && len(list) == 0 {
				missed = h
			}
			if h.on || hasEntry(list, &h.entry) {
				own = append(own, h)
			}
		}
		n.mu.Unlock()
		var next []nameEntry
		for _, e := range list {
			keep := true
			for _, h := range own {
				if e.is(&h.entry) {
					keep = false // it has its turn below
				} else if keep && e.Sole && h.entry.Sole && e.origin() != n.self && !e.after(&h.entry, now) {
					gone.add(nameEnd{key: k.key, entry: e, id: h.id, data: h.data})
					keep = false
				}
			}
			if keep {
				next = append(next, e)
			}
		}
		others := len(next)
		for _, h := range own {
			later := false
			for i := range next[:others] {
				later = later || h.entry.Sole && next[i].Sole && next[i].origin() != n.self
			}
			if later {
				lose = append(lose, h)
			} else {
				next = append(next, h.entry)
				there = append(there, h)
			}
		}
		return sameOrder(next, list), nil
	})
	if err == nil {
		for _, h := range lose {
			n.endHere(k.key, h.entry.Ref, h.id, nil, func() {})
		}
		n.told(there)
	}
	n.end(ctx, gone) // it may have been written
	if missed != nil {
		n.missed(missed)
	}
	return err
}

// sameOrder returns list if next has the same entries: then nothing is to be written.
func sameOrder(next, list []nameEntry) []nameEntry {
	if len(next) != len(list) {
		return next
	}
	for i := range next {
		if !hasEntry(list, &next[i]) {
			return next
		}
	}
	return list
}

// told forgets what was only needed until the list had the holdings.
func (n *names) told(list []*holding) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, h := range list {
		if indexOf(h.key.list, h) >= 0 {
			n.charge(-int64(len(h.data)))
			h.data, h.there = nil, true
		}
	}
}

// failedAt notes that the bucket cannot be used.
func (n *names) failedAt(err errNames) {
	if err.late {
		return
	}
	n.mu.Lock()
	first := n.away.IsZero() && n.ctx.Err() == nil
	if first {
		n.away = time.Now()
	}
	n.stuck = n.stuck || err.write
	n.mu.Unlock()
	if first {
		n.count.away.Add(1)
		n.log.Warn("users, uniqIds and limits are kept apart on this node alone: the bucket of names cannot be used", "err", err)
	}
}

// probe finds out whether the bucket can be used again.
func (n *names) probe() {
	if _, err := n.ask(n.ctx, n.store, probeKey); err != nil {
		return
	}
	n.mu.Lock()
	since, stuck := n.away, n.stuck
	n.mu.Unlock()
	if stuck && !n.makeOneRight() {
		return
	}
	n.mu.Lock()
	n.away, n.stuck = time.Time{}, false
	n.walkLocked(false)
	n.mu.Unlock()
	if !since.IsZero() {
		n.log.Info("users, uniqIds and limits are kept apart over the cluster again", "away", time.Since(since))
	}
}

// makeOneRight makes a queued key right, of a bucket that may take no writes: one that is full can be
// read. It reports whether it could.
func (n *names) makeOneRight() bool {
	n.mu.Lock()
	batch := n.dequeue(1)
	n.mu.Unlock()
	for _, k := range batch {
		err := n.sync(n.ctx, k)
		n.done(k, err)
		if err != nil {
			return false
		}
	}
	return true
}

// close has the others know that what this node holds has gone, as far as ctx allows; its connections
// have ended. What is left counts for nothing once the node has given its server id back.
func (n *names) close(ctx context.Context) {
	n.mu.Lock()
	was := n.closed
	n.closed = true
	n.mu.Unlock()
	if was {
		return
	}
	n.cancel()
	n.pool.close()
	n.tasks.Wait()
	for ctx.Err() == nil && n.makeRight(ctx) {
	}
}

// NameStats says how users, uniqIds and one-time tokens are kept apart over the nodes.
type NameStats struct {
	// Away is since when the bucket cannot be used, so that each node keeps them apart by itself; Times
	// is how often that was so.
	Away  time.Duration
	Times uint64
	// Keys are users and uniqIds with connections here that must be kept apart; Queued of them differ
	// from the bucket, perhaps.
	Keys, Queued int
	// Logins were decided on, Local of them by this node alone. OverLimit were refused.
	Logins, Local, OverLimit uint64
	// Kicked are connections that ended here for a login elsewhere, Lost those whose uniqId was given to
	// another elsewhere. Redeemed are one-time tokens of other nodes' that were shown here.
	Kicked, Lost, Redeemed uint64
	// Conflicts are writes that came second. Errors are of the bucket. Foreign are values and requests
	// that could not be read. Stale are entries of connections that were not there any more.
	// Emptied are times that the bucket had lost what was there.
	Conflicts, Errors, Foreign, Stale, Emptied uint64
	// Unanswered are ends of connections that another node has not confirmed in time; EndsQueued of them
	// are to be asked for again, EndsDropped were given up. ReleasesDropped are connections that were left
	// in the bucket.
	Unanswered, EndsDropped, ReleasesDropped uint64
	EndsQueued                               int
}

// status is a line for people.
func (n *names) status() string {
	s := n.stats()
	if s.Away > 0 {
		return fmt.Sprintf("kept apart on this node alone for %v: the bucket of names cannot be used", s.Away.Round(time.Second))
	}
	return fmt.Sprintf("kept apart over the nodes: %d here", s.Keys)
}

func (n *names) stats() NameStats {
	c := &n.count
	s := NameStats{
		Times: c.away.Load(), Logins: c.logins.Load(), Local: c.local.Load(), OverLimit: c.overLimit.Load(),
		Kicked: c.kicked.Load(), Lost: c.lost.Load(), Redeemed: c.redeemed.Load(), Conflicts: c.conflicts.Load(),
		Errors: c.errors.Load(), Foreign: c.foreign.Load(), Stale: c.stale.Load(), Unanswered: c.unanswered.Load(),
		EndsDropped: c.endsDropped.Load(), ReleasesDropped: c.releasesDropped.Load(), Emptied: c.emptied.Load(),
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.away.IsZero() {
		s.Away = time.Since(n.away)
	}
	s.Keys, s.Queued, s.EndsQueued = len(n.keys), len(n.todo), len(n.ends)
	return s
}
