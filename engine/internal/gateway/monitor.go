package gateway

import (
	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/session"
)

// What operators look at.

// Sessions returns what is known of sessions that can be resumed; see session.Store.List. Any
// goroutine may call it.
func (g *Gateway) Sessions(after session.SessionID, limit int, match func(*session.Listed) bool) []session.Listed {
	return g.sessions.List(after, limit, match)
}

// Session returns what is known of a session that can be resumed, and what is kept for its client;
// ok is false if nothing is. Any goroutine may call it.
func (g *Gateway) Session(id session.SessionID) (l session.Listed, kept session.Snapshot, ok bool) {
	return g.sessions.Describe(id)
}

// SessionEnded reports whether a session was ended before its time, as far as that is remembered. Any
// goroutine may call it.
func (g *Gateway) SessionEnded(id session.SessionID) bool { return g.sessions.Ended(id) }

// EndSession has the tickets of a session refused from now on, whether it is known here or not. holder
// is the connection that has it, 0 if none has; the caller closes it. Any goroutine may call it.
func (g *Gateway) EndSession(id session.SessionID) (holder engine.Ref, known bool) {
	ref, known := g.sessions.End(g.now(), id)
	g.chargeSessions()
	return engine.Ref(ref), known
}

// Pending returns the number of the client's requests that wait for an answer, on its loop.
func (cl *Client) Pending() int {
	if cl.extra == nil {
		return 0
	}
	return int(cl.extra.pending.open)
}

// Resumable reports whether the client's session can be resumed.
func (cl *Client) Resumable() bool { return cl.extra != nil && cl.extra.resumable }

// LatencyBounds are the bounds of Latency.Counts, in ms.
var LatencyBounds = [...]uint32{1, 2, 5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000}

// A Latency says how long requests waited for their answers. Counts[i] of them waited at most
// LatencyBounds[i] and longer than the bound before; the last longer than all.
type Latency struct {
	Counts [len(LatencyBounds) + 1]uint64
	Sum    uint64 // ms
}

func (l *Latency) note(ms uint32) {
	i := 0
	for i < len(LatencyBounds) && ms > LatencyBounds[i] {
		i++
	}
	l.Counts[i]++
	l.Sum += uint64(ms)
}

// Add adds what another has counted.
func (l *Latency) Add(other *Latency) {
	for i, n := range other.Counts {
		l.Counts[i] += n
	}
	l.Sum += other.Sum
}

// Requests returns how many requests were answered.
func (l *Latency) Requests() (n uint64) {
	for _, c := range l.Counts {
		n += c
	}
	return n
}

// latencies are a loop's: of all requests that somebody has answered, and of those that each of the
// present links has.
type latencies struct {
	all    Latency
	link   map[uint32]*Latency
	last   *Latency // of the link that has answered last, lastOf
	lastOf uint32
}

func (t *latencies) note(link uint32, ms uint32) {
	t.all.note(ms)
	if link == 0 {
		return
	}
	if link != t.lastOf {
		t.last, t.lastOf = t.of(link), link
	}
	t.last.note(ms)
}

func (t *latencies) of(link uint32) *Latency {
	l := t.link[link]
	if l == nil {
		if t.link == nil {
			t.link = make(map[uint32]*Latency)
		}
		l = new(Latency)
		t.link[link] = l
	}
	return l
}

// forget lets go of a link that has ended.
func (t *latencies) forget(link uint32) {
	delete(t.link, link)
	t.last, t.lastOf = nil, 0
}

// Latencies adds how long the requests of l's clients waited, all of them and, by their numbers, those
// that links have answered. It is called on l.
func (g *Gateway) Latencies(l *engine.Loop, all *Latency, links map[uint32]*Latency) {
	t := &g.scratch[l.Index()].latencies
	all.Add(&t.all)
	for id, one := range t.link {
		if links[id] == nil {
			links[id] = new(Latency)
		}
		links[id].Add(one)
	}
}
