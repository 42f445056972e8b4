package cluster

import (
	"math"
	"time"
)

// A slow node does not answer a barrier in time. It may be alive, and publish to topics that it knows
// nobody of, so it is told that it is going to be excluded: from then on it sends everything (trust.go).
// Once its server has got that, as a flush shows, it is waited for once more as long, and then excluded:
// barriers do not wait for it. By then it has heard it, or hears so badly that it does not trust itself.
//
// Slow nodes are told so, and asked whether they are there again, twice a second. One that was excluded and
// answers is waited for again from then on, and told everything anew, as is one that answers though it has
// not heard what was sent before; when it has answered that, too, it is told that all is well.

// A slowNode is one that has not answered in time.
type slowNode struct {
	flushed   time.Time // when its server had got the warning, or it was there again; zero: it has not
	told      time.Time // when it was told last that it is, or will be, excluded
	excluded  bool      // it is not waited for
	returning bool      // it is being told everything
	// bypassed says that it is sent no messages, since too much is on its way to it: since it is slow, which
	// is from when from bytes had been sent, once counting is set.
	bypassed, counting bool
	from               uint64
}

// excludes reports whether a node is not waited for. What it was told does not hold for ever: if this node
// was not able to say it again, it waits. mu is held.
func (b *barriers) excludes(id uint8, now time.Time) bool {
	s := b.slow[id]
	if s == nil || !s.excluded {
		return false
	}
	if now.Sub(s.told) < excludedFor {
		return true
	}
	delete(b.slow, id)
	return false
}

// overdue says of a node that has not answered f in time whether it was told so, and how long it is waited
// for yet. mu is held.
func (b *barriers) overdue(id uint8, f *barrier, now time.Time) (told bool, wait time.Duration) {
	s := b.slow[id]
	switch {
	case s == nil:
		b.slow[id] = new(slowNode)
		return false, 0
	case s.flushed.IsZero():
		return true, never
	}
	since := s.flushed
	if at := f.sent.Add(b.timeout); !s.returning && at.After(since) {
		since = at // it has answered those before f since it was told, or it would be excluded by now
	}
	return true, since.Add(b.timeout).Sub(now)
}

// warned notes that nodes were told at a time that they are going to be excluded, and whether the server
// has got that.
func (b *barriers) warned(ids []uint8, at time.Time, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	for _, id := range ids {
		switch s := b.slow[id]; {
		case s == nil: // it has answered meanwhile
		case !ok:
			delete(b.slow, id) // once more
		default:
			s.flushed, s.told = now, at
		}
	}
}

// toldAgain notes that a slow node was told again, at a time.
func (b *barriers) toldAgain(id uint8, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.slow[id]; s != nil {
		s.told = at
	}
}

// exclude has a node not be waited for, and returns what waits for nobody else. mu is held.
func (b *barriers) exclude(id uint8) []*barrier {
	s := b.slow[id]
	if !s.excluded {
		b.noteExcluded(id, time.Now())
	}
	s.excluded, s.returning = true, false
	for _, f := range b.flying {
		f.partial = f.partial || f.waiting.has(id)
	}
	return b.without(id, math.MaxUint64)
}

// without takes a node off all barriers before a number, and returns those that wait for nobody else. mu is
// held.
func (b *barriers) without(id uint8, number uint64) (done []*barrier) {
	for _, f := range entries(b.flying) {
		if !f.waiting.has(id) || f.number >= number {
			continue
		}
		if f.waiting.remove(id); f.waiting.empty() {
			b.done(f)
			done = append(done, f)
		}
	}
	return done
}

// heard notes that a node has answered the barrier of a number, f, which is nil if it is not waited for. It
// returns what to do, jobNothing for nothing. mu is held.
func (b *barriers) heard(id uint8, number uint64, f *barrier) jobKind {
	s := b.slow[id]
	switch {
	case s == nil:
		return jobNothing
	case s.returning:
		if f == nil || f.use != forOne {
			return jobNothing
		}
		for _, o := range b.flying {
			if o.use == forOne && o.waiting.has(id) {
				return jobNothing
			}
		}
	case s.excluded, b.lost(id, number):
		s.excluded, s.returning = false, true
		s.flushed = time.Now() // it still has the warning
		return jobTellAll
	case b.owes(id, time.Now()):
		return jobNothing // the answer to an older one is no reason to wait longer for it
	}
	delete(b.slow, id)
	return jobReadmit
}

// lost reports whether a node that has answered a barrier has not heard one that was sent before it. mu is
// held.
func (b *barriers) lost(id uint8, number uint64) bool {
	for _, f := range b.flying {
		if f.number < number && f.waiting.has(id) {
			return true
		}
	}
	return false
}

// owes reports whether there are barriers that a node has not answered in time. mu is held.
func (b *barriers) owes(id uint8, now time.Time) bool {
	for _, f := range b.flying {
		if f.waiting.has(id) && now.Sub(f.sent) >= b.timeout {
			return true
		}
	}
	return false
}

// timedOut notes that nobody waits for f any more, though it was not answered: who was to be told
// everything by it has to be once more. mu is held.
func (b *barriers) timedOut(f *barrier) {
	if f.use != forOne {
		return
	}
	for id, s := range b.slow {
		if f.waiting.has(id) && s.returning {
			s.excluded, s.returning = true, false
		}
	}
}

// probe returns the nodes that are to be told again that they are slow, and asked whether they are there,
// and when there will be some. mu is held.
func (b *barriers) probe(now time.Time) (ids []uint8, wait time.Duration) {
	if len(b.slow) == 0 {
		return nil, never
	}
	if wait := b.probed.Add(silence).Sub(now); wait > 0 {
		return nil, wait
	}
	b.probed = now
	for id, s := range entries(b.slow) {
		if !s.flushed.IsZero() {
			ids = append(ids, id)
		}
	}
	return ids, silence
}

// excluded returns how many nodes are not waited for.
func (b *barriers) excluded() (n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, s := range b.slow {
		if s.excluded {
			n++
		}
	}
	return n
}

// warn tells nodes that they are going to be excluded, and waits until their servers have got it.
func (s *sender) warn(ids []uint8) {
	var at time.Time
	for _, id := range ids {
		if told := s.exclude(id, true); at.IsZero() {
			at = told
		}
	}
	err := s.t.bus.Flush()
	if err != nil {
		s.t.counts.errors.Add(1)
	}
	s.t.barriers.warned(ids, at, err == nil)
	s.t.wake()
}

// exclude tells a node whether it is excluded, and returns when that was.
func (s *sender) exclude(id uint8, is bool) time.Time {
	at := time.Now()
	if m, ok := s.t.nodes.find(id); ok {
		s.number++
		s.scratch = appendExcluded(s.scratch[:0], s.t.self, m.Incarnation, s.number, is)
		s.publish(s.t.subs.node(id), s.scratch)
	}
	return at
}
