package engine

import (
	"context"
	"math"
	"net"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/panjf2000/gnet/v2"

	"github.com/sluicenet/sluice/topic"
)

// A Loop owns its connections: their state, queues, subscriptions and deadlines are touched by
// the loop's goroutine only. Everybody else comes in through its mailbox.
type Loop struct {
	engine *Engine
	index  int
	gnet   gnet.EventLoop
	pair   *net.UnixConn // our end of the pair whose other end the loop reads
	poller int32         // gnet's descriptor of this loop's poller; -1 if it was not found

	chunks [][]Conn // the slot table; a chunk never moves
	free   []uint32
	wheel  wheel
	shard  *topic.Shard

	mailbox  mailbox
	messages []message // taken from the mailbox, handled up to handled
	handled  int
	control  control

	dirty    []uint32 // slots to flush at the end of the turn
	behind   bool     // the last flush did not get through dirty
	spent    bool     // and used up the time there is for it until the next turn
	flushing bool
	doomed   []uint32          // slots to close when no walk is under way
	resumed  []Ref             // connections whose held-back input may be handled
	held     []uint32          // slots that make publishers wait
	parked   []parked          // publishes that wait, oldest first
	halves   map[uint32][]byte // input of connections whose peer has closed its side, by slot
	// parkedCount is len(parked), for other loops.
	parkedCount atomic.Int32
	waitLeft    int64 // ms left of briefWait in this turn
	due         []uint32
	walking     bool
	turning     bool                          // mailbox messages are being handled
	inTurn      bool                          // a whole turn is under way: it ends with resumed input
	done        struct{ messages, bytes int } // handled, room not yet given back

	now        int64 // ms on the engine's clock, read once a turn
	nextReview int64
	nextShed   int64
	nextDue    atomic.Int64 // ms, when the ticker should come by
	heldUntil  atomic.Int64 // ms, see pressure.go
	askers     askers

	silence     int64 // ms, the longest lately after which a held subscriber came back
	silenceAt   int64 // ms, when that was
	patienceNow atomic.Int64

	limit, quarter uint32 // Config.Backlog and a fourth of it
	backlogDelta   int64  // bytes not yet added to Engine.backlog
	inputDelta     int64

	publisher     Publisher
	tickTimer     *time.Timer // kernel's
	scratch       []byte
	encoded       []byte
	holds         *hold // free list
	numHolds      int
	uncommitted   *hold // between Conn.Buffer and Conn.Commit
	spareBacklogs []*backlog
	stats         *loopStats
}

const (
	// chunkSize is in slots: 15 pages of 8 KiB, of which the allocator wastes nothing.
	chunkSize = 1024
	// A turn handles at most turnMessages or lasts turnTime, then sockets have theirs: gnet by
	// itself runs tasks for as long as there are any.
	turnMessages = 1024
	turnTime     = 2 // ms
)

func newLoop(e *Engine, index int) *Loop {
	l := &Loop{
		engine:  e,
		index:   index,
		poller:  -1,
		halves:  make(map[uint32][]byte),
		limit:   uint32(min(e.config.Backlog, math.MaxInt32)),
		scratch: make([]byte, 0, scratchSize),
		stats:   new(loopStats),
	}
	l.quarter = l.limit / 4
	l.mailbox.maxBytes = int64(l.quarter)
	l.mailbox.awake = true // until Start has the loop's handle
	l.mailbox.wake = l.wake
	l.shard = topic.NewShard(e.topics, index, func(slot uint32) *topic.Member { return &l.at(slot).member })
	l.publisher = Publisher{engine: e, loop: l}
	l.nextDue.Store(math.MaxInt64)
	return l
}

// Index returns the loop's number, from 0.
func (l *Loop) Index() int { return l.index }

// Engine returns the engine the loop belongs to.
func (l *Loop) Engine() *Engine { return l.engine }

// Now returns the time of the loop's present turn, in ms on the engine's clock, which is
// monotonic and starts at 0.
func (l *Loop) Now() int64 { return l.now }

// wake has the loop run a turn. It is called by the first sender into a sleeping mailbox.
func (l *Loop) wake() {
	if err := l.gnet.Execute(context.Background(), l); err != nil {
		l.engine.log.Debug("wake-up after the loop has stopped", "loop", l.index, "err", err)
	}
}

// Run is gnet's way into a turn; it implements gnet.Runnable.
func (l *Loop) Run(context.Context) error {
	l.stats.wakeups.Add(1)
	l.guardedTurn()
	return nil
}

// guardedTurn keeps the loop going when a turn panics outside the calls of handlers, which are
// caught one by one.
func (l *Loop) guardedTurn() {
	defer func() {
		if r := recover(); r != nil {
			l.panicked("turn", r)
			l.turning, l.inTurn, l.flushing = false, false, false
			l.again()
		}
	}()
	l.turn()
}

// tick reads the clock.
func (l *Loop) tick() { l.now = l.engine.Now() }

// turn handles a bounded part of the mailbox, flushes, and arranges for the next turn.
func (l *Loop) turn() {
	l.tick()
	l.waitLeft = briefWait
	l.spent = false
	l.inTurn = true
	l.work()
	l.unpark()
	l.handleResumed()
	l.inTurn = false
	l.wrapUp()
	if l.behind || l.handled < len(l.messages) || len(l.resumed) > 0 || !l.mailbox.sleep() {
		// More to do: let sockets have their turn first. The flag stays set, so nobody else
		// wakes us; the byte does.
		l.again()
	}
}

// again has turn called from the loop's own pair, behind the sockets that are ready now.
func (l *Loop) again() {
	l.engine.system.yield(l)
}

// work handles the control lane and up to turnMessages messages, then flushes. It reports
// whether there was anything.
func (l *Loop) work() (any bool) {
	if l.turning {
		return false
	}
	l.turning = true
	defer l.endWork()

	if l.behind {
		l.flushDirty() // before there is more
	}
	if l.handled == len(l.messages) && !l.behind {
		l.messages, l.control = l.mailbox.take(l.messages, l.control)
		l.handled = 0
	} else {
		l.control = l.mailbox.takeControl(l.control)
	}
	c := &l.control
	any = l.behind || l.handled < len(l.messages) || len(c.writable) > 0 || len(c.tells) > 0 || c.tick
	if c.tick {
		l.expire()
	}
	l.ageHeld()
	for _, ref := range c.writable {
		l.writable(ref)
	}
	for i := 0; i < len(c.tells); i++ {
		t := c.tells[i]
		c.tells[i].fn = nil // run once, even if it panics and the turn is taken up again
		if t.fn != nil {
			l.tell(t)
		}
	}
	deadline := l.now + turnTime
	for l.handled < len(l.messages) && !l.behind {
		if n := l.done.messages; n >= turnMessages || n%64 == 63 && l.engine.Now() >= deadline {
			break
		}
		m := &l.messages[l.handled]
		l.handled++
		l.done.messages++
		l.done.bytes += int(m.bytes)
		l.handle(m)
	}
	l.settle()
	return any
}

// endWork gives room back to senders. When a handler has panicked, its message is lost, counted
// and logged, and the next turn goes on behind it.
func (l *Loop) endWork() {
	l.turning = false
	if l.done.messages > 0 {
		l.mailbox.handled(l.done.messages, int64(l.done.bytes))
		l.engine.nudge(l)
	}
	l.done.messages, l.done.bytes = 0, 0
	if r := recover(); r != nil {
		l.panicked("turn", r)
		l.mailbox.postTick()
	}
}

func (l *Loop) tell(t tell) {
	defer l.caught("tell")
	t.fn(l.Conn(t.ref))
}

// caught is deferred around a call of a handler: what the loop had in hand besides is not lost.
func (l *Loop) caught(during string) {
	if r := recover(); r != nil {
		l.panicked(during, r)
	}
}

// panicked counts and logs a panic of a handler; the loop goes on.
func (l *Loop) panicked(during string, r any) {
	l.walking = false
	if h := l.uncommitted; h != nil {
		l.uncommitted = nil
		l.unhold(h)
	}
	l.stats.panics.Add(1)
	l.engine.log.Error("panic on a loop", "loop", l.index, "during", during, "panic", r, "stack", string(debug.Stack()))
}

func (l *Loop) handle(m *message) {
	switch {
	case m.run != nil:
		l.deliverRun(m.run)
		m.run = nil
	case m.fn != nil:
		m.fn(l)
	case m.block != nil:
		l.deliverBlock(m)
	}
}

// settle flushes what is queued, closes what was doomed, and publishes the counters that other
// goroutines look at.
func (l *Loop) settle() {
	l.reap()
	l.flushDirty()
	l.reap()
	if d := l.backlogDelta; d != 0 && (d > backlogGrain || d < -backlogGrain || len(l.messages) == l.handled) {
		l.backlogDelta = 0
		if l.engine.backlog.Add(d) > l.engine.config.BacklogTotal {
			l.shed()
			l.reap()
		}
	}
}

// wrapUp passes on what handlers have published and settles. Settling may close connections, whose
// handlers may publish that.
func (l *Loop) wrapUp() {
	for {
		if !l.behind { // while it is, the run under way collects what comes
			l.publisher.Flush()
		}
		l.settle()
		if l.publisher.open == nil || l.behind {
			return
		}
	}
}

// replyNow sends what is queued for the connection that was just served when the turn's time for
// sending is spent: a client that asks is not to wait for all that others are sent.
func (l *Loop) replyNow(ref Ref) {
	if !l.spent {
		return
	}
	if c := l.conn(ref); c != nil && c.flags&flagDirty != 0 {
		c.flags &^= flagDirty
		l.flush(c)
		l.reap()
	}
}

// backlogGrain is how far off a loop's share of the total may be while it is busy, in bytes.
const backlogGrain = 64 << 10

// help is what the loop does instead of waiting while it publishes: its own mail. It reports
// whether there was any.
func (l *Loop) help() bool {
	l.tick()
	l.spent = false
	return l.work()
}

// resume puts c among those whose input is handled at the end of the turn.
func (l *Loop) resume(c *Conn) {
	if c.flags&flagResuming != 0 || c.Holding() || c.state != stateOpen {
		return
	}
	c.flags |= flagResuming
	l.resumed = append(l.resumed, c.Ref())
	if !l.inTurn {
		l.mailbox.postTick() // a turn ends with resumed input; outside one, ask for one
	}
}

// handleResumed handles input that was held back. It may publish, and so help, which may resume
// more connections: those wait for the next turn.
func (l *Loop) handleResumed() {
	if len(l.resumed) == 0 {
		return
	}
	refs := l.resumed
	l.resumed = nil
	for _, ref := range refs {
		c := l.conn(ref)
		if c == nil {
			continue
		}
		c.flags &^= flagResuming
		pump := l.pumpResumed
		switch {
		case c.state != stateOpen:
			continue
		case c.sock == nil:
			pump = l.pumpHalf
		case !c.Holding():
			l.unpause(c)
		}
		l.guardedPump(c, pump)
		l.wrapUp()
		l.replyNow(ref)
	}
}
