package engine

import "time"

// Visit runs fn on a loop, 0 to Loops-1, as Tell does.
func (e *Engine) Visit(i int, fn func(*Loop)) bool {
	l := e.loops[i]
	return l.mailbox.postTell(tell{fn: func(*Conn) { fn(l) }})
}

// maxWalk is how many slots a walk looks at, in use or not: less than 200 µs of a loop's time.
const maxWalk = 16 << 10

// Walk calls f for the loop's open connections in the order of their slots, from a slot on, until f
// returns false or the walk has taken long enough. It returns the slot to go on from, and whether
// there are more. Who walks from 0 to the end, slice by slice, meets each connection once that stays.
func (l *Loop) Walk(from uint32, f func(*Conn) bool) (next uint32, more bool) {
	end := uint32(len(l.chunks) * chunkSize)
	for next = from; next < end && next-from < maxWalk; {
		c := l.at(next)
		next++
		if c.Open() && !f(c) {
			break
		}
	}
	return next, next < end
}

// A LoopReport is how a loop is doing.
type LoopReport struct {
	Connections int           // open
	Clients     int           // of them, those that broadcasts reach
	Watched     int           // whose sockets are full, or were a moment ago
	Congested   int           // of them, those that publishers may have to wait for
	Mailbox     int           // messages that wait for the loop
	MailBytes   int           // their bytes
	Tells       int           // functions that wait for it
	Dirty       int           // connections that wait to be sent to
	Deferred    int           // publishes of its clients that wait
	Turns       uint64        // so far
	TurnTime    time.Duration // of all of them together
	LongestTurn time.Duration // since the start
	// TurnsBelow counts turns by their length: at most TurnBounds[i], and longer than the one before;
	// the last are longer than all.
	TurnsBelow [len(TurnBounds) + 1]uint64
}

// TurnBounds are the bounds of LoopReport.TurnsBelow.
var TurnBounds = [...]time.Duration{
	50 * time.Microsecond, 100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond, time.Millisecond,
	2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond,
}

// Report says how the loop is doing. It is called there, as by Visit.
func (l *Loop) Report() LoopReport {
	l.mailbox.mu.Lock()
	tells := len(l.mailbox.tells)
	l.mailbox.mu.Unlock()
	r := LoopReport{
		Connections: int(l.stats.open.Load()), Clients: int(l.stats.allClients.Load()),
		Watched: len(l.pressure.watched), Mailbox: int(l.mailbox.length.Load()), MailBytes: int(l.mailbox.bytes.Load()),
		Tells: tells, Dirty: len(l.output.dirty), Deferred: len(l.deferred.list),
	}
	for _, slot := range l.pressure.watched {
		if l.at(slot).flags&flagCongested != 0 {
			r.Congested++
		}
	}
	r.Turns, r.TurnTime, r.LongestTurn, r.TurnsBelow = l.stats.turns.read()
	return r
}

// Turns returns how long the turns of all loops were; see LoopReport. Any goroutine may call it.
func (e *Engine) Turns() (turns uint64, total, longest time.Duration, below [len(TurnBounds) + 1]uint64) {
	for _, l := range e.loops {
		n, t, most, b := l.stats.turns.read()
		turns, total, longest = turns+n, total+t, max(longest, most)
		for i := range b {
			below[i] += b[i]
		}
	}
	return turns, total, longest, below
}
