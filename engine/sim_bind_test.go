package engine

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/panjf2000/gnet/v2"
)

// The simulation's way into the engine: every unexported name of the engine that it uses is in this
// file, but for the system interface, which simWorld implements in sim_system_test.go.

type simEvents = events

// simStart makes an engine on w as Start does, with loops that gnet does not run.
func simStart(w *simWorld, config Config, listeners []ListenConfig, canPause bool) error {
	e, err := newEngine(config, w)
	if err != nil {
		return err
	}
	e.loopOf = make(map[gnet.EventLoop]*Loop)
	w.engine, e.beforeCut = e, w.checkCut
	if w.seed%2 == 0 { // the rest copies everything, as systems without such files do
		e.files = fileRules{from: 100, receivers: 2}
	}
	w.events = &events{engine: e}
	for i, l := range e.loops {
		sl := &simLoop{w: w, loop: l, index: i}
		sl.gnet.loop = sl
		sl.pairConn = &simConn{el: &sl.gnet, ctx: l}
		w.loops = append(w.loops, sl)
		l.gnet = &sl.gnet
		if l.poller = -1; canPause {
			l.poller = 0
		}
		e.loopOf[l.gnet] = l
	}
	var all []*listener
	for i, lc := range listeners {
		secure, err := lc.serverConfig()
		if err != nil {
			return err
		}
		all = append(all, &listener{engine: e, config: lc, index: uint8(i), tls: secure})
	}
	e.listeners.Store(&all)
	e.begin()
	return nil
}

// simAcceptor counts an accepted connection and returns what gnet's context of it is.
func simAcceptor(e *Engine, listener int) any {
	e.connections.Add(1)
	e.accepted.Add(1)
	return &acceptor{listener: (*e.listeners.Load())[listener]}
}

func simRun(l *Loop) { _ = l.Run(context.Background()) }

func simPostTick(l *Loop) { l.mailbox.postTick() }

func simPostWritable(e *Engine, ref Ref) { e.loops[ref.loop()].mailbox.postWritable(ref) }

func simNextDue(l *Loop) int64 { return l.nextDue.Load() }

func simSockOf(c *Conn) *simConn {
	s, _ := c.sock.(*simConn)
	return s
}

// simGone reports whether ref's slot is free or serves another connection.
func simGone(e *Engine, ref Ref) bool { return e.loops[ref.loop()].conn(ref) == nil }

func simConnOf(e *Engine, ref Ref) *Conn { return e.loops[ref.loop()].conn(ref) }

func simQueued(c *Conn) int { return int(c.unsent()) }

// simUnsent reports whether there is something that c's socket has not taken. c may be nil.
func simUnsent(c *Conn) bool {
	if c == nil {
		return false
	}
	t := c.loop.tlsOf(c)
	return c.first.ref != nil || t != nil && t.sealed != nil
}

func simDeferred(c *Conn) bool { return c.flags&flagDeferred != 0 }

func simDescribe(c *Conn) string {
	return fmt.Sprintf("loop %d slot %d state %d flags %017b own %d lag %d input %d fd %d", c.loop.index, c.slot, c.state,
		c.flags, c.own, c.lag, c.input, c.fd)
}

// simPublish publishes for a client, and reports whether the message was taken.
func simPublish(c *Conn, name []byte, p Push) bool { c.Publish(name, p); return true }

// simBigLag gives the engine room for minorities that are not waited for.
func simBigLag(c *Config) { c.Lag, c.Backlog = 16<<20, 1<<20 }

func simSmallLag(c *Config) { c.Lag = 1 << 20 }

// simLimits sets the limits of the random runs.
func simLimits(w *simWorld, c *Config) {
	c.Lag = 16 << 10 << w.pick(5)
	if w.oneIn(3) {
		c.BacklogTotal = int64(64 << 10 << w.pick(5))
	}
	if w.oneIn(8) {
		c.LagAge = time.Duration(w.between(100, 3000)) * time.Millisecond
	}
}

func simStop(e *Engine) { e.stopping.Store(true) }

// simReaches reports whether a topic has subscribers on l.
func simReaches(l *Loop, name []byte) bool {
	k, ok := l.engine.topics.Lookup(name)
	return ok && l.engine.topics.Subscribers(k, l.index) > 0
}

// simEachSubscriber calls f for the subscribers of a topic on l.
func simEachSubscriber(l *Loop, name []byte, f func(*Conn)) {
	k, ok := l.engine.topics.Lookup(name)
	if !ok {
		return
	}
	for _, s := range l.shard.Subscribers(k) {
		f(l.at(s.Slot))
	}
}

// simBusy reports whether l has anything left to do that no timer or peer is needed for.
func simBusy(l *Loop) bool {
	return l.mailbox.length.Load() > 0 || len(l.deferred.list) > 0 || l.mail.next < len(l.mail.messages) ||
		len(l.resumed) > 0 || len(l.yielded) > 0 || len(l.output.dirty) > 0 || len(l.closes) > 0 || l.publisher.open != nil ||
		len(l.catching.ready) > 0
}

// simUnflushed calls f with the encoded messages of each run for a topic that was published and has
// not been passed on to the loops yet: the runs under way and the deferred ones. A run that was begun
// when nobody of the topic spoke a dialect cannot reach one who does: it is from before.
func simUnflushed(w *simWorld, name []byte, dialect uint8, f func([]byte)) {
	e := w.engine
	each := func(r *run) {
		if r == nil || r.to.kind != subscribersOf || !bytes.Equal(r.to.name, name) || !e.live(&r.to) {
			return
		}
		if b := r.blocks[dialect]; b != nil && len(b.data) > 0 {
			if *simTrace >= 0 {
				fmt.Printf("unflushed %s %p %+v: %.60q\n", name, r, r.to.key, b.data)
			}
			f(b.data)
		}
	}
	for _, l := range e.loops {
		each(l.publisher.open)
		for _, p := range l.deferred.list {
			each(p.run)
		}
	}
	for _, wk := range w.workers {
		if wk.pb != nil {
			each(wk.pb.open)
		}
	}
}

// simAccounts is promise P1: what the engine has counted is what is there. inFlight is how many
// bytes publishers that wait at the moment may have on their stacks.
func simAccounts(w *simWorld, inFlight int64) error {
	e := w.engine
	var truth, counted [numKinds]int64
	moved := int64(0)
	seen := w.seenBlocks
	clear(seen)
	add := func(k Kind, b *block) {
		if b == nil {
			return
		}
		if _, ok := seen[b]; !ok {
			seen[b] = struct{}{}
			truth[k] += int64(cap(b.data))
		}
	}
	addRun := func(r *run) {
		if r != nil {
			for _, b := range r.blocks {
				add(KindShared, b)
			}
			add(KindShared, r.kept)
		}
	}
	open := int64(0)
	saw := &w.saw
	saw.looks++
	for k := range counted {
		counted[k] = e.outside.accounts[k].Load()
	}
	for _, l := range e.loops {
		saw.deferred += len(l.deferred.list)
		saw.halfClosed += len(l.halfClosed)
		if l.mailbox.full() {
			saw.full++
		}
		if l.output.pending {
			saw.flushPending++
		}
		for k, n := range l.accounts.now {
			counted[k] += n
		}
		moved += l.accounts.moved
		watched, heavy, congested, excluded, free := 0, 0, 0, 0, 0
		var loopOpen int64
		for _, chunk := range l.chunks {
			for i := range chunk {
				c := &chunk[i]
				if c.state == stateFree {
					free++
					continue
				}
				open++
				loopOpen++
				var own, lag, pushes uint32
				entries := 0
				count := func(en *entry) {
					entries++
					n := en.end - en.off
					switch en.kind {
					case entryShared:
						lag += n
					case entryPush:
						pushes += n
						own += n
					default:
						own += n
					}
					truth[KindUnsent] += entrySize
					add(en.ref.kind, en.ref.block)
				}
				if c.first.ref != nil {
					count(&c.first)
				}
				if q := c.queue; q != nil {
					for i := q.head; i < len(q.entries); i++ {
						count(&q.entries[i])
					}
				}
				if own != c.own || lag != c.lag || pushes != c.pushes() || entries != c.entries() {
					return fmt.Errorf("%s pushes %d: own %d, lag %d, pushes %d are queued", simDescribe(c), c.pushes(), own, lag, pushes)
				}
				truth[KindInput] += c.inputRoom()
				if t := l.tlsOf(c); t != nil {
					truth[KindTLS] += tlsMemory + t.record()
					if t.plain != nil {
						truth[KindInput] += int64(cap(t.plain.buf))
					}
					if t.sealed != nil {
						truth[KindUnsent] += int64(cap(t.sealed.data))
					}
					if t.hs != nil && c.handler == Handler(t.hs) {
						truth[KindHandshakes] += int64(t.hs.charged)
					}
				}
				if c.flags&flagWatched != 0 {
					watched++
					if c.queue == nil || l.pressure.watched[c.queue.watchIndex] != c.slot {
						return fmt.Errorf("%s: watched but not in the list", simDescribe(c))
					}
				}
				if c.flags&flagHeavy != 0 {
					heavy++
					if c.queue == nil || l.heavy.slots[c.queue.heavyIndex] != c.slot {
						return fmt.Errorf("%s: heavy but not in the list", simDescribe(c))
					}
				} else if max(c.own, c.lag, c.input) > l.highWater && c.state == stateOpen {
					return fmt.Errorf("P2: %s: weight %d is above the high-water mark %d, but it is not among the heavy", simDescribe(c), c.weight(), l.highWater)
				}
				if c.flags&flagCongested != 0 {
					congested++
				}
				if c.flags&flagExcluded != 0 {
					excluded++
					saw.excluded++
				}
				if c.flags&flagReadingPaused != 0 {
					saw.paused++
				}
				if c.flags&flagYielding != 0 {
					saw.yielding++
				}
				if r := l.pressure.receivers[c.Ref()]; (r != nil) != (c.flags&(flagCongested|flagExcluded) != 0) {
					return fmt.Errorf("%s: receiver %v", simDescribe(c), r)
				}
				if c.flags&flagBlocked != 0 && c.state == stateOpen && c.pushed() > l.highWater && c.flags&(flagCongested|flagExcluded|flagClosePending) == 0 {
					return fmt.Errorf("%s: full, above the high-water mark %d, and not congested", simDescribe(c), l.highWater)
				}
				if c.pushed() <= l.highWater && c.flags&(flagCongested|flagExcluded) != 0 {
					return fmt.Errorf("%s: below the high-water mark %d, and congested", simDescribe(c), l.highWater)
				}
			}
		}
		saw.congested += congested
		if watched != len(l.pressure.watched) || heavy != len(l.heavy.slots) || heavy != int(l.heavy.count.Load()) {
			return fmt.Errorf("loop %d: %d are watched, %d in the list; %d are heavy, %d in the list", l.index, watched, len(l.pressure.watched), heavy, len(l.heavy.slots))
		}
		if c, x := int(l.pressure.congested.Load()), int(l.pressure.excluded.Load()); c != congested || x != excluded {
			return fmt.Errorf("loop %d: %d are congested, %d counted; %d are excluded, %d counted", l.index, congested, c, excluded, x)
		}
		if n := len(l.pressure.receivers); n != congested+excluded || n != int(l.pressure.count.Load()) {
			return fmt.Errorf("loop %d: %d receivers for %d", l.index, n, congested+excluded)
		}
		if free != len(l.freeSlots) {
			return fmt.Errorf("loop %d: %d slots are free, %d in the list", l.index, free, len(l.freeSlots))
		}
		if n := l.stats.open.Load(); n != loopOpen {
			return fmt.Errorf("loop %d: %d connections are open, %d counted", l.index, loopOpen, n)
		}
		addRun(l.publisher.open)
		for _, p := range l.deferred.list {
			addRun(p.run)
		}
		truth[KindDeferred] += deferredSize * int64(len(l.deferred.list))
		for _, list := range [][]message{l.mail.messages[l.mail.next:], l.mailbox.messages} {
			for i := range list {
				addRun(list[i].run)
				add(KindUnsent, list[i].block)
			}
		}
		for t := range w.topics {
			name := w.topics[t]
			k, ok := e.topics.Lookup(name)
			if !ok {
				continue
			}
			subs, congested, excluded := 0, 0, 0
			for _, s := range l.shard.Subscribers(k) {
				subs++
				switch f := l.at(s.Slot).flags; {
				case f&flagCongested != 0:
					congested++
				case f&flagExcluded != 0:
					excluded++
				}
			}
			if n := e.topics.Subscribers(k, l.index); n != subs {
				return fmt.Errorf("loop %d topic %s: %d subscribers, %d counted", l.index, name, subs, n)
			}
			if p := e.topics.Pressure(k, l.index); p.Congested != congested || p.Excluded != excluded {
				return fmt.Errorf("loop %d topic %s: %d congested, %d counted; %d excluded, %d counted", l.index, name, congested, p.Congested, excluded, p.Excluded)
			}
		}
	}
	for _, wk := range w.workers {
		if wk.pb != nil {
			addRun(wk.pb.open)
		}
	}
	if n := e.connections.Load() - int64(w.enrolling); n != open {
		return fmt.Errorf("%d connections are open, %d counted", open, n)
	}
	for _, l := range e.loops {
		for _, t := range l.trails {
			if t != nil {
				truth[KindUnsent] += t.memory()
			}
		}
		truth[KindTopics] += catchupSize * int64(len(l.catching.by))
		for _, u := range l.catching.by {
			if u.waiting {
				truth[KindTopics] += waitSize
			}
		}
		truth[KindMonitor] += l.topics.memory()
		for i := range l.files.of {
			truth[KindShared] += l.files.of[i].size
		}
		truth[KindAddresses] += int64(len(l.peers)) * keptPeerCost
	}
	sum := int64(0)
	for k := range truth {
		if w.kept != nil {
			n := w.kept(Kind(k))
			if n < 0 {
				n = counted[k]
			}
			truth[k] += n
		}
		if Kind(k) < totalKinds {
			sum += counted[k]
		}
		most := truth[k]
		if Kind(k) == KindShared || Kind(k) == KindUnsent {
			most += inFlight
		}
		if counted[k] < truth[k] || counted[k] > most {
			return fmt.Errorf("%v: %d bytes are kept (and up to %d with publishers that wait), %d counted", Kind(k), truth[k], most-truth[k], counted[k])
		}
	}
	if total := e.total.Load() + moved; total != sum {
		return fmt.Errorf("the total is %d, the sum of the kinds %d", total, sum)
	}
	return nil
}

// simEndHandshakes ends the goroutines of TLS handshakes that a run which has failed leaves behind.
func simEndHandshakes(e *Engine) {
	for _, l := range e.loops {
		for _, t := range l.tls {
			if t != nil && t.hs != nil {
				t.hs.cancel()
			}
		}
	}
}

type simBlock = block

// simLeft is promise P8's end: an error when something is left although all connections have gone.
func simLeft(e *Engine) error {
	for _, l := range e.loops {
		l.publishAccounts()
		secure := slices.ContainsFunc(l.tls, func(t *tlsConn) bool { return t != nil })
		switch {
		case secure:
			return fmt.Errorf("loop %d: TLS of connections that have gone", l.index)
		case len(l.halfClosed) > 0:
			return fmt.Errorf("loop %d: input of %d half-closed connections", l.index, len(l.halfClosed))
		case len(l.pressure.watched) > 0, len(l.heavy.slots) > 0, len(l.deferred.list) > 0, len(l.closes) > 0, len(l.resumed) > 0, len(l.yielded) > 0, len(l.output.dirty) > 0:
			return fmt.Errorf("loop %d: watched %d heavy %d deferred %d closes %d resumed %d dirty %d", l.index, len(l.pressure.watched), len(l.heavy.slots), len(l.deferred.list),
				len(l.closes), len(l.resumed), len(l.output.dirty))
		case len(l.deferred.debts) > 0:
			return fmt.Errorf("loop %d: %d debts of connections that have gone", l.index, len(l.deferred.debts))
		case len(l.catching.waiting) > 0:
			return fmt.Errorf("loop %d: somebody waits for %d topics of the log", l.index, len(l.catching.waiting))
		case len(l.catching.by) > 0, len(l.catching.conns) > 0:
			return fmt.Errorf("loop %d: %d subscriptions of %d connections catch up", l.index, len(l.catching.by), len(l.catching.conns))
		case slices.ContainsFunc(l.trails, func(t *trail) bool { return t != nil }):
			return fmt.Errorf("loop %d: trails of connections that have gone", l.index)
		case len(l.joins.after) > 0:
			return fmt.Errorf("loop %d: %d fresh subscriptions", l.index, len(l.joins.after))
		case l.wheel.count > 0:
			return fmt.Errorf("loop %d: %d deadlines", l.index, l.wheel.count)
		case l.mailbox.length.Load() != 0 || l.mailbox.bytes.Load() != 0:
			return fmt.Errorf("loop %d: mailbox counts %d messages, %d bytes", l.index, l.mailbox.length.Load(), l.mailbox.bytes.Load())
		}
	}
	if w, ok := e.system.(*simWorld); ok && w.openFiles() > 0 {
		return fmt.Errorf("%d files of runs are open", w.openFiles())
	}
	if running, waiting := e.handshakes.now(); running+waiting > 0 {
		return fmt.Errorf("%d TLS handshakes under way, %d wait", running, waiting)
	}
	s := e.Stats()
	if s.Connections != 0 || e.Connections() != 0 || s.Topics != 0 || s.Total != 0 || s.Clients != [MaxDialects]int64{} {
		return fmt.Errorf("%d (%d) connections, %d topics, %d bytes, clients %v", s.Connections, e.Connections(), s.Topics, s.Total, s.Clients[:2])
	}
	for k, n := range s.Accounts {
		if n != 0 && Kind(k) != KindMonitor {
			return fmt.Errorf("account %v: %d", Kind(k), n)
		}
	}
	return nil
}

// simLog records what the engine logs as an error: a panic, for one.
type simLog struct{ w *simWorld }

func (h simLog) Enabled(_ context.Context, level slog.Level) bool { return level >= slog.LevelError }
func (h simLog) WithAttrs([]slog.Attr) slog.Handler               { return h }
func (h simLog) WithGroup(string) slog.Handler                    { return h }
func (h simLog) Handle(_ context.Context, r slog.Record) error {
	text := r.Message
	r.Attrs(func(a slog.Attr) bool { text += fmt.Sprintf(" %s=%v", a.Key, a.Value); return true })
	h.w.fail("the engine logged: %s", text)
	return nil
}

// checkCut looks at a connection that is closed for what it does not read, while that is still there.
func (w *simWorld) checkCut(c *Conn) {
	h, ok := c.handler.(*simHandler)
	switch {
	case !ok:
	case c.why == ReasonSlowConsumer:
		w.checkSlowConsumer(h, c)
	default:
		w.checkVictim(h, c)
	}
}

// checkSlowConsumer is P4: nobody is closed below the limit.
func (w *simWorld) checkSlowConsumer(h *simHandler, c *Conn) {
	l := c.loop
	silent := w.clock - h.file.tookAt
	switch {
	case c.lag >= l.lagLimit, uint32(c.entries())*entrySize >= l.limit, c.pushes() >= l.limit:
	case c.own > 2*l.limit && silent >= (replyStall-2)*1000:
	case l.engine.config.LagAge > 0:
	default:
		w.fail("P4: client %d (%s) is closed with a lag of %d (limit %d), %d of its own, %d pushes, %d entries (limit %d), after %d ms of silence", h.client.index, h.client.kind,
			c.lag, l.lagLimit, c.own, c.pushes(), c.entries(), l.limit, silent/1000)
	}
}

// simWeigh follows which connections are above the high-water mark, and since when.
func (w *simWorld) simWeigh() {
	for _, h := range w.handlers {
		if h.closed {
			continue
		}
		c := simConnOf(w.engine, h.ref)
		over := c != nil && c.weight() > int64(c.loop.highWater)
		if over && !h.over || !over {
			h.below = w.clock
		}
		h.over = over
	}
}

// checkVictim is P2: the connection that goes because of the total is the largest that has not been
// below high-water for 2 s.
func (w *simWorld) checkVictim(h *simHandler, c *Conn) {
	const grace = 200_000 // us
	if w.jumpedAt > w.clock-simSecond && w.jumpedAt > 0 {
		return // the loops know little of one another after a standstill
	}
	total, limit := w.engine.total.Load(), w.engine.config.BacklogTotal
	age := int64(heavyFor * 1000)
	if total > limit+limit/urgentPart {
		age = 0 // whoever is largest
	} else if w.clock-h.below < age-grace && total < limit {
		w.fail("P2: client %d (%s) goes, which was below the high-water mark %d ms ago", h.client.index, h.client.kind, (w.clock-h.below)/1000)
	}
	for _, other := range w.handlers {
		if other == h || other.closed || w.clock-other.below < age+grace || w.loops[other.ref.loop()].stuck > w.clock-simSecond/5 {
			continue
		}
		o := simConnOf(w.engine, other.ref)
		if o == nil || !o.Open() {
			continue
		}
		// Judgements are up to 40 ms old, and input comes 64 KiB at once.
		if o.weight()-o.inputRoom() > 2*c.weight()+8192 {
			w.fail("P2: client %d goes with %d bytes, client %d has %d (above high-water for %d ms)", h.client.index, c.weight(), other.client.index, o.weight(), (w.clock-other.below)/1000)
			return
		}
	}
}

// checkWait is P3 for a source outside the loops, at each sleep within a call. It reports whether
// none of those that it waits for has taken bytes for a while.
func (w *simWorld) checkWait(k *simWorker) (silent bool) {
	if k.topic < 0 || w.failure != "" {
		return false
	}
	e := w.engine
	name := w.topics[k.topic]
	receivers, congested := 0, 0
	took, served := int64(0), int64(0) // us; served also by those that are not congested any more
	behind := 0.0                      // how much of their limits those congested on a loop have used up
	for _, l := range e.loops {
		if !simReaches(l, name) {
			continue
		}
		if l.mailbox.full() {
			return false
		}
		some, sum := 0, 0.0
		simEachSubscriber(l, name, func(c *Conn) {
			receivers++
			f := w.fileOf(c)
			switch {
			case c.flags&flagExcluded != 0:
				receivers--
			case c.flags&flagCongested != 0:
				congested++
				some++
				sum += max(float64(c.lag)/float64(l.lagLimit), float64(c.entries()*entrySize)/float64(l.limit))
				if f != nil {
					took = max(took, f.tookAt)
				}
			}
			if f != nil {
				served = max(served, f.servedAt)
			}
		})
		behind = max(behind, sum/float64(max(some, 1)))
	}
	silence := int64(quiet)
	if receivers >= crowdPart {
		took = max(took, served)
		silence = max(silence, int64(behind*stallTimeout))
	}
	waited := w.clock - k.begun
	if *simTrace >= 0 {
		fmt.Printf("%d WAIT worker %d: %d of %d congested, silent %d ms, owed %d, waited %d us, %d ms in silence\n", w.clock/1000, k.source, congested, receivers,
			(w.clock-took)/1000, k.pb.debt.owed(w.ms()), waited, k.silent/1000)
	}
	switch {
	case congested == 0:
		w.fail("P3: worker %d waits for none of %d receivers of topic %d", k.source, receivers, k.topic)
	case congested*crowdPart < receivers:
		if waited > 4000 {
			w.fail("P3: worker %d has waited %d us for %d of %d receivers", k.source, waited, congested, receivers)
		}
	case w.clock-took > (silence+2*lookEvery)*1000:
		limit := debtLimit*1000 + (w.clock-k.started)/debtPart + 150_000
		if k.silent > limit && w.shown.jumps == 0 && w.shown.stuck == 0 {
			w.fail("P3: worker %d has waited %d ms in silence within %d ms", k.source, k.silent/1000, (w.clock-k.started)/1000)
		}
		return true
	}
	return false
}

func (w *simWorld) fileOf(c *Conn) *simFile {
	if c.fd < 0 {
		return nil
	}
	f := w.fds[c.fd]
	if f != nil {
		f.seen = c
	}
	return f
}

// checkDeferred is P3 for clients: what may go is not kept.
func (w *simWorld) checkDeferred() {
	for i, l := range w.engine.loops {
		sl := w.loops[i]
		if len(l.deferred.list) == 0 || l.output.pending || sl.stuck > w.clock {
			sl.freeRun = nil
			continue
		}
		r := l.deferred.list[0].run
		free := true
		for _, other := range w.engine.loops {
			if !other.reaches(&r.to) {
				continue
			}
			if other != l && other.mailbox.full() {
				free = false
			}
			simEachSubscriber(other, r.to.name, func(c *Conn) { free = free && c.flags&flagCongested == 0 })
		}
		if !free || sl.freeRun != r {
			sl.freeRun, sl.freeSince = r, w.fair()
			if !free {
				sl.freeRun = nil
			}
			continue
		}
		if w.fair()-sl.freeSince > 100_000 {
			w.fail("P3: a publish of loop %d to %s is deferred for nothing for %d ms", i, r.to.name, (w.fair()-sl.freeSince)/1000)
		}
	}
}

type simRunRef = *run

// checkLoopNeverWaits is P3: a loop never sleeps.
func (w *simWorld) checkLoopNeverWaits() {
	w.fail("P3: a loop sleeps")
}
