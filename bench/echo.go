package bench

import (
	"bytes"
	"errors"
	"math/bits"

	"github.com/sluicenet/sluice/bench/stamp"
	"github.com/sluicenet/sluice/bench/wire"
)

// maxDepth is bounded by the 16 bits of GOSOC's message ids, and by sense.
const maxDepth = 1 << 14

// echo sends requests and waits for their answers, Depth of them at once on each connection: as many
// as possible, or at the pace of the schedule, connections taking turns. A request that is due while no
// connection has room is sent later and measured from when it was due.
type echo struct {
	quiet
	*worker
	template *wire.Template
	want     []byte    // the answer; nil: any will do
	ring     []pending // of all connections
	size     int       // of one connection's ring, a power of two
	k        int64     // next request of the whole run that is this worker's
	turn     int
	waiting  int // requests without an answer, on all connections
	sending  bool
}

type pending struct {
	id        uint32
	live      bool
	due, sent int64
}

func checkWorker(p *plan, d wire.Driver) error {
	if p.Route == "" {
		return errors.New("needs a route")
	}
	_, err := wire.RequestTemplate(d, p.Route, p.Size)
	return err
}

func newEcho(w *worker) behaviour {
	size := 1 << bits.Len(uint(w.Depth-1))
	e := &echo{worker: w, size: size, ring: make([]pending, size*len(w.conns)), k: int64(w.unit)}
	for i := range w.conns {
		w.conns[i].ring = i * size
	}
	return e
}

func (e *echo) start() {
	var err error
	if e.template, err = wire.RequestTemplate(e.driver, e.Route, e.Size); err != nil {
		e.worker.err = err
	}
	if e.Route == "" {
		body, _, _, _ := e.driver.Body(e.Size)
		e.want = e.driver.EchoReply(body)
	}
	e.sending = e.template != nil
}

func (e *echo) tick(now int64) int64 {
	if now < e.t0 {
		return e.t0
	}
	if e.halted {
		e.sending = false
	}
	if !e.sending {
		return never
	}
	if e.schedule.Span() == 0 {
		if now >= e.to {
			e.sending = false
			return never
		}
		if e.k == int64(e.unit) { // the first time: afterwards answers keep it going
			e.k++
			for i := range e.conns {
				for e.conns[i].outstanding < e.Depth && e.send(&e.conns[i], now, now) {
				}
			}
		}
		return e.to
	}
	for {
		d, ok := e.schedule.Due(e.k)
		if !ok {
			e.sending = false
			return never
		}
		due := e.t0 + int64(d)
		if due > now {
			return due
		}
		if !e.sendNext(due, now) {
			return never // an answer brings us back, be it after the end: what was due is owed
		}
		e.k += int64(e.units)
	}
}

// sendNext sends on the next connection that has room.
func (e *echo) sendNext(due, now int64) bool {
	for range e.conns {
		c := &e.conns[e.turn]
		if e.turn++; e.turn == len(e.conns) {
			e.turn = 0
		}
		if c.outstanding < e.Depth && e.send(c, due, now) {
			return true
		}
	}
	return false
}

func (e *echo) send(c *conn, due, now int64) bool {
	p := &e.ring[c.ring+int(c.nextID)&(e.size-1)]
	if p.live || c.phase != phaseReady {
		return false
	}
	*p = pending{id: c.nextID, live: true, due: due, sent: now}
	c.sock.Extend(func(out []byte) []byte { return e.template.Append(out, c.nextID, nil, stamp.Stamp{ID: c.nextID}) })
	c.nextID = (c.nextID + 1) & 0xffff
	c.outstanding++
	e.waiting++
	e.count.Sent++
	return true
}

func (e *echo) reply(c *conn, ev *replyEvent, now int64) {
	p := &e.ring[c.ring+int(ev.ID)&(e.size-1)]
	if !p.live || p.id != ev.ID {
		e.count.Late++
		return
	}
	p.live = false
	c.outstanding--
	e.waiting--
	e.count.Delivered++
	if !ev.OK {
		e.count.Refused++
	} else if e.want != nil && !bytes.Equal(ev.Body, e.want) {
		e.count.Mismatch++
	}
	if p.due >= e.from && p.due < e.to {
		e.latency.Record(now - p.due)
		if p.sent != p.due {
			e.raw.Record(now - p.sent)
		} else {
			e.raw.Record(now - p.due)
		}
	}
	if e.sending && !e.halted && e.schedule.Span() == 0 && now < e.to {
		e.send(c, now, now)
	}
}

func (e *echo) gone(c *conn) {
	for i := range e.size {
		p := &e.ring[c.ring+i]
		if p.live {
			p.live = false
			e.count.Lost++
		}
	}
	e.waiting -= c.outstanding
	c.outstanding = 0
}

func (e *echo) done() bool { return !e.sending && e.waiting == 0 }

func (e *echo) inFlight() uint64 { return uint64(e.waiting) }
