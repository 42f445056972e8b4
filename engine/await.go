package engine

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/sluicenet/sluice/topic"
)

// With a Log, a subscriber may have to wait until it is known where it begins: the history of its topic
// has not begun here, or what it lacks is older than what is here, and the Log is asked for it. Each
// topic is asked for once at a time. Whoever waits has subscribed already: what comes meanwhile goes to
// the history, and is its turn then.

// A start says where a catch-up begins.
type start uint8

const (
	atNext start = iota // at catchup.next
	atTail              // at the last so many messages
)

// waitSize is what it costs to wait, in bytes: a place in a map, and in the topic's.
const waitSize = 96

// mostAsked is how often the log is asked for the same: what it has may have no room here, and go
// at once.
const mostAsked = 4

// awaited are those who wait for a Log.
type awaited struct {
	mu     sync.Mutex
	topics map[string]*awaitedTopic
}

// An awaitedTopic is one of their topics.
type awaitedTopic struct {
	loops [maxLoops / 64]uint64 // on which somebody waits
	asked bool                  // the log is
	// What is to be asked for next: the lowest of what was wanted since it was asked; want says that
	// there is something.
	want  bool
	after topic.Position
	since int64
}

// lower has what is behind a position asked for, too. Within an epoch the lower one is the one to ask
// for.
func (w *awaitedTopic) lower(after topic.Position, since int64) {
	switch {
	case !w.want:
		w.want, w.after, w.since = true, after, since
	case after.Epoch != w.after.Epoch:
		w.after, w.since = topic.Position{}, 0
	case after.Seq < w.after.Seq:
		w.after, w.since = after, since
	}
}

// awaitBegin has u wait for its history to begin.
func (l *Loop) awaitBegin(u *catchup) {
	l.wait(u, nil)
	if !l.engine.history.Known(u.stream) { // it has, or is another
		l.answered(u.stream.Name())
	}
}

// awaitOlder has u wait for what is behind a position, and older than what its history has from number
// before on.
func (l *Loop) awaitOlder(u *catchup, after topic.Position, before uint64) {
	e, st, since := l.engine, u.stream, u.since
	ask := false
	l.wait(u, func(w *awaitedTopic) {
		if w.lower(after, since); w.asked {
			return
		}
		ask, w.asked = true, true
		after, since, w.want = w.after, w.since, false
	})
	if ask {
		before = before | (frameNumbers - 1) + 1 // some of a frame may be here
		e.config.Log.Fetch(st.Name(), after, since, before, func(f Fill, err error) { e.filled(st, after, before, f, err) })
	}
}

// wait notes that u waits, and for what of its topic.
func (l *Loop) wait(u *catchup, what func(*awaitedTopic)) {
	u.waiting = true
	name := u.stream.Name()
	k := &l.catching
	if k.waiting == nil {
		k.waiting = make(map[string]map[join]struct{})
	}
	if k.waiting[name] == nil {
		k.waiting[name] = make(map[join]struct{})
	}
	k.waiting[name][u.join] = struct{}{}
	l.accounts.add(KindTopics, waitSize)
	a := &l.engine.awaited
	a.mu.Lock()
	defer a.mu.Unlock()
	w := a.topics[name]
	if w == nil {
		if a.topics == nil {
			a.topics = make(map[string]*awaitedTopic)
		}
		w = new(awaitedTopic)
		a.topics[name] = w
	}
	w.loops[l.index/64] |= 1 << (l.index % 64)
	if what != nil {
		what(w)
	}
}

// unwait notes that u waits no longer, nor goes on.
func (l *Loop) unwait(u *catchup) {
	u.waiting = false
	l.accounts.add(KindTopics, -waitSize)
	name := u.stream.Name()
	here := l.catching.waiting[name]
	if delete(here, u.join); len(here) > 0 {
		return
	}
	delete(l.catching.waiting, name)
	a := &l.engine.awaited
	a.mu.Lock()
	defer a.mu.Unlock()
	if w := a.topics[name]; w != nil {
		w.loops[l.index/64] &^= 1 << (l.index % 64)
		if !w.asked && w.loops == ([maxLoops / 64]uint64{}) {
			delete(a.topics, name)
		}
	}
}

// filled is called with the log's answer.
func (e *Engine) filled(st *topic.Stream, after topic.Position, before uint64, f Fill, err error) {
	switch {
	case err != nil:
		e.log.Warn("a topic's history is not read", "topic", st.Name(), "err", err)
		e.history.Close(st)
	case f.Epoch == st.Epoch():
		closed := after.Epoch != f.Epoch || after.Seq == 0 || f.First > after.Seq+1
		e.history.Prepend(st, e.Now(), e.clockOffset(), f.First, before, f.Frames, closed)
	}
	e.wakeAwaiting(st.Name())
}

// wakeAwaiting has those who wait for a topic look again.
func (e *Engine) wakeAwaiting(name string) {
	a := &e.awaited
	a.mu.Lock()
	w := a.topics[name]
	delete(a.topics, name)
	a.mu.Unlock()
	if w == nil {
		return
	}
	for i, l := range e.loops {
		if w.loops[i/64]&(1<<(i%64)) != 0 {
			l.mailbox.postTell(tell{fn: func(*Conn) { l.answered(name) }})
		}
	}
}

// wakeAllAwaiting does so with those who wait for any topic.
func (e *Engine) wakeAllAwaiting() {
	a := &e.awaited
	a.mu.Lock()
	names := slices.Sorted(maps.Keys(a.topics))
	a.mu.Unlock()
	for _, name := range names {
		e.wakeAwaiting(name)
	}
}

// answered has the loop's subscribers who wait for a topic look again.
func (l *Loop) answered(name string) {
	k := &l.catching
	list := k.waiting[name]
	delete(k.waiting, name)
	l.accounts.add(KindTopics, -waitSize*int64(len(list)))
	for _, j := range slices.SortedFunc(maps.Keys(list), func(a, b join) int {
		return cmp.Or(cmp.Compare(a.slot, b.slot), cmp.Compare(a.topic, b.topic))
	}) {
		k.by[j].waiting = false
		l.catchSoon(j.slot)
	}
}

// placed finds out where u goes on in its history. It reports false when it has to wait for that.
func (l *Loop) placed(u *catchup) bool {
	e, st := l.engine, u.stream
	if u.start == atNext && u.epoch == st.Epoch() && st.Begun() {
		return true
	}
	if !st.Begun() {
		l.awaitBegin(u)
		return false
	}
	if u.start == atTail {
		upTo := u.upTo
		if u.epoch != st.Epoch() {
			// If it began in another log, the rest of that is gone.
			upTo, u.lost = st.Began(), u.lost || u.epoch > 0
		}
		from, open := e.history.Tail(st, u.tail, upTo, e.Now())
		if open && u.asked < mostAsked {
			u.asked++
			first, _ := e.history.Range(st, e.Now())
			l.awaitOlder(u, topic.Position{}, first)
			return false
		}
		u.next = from
	} else {
		u.next, u.lost = 1, true
	}
	u.start, u.epoch, u.since = atNext, st.Epoch(), 0
	return true
}

// markMargin is how many ms it may take at most, while there is a connection to the log, until a
// message that was published is here.
const markMargin = 5000

// markedAt is the Mark.At of who has had everything that is here.
func (e *Engine) markedAt() int64 {
	log := e.config.Log
	if log == nil || log.Away() != nil {
		return 0
	}
	return log.Now().Add(-markMargin * time.Millisecond).UnixMilli()
}
