package cluster

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicenet/sluice/topic"
)

// Messages of topics with history go to the stream, one frame of a topic at a time: what comes until it
// is confirmed goes into the next one. A frame that is not confirmed is sent again, with the same id, so
// that it is stored once.

const (
	// maxAppend is how many bytes of records a frame that others join may have.
	maxAppend = 64 << 10
	// appendAgain is when a frame that is not confirmed is sent again, appendPause when one that was
	// refused for now is.
	appendAgain = time.Second
	appendPause = 100 * time.Millisecond
	// appendTick is how often it is looked for those.
	appendTick = 50 * time.Millisecond
	// positionTrust is for how long what was heard of the stream is good for a position.
	positionTrust = 2 * time.Second
	// appendIdle is how long a topic is remembered behind its last message.
	appendIdle = 10 * time.Second
	// appendingCost is what a topic costs beside its name and subject, in bytes.
	appendingCost = 512
)

// An appending is a topic whose messages go to the stream. Of appender.mu.
type appending struct {
	name, subject string
	// target is for credits: others are as far as they say of series.
	target target
	frames []*appendFrame // the first one is under way
	bytes  int64
	ready  bool // it is in appender.ready
	used   time.Time
}

func (a *appending) cost() int64 { return int64(appendingCost + len(a.name) + len(a.subject)) }

// An appendFrame is messages that go to the stream together.
type appendFrame struct {
	topic  *appending
	packet *packet
	ticket uint64 // 0: it was not sent yet
	made   time.Time
	due    time.Time // when it is sent again
	tries  int
	waits  []appendWait
	sealed bool
	// Of its head.
	offset uint64
	ask    bool
}

// An appendWait is who wants to know where a message is.
type appendWait struct {
	behind uint32 // how many records of the frame are up to it
	done   func(topic.Position, error)
}

type appender struct {
	h     *history
	limit int64 // bytes of all topics
	most  int64 // of one
	wakes chan struct{}

	mu     sync.Mutex
	topics map[string]*appending
	ready  []*appending        // whose first frame is to be sent
	unsure []func(StreamState) // are stored, and are answered once it is known in which stream
	closed bool

	queued atomic.Int64 // bytes; written with mu held

	// Of the goroutine.
	under     map[uint64]*appendFrame // on their way, by ticket
	ticket    uint64
	series    uint64
	seen      uint64 // the highest number of a frame
	swept     time.Time
	resendAll atomic.Bool // all that is on its way is to be sent again at once
}

func newAppender(h *history, limit, most int64) appender {
	return appender{
		h: h, limit: limit, most: most, wakes: make(chan struct{}, 1), topics: make(map[string]*appending),
		under: make(map[uint64]*appendFrame),
	}
}

func (a *appender) wake() {
	select {
	case a.wakes <- struct{}{}:
	default:
	}
}

// resend has all that is on its way be sent again at once.
func (a *appender) resend() {
	a.resendAll.Store(true)
	a.wake()
}

// Full implements engine.Log.
func (h *history) Full(name []byte) bool {
	a := &h.appender
	if a.queued.Load() > a.limit/2 {
		return true
	}
	if a.queued.Load() == 0 && h.t.credits.count.Load() == 0 {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	p := a.topics[string(name)]
	return p != nil && (p.bytes > a.most/2 || p.target.congested.Load())
}

// Append implements engine.Log.
func (h *history) Append(name, records []byte, n int, done func(topic.Position, error)) {
	refuse := func(err error, count *atomic.Uint64) {
		count.Add(uint64(n))
		h.log.Warn("messages of a topic with history were not published", "err", err, "topic", string(name), "messages", n)
		if done != nil {
			go done(topic.Position{}, err)
		}
	}
	switch {
	case len(name) == 0 || len(name) > maxName:
		refuse(errBody, &h.counts.refused)
		return
	case n > 1 && (n > maxFrameRecords || runHead(len(name))+len(records) > h.longest()):
		h.split(name, records, done)
		return
	case runHead(len(name))+len(records) > h.longest():
		refuse(ErrHistoryTooLong, &h.counts.tooLong)
		return
	}
	if !h.appender.put(name, records, n, done) {
		refuse(ErrHistoryFull, &h.counts.full)
	}
}

// longest is how long a frame may be: the stream adds headers to it.
func (h *history) longest() int { return h.t.bus.MaxPayload() - 1<<10 }

// split appends records one by one. The last one's answer is that of all.
func (h *history) split(name, records []byte, done func(topic.Position, error)) {
	if done == nil {
		eachRecord(records, func(record []byte) { h.Append(name, record, 1, nil) })
		return
	}
	var mu sync.Mutex
	var failed error
	var last topic.Position
	left := countRecords(records)
	each := func(at topic.Position, err error) {
		mu.Lock()
		if err != nil && failed == nil {
			failed = err
		}
		if last.Epoch != at.Epoch || last.Seq < at.Seq {
			last = at
		}
		left--
		at, err, over := last, failed, left == 0
		mu.Unlock()
		if over {
			done(at, err)
		}
	}
	eachRecord(records, func(record []byte) { h.Append(name, record, 1, each) })
}

// put queues messages. It reports false when there is no room.
func (a *appender) put(name, records []byte, n int, done func(topic.Position, error)) bool {
	size := runHead(len(name)) + len(records) + sumLen
	a.mu.Lock()
	defer a.mu.Unlock()
	p := a.topics[string(name)]
	if a.closed || a.queued.Load()+int64(size) > a.limit || p != nil && p.bytes+int64(size) > a.most && len(p.frames) > 0 {
		return false
	}
	if p == nil {
		p = &appending{name: string(name), subject: a.h.t.subs.history(string(name))}
		p.target.name = p.name
		a.topics[p.name] = p
		a.h.t.charge(p.cost())
	}
	var f *appendFrame
	if last := len(p.frames) - 1; last >= 0 {
		if k := p.frames[last]; k.ticket == 0 && k.packet.records+len(records) <= maxAppend &&
			int(k.packet.count)+n <= maxFrameRecords && k.packet.class >= 0 {
			f = k
		}
	}
	if f == nil {
		f = &appendFrame{topic: p, packet: newPacket(size), made: time.Now()}
		f.packet.frame = appendRunHead(f.packet.frame, a.h.t.self, name)
		a.account(p, int64(cap(f.packet.frame)))
		p.frames = append(p.frames, f)
	}
	k := f.packet
	if need := len(k.frame) + len(records) + sumLen; need > cap(k.frame) {
		a.account(p, k.grow(need))
	}
	k.frame = append(k.frame, records...)
	k.records += len(records)
	k.count += uint32(n)
	if done != nil {
		f.waits = append(f.waits, appendWait{k.count, done})
	}
	if len(p.frames) == 1 && !p.ready {
		p.ready = true
		a.ready = append(a.ready, p)
		a.wake()
	}
	return true
}

// account counts bytes that wait. mu is held.
func (a *appender) account(p *appending, n int64) {
	p.bytes += n
	a.queued.Add(n)
	a.h.t.charge(n)
}

// run is the goroutine.
func (a *appender) run() {
	timer := time.NewTimer(never)
	defer timer.Stop()
	for {
		again := appendIdle
		if len(a.under) > 0 {
			again = appendTick
		}
		timer.Reset(again)
		select {
		case <-a.h.ctx.Done():
			return
		case k := <-a.h.stream.Acks():
			a.confirmed(k)
		case <-a.wakes:
			if a.resendAll.Swap(false) {
				a.tick(time.Now(), true)
			}
		case now := <-timer.C:
			a.tick(now, false)
		}
		a.turn()
	}
}

// turn sends the first frames of topics that have some.
func (a *appender) turn() {
	for a.h.ctx.Err() == nil {
		a.mu.Lock()
		if len(a.ready) == 0 {
			a.ready = nil
			a.mu.Unlock()
			return
		}
		p := a.ready[0]
		a.ready = a.ready[1:]
		p.ready = false
		f := p.frames[0]
		a.ticket++
		f.ticket = a.ticket // from here on nothing joins it
		a.mu.Unlock()
		a.under[f.ticket] = f
		a.begin(f)
		a.send(f)
	}
}

// begin gives a frame its place in its topic's series.
func (a *appender) begin(f *appendFrame) {
	e := &f.topic.target
	if e.series == 0 {
		a.series++
		e.series = historySeries | a.series
	}
	f.offset = e.offset
	e.offset += uint64(f.packet.records)
	var woke bool
	if f.ask, woke = a.h.t.credits.sent(e, e.offset, a.h.wants); woke {
		a.h.t.wake()
	}
}

// wants returns which other nodes have subscribers to a topic whose frames set a pace.
func (h *history) wants(e *target) (s idSet) {
	if t := h.t.interest.get([]byte(e.name)); t != nil {
		return h.t.interest.wants(t)
	}
	return s
}

// send sends a frame, another time if need be.
func (a *appender) send(f *appendFrame) {
	f.tries++
	if f.tries > 1 {
		a.h.counts.again.Add(1)
	}
	k := f.packet
	if f.sealed {
		k.frame = k.frame[:len(k.frame)-sumLen]
	}
	st, _ := a.h.lastState() // which may be another than at the last try
	putRun(k.frame, len(f.topic.name), f.ask, f.topic.target.series, max(st.Epoch, 1), f.offset, k.count)
	k.frame, f.sealed = seal(k.frame), true
	f.due = time.Now().Add(appendAgain)
	id := fmt.Sprintf("%02x-%016x-%d", a.h.t.self.id, a.h.t.self.incarnation, f.ticket)
	if fault == 38 {
		id += fmt.Sprint("-", f.tries)
	}
	if err := a.h.stream.Append(f.topic.subject, id, k.frame, f.ticket); err != nil {
		f.due = time.Now().Add(appendPause)
	}
}

// confirmed takes an answer of the stream.
func (a *appender) confirmed(k StreamAck) {
	f := a.under[k.Ticket]
	if f == nil {
		return // it was given up
	}
	busy := (*busyError)(nil)
	switch {
	case k.Err == nil:
		c := &a.h.counts
		c.appends.Add(1)
		c.appended.Add(uint64(f.packet.count))
		c.bytes.Add(uint64(len(f.packet.frame)))
		if k.Duplicate {
			c.duplicates.Add(1)
		} else if k.Seq < a.seen { // it counts anew
			a.h.doubt(true)
			a.h.heardAt.Store(0)
			a.seen = 0
		}
		a.seen = max(a.seen, k.Seq)
		a.done(f, k.Seq, nil)
	case errors.Is(k.Err, ErrNoStream):
		a.h.doubt(true)
		f.due = time.Now().Add(appendPause)
	case errors.As(k.Err, &busy):
		f.due = time.Now().Add(appendPause)
	default:
		a.h.counts.refused.Add(uint64(f.packet.count))
		a.h.log.Error("the log of histories has refused messages", "err", k.Err, "topic", f.topic.name,
			"messages", f.packet.count)
		a.done(f, 0, fmt.Errorf("cluster: the log of histories has refused the message: %w", k.Err))
	}
}

// done ends a frame, which is the first of its topic's, and has the next one be sent.
func (a *appender) done(f *appendFrame, seq uint64, err error) {
	delete(a.under, f.ticket)
	p, k := f.topic, f.packet
	count, waits := k.count, f.waits
	a.mu.Lock()
	p.used = time.Now()
	a.account(p, -int64(cap(k.frame)))
	p.frames[0] = nil
	if p.frames = p.frames[1:]; len(p.frames) == 0 {
		p.frames = nil
	} else {
		p.ready = true
		a.ready = append(a.ready, p)
	}
	k.free()
	a.mu.Unlock()
	if len(waits) == 0 {
		return
	}
	answer := func(st StreamState) {
		for _, w := range waits {
			if err != nil {
				w.done(topic.Position{}, err)
				continue
			}
			w.done(topic.Position{Epoch: st.Epoch, Seq: behind(seq) - uint64(count-w.behind)}, nil)
		}
	}
	if err != nil || a.trusted() {
		st, _ := a.h.lastState()
		answer(st)
		return
	}
	a.mu.Lock()
	a.unsure = append(a.unsure, answer)
	first := len(a.unsure) == 1
	a.mu.Unlock()
	if first {
		a.h.tasks.Go(a.askOnce)
	}
}

// trusted reports whether what was heard of the stream is good for a position: else it may be another one
// by now.
func (a *appender) trusted() bool {
	since := time.Since(time.Unix(0, a.h.heardAt.Load()))
	return 0 <= since && since < positionTrust // less: the clock was set back
}

// askOnce asks for the stream's state for all who wait for that.
func (a *appender) askOnce() {
	if !a.trusted() {
		_, _ = a.h.ask(renewTimeout)
	}
	st, _ := a.h.lastState()
	a.mu.Lock()
	unsure := a.unsure
	a.unsure = nil
	a.mu.Unlock()
	for _, answer := range unsure {
		answer(st)
	}
}

// tick sends again what was not confirmed, gives up what was not for too long, and forgets topics.
func (a *appender) tick(now time.Time, all bool) {
	for _, f := range entries(a.under) {
		if now.Sub(f.made) >= a.h.config.Wait {
			a.giveUp(f)
		} else if all || !now.Before(f.due) {
			a.send(f)
		}
	}
	if now.Sub(a.swept) < appendIdle {
		return
	}
	a.swept = now
	a.mu.Lock()
	defer a.mu.Unlock()
	for name, p := range a.topics {
		if len(p.frames) == 0 && now.Sub(p.used) >= appendIdle && !a.h.t.credits.has(&p.target) {
			delete(a.topics, name)
			a.h.t.charge(-p.cost())
		}
	}
}

// giveUp ends a frame that was not confirmed in time. It may be stored yet.
func (a *appender) giveUp(f *appendFrame) {
	a.h.counts.late.Add(uint64(f.packet.count))
	a.h.log.Error("messages were not confirmed by the log of histories in time", "topic", f.topic.name,
		"messages", f.packet.count, "after", a.h.config.Wait)
	a.done(f, 0, ErrHistoryLate)
}

// end gives up what waits, once the goroutine has ended.
func (a *appender) end() {
	a.mu.Lock()
	a.closed = true
	var left []*appendFrame
	for name, p := range entries(a.topics) {
		for _, f := range p.frames {
			a.account(p, -int64(cap(f.packet.frame)))
			left = append(left, f)
		}
		p.frames = nil
		delete(a.topics, name)
		a.h.t.charge(-p.cost())
	}
	a.mu.Unlock()
	for _, f := range left {
		a.h.counts.late.Add(uint64(f.packet.count))
		for _, w := range f.waits {
			w.done(topic.Position{}, errHistoryClosed)
		}
	}
}

// find returns the target of a topic that is published to, nil if there is none.
func (a *appender) find(name []byte) *target {
	a.mu.Lock()
	defer a.mu.Unlock()
	if p := a.topics[string(name)]; p != nil {
		return &p.target
	}
	return nil
}
