package cluster

import "time"

// A node that stands still, or has a line that is too slow, is bypassed once much is on its way to it.
// A NATS server keeps 64 MiB for who does not take it, and from 48 MiB on it slows down everybody who
// sends there, all other receivers included. Before that, what is published to topics that the node has
// subscribers to goes to each of the others by a subject of its own, in place of the topic's. The
// connection and so the order are the same.
//
// It ends when the node is not slow any more (slow.go): it has answered what was sent behind all that is on
// its way. Then it sees by the numbers how much it has missed. It ends, too, when the node has new
// subscribers: it is answered that they miss nothing from then on.

// overdueBytes is how many bytes are sent to a slow node before it is bypassed. As many as the pace allows
// are on their way to it by then, and each of the others may send as much: all together stay at 46 MiB,
// with a pace of 32 MiB.
func (s *sender) overdueBytes() uint64 {
	return s.pace*23/16/uint64(max(len(s.t.nodes.all()), 1)) - s.share()
}

// share is how much of what may be under way is this node's.
func (s *sender) share() uint64 { return s.pace / uint64(len(s.t.nodes.all())+1) }

// look finds out who is to be bypassed, and who sets no pace.
func (s *sender) look() {
	now, resting := s.t.barriers.behind(s.sent, s.overdueBytes())
	unpaced := now
	unpaced.addAll(&resting)
	if now == s.bypassed && unpaced == s.unpaced {
		return
	}
	for id := range 256 {
		switch id := uint8(id); {
		case now.has(id) && !s.bypassed.has(id):
			s.t.log.Warn("a node does not keep up: it misses what is published here until it has caught up", "node", id)
		case !now.has(id) && s.bypassed.has(id):
			s.t.log.Info("a node is sent again what is published here", "node", id)
		}
		if unpaced.has(uint8(id)) && !s.unpaced.has(uint8(id)) {
			s.t.credits.gone(uint8(id))
		}
	}
	s.bypassed, s.unpaced = now, unpaced
	s.t.counts.bypassing.Store(int64(len(now.list())))
}

// reached has a node be sent everything again, since it has been told that it misses nothing.
func (s *sender) reached(id uint8) {
	if s.bypassed.has(id) {
		s.t.barriers.reached(id, s.sent)
		s.look()
	}
}

// wants returns who sets the pace of a topic.
func (s *sender) wants(e *target) idSet {
	some := s.t.interest.wants(e)
	some.removeAll(&s.unpaced)
	return some
}

// audience returns to whom a topic's messages have to go, as far as is known.
func (s *sender) audience(e *target) idSet {
	if e != nil && e.known(s.t.interest.epoch()) && s.t.trust.given(s.t.trust.now()) {
		return s.t.interest.wants(e)
	}
	var all idSet
	for _, m := range s.t.nodes.all() {
		all.add(m.ID)
	}
	return all
}

// carry publishes the messages of a packet on the topic's subject, or to each node that is not bypassed.
func (s *sender) carry(p *packet, subject string) {
	if !s.bypassed.empty() {
		whom := s.audience(p.target)
		if missing := whom; missing.keepAll(&s.bypassed) {
			s.t.counts.bypassed.Add(uint64(p.count) * uint64(len(missing.list())))
			whom.removeAll(&s.bypassed)
			s.carryTo(p, whom)
			return
		}
	}
	s.sentAs(p, s.publish(subject, p.frame))
}

// carryTo publishes them to some nodes, which may be none.
func (s *sender) carryTo(p *packet, whom idSet) {
	sealed, ok := p.frame, true
	for i, id := range whom.list() {
		if i == 0 {
			sealed = seal(p.frame)
		}
		ok = s.publishSealed(s.t.subs.node(uint8(id)), sealed) && ok
	}
	if !whom.empty() {
		s.sentAs(p, ok)
	}
}

// sentAs counts a packet.
func (s *sender) sentAs(p *packet, ok bool) {
	if ok {
		s.t.counts.messagesOut.Add(uint64(p.count))
	} else {
		s.t.counts.refused.Add(uint64(p.count))
	}
}

// A node that was excluded, is there again and is excluded once more within restAgain rests: for restFor it
// sets no pace. Else one with a slow line, whose connection breaks and comes back, would cost the others half
// a second every few seconds.
const restAgain, restFor = 30 * time.Second, 30 * time.Second

// A record is what is remembered of a node that was slow.
type record struct{ excluded, rests time.Time }

// noteExcluded notes that a node is excluded. mu is held.
func (b *barriers) noteExcluded(id uint8, now time.Time) {
	r := b.records[id]
	if !r.excluded.IsZero() && now.Sub(r.excluded) < restAgain && fault != 17 {
		r.rests = now.Add(restFor)
	}
	r.excluded = now
	b.records[id] = r
}

// resting returns who rests. mu is held.
func (b *barriers) resting(now time.Time) (ids idSet) {
	for id, r := range b.records {
		switch {
		case now.Before(r.rests):
			ids.add(id)
		case now.Sub(r.excluded) >= restAgain:
			delete(b.records, id)
		}
	}
	return ids
}

// behind returns the slow nodes that are to be bypassed: those that are not waited for, and have been slow
// while most bytes were sent. sent is how many were sent ever.
func (b *barriers) behind(sent, most uint64) (ids, resting idSet) {
	b.mu.Lock()
	defer b.mu.Unlock()
	resting = b.resting(time.Now())
	for id, n := range b.slow {
		if !n.counting {
			n.counting, n.from = true, sent
		}
		n.bypassed = n.bypassed || n.excluded && sent-n.from >= most
		if n.bypassed && fault != 15 {
			ids.add(id)
		}
	}
	return ids, resting
}

// reached has a slow node not be bypassed until as much was sent to it again.
func (b *barriers) reached(id uint8, sent uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := b.slow[id]; n != nil && fault != 16 {
		n.counting, n.from, n.bypassed = true, sent, false
	}
}
