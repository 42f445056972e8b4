package cluster

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/session"
	"github.com/sluicenet/sluice/topic"
)

// Where the clients of a node are, in topics with history, that is killed and can say nothing any more. A
// node writes a checkpoint: a position of the log up to which all of its clients with sessions have
// received everything, twice a second, and no oftener than it changes. Who lacks something of that has his
// session written first, which says that its own marks count (session.Shared.Behind). So a checkpoint
// waits for
//
//   - the sessions of connections that are behind, unless they are too many: then it stays before them,
//   - the sessions that have lost their connection since they were written, and were not written since.
//
// A checkpoint has a key of its own beside the sessions, and lives as long as they do: leases expire
// sooner. Who takes a session over from a node that does not answer reads it.

const (
	// pointEvery is the time between two checkpoints, and pointPause how long what was published may be on
	// its way to clients before they count as behind.
	pointEvery = 500 * time.Millisecond
	pointPause = 250 * time.Millisecond
	// pointWait is how long loops may take to answer, and sessions to be written.
	pointWait = 5 * time.Second
	// pointAge is how old a checkpoint becomes that does not change: its time says that nothing came
	// meanwhile.
	pointAge = 5 * time.Second
	// maxBehindWrites is how many sessions of connections that are behind are written for a checkpoint.
	maxBehindWrites = 512
	// leftPause is the least time between two writes of a session that has lost its connection.
	leftPause = sessionPause / 4
	// maxMarks is how many positions of a session are written. Of one with more none is.
	maxMarks = 4096
	// pointKept is for how long a checkpoint of another node is not read again.
	pointKept  = time.Second
	pointsKept = 64
)

// points are what sessions know of checkpoints. sessions.mu guards the first part; the second belongs to
// their goroutine.
type points struct {
	round      uint64 // of the checkpoint that is under way, from 1
	old, fresh int    // sessions that are awaited: for this round, and for the next
	settled    chan struct{}
	candidate  topic.Position // no checkpoint is behind it
	behind     map[*sharedEntry]struct{}
	others     map[origin]keptPoint
	written    point     // the last one
	when       time.Time // it was written

	revision uint64
}

// A point is a checkpoint.
type point struct {
	topic.Position
	at int64 // as session.Mark.At of all that are not behind
}

// pointMargin is how long it may take, while there is a connection to the log, until a message that was
// published is here.
const pointMargin = 5 * time.Second

type keptPoint struct {
	point
	until time.Time
}

func newPoints() points {
	return points{
		round: 1, settled: make(chan struct{}, 1), behind: make(map[*sharedEntry]struct{}),
		others: make(map[origin]keptPoint),
	}
}

// marks reports whether there are places in histories.
func (s *sessions) marks() bool { return s.on != nil && s.on() }

// await has checkpoints wait for an entry's next write, for which it is to be queued. s.mu is held.
func (s *sessions) await(e *sharedEntry) {
	if e.awaited == 0 {
		e.awaited = s.points.round
		s.points.fresh++
	}
}

// settle ends that for what await has noted. s.mu is held.
func (s *sessions) settle(round uint64) {
	p := &s.points
	switch {
	case round == 0:
	case round == p.round:
		p.fresh--
	default:
		if p.old--; p.old == 0 {
			select {
			case p.settled <- struct{}{}:
			default:
			}
		}
	}
}

// setBehind notes whether a session's key says that it is behind. s.mu is held.
func (s *sessions) setBehind(e *sharedEntry, behind bool) {
	if behind && !e.gone {
		s.points.behind[e] = struct{}{}
	} else {
		delete(s.points.behind, e)
	}
}

// Left implements session.Watcher.
func (s *sessions) Left(id session.SessionID) {
	s.mu.Lock()
	e := s.entry(id)
	if e == nil {
		s.mu.Unlock()
		return
	}
	pause := sessionPause
	if s.marks() && fault != 50 {
		pause = leftPause
		s.await(e)
	}
	ok := s.enqueue(e, s.when(e, pause))
	s.mu.Unlock()
	s.queued(ok)
}

// nextPoint writes a checkpoint, if there is something new to say.
func (s *sessions) nextPoint() {
	p := &s.points
	s.mu.Lock()
	idle, behind, last, when := !s.connected || len(s.entries) == 0, len(p.behind), p.written, p.when
	s.mu.Unlock()
	if idle || !s.on() {
		return
	}
	to, ok := s.reach()
	now, at := time.Now(), s.clock()
	if !ok || to == last.Position && behind == 0 && now.Sub(when) < pointAge {
		return
	}
	s.holder.CutTrails()
	if !s.sleep(pointPause) {
		return
	}
	type answer struct {
		behind []gateway.Laggard
		ok     bool
	}
	ch := make(chan answer, 1)
	s.holder.AskReceived(to, func(_ topic.Position, behind []gateway.Laggard, ok bool) { ch <- answer{behind, ok} })
	t := time.NewTimer(pointWait)
	defer t.Stop()
	var a answer
	select {
	case a = <-ch:
	case <-t.C:
	case <-s.halt:
		return
	}
	next := point{to, at.Add(-pointMargin).UnixMilli()}
	if a.ok {
		if next.Position, ok = s.plan(to, a.behind); next.Position.Before(to) {
			next.at = 0
		}
	}
	if !a.ok || !ok || !s.awaitSettled(t) {
		s.stats.pointsLate.Add(1)
		return
	}
	if next.Before(last.Position) {
		next = last // which held, and holds
	}
	s.writePoint(next)
}

func (s *sessions) sleep(d time.Duration) bool {
	select {
	case <-s.halt:
		return false
	case <-time.After(d):
		return true
	}
}

// plan has the sessions be written that a checkpoint has to wait for, and begins to. It returns where it
// can be.
func (s *sessions) plan(to topic.Position, behind []gateway.Laggard) (at topic.Position, ok bool) {
	p := &s.points
	slices.SortFunc(behind, func(a, b gateway.Laggard) int {
		return cmp.Or(cmp.Compare(a.At.Epoch, b.At.Epoch), cmp.Compare(a.At.Seq, b.At.Seq))
	})
	left := maxBehindWrites
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.entries == nil {
		return to, false
	}
	still := make(map[*sharedEntry]struct{}, len(behind))
	for _, b := range behind {
		if !b.At.Before(to) {
			break
		}
		e := s.entry(b.ID)
		// A write that is under way may look at no more than the checkpoint before, and so say that nothing
		// is lacking.
		if _, written := p.behind[e]; written && !e.writing {
			still[e] = struct{}{}
			continue
		}
		if left--; left < 0 {
			to = b.At // no farther than those of whom nothing is written
			break
		}
		if fault != 51 {
			s.await(e)
		}
		s.enqueue(e, s.when(e, leftPause))
	}
	if p.candidate.Before(to) {
		p.candidate = to
	}
	looked := 4 * maxBehindWrites
	for e := range p.behind {
		if looked--; looked < 0 || left < 0 {
			break
		}
		if _, is := still[e]; is {
			left-- // so that not much comes again
		}
		s.enqueue(e, s.when(e, sessionPause))
	}
	p.old, p.fresh = p.old+p.fresh, 0
	p.round++
	s.wake()
	return to, true
}

// when is when an entry may be written that was written before. s.mu is held.
func (s *sessions) when(e *sharedEntry, pause time.Duration) time.Time {
	now := time.Now()
	if at := e.written.Add(pause); at.After(now) && !s.closing {
		return at
	}
	return now
}

// awaitSettled waits until the sessions that are awaited are written.
func (s *sessions) awaitSettled(t *time.Timer) bool {
	for {
		s.mu.Lock()
		left := s.points.old
		s.mu.Unlock()
		if left == 0 || fault == 52 {
			return true
		}
		select {
		case <-s.points.settled:
		case <-t.C:
			return false
		case <-s.halt:
			return false
		}
	}
}

// The value of a checkpoint's key: 'S', version 1, 2, the node's server id, its incarnation; epoch, number
// and time, uint64 each.
const pointLen = sessionHead + 24

func keyOfPoint(o origin) string { return fmt.Sprintf("node-%02x-%016x", o.id, o.incarnation) }

func appendPoint(dst []byte, o origin, p point) []byte {
	dst = append(dst, magic, version, 2, o.id)
	dst = binary.BigEndian.AppendUint64(dst, o.incarnation)
	dst = binary.BigEndian.AppendUint64(dst, p.Epoch)
	dst = binary.BigEndian.AppendUint64(dst, p.Seq)
	return binary.BigEndian.AppendUint64(dst, uint64(p.at))
}

func parsePoint(b []byte) (o origin, p point, err error) {
	switch {
	case len(b) != pointLen || b[0] != magic || b[2] != 2:
		return o, p, errForeign
	case b[1] != version:
		return o, p, errVersion
	}
	o = origin{b[3], binary.BigEndian.Uint64(b[4:])}
	p.Epoch, p.Seq = binary.BigEndian.Uint64(b[sessionHead:]), binary.BigEndian.Uint64(b[sessionHead+8:])
	p.at = int64(binary.BigEndian.Uint64(b[sessionHead+16:]))
	return o, p, nil
}

// writePoint writes a checkpoint.
func (s *sessions) writePoint(to point) {
	ctx, cancel := context.WithTimeout(context.Background(), renewTimeout)
	defer cancel()
	p, key, value := &s.points, keyOfPoint(s.self), appendPoint(nil, s.self, to)
	var err error
	for range 2 {
		if p.revision == 0 {
			p.revision, err = s.store.Create(ctx, key, value)
		} else {
			var revision uint64
			if revision, err = s.store.Update(ctx, key, value, p.revision); err == nil {
				p.revision = revision
			}
		}
		if !errors.Is(err, ErrKeyExists) {
			break
		}
		now, found := s.store.Get(ctx, key) // a write whose answer was lost, or the key has expired
		p.revision = now.Revision
		if found != nil {
			p.revision = 0
		}
	}
	if err != nil {
		p.revision = 0 // it is found out with the next
		s.stats.failed.Add(1)
		s.log.Warn("a checkpoint could not be written: trying again", "err", err)
		return
	}
	s.stats.points.Add(1)
	s.mu.Lock()
	p.written, p.when = to, time.Now()
	s.mu.Unlock()
}

// pointOf returns the last checkpoint of a node. One that is a little older does as well.
func (s *sessions) pointOf(ctx context.Context, of origin) (point, bool) {
	s.mu.Lock()
	kept, ok := s.points.others[of]
	s.mu.Unlock()
	if ok && time.Now().Before(kept.until) {
		return kept.point, true
	}
	now, err := s.store.Get(ctx, keyOfPoint(of))
	if err != nil {
		return point{}, false
	}
	by, p, err := parsePoint(now.Value)
	if err != nil || by != of {
		s.stats.foreign.Add(1)
		return point{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.points.others) >= pointsKept {
		clear(s.points.others)
	}
	s.points.others[of] = keptPoint{p, time.Now().Add(pointKept)}
	return p, true
}

// place says where a session is that its owner has not given up: farther than what was written of it, if
// the owner's checkpoint is. That says nothing of sessions that a living owner does not know.
func (s *sessions) place(ctx context.Context, owner origin, unknown bool, shared *session.Shared) {
	n := &shared.Snapshot
	if !shared.Attached || shared.Behind && fault != 53 || len(n.Topics) == 0 {
		return
	}
	marks := make(map[string]session.Mark, len(n.Marks))
	for _, m := range n.Marks {
		marks[m.Topic] = m
	}
	var p point
	asked, known := false, false
	n.Marks = nil
	for _, t := range n.Topics {
		m, ok := marks[t]
		if !ok && !s.holder.Keeps(t) {
			continue
		}
		if !asked {
			if asked = true; !unknown {
				p, known = s.pointOf(ctx, owner)
			}
		}
		m.At = max(m.At, p.at)
		switch {
		case known && (topic.Position{Epoch: m.Epoch, Seq: m.Seq}).Before(p.Position):
			m = session.Mark{Topic: t, Epoch: p.Epoch, Seq: p.Seq, At: p.at}
		case !ok && !known:
			n.MarksLost = true
			continue
		}
		n.Marks = append(n.Marks, m)
	}
	n.MarksLost = n.MarksLost && !known
}
