package gateway

import (
	"time"

	"github.com/valyala/bytebufferpool"

	"github.com/sluicenet/sluice/engine"
)

// What becomes of requests that wait for their answers: they are answered, their time is up, their
// link is lost or their client is.

// noPlace ends a connection whose reply cannot wait for its turn: 16 million others do.
func (g *Gateway) noPlace(c *engine.Conn) {
	g.stats.busy.Add(1)
	c.Close(engine.ReasonServerError)
}

// table returns the requests that wait on c's loop.
func (g *Gateway) table(c *engine.Conn) *pendingTable {
	t := &g.scratch[c.Loop().Index()].pending
	t.loop = c.Loop()
	return t
}

// charge adds n bytes that a client's requests or replies cost to its account, and to what holds
// its input back.
func (g *Gateway) charge(c *engine.Conn, q *pendingQueue, k engine.Kind, n int) {
	q.bytes += uint32(n)
	c.Charge(k, n)
}

// holdInput leaves the input of a client unread while too many of its requests are owed answers, or
// they and the replies that wait for their turn are too many bytes.
func (g *Gateway) holdInput(c *engine.Conn, x *extra) {
	q := &x.pending
	if !x.paused && (int(q.open) >= g.Config().MaxPending || int(q.bytes) > g.Config().MaxPendingBytes) {
		g.stats.holds.Add(1)
		x.paused = true
		c.Pause()
	}
}

// resumeInput ends that at half, not at one less: each resumption looks at all the input that waits.
func (g *Gateway) resumeInput(c *engine.Conn, x *extra) {
	q := &x.pending
	if x.paused && int(q.open) <= g.Config().MaxPending/2 && int(q.bytes) <= g.Config().MaxPendingBytes/2 {
		x.paused = false
		c.Resume()
	}
}

// Answer answers a deferred request from any goroutine. payload is copied. A request that is over,
// because its time was up or its client left, is counted and otherwise ignored.
func (g *Gateway) Answer(t Ticket, status int, payload []byte) {
	if t.id == 0 {
		return
	}
	if t.Loop() >= len(g.scratch) {
		g.stats.late.Add(1)
		return
	}
	reply := copyReply(payload)
	cost := int64(cap(reply.B) + bufferCost)
	g.engine.Charge(engine.KindReplies, cost) // until it is on its connection's account, or sent
	done := func() {
		g.engine.Charge(engine.KindReplies, -cost)
		g.answer(t, 0, status, reply.B, reply, false)
	}
	if !g.engine.TellLoop(t.Loop(), done) {
		g.engine.Charge(engine.KindReplies, -cost)
		replyBuffers.Put(reply)
		g.stats.late.Add(1)
	}
}

// Fail is Answer with a Status constant other than StatusOK and a message for people, in the words
// of the client's protocol.
func (g *Gateway) Fail(t Ticket, status int, message string) {
	if t.id == 0 {
		return
	}
	if t.Loop() >= len(g.scratch) || !g.engine.TellLoop(t.Loop(), func() { g.failOn(t, status, message) }) {
		g.stats.late.Add(1)
	}
}

func (g *Gateway) failOn(t Ticket, status int, message string) {
	table := &g.scratch[t.Loop()].pending
	if place := table.find(t, 0); place != 0 {
		if c, s := table.client(place); s != nil {
			g.failed(c, s, place, status, message)
			return
		}
	}
	g.stats.late.Add(1)
}

// client returns the connection whose request is at place. Its requests leave the table when it
// ends, so there is one.
func (t *pendingTable) client(place uint32) (*engine.Conn, Session) {
	if c := t.loop.Conn(t.list[place].ref); c != nil {
		if s, ok := c.Handler().(Session); ok {
			return c, s
		}
	}
	return nil, nil
}

// answer is Answer on the loop of the request. worker is the id of the worker that answers, 0 for
// a handler in this process. reply is the buffer that payload lies in and becomes the gateway's, or
// nil. message says that payload is none, but a message for people.
func (g *Gateway) answer(
	t Ticket, worker, status int, payload []byte, reply *bytebufferpool.ByteBuffer, message bool,
) {
	table := &g.scratch[t.Loop()].pending
	if place := table.find(t, worker); place != 0 {
		if c, s := table.client(place); s != nil {
			p := &table.list[place]
			g.scratch[t.Loop()].latencies.note(p.link, uint32(c.Loop().Now())-p.given)
			if message && len(table.spans) > 0 && table.spans[place] != nil {
				table.spans[place].Message = spanText(payload)
			}
			if c.Trusted() {
				g.completeAs(c, s, place, status, payload, reply, message)
			} else {
				g.completeApart(c, s, place, status, payload, reply, message)
			}
			return
		}
	}
	if fault != 2 {
		g.stats.late.Add(1)
	}
	if reply != nil {
		replyBuffers.Put(reply)
	}
}

// failed answers the request at place with a status that is a failure and a message for people.
func (g *Gateway) failed(c *engine.Conn, s Session, place uint32, status int, message string) {
	g.table(c).blameAt(place, status, message)
	g.apart(c, func() {
		code, payload := s.Failure(status, message)
		g.complete(c, s, place, code, payload, nil)
	})
}

// completeAs is complete; message says that payload is none, but a message for people.
func (g *Gateway) completeAs(
	c *engine.Conn, s Session, place uint32, status int, payload []byte, reply *bytebufferpool.ByteBuffer, message bool,
) {
	if message {
		status, payload = explain(s, status, string(payload))
	}
	g.complete(c, s, place, status, payload, reply)
}

// completeApart is completeAs with a function of its own, so that others' replies cost no closure.
func (g *Gateway) completeApart(
	c *engine.Conn, s Session, place uint32, status int, payload []byte, reply *bytebufferpool.ByteBuffer, message bool,
) {
	g.apart(c, func() { g.completeAs(c, s, place, status, payload, reply, message) })
}

// apart calls f, in which c's protocol says something that has come together with what is for
// others. A panic of f, or runtime.Goexit, costs c its connection. What f was called in goes on, unless
// that is isolated itself and f has ended its goroutine.
func (g *Gateway) apart(c *engine.Conn, f func()) {
	if c.Trusted() {
		f()
		return
	}
	l, ref, returned := c.Loop(), c.Ref(), false
	defer func() {
		if returned {
			return
		}
		if r := recover(); r != nil { // else the loop counts and logs who has ended its goroutine
			g.panicked("an answer", r)
		}
		if c := l.Conn(ref); c != nil {
			c.Abort(engine.ReasonServerError)
		}
	}()
	l.Isolate(f)
	returned = true
}

// FailLink answers, with StatusInternal and a message for people, the requests of l's clients that
// a link owes answers for, and returns their number. It must be called on l.
func (g *Gateway) FailLink(l *engine.Loop, link uint32, message string) (n int) {
	t := &g.scratch[l.Index()].pending
	g.scratch[l.Index()].latencies.forget(link)
	for place := uint32(1); int(place) < len(t.list); place++ {
		if p := &t.list[place]; p.ref == 0 || p.link != link || p.answered {
			continue
		}
		if c, s := t.client(place); s != nil {
			g.failed(c, s, place, StatusInternal, message)
			n++
		}
	}
	return n
}

// FailLinkOn is FailLink for the loop of an index, on that loop. It is 0 for a loop that has had no
// request.
func FailLinkOn(g *Gateway, loop int, link uint32, message string) int {
	if l := g.scratch[loop].pending.loop; l != nil {
		return g.FailLink(l, link, message)
	}
	return 0
}

// A Given is a request that another link was given.
type Given struct {
	Ticket Ticket
	Link   uint32
}

// Reassign has the links of list owe the answers of l's clients that from has owed, as far as it
// still does. It must be called on l. It is no method, since a Gateway's are for programs, too.
func Reassign(g *Gateway, l *engine.Loop, from uint32, list []Given) {
	t := &g.scratch[l.Index()].pending
	for _, given := range list {
		if place := t.find(given.Ticket, 0); place != 0 && t.list[place].link == from {
			t.list[place].link = given.Link
		}
	}
}

// complete sends the reply to the request at place, or keeps it until those before it are out.
func (g *Gateway) complete(c *engine.Conn, s Session, place uint32, status int, payload []byte, reply *bytebufferpool.ByteBuffer) {
	t, x := g.table(c), s.Base().extra
	q, p := &x.pending, &t.list[place]
	g.endSpanAt(t, place, status)
	q.open--
	if s.Ordered() && place != q.first && fault != 4 {
		if reply == nil {
			reply = copyReply(payload)
		}
		p.reply, p.status, p.answered = reply, int32(status), true
		g.charge(c, q, engine.KindRequests, -int(p.bytes))
		p.bytes = 0
		g.charge(c, q, engine.KindReplies, cap(reply.B)+bufferCost)
		g.holdInput(c, x)
		return
	}
	id, cmd := p.id, p.cmd
	g.leave(c, t, q, place)
	s.Answer(c, id, cmd, status, payload)
	if reply != nil {
		replyBuffers.Put(reply)
	}
	for c.Open() && q.first != 0 && t.list[q.first].answered {
		p := &t.list[q.first]
		id, cmd, status, reply := p.id, p.cmd, p.status, p.reply
		p.reply = nil
		g.charge(c, q, engine.KindReplies, -cap(reply.B)-bufferCost)
		g.leave(c, t, q, q.first)
		s.Answer(c, id, cmd, int(status), reply.B)
		replyBuffers.Put(reply)
	}
	if c.Open() { // else Closed has let go of the rest
		g.resumeInput(c, x)
		s.Base().shrink(&t.clients) // q may be another client's from here on
	}
}

// leave takes the request at place out of the table, and off the account.
func (g *Gateway) leave(c *engine.Conn, t *pendingTable, q *pendingQueue, place uint32) {
	g.charge(c, q, engine.KindRequests, -pendingCost-int(t.list[place].bytes))
	t.remove(q, place)
}

// abandon takes all requests of a client that is gone out of the table, and off its account.
func (g *Gateway) abandon(c *engine.Conn, cl *Client) {
	if cl.extra == nil || fault == 3 {
		return
	}
	g.abandonWaiting(c, cl.extra)
	t, q := g.table(c), &cl.extra.pending
	for q.first != 0 {
		p := &t.list[q.first]
		g.loseAt(t, q.first)
		if p.reply != nil {
			g.charge(c, q, engine.KindReplies, -cap(p.reply.B)-bufferCost)
			replyBuffers.Put(p.reply)
		}
		g.leave(c, t, q, q.first)
	}
	q.open = 0
}

// Expire answers the requests whose time is up. Protocols call it from OnDeadline, and then Arm.
func (g *Gateway) Expire(c *engine.Conn, s Session) {
	x := s.Base().extra
	if x == nil || x.pending.empty() && x.waiting == nil {
		return
	}
	now, t := c.Loop().Now(), g.table(c)
	g.expireWaiting(c, s, x)
	for place := x.pending.first; place != 0; {
		p := &t.list[place]
		if p.answered || p.deadline > now {
			place = p.next
			continue
		}
		g.stats.timeouts.Add(1)
		first, next := place == x.pending.first, p.next
		t.blameAt(place, StatusTimeout, "no answer in time")
		code, payload := s.Failure(StatusTimeout, "no answer in time")
		g.complete(c, s, place, code, payload, nil)
		if !c.Open() || s.Base().extra != x {
			return
		}
		if first { // replies that waited behind it are out, too
			next = x.pending.first
		}
		place = next
	}
	x.pending.armed = Sooner(t.earliest(&x.pending), x.nextWaiting())
	s.Base().shrink(&t.clients)
}

// Arm sets the connection's deadline to the session's own next one or that of its first request,
// whichever comes first. Protocols call it when theirs has changed, and at the end of
// OnDeadline.
func (g *Gateway) Arm(c *engine.Conn, s Session) {
	left := s.NextDeadline(c)
	if x := s.Base().extra; x != nil {
		if first := x.pending.armed; first > 0 {
			left = Sooner(left, max(first-c.Loop().Now(), 1))
		}
	}
	c.SetDeadline(time.Duration(left) * time.Millisecond)
}
