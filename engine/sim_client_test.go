package engine

import (
	"bytes"
	"strconv"
	"syscall"
	"time"
)

// The simulated clients, and the protocol they speak: lines, of which the first letter says what
// they are and numbers follow. Requests that are answered at once are numbered, and so are their
// answers, so that a client knows what it must receive:
//
//	C            hello                      c k
//	E k size     echo                       e k pad
//	S k t        subscribe to topic t       s k t newly
//	U k t        unsubscribe                u k t
//	P t size n   publish n messages         pushes: p t source seq pad
//	M size       push me                    push: m n t seq pad (the last publish of its own before it)
//	H k ms       hold input for so long     h k
//	R w size     ask worker w               a w n pad
//	Q            goodbye                    z reason
//
// A push begins with the letter of its dialect. Workers also send to one client (d source n) and to
// all (b source n).

const (
	simTopics  = 8
	simSources = 16
)

type simKind uint8

const (
	simQuick simKind = iota
	simSlow
	simStalled
	simRolling
	simRounds
	simDripping
	simResetting
	simHalfClosing
	simComing
	simNeverReads
	simKinds
)

var simKindNames = [simKinds]string{"quick", "slow", "stalled", "rolling", "rounds", "dripping", "resetting",
	"half-closing", "coming", "never-reads"}

func (k simKind) String() string { return simKindNames[k] }

type simSub struct {
	active bool
	next   [simSources]int32 // the number expected next from each source
	// either has a bit for each source that was about to publish when the subscription took effect:
	// it may have found that nobody was there.
	either uint32
}

// A simEpoch is what holds from the answer to a subscribe or an unsubscribe on.
type simEpoch struct {
	topic   int
	newly   bool
	floors  [simSources]int32
	either  uint32
	mustOwn int32 // of its own publishes, received before an unsubscription's answer
}

type simClient struct {
	w        *simWorld
	index    int
	kind     simKind
	listener int
	dialect  uint8
	source   int // its number as a publisher, -1: it publishes nothing
	lossy    bool
	topics   []int    // it subscribes to these
	pinned   *simLoop // where it connects
	period   int64    // us between its actions
	readTime int64    // us between reads of one that reads slowly
	readSize int

	file     *simFile
	handler  *simHandler
	stall    int64 // us, until when it reads nothing
	readDue  bool
	asked    int // numbered requests sent
	answered int
	subs     [simTopics]simSub
	epochs   []simEpoch
	mailed   [simSources]int // answers of workers received
	pushed   int
	direct   [simSources]int32
	cast     [simSources]int32
	bye      bool
	received int
	record   func(line []byte)
	socket   *SimSocket // for a peer that is no client of these
	skipped  int        // messages that a policy has dropped
}

// connect has the client's connection accepted.
func (c *simClient) connect() {
	w := c.w
	l := w.loops[w.pick(len(w.loops))]
	if c.pinned != nil {
		l = c.pinned
	} else if c.source >= 0 {
		l = w.loops[c.index%len(w.loops)] // what it publishes is in order on one loop
	}
	f := &simFile{w: w, client: c, loop: l, sendCap: w.opt.sendCap, window: w.opt.window/2 + w.pick(w.opt.window),
		latency: 20 + int64(w.pick(w.opt.latency)), tookAt: w.clock, local: c.index%4 == 3}
	c.file, c.handler = f, nil
	c.asked, c.answered, c.pushed, c.bye = 0, 0, 0, false
	c.subs = [simTopics]simSub{}
	c.epochs = c.epochs[:0]
	c.mailed, c.direct, c.cast = [simSources]int{}, [simSources]int32{}, [simSources]int32{}
	fd := w.newFd(f)
	f.name = fd
	f.conn = &simConn{el: &l.gnet, file: f, fd: fd, ctx: simAcceptor(w.engine, c.listener)}
	f.conn.remote.IP, f.conn.remote.Port = simLoopback, 1000+c.index
	f.conn.local.IP, f.conn.local.Port = simLoopback, 7000
	l.opening = append(l.opening, f.conn)
	w.enrolling++
	f.tx = append(f.tx, "C\n"...)
	f.lines++
	c.asked++
	f.sendLater(0)
	if w.phase == simRunning && c.kind != simQuick || w.oneIn(2) {
		for _, t := range c.topics {
			c.request('S', t)
		}
	}
}

var simLoopback = []byte{127, 0, 0, 1}

// request sends a numbered request.
func (c *simClient) request(kind byte, args ...int) {
	f := c.file
	f.tx = append(f.tx, kind, ' ')
	f.tx = strconv.AppendInt(f.tx, int64(c.asked), 10)
	c.asked++
	c.finishLine(args...)
}

// command sends one that is not numbered.
func (c *simClient) command(kind byte, args ...int) {
	c.file.tx = append(c.file.tx, kind)
	c.finishLine(args...)
}

func (c *simClient) finishLine(args ...int) {
	f := c.file
	for _, a := range args {
		f.tx = append(f.tx, ' ')
		f.tx = strconv.AppendInt(f.tx, int64(a), 10)
	}
	if c.w.oneIn(16) {
		f.tx = simPad(f.tx, c.w.pick(c.w.opt.unsent))
	}
	f.tx = append(f.tx, '\n')
	f.lines++
	f.sendLater(0)
}

// act does one thing.
func (c *simClient) act() {
	w := c.w
	if w.phase != simRunning {
		return
	}
	c.actLater()
	f := c.file
	if f == nil {
		c.connect()
		return
	}
	if f.gone || f.finAsked || f.broken != 0 || len(f.tx) > w.opt.unsent {
		return
	}
	topic := c.topics[w.pick(len(c.topics))]
	size := 1 + w.pick(w.opt.size)
	if w.oneIn(20) {
		size *= 8
	}
	switch c.kind {
	case simResetting:
		if w.oneIn(8) {
			c.reset()
			return
		}
	case simHalfClosing:
		if w.oneIn(8) {
			c.finish()
			return
		}
	case simComing:
		if w.oneIn(6) {
			switch w.pick(3) {
			case 0:
				for n := w.pick(4*w.opt.burst + 1); n > 0 && c.source >= 0; n-- {
					c.command('P', w.pick(len(w.topics)), size, 1)
				}
				c.close()
			case 1:
				c.command('Q')
			default:
				c.finish()
			}
			return
		}
	case simNeverReads:
		c.request('E', size*4)
		return
	case simRolling:
		if w.clock >= c.stall && w.oneIn(3) {
			c.stall = w.clock + int64(w.pick(1_000_000))
		}
	}
	for n := 1 + w.pick(4) + w.pick(w.opt.burst+1); n > 0; n-- {
		switch w.pick(16) {
		case 0, 1:
			c.request('S', topic)
		case 2:
			c.request('U', topic)
		case 3, 4, 5:
			c.request('E', size)
		case 6, 7, 8, 9:
			if c.source >= 0 {
				c.command('P', topic, size, 1+w.pick(3))
			}
		case 10, 11:
			c.command('M', size)
		case 12:
			if w.oneIn(2) {
				c.request('H', 1+w.pick(w.opt.hold))
			}
		case 13, 14:
			if len(w.workers) > 0 {
				c.command('R', w.pick(len(w.workers)), size)
			}
		}
		if w.oneIn(2) {
			topic = c.topics[w.pick(len(c.topics))]
		}
	}
}

func (c *simClient) actLater() {
	c.w.after(c.period/2+int64(c.w.pick(int(c.period))), evAct, nil, int64(c.index))
}

// finish closes the client's writing side.
func (c *simClient) finish() {
	c.file.finAsked = true
	c.file.sendLater(0)
}

// close closes its socket: a FIN, or a reset when something was not read.
func (c *simClient) close() {
	f := c.file
	if f.delivered > f.read {
		c.reset()
		return
	}
	f.gone = true
	c.finish()
	f.netLater()
	c.leave()
}

func (c *simClient) reset() {
	f := c.file
	f.gone = true
	f.reset(syscall.ECONNRESET)
	c.leave()
}

// leave forgets the connection; the server may still know it.
func (c *simClient) leave() { c.file = nil }

// onReset is called when the server has reset the connection.
func (c *simClient) onReset(f *simFile) {
	if c.file != f {
		return
	}
	if c.socket != nil {
		f.gone = true
		c.leave()
		c.socket.peer.End(c.socket, true)
		return
	}
	f.gone = true
	if h := c.handler; h != nil && !h.closed {
		c.w.fail("P8: client %d (%s) was reset before its handler heard of it", c.index, c.kind)
	}
	c.leave()
}

// onReadable is called when bytes or a FIN have come.
func (c *simClient) onReadable(f *simFile) {
	if c.file != f || c.readDue {
		return
	}
	w := c.w
	if c.socket != nil {
		c.socket.readLater()
		return
	}
	d := int64(w.pick(200))
	if w.phase == simRunning {
		switch c.kind {
		case simStalled, simNeverReads, simRounds:
			return
		case simSlow, simDripping:
			d = c.readTime
		case simRolling:
			d += max(0, c.stall-w.clock)
		}
	}
	c.readDue = true
	w.after(d, evRead, nil, int64(c.index))
}

// readSome takes what the client's kind takes at a time.
func (c *simClient) readSome() {
	c.readDue = false
	f := c.file
	if f == nil {
		return
	}
	n := f.delivered - f.read
	if c.w.phase == simRunning && (c.kind == simSlow || c.kind == simDripping) {
		n = min(n, int64(c.readSize))
	}
	c.take(n)
}

func (c *simClient) take(n int64) {
	f := c.file
	if n > 0 {
		f.read += n
		c.parse(f)
		if c.file != f {
			return
		}
		if f.sent > f.delivered {
			f.netLater()
		}
	}
	switch {
	case f.read < f.delivered:
		c.onReadable(f)
	case f.finSeen && f.read == f.sent:
		c.onEOF(f)
	}
}

// onEOF is called when the client has read to the end.
func (c *simClient) onEOF(f *simFile) {
	w := c.w
	h := c.handler
	switch {
	case h != nil && !h.closed:
		w.fail("P8: client %d (%s) sees an end that its handler does not know of", c.index, c.kind)
	case f.cut || w.opt.config.BacklogTotal > 0 || h != nil && w.clock-h.closedAt > 19*simSecond/10 || h != nil && h.unfair != w.clock-w.fair():
	case h != nil && h.parted && !c.bye && !f.finAsked:
		w.fail("P5: client %d (%s) sees an end without final words: %v, %d bytes behind the last message", c.index, c.kind, h.why, f.read-f.parsed)
	case f.parsed != f.read && h != nil && (h.parted || h.why != ReasonSlowConsumer && h.why != ReasonBacklogTotal):
		w.fail("P5: client %d (%s): its last message is cut short: %v", c.index, c.kind, h.why)
	case h != nil && h.why == ReasonPeerClosed && f.finAsked && c.answered != c.asked && h.handledAll:
		w.fail("P5: client %d (%s) has %d answers of %d at the end", c.index, c.kind, c.answered, c.asked)
	}
	c.close()
}

// parse looks at the whole lines that were read.
func (c *simClient) parse(f *simFile) {
	for {
		b := f.buf[f.head : f.head+int(f.read-f.parsed)]
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			return
		}
		if *simTrace >= 0 {
			c.w.trace(c, "reads %.50q", b[:i])
		}
		if c.record != nil {
			c.record(b[:i])
		}
		c.line(b[:i])
		f.head += i + 1
		f.parsed += int64(i + 1)
		if c.w.failure != "" {
			return
		}
	}
}

// A simReader reads the numbers of a line.
type simReader struct{ b []byte }

func (r *simReader) int() int {
	n, i := 0, 0
	for i < len(r.b) && r.b[i] == ' ' {
		i++
	}
	for ; i < len(r.b) && r.b[i] >= '0' && r.b[i] <= '9'; i++ {
		n = n*10 + int(r.b[i]-'0')
	}
	r.b = r.b[i:]
	return n
}

// line is one message from the server.
func (c *simClient) line(b []byte) {
	w := c.w
	c.received++
	w.received++
	if len(b) == 0 {
		w.fail("client %d: an empty line", c.index)
		return
	}
	if c.bye {
		w.fail("P5: client %d: %.20q behind the goodbye", c.index, b)
		return
	}
	kind := b[0]
	r := simReader{b[1:]}
	switch kind {
	case 'c', 'e', 's', 'u', 'h':
		k := r.int()
		if k != c.answered {
			w.fail("P5: client %d (%s): answer %d (%c), expected %d", c.index, c.kind, k, kind, c.answered)
			return
		}
		c.answered++
		switch kind {
		case 's', 'u':
			c.joined(kind, r.int())
		}
	case 'a':
		from, n := r.int(), r.int()
		if n != c.mailed[from] {
			w.fail("P5: client %d (%s): answer %d of worker %d, expected %d", c.index, c.kind, n, from, c.mailed[from])
		}
		c.mailed[from]++
	case '<', '>':
		if want := byte('<'); kind != want+2*c.dialect {
			w.fail("client %d: a push in dialect %c", c.index, kind)
		}
		c.push(b[1], &simReader{b[2:]})
	case 'z':
		c.bye = true
	default:
		w.fail("client %d (%s): %.40q", c.index, c.kind, b)
	}
}

// joined begins what the answer to a subscribe or an unsubscribe says.
func (c *simClient) joined(kind byte, t int) {
	ep := &c.epochs[0]
	sub := &c.subs[t]
	switch {
	case ep.topic != t:
		c.w.fail("client %d: %c for topic %d, expected %d", c.index, kind, t, ep.topic)
	case kind == 's' && ep.newly:
		sub.active, sub.next, sub.either = true, ep.floors, ep.either
	case kind == 'u':
		if sub.active && c.source >= 0 && ep.mustOwn >= sub.next[c.source] && !c.lossy && !c.w.hasLost() {
			c.w.fail("P7: client %d unsubscribed from %d without its own publish %d, which it had sent before", c.index, t, ep.mustOwn)
		}
		sub.active = false
	}
	c.epochs = c.epochs[:copy(c.epochs, c.epochs[1:])]
}

// push is P6: each push exactly once, in order, and of a subscription.
func (c *simClient) push(kind byte, r *simReader) {
	w := c.w
	switch kind {
	case 'p':
		t, s, q := r.int(), r.int(), int32(r.int())
		sub := &c.subs[t]
		if !sub.active {
			w.fail("P6: client %d (%s): %d of source %d on topic %d, to which it has not subscribed", c.index, c.kind, q, s, t)
			return
		}
		switch next := sub.next[s]; {
		case q == next, q == next+1 && sub.either&(1<<s) != 0:
		case q < next && next == w.floorOf(c, t, s):
			w.fail("P6: client %d (%s): %d of source %d on topic %d is from before the subscription (%d)", c.index, c.kind, q, s, t, next)
		case q < next:
			w.fail("P6: client %d (%s): %d of source %d on topic %d came before, expected %d", c.index, c.kind, q, s, t, next)
		case !c.lossy && !w.hasLost():
			w.fail("P6: client %d (%s): %d of source %d on topic %d, expected %d: a gap", c.index, c.kind, q, s, t, next)
		default:
			c.skipped += int(q - next)
		}
		sub.next[s] = q + 1
		sub.either &^= 1 << s
	case 'm':
		n, t, q := r.int(), r.int(), int32(r.int())
		if n < c.pushed || n > c.pushed && !c.lossy {
			w.fail("P7: client %d (%s): push me %d, expected %d", c.index, c.kind, n, c.pushed)
		}
		c.pushed = n + 1
		if sub := &c.subs[t]; q > 0 && sub.active && !c.lossy && q >= sub.next[c.source] && !w.hasLost() {
			w.fail("P7: client %d: push me %d came before its publish %d on topic %d", c.index, n, q, t)
		}
	case 'd':
		s, q := r.int(), int32(r.int())
		if q <= c.direct[s] {
			w.fail("P6: client %d: %d from worker %d after %d", c.index, q, s, c.direct[s])
		}
		c.direct[s] = q
	case 'b':
		s, q := r.int(), int32(r.int())
		if q <= c.cast[s] || q != c.cast[s]+1 && c.cast[s] != 0 && !c.lossy && !w.hasLost() {
			w.fail("P6: client %d: broadcast %d from worker %d after %d", c.index, q, s, c.cast[s])
		}
		c.cast[s] = q
	default:
		w.fail("client %d: a push of kind %q", c.index, kind)
	}
}

// simProtocol is the server's side.
type simProtocol struct{ w *simWorld }

// simTrusted is simProtocol on the loop's own goroutine.
type simTrusted struct{ simProtocol }

func (simTrusted) TrustedOnLoop() {}

func (simProtocol) Name() string { return "sim" }

func (simProtocol) Sniff(first []byte) Match {
	if first[0] == 'C' {
		return Matched
	}
	return NoMatch
}

func (p simProtocol) Open(c *Conn) Handler {
	client := simSockOf(c).file.client
	h := &simHandler{w: p.w, client: client, file: simSockOf(c).file, ref: c.Ref()}
	if client.file == h.file {
		client.handler = h
	}
	c.SetDialect(client.dialect)
	c.SetDeadline(0)
	h.below = p.w.clock
	p.w.handlers = append(p.w.handlers, h)
	return h
}

type simHandler struct {
	w          *simWorld
	client     *simClient
	file       *simFile
	ref        Ref
	paused     bool
	published  bool
	closed     bool
	handledAll bool // nothing that the client sent was left
	lines      int  // of them
	parted     bool // final words were written
	why        Reason
	closedAt   int64 // us
	unfair     int64 // us that had been nobody's when it was closed
	subscribed [simTopics]bool
	pushes     int
	asked      [simSources]int
	lastTopic  int // of its last publish
	lastSeq    int32
	own        [simTopics]int32 // of its publishes to topics it had subscribed to
	below      int64            // us, when its account was last not above the high-water mark
	over       bool
}

// mine reports whether the client still has this connection.
func (h *simHandler) mine() bool { return h.client.file == h.file }

func (h *simHandler) OnBytes(c *Conn, b []byte) (n, need int) {
	w := h.w
	if h.paused || h.closed {
		w.fail("P7: client %d: input is handled while reading is paused or after the end", h.client.index)
		return len(b), 0
	}
	for c.Open() && !c.Paused() && !c.OutputFull() {
		i := bytes.IndexByte(b[n:], '\n')
		if i < 0 {
			return n, len(b) - n + 1
		}
		line := b[n : n+i]
		n += i + 1
		h.lines++
		w.elapse(w.lineCost)
		h.command(c, line)
	}
	return n, 0
}

func (h *simHandler) command(c *Conn, line []byte) {
	w := h.w
	r := simReader{line[1:]}
	switch line[0] {
	case 'C':
		h.reply(c, 'c', 0, 0)
	case 'E':
		k, size := r.int(), r.int()
		h.reply(c, 'e', k, size)
	case 'S':
		k, t := r.int(), r.int()
		newly := c.Subscribe(w.topics[t])
		if newly == h.subscribed[t] {
			w.fail("client %d: Subscribe to topic %d says %v", h.client.index, t, newly)
		}
		h.subscribed[t] = true
		if h.mine() {
			ep := simEpoch{topic: t, newly: newly}
			if newly {
				ep.either = w.floors(t, h.client.dialect, &ep.floors)
				h.client.keepFloors(t, &ep.floors)
			}
			h.client.epochs = append(h.client.epochs, ep)
			if *simTrace >= 0 {
				w.trace(h.client, "subscribes to %d (%v) from %v, dialect %d", t, newly, ep.floors, h.client.dialect)
			}
		}
		h.reply(c, 's', k, 0, t)
	case 'U':
		k, t := r.int(), r.int()
		ep := simEpoch{topic: t}
		if !simDeferred(c) {
			ep.mustOwn = h.own[t]
		}
		if c.Unsubscribe(w.topics[t]) != h.subscribed[t] {
			w.fail("client %d: Unsubscribe from topic %d says %v", h.client.index, t, !h.subscribed[t])
		}
		h.subscribed[t] = false
		if h.mine() {
			h.client.epochs = append(h.client.epochs, ep)
		}
		h.reply(c, 'u', k, 0, t)
	case 'P':
		t, size, n := r.int(), r.int(), r.int()
		for range max(n, 1) {
			h.publish(c, t, size)
		}
	case 'M':
		size := r.int()
		t, q := 0, int32(0)
		if c.Open() && h.lastSeq > 0 && h.subscribed[h.lastTopic] && !simDeferred(c) {
			t, q = h.lastTopic, h.lastSeq
		}
		w.payload = simPush(w.payload[:0], 'm', size, h.pushes, t, int(q))
		h.pushes++
		c.Deliver(Push{Payload: w.payload})
	case 'H':
		k, ms := r.int(), r.int()
		h.paused = true
		c.Pause()
		w.after(int64(ms)*1000, evResume, h.file, int64(k))
	case 'R':
		to, size := r.int(), r.int()
		k := w.workers[to]
		k.inbox = append(k.inbox, simRequest{h.ref, h.asked[to], size})
		h.asked[to]++
	case 'Q':
		c.Close(ReasonClientClose)
	default:
		w.fail("client %d: a command %.20q", h.client.index, line)
	}
}

// publish publishes one message to topic t.
func (h *simHandler) publish(c *Conn, t, size int) {
	w := h.w
	s := h.client.source
	if !h.published && w.unflushedOf(s) {
		return // of its earlier connection, with which there is no order
	}
	h.published = true
	seq := w.published[s][t] + 1
	w.payload = simPush(w.payload[:0], 'p', size, t, s, int(seq))
	if *simTrace >= 0 {
		w.trace(nil, "client %d publishes %d of source %d on %d: deferred %v", h.client.index, seq, s, t, simDeferred(c))
	}
	if simPublish(c, w.topics[t], Push{Payload: w.payload}) {
		w.published[s][t] = seq
		h.lastTopic, h.lastSeq = t, seq
		if h.subscribed[t] {
			h.own[t] = seq
		}
	}
}

// keepFloors remembers the floors of the client's newest subscription, for reports.
func (c *simClient) keepFloors(t int, floors *[simSources]int32) {
	c.w.lastFloors[c.index][t] = *floors
}

// resume ends a hold.
func (h *simHandler) resume(k int) {
	h.w.engine.Tell(h.ref, func(c *Conn) {
		if c == nil || h.closed {
			return
		}
		h.paused = false
		h.reply(c, 'h', k, 0)
		c.Resume()
	})
}

// reply queues the answer to a numbered request.
func (h *simHandler) reply(c *Conn, kind byte, k, size int, args ...int) {
	if !c.Open() {
		return
	}
	w := h.w
	b := append(w.payload[:0], kind, ' ')
	b = strconv.AppendInt(b, int64(k), 10)
	for _, a := range args {
		b = append(b, ' ')
		b = strconv.AppendInt(b, int64(a), 10)
	}
	b = append(simPad(b, size), '\n')
	w.payload = b[:0]
	c.Write(b)
}

var simDots = bytes.Repeat([]byte("."), 64<<10)

func simPad(b []byte, size int) []byte {
	b = append(b, ' ')
	return append(b, simDots[:min(size, len(simDots))]...)
}

// simPush makes a push's payload.
func simPush(dst []byte, kind byte, size int, args ...int) []byte {
	dst = append(dst, kind)
	for _, a := range args {
		dst = append(dst, ' ')
		dst = strconv.AppendInt(dst, int64(a), 10)
	}
	return simPad(dst, size)
}

func (h *simHandler) OnDeadline(*Conn) {}

func (h *simHandler) Goodbye(c *Conn, why Reason) {
	b := append(h.w.payload[:0], "z "...)
	b = append(b, why.String()...)
	b = append(b, '\n')
	h.w.payload = b[:0]
	c.Write(b)
	h.parted = true
}

func (h *simHandler) OnClose(c *Conn, why Reason) {
	if h.closed {
		h.w.fail("P8: client %d: OnClose twice", h.client.index)
	}
	h.closed, h.paused, h.why = true, false, why
	h.closedAt, h.unfair = h.w.clock, h.w.clock-h.w.fair()
	f := h.file
	if *simTrace >= 0 {
		h.w.trace(h.client, "OnClose %v: %s", why, simDescribe(c))
	}
	h.handledAll = len(f.rx) == f.rxHead && len(f.tx) == 0 && f.finIn && (f.conn == nil || f.conn.InboundBuffered() == 0)
	h.w.checkClose(h, c, why)
}

var simDialects = []Dialect{
	{Name: "sim-left", Append: func(dst []byte, p Push) ([]byte, error) {
		return append(append(append(dst, '<'), p.Payload...), '\n'), nil
	}},
	{Name: "sim-right", Append: func(dst []byte, p Push) ([]byte, error) {
		return append(append(append(dst, '>'), p.Payload...), '\n'), nil
	}},
}

// A simRequest waits for a worker.
type simRequest struct {
	ref  Ref
	n    int
	size int
}

// simMail writes a worker's answer.
type simMail struct{ worker *simWorker }

func (m simMail) OnMail(c *Conn, n uint32, _ int32, payload []byte) {
	if c == nil || !c.Open() {
		return
	}
	b := c.Buffer(len(payload) + 32)
	b = append(b, 'a', ' ')
	b = strconv.AppendInt(b, int64(m.worker.source), 10)
	b = append(b, ' ')
	b = strconv.AppendInt(b, int64(n), 10)
	b = append(b, ' ')
	b = append(b, payload...)
	c.Commit(append(b, '\n'), 1)
}

const simSecond = int64(time.Second / time.Microsecond)
