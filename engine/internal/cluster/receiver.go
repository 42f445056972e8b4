package cluster

import (
	"errors"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/topic"
)

// progress is how far a node's messages of a topic have come. The receiver's.
type progress struct {
	from         origin
	series, next uint64 // the number of the next message
}

const progressCost = 32 // bytes

// An injector takes messages to the subscribers here: an engine.Injector.
type injector interface {
	Publish(name, records []byte) error
}

// The receiver is the goroutine that takes what comes over the data connection.
type receiver struct {
	t     *topics
	heard map[uint8]heard
	mine  string // the subject of what is for this node alone
	m     topic.Message
	wakes chan struct{} // there are events of topics with history
	done  chan struct{}
}

func (r *receiver) wake() {
	select {
	case r.wakes <- struct{}{}:
	default:
	}
}

// heard is the last that a node has said of its interest.
type heard struct{ incarnation, number uint64 }

// run is the goroutine. It ends when stop or the channel is closed, or the engine stops.
func (r *receiver) run(stop <-chan struct{}, messages <-chan *nats.Msg) {
	defer close(r.done)
	for {
		select {
		case <-stop:
			return
		case <-r.wakes:
			if err := r.t.history.follower.work(); errors.Is(err, engine.ErrStopped) {
				return
			}
		case m, ok := <-messages:
			if !ok {
				return
			}
			if err := r.take(m); errors.Is(err, engine.ErrStopped) {
				return
			}
		}
	}
}

// ignore counts what is of no use.
func (r *receiver) ignore(err error, subject string) {
	i := ignoredOther
	switch {
	case errors.Is(err, errVersion):
		i = ignoredVersion
	case errors.Is(err, errOwn):
		i = ignoredOwn
	case errors.Is(err, errSender):
		i = ignoredSender
	case errors.Is(err, errTopic):
		i = ignoredTopic
	case errors.Is(err, errShort), errors.Is(err, errSum), errors.Is(err, errBody):
		i = ignoredBroken
	}
	r.t.counts.ignored[i].Add(1)
	if i != ignoredSender && i != ignoredOwn {
		r.t.log.Warn("a frame from the bus was ignored", "subject", subject, "err", err)
	}
}

// take handles one message of the bus. The error is engine.ErrStopped.
func (r *receiver) take(m *nats.Msg) error {
	c := &r.t.counts
	c.framesIn.Add(1)
	c.bytesIn.Add(uint64(len(m.Data)))
	var k Kind
	var from origin
	var body []byte
	frame, err := unseal(m.Data)
	if err == nil {
		k, from, body, err = parseHeader(frame)
	}
	switch {
	case err != nil:
	case k == KindEcho && from == r.t.self:
		err = r.echo(body)
	case k == KindMessages && len(m.Header[headerStream]) > 0:
		err = r.stored(from, body, m)
	case from.id == r.t.self.id && from.incarnation == r.t.self.incarnation:
		err = errOwn
	case !r.t.nodes.knows(from):
		err = errSender
		if k == KindBarrier && fault != 14 {
			r.t.trust.close(strangerFor) // one that comes, perhaps
		}
	default:
		err = r.handle(k, from, body, m.Subject)
	}
	if err != nil && !errors.Is(err, engine.ErrStopped) {
		r.ignore(err, m.Subject)
	}
	return err
}

func (r *receiver) handle(k Kind, from origin, body []byte, subject string) error {
	t := r.t
	switch k {
	case KindMessages:
		return r.messages(from, body, subject)
	case KindCredit:
		to, series, offset, name, err := readCredit(body)
		if err != nil || to != t.self.incarnation {
			return err
		}
		e := t.interest.find(name)
		if series&historySeries != 0 {
			e = nil
			if t.history != nil {
				e = t.history.appender.find(name)
			}
		}
		if e != nil {
			t.credits.received(e, from.id, series, offset)
		}
		return nil
	case KindBarrier:
		number, names, err := readStatement(body)
		if err != nil || !r.fresh(from, number) {
			return err
		}
		t.interest.note(from.id, names, true, nil)
		t.sender.post(job{kind: jobAnswer, to: from, number: number})
		return nil
	case KindBarrierAnswer:
		to, number, err := readBarrierAnswer(body)
		if err != nil || to != t.self.incarnation {
			return err
		}
		done, say := t.barriers.answered(from.id, number)
		if say != jobNothing {
			t.sender.post(job{kind: say, to: from})
		}
		for _, b := range done {
			t.passed(b)
		}
		return nil
	case KindLetGo:
		number, names, err := readStatement(body)
		if err != nil || !r.fresh(from, number) {
			return err
		}
		t.interest.note(from.id, names, false, func(e *target) { t.notWanted(e, from.id) })
		return nil
	case KindWhether:
		names, err := readWhether(body)
		if err != nil {
			return err
		}
		j := job{kind: jobInterest, to: from}
		for {
			name, ok := names.next()
			if !ok {
				break
			}
			j.names = append(j.names, string(name))
		}
		t.sender.post(j)
		return nil
	case KindExcluded:
		to, number, is, err := readExcluded(body)
		if err != nil || to != t.self.incarnation || !r.fresh(from, number) {
			return err
		}
		t.trust.warn(from.id, is)
		return nil
	case KindInterest:
		to, number, some, none, err := readInterest(body)
		if err != nil || to != t.self.incarnation || !r.fresh(from, number) {
			return err
		}
		t.interest.note(from.id, some, true, nil)
		t.interest.note(from.id, none, false, func(e *target) { t.notWanted(e, from.id) })
		return nil
	}
	return errForeign
}

// echo takes an echo of the node's own.
func (r *receiver) echo(body []byte) error {
	sent, err := readEcho(body)
	if err == nil {
		r.t.trust.echo(sent)
	}
	return err
}

// notWanted notes that a node sets no pace for a topic, which it has no subscribers to.
func (t *topics) notWanted(e *target, id uint8) {
	t.credits.drop(e, id)
	if t.history != nil {
		if e := t.history.appender.find([]byte(e.name)); e != nil {
			t.credits.drop(e, id)
		}
	}
}

// fresh reports whether what a node says of its interest is newer than what it has said.
func (r *receiver) fresh(from origin, number uint64) bool {
	h := r.heard[from.id]
	if h.incarnation == from.incarnation && number <= h.number && fault != 3 {
		r.t.counts.lateStatements.Add(1)
		return false
	}
	r.heard[from.id] = heard{from.incarnation, number}
	return true
}

// stored takes a frame that the stream of histories has sent on: whoever has published it.
func (r *receiver) stored(from origin, body []byte, m *nats.Msg) error {
	t := r.t
	f, err := readRun(body, &r.m)
	switch {
	case err != nil:
		return err
	case t.history == nil || !f.history:
		return errForeign
	}
	o := t.ours.find(f.name)
	if o == nil {
		t.counts.unwanted.Add(uint64(f.count))
		return nil
	}
	if o.subject != m.Subject {
		return errTopic
	}
	return t.history.follower.take(o, &f, from, m)
}

// messages passes messages on to the subscribers here.
func (r *receiver) messages(from origin, body []byte, subject string) error {
	t := r.t
	f, err := readRun(body, &r.m)
	if err != nil {
		return err
	}
	o := t.ours.find(f.name)
	if o == nil {
		t.counts.unwanted.Add(uint64(f.count)) // they were on their way when it was let go
		return nil
	}
	if o.subject != subject && subject != r.mine { // which is where others go around a slow node
		return errTopic
	}
	if f.history {
		return errForeign // it has not been in the stream
	}
	if t.history != nil && t.history.keeps(f.name) {
		t.history.counts.plain.Add(uint64(f.count))
		t.log.Warn("messages of a topic with history came without: the rules of another gateway differ",
			"topic", string(f.name), "from", from.id)
	}
	p := r.progress(o, from)
	switch {
	case p.series == 0: // the first ones since there are subscribers
	case f.series < p.series, f.series == p.series && f.first < p.next:
		t.counts.late.Add(uint64(f.count))
		if fault != 1 {
			return nil
		}
	case f.series > p.series:
		r.missed(o, from, f.first-1)
	default:
		r.missed(o, from, f.first-p.next)
	}
	p.series, p.next = f.series, f.first+uint64(f.count)
	t.counts.messagesIn.Add(uint64(f.count))
	if err := t.injector.Publish(f.name, f.records); err != nil {
		return err
	}
	if f.wantAck {
		t.acks.put(ack{name: o.name, to: from, series: f.series, offset: f.offset + uint64(len(f.records))})
	}
	return nil
}

func (r *receiver) missed(o *ownTopic, from origin, n uint64) {
	if n > 0 && fault != 6 {
		r.t.counts.lost.Add(n)
		r.t.log.Warn("messages of another node have not come: the line to NATS, or this node, does not keep up",
			"node", from.id, "topic", o.name, "messages", n)
	}
}

// progress returns how far a node's messages of a topic have come. Another process starts anew.
func (r *receiver) progress(o *ownTopic, from origin) *progress {
	for i := range o.senders {
		p := &o.senders[i]
		if p.from.id != from.id {
			continue
		}
		if p.from != from && fault != 5 {
			*p = progress{from: from}
		}
		return p
	}
	n := len(o.senders)
	o.senders = slices.DeleteFunc(o.senders, func(p progress) bool { return !r.t.nodes.knows(p.from) })
	o.senders = append(o.senders, progress{from: from})
	o.progress.Add(int64(len(o.senders)-n) * progressCost)
	r.t.charge(int64(len(o.senders)-n) * progressCost)
	if o.gone.Load() { // let go in between
		r.t.charge(-o.progress.Swap(0))
	}
	return &o.senders[len(o.senders)-1]
}

// never is longer than anything takes.
const never = 365 * 24 * time.Hour
