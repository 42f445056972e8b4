package cluster

import (
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// What nodes have to agree on goes by one clock, that of the NATS server that keeps their leases: whose
// login came later, and how old a message of a topic with history is. Each renewal tells a node what that
// clock says: the server dates it between its being sent and its answer. From then on time passes as the
// process measures it, so that nobody who sets the node's clock changes that.

const (
	// clockMargin is by how much the node's clock may be off before an operator is told, and by how much
	// those of NATS servers may differ before it is not seen that messages are gone.
	clockMargin = 5 * time.Second
	// clockWrites is of how many renewals the dates are awaited.
	clockWrites = 4
)

// A clock tells the time by NATS's clock; until that is known, by the node's.
type clock struct {
	wall  func() time.Time // the node's
	log   *slog.Logger
	begun time.Time // by what measures the time that passes,
	base  time.Time // and by the node's clock

	mu     sync.Mutex
	writes [clockWrites]datedWrite // the last ones
	next   int                     // the oldest of writes
	ahead  time.Duration           // of NATS's clock, when the node's has gone on from base as time has passed
	off    time.Duration           // of the node's clock: it is ahead of NATS's
	told   bool                    // that it is
}

// A datedWrite is a renewal and the server's date of it, whichever is known first.
type datedWrite struct {
	revision    uint64
	sent, ended reading
	at          time.Time
}

// A reading is what both clocks of a node said.
type reading struct {
	wall   time.Time
	passed time.Duration // since begun
}

func newClock(c *Config) *clock {
	k := &clock{wall: c.wall, log: c.logger(), begun: time.Now()}
	if k.wall == nil {
		k.wall = time.Now
	}
	k.base = k.wall().Round(0)
	return k
}

// now is what NATS's clock says.
func (k *clock) now() time.Time {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.base.Add(time.Since(k.begun) + k.ahead)
}

// offset is by how much the node's clock is ahead of NATS's.
func (k *clock) offset() time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.off
}

func (k *clock) read() reading { return reading{k.wall().Round(0), time.Since(k.begun)} }

// wrote notes that a renewal that was sent when the clocks said so has been answered.
func (k *clock) wrote(revision uint64, sent reading) {
	k.note(revision, func(w *datedWrite) { w.sent, w.ended = sent, k.read() })
}

// dated notes when the server has written a renewal.
func (k *clock) dated(revision uint64, at time.Time) {
	k.note(revision, func(w *datedWrite) { w.at = at })
}

func (k *clock) note(revision uint64, set func(*datedWrite)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	var w *datedWrite
	for i := range k.writes {
		if k.writes[i].revision == revision {
			w = &k.writes[i]
		}
	}
	if w == nil {
		w = &k.writes[k.next]
		k.next = (k.next + 1) % clockWrites
		*w = datedWrite{revision: revision}
	}
	set(w)
	if w.ended.wall.IsZero() || w.at.IsZero() {
		return
	}
	k.ahead = between(k.ahead, w.at.Sub(k.base.Add(w.ended.passed)), w.at.Sub(k.base.Add(w.sent.passed)))
	k.off = between(k.off, w.sent.wall.Sub(w.at), w.ended.wall.Sub(w.at))
	w.at = time.Time{} // each once
	was := k.told
	k.told = k.off.Abs() > clockMargin
	switch {
	case k.told && !was:
		k.log.Warn("this machine's clock, or that of the NATS server, is wrong: sessions may end early, or not move", "off", offText(k.off))
	case !k.told && was:
		k.log.Info("this machine's clock agrees with that of the NATS server again")
	}
}

// between returns what of the values from least to most is next to d.
func between(d, least, most time.Duration) time.Duration { return max(min(d, most), min(least, most)) }

// status is a line for people, empty when nothing is wrong.
func (k *clock) status() string {
	if off := k.offset(); off.Abs() > clockMargin {
		return "clock: " + offText(off)
	}
	return ""
}

func offText(off time.Duration) string {
	side := "ahead of"
	if off < 0 {
		side = "behind"
	}
	return fmt.Sprintf("%v %s NATS's", off.Abs().Round(time.Second), side)
}
