package bench

import (
	"errors"

	"github.com/sluicenet/sluice/bench/wire"
)

// connect is a login storm: every connection comes up while the clock runs. With Resume all have
// been up before and were cut off at the start; they come back by their sessions.
type connect struct {
	quiet
	*worker
	todo  []int // conns
	k     int64
	under int // on their way
}

func checkConnect(p *plan, d wire.Driver) error {
	if p.Resume && !d.Can(wire.CanResume) {
		return errors.New(p.Protocol + " has no sessions to resume")
	}
	return nil
}

func newConnect(w *worker) behaviour {
	c := &connect{worker: w, k: int64(w.unit)}
	for i := range w.conns {
		w.conns[i].peer.Resume = w.Resume
		c.todo = append(c.todo, i)
	}
	return c
}

func (s *connect) start() {
	for i := range s.conns {
		if c := &s.conns[i]; c.phase == phaseReady {
			s.hangUp(c, nil)
		}
	}
}

func (s *connect) tick(now int64) int64 {
	if now < s.t0 {
		return s.t0
	}
	if now >= s.to || s.halted {
		return never
	}
	for len(s.todo) > 0 && s.dialing < s.window {
		due := now
		if s.schedule.Span() > 0 {
			d, ok := s.schedule.Due(s.k)
			if !ok {
				break
			}
			if due = s.t0 + int64(d); due > now {
				return due
			}
		}
		c := &s.conns[s.todo[0]]
		s.todo = s.todo[1:]
		s.k += int64(s.units)
		s.count.Sent++
		s.under++
		s.dial(c, now, due)
	}
	return s.to // connections that come up bring us back
}

func (s *connect) ready(c *conn, now int64) {
	if !s.started {
		return // the first time, of Resume
	}
	s.under--
	s.count.Delivered++
	if c.due >= s.from && c.due < s.to {
		s.latency.Record(now - c.due)
		s.raw.Record(now - c.began)
	}
}

func (s *connect) failed(*conn) {
	s.under--
	s.count.Lost++
}

func (s *connect) done() bool {
	return s.started && s.under == 0 && (len(s.todo) == 0 || s.halted || s.loop.Now() >= s.to)
}

func (s *connect) inFlight() uint64 { return uint64(s.under) }
