package engine_test

import (
	"bytes"
	"errors"
	"iter"
	"slices"
	"time"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/topic"
)

// A simLog is a log of histories on a network that delays, loses what it carries while it is down, and
// keeps the order within a topic alone. Now and then it is down, drops what is oldest, or is another log
// than before. It is also what carries topics: it hears of subscriptions.
type simLog struct {
	w       *sessionWorld
	replica *engine.Replica
	up      bool
	epoch   uint64
	seq     uint64
	topics  map[string]*simLogTopic
	names   []string // of topics, in the order in which they came up
	slow    int      // us that something takes at most
	answers int      // to subscriptions, some of which are late
	asked   int      // calls of Fetch that have no answer
	others  *simElsewhere
}

// A simLogTopic is one of its topics.
type simLogTopic struct {
	name   string
	frames []engine.Frame // that are kept
	first  uint64         // the bound from which on it has everything

	queue []simAppend // what waits for its numbers
	busy  bool

	heard    bool // somebody is subscribed, or was a moment ago
	begun    bool
	joins    int          // which attempt to join is the last one
	live     []simCarried // frames on their way
	carrying bool
	settled  []func()
	here     bool // somebody is subscribed
}

type simAppend struct {
	records []byte
	n       int
	done    func(topic.Position, error)
	since   int64 // us
}

type simCarried struct {
	epoch, prev uint64
	frame       engine.Frame
}

var errSimLogDown = errors.New("the log is down")

// logWait is how long what is published waits for the log, in us.
const logWait = 2_000_000

func newSimLog(w *sessionWorld) *simLog {
	l := &simLog{w: w, up: true, epoch: 1, topics: make(map[string]*simLogTopic), slow: 100 << w.sim.Pick(9), others: newSimElsewhere(w)}
	w.sim.After(int64(w.sim.Pick(1_000_000)), l.misfortune)
	return l
}

func (l *simLog) of(name string) *simLogTopic {
	t := l.topics[name]
	if t == nil {
		t = &simLogTopic{name: name, first: 1}
		l.topics[name] = t
		l.names = append(l.names, name)
	}
	return t
}

// later has f called after the time that something takes.
func (l *simLog) later(f func()) { l.w.sim.After(int64(1+l.w.sim.Pick(l.slow)), f) }

// misfortune is what happens to the log.
func (l *simLog) misfortune() {
	sim := l.w.sim
	if sim.Failure() != "" || l.w.draining {
		return
	}
	sim.After(int64(1+sim.Pick(4_000_000)), l.misfortune)
	switch sim.Pick(6) {
	case 0: // old messages go
		for _, name := range l.names {
			if t := l.topics[name]; len(t.frames) > 0 && sim.OneIn(2) {
				n := sim.Pick(len(t.frames) + 1)
				if n > 0 {
					t.first = t.frames[n-1].Seq + 1
				}
				t.frames = slices.Clone(t.frames[n:])
				l.w.history.dropped(t.name, l.epoch, t.first)
			}
		}
	case 1: // it comes back empty
		l.down()
		l.epoch++
		l.seq = uint64(sim.Pick(3))
		for _, name := range l.names {
			t := l.topics[name]
			t.frames, t.first = nil, 1
		}
		sim.After(int64(sim.Pick(300_000)), func() { l.rise(true) })
	default:
		l.down()
		sim.After(int64(sim.Pick(3_000_000)), func() { l.rise(false) })
	}
}

func (l *simLog) down() {
	l.up = false
	l.w.saw.LogDown++
	for _, name := range l.names {
		l.topics[name].live = nil // lost
	}
}

// rise has the connection be there again: what was missed is made up for.
func (l *simLog) rise(another bool) {
	if l.up {
		return
	}
	l.up = true
	for _, name := range l.names {
		t := l.topics[name]
		switch {
		case !t.heard:
		case !t.begun:
			l.join(t)
		default:
			l.catchUp(t)
		}
	}
}

// Append implements engine.Log.
func (l *simLog) Append(name, records []byte, n int, done func(topic.Position, error)) {
	t := l.of(string(name))
	t.queue = append(t.queue, simAppend{bytes.Clone(records), n, done, l.w.sim.Clock()})
	if !t.busy {
		t.busy = true
		l.later(func() { l.number(t) })
	}
}

// number gives what waits longest its numbers, some of it together.
func (l *simLog) number(t *simLogTopic) {
	sim := l.w.sim
	if !l.up {
		for len(t.queue) > 0 && sim.Clock()-t.queue[0].since > logWait {
			a := t.queue[0]
			t.queue = t.queue[1:]
			if a.done != nil {
				a.done(topic.Position{}, errSimLogDown)
			}
		}
		if t.busy = len(t.queue) > 0; t.busy {
			sim.After(10_000, func() { l.number(t) })
		}
		return
	}
	k := 1 + sim.Pick(len(t.queue))
	var records []byte
	for _, a := range t.queue[:k] {
		records = append(records, a.records...)
	}
	var last topic.Position
	for len(records) > 0 {
		n := l.frameSize(records)
		last = l.add(t, records[:n])
		records = records[n:]
	}
	for _, a := range t.queue[:k] {
		if a.done != nil {
			a.done(last, nil)
		}
	}
	t.queue = t.queue[k:]
	if t.busy = len(t.queue) > 0; t.busy {
		l.later(func() { l.number(t) })
	}
}

// frameSize returns how many bytes of records make a frame.
func (l *simLog) frameSize(records []byte) (size int) {
	var m topic.Message
	bytes, messages := 0, 0
	for size < len(records) {
		n, err := m.Read(records[size:])
		if err != nil {
			l.w.sim.Fail("what is published is no record: %v", err)
			return len(records)
		}
		bytes += len(m.Payload) + len(m.Route)
		if messages++; !l.w.sim.FitsRun(bytes, messages) {
			break
		}
		size += n
	}
	return size
}

// add adds a frame to a topic.
func (l *simLog) add(t *simLogTopic, records []byte) topic.Position {
	l.seq += uint64(1 + l.w.sim.Pick(3))
	f := engine.Frame{Seq: l.seq<<12 | 4095, At: l.Now().UnixMilli(), Records: records}
	prev := uint64(0)
	if m := len(t.frames); m > 0 {
		prev = t.frames[m-1].Seq
	}
	t.frames = append(t.frames, f)
	l.w.history.logged(t.name, l.epoch, f)
	if t.heard {
		t.live = append(t.live, simCarried{l.epoch, prev, f})
		l.carry(t)
	}
	return topic.Position{Epoch: l.epoch, Seq: f.Seq}
}

// carry brings a topic's frames here.
func (l *simLog) carry(t *simLogTopic) {
	if t.carrying {
		return
	}
	t.carrying = true
	l.later(func() { l.carried(t) })
}

// room reports whether the loops can take something.
func (l *simLog) room() bool {
	for i := range l.w.sim.Engine().Loops() {
		if l.w.sim.MailboxFull(i) {
			return false
		}
	}
	return true
}

func (l *simLog) carried(t *simLogTopic) {
	t.carrying = false
	switch {
	case len(t.live) == 0 || !t.begun:
		return
	case !l.room():
	default:
		c := t.live[0]
		ok, err := l.take(t, c)
		switch {
		case err != nil:
			l.w.sim.Fail("H: frame %d of %s is not taken: %v", c.frame.Seq>>12, t.name, err)
			return
		case !ok: // something is missing before it
			l.catchUp(t)
			return
		}
		t.live = t.live[1:]
	}
	if len(t.live) > 0 {
		l.carry(t)
	}
}

func (l *simLog) take(t *simLogTopic, c simCarried) (bool, error) {
	if c.epoch != l.epoch {
		return true, nil // from before
	}
	return l.replica.Publish([]byte(t.name), c.epoch, c.prev, c.frame)
}

// catchUp gives a topic here what it lacks.
func (l *simLog) catchUp(t *simLogTopic) {
	l.later(func() {
		if !l.up || !t.heard || !t.begun {
			return
		}
		if !l.room() {
			l.catchUp(t)
			return
		}
		at, ok := l.replica.Last([]byte(t.name))
		switch {
		case !ok:
			l.join(t)
			return
		case at.Epoch != l.epoch || at.Seq+1 < t.first:
			begin := topic.Position{Epoch: l.epoch, Seq: t.first - 1}
			if err := l.replica.Begin([]byte(t.name), begin, true); err != nil {
				l.w.sim.Fail("%v", err)
			}
			at = begin
		}
		// One frame at a time: the mailboxes are not full of it.
		t.live = slices.DeleteFunc(t.live, func(c simCarried) bool { return c.epoch == l.epoch })
		prev := uint64(0)
		for _, f := range t.frames {
			if f.Seq > at.Seq {
				t.live = append(t.live, simCarried{l.epoch, prev, f})
			}
			prev = f.Seq
		}
		if len(t.live) > 0 {
			l.carry(t)
		}
	})
}

// join finds out where a topic begins here.
func (l *simLog) join(t *simLogTopic) {
	t.joins++
	mine := t.joins
	l.later(func() {
		if !l.up || !t.heard || t.joins != mine {
			return
		}
		at := topic.Position{Epoch: l.epoch, Seq: l.seq<<12 | 4095}
		if n := len(t.frames); n > 0 && l.w.sim.OneIn(2) {
			at.Seq = t.frames[n-1].Seq
		}
		l.later(func() { // the answer
			if !l.up || !t.heard || t.joins != mine || at.Epoch != l.epoch {
				if l.up && t.heard && t.joins == mine {
					l.join(t)
				}
				return
			}
			if err := l.replica.Begin([]byte(t.name), at, false); err != nil {
				l.w.sim.Fail("%v", err)
			}
			t.begun = true
			for _, f := range t.settled {
				f()
			}
			t.settled = nil
			l.carry(t)
		})
	})
}

// Full implements engine.Log.
func (l *simLog) Full(name []byte) bool { return len(l.of(string(name)).queue) > 4 }

// Away implements engine.Log.
func (l *simLog) Away() error {
	if l.up {
		return nil
	}
	return errSimLogDown
}

// simLogBehind is by how much the log's clock is behind the engine's.
const simLogBehind = time.Hour

// Now implements engine.Log.
func (l *simLog) Now() time.Time { return l.w.sim.Engine().Time().Add(-simLogBehind) }

// Fetch implements engine.Log.
func (l *simLog) Fetch(name string, after topic.Position, since int64, before uint64, done func(engine.Fill, error)) {
	l.asked++
	l.fetch(name, after, before, func(f engine.Fill, err error) {
		l.asked--
		done(f, err)
	})
}

func (l *simLog) fetch(name string, after topic.Position, before uint64, done func(engine.Fill, error)) {
	t := l.of(name)
	l.w.saw.Fetches++
	l.later(func() {
		if !l.up {
			l.fetch(name, after, before, done)
			return
		}
		f := engine.Fill{Epoch: l.epoch, First: t.first, Last: l.seq<<12 | 4095}
		if after.Epoch == l.epoch {
			f.First = max(f.First, after.Seq+1)
		}
		for _, m := range t.frames {
			if m.Seq >= f.First && (before == 0 || m.Seq < before) {
				f.Frames = append(f.Frames, m)
			}
		}
		l.later(func() { done(f, nil) })
	})
}

// Reaches, Changes, Congested and Publish implement engine.Remote: nobody is elsewhere.
func (l *simLog) Reaches([]byte, int64) bool { return false }
func (l *simLog) Changes() uint64            { return 0 }
func (l *simLog) Congested([]byte) bool      { return false }
func (l *simLog) Publish(_, _ []byte, _ int) {}

// Subscribed implements engine.Remote.
func (l *simLog) Subscribed(name string) {
	l.others.subscribed(name)
	t := l.of(name)
	t.here = true
	if !l.w.history.keeps(name) || t.heard {
		return
	}
	t.heard = true
	if l.up {
		l.join(t)
	}
}

// Unsubscribed implements engine.Remote.
func (l *simLog) Unsubscribed(name string) {
	l.others.unsubscribed(name)
	t := l.of(name)
	t.here = false
	l.w.sim.After(int64(l.w.sim.Pick(1_000_000)), func() {
		if t.here || !t.heard {
			return
		}
		t.heard, t.begun, t.live = false, false, nil
		t.joins++
		if l.w.sim.OneIn(2) { // somebody comes back before it is forgotten, at times
			l.w.sim.After(int64(l.w.sim.Pick(1_000_000)), func() { l.end(t) })
			return
		}
		l.end(t)
	})
}

func (l *simLog) end(t *simLogTopic) {
	if !t.heard || !t.begun {
		l.replica.End([]byte(t.name))
	}
}

// Expect implements engine.Remote. A session has its places in topics with history.
func (l *simLog) Expect(name []byte) { l.others.expect(string(name)) }

// Settle implements engine.Remote.
func (l *simLog) Settle(name []byte, f func()) bool {
	if !l.w.history.keeps(string(name)) {
		return l.others.whenSettled(string(name), f)
	}
	t := l.of(string(name))
	if !t.heard || t.begun {
		return false
	}
	t.settled = append(t.settled, f)
	return true
}

// restless says what is under way.
func (l *simLog) restless() string {
	if l.asked > 0 {
		return "the log is asked for something"
	}
	for _, name := range l.names {
		t := l.topics[name]
		at, ok := l.replica.Last([]byte(name))
		switch {
		case t.busy || len(t.queue) > 0:
			return "something of " + name + " waits for its numbers"
		case t.heard && t.here && (!t.begun || len(t.live) > 0):
			return "something of " + name + " is on its way here"
		case t.here && t.begun && ok && len(t.frames) > 0 && at.Seq < t.frames[len(t.frames)-1].Seq:
			return "something of " + name + " has not come"
		case t.here && t.begun && ok && (at.Epoch != l.epoch || at.Seq+1 < t.first):
			return "what is gone of " + name + " was not told"
		}
	}
	return ""
}

// settle answers when nothing is missed of a topic from now on.
func (l *simLog) settle(name string, f func()) {
	topics := iter.Seq[[]byte](func(yield func([]byte) bool) { yield([]byte(name)) })
	if !l.w.sim.Engine().WhenSettled(topics, f) {
		f()
	}
}
