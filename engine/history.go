package engine

import (
	"context"
	"time"

	"github.com/sluicenet/sluice/topic"
)

// Topics with history have one order for everybody. Who publishes to one holds its stream's lock from
// the moment the messages have their numbers until they are in the mailbox of each loop that has
// subscribers, the publisher's own included. So each loop gets them in the order of their numbers,
// and knows by one number per topic how far it is: all of its subscribers have got everything up to
// there, but for those that catch up (catchup.go).

// HistoryLimits are which topics have history, and how much of it.
type HistoryLimits struct {
	Rules []topic.Rule // the first that matches a topic's name decides; none: no topic has history
	Total int64        // bytes that are kept of all topics. Zero means DefaultHistoryTotal
	// Topics is how many topics are known at a time. Of those that keep nothing the oldest goes for a
	// new one; when all keep something, the new one has no history for now. Zero means one for each
	// KiB of Total, and 1,024 at least: names alone take less than half of it.
	Topics int
}

// DefaultHistoryTotal is HistoryLimits.Total's default, in bytes.
const DefaultHistoryTotal = 256 << 20

// SetHistory has other topics keep their last messages from now on. What no rule wants kept is
// forgotten. The error says which rule is wrong; then nothing has changed. Any goroutine may call it.
func (e *Engine) SetHistory(h HistoryLimits) error {
	if err := topic.CheckRules(h.Rules); err != nil {
		return err
	}
	if h.Total <= 0 {
		h.Total = DefaultHistoryTotal
	}
	if h.Topics <= 0 {
		h.Topics = int(max(h.Total>>10, 1024))
	}
	e.history.Set(h.Rules, h.Total, h.Topics, e.Now())
	e.wakeAllAwaiting() // of topics that have no history any more
	return nil
}

// History returns the messages that topics have kept. Its clock is Now.
func (e *Engine) History() *topic.History { return e.history }

// ExpireHistory takes away what is too old, in small steps. It is for a timer of the owner's, once a
// second: nobody is given what is too old in any case.
func (e *Engine) ExpireHistory() {
	const step = 256 // segments, so that no publisher waits for long
	for e.history.On() && e.history.Expire(e.Now(), step) == step {
	}
	e.warnOfTopics()
}

// warnOfTopics logs, once a minute at most, that topics got no history. It is ExpireHistory's.
func (e *Engine) warnOfTopics() {
	st, now := e.history.Stats(), e.Now()
	if n := st.Refused - e.refusedTopics; n > 0 && now >= e.warnTopics {
		e.log.Warn("topics get no history: there are as many as may be, and all keep something",
			"topics", st.Topics, "times", n)
		e.refusedTopics, e.warnTopics = st.Refused, now+time.Minute.Milliseconds()
	}
}

// streamOf returns the history of a topic, nil when it has none.
func (e *Engine) streamOf(name []byte) *topic.Stream {
	if !e.history.On() {
		return nil
	}
	return e.history.Stream(name, e.Now())
}

// PublishAt is Publish and Flush, and returns where in the topic's history the message is. ok is false
// when the topic has none. With a Log, it waits for that. The error is Publish's.
func (pb *Publisher) PublishAt(name []byte, p Push) (at topic.Position, ok bool, err error) {
	pb.Flush()
	return pb.publishAt(context.Background(), name, p)
}

// publishAt does so for no longer than ctx lasts. What was open is flushed before.
func (pb *Publisher) publishAt(ctx context.Context, name []byte, p Push) (at topic.Position, ok bool, err error) {
	pb.at, pb.ctx = topic.Position{}, ctx
	defer func() { pb.ctx, pb.done = nil, nil }()
	var answer chan logged
	if log := pb.engine.config.Log; log != nil && !pb.local && pb.engine.history.Keeps(name) {
		answer = make(chan logged, 1)
		pb.done = func(at topic.Position, err error) { answer <- logged{at, err} }
	}
	if err := pb.Publish(name, p); err != nil {
		return at, false, err
	}
	if r := pb.open; r == nil || !r.to.logged {
		answer = nil // the rules have changed
	}
	pb.Flush()
	if answer == nil {
		return pb.at, pb.at.Seq > 0, nil
	}
	select {
	case a := <-answer:
		if a.err != nil {
			return at, false, &LogError{a.err}
		}
		return a.at, true, nil
	case <-ctx.Done():
		return at, false, ctx.Err()
	case <-pb.engine.stopped:
		return at, false, ErrStopped
	}
}

// keep appends p to what r's stream is to keep.
func (pb *Publisher) keep(r *run, p Push) {
	size := estimate(p)
	b := r.kept
	if b == nil {
		b = newBlock(max(size, firstBlock))
		pb.account(KindShared, int64(cap(b.data)))
	} else if len(b.data)+size > cap(b.data) {
		bigger := newBlock(2 * (len(b.data) + size))
		bigger.data = append(bigger.data, b.data...)
		pb.account(KindShared, int64(cap(bigger.data)))
		pb.account(KindShared, -b.release())
		b = bigger
	}
	b.data = topic.AppendRecord(b.data, p.Route, p.Cmd, p.Payload)
	r.kept = b
	r.bytes = max(r.bytes, len(b.data))
}

// dropKept gives up what r's stream was to keep.
func (pb *Publisher) dropKept(r *run) {
	if r.kept != nil {
		pb.account(KindShared, -r.kept.release())
		r.kept = nil
	}
}

// number gives r's messages their numbers and has them kept. Then r's stream is locked. It reports
// false when the topic has no history any more.
func (pb *Publisher) number(r *run) bool {
	e := pb.engine
	for range 3 { // a stream may be forgotten before it is locked
		if r.to.stream == nil {
			break
		}
		r.to.stream.Lock()
		from, first, n, ok := e.appendTo(r.to.stream, r)
		if ok {
			if f := e.numbered; f != nil {
				f(r.to.stream, first, r.kept.data)
			}
			pb.dropKept(r)
			pb.at = topic.Position{Epoch: r.to.stream.Epoch(), Seq: first + uint64(n) - 1}
			r.first, r.last = from, pb.at.Seq
			for _, b := range r.blocks {
				if b != nil {
					b.span = span{stream: r.to.stream, first: from, from: from, last: r.last}
				}
			}
			return true
		}
		r.to.stream.Unlock()
		if e.config.Log != nil {
			break
		}
		r.to.stream = e.streamOf(r.to.name)
	}
	r.to.stream = nil
	pb.dropKept(r)
	return false
}

// appendTo has a stream, which is locked, keep r's messages. from is the number that follows what
// it had before, which is first where numbers have no gaps.
func (e *Engine) appendTo(st *topic.Stream, r *run) (from, first uint64, n int, ok bool) {
	if r.first > 0 {
		from, n, ok = e.history.AppendAt(st, e.Now(), r.at, r.first, r.kept.data)
		return from, r.first, n, ok
	}
	first, n, ok = e.history.Append(st, e.Now(), r.kept.data)
	return first, first, n, ok
}

// flushHistory passes a run of a topic with history on. It reports false when the topic has none any
// more, and nothing was done.
func (pb *Publisher) flushHistory(r *run) bool {
	if !pb.number(r) {
		return false
	}
	e, st := pb.engine, r.to.stream
	r.to.key, _ = e.topics.Lookup(r.to.name) // who has come since the run was begun is to have it
	var loops, asleep [maxLoops / 64]uint64
	n, own := int32(0), false
	for i, l := range e.loops {
		if l.reaches(&r.to) {
			loops[i/64] |= 1 << (i % 64)
			n++
		}
	}
	if n == 0 {
		st.Unlock()
		pb.recycle(r)
		return true
	}
	r.refs.Store(n)
	for _, b := range r.blocks {
		if b != nil {
			b.shared.Store(n)
		}
	}
	for i, l := range e.loops {
		if loops[i/64]&(1<<(i%64)) == 0 {
			continue
		}
		if l == pb.loop && l.drained() {
			own = true // nothing of the topic is on its way
			continue
		}
		posted, sleeps := l.mailbox.add(message{run: r, bytes: r.cost()})
		if !posted {
			e.abandon(r)
		}
		if sleeps {
			asleep[i/64] |= 1 << (i % 64)
		}
	}
	st.Unlock()
	for i, l := range e.loops {
		if asleep[i/64]&(1<<(i%64)) != 0 {
			l.mailbox.wake()
		}
	}
	if own {
		pb.loop.deliverRun(r, 0)
	}
	return true
}

// drained reports whether the loop has handled all that was ever posted to it.
func (l *Loop) drained() bool { return l.mailbox.postedSoFar() == l.mail.position }

// subscribe adds c to a topic with history. begin says with which message, given the number of the
// last one: it returns what the catch-up is to have. st is nil when the topic has none; then
// nothing was done.
func (c *Conn) subscribe(name []byte, begin func(st *topic.Stream, last uint64) catchup) (st *topic.Stream, ok bool) {
	l := c.loop
	e := l.engine
	if st = e.streamOf(name); st == nil {
		return nil, false
	}
	l.publisher.Flush()
	st.Lock()
	for tries := 0; e.config.Log != nil && !e.history.Known(st) && tries < 3; tries++ { // see Replica.End
		st.Unlock()
		if st = e.streamOf(name); st == nil {
			return nil, false
		}
		st.Lock()
	}
	k, ok := l.shard.Subscribe(&c.member, c.slot, name, c.dialect, c.pressed(), false)
	if !ok {
		st.Unlock()
		return st, false
	}
	last, posted := e.history.Last(st), l.mailbox.postedSoFar()
	st.Unlock()
	if r, ok := c.handler.(Resumer); ok && r.Resumable() {
		l.track(c)
		l.begin(c, st)
	}
	// What was published while the loop had no subscriber has not come to it. It is as far as the last
	// message once it is through with what is on its way.
	want := begin(st, last)
	live := want.next == last+1 && !want.lost && want.start == atNext && want.epoch == st.Epoch()
	switch {
	case live && !st.Begun():
		return st, true // all that comes is from then on
	case posted == l.mail.position || fault == 102:
		if st.Hear(l.index, last); live {
			return st, true
		}
		posted = 0
	}
	u := l.catchFrom(c, k.ID, st, want.next)
	u.posted, u.last = posted, last
	u.lost, u.start, u.tail, u.upTo, u.epoch, u.since = want.lost, want.start, want.tail, want.upTo, want.epoch, want.since
	return st, true
}

// fromNowOn is where a subscription begins that is to miss nothing from then on.
func fromNowOn(st *topic.Stream, last uint64) catchup {
	return catchup{next: last + 1, epoch: st.Epoch()}
}

// SubscribeLast is Subscribe for who wants the last n messages that the topic has kept first. They
// arrive as pushes, before what is published from then on.
func (c *Conn) SubscribeLast(name []byte, n int) bool {
	e := c.loop.engine
	st, ok := c.subscribe(name, func(st *topic.Stream, last uint64) catchup {
		from, open := e.history.Tail(st, n, last, e.Now())
		u := catchup{next: from, epoch: st.Epoch()}
		if n > 0 && (open || !st.Begun()) {
			u.start, u.tail, u.upTo, u.since = atTail, n, last, e.markedAt()
		}
		return u
	})
	if st == nil {
		return c.Subscribe(name)
	}
	return ok
}

// SubscribeFrom is Subscribe for who has had everything up to a mark: what came behind it arrives
// first, as pushes. Where some of it is gone for good, a push says so before what is left; see
// Config.Gap. One that is subscribed already is told so, too, if there was anything.
func (c *Conn) SubscribeFrom(m Mark) bool {
	e, name, from, since := c.loop.engine, []byte(m.Topic), m.Position, m.At
	st, ok := c.subscribe(name, func(st *topic.Stream, last uint64) catchup {
		if m.Last > 0 && from.Epoch > 0 && (!st.Begun() || st.Epoch() == from.Epoch) {
			return catchup{next: from.Seq + 1, epoch: from.Epoch, since: since, start: atTail, tail: m.Last, upTo: from.Seq}
		}
		switch {
		case !st.Begun() && fault == 113:
			return fromNowOn(st, last)
		case !st.Begun() && from.Epoch > 0:
			return catchup{next: from.Seq + 1, epoch: from.Epoch, since: since}
		case st.Epoch() != from.Epoch || !st.Begun():
			return catchup{next: 1, epoch: st.Epoch(), lost: true}
		case fault == 101:
			from.Seq = max(from.Seq, 1) - 1
		}
		return catchup{next: from.Seq + 1, epoch: from.Epoch, since: since}
	})
	if st == nil {
		ok = c.Subscribe(name)
		c.loop.sayGap(c, string(name)) // nobody knows what there was
		return ok
	}
	if !ok && (st.Epoch() != from.Epoch || e.history.Last(st) > from.Seq) {
		c.loop.sayGap(c, string(name))
	}
	return ok
}
