package engine

import (
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"slices"
	"sync/atomic"
)

// A simWorld is one run of the simulation: an engine, its clients and workers, and the driver. The
// same options and seed give the same run, bit for bit.
type simWorld struct {
	seed     uint64
	opt      simOptions
	rng      *rand.PCG
	clock    int64        // us
	wall     atomic.Int64 // clock, as it was lately, for goroutines beside the driver's
	jumped   int64        // us in all that passed while nobody had a core
	jumpedAt int64        // when they ended last
	steps    int
	phase    simPhase
	hash     uint64
	failure  string
	aborting bool

	engine   *Engine
	events   *simEvents
	loops    []*simLoop
	clients  []*simClient
	workers  []*simWorker
	handlers []*simHandler
	topics   [][]byte
	canPause bool
	deaf     bool // gnet does not tell of a failure during a pause

	fds       []*simFile
	freeFds   []int32
	runFiles  [][]byte // what files of runs hold; nil: closed
	queue     []simEvent
	seq       uint32
	enrolling int
	resets    []*simFile
	running   *simWorker // the coroutine that runs
	onLoop    *simLoop   // the loop that runs
	choices   []int
	settled   func()           // see settle
	kept      func(Kind) int64 // bytes that handlers have charged; negative: it is not known how many

	published   [simSources][simTopics]int32
	lastFloors  [][simTopics][simSources]int32
	payload     []byte
	seenBlocks  map[*simBlock]struct{}
	received    int
	loopSlept   int64 // us that loops have slept
	pauses      int
	sendCost    int64
	lineCost    int64
	publishCost int64
	roundIdle   int
	round       int // the next client that the rounds program reads
	closes      [numSimReasons]int
	shown       simOptions
	saw         simSaw
	allClosing  bool
}

// simSaw counts in how many looks something was so, which tells whether a run gets anywhere.
type simSaw struct {
	looks, congested, excluded, deferred, halfClosed, paused, yielding, full, flushPending int

	byFile int // sends of files, not looks
}

func (s *simSaw) add(o simSaw) {
	s.looks += o.looks
	s.congested += o.congested
	s.excluded += o.excluded
	s.deferred += o.deferred
	s.halfClosed += o.halfClosed
	s.paused += o.paused
	s.yielding += o.yielding
	s.full += o.full
	s.flushPending += o.flushPending
	s.byFile += o.byFile
}

type simPhase uint8

const (
	simRunning  simPhase = iota
	simDraining          // nobody begins anything; everybody reads
	simClosing
)

// simOptions are a run's parameters. All but those set by a scenario come from the seed.
type simOptions struct {
	loops, clients, topics, workers, publishers int

	config       Config
	dialects     int
	sendCap      int   // bytes of a socket's send buffer
	window       int   // bytes of a client's receive buffer, half to three halves
	rxCap        int   // bytes of the server's receive buffer
	latency      int   // us, at most
	size         int   // bytes of a message, at most
	hold         int   // ms, at most
	unsent       int   // bytes of a client's requests in its socket, at most
	burst        int   // requests at once, at most, beside four
	period       int   // us between a client's actions
	workerPeriod int   // us
	roundTime    int64 // us for a round of the rounds program
	pace         int   // us a step takes, at most
	// One in so many; 0 never.
	enobufs, dupFails, cuts, jumps, stuck int

	noPause  bool
	deaf     bool
	isolated bool          // handlers run in the loops' coroutines
	kinds    [simKinds]int // weights
	policies [3]int        // weights
	modes    []simMode     // of the workers, in turn
	every    int           // steps between looks at the accounts
}

const numSimReasons = int(numReasons)

func newSimWorld(seed uint64, opt simOptions) *simWorld {
	w := &simWorld{seed: seed, opt: opt, rng: rand.NewPCG(seed, 0x51317), seenBlocks: make(map[*simBlock]struct{}, 256)}
	return w
}

// pick returns a number below n.
func (w *simWorld) pick(n int) int {
	if n <= 1 {
		return 0
	}
	return int(uint64(uint32(w.rng.Uint64()>>32)) * uint64(n) >> 32)
}

func (w *simWorld) oneIn(n int) bool { return n > 0 && w.pick(n) == 0 }

func (w *simWorld) between(low, high int) int { return low + w.pick(high-low+1) }

func (w *simWorld) weighted(weights []int) int {
	sum := 0
	for _, n := range weights {
		sum += n
	}
	at := w.pick(sum)
	for i, n := range weights {
		if at -= n; at < 0 {
			return i
		}
	}
	return 0
}

func (w *simWorld) mix(n uint64) {
	w.hash = (w.hash ^ n) * 0x9E3779B97F4A7C15
	w.hash ^= w.hash >> 29
}

// trace prints what concerns a client, with -sim.trace.
func (w *simWorld) trace(c *simClient, format string, args ...any) {
	if c == nil || *simTrace == c.index {
		fmt.Printf("%d %d.%03d client %d: %s\n", w.steps, w.clock/1000, w.clock%1000, *simTrace, fmt.Sprintf(format, args...))
	}
}

// fail notes the first promise that was broken.
func (w *simWorld) fail(format string, args ...any) {
	if w.failure == "" {
		w.failure = fmt.Sprintf(format, args...)
	}
}

// randomOptions makes a run's parameters from its seed.
func (w *simWorld) randomOptions() {
	o := &w.opt
	o.loops = w.between(1, 3)
	o.clients = w.between(4, 60)
	if w.oneIn(8) {
		o.clients = w.between(100, 300)
	}
	o.topics = w.between(1, 5)
	o.workers = w.between(1, 4)
	o.publishers = w.between(0, 8)
	o.dialects = w.between(1, 2)
	o.config.Backlog = 4 << 10 << w.pick(4)
	o.config.InputBacklog = 64 << 10
	simLimits(w, &o.config)
	o.sendCap = 1 << 10 << w.pick(5)
	o.window = 1 << 10 << w.pick(5)
	o.rxCap = 1 << 10 << w.pick(6)
	o.latency = 1 + 50<<w.pick(8)
	o.size = 32 << w.pick(6)
	o.hold = 1 << w.pick(9)
	o.period = 2000 << w.pick(7)
	o.workerPeriod = 500 << w.pick(8)
	o.unsent = 1 << 10 << w.pick(7)
	o.roundTime = int64(w.between(1, 5)) * simSecond
	o.pace = 1 << w.pick(7)
	o.cuts = w.between(0, 4)
	if w.oneIn(2) {
		o.enobufs = 1 << w.between(4, 10)
	}
	if w.oneIn(8) {
		o.dupFails = 4
	}
	if w.oneIn(2) {
		o.jumps = 1 << w.between(8, 12)
	}
	if w.oneIn(2) {
		o.stuck = 1 << w.between(6, 10)
	}
	o.noPause, o.isolated, o.deaf = w.oneIn(8), w.oneIn(4), w.oneIn(4)
	for i := range o.kinds {
		o.kinds[i] = w.pick(4)
	}
	o.kinds[simQuick]++
	o.policies = [3]int{1 + w.pick(4), w.pick(2), w.pick(2)}
	for range o.workers {
		o.modes = append(o.modes, [...]simMode{simSteady, simFlatOut, simFlatOut, simFlatOut, simBurst, simEnding}[w.pick(6)])
	}
	o.every = 64
	w.sendCost = int64(w.pick(3) * w.pick(20))
	if w.oneIn(16) {
		w.sendCost = int64(w.between(50, 200))
	}
	w.lineCost = int64(w.pick(3))
	w.publishCost = int64(w.pick(3))
	o.config.InputBacklog >>= w.seed % 7
	if w.seed%4 == 1 { // long inputs, which take their time
		o.rxCap, o.unsent, o.burst = 128<<10, 128<<10, 64
		w.lineCost = 10 + int64(w.seed)*37%190
	}
}

// begin makes the engine and everybody else.
func (w *simWorld) begin() error {
	o := &w.opt
	w.shown = *o
	w.clock = int64(w.pick(1_000_000))
	for t := range o.topics {
		w.topics = append(w.topics, []byte(fmt.Sprintf("topic-%d", t)))
	}
	config := o.config
	config.Loops = o.loops
	config.Dialects = simDialects[:max(o.dialects, 1)]
	config.Logger = slog.New(simLog{w})
	var listeners []ListenConfig
	var protocol Protocol = simTrusted{simProtocol{w}}
	if o.isolated {
		protocol = simProtocol{w}
	}
	for p := range 3 {
		listeners = append(listeners, ListenConfig{Network: "tcp", Protocols: []Protocol{protocol}, SlowConsumer: SlowConsumer(p)})
	}
	w.canPause, w.deaf = !o.noPause, o.deaf
	w.fds = make([]*simFile, 3, 64) // 0 to 2 are taken
	if err := simStart(w, config, listeners, w.canPause); err != nil {
		return err
	}
	for i := range o.workers {
		mode := simSteady
		if len(o.modes) > 0 {
			mode = o.modes[i%len(o.modes)]
		}
		w.workers = append(w.workers, w.startWorker(i, mode))
	}
	w.lastFloors = make([][simTopics][simSources]int32, o.clients)
	for i := range o.clients {
		c := &simClient{w: w, index: i, kind: simKind(w.weighted(o.kinds[:])), listener: w.weighted(o.policies[:]),
			dialect: uint8(w.pick(max(o.dialects, 1))), source: -1}
		c.lossy = c.listener != 0
		if i < o.publishers && o.workers+i < simSources {
			c.source = o.workers + i
		}
		for range 1 + w.pick(3) {
			c.topics = append(c.topics, w.pick(o.topics))
		}
		c.period = int64(o.period)
		c.readTime, c.readSize = 20_000, 64+w.pick(4096)
		if c.kind == simDripping {
			c.readTime, c.readSize = 100_000, 1+w.pick(1024)
		}
		w.clients = append(w.clients, c)
		w.after(int64(w.pick(o.period)), evAct, nil, int64(i))
	}
	if o.kinds[simRounds] > 0 {
		w.after(0, evRound, nil, 0)
	}
	for _, k := range w.workers {
		k.start()
		k.wakeAt = w.clock + int64(w.pick(o.workerPeriod))
	}
	return nil
}

// Events.

type simEventKind uint8

const (
	evNet simEventKind = iota
	evSend
	evNotice
	evRead
	evAct
	evResume
	evRound
	evCall
)

type simEvent struct {
	at   int64
	arg  int64
	file *simFile
	seq  uint32
	kind simEventKind
	call func()
}

func (a *simEvent) before(b *simEvent) bool {
	return a.at < b.at || a.at == b.at && a.seq < b.seq
}

// after has something happen us from now.
func (w *simWorld) after(us int64, kind simEventKind, f *simFile, arg int64) {
	w.push(simEvent{at: w.clock + us, kind: kind, file: f, arg: arg})
}

// call has f called us from now, for scenarios.
func (w *simWorld) call(us int64, f func()) {
	w.push(simEvent{at: w.clock + us, kind: evCall, call: f})
}

func (w *simWorld) push(e simEvent) {
	w.seq++
	e.seq = w.seq
	w.queue = append(w.queue, e)
	q := w.queue
	for i := len(q) - 1; i > 0; {
		up := (i - 1) / 2
		if !q[i].before(&q[up]) {
			break
		}
		q[i], q[up] = q[up], q[i]
		i = up
	}
}

func (w *simWorld) pop() simEvent {
	q := w.queue
	e := q[0]
	n := len(q) - 1
	q[0] = q[n]
	q[n] = simEvent{}
	q = q[:n]
	w.queue = q
	for i := 0; ; {
		least := i
		for c := 2*i + 1; c <= 2*i+2 && c < n; c++ {
			if q[c].before(&q[least]) {
				least = c
			}
		}
		if least == i {
			return e
		}
		q[i], q[least] = q[least], q[i]
		i = least
	}
}

func (w *simWorld) happen(e simEvent) {
	switch e.kind {
	case evNet:
		e.file.net()
	case evSend:
		e.file.sendIn()
	case evNotice:
		e.file.noticeNow(int32(e.arg))
	case evRead:
		w.clients[e.arg].readSome()
	case evAct:
		w.clients[e.arg].act()
	case evResume:
		for i := len(w.handlers) - 1; i >= 0; i-- {
			if h := w.handlers[i]; h.file == e.file {
				h.resume(int(e.arg))
				break
			}
		}
	case evRound:
		w.readRound()
	case evCall:
		e.call()
	}
}

// readRound has the program that reads many connections in turn read the next one: until nothing
// comes for a moment, then it goes on to the next, and after the last it does something else.
func (w *simWorld) readRound() {
	if w.phase != simRunning {
		return
	}
	n := 0
	d := int64(100)
	for _, c := range w.clients {
		if c.kind != simRounds {
			continue
		}
		if f := c.file; n == w.round && f != nil {
			if some := f.delivered - f.read; some > 0 {
				c.take(some)
				w.roundIdle = 0
			} else {
				w.roundIdle++
			}
		} else if n == w.round {
			w.roundIdle = 3
		}
		n++
	}
	if w.roundIdle >= 3 {
		w.roundIdle = 0
		if w.round++; w.round >= n {
			w.round = 0
			d = w.opt.roundTime
		}
	}
	w.after(d, evRound, nil, 0)
}

// step is one choice of the driver: a loop's round, a worker's turn, or something of the network's
// or a client's. When there is nothing to do, the clock moves to when there is.
func (w *simWorld) step() {
	w.steps++
	w.elapse(int64(w.pick(w.opt.pace + 1)))
	switch {
	case w.oneIn(w.opt.jumps):
		w.jump(int64(1) << w.between(13, 22))
	case w.oneIn(w.opt.stuck):
		w.loops[w.pick(len(w.loops))].stuck = w.clock + int64(1)<<w.between(10, 19)
	}
	for range 2 {
		w.tick()
		const events = -1
		can := w.choices[:0]
		if len(w.queue) > 0 && w.queue[0].at <= w.clock {
			can = append(can, events, events)
		}
		for i, l := range w.loops {
			if l.hasWork() && l.stuck <= w.clock {
				can = append(can, i)
			}
		}
		for i, k := range w.workers {
			if !k.ended && k.wakeAt <= w.clock {
				can = append(can, len(w.loops)+i)
			}
		}
		w.choices = can
		if len(can) > 0 {
			n := can[w.pick(len(can))]
			if *simTrace >= 0 {
				fmt.Printf("%d %d.%03d choice %d of %v\n", w.steps, w.clock/1000, w.clock%1000, n, can)
			}
			switch {
			case n == events:
				w.happen(w.pop())
			case n < len(w.loops):
				w.loops[n].poll()
				if w.opt.config.BacklogTotal > 0 {
					w.simWeigh()
				}
				w.mix(uint64(n))
			default:
				w.workers[n-len(w.loops)].step()
			}
			break
		}
		w.advance()
	}
	w.wall.Store(w.clock)
	if w.steps%w.opt.every == 0 {
		w.check()
	}
}

// fair is the time in us in which loops could do something.
func (w *simWorld) fair() int64 { return w.clock - w.jumped - w.loopSlept }

// elapse lets the time pass that something takes.
func (w *simWorld) elapse(us int64) {
	w.clock += us
	w.wall.Store(w.clock)
}

// jump lets time pass in which nobody had a core.
func (w *simWorld) jump(us int64) {
	w.elapse(us)
	w.jumped += us
	w.jumpedAt = w.clock
}

// tick is the ticker's goroutine and the loops' own timers.
func (w *simWorld) tick() {
	now := w.ms()
	for _, l := range w.loops {
		if l.tickAt != 0 && l.tickAt <= w.clock {
			l.tickAt = 0
			simPostTick(l.loop)
		}
		if due := simNextDue(l.loop); due <= now && (due != l.seenDue || now >= l.tickedAt+tickMillis) {
			l.seenDue, l.tickedAt = due, now
			simPostTick(l.loop)
		}
	}
	for _, k := range w.workers {
		if k.ended && (w.phase == simRunning || len(k.inbox) > 0) {
			k.start()
			k.wakeAt = w.clock + k.period
		}
	}
}

// advance moves the clock to the next thing that happens.
func (w *simWorld) advance() {
	next := int64(math.MaxInt64)
	if len(w.queue) > 0 {
		next = w.queue[0].at
	}
	for _, l := range w.loops {
		if l.hasWork() {
			next = min(next, l.stuck)
		}
		if l.tickAt != 0 {
			next = min(next, l.tickAt)
		}
		if due := simNextDue(l.loop); due != math.MaxInt64 {
			at := due * 1000
			if due == l.seenDue {
				at = max(at, (l.tickedAt+tickMillis)*1000)
			}
			next = min(next, at)
		}
	}
	for _, k := range w.workers {
		if !k.ended {
			next = min(next, k.wakeAt)
		}
	}
	if next == math.MaxInt64 {
		next = w.clock + 1000
	}
	w.elapse(max(0, next-w.clock))
}

// run does so many steps, brings everything to rest, and ends it.
func (w *simWorld) run(steps int) string {
	if err := w.begin(); err != nil {
		return err.Error()
	}
	for w.steps < steps && w.failure == "" {
		w.step()
	}
	w.end()
	return w.failure
}

// end brings everything to rest: what was sent arrives, then all connections end and nothing is left.
func (w *simWorld) end() {
	defer w.abort()
	w.opt.jumps, w.opt.stuck, w.opt.enobufs, w.opt.dupFails = 0, 0, 0, 0
	w.phase = simDraining
	for _, c := range w.clients {
		c.stall = 0
		if f := c.file; f != nil && f.delivered > f.read {
			c.readDue = false
			c.onReadable(f)
		}
	}
	if !w.until(60*simSecond, 1_000_000, w.drained) {
		if w.failure == "" {
			w.fail("P8: it does not come to rest: %s", w.restless())
		}
		return
	}
	w.check()
	w.checkComplete()
	if w.failure != "" {
		return
	}
	w.phase = simClosing
	for _, c := range w.clients {
		f := c.file
		if f == nil || f.finAsked {
			continue
		}
		switch w.pick(5) {
		case 0:
			c.close()
		case 1:
			c.reset()
		case 2:
			c.finish()
		case 3:
			c.command('Q')
		}
	}
	w.until(int64(w.pick(10000)), 1_000_000, func() bool { return false })
	w.allClosing = true
	w.engine.CloseAll(ReasonShutdown)
	if !w.until(10*simSecond, 1_000_000, func() bool { return w.engine.Connections() == 0 && !w.busy() }) {
		if w.failure == "" {
			w.fail("P8: %d connections do not end: %s", w.engine.Connections(), w.restless())
		}
		return
	}
	w.until(3*simSecond, 100_000, func() bool { return len(w.queue) == 0 })
	w.check()
	if err := simLeft(w.engine); err != nil {
		w.fail("P8: at the end: %v", err)
	}
	for fd, f := range w.fds {
		if f != nil {
			w.fail("P8: at the end descriptor %d of client %d is open", fd, f.client.index)
		}
	}
}

// until steps until done or for so long, and reports whether it is done.
func (w *simWorld) until(us int64, steps int, done func() bool) bool {
	for end := w.clock + us; w.failure == "" && w.clock < end && steps > 0; steps-- {
		if steps%16 == 0 && done() {
			return true
		}
		w.step()
	}
	return w.failure == "" && done()
}

func (w *simWorld) busy() bool {
	for _, l := range w.loops {
		if l.hasWork() || simBusy(l.loop) {
			return true
		}
	}
	for _, k := range w.workers {
		if !k.ended || len(k.inbox) > 0 {
			return true
		}
	}
	return w.enrolling > 0
}

// drained reports whether all that was sent has arrived.
func (w *simWorld) drained() bool { return w.restless() == "" }

// restless says what is under way.
func (w *simWorld) restless() string {
	if w.busy() {
		for _, k := range w.workers {
			if !k.ended {
				return fmt.Sprintf("worker %d is busy", k.source)
			}
		}
		return "a loop is busy"
	}
	for _, c := range w.clients {
		f := c.file
		switch {
		case f == nil:
			continue
		case f.read != f.sent || f.acked != f.sent:
			return fmt.Sprintf("client %d (%s) has read %d of %d bytes, acknowledged %d", c.index, c.kind, f.read, f.sent, f.acked)
		case len(f.tx) > 0 || len(f.rx) > f.rxHead:
			return fmt.Sprintf("client %d (%s) has %d+%d bytes that are not read", c.index, c.kind, len(f.tx), len(f.rx)-f.rxHead)
		case c.handler != nil && !c.handler.closed && c.handler.paused:
			return fmt.Sprintf("client %d (%s) is paused", c.index, c.kind)
		case f.finAsked && f.open > 0:
			return fmt.Sprintf("client %d (%s) has closed its side and the server has not", c.index, c.kind)
		case c.handler != nil && !c.handler.closed && simQueued(simConnOf(w.engine, c.handler.ref)) > 0:
			return fmt.Sprintf("client %d (%s) has %d bytes queued", c.index, c.kind, simQueued(simConnOf(w.engine, c.handler.ref)))
		}
	}
	return ""
}

// abort ends the coroutines of a run that is over.
func (w *simWorld) abort() {
	simStop(w.engine)
	w.aborting = true
	for _, k := range w.workers {
		for n := 0; !k.ended && n < 1000; n++ {
			k.step()
		}
	}
	for _, l := range w.engine.loops {
		l.isolation.end()
	}
}

// digest is what two runs of one seed must agree on.
func (w *simWorld) digest() uint64 {
	w.mix(uint64(w.clock))
	s := w.engine.Stats()
	for _, n := range []uint64{s.BytesIn, s.BytesOut, s.Sends, s.PacketsOut, s.Publishes, s.Deliveries, s.Waits, s.Wakeups, s.Accepted} {
		w.mix(n)
	}
	for _, n := range s.Closed {
		w.mix(n)
	}
	for _, n := range s.Dropped {
		w.mix(n)
	}
	for _, c := range w.clients {
		w.mix(uint64(c.received)<<32 | uint64(c.asked))
	}
	return w.hash
}

// anyRef names a connection, perhaps one that is gone.
func (w *simWorld) anyRef() Ref {
	if len(w.handlers) == 0 {
		return 0
	}
	return w.handlers[len(w.handlers)-1-w.pick(min(len(w.handlers), len(w.clients)))].ref
}

// floors are the numbers from which on a subscription that has just taken effect must get each
// source's publishes on topic t: all that was not passed on to the loops yet.
func (w *simWorld) floors(t int, dialect uint8, floors *[simSources]int32) (either uint32) {
	for s := range floors {
		floors[s] = w.published[s][t] + 1
	}
	simUnflushed(w, w.topics[t], dialect, func(encoded []byte) {
		for len(encoded) > 0 {
			r := simReader{encoded[2:]}
			r.int()
			s, q := r.int(), int32(r.int())
			floors[s] = min(floors[s], q)
			encoded = encoded[slices.Index(encoded, '\n')+1:]
		}
	})
	for _, k := range w.workers {
		if k.calls > 0 && k.topic == t {
			either |= 1 << k.source
		}
	}
	return either
}

// unflushedOf reports whether a source has published something that is not flushed.
func (w *simWorld) unflushedOf(source int) (found bool) {
	for _, name := range w.topics {
		for d := range max(w.opt.dialects, 1) {
			simUnflushed(w, name, uint8(d), func(encoded []byte) {
				for len(encoded) > 0 {
					r := simReader{encoded[2:]}
					r.int()
					found = found || r.int() == source
					encoded = encoded[slices.Index(encoded, '\n')+1:]
				}
			})
		}
	}
	return found
}

func (w *simWorld) floorOf(c *simClient, t, s int) int32 { return w.lastFloors[c.index][t][s] }
