package bench

import (
	"errors"

	"github.com/sluicenet/sluice/bench/pace"
	"github.com/sluicenet/sluice/bench/wire"
)

// churn: connections take turns to hang up and come back at once, topics and all, at the schedule's
// pace. Beside it a publisher may send to the topics; what a connection misses while it is away is
// not counted, what it misses while it is there is.
type churn struct {
	quiet
	*worker
	members []int // conns, in the order of their turns
	turn    int
	k       int64
	under   int
	wanted  bool    // events of the schedule are left
	noise   *fanout // nil: none
}

func checkChurn(p *plan, d wire.Driver) error {
	if p.Background > 0 {
		if p.Publishers > 1 {
			return errors.New("takes one publisher at most")
		}
		return checkFanout(p, d)
	}
	return nil
}

func newChurn(w *worker) behaviour {
	c := &churn{worker: w, k: int64(w.unit), wanted: true}
	for i := range w.conns {
		if w.conns[i].role == roleMember {
			c.members = append(c.members, i)
		}
	}
	if w.Background > 0 {
		c.noise = &fanout{worker: w, background: true}
		w.aside = true
	}
	return c
}

func (c *churn) start() {
	if c.noise != nil {
		c.noise.pace = pace.Constant(c.Background, c.schedule.Span())
		c.noise.start()
	}
}

func (c *churn) tick(now int64) int64 {
	if now < c.t0 {
		return c.t0
	}
	next := c.to
	if now >= c.to || c.halted {
		c.wanted = false
		next = never
	}
	if c.noise != nil {
		next = min(next, c.noise.tick(now))
	}
	for c.wanted && len(c.members) > 0 {
		d, ok := c.schedule.Due(c.k)
		if !ok {
			c.wanted = false
			break
		}
		due := c.t0 + int64(d)
		if due > now {
			return min(next, due)
		}
		m := c.nextUp()
		if m == nil {
			break // all are on their way; one that comes up brings us back
		}
		c.k += int64(c.units)
		c.hangUp(m, c.driver.AppendGoodbye(nil, &m.peer))
		m.joining = true
		c.count.Sent++
		c.under++
		c.dial(m, now, due)
	}
	return next
}

// nextUp is the next connection in turn that is up.
func (c *churn) nextUp() *conn {
	for range c.members {
		m := &c.conns[c.members[c.turn]]
		if c.turn++; c.turn == len(c.members) {
			c.turn = 0
		}
		if m.phase == phaseReady {
			return m
		}
	}
	return nil
}

func (c *churn) ready(m *conn, now int64) {
	if !c.started {
		return
	}
	c.under--
	c.count.Delivered++
	if m.due >= c.from && m.due < c.to {
		c.latency.Record(now - m.due)
		c.raw.Record(now - m.began)
	}
}

func (c *churn) failed(*conn) {
	c.under--
	c.count.Lost++
}

func (c *churn) done() bool { return c.started && !c.wanted && c.under == 0 }

func (c *churn) inFlight() uint64 { return uint64(c.under) }
