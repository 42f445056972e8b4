package cluster

import (
	"errors"
	"runtime/debug"
	"sync"
)

const (
	// maxServing and maxServingBytes bound what waits of one node's commands. One more is answered
	// that this node is busy.
	maxServing      = 8192
	maxServingBytes = 8 << 20
	// servingCost is what one costs beside its payload, in bytes.
	servingCost = 128
)

// A peer is a node whose commands are carried out, on one goroutine in their order.
type peer struct {
	rpc    *rpc
	origin origin
	wake   chan struct{} // a token: there is something
	over   chan struct{} // closed when the node has left

	// Of the goroutine that receives: of what comes for this node alone, and for all; and what has come.
	alone, all assembly
	seen       seen

	mu    sync.Mutex
	list  []incoming
	bytes int
	ended bool
}

// An incoming is a command of another node.
type incoming struct {
	number  uint64
	wants   bool
	payload []byte
}

// receive is the goroutine that receives.
func (r *rpc) receive() {
	all := r.subjects.commands()
	for {
		select {
		case <-r.stop:
			return
		case m, ok := <-r.bus.Messages():
			if !ok {
				return
			}
			if err := r.hear(m.Data, m.Subject == all); err != nil {
				r.ignore(err)
			}
		}
	}
}

// ignore counts what is not understood.
func (r *rpc) ignore(err error) {
	s := &r.stats
	switch {
	case errors.Is(err, errVersion):
		s.version.Add(1)
	case errors.Is(err, errOwn):
		s.own.Add(1)
		return // what is for all comes back
	case errors.Is(err, errShort), errors.Is(err, errSum):
		s.short.Add(1)
	case errors.Is(err, errSender):
		s.sender.Add(1)
	case errors.Is(err, errAgain):
		s.again.Add(1)
	default:
		s.foreign.Add(1)
	}
	r.log.Debug("a frame of the control connection is ignored", "err", err)
}

// hear takes a frame. The error says that it is ignored.
func (r *rpc) hear(b []byte, forAll bool) error {
	frame, err := unseal(b)
	if err != nil {
		return err
	}
	kind, from, body, err := parseHeader(frame)
	switch {
	case err != nil:
		return err
	case from == r.self:
		return errOwn
	case !r.nodes.knows(from):
		return errSender
	case kind == KindCommand:
		return r.hearCommand(from, body, forAll)
	case kind == KindAnswer:
		return r.hearAnswer(from, body)
	}
	return errForeign
}

func (r *rpc) hearCommand(from origin, body []byte, forAll bool) error {
	var f commandFrame
	if err := f.read(body); err != nil {
		return err
	}
	if f.to != r.self.incarnation && (f.to != 0 || !forAll) {
		return errSender // for a process that was here before
	}
	p := r.peer(from)
	if p == nil {
		return nil // stopping
	}
	a := &p.alone
	if forAll {
		a = &p.all
	}
	switch mine := a.next > 0 && a.number == f.number; {
	case mine && f.part >= a.next: // it goes on
	case mine, p.seen.has(f.number): // and does not end what goes on
		return errAgain
	case f.part == 0:
		p.seen.add(f.number)
	}
	payload, whole, bad := a.add(f.flags, f.number, f.part, f.payload)
	if whole {
		p.put(incoming{f.number, f.flags&flagWantsAnswer != 0, payload})
	}
	if bad {
		return errShort
	}
	return nil
}

func (r *rpc) hearAnswer(from origin, body []byte) error {
	var f answerFrame
	if err := f.read(body); err != nil {
		return err
	}
	if f.to != r.self.incarnation {
		return errSender
	}
	r.mu.Lock()
	c := r.calls[f.number]
	var payload []byte
	var waits, whole, bad bool
	if c != nil {
		for _, a := range c.left {
			if a.node == from {
				waits = true
				payload, whole, bad = a.assembly.add(f.flags, f.number, f.part, f.payload)
			}
		}
	}
	r.mu.Unlock()
	switch {
	case !waits:
		r.stats.late.Add(1)
		return nil
	case bad:
		r.finish(c, from, nil, ErrFailed)
		return errShort
	case !whole:
		return nil
	}
	r.stats.answered.Add(1)
	switch f.status {
	case statusBusy:
		r.finish(c, from, nil, ErrBusy)
	case statusFailed:
		r.finish(c, from, nil, ErrFailed)
	default:
		r.finish(c, from, payload, nil)
	}
	return nil
}

// peer returns who carries out a node's commands, nil when the rpc is closed.
func (r *rpc) peer(from origin) *peer {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.peers[from.id]
	if p != nil && p.origin == from {
		return p
	}
	if r.closed {
		return nil
	}
	if p != nil { // another process had the id, and its leaving is yet to be told
		p.end()
	}
	p = &peer{rpc: r, origin: from, wake: make(chan struct{}, 1), over: make(chan struct{})}
	r.charge(seenCost)
	r.peers[from.id] = p
	r.tasks.Go(p.run)
	return p
}

// put queues a command, or says that this node is busy.
func (p *peer) put(in incoming) {
	cost := len(in.payload) + servingCost
	p.mu.Lock()
	if p.ended {
		p.mu.Unlock()
		return
	}
	full := len(p.list) >= maxServing || p.bytes >= maxServingBytes
	if !full {
		p.list = append(p.list, in)
		p.bytes += cost
		p.rpc.charge(cost)
	}
	p.mu.Unlock()
	if full {
		p.rpc.stats.busy.Add(1)
		p.rpc.log.Warn("a command of another node is refused: too many of its wait", "node", p.origin.id)
		if in.wants {
			p.rpc.answer(p.origin, in.number, statusBusy, nil)
		}
		return
	}
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// end has the goroutine end, and forgets what waits.
func (p *peer) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return
	}
	p.ended = true
	p.rpc.charge(-p.bytes - seenCost)
	p.list, p.bytes = nil, 0
	close(p.over)
}

// run carries out commands.
func (p *peer) run() {
	for {
		select {
		case <-p.over:
			return
		case <-p.wake:
		}
		for {
			p.mu.Lock()
			if len(p.list) == 0 {
				p.list = nil
				p.mu.Unlock()
				break
			}
			in := p.list[0]
			p.list[0] = incoming{}
			p.list = p.list[1:]
			p.mu.Unlock()
			p.serve(in)
			p.mu.Lock()
			if !p.ended { // else it is off the account already
				cost := len(in.payload) + servingCost
				p.bytes -= cost
				p.rpc.charge(-cost)
			}
			p.mu.Unlock()
		}
	}
}

// serve carries out one command.
func (p *peer) serve(in incoming) {
	r := p.rpc
	defer func() {
		if v := recover(); v != nil {
			r.stats.panics.Add(1)
			r.log.Error("panic in a command of another node", "node", p.origin.id, "panic", v,
				"stack", string(debug.Stack()))
			if in.wants {
				r.answer(p.origin, in.number, statusFailed, nil)
			}
		}
	}()
	h := r.handler.Load()
	if h == nil {
		if in.wants {
			r.answer(p.origin, in.number, statusFailed, nil)
		}
		return
	}
	r.stats.served.Add(1)
	var answer func([]byte)
	if in.wants {
		var once sync.Once
		answer = func(b []byte) {
			once.Do(func() { r.answer(p.origin, in.number, statusDone, b) })
		}
	}
	(*h)(p.origin.id, in.payload, answer)
}

// answer sends an answer.
func (r *rpc) answer(to origin, number uint64, s status, payload []byte) {
	if len(payload) > maxWhole {
		r.stats.tooLong.Add(1)
		r.log.Warn("an answer to another node is too long", "node", to.id, "bytes", len(payload))
		s, payload = statusFailed, nil
	}
	var frames [][]byte
	split(payload, r.part, func(more uint8, part uint32, b []byte) {
		f := answerFrame{to: to.incarnation, flags: more, number: number, part: part, status: s, payload: b}
		frames = append(frames, f.append(appendHeader(make([]byte, 0, answerHead+len(b)), KindAnswer, r.self)))
	})
	if !r.out.put(r.subjects.command(to.id), frames, 0) {
		r.stats.full.Add(1)
		r.log.Warn("an answer to another node was not sent: too much waits", "node", to.id)
	}
}
