package engine

import (
	"sync"
	"sync/atomic"

	"github.com/sluicenet/sluice/topic"
)

// Where a topic's history begins anew, each loop hears of it in its turn, behind what was published
// before. Until then its subscribers are where they were in the history before.

// restarts are those that loops have yet to hear of.
type restarts struct {
	number atomic.Int32
	mu     sync.Mutex
	by     map[restartOf]*restart
}

type restartOf struct {
	loop int
	name string
}

type restart struct {
	from *topic.Stream // what the loop knows of the topic; nil: nothing
	lost bool
	left int // messages that the loop has yet to handle
}

// begin notes that a loop will hear of one. It is called before the loop can.
func (r *restarts) begin(l *Loop, name string, from *topic.Stream, lost bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := restartOf{l.index, name}
	s := r.by[key]
	if s == nil {
		if r.by == nil {
			r.by = make(map[restartOf]*restart)
		}
		s = &restart{from: from}
		r.by[key] = s
		r.number.Add(1)
	}
	s.lost = s.lost || lost
	s.left++
}

// end is called when the loop hears of it.
func (r *restarts) end(l *Loop, name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := restartOf{l.index, name}
	s := r.by[key]
	if s == nil {
		return
	}
	if s.left--; s.left == 0 {
		delete(r.by, key)
		r.number.Add(-1)
	}
}

// place returns where a loop's subscribers of a topic are that it has yet to hear of a restart of;
// ok is false when there is none. The zero Position says that they lack something.
func (r *restarts) place(l *Loop, name string) (at topic.Position, ok bool) {
	if r.number.Load() == 0 {
		return at, false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.by[restartOf{l.index, name}]
	switch {
	case s == nil:
		return at, false
	case s.from != nil && s.from.Begun():
		return topic.Position{Epoch: s.from.Epoch(), Seq: s.from.Heard(l.index)}, true
	}
	return at, s.lost
}

// restart has the subscribers of a topic go on with another history than before, or with this one when
// some of it is lost.
func (l *Loop) restart(key topic.Key, old, st *topic.Stream, lost bool) {
	next := st.Heard(l.index) + 1
	switch {
	case old == nil || !old.Begun():
	case old.Epoch() == st.Epoch() && fault != 112:
		next = old.Heard(l.index) + 1
	case fault == 112:
	default:
		next = 1
	}
	for _, s := range l.shard.Subscribers(key) {
		c := l.at(s.Slot)
		if u := l.catching.by[join{s.Slot, key.ID}]; u == nil {
			l.catchFrom(c, key.ID, st, next).lost = lost
		} else if u.stream != st || lost && old == nil {
			u.lost = u.lost || lost
			l.catchSoon(s.Slot)
		}
	}
}
