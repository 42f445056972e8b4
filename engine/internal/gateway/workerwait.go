package gateway

import (
	"time"
	"unsafe"

	"github.com/sluicenet/sluice/engine"
)

// Requests that meet no worker wait for one (Config.WaitWorkers): after a restart clients are back
// before the workers are, and the vendor's client for Longbridge subscribes once and never again.
//
// They wait on their loop, by worker id. When a worker of that id registers, the clients have their
// turn one after the other, a request each, and each client's come in their order. While some of a
// client's wait, its later ones for the same id wait behind them. What waits is on the client's
// account and counts as its pending requests: who sends more than these may be is not read.

// A workerQueue is what waits for a worker id on a loop: a ring of clients in turn.
type workerQueue struct {
	id          int
	first, last *clientQueue
	asked       bool // another release is on its way
}

// A clientQueue is what waits of one client, oldest first.
type clientQueue struct {
	of          *workerQueue
	ref         engine.Ref
	first, last *waitingRequest
	prev, next  *clientQueue // in turn
	other       *clientQueue // the same client's for another id
}

// A waitingRequest is a copy of one.
type waitingRequest struct {
	request Request // its slices are in one piece of memory
	timeout int64   // ms on the engine's clock, when the client waits no more
	until   int64   // when the wait is over; no later than timeout
	place   uint32  // in the pending table; 0: no reply is wanted
	cost    int     // charged, beside what the place costs
	next    *waitingRequest
	again   bool // whoever was to serve it cannot yet
}

const (
	// waitingCost is the bytes that a request costs beside what is in it, while it waits.
	waitingCost = int(unsafe.Sizeof(waitingRequest{}))
	// releaseBatch is how many requests a loop passes on at a stretch, and releasePause how long it
	// waits when the worker takes no more for now.
	releaseBatch = 256
	releasePause = 20 * time.Millisecond
)

// Wait has the request wait for a worker of an id, which is to be given it as soon as it has
// registered. It reports false if the request is not to wait, so that it must be answered. A handler
// that cannot take a request that has waited calls it again: the request keeps its place.
func (r *Request) Wait(worker int) bool {
	if q := r.waiting; q != nil {
		q.again, r.done = true, true
		return true
	}
	g, c, cl := r.gateway, r.conn, r.session.Base()
	wait := g.Config().WaitWorkers
	if wait < 0 || r.done || worker < 1 || g.Draining() || !c.Open() {
		return false
	}
	r.done = true
	timeout := g.Config().RequestTimeout
	if r.Timeout > 0 {
		timeout = r.Timeout
	}
	now, t := c.Loop().Now(), g.table(c)
	w := &waitingRequest{timeout: now + max(timeout.Milliseconds(), 1), cost: r.size() + waitingCost}
	w.until = min(w.timeout, now+max(wait.Milliseconds(), 1))
	x := cl.ensure(&t.clients)
	q := &x.pending
	if r.WantsReply {
		place, p := t.add(q, c.Ref(), r.ID, r.Cmd)
		if place == 0 {
			r.done = false
			return false
		}
		p.deadline, p.bytes = w.until, int32(w.cost)
		w.place = place
		g.charge(c, q, engine.KindRequests, pendingCost)
		t.keepSpan(w.place, r.span)
		r.span = nil
	} else {
		q.open++
	}
	g.charge(c, q, engine.KindRequests, w.cost)
	w.request = r.copy()
	r.span = nil // the copy's
	g.scratch[c.Loop().Index()].enqueue(x, c.Ref(), worker, w)
	g.stats.waited.Add(1)
	if q.armed == 0 || w.until < q.armed {
		q.armed = w.until
		g.Arm(c, r.session)
	}
	g.holdInput(c, x)
	if g.reachable(worker) != nil { // it has registered since it was looked for
		g.releaseSoon(c.Loop(), worker)
	}
	return true
}

// Waited reports whether the request has waited for its worker.
func (r *Request) Waited() bool { return r.waiting != nil }

// copy returns the request with slices of its own.
func (r *Request) copy() Request {
	n := *r
	room := make([]byte, 0, len(r.Route)+len(r.Payload)+len(r.Data))
	own := func(b []byte) []byte {
		if b == nil {
			return nil
		}
		start := len(room)
		room = append(room, b...)
		return room[start:len(room):len(room)]
	}
	n.Route, n.Payload, n.Data = own(r.Route), own(r.Payload), own(r.Data)
	n.gateway, n.conn, n.session, n.done = nil, nil, nil, false
	return n
}

// queueFor returns what waits of a client for a worker id, nil if nothing does.
func (x *extra) queueFor(worker int) *clientQueue {
	if x == nil {
		return nil
	}
	for q := x.waiting; q != nil; q = q.other {
		if q.of.id == worker {
			return q
		}
	}
	return nil
}

// enqueue puts w behind what else waits of its client.
func (s *Scratch) enqueue(x *extra, ref engine.Ref, worker int, w *waitingRequest) {
	q := x.queueFor(worker)
	if q == nil {
		of := s.workers[worker]
		if of == nil {
			of = &workerQueue{id: worker}
			if s.workers == nil {
				s.workers = make(map[int]*workerQueue)
			}
			s.workers[worker] = of
		}
		q = &clientQueue{of: of, ref: ref, other: x.waiting}
		x.waiting = q
		of.push(q)
	}
	if q.last != nil {
		q.last.next = w
	} else {
		q.first = w
	}
	q.last = w
}

// push puts a client at the end of the ring.
func (of *workerQueue) push(q *clientQueue) {
	q.prev, q.next = of.last, nil
	if of.last != nil {
		of.last.next = q
	} else {
		of.first = q
	}
	of.last = q
}

// remove takes a client out of the ring.
func (of *workerQueue) remove(q *clientQueue) {
	if q.prev != nil {
		q.prev.next = q.next
	} else {
		of.first = q.next
	}
	if q.next != nil {
		q.next.prev = q.prev
	} else {
		of.last = q.prev
	}
	q.prev, q.next = nil, nil
}

// pop takes the first request of a client out.
func (q *clientQueue) pop() *waitingRequest {
	w := q.first
	if q.first = w.next; q.first == nil {
		q.last = nil
	}
	w.next = nil
	return w
}

// unpop puts it back.
func (q *clientQueue) unpop(w *waitingRequest) {
	if w.next = q.first; q.first == nil {
		q.last = w
	}
	q.first = w
}

// dropQueue lets go of a queue of x's that is empty, or whose client is gone.
func (x *extra) dropQueue(q *clientQueue) {
	q.of.remove(q)
	at := &x.waiting
	for *at != q {
		at = &(*at).other
	}
	*at = q.other
}

// releaseAll has each loop pass on what waits for a worker id. Any goroutine may call it.
func (g *Gateway) releaseAll(worker int) {
	if g.engine == nil {
		return
	}
	for i := range g.engine.Loops() {
		g.engine.TellLoop(i, func() { g.releaseFor(&g.scratch[i], worker) })
	}
}

// releaseSoon has a loop do so in a later turn.
func (g *Gateway) releaseSoon(l *engine.Loop, worker int) {
	s := &g.scratch[l.Index()]
	if of := s.workers[worker]; of != nil && !of.asked {
		of.asked = true
		g.engine.TellLoop(l.Index(), func() { g.releaseFor(s, worker) })
	}
}

// releaseLater has a loop do so when the worker may have room.
func (g *Gateway) releaseLater(l *engine.Loop, worker int) {
	s := &g.scratch[l.Index()]
	of := s.workers[worker]
	if of.asked {
		return
	}
	of.asked = true
	time.AfterFunc(releasePause, func() {
		g.engine.TellLoop(l.Index(), func() { g.releaseFor(s, worker) })
	})
}

// releaseFor passes on what waits on a loop for a worker id, as far as its workers take it.
func (g *Gateway) releaseFor(s *Scratch, worker int) {
	of := s.workers[worker]
	if of == nil {
		return
	}
	of.asked = false
	var stuck *clientQueue // the first that was not served since one was
	for n := 0; of.first != nil; n++ {
		h := g.reachable(worker)
		if h == nil {
			return
		}
		q := of.first
		if q == stuck || n == releaseBatch && stuck != nil {
			g.releaseLater(s.pending.loop, worker)
			return
		}
		if n == releaseBatch {
			g.releaseSoon(s.pending.loop, worker)
			return
		}
		of.remove(q)
		of.push(q)
		if g.releaseOne(s, q, h) {
			stuck = nil
		} else if stuck == nil {
			stuck = q
		}
	}
	delete(s.workers, worker)
}

// releaseOne passes on the first request of a client. It reports false when h does not take it yet.
func (g *Gateway) releaseOne(s *Scratch, q *clientQueue, h Handler) bool {
	c := s.pending.loop.Conn(q.ref)
	if c == nil || !c.Open() {
		return false // its end, which takes it out of the ring, is on its way
	}
	session, ok := c.Handler().(Session)
	if !ok {
		return false
	}
	w := q.pop()
	if !g.serveWaiting(c, session, w, h) {
		q.unpop(w)
		return false
	}
	if q.first == nil {
		session.Base().extra.dropQueue(q)
		session.Base().shrink(&s.pending.clients)
	}
	return true
}

// serveWaiting hands a request that has waited to h. It reports false when h cannot take it yet.
func (g *Gateway) serveWaiting(c *engine.Conn, s Session, w *waitingRequest, h Handler) bool {
	scratch := &g.scratch[c.Loop().Index()]
	own := &scratch.request
	*own = w.request
	own.gateway, own.conn, own.session, own.waiting = g, c, s, w
	own.Timeout = time.Duration(max(w.timeout-c.Loop().Now(), 1)) * time.Millisecond // what is left of it
	w.again = false
	scratch.hand(c, h)
	if !own.done && own.WantsReply && c.Open() {
		own.Fail(StatusInternal, "no answer")
	}
	if w.request.span = own.span; !w.again {
		own.settleSpan(0)
	}
	*own = Request{}
	if w.again {
		if w.place != 0 {
			p := &scratch.pending.list[w.place]
			p.worker, p.link, p.deadline = 0, 0, w.until
		}
		return false
	}
	if w.place == 0 {
		g.forgetWaiting(c, s.Base().extra, w)
	}
	return true
}

// forgetWaiting takes a request that wants no reply off its client's account.
func (g *Gateway) forgetWaiting(c *engine.Conn, x *extra, w *waitingRequest) {
	if x == nil {
		return
	}
	x.pending.open--
	g.charge(c, &x.pending, engine.KindRequests, -w.cost)
	g.resumeInput(c, x)
}

// lose ends the span of a request that wants no reply and reaches nobody.
func (g *Gateway) lose(w *waitingRequest, failure, message string) {
	if s := w.request.span; s != nil {
		w.request.span = nil
		s.Failure, s.Message = failure, message
		g.endSpan(s)
	}
}

// expireWaiting answers those of a client's requests whose wait for a worker is over.
func (g *Gateway) expireWaiting(c *engine.Conn, s Session, x *extra) {
	now := c.Loop().Now()
	for q := x.waiting; q != nil; {
		next := q.other
		kept := *q
		q.first, q.last = nil, nil
		for w := kept.first; w != nil; {
			after := w.next
			w.next = nil
			switch {
			case w.until > now || !c.Open():
				if q.last != nil {
					q.last.next = w
				} else {
					q.first = w
				}
				q.last = w
			case w.place == 0:
				g.stats.busy.Add(1)
				g.lose(w, failureNames[StatusInternal], "no worker")
				g.forgetWaiting(c, x, w)
			case w.until == w.timeout:
				g.stats.timeouts.Add(1)
				g.table(c).blameAt(w.place, StatusTimeout, "no answer in time")
				code, payload := s.Failure(StatusTimeout, "no answer in time")
				g.complete(c, s, w.place, code, payload, nil)
			default:
				g.stats.busy.Add(1)
				g.table(c).blameAt(w.place, StatusInternal, "no worker")
				code, payload := s.Failure(StatusInternal, "no worker")
				g.complete(c, s, w.place, code, payload, nil)
			}
			w = after
		}
		if q.first == nil {
			x.dropQueue(q)
		}
		q = next
	}
}

// nextWaiting returns the end of the first wait among x's requests that want no reply, which are in no
// table, 0 when there is none.
func (x *extra) nextWaiting() (first int64) {
	for q := x.waiting; q != nil; q = q.other {
		for w := q.first; w != nil; w = w.next {
			if w.place == 0 && (first == 0 || w.until < first) {
				first = w.until
			}
		}
	}
	return first
}

// abandonWaiting lets go of what waits of a client that is gone. What wants a reply is in the pending
// table, too, and is taken off the account there.
func (g *Gateway) abandonWaiting(c *engine.Conn, x *extra) {
	for x.waiting != nil {
		q := x.waiting
		for w := q.first; w != nil; w = w.next {
			if w.place == 0 {
				g.lose(w, clientGone, "")
				g.charge(c, &x.pending, engine.KindRequests, -w.cost)
			}
		}
		x.dropQueue(q)
	}
}
