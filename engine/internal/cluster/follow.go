package cluster

import (
	"cmp"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/topic"
)

// A following is how far a topic with history is here. The receiver's.
type following struct {
	begun bool
	at    uint64 // the last frame that the replica has had, or that need not be had
	end   uint64 // the number behind which the replica goes on
	// checked is up to which frame of the stream it was looked for others: there were none.
	checked uint64
	filling bool // what is behind at is being read
	// missing says that more has to be read then.
	missing bool
	tries   int // reads that have brought nothing
	pending []pendingFrame
	first   uint64 // the first frame that was ever pending since, 0: none was
}

// A pendingFrame waits for those before it, or until it is known which stream it is of.
type pendingFrame struct {
	number uint64 // of the frame in the stream
	prev   uint64 // of the topic's frame before it
	at     int64  // unix microseconds
	epoch  uint64 // of the stream that its sender knew
	msg    *nats.Msg
}

const (
	followingCost = 128 // bytes
	pendingCost   = 256 // beside its bytes
	// mostTries is how often what must be there is read, before it counts as lost.
	mostTries = 5
)

func (f *pendingFrame) cost() int64 { return int64(len(f.msg.Data)) + pendingCost }

// A follower passes the frames of topics with history on, each once and in the stream's order. It is
// the receiver's but for post and topics.
type follower struct {
	h     *history
	epoch uint64 // of the stream; 0: it is not known yet
	seen  uint64 // the highest number of a frame
	// last is the number of the stream's last frame, as its leader has told, and lastAt when it was stored, in
	// unix microseconds.
	last   uint64
	lastAt int64
	// doubtful says that a number has come that is none of a later frame: the stream may be another.
	doubtful     bool
	doubted      uint64 // seen, then
	pendingBytes int64
	reads        int    // fills that are under way
	proof        uint64 // see reach
	young        []youngTopic
	queue        []*ownTopic
	audited      uint64 // the last frame of the stream at the last look

	topics atomic.Int64

	mu     sync.Mutex
	events []func() error
}

// post has f run by the receiver.
func (f *follower) post(event func() error) {
	f.mu.Lock()
	f.events = append(f.events, event)
	f.mu.Unlock()
	f.h.t.receiver.wake()
}

// work runs what was posted.
func (f *follower) work() error {
	f.mu.Lock()
	events := f.events
	f.events = nil
	f.mu.Unlock()
	for _, event := range events {
		if err := event(); err != nil {
			return err
		}
	}
	return nil
}

// end gives up what is pending, once the receiver has ended.
func (f *follower) end() {
	for _, o := range f.h.t.ours.all() {
		f.leave(o)
	}
}

// Headers of what the stream sends on.
const (
	headerStream = "Nats-Stream"
	headerSeq    = "Nats-Sequence"
	headerPrev   = "Nats-Last-Sequence"
	headerTime   = "Nats-Time-Stamp"
)

// readPending reads the numbers that the stream has given to a frame.
func readPending(m *nats.Msg) (k pendingFrame, err error) {
	number, err := strconv.ParseUint(m.Header.Get(headerSeq), 10, 64)
	if err != nil || number == 0 || number >= 1<<(64-indexBits) {
		return k, errBody
	}
	prev, err := strconv.ParseUint(m.Header.Get(headerPrev), 10, 64)
	if err != nil || prev >= number {
		return k, errBody
	}
	at, err := time.Parse(time.RFC3339Nano, m.Header.Get(headerTime))
	if err != nil {
		return k, errBody
	}
	return pendingFrame{number: number, prev: prev, at: at.UnixMicro(), msg: m}, nil
}

// take takes a frame that the stream has sent on. r and from are of m, which is of topic o.
func (f *follower) take(o *ownTopic, r *run, from origin, m *nats.Msg) error {
	k, err := readPending(m)
	if err != nil {
		return err
	}
	k.epoch = r.first
	f.h.counts.heard.Add(1)
	if f.older(&k) && fault != 39 {
		f.h.counts.repeated.Add(1)
		return nil
	}
	l := o.following
	if l == nil {
		if f.h.keeps(r.name) {
			l = f.follow(o) // the subscription is not through yet
		} else {
			f.h.counts.messages.Add(uint64(r.count))
			return f.h.t.injector.Publish(r.name, r.records)
		}
	}
	if (k.number <= f.seen || k.epoch != f.epoch || f.tooLate(&k)) && !f.doubtful && fault != 33 {
		f.doubtful, f.doubted = true, f.seen
		f.h.doubt(false)
	}
	f.seen = max(f.seen, k.number)
	if !l.begun || l.filling || f.doubtful {
		f.keep(l, k)
		return nil
	}
	if k.prev > l.at && k.number > l.at && fault != 31 {
		f.keep(l, k)
		f.h.counts.holes.Add(1)
		f.fill(o)
		return nil
	}
	return f.pass(o, k.number, k.at, r, from)
}

// older reports whether a frame is of another stream, which was there before this one: it is dated before
// this one was made. Where the server's clock was set back so are frames of this stream. Those are known by
// their senders, who know of this stream: the other was deleted before they could. (A server that has yet to
// hear of that may store one there. It is dated later than this stream's beginning, mostly, and is found out
// by its number in any case.)
func (f *follower) older(k *pendingFrame) bool { return k.at < int64(f.epoch) && k.epoch != f.epoch }

// tooLate reports whether a frame was stored behind one of a higher number: it is of another stream.
func (f *follower) tooLate(k *pendingFrame) bool { return k.number <= f.last && k.at > f.lastAt }

// keep has a frame wait. When too much does, the frames of its topic do not: they are read instead.
func (f *follower) keep(l *following, k pendingFrame) {
	if l.first == 0 {
		l.first = k.number
	}
	if f.pendingBytes+k.cost() > f.h.mostPending {
		f.drop(l)
		l.missing = true
		return
	}
	l.pending = append(l.pending, k)
	f.pendingBytes += k.cost()
	f.h.t.charge(k.cost())
}

// drop forgets the frames of a topic that wait.
func (f *follower) drop(l *following) {
	for i := range l.pending {
		f.pendingBytes -= l.pending[i].cost()
		f.h.t.charge(-l.pending[i].cost())
	}
	l.pending = nil
}

// pass passes a frame on, which follows upon what the replica has.
func (f *follower) pass(o *ownTopic, number uint64, at int64, r *run, from origin) error {
	l := o.following
	if number <= l.at && fault != 32 {
		f.h.counts.repeated.Add(1)
		return nil
	}
	if err := f.publish(o, engine.Frame{Seq: behind(number), At: at / 1000, Records: r.records}); err != nil {
		return err
	}
	l.at, l.tries = number, 0
	f.h.counts.messages.Add(uint64(r.count))
	if t := f.h.t; r.wantAck && from != t.self && t.nodes.knows(from) {
		t.acks.put(ack{name: o.name, to: from, series: r.series, offset: r.offset + uint64(len(r.records))})
	}
	return nil
}

// publish gives the replica a frame that follows upon what it has.
func (f *follower) publish(o *ownTopic, frame engine.Frame) error {
	l, name := o.following, []byte(o.name)
	ok, err := f.h.replica.Publish(name, f.epoch, l.end, frame)
	if err == nil && !ok { // it has forgotten the topic, for want of room
		if err = f.h.replica.Begin(name, topic.Position{Epoch: f.epoch, Seq: l.end}, false); err == nil {
			_, err = f.h.replica.Publish(name, f.epoch, l.end, frame)
		}
	}
	if err == nil {
		l.end = frame.Seq
	}
	return err
}

// follow begins to follow a topic.
func (f *follower) follow(o *ownTopic) *following {
	o.following = new(following)
	if f.topics.Add(1) == 1 {
		f.h.wake()
	}
	f.h.t.charge(followingCost)
	return o.following
}

// leave forgets a topic, which has no subscribers or no history any more.
func (f *follower) leave(o *ownTopic) {
	l := o.following
	if l == nil {
		return
	}
	o.following = nil
	f.drop(l)
	f.topics.Add(-1)
	f.h.t.charge(-followingCost)
	if l.begun {
		f.h.replica.End([]byte(o.name))
	}
}

// join begins to follow topics, whose subscriptions are through, from what the stream has now. Those
// that are followed already were behind a lost connection.
func (f *follower) join(topics []*ownTopic, st StreamState) error {
	f.prove(st)
	var again []*ownTopic
	for _, o := range topics {
		switch l := o.following; {
		case o.gone.Load():
			continue
		case l != nil && l.begun:
			again = append(again, o)
			continue
		case l == nil:
			f.follow(o)
		}
		if err := f.begin(o, st); err != nil {
			return err
		}
	}
	f.lookAt(again, st, true)
	return nil
}

// begin has the replica begin with what comes behind the last frame of the stream; or with the first one
// that was pending, if that was before.
func (f *follower) begin(o *ownTopic, st StreamState) error {
	l := o.following
	at := st.Last
	if l.first > 0 {
		at = min(at, l.first-1)
	}
	position := topic.Position{Epoch: st.Epoch, Seq: behind(at)}
	if err := f.h.replica.Begin([]byte(o.name), position, false); err != nil {
		return err
	}
	l.begun, l.at, l.end, l.first = true, at, position.Seq, 0
	f.confirmLater(o)
	return f.release(o)
}

// release passes on what is pending, as far as nothing is missing before it.
func (f *follower) release(o *ownTopic) error {
	l := o.following
	if f.doubtful || l.filling || !l.begun {
		return nil
	}
	l.sort()
	pending := l.pending
	l.pending, l.first = nil, 0
	for i := range pending {
		k := &pending[i]
		if k.prev > l.at && k.number > l.at {
			l.pending, l.first = pending[i:], k.number
			f.fill(o)
			return nil
		}
		if err := f.passPending(o, k); err != nil {
			return err
		}
	}
	if l.missing {
		f.fill(o)
	}
	return nil
}

// sort has the frames that are pending be in the stream's order.
func (l *following) sort() {
	slices.SortFunc(l.pending, func(a, b pendingFrame) int { return cmp.Compare(a.number, b.number) })
}

// passPending passes on a frame that is pending no more.
func (f *follower) passPending(o *ownTopic, k *pendingFrame) error {
	f.pendingBytes -= k.cost()
	f.h.t.charge(-k.cost())
	frame, err := unseal(k.msg.Data)
	if err != nil {
		return nil
	}
	_, from, body, err := parseHeader(frame)
	if err != nil {
		return nil
	}
	r, err := readRun(body, &f.h.t.receiver.m)
	if err != nil {
		return nil
	}
	return f.pass(o, k.number, k.at, &r, from)
}

// fill has what is behind the last frame of a topic be read. What comes meanwhile waits.
func (f *follower) fill(o *ownTopic) {
	l := o.following
	l.filling, l.missing = true, false
	f.reads++
	f.h.fetcher.add(&fetch{
		name: o.name, subject: f.h.t.subs.history(o.name), epoch: f.epoch, after: behind(l.at), checked: l.checked,
		done: func(fill engine.Fill, upTo uint64, err error) {
			f.post(func() error { return f.filled(o, l, fill, upTo, err) })
		},
	})
}

// filled passes on what was read.
func (f *follower) filled(o *ownTopic, l *following, fill engine.Fill, upTo uint64, err error) error {
	f.reads--
	if o.following != l || err != nil { // it is over, or all is
		return nil
	}
	l.filling = false
	if fill.Epoch != f.epoch {
		l.missing = true // it will be known which one is right
		if !f.doubtful {
			f.doubtful, f.doubted = true, 0
			f.h.doubt(false)
		}
		return nil
	}
	at := l.at
	gone := frameOf(fill.First) - 1
	if gone > l.at {
		if err := f.passGone(o, gone, len(fill.Frames) > 0); err != nil {
			return err
		}
	}
	for _, frame := range fill.Frames {
		if frameOf(frame.Seq) <= l.at {
			continue
		}
		if err := f.publish(o, frame); err != nil {
			return err
		}
		l.at = frameOf(frame.Seq)
		f.h.counts.messages.Add(uint64(countRecords(frame.Records)))
	}
	l.at = max(l.at, upTo)
	if l.at >= gone {
		l.checked = max(l.checked, frameOf(fill.Last))
	}
	if l.at > at {
		l.tries = 0
	} else if l.tries++; l.tries >= mostTries && l.first > l.at {
		// A frame names one before it that nobody has.
		if err := f.lose(o, l.first-1); err != nil {
			return err
		}
	}
	return f.release(o)
}

// passGone goes on to the frame upTo, up to which the stream has nothing left: with what is pending,
// as far as nothing is missing before it. What is missing is lost. more says that the stream has frames
// behind.
func (f *follower) passGone(o *ownTopic, upTo uint64, more bool) error {
	l := o.following
	if f.doubtful { // what is pending may be of another stream
		return f.lose(o, upTo)
	}
	l.sort()
	for len(l.pending) > 0 {
		k := l.pending[0]
		// A frame that names none before it says nothing: the stream had none left then.
		follows := k.number <= l.at || k.prev > 0 && k.prev <= l.at
		if k.number > upTo {
			if follows {
				return nil
			}
			return f.lose(o, upTo)
		}
		if !follows {
			if err := f.lose(o, k.number-1); err != nil {
				return err
			}
		}
		l.pending = l.pending[1:]
		if err := f.passPending(o, &k); err != nil {
			return err
		}
		if len(l.pending) == 0 && !more && !l.missing {
			return nil // what follows may be on its way
		}
	}
	return f.lose(o, upTo)
}

// lose says that what is behind the last frame of a topic is gone, up to another one.
func (f *follower) lose(o *ownTopic, upTo uint64) error {
	l := o.following
	f.h.counts.lost.Add(1)
	l.at, l.end, l.tries = upTo, behind(upTo), 0
	if fault == 34 {
		return nil
	}
	return f.h.replica.Begin([]byte(o.name), topic.Position{Epoch: f.epoch, Seq: l.end}, true)
}
