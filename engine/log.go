package engine

import (
	"time"

	"github.com/sluicenet/sluice/topic"
)

// A Log keeps the messages of topics with history in one order for several gateways: with Config.Log
// nobody here gives out numbers. What is published to such a topic goes to the Log, and to nobody else;
// it reaches subscribers, those here included, when it comes back through a Replica. Methods are called
// by loops and by others. They must neither block nor call the engine back, but on goroutines of the
// Log's own, and must be safe for concurrent use.
type Log interface {
	// Append adds n records of topic.AppendRecord, one behind the other, to a topic. Both slices are
	// borrowed. done, which may be nil, is called once, on any goroutine: with the position behind the
	// last record, or with the error because of which they were not added, as far as is known. Calls
	// for one topic by one Publisher are in the order of its messages.
	Append(name, records []byte, n int, done func(topic.Position, error))
	// Full reports whether messages to a topic must wait. It becomes false by itself within a bounded
	// time. name is borrowed.
	Full(name []byte) bool
	// Away is not nil while nothing can be added: a publish to a topic with history is refused with it.
	Away() error
	// Now is what the clock says by which the times of Frames and Marks go. It may differ from
	// Engine.Time, and nobody sets it.
	Now() time.Time
	// Fetch asks for what is kept of a topic behind a position and below number before, 0: all. With
	// another epoch than the Log's, or with the zero position, that is all that is kept. since is the
	// Mark.At of the position, 0: not known. done is called once, on any goroutine; an error says that
	// there will be no answer. It is not given up while the Log cannot be reached.
	Fetch(name string, after topic.Position, since int64, before uint64, done func(Fill, error))
}

// A LogError says why a message is not in its topic's history, and went to nobody.
type LogError struct{ Err error }

// Error implements error.
func (e *LogError) Error() string {
	return "engine: the topic's history cannot take it: " + e.Err.Error()
}

// Unwrap returns what the Log has said.
func (e *LogError) Unwrap() error { return e.Err }

// logged is the Log's answer to Append.
type logged struct {
	at  topic.Position
	err error
}

// refused says, and counts, that nothing can be added to the log now.
func (pb *Publisher) refused() error {
	err := pb.engine.config.Log.Away()
	if err == nil {
		return nil
	}
	pb.stats().dropped[DropHistoryAway].Add(1)
	return &LogError{err}
}

// A Fill is a stretch of a topic's messages, as a Log has them.
type Fill struct {
	Epoch uint64
	// First and Last are bounds: the stretch is complete from number First on, and up to Last. Messages
	// behind the position that was asked for are gone for good if First is greater than the next
	// number, or the epoch another.
	First, Last uint64
	Frames      []Frame // in order
}

// frameNumbers is how many numbers there are for a Frame: its last message has the last of them.
const frameNumbers = 4096

// A Frame is messages that were added to a Log together.
type Frame = topic.Frame

// A Replica takes what a Log keeps to the histories and subscribers here. Only one goroutine may
// use it, which waits for room in the mailboxes, so that memory is bounded, and never for
// subscribers.
type Replica struct{ pb Publisher }

// NewReplica makes a Replica, for an Engine with Config.Log.
func (e *Engine) NewReplica() *Replica {
	return &Replica{Publisher{engine: e, local: true, roomOnly: true}}
}

// Publish takes a frame to a topic's history and subscribers. prev is the number behind the topic's
// frame before this one, 0: there is none any more, and the frame is taken to follow what is here. When
// the history here does not reach up to prev, or has not begun, nothing is done, and ok is false. A
// frame that the history has had, or its beginning is behind, is done already. Messages of a topic
// without history here go to its subscribers as those of other topics do.
//
// The error is topic.ErrRecord when the frame cannot be read: it is left out, and the history goes on
// behind it; or ErrStopped.
func (r *Replica) Publish(name []byte, epoch, prev uint64, f Frame) (ok bool, err error) {
	pb := &r.pb
	e := pb.engine
	n, whole := f.Count()
	st := e.streamOf(name)
	if st != nil {
		if st.Epoch() != epoch {
			return false, nil
		}
		switch last := e.history.Last(st); {
		case f.Seq <= last:
			return true, nil
		case prev > last:
			return false, nil
		case !whole || uint64(n) > f.Seq-last:
			st.Lock()
			e.history.Skip(st, f.Seq)
			st.Unlock()
			return true, topic.ErrRecord
		}
	} else if !whole {
		return true, topic.ErrRecord
	}
	to := audience{kind: subscribersOf, name: name, stream: st, asked: e.Now()}
	to.key, _ = e.topics.Lookup(name)
	at := e.onClock(f.At)
	var m topic.Message
	for number, rest := f.Seq-uint64(n)+1, f.Records; len(rest) > 0; {
		var run *run
		for len(rest) > 0 {
			size, _ := m.Read(rest)
			p := Push{Route: m.Route, Cmd: m.Cmd, Payload: m.Payload}
			if run == nil {
				run = pb.newRun(&to, p)
			} else if run.bytes+estimate(p) > e.maxRun {
				break
			} else {
				pb.append(run, p)
			}
			rest = rest[size:]
		}
		run.first, run.at = number, at
		number += uint64(run.messages)
		pb.stats().publishes.Add(uint64(run.messages))
		if err := pb.begin(run); err != nil {
			return true, err
		}
		pb.Flush()
	}
	return true, nil
}

// onClock returns a time by the Log's clock, in unix ms, on the engine's.
func (e *Engine) onClock(at int64) int64 { return at + e.clockOffset() }

// clockOffset is what is to be added to unix ms by the Log's clock for the engine's.
func (e *Engine) clockOffset() int64 { return e.Now() - e.config.Log.Now().UnixMilli() }

// Begin has the history of a topic begin behind a position: what comes from then on is kept, and older
// messages are asked for when somebody wants them. One that reaches up to there goes on. One that does
// not begins anew; those who are subscribed get what is between, and are told where it is gone for
// good. lost says that it is. The error is ErrStopped.
func (r *Replica) Begin(name []byte, at topic.Position, lost bool) error {
	e := r.pb.engine
	if e.stopping.Load() {
		return ErrStopped
	}
	st, old := e.history.Begin(name, at, e.Now())
	if st == nil { // no history, by the rules here or for want of room
		e.wakeAwaiting(string(name))
		return nil
	}
	var asleep [maxLoops / 64]uint64
	if lost || old != nil && old.Begun() {
		key, _ := e.topics.Lookup(name)
		for i, l := range e.loops {
			if e.topics.Subscribers(key, i) == 0 {
				continue
			}
			e.restarts.begin(l, string(name), old, lost)
			_, sleeps := l.mailbox.add(message{fn: func(l *Loop) {
				e.restarts.end(l, st.Name())
				l.restart(key, old, st, lost)
			}})
			if sleeps {
				asleep[i/64] |= 1 << (i % 64)
			}
		}
	}
	st.Unlock()
	for i, l := range e.loops {
		if asleep[i/64]&(1<<(i%64)) != 0 {
			l.mailbox.wake()
		}
	}
	e.wakeAwaiting(string(name))
	return nil
}

// End forgets the history of a topic that is not heard any more, unless it has subscribers again.
func (r *Replica) End(name []byte) {
	e := r.pb.engine
	st := e.history.Find(name)
	if st == nil {
		return
	}
	st.Lock()
	defer st.Unlock()
	if _, here := e.topics.Lookup(name); !here {
		e.history.End(st)
	}
}

// Last returns the position up to which a topic's history has been given everything; ok is false
// when it has not begun.
func (r *Replica) Last(name []byte) (at topic.Position, ok bool) {
	st := r.pb.engine.history.Find(name)
	if st == nil || !st.Begun() {
		return at, false
	}
	return topic.Position{Epoch: st.Epoch(), Seq: r.pb.engine.history.Last(st)}, true
}
