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
	engine    *Engine
	index     int
	gnet      gnet.EventLoop
	pair      *net.UnixConn // our end of the pair whose other end the loop reads
	poller    int32         // gnet's descriptor of this loop's poller; -1 if it was not found
	tickTimer *time.Timer   // kernel's

	chunks    [][]Conn    // the slot table; a chunk never moves
	meters    [][]Traffic // of the connections in it
	freeSlots []uint32
	wheel     wheel
	expiring  bool // deadlines have come that the next turn runs
	shard     *topic.Shard

	mailbox mailbox
	mail    mail

	closes  []uint32 // slots whose close is pending
	resumed []Ref    // connections whose unhandled input may be handled
	yielded []Ref    // those that let others go first; see Conn.Yield

	atStepEnd      []func()              // see AtStepEnd
	servingYielded bool                  // it is their turn
	long           map[uint32]*longInput // unhandled input of long packets, by slot
	tls            []*tlsConn            // of connections that have it, by slot
	halfClosed     map[uint32][]byte     // input of connections whose peer has closed its side, by slot
	peers          map[uint32]keptPeer   // by slot, of those whose socket does not tell who the client is
	trails         []*trail              // of connections that may come back, by slot
	marks          []Mark                // of the connection that ends
	dropped        []span                // from the queue that is looked at
	rests          int64                 // bytes that are kept of connections whose queue was cut; see cutQueue

	output    output
	pressure  pressure
	heavy     heavy
	deferred  deferred
	joins     joins
	catching  catching
	receipts  receipts
	topics    topicMeters
	accounts  accounts
	rates     rates
	memory    memory
	files     files
	isolation isolation
	goroutine goroutineID // the loop's own
	publisher Publisher

	now      int64        // ms on the engine's clock, read once a turn
	nextDue  atomic.Int64 // ms, when the ticker should come by
	tickAt   int64        // ms, when tickIn's tick comes; 0: none is under way
	lookedAt atomic.Int64 // ms, when the loop last looked at who is congested

	limit, lagLimit, highWater uint32 // bytes
	lagAge                     int64  // ms, 0: any age
	stats                      *loopStats
}

// mail is what a loop has taken from its mailbox.
type mail struct {
	messages []message
	next     int    // of messages, the first that is not handled
	position uint64 // of the message that was handled last, among all that were posted
	control  control
	told     int      // of control.tells, the first that was not run
	done     struct { // handled, room not yet given back
		messages int
		bytes    int64
	}
}

const (
	// chunkSize is in slots: 16 pages of 8 KiB, of which the allocator wastes nothing.
	chunkSize = 1024
	// A turn handles at most turnMessages or lasts turnTime, then sockets have theirs: gnet by
	// itself runs tasks for as long as there are any.
	turnMessages = 1024
	turnTime     = 2 // ms
)

func newLoop(e *Engine, index int) *Loop {
	l := &Loop{
		engine:     e,
		index:      index,
		poller:     -1,
		halfClosed: make(map[uint32][]byte),
		stats:      new(loopStats),
	}
	l.setLimits(e.config.limits())
	l.memory.scratch = make([]byte, 0, scratchSize)
	l.mailbox.maxBytes = int64(l.highWater)
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
	begun := l.tick()
	outermost := l.beginCall()
	defer func() {
		l.stats.turns.add(time.Duration(l.engine.system.now() - begun))
		if r := recover(); r != nil {
			l.panicked("turn", r)
			l.engine.system.yield(l)
		}
		l.endCall(outermost)
	}()
	l.turn()
}

// tick reads the clock, and returns what it shows in ns.
func (l *Loop) tick() int64 {
	ns := l.engine.system.now()
	l.now = ns / 1_000_000
	return ns
}

// tickIn has the loop's turn come within ms.
func (l *Loop) tickIn(ms int64) {
	if at := l.now + ms; l.tickAt == 0 || at < l.tickAt {
		l.tickAt = at
		l.engine.system.tickAfter(l, time.Duration(ms)*time.Millisecond)
	}
}

// turn handles a bounded part of the mailbox, flushes, and arranges for the next turn.
func (l *Loop) turn() {
	l.output.spent = false
	l.forgetRates()
	l.work()
	l.runDeferred()
	l.serveCatchups()
	l.handleResumed()
	l.handleYielded()
	l.endStep()
	if l.unfinished() || l.mail.next < len(l.mail.messages) || !l.mailbox.sleep() {
		// More to do: let sockets have their turn first. The flag stays set, so nobody else
		// wakes us; the yield does.
		l.engine.system.yield(l)
	}
}

// unfinished reports whether there is something for another turn that no message tells of.
func (l *Loop) unfinished() bool {
	return l.output.pending || len(l.resumed) > 0 || len(l.yielded) > 0 || len(l.catching.ready) > 0 ||
		l.expiring || l.mail.told < len(l.mail.control.tells)
}

// work handles the control lane and up to turnMessages messages, then flushes.
func (l *Loop) work() {
	defer l.endWork()
	if l.output.pending {
		l.flushDirty() // before there is more
	}
	m, deadline := &l.mail, l.now+turnTime
	if m.told == len(m.control.tells) {
		l.takeMail()
	}
	for i, ref := range m.control.writable {
		m.control.writable[i] = 0 // once, even if it panics and the turn is taken up again
		l.writable(ref)
	}
	m.control.writable = m.control.writable[:0]
	tick := m.control.tick
	m.control.tick = false
	if tick {
		l.tickAt = 0 // whoever ticked: who wants another asks again
	}
	if tick || l.expiring { // behind the notices: who has room is not judged as if he had none
		l.expire(deadline)
	}
	if tick {
		l.look()
		l.wakeThrottled()
		l.sweep()
	}
	l.runCloses()
	if !l.runTells(deadline) {
		l.settle()
		return // messages go behind what was told before them
	}
	for m.next < len(m.messages) && !l.output.pending {
		if n := m.done.messages; n >= turnMessages || n%64 == 63 && l.engine.Now() >= deadline {
			break
		}
		msg := &m.messages[m.next]
		m.next++
		m.position++
		m.done.messages++
		m.done.bytes += int64(msg.bytes)
		l.handle(msg)
		l.runCloses()
	}
	l.settleJoins()
	l.settle()
}

// takeMail takes what there is in the control lane, and messages if none are left.
func (l *Loop) takeMail() {
	m := &l.mail
	m.told = 0
	if m.next == len(m.messages) && !l.output.pending {
		m.messages, m.control = l.mailbox.take(m.messages, m.control)
		m.next = 0
	} else {
		m.control = l.mailbox.takeControl(m.control)
	}
}

// runTells runs what the loop is told, until the clock says until. It reports whether that was all.
func (l *Loop) runTells(until int64) bool {
	m := &l.mail
	for n := 0; m.told < len(m.control.tells); n++ {
		if n >= turnMessages || n%16 == 15 && l.engine.Now() >= until {
			return false
		}
		t := m.control.tells[m.told]
		m.control.tells[m.told] = tell{}
		m.told++ // once, even if it panics and the turn is taken up again
		l.tell(t)
		l.runCloses()
	}
	return true
}

// endWork gives room back to senders. When a handler has panicked, its message is lost, counted
// and logged, and the next turn goes on behind it.
func (l *Loop) endWork() {
	if done := &l.mail.done; done.messages > 0 {
		l.mailbox.handled(done.messages, done.bytes)
		done.messages, done.bytes = 0, 0
		l.engine.wakeDeferred(l)
	}
	if r := recover(); r != nil {
		l.panicked("turn", r)
		l.mailbox.postTick()
	}
}

// tell runs what a connection or the loop is told. A panic costs the connection.
func (l *Loop) tell(t tell) {
	defer func() {
		if r := recover(); r != nil {
			l.panicked("tell", r)
			if c := l.Conn(t.ref); c != nil {
				c.Abort(ReasonServerError)
			}
		}
	}()
	i := &l.isolation
	i.op, i.tell, i.conn = callTell, t.fn, l.Conn(t.ref)
	i.call()
}

// caught is deferred around a call of a handler: what the loop had in hand besides is not lost.
func (l *Loop) caught(during string) {
	if r := recover(); r != nil {
		l.panicked(during, r)
	}
}

// panicked counts and logs a panic of a handler; the loop goes on.
func (l *Loop) panicked(during string, r any) {
	if ref := l.memory.uncommitted; ref != nil {
		l.memory.uncommitted = nil
		l.releaseRef(ref)
	}
	l.stats.panics.Add(1)
	stack := debug.Stack
	if p, ok := r.(handlerPanic); ok {
		r, stack = p.value, func() []byte { return p.stack }
	}
	l.engine.log.Error("panic on a loop", "loop", l.index, "during", during, "panic", r, "stack", string(stack()))
}

func (l *Loop) handle(m *message) {
	switch {
	case m.run != nil:
		l.deliverRun(m.run, l.mail.position)
		m.run = nil
	case m.fn != nil:
		l.onMessage(m)
	case m.block != nil:
		l.deliverBlock(m)
	}
}

// settle flushes what is queued, ends what is to be closed, and publishes the counters that other
// goroutines look at.
func (l *Loop) settle() {
	l.runCloses()
	l.flushDirty()
	l.runCloses()
	if a := &l.accounts; a.moved > accountGrain || a.moved < -accountGrain || l.mail.next == len(l.mail.messages) {
		l.publishAccounts()
	}
}

// endStep passes on what handlers have published and settles. Settling may close connections, whose
// handlers may publish that.
func (l *Loop) endStep() {
	for {
		l.runStepEnd()
		l.runCloses()
		if !l.output.pending { // while it is, the run under way collects what comes
			l.publisher.Flush()
		}
		l.settle()
		if l.publisher.open == nil && len(l.atStepEnd) == 0 || l.output.pending {
			return
		}
	}
}

// replyNow sends what is queued for the connection that was just served when the turn's time for
// sending is spent: a client that asks is not to wait for all that others are sent.
func (l *Loop) replyNow(ref Ref) {
	if !l.output.spent {
		return
	}
	if c := l.conn(ref); c != nil && c.flags&flagDirty != 0 {
		c.flags &^= flagDirty
		l.flush(c)
		l.runCloses()
	}
}

// resume puts c among those whose input is handled at the end of the turn.
func (l *Loop) resume(c *Conn) {
	if c.flags&flagResuming != 0 || c.Paused() || !c.Open() {
		return
	}
	c.flags |= flagResuming
	l.resumed = append(l.resumed, c.Ref())
}

// handleResumed handles input that was left unhandled.
func (l *Loop) handleResumed() {
	if len(l.resumed) == 0 {
		return
	}
	refs := l.resumed
	l.resumed = nil
	for _, ref := range refs {
		if c := l.conn(ref); c != nil {
			c.flags &^= flagResuming
			l.goOn(c)
		}
	}
}

// yieldsPerTurn is how many of those that yield are served in a turn: each may take milliseconds.
const yieldsPerTurn = 4

// handleYielded handles the input of the first that have let others go first.
func (l *Loop) handleYielded() {
	n := min(len(l.yielded), yieldsPerTurn)
	if n == 0 {
		return
	}
	var refs [yieldsPerTurn]Ref
	copy(refs[:], l.yielded[:n])
	l.yielded = append(l.yielded[:0], l.yielded[n:]...)
	l.servingYielded = true
	defer func() { l.servingYielded = false }()
	for _, ref := range refs[:n] {
		if c := l.conn(ref); c != nil {
			c.flags &^= flagYielding
			l.goOn(c)
		}
	}
}

// goOn handles input of c that was left unhandled, unless that is to stay so.
func (l *Loop) goOn(c *Conn) {
	pump := l.pumpResumed
	switch {
	case !c.Open() || c.Paused():
		return
	case c.sock == nil:
		pump = l.pumpHalf
	default:
		l.unpause(c)
	}
	ref := c.Ref()
	l.guardedPump(c, pump)
	l.endStep()
	l.replyNow(ref)
}
