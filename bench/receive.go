package bench

import (
	"fmt"

	"github.com/sluicenet/sluice/bench/reactor"
	"github.com/sluicenet/sluice/bench/stamp"
	"github.com/sluicenet/sluice/bench/wire"
)

// Readable is the reactor's.
func (w *worker) Readable(s *reactor.Socket, b []byte, now int64) (n int, err error) {
	c := &w.conns[s.Data]
	w.count.BytesIn += uint64(len(b)) // what was left over counts again; corrected below
	hears := w.next != nil && c.role == roleMember
	driver := w.driverOf(c)
	for {
		if hears && c.peer.Between() {
			n += w.skim(c, b[n:], now)
		}
		ev := &w.ev
		*ev = wire.Event{BodyAt: -1}
		used, err := driver.Next(&c.peer, b[n:], ev)
		if err != nil {
			return n, err
		}
		if used == 0 {
			w.count.BytesIn -= uint64(len(b) - n)
			return n, nil
		}
		if ev.Kind == wire.Push && hears {
			w.push(c, b[n:n+used], ev, now)
		} else if err := w.event(c, ev, now); err != nil {
			return n, err
		}
		if n += used; !s.Open() || n == len(b) {
			return n, nil
		}
	}
}

// skim counts the deliveries in front of b that look like earlier ones, and reports the bytes they
// take.
func (w *worker) skim(c *conn, b []byte, now int64) (n int) {
	for {
		st, ok := w.skimmer.Skim(b[n:])
		if !ok {
			return n
		}
		n += w.skimmer.Size()
		more := w.skimmer.Run(b[n:], st)
		w.deliver(c, st, more, now)
		n += more * w.skimmer.Size()
	}
}

// push counts a delivery the long way.
func (w *worker) push(c *conn, packet []byte, ev *wire.Event, now int64) {
	at := w.stampAt
	if len(ev.Body) < at {
		return
	}
	st, ok := stamp.Read(ev.Body[at:])
	if !ok {
		return // not ours
	}
	w.deliver(c, st, 0, now)
	if ev.BodyAt >= 0 && c.peer.Between() {
		w.skimmer.Learn(packet, ev.BodyAt+at, st)
	}
}

// deliver checks that a message is the one expected from its publisher, and takes its time. So many
// more follow it without a gap, due when it was.
func (w *worker) deliver(c *conn, st stamp.Stamp, more int, now int64) {
	pub := stamp.Publisher(st.ID)
	if pub >= w.Publishers {
		w.count.Late += 1 + uint64(more)
		return
	}
	want := &w.next[c.next+pub]
	if st.ID != *want {
		for ; !w.irregular(c, *want, st.ID); more-- {
			if more == 0 {
				return
			}
			st.ID = stamp.Next(st.ID)
		}
	}
	n := 1 + more
	*want = stamp.ID(pub, st.ID+uint32(n))
	if w.aside {
		w.count.Heard += uint64(n)
		return
	}
	w.count.Delivered += uint64(n)
	if st.HasDue {
		since := int64(stamp.Ticks(now)-st.Due) * 100
		if due := now - since; due >= w.from && due < w.to {
			w.latency.RecordN(since, int64(n))
			if st.HasLag {
				w.raw.RecordN(since-int64(st.Lag)*100, int64(n))
			}
		}
	}
}

// irregular is a message other than the expected one. It reports whether to count it as delivered.
func (w *worker) irregular(c *conn, want, got uint32) bool {
	if c.joining { // in the middle of things: whatever comes first is first
		c.joining = false
		return true
	}
	gap := stamp.Ahead(got, want)
	if gap < 0 {
		w.count.Late++
		return false
	}
	if w.aside {
		w.count.Missed += uint64(gap)
	} else {
		w.count.Lost += uint64(gap)
	}
	return true
}

// expectFirst prepares for the first message of every publisher.
func (w *worker) expectFirst(c *conn) {
	for p := range w.Publishers {
		w.next[c.next+p] = stamp.ID(p, 0)
	}
}

// event handles everything but deliveries.
func (w *worker) event(c *conn, ev *wire.Event, now int64) error {
	switch ev.Kind {
	case wire.Open:
		if c.phase == phaseOpening {
			w.login(c)
		}
	case wire.LoggedIn:
		if ev.Session != "" {
			c.peer.Session = ev.Session
		}
		if c.phase == phaseLogin {
			w.loggedIn(c)
		}
	case wire.SessionKey:
		c.peer.Session = ev.Session
		if c.phase == phaseSession {
			w.subscribe(c)
		}
	case wire.Refused:
		return fmt.Errorf("refused: %s (%d)", ev.Text, ev.Code)
	case wire.Goodbye:
		return fmt.Errorf("goodbye: %s (%d)", ev.Text, ev.Code)
	case wire.Ping:
		c.sock.Extend(func(out []byte) []byte { return w.driverOf(c).AppendPong(out, &c.peer, ev.Body) })
	case wire.Enlisted:
		c.group = int(ev.ID) % w.groups
		w.enlisted++
	case wire.List:
		w.enlist(c, ev.List)
	case wire.Reply:
		return w.answer(c, ev, now)
	}
	return nil
}

func (w *worker) answer(c *conn, ev *wire.Event, now int64) error {
	if c.phase == phaseReady {
		w.behaviour.reply(c, ev, now)
		return nil
	}
	if c.phase != phaseSubscribing {
		return fmt.Errorf("answer during %s", c.phase)
	}
	if !ev.OK {
		return fmt.Errorf("subscription refused: %.200s", ev.Body)
	}
	if c.pending--; c.pending == 0 {
		w.up(c)
	}
	return nil
}
