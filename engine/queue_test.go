package engine

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/panjf2000/gnet/v2"
)

// bareLoop makes the first loop of an engine that was not started: no sockets, no goroutines.
func bareLoop(t testing.TB, config Config) *Loop {
	t.Helper()
	if config.Loops == 0 {
		config.Loops = 1
	}
	if config.Dialects == nil {
		config.Dialects = []Dialect{lineDialect}
	}
	e, err := New(config)
	if err != nil {
		t.Fatal(err)
	}
	empty := []*listener{{engine: e}}
	e.listeners.Store(&empty)
	for _, l := range e.loops {
		l.gnet = noSockets{}
		t.Cleanup(l.isolation.end)
	}
	return e.loops[0]
}

// noSockets stands for gnet's loop where there are no sockets to close.
type noSockets struct{ gnet.EventLoop }

func (noSockets) Close(gnet.Conn) error { return nil }

// bareConn makes an open connection without a socket: what it queues stays queued.
func bareConn(t testing.TB, l *Loop, dialect uint8) *Conn {
	t.Helper()
	c, ok := l.allocate()
	if !ok {
		t.Fatal("no slot")
	}
	c.state = stateOpen
	c.handler = &lineHandler{}
	c.SetDialect(dialect)
	return c
}

// A queueModel is a connection's queue as a list of byte strings.
type queueModel struct {
	c       *Conn
	entries []modelEntry
	partial bool
}

type modelEntry struct {
	bytes    []byte
	messages int
	push     bool // may be dropped
}

func (m *queueModel) bytes() (all []byte) {
	for _, e := range m.entries {
		all = append(all, e.bytes...)
	}
	return all
}

func (m *queueModel) drop() (messages int) {
	messages = m.entries[0].messages
	m.entries = m.entries[1:]
	m.partial = false
	return messages
}

func (m *queueModel) advance(n int) {
	for n > 0 {
		if e := &m.entries[0]; n < len(e.bytes) {
			e.bytes = e.bytes[n:]
			m.partial = true
			return
		}
		n -= len(m.entries[0].bytes)
		m.drop()
	}
}

func (m *queueModel) dropOldest(want int) (messages int) {
	for i := 0; i < len(m.entries) && len(m.bytes()) > want; {
		if e := m.entries[i]; !e.push || i == 0 && m.partial {
			i++
		} else {
			messages += e.messages
			m.entries = slices.Delete(slices.Clone(m.entries), i, i+1)
		}
	}
	return messages
}

// check compares the queue, its counters and what would be sent next with the model.
func (m *queueModel) check(t *testing.T) {
	t.Helper()
	var got []modelEntry
	add := func(e entry) {
		if e.ref == nil || e.ref.refs <= 0 {
			t.Fatalf("queued entry %+v has no hold", e)
		}
		got = append(got, modelEntry{bytes: e.ref.block.data[e.off:e.end], messages: int(e.messages)})
	}
	c := m.c
	if c.first.ref != nil {
		add(c.first)
	}
	if b := c.queue; b != nil {
		if c.first.ref == nil && b.head < len(b.entries) {
			t.Fatal("entries behind an empty front")
		}
		for _, e := range b.entries[b.head:] {
			add(e)
		}
		for i, e := range b.entries[:b.head] {
			if e.ref != nil {
				t.Fatalf("entry %d, which is gone, keeps its hold", i)
			}
		}
	}
	if len(got) != len(m.entries) {
		t.Fatalf("%d entries, want %d", len(got), len(m.entries))
	}
	for i, e := range m.entries {
		if !bytes.Equal(got[i].bytes, e.bytes) || got[i].messages != e.messages {
			t.Fatalf("entry %d: %d bytes, %d messages; want %d, %d, or the bytes differ", i, len(got[i].bytes), got[i].messages, len(e.bytes), e.messages)
		}
	}
	all := m.bytes()
	if int(c.unsent()) != len(all) {
		t.Fatalf("queued = %d, want %d", c.unsent(), len(all))
	}
	if partial := c.flags&flagPartial != 0; partial != m.partial {
		t.Fatalf("partial = %v, want %v", partial, m.partial)
	}
	if len(m.entries) > 0 {
		if p := c.loop.gather(c, scratchSize); len(p) == 0 || !bytes.HasPrefix(all, p) {
			t.Fatalf("would send %d bytes that are not the next ones of %d", len(p), len(all))
		}
		if last := c.last(); int(last.end-last.off) != len(m.entries[len(m.entries)-1].bytes) {
			t.Fatalf("last has %d bytes, want %d", last.end-last.off, len(m.entries[len(m.entries)-1].bytes))
		}
	} else if c.last() != nil {
		t.Fatal("an empty queue has a last entry")
	}
}

func TestQueueAgainstModel(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			rnd := rand.New(rand.NewPCG(seed, 8))
			l := bareLoop(t, Config{Backlog: 1 << 30})
			models := make([]*queueModel, 4)
			for i := range models {
				models[i] = &queueModel{c: bareConn(t, l, 0)}
			}
			random := func(n int) []byte {
				p := make([]byte, n)
				for i := range p {
					p[i] = byte(rnd.Uint32())
				}
				return p
			}
			var blocks []*block
			for range 2500 {
				m := models[rnd.IntN(len(models))]
				switch n := rnd.IntN(20); {
				case n < 6: // a reply: joins the last entry while that is the connection's own
					p := random(1 + rnd.IntN(400))
					room := 0
					if last := m.c.last(); last != nil && last.ref.growing {
						room = cap(last.ref.block.data) - len(last.ref.block.data)
					}
					m.c.Write(p)
					if room >= len(p) {
						e := &m.entries[len(m.entries)-1]
						e.bytes = append(e.bytes[:len(e.bytes):len(e.bytes)], p...)
						e.messages++
					} else {
						m.entries = append(m.entries, modelEntry{bytes: p, messages: 1})
					}
				case n < 7: // a reply that outgrows the room it asked for
					p := random(1 + rnd.IntN(9000))
					before := len(m.entries)
					joins := m.c.last() != nil && m.c.last().ref.growing && cap(m.c.last().ref.block.data) > len(m.c.last().ref.block.data)
					m.c.Commit(append(m.c.Buffer(1), p...), 2)
					if joins {
						e := &m.entries[before-1]
						e.bytes = append(e.bytes[:len(e.bytes):len(e.bytes)], p...)
						e.messages += 2
					} else {
						m.entries = append(m.entries, modelEntry{bytes: p, messages: 2})
					}
				case n < 12: // a run, shared by some of the connections
					p := random(1 + rnd.IntN(8000))
					b := newBlock(len(p))
					b.data = append(b.data, p...)
					blocks = append(blocks, b)
					l.accounts.add(KindShared, int64(cap(b.data)))
					h := l.newRef(b, KindShared)
					for _, m := range models {
						if rnd.IntN(3) > 0 {
							l.enqueue(m.c, entry{ref: h, end: uint32(len(p)), messages: 5, kind: entryShared})
							m.entries = append(m.entries, modelEntry{bytes: p, messages: 5, push: true})
						}
					}
					l.releaseRef(h)
				case n < 16:
					if len(m.entries) > 0 {
						sent := 1 + rnd.IntN(len(l.gather(m.c, scratchSize)))
						m.c.advance(sent)
						m.advance(sent)
					}
				case n < 17:
					if len(m.entries) > 0 {
						m.c.pop()
						m.drop()
					}
				case n < 19:
					want := rnd.IntN(20000)
					if got, wanted := m.c.dropOldest(func() bool { return m.c.unsent() <= uint32(want) }), m.dropOldest(want); got != wanted {
						t.Fatalf("dropOldest(%d) dropped %d messages, want %d", want, got, wanted)
					}
				case rnd.IntN(5) == 0:
					messages := 0
					for _, e := range m.entries {
						messages += e.messages
					}
					if got := m.c.dropQueue(); got != messages {
						t.Fatalf("dropQueue dropped %d messages, want %d", got, messages)
					}
					m.entries, m.partial = nil, false
					m.c.returnQueue()
				}
				m.check(t)
			}
			for _, m := range models {
				m.check(t)
				m.c.dropQueue()
				m.c.returnQueue()
			}
			if l.accounts.moved != 0 {
				t.Errorf("%d bytes are still counted", l.accounts.moved)
			}
			for _, b := range blocks {
				if n := b.shared.Load(); n != 0 {
					t.Fatalf("a block is still held %d times", n)
				}
			}
		})
	}
}

// A long queue is compacted as it is sent, so that a client that is always a little behind does
// not make it grow.
func TestQueueCompaction(t *testing.T) {
	l := bareLoop(t, Config{Backlog: 1 << 30})
	m := &queueModel{c: bareConn(t, l, 0)}
	next := 0
	push := func(n int) {
		for range n {
			b := newBlock(8)
			b.data = fmt.Appendf(b.data, "%08d", next)
			l.accounts.add(KindShared, int64(cap(b.data)))
			h := l.newRef(b, KindShared)
			l.enqueue(m.c, entry{ref: h, end: 8, messages: 1, kind: entryShared})
			l.releaseRef(h)
			m.entries = append(m.entries, modelEntry{bytes: fmt.Appendf(nil, "%08d", next), messages: 1, push: true})
			next++
		}
	}
	pop := func(n int) {
		for range n {
			m.c.pop()
			m.drop()
		}
	}
	push(5000)
	for i := range 4990 {
		pop(1)
		if i%100 == 0 || i > 1020 && i < 1030 || i > 2490 && i < 2510 {
			m.check(t)
		}
	}
	widest := 0
	for range 200 { // always a little behind
		push(500)
		pop(500)
		m.check(t)
		widest = max(widest, len(m.c.queue.entries))
	}
	if widest > 8*1024 {
		t.Errorf("a queue of 10 entries keeps %d", widest)
	}
	m.advance(12)
	m.c.advance(12)
	m.check(t)
	if got, want := m.c.dropOldest(func() bool { return m.c.unsent() <= 8 }), m.dropOldest(8); got != want {
		t.Errorf("dropOldest dropped %d, want %d", got, want)
	}
	m.check(t)
	m.c.dropQueue()
	m.c.returnQueue()
	if l.accounts.moved != 0 {
		t.Errorf("%d bytes are counted", l.accounts.moved)
	}
	for _, b := range l.memory.queues {
		if cap(b.entries) > maxSpareQueueSize {
			t.Errorf("a backlog of %d entries is kept", cap(b.entries))
		}
	}
}

// Small backlogs are used again, empty.
func TestBacklogReused(t *testing.T) {
	l := bareLoop(t, Config{})
	c := bareConn(t, l, 0)
	c.Write([]byte("a"))
	b := newBlock(1)
	b.data = append(b.data, 'b')
	l.accounts.add(KindShared, int64(cap(b.data)))
	h := l.newRef(b, KindShared)
	l.enqueue(c, entry{ref: h, end: 1, messages: 1})
	l.releaseRef(h)
	c.queue.looks = 7
	c.dropQueue()
	old := c.queue
	c.returnQueue()
	d := bareConn(t, l, 0)
	if got := d.ensureQueue(); got != old || len(got.entries) != 0 || got.head != 0 || got.looks != 0 {
		t.Errorf("reused backlog %+v", got)
	}
}

// deliver has l deliver one run of the given pushes, through its own publisher.
func deliver(t *testing.T, l *Loop, topic string, payloads ...string) {
	t.Helper()
	for _, p := range payloads {
		if err := l.publisher.Publish([]byte(topic), Push{Payload: []byte(p)}); err != nil { // nobody is congested
			t.Fatal(err)
		}
	}
	l.publisher.Flush()
}

// A wire form that cannot express a push has nothing to send: no empty entry may be queued,
// which a flush could not get past.
func TestInexpressibleRunQueuesNothing(t *testing.T) {
	never := Dialect{Name: "never", Append: func(dst []byte, p Push) ([]byte, error) {
		if p.Cmd == 1 {
			return dst, fmt.Errorf("1: %w", ErrCommand)
		}
		return dst, errors.New("too long")
	}}
	l := bareLoop(t, Config{Dialects: []Dialect{lineDialect, never}})
	able, unable := bareConn(t, l, 0), bareConn(t, l, 1)
	able.Subscribe([]byte("t"))
	unable.Subscribe([]byte("t"))
	deliver(t, l, "t", "hello")
	if able.unsent() != 6 {
		t.Errorf("%d bytes for the form that can say it, want 6", able.unsent())
	}
	if unable.first.ref != nil {
		t.Errorf("an entry of %d bytes is queued for the form that cannot", unable.unsent())
	}
	if n := l.engine.Stats().Dropped[DropTooLong]; n != 1 {
		t.Errorf("%d drops counted, want 1", n)
	}
	unable.Deliver(Push{Cmd: 1})
	if st := l.engine.Stats(); st.Dropped[DropCommand] != 1 || st.Dropped[DropTooLong] != 1 {
		t.Errorf("%d drops counted for a command and %d for a length, want 1 of each", st.Dropped[DropCommand], st.Dropped[DropTooLong])
	}
	able.dropQueue()
	unable.dropQueue()
	l.settle()
	if n := l.engine.total.Load(); n != 0 {
		t.Errorf("%d bytes are still counted", n)
	}
}

// One run, two wire forms, several subscribers: each block is held until its last entry is gone.
func TestRunHeldUntilSent(t *testing.T) {
	upper := Dialect{Name: "upper", Append: func(dst []byte, p Push) ([]byte, error) {
		return append(dst, bytes.ToUpper(p.Payload)...), nil
	}}
	l := bareLoop(t, Config{Dialects: []Dialect{lineDialect, upper}})
	var conns []*Conn
	for i := range 6 {
		c := bareConn(t, l, uint8(i%2))
		c.Subscribe([]byte("t"))
		conns = append(conns, c)
	}
	deliver(t, l, "t", "a", "b", "c")
	deliver(t, l, "t", "d")
	for i, c := range conns {
		want := []string{"a\nb\nc\nd\n", "ABCD"}[i%2]
		if got := string(l.gather(c, scratchSize)); got != want {
			t.Errorf("subscriber %d: %q, want %q", i, got, want)
		}
	}
	l.settle()
	if n := l.engine.total.Load(); n != 4*1024+int64(len(conns))*2*entrySize {
		t.Errorf("%d bytes are counted, want 4 blocks and 12 entries", n)
	}
	for _, c := range conns {
		c.advance(int(c.unsent()))
	}
	l.settle()
	if n := l.engine.total.Load(); n != 0 {
		t.Errorf("%d bytes are counted for nothing", n)
	}
}

// A reply above the limit reaches a client that keeps up: the limit is looked at before a
// message is added.
func TestBigReplyToQuickReader(t *testing.T) {
	l := bareLoop(t, Config{Backlog: 64 << 10})
	c := bareConn(t, l, 0)
	calls := 0
	c.handler = &partingHandler{goodbye: func(c *Conn) {
		if calls++; calls < 5 {
			c.Write([]byte("BYE\n"))
		}
	}}
	c.Write(make([]byte, 3*(64<<10)))
	if calls != 0 || !c.Open() {
		t.Errorf("a reply of three times the limit, behind nothing, closed the connection")
	}
}

// What a connection writes as its final words is no reason to say them again, whatever it has unsent.
func TestGoodbyeOverTheLimit(t *testing.T) {
	l := bareLoop(t, Config{Backlog: 64 << 10})
	c := bareConn(t, l, 0)
	calls, closes := 0, 0
	c.handler = &partingHandler{
		goodbye: func(c *Conn) {
			if calls++; calls < 5 { // without a bound a mistake here ends the process
				c.Write([]byte("BYE\n"))
			}
		},
		onClose: func(*Conn) { closes++ },
	}
	c.flags |= flagBlocked // only what the socket refused counts
	for range 10 {
		c.Write(make([]byte, 32<<10))
	}
	c.Close(ReasonServerError)
	if c.Open() || calls != 0 {
		t.Errorf("open is %v with %d goodbyes before the end of the step", c.Open(), calls)
	}
	c.Write([]byte("too late\n"))
	c.Close(ReasonShutdown)
	l.runCloses()
	if calls != 1 || closes != 1 {
		t.Errorf("%d goodbyes and %d closes, want 1 of each", calls, closes)
	}
	if n := l.stats.closed[ReasonServerError].Load(); n != 1 {
		t.Errorf("%d closes counted, want 1", n)
	}
	if want := uint32(10*32<<10 + 4); c.unsent() != want {
		t.Errorf("%d bytes are to be sent, want %d", c.unsent(), want)
	}
}

// Of what a connection does not read only the rest of an entry that was sent in part is kept, in
// memory of its own and within limits, and final words follow it.
func TestCutQueue(t *testing.T) {
	const bye = "BYE\n"
	for _, tt := range []struct {
		name    string
		why     Reason
		size    int // of the first entry
		sent    int // of it
		rests   int // bytes that are kept of others
		kept    int // of the connection, final words included; 0: it ends without them
		dropped uint64
	}{
		{name: "in a packet", why: ReasonSlowConsumer, size: 1000, sent: 400, kept: 600 + len(bye), dropped: 3},
		{name: "shed", why: ReasonBacklogTotal, size: 1000, sent: 400, kept: 600 + len(bye), dropped: 3},
		{name: "at a boundary", why: ReasonSlowConsumer, size: 1000, kept: len(bye), dropped: 4},
		{name: "as long as may be", why: ReasonSlowConsumer, size: maxRest + 1, sent: 1, kept: maxRest + len(bye), dropped: 3},
		{name: "too long", why: ReasonSlowConsumer, size: maxRest + 2, sent: 1, dropped: 4},
		{name: "just room", why: ReasonSlowConsumer, size: 1000, sent: 400, rests: 1<<20 - 600, kept: 600 + len(bye), dropped: 3},
		{name: "no room", why: ReasonSlowConsumer, size: 1000, sent: 400, rests: 1<<20 - 599, dropped: 4},
		{name: "for another reason", why: ReasonShutdown, size: 1000, sent: 400, kept: 600 + 3*5000 + len(bye)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := bareLoop(t, Config{Backlog: 1 << 20, BacklogTotal: 32 << 20})
			l.rests = int64(tt.rests)
			c := bareConn(t, l, 0)
			c.handler = &partingHandler{goodbye: func(c *Conn) { c.Write([]byte(bye)) }}
			c.flags |= flagBlocked
			c.Subscribe([]byte("t"))
			deliver(t, l, "t", strings.Repeat("x", tt.size-1))
			c.advance(tt.sent)
			c.Write(bytes.Repeat([]byte("y"), 5000))
			for range 2 {
				c.Deliver(Push{Payload: bytes.Repeat([]byte("z"), 4999)})
			}
			l.closeLater(c, tt.why, true)
			l.runCloses()
			if n := l.stats.dropped[DropClosing].Load(); n != tt.dropped {
				t.Errorf("%d messages are counted as dropped, want %d", n, tt.dropped)
			}
			if int(c.unsent()) != tt.kept || (c.state == stateFree) != (tt.kept == 0) {
				t.Fatalf("%d bytes are kept in state %d, want %d", c.unsent(), c.state, tt.kept)
			}
			if tt.why != ReasonShutdown && tt.kept > 0 {
				if got, want := string(l.gather(c, scratchSize)), strings.Repeat("x", max(tt.size-1-tt.sent, 0))+"\n"+bye; tt.sent > 0 && !strings.HasPrefix(want, got) {
					t.Errorf("%d bytes ending in %q are to be sent, want %d", len(got), got[max(len(got)-10, 0):], len(want))
				}
				if got, most := l.accounts.now[KindUnsent]+l.accounts.now[KindShared], int64(2*tt.kept+2<<10); got > most {
					t.Errorf("%d bytes of memory are counted for %d", got, tt.kept)
				}
				if got, want := l.rests, int64(tt.rests+tt.kept); got != want {
					t.Errorf("%d bytes of rests are counted, want %d", got, want)
				}
			}
			if c.state != stateFree {
				c.Abort(ReasonPeerClosed)
				l.runCloses()
			}
			if l.rests != int64(tt.rests) {
				t.Errorf("%d bytes of rests are counted at the end, want %d", l.rests, tt.rests)
			}
			l.settle()
			if n := l.engine.total.Load(); n != 0 {
				t.Errorf("%d bytes are still counted", n)
			}
		})
	}
}

// partingHandler does what a test wants when its connection ends.
type partingHandler struct {
	lineHandler
	goodbye, onClose, deadline func(*Conn)
}

func (h *partingHandler) Goodbye(c *Conn, why Reason) {
	if h.goodbye != nil {
		h.goodbye(c)
	}
}

func (h *partingHandler) OnClose(c *Conn, why Reason) {
	if h.onClose != nil {
		h.onClose(c)
	}
}

func (h *partingHandler) OnDeadline(c *Conn) {
	if h.deadline != nil {
		h.deadline(c)
	}
}

func BenchmarkQueueRuns(b *testing.B) {
	l := bareLoop(b, Config{Backlog: 1 << 30})
	c := bareConn(b, l, 0)
	b.ReportAllocs()
	for b.Loop() {
		for range 4 {
			blk := newBlock(100)
			blk.data = blk.data[:100]
			l.accounts.add(KindShared, int64(cap(blk.data)))
			h := l.newRef(blk, KindShared)
			l.enqueue(c, entry{ref: h, end: 100, messages: 1})
			l.releaseRef(h)
		}
		c.advance(400)
		c.returnQueue()
	}
}
