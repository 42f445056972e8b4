package engine

import "time"

// Who waits: the crowd sets the pace, a minority never does.
//
// A publisher waits while at least one in crowdPart of its message's receivers that count is congested
// and one of them takes bytes. Waits in which none of them takes any are charged to the source: it
// may owe debtLimit of them once, and repays by time, debtPart ms for each. Who owes too much does
// not wait.
//
// While all sockets of a crowd are full a publish costs nothing that would slow its source down, and
// the limits of its receivers are reached in a moment. So what a silence is depends on how far a crowd
// is behind: as much of the stall timeout as it has used up of its limits. It may be one program that
// is busy elsewhere, or a network that has lost packets, and is brought to its limits by the stall
// timeout at the earliest.
//
// A minority that is taking bytes at this moment is waited for a moment only: that keeps queues short
// where all are quick, and costs nothing where some are slow.

const (
	// crowdPart: one in ten of the receivers, or each of fewer than ten, is a crowd.
	crowdPart = 10
	// quiet is how many ms of silence of all congested receivers are no stall yet: TCP shows a
	// reader's progress in steps, and the loop looks every 20 ms. For a source that owes all it may
	// two looks must do, or stalls that follow one another would cost it that time each.
	quiet      = 100
	quietOwing = 2 * lookEvery
	// A source may owe debtLimit ms of waiting in silence, which with the time it takes to see that
	// there is one is half a second, and repays a debtPart-th of its time.
	debtLimit = 400
	debtPart  = 10
	// minorityWait is how many ms a message waits for a minority, which must have taken bytes within
	// as many.
	minorityWait = 2
)

// A debt is what a source of messages owes for waits in which nobody took bytes.
type debt struct {
	repaid   int64 // ms on the engine's clock, when it will be paid off
	deferred int64 // bytes of what is deferred, of a loop's client
}

// owed returns the debt in ms.
func (d *debt) owed(now int64) int64 { return max(0, d.repaid-now) / debtPart }

// charge adds ms to the debt.
func (d *debt) charge(now, ms int64) {
	if fault == 9 {
		return
	}
	d.repaid = max(d.repaid, now) + debtPart*ms
}

// A wait is one message's.
type wait struct {
	begun int64 // ms
	paid  int64 // ms, until when it is charged
}

// A sight is what a publisher sees of its message's receivers.
type sight struct {
	full      bool  // a mailbox on the way has no room
	elsewhere bool  // those elsewhere are congested, or the log is full
	receivers int   // that count
	congested int   // of them
	progress  int64 // ms, when one has last taken bytes while it was congested
	standing  int64 // ms, the same of those alone that are congested still
	behind    int64 // how much of their limits these have used up, in millionths
}

// mayGo reports whether the receivers that s shows need not be waited for, or not any more, and
// charges d for a wait in silence.
func (w *wait) mayGo(s *sight, d *debt, now int64) bool {
	if s.congested == 0 {
		return true
	}
	least := int64(quiet)
	if d.owed(now) >= debtLimit {
		least = quietOwing
	}
	progress := s.progress
	if s.receivers < crowdPart {
		// Each is waited for, and those that come and go must not hide one that has stalled. In a
		// crowd they show that the others' turn will come.
		progress = s.standing
	} else if fault != 16 {
		least = max(least, s.behind*stallTimeout/1e6)
	}
	silent := now - progress
	if s.congested*crowdPart < s.receivers {
		return silent > minorityWait || now-w.begun >= minorityWait
	}
	if silent <= least {
		return false
	}
	// The quiet time counts, too, as far as this message has waited through it.
	if from := max(progress, w.begun, w.paid); now > from {
		d.charge(now, now-from)
		w.paid = now
	}
	return d.owed(now) >= debtLimit
}

// see looks at the receivers of a message; for topics and for everybody, without locks.
func (pb *Publisher) see(to *audience) (s sight) {
	e := pb.engine
	s.elsewhere = to.remote && e.config.Remote.Congested(to.name) || to.logged && e.config.Log.Full(to.name)
	if !e.live(to) {
		return s // its topic's number may be another's by now
	}
	var now int64
	for _, l := range e.loops {
		if !l.reaches(to) {
			continue
		}
		// What a topic keeps goes through the publisher's own mailbox, too.
		s.full = s.full || (l != pb.loop || to.stream != nil) && l.mailbox.full()
		if l.pressure.count.Load() == 0 {
			continue
		}
		if now == 0 {
			now = e.Now()
		}
		if now-l.lookedAt.Load() <= stuckAfter {
			l.see(to, &s)
		}
	}
	if s.congested > 0 {
		for _, l := range e.loops {
			s.receivers += l.receivers(to)
		}
	}
	return s
}

// see adds l's congested receivers to s, and takes off those that are excluded.
func (l *Loop) see(to *audience, s *sight) {
	p := &l.pressure
	var congested, excluded int
	var progress, standing, behind int64
	switch to.kind {
	case subscribersOf:
		t := l.engine.topics.Pressure(to.key, l.index)
		congested, excluded, progress, standing, behind = t.Congested, t.Excluded, t.Progress, t.Standing, t.Behind
	case everyClient:
		congested, excluded = int(p.congested.Load()), int(p.excluded.Load())
		progress, standing, behind = p.progress.Load(), p.standing.Load(), p.behind.Load()
	case theseConns:
		p.mu.Lock()
		for _, ref := range to.refs {
			r := p.receivers[ref]
			switch {
			case r == nil:
				progress = max(progress, p.relieved[ref])
			case r.excluded.Load():
				excluded++
			default:
				congested++
				standing = max(standing, r.progress.Load())
				behind += r.behind.Load()
			}
		}
		p.mu.Unlock()
		behind /= int64(max(congested, 1))
		progress = max(progress, standing)
	}
	s.receivers -= excluded
	s.congested += congested
	if congested > 0 {
		s.progress = max(s.progress, progress)
		s.standing = max(s.standing, standing)
		s.behind = max(s.behind, behind)
	}
}

// await waits on a goroutine outside the loops until a message to to may go. The error is ErrStopped or
// the context's.
func (pb *Publisher) await(to *audience) error {
	s := pb.see(to)
	if !s.full && !s.elsewhere && (s.congested == 0 || pb.roomOnly) {
		return nil
	}
	e := pb.engine
	now := e.Now()
	w := wait{begun: now}
	pause := 50 * time.Microsecond
	for waited := false; ; waited = true {
		mayGo := !s.elsewhere && (pb.roomOnly || w.mayGo(&s, &pb.debt, now))
		switch {
		case e.stopping.Load():
			return ErrStopped
		case mayGo && !s.full:
			return nil
		case pb.ctx != nil && pb.ctx.Err() != nil:
			return pb.ctx.Err()
		}
		if !waited {
			pb.stats().waits.Add(1)
		}
		e.system.sleep(pause)
		pause = min(2*pause, time.Millisecond)
		now = e.Now()
		s = pb.see(to)
	}
}
