package bench

import (
	"errors"

	"github.com/sluicenet/sluice/bench/pace"
	"github.com/sluicenet/sluice/bench/stamp"
	"github.com/sluicenet/sluice/bench/wire"
)

// fanout: each topic has its subscribers, publishers take the topics in turn.
//
// Topics that have the same subscribers form a group. With more topics than subscribers each of
// them hears several, and a publisher numbers its messages per group: so one expected number per
// subscriber and publisher is enough to see that each message came once and in order, across topics
// too.
type fanout struct {
	quiet
	*worker
	pace       pace.Schedule // empty: as fast as possible
	background bool          // of churn: deliveries are not what is counted
	publishers []publisher
	template   *wire.Template // nil: bodies are compressed, encode each
	body       []byte
	topic      []byte
}

type publisher struct {
	c      *conn
	number int      // among all publishers
	k      int64    // next publication of the whole run that is ours
	seq    []uint32 // by group
}

// A publisher writes this much at a time and then lets its loop read.
const publishBurst = 32 << 10

func checkFanout(p *plan, d wire.Driver) error {
	if !d.Can(wire.CanPublish) && p.Worker == "" {
		return errors.New("clients of " + p.Protocol + " cannot publish: it takes the address for workers")
	}
	return nil
}

func newFanout(w *worker) behaviour { return &fanout{worker: w, pace: w.schedule} }

func (f *fanout) start() {
	topic := f.appendTopic(nil, 0)
	f.template, _ = wire.PublishTemplate(f.publishing, string(topic), f.Size)
	f.body, _, _, _ = f.driver.Body(f.Size)
	for i := range f.conns {
		if c := &f.conns[i]; c.role == rolePublisher {
			f.publishers = append(f.publishers, publisher{
				c: c, number: c.index, k: int64(c.index), seq: make([]uint32, f.groups),
			})
		}
	}
}

func (f *fanout) tick(now int64) int64 {
	if now < f.t0 {
		return f.t0
	}
	next := never
	for i := range f.publishers {
		next = min(next, f.publish(&f.publishers[i], now))
	}
	return next
}

// publish sends what is due and says when the next is.
func (f *fanout) publish(p *publisher, now int64) int64 {
	s := p.c.sock
	if s == nil || !s.Open() || f.halted {
		return never
	}
	if s.Queued() > 0 {
		return never // the gateway is not reading; Drained brings us back
	}
	for s.Queued() < publishBurst {
		due := now
		if f.pace.Span() > 0 {
			d, ok := f.pace.Due(p.k)
			if !ok {
				return never
			}
			if due = f.t0 + int64(d); due > now {
				return due
			}
		} else if now >= f.to {
			return never
		}
		f.publishOne(p, due, now)
	}
	s.Flush()
	if s.Queued() > 0 {
		return never
	}
	return now
}

func (f *fanout) publishOne(p *publisher, due, now int64) {
	t := int(p.k % int64(f.Topics))
	g := t % f.groups
	st := stamp.Stamp{ID: stamp.ID(p.number, p.seq[g]), Due: stamp.Ticks(due), Lag: stamp.Ticks(now - due)}
	p.seq[g]++
	p.k += int64(f.Publishers)
	f.topic = f.appendTopic(f.topic[:0], t)
	p.c.nextID++
	p.c.sock.Extend(func(out []byte) []byte {
		if f.template != nil {
			return f.template.Append(out, p.c.nextID, f.topic, st)
		}
		stamp.Write(f.body[f.stampAt:f.stampAt+f.stampRoom], st)
		out, err := f.publishing.AppendPublish(out, &p.c.peer, p.c.nextID, string(f.topic), f.body)
		if err != nil {
			f.err = err
		}
		return out
	})
	f.count.Published++
	if !f.background {
		f.count.Sent += uint64(f.subGroups[g])
	}
}

// reply is a gateway's word on a publication.
func (f *fanout) reply(_ *conn, ev *replyEvent, _ int64) {
	if !ev.OK {
		f.count.Refused++
	}
}

// published is how many messages each publisher of this worker sent to each group.
func (f *fanout) published() map[int][]uint32 {
	m := map[int][]uint32{}
	for i := range f.publishers {
		m[f.publishers[i].number] = f.publishers[i].seq
	}
	return m
}

// settle counts what members have not received: as lost on connections that are gone, as in flight on
// the others.
func (w *worker) settle(published map[int][]uint32) (lost, inFlight uint64) {
	for i := range w.conns {
		c := &w.conns[i]
		if c.role != roleMember || w.next == nil {
			continue
		}
		for pub, groups := range published {
			total := groups[c.group]
			missing := uint64(stamp.ID(0, total-w.next[c.next+pub]))
			if c.phase == phaseReady {
				inFlight += missing
			} else {
				lost += missing
			}
		}
	}
	return lost, inFlight
}

// done is false: whether all has arrived only the sum over all workers can tell.
func (f *fanout) done() bool { return false }

// idle: members subscribe and then do nothing.
type idle struct{ quiet }

func newIdle(*worker) behaviour { return idle{} }

func (idle) done() bool { return false }
