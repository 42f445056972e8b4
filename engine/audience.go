package engine

import (
	"slices"

	"github.com/sluicenet/sluice/topic"
)

// An audience is whom a run is for: a topic's subscribers, every client, or the connections listed.
type audience struct {
	kind audienceKind
	key  topic.Key
	name []byte // of the topic
	// stream is the topic's history, nil if it has none.
	stream *topic.Stream
	refs   []Ref // the connections listed, of all loops
	// asked is when it was found out who it is, in ms on the engine's clock.
	asked int64
	// remote says that the topic may have subscribers elsewhere; changes is Remote.Changes of before
	// it was found out.
	remote  bool
	changes uint64
	// logged says that Config.Log gets the messages, of a topic with history, and nobody else.
	logged bool
}

type audienceKind uint8

const (
	subscribersOf audienceKind = iota
	everyClient
	theseConns
)

const (
	refSize = 8 // bytes
	// maxKeptRefs bounds the room for a list that a pooled run keeps: 32 KiB.
	maxKeptRefs = 4096
)

// set makes a the audience that of is, with memory of its own.
func (a *audience) set(of *audience) {
	if cap(a.refs) > maxKeptRefs {
		a.refs = nil
	}
	a.kind, a.key, a.stream, a.asked = of.kind, of.key, of.stream, of.asked
	a.remote, a.changes, a.logged = of.remote, of.changes, of.logged
	a.name, a.refs = append(a.name[:0], of.name...), append(a.refs[:0], of.refs...)
}

// extends reports whether a run for b may take a further message for a. A list may name a connection
// twice, which gets the one message twice before the next.
func (a *audience) extends(b *audience) bool {
	return a.kind == b.kind && a.kind != theseConns && string(a.name) == string(b.name)
}

// live reports whether anybody may still be there.
func (e *Engine) live(a *audience) bool { return a.kind != subscribersOf || e.topics.Live(a.key) }

// dialects returns the set of wire dialects (bit n: dialect n) that a may speak.
func (e *Engine) dialects(a *audience) (mask uint32) {
	if a.logged {
		return 0 // it is encoded when it comes back
	}
	if a.kind == subscribersOf {
		return e.topics.Dialects(a.key)
	}
	for _, l := range e.loops {
		for d := range e.config.Dialects {
			if l.stats.clients[d].Load() > 0 {
				mask |= 1 << d
			}
		}
	}
	return mask
}

// reaches reports whether somebody of a is on l.
func (l *Loop) reaches(a *audience) bool {
	switch a.kind {
	case subscribersOf:
		return l.engine.topics.Subscribers(a.key, l.index) > 0
	case theseConns:
		return slices.ContainsFunc(a.refs, func(ref Ref) bool { return ref.loop() == l.index })
	}
	return true
}

// receivers returns how many of a are on l.
func (l *Loop) receivers(a *audience) (n int) {
	switch a.kind {
	case subscribersOf:
		return l.engine.topics.Subscribers(a.key, l.index)
	case everyClient:
		return int(l.stats.allClients.Load())
	}
	for _, ref := range a.refs {
		if ref.loop() == l.index {
			n++
		}
	}
	return n
}

// eachOf calls f for each connection of a on l. position is the message's in the mailbox, 0 for the
// loop's own: those who have subscribed behind it do not get it.
func (l *Loop) eachOf(a *audience, position uint64, f func(*Conn)) {
	switch a.kind {
	case subscribersOf:
		for _, s := range l.shard.Subscribers(a.key) {
			if s.Fresh() {
				if l.catching.has(s.Slot, a.key.ID) && fault != 106 {
					l.catchSoon(s.Slot)
					continue
				}
				if l.joins.behind(s.Slot, a.key.ID, position) {
					continue
				}
			}
			f(l.at(s.Slot))
		}
	case everyClient:
		l.Each(f)
	case theseConns:
		for _, ref := range a.refs {
			if ref.loop() != l.index {
				continue
			}
			if c := l.Conn(ref); c != nil && c.flags&flagClient != 0 {
				f(c)
			} else {
				l.stats.dropped[DropNotConnected].Add(1)
			}
		}
	}
}
