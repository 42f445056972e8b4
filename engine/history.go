package engine

import (
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
	Rules []topic.Rule
	Total int64 // bytes. Zero means 256 MiB
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
// when the topic has none.
func (pb *Publisher) PublishAt(name []byte, p Push) (at topic.Position, ok bool, err error) {
	pb.Flush()
	pb.at = topic.Position{}
	if err := pb.Publish(name, p); err != nil {
		return at, false, err
	}
	pb.Flush()
	return pb.at, pb.at.Seq > 0, nil
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
		first, n, ok := e.history.Append(r.to.stream, e.Now(), r.kept.data)
		if ok {
			if f := e.numbered; f != nil {
				f(r.to.stream, first, r.kept.data)
			}
			pb.dropKept(r)
			pb.at = topic.Position{Epoch: r.to.stream.Epoch(), Seq: first + uint64(n) - 1}
			r.first, r.last = first, pb.at.Seq
			for _, b := range r.blocks {
				if b != nil {
					b.span = span{stream: r.to.stream, first: first, from: first, last: r.last}
				}
			}
			return true
		}
		r.to.stream.Unlock()
		r.to.stream = e.streamOf(r.to.name)
	}
	r.to.stream = nil
	pb.dropKept(r)
	return false
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
// last one.
func (c *Conn) subscribe(st *topic.Stream, name []byte, begin func(last uint64) uint64) (u *catchup, ok bool) {
	l := c.loop
	l.publisher.Flush()
	st.Lock()
	k, ok := l.shard.Subscribe(&c.member, c.slot, name, c.dialect, c.pressed(), false)
	if !ok {
		st.Unlock()
		return nil, false
	}
	last, posted := l.engine.history.Last(st), l.mailbox.postedSoFar()
	st.Unlock()
	if r, ok := c.handler.(Resumer); ok && r.Resumable() {
		l.track(c)
		l.begin(c, st)
	}
	// What was published while the loop had no subscriber has not come to it. It is as far as the last
	// message once it is through with what is on its way.
	next := begin(last)
	if posted == l.mail.position || fault == 102 {
		if st.Hear(l.index, last); next == last+1 {
			return nil, true
		}
		posted = 0
	}
	u = l.catchFrom(c, k.ID, st, next)
	u.posted, u.last = posted, last
	return u, true
}

// SubscribeLast is Subscribe for who wants the last n messages that the topic has kept first. They
// arrive as pushes, before what is published from then on.
func (c *Conn) SubscribeLast(name []byte, n int) bool {
	st := c.loop.engine.streamOf(name)
	if st == nil {
		return c.Subscribe(name)
	}
	_, ok := c.subscribe(st, name, func(last uint64) uint64 {
		first, _ := c.loop.engine.history.Range(st, c.loop.engine.Now())
		return max(first, last+1-min(uint64(max(n, 0)), last))
	})
	return ok
}

// SubscribeFrom is Subscribe for who has had everything up to a position: what came behind it arrives
// first, as pushes. Where some of it is gone for good, a push says so before what is left; see
// Config.Gap. One that is subscribed already is told so, too, if there was anything.
func (c *Conn) SubscribeFrom(name []byte, from topic.Position) bool {
	e := c.loop.engine
	st := e.streamOf(name)
	if st == nil {
		ok := c.Subscribe(name)
		c.loop.sayGap(c, string(name)) // nobody knows what there was
		return ok
	}
	known := st.Epoch() == from.Epoch
	u, ok := c.subscribe(st, name, func(uint64) uint64 {
		switch {
		case !known:
			return 1
		case fault == 101:
			return max(from.Seq, 1)
		}
		return from.Seq + 1
	})
	switch {
	case ok && !known && u == nil:
		c.loop.sayGap(c, string(name))
	case ok && !known:
		u.lost = true
	case !ok && (!known || e.history.Last(st) > from.Seq):
		c.loop.sayGap(c, string(name))
	}
	return ok
}
