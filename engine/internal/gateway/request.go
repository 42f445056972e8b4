package gateway

import (
	"fmt"
	"time"

	"github.com/valyala/bytebufferpool"

	"github.com/sluicenet/sluice/engine"
)

// What the gateway and handlers in this process say of a request. A protocol has its own numbers
// for failures (Session.Failure); what a worker replies with is passed on as it is.
const (
	StatusOK       = 0
	StatusTimeout  = 1 // nobody answered in time
	StatusError    = 4 // the request's fault
	StatusInternal = 5 // ours, or a worker's
)

// A Request is what a client asks of the application behind the gateway. It and its slices are
// valid until the handler returns, and it may be used on the handler's goroutine only.
type Request struct {
	Route      []byte // GOSOC, may be empty; nil on protocols that have commands
	Cmd        uint8  // Longbridge
	ID         uint32 // the protocol's own
	WantsReply bool
	Payload    []byte // inflated
	Data       []byte // the attachment, inflated; GOSOC
	HasData    bool
	Timeout    time.Duration // how long the client waits; 0: it did not say
	Metadata   map[string]string

	gateway *Gateway
	conn    *engine.Conn
	session Session
	done    bool
	waiting *waitingRequest // the request's, if it has waited for its worker
}

// Conn returns the connection the request came on.
func (r *Request) Conn() *engine.Conn { return r.conn }

// Gateway returns the gateway the request came through.
func (r *Request) Gateway() *Gateway { return r.gateway }

// Client returns who asks.
func (r *Request) Client() *Client { return r.session.Base() }

// Session returns the protocol's state of the connection.
func (r *Request) Session() Session { return r.session }

// Protocol returns the name of the client's protocol.
func (r *Request) Protocol() string { return r.session.Protocol() }

// UniqID returns the id by which workers address the client.
func (r *Request) UniqID() string { return r.gateway.ID(r.Client()) }

// User returns the client's user id, empty for an anonymous one.
func (r *Request) User() string { return r.Client().user }

// Subscribe adds the client to a topic; false means that it was refused, see TrySubscribe, or that the
// name is empty.
func (r *Request) Subscribe(topic []byte) bool { return r.gateway.Subscribe(r.conn, topic) }

// TrySubscribe adds the client to a topic. The error is a NameError: the name is not UTF-8 or too
// long, or the client has too many topics (Config.MaxTopicName, MaxTopics, MaxTopicBytes). It is
// counted and logged, and its text is for the client, too.
func (r *Request) TrySubscribe(topic []byte) error { return r.gateway.TrySubscribe(r.conn, topic) }

// Unsubscribe removes the client from a topic.
func (r *Request) Unsubscribe(topic []byte) { r.gateway.Unsubscribe(r.conn, topic) }

// Publish sends payload to a topic's subscribers, as a push of the configured route and command. It
// does not wait: where the crowd of subscribers is congested, the message is deferred, and the
// client's further requests are not handled meanwhile.
func (r *Request) Publish(topic, payload []byte) {
	if err := r.gateway.CheckTopic(topic); err != nil {
		_ = r.gateway.refuseName(r.Client(), err.(NameError), "publish", string(topic))
		return
	}
	r.conn.Publish(topic, r.gateway.Push(payload))
}

// Push sends payload to the client that asks.
func (r *Request) Push(payload []byte) {
	if r.conn.Open() {
		r.conn.Deliver(r.gateway.Push(payload))
	}
}

// Reply answers the request with success. payload is sent as it is and may be used again when
// Reply returns. Only the first answer counts; without WantsReply it is dropped.
func (r *Request) Reply(payload []byte) { r.answer(StatusOK, payload) }

// ReplyStatus answers with a status and a payload as the protocol's clients expect it.
func (r *Request) ReplyStatus(status int, payload []byte) { r.answer(status, payload) }

// Fail answers with a Status constant other than StatusOK and a message for people, in the words of
// the client's protocol.
func (r *Request) Fail(status int, message string) {
	code, payload := r.session.Failure(status, message)
	r.answer(code, payload)
}

func (r *Request) answer(status int, payload []byte) {
	if r.done {
		return
	}
	r.done = true
	if !r.WantsReply || !r.conn.Open() {
		return
	}
	if w := r.waiting; w != nil && w.place != 0 {
		r.gateway.complete(r.conn, r.session, w.place, status, payload, nil)
		return
	}
	cl := r.session.Base()
	if !r.session.Ordered() || cl.extra == nil || cl.extra.pending.empty() {
		r.session.Answer(r.conn, r.ID, r.Cmd, status, payload)
		return
	}
	// Earlier requests have yet to be answered: this reply waits for its turn.
	g, c, q := r.gateway, r.conn, &cl.extra.pending
	place := g.table(c).add(q, pending{ref: c.Ref(), id: r.ID, cmd: r.Cmd})
	if place == 0 {
		g.noPlace(c)
		return
	}
	g.charge(c, q, engine.KindRequests, pendingCost)
	g.complete(c, r.session, place, status, payload, nil)
}

// size returns the bytes of what the request holds.
func (r *Request) size() int {
	n := len(r.Route) + len(r.Payload) + len(r.Data)
	for k, v := range r.Metadata {
		n += len(k) + len(v)
	}
	return n
}

// Defer lets the request be answered later, with Gateway.Answer, within its time-out. For a
// request that wants no reply the Ticket is zero, and so it is, rarely, for one that was refused
// because too many wait.
func (r *Request) Defer() Ticket { return r.DeferTo(Owner{}) }

// DeferTo is Defer for a request that is passed on to a worker.
func (r *Request) DeferTo(o Owner) Ticket {
	if r.done || !r.WantsReply {
		r.done = true
		return Ticket{}
	}
	g, c, cl := r.gateway, r.conn, r.session.Base()
	timeout := g.Config().RequestTimeout
	if r.Timeout > 0 {
		timeout = r.Timeout
	}
	t := g.table(c)
	if w := r.waiting; w != nil { // it has its place
		p := &t.list[w.place]
		p.worker, p.link, p.deadline = uint16(o.Worker), o.Link, w.timeout
		p.given = uint32(c.Loop().Now())
		r.done = true
		return newTicket(c.Loop().Index(), w.place, p.check)
	}
	q := &cl.ensure(&t.clients).pending
	deadline := c.Loop().Now() + max(timeout.Milliseconds(), 1)
	size := r.size()
	place := t.add(q, pending{
		ref: c.Ref(), id: r.ID, cmd: r.Cmd, deadline: deadline, bytes: int32(size),
		worker: uint16(o.Worker), link: o.Link, given: uint32(c.Loop().Now()),
	})
	if place == 0 {
		g.stats.busy.Add(1)
		r.Fail(StatusInternal, "busy")
		return Ticket{}
	}
	r.done = true
	g.charge(c, q, engine.KindRequests, pendingCost+size)
	if q.armed == 0 || deadline < q.armed {
		q.armed = deadline
		g.Arm(c, r.session)
	}
	g.holdInput(c, cl.extra)
	return newTicket(c.Loop().Index(), place, t.list[place].check)
}

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
			code, payload := s.Failure(status, message)
			g.complete(c, s, place, code, payload, nil)
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
			if message {
				status, payload = explain(s, status, string(payload))
			}
			g.complete(c, s, place, status, payload, reply)
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

// FailLink answers, with StatusInternal and a message for people, the requests of l's clients that
// a link owes answers for, and returns their number. It must be called on l.
func (g *Gateway) FailLink(l *engine.Loop, link uint32, message string) (n int) {
	t := &g.scratch[l.Index()].pending
	delete(g.scratch[l.Index()].latencies.link, link)
	for place := uint32(1); int(place) < len(t.list); place++ {
		if p := &t.list[place]; p.ref == 0 || p.link != link || p.answered {
			continue
		}
		if c, s := t.client(place); s != nil {
			g.failed(c, s, place, message)
			n++
		}
	}
	return n
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
	q.open--
	g.charge(c, q, engine.KindRequests, -int(p.bytes))
	p.bytes = 0
	if s.Ordered() && place != q.first && fault != 4 {
		if reply == nil {
			reply = copyReply(payload)
		}
		p.reply, p.status, p.answered = reply, int32(status), true
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

// leave takes the request at place out of the table, and its place off the account.
func (g *Gateway) leave(c *engine.Conn, t *pendingTable, q *pendingQueue, place uint32) {
	g.charge(c, q, engine.KindRequests, -pendingCost)
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
		g.charge(c, q, engine.KindRequests, -int(p.bytes))
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

// CheckPushCmd says whether pushes may have a command: Longbridge has one byte for it, and 0 to 3 are
// the protocol's own.
func CheckPushCmd(cmd uint32) error {
	if cmd < 4 || cmd > 255 {
		return fmt.Errorf("command %d of a push: want 4 to 255", cmd)
	}
	return nil
}

// Push is payload as publishes and casts are pushed.
func (g *Gateway) Push(payload []byte) engine.Push {
	return engine.Push{Route: g.Config().PushRoute, Cmd: g.Config().PushCmd, Payload: payload}
}

// hand has h serve the loop's Request. Functions of others are isolated: one that ends its goroutine
// must cost its client's connection alone.
func (s *Scratch) hand(c *engine.Conn, h Handler) {
	f, ok := h.(HandlerFunc)
	if !ok {
		h.ServeRequest(&s.request)
		return
	}
	if s.isolated == nil { // once, so that a request costs no closure
		s.isolated = func() { s.f(&s.request) }
	}
	s.f = f
	c.Loop().Isolate(s.isolated)
	s.f = nil
}

// Serve hands a request to whoever is to answer it. It is called on the loop, with r filled in but
// for what the gateway knows; r is not kept.
func (g *Gateway) Serve(c *engine.Conn, s Session, r Request) {
	g.stats.requests.Add(1)
	// The loop's own Request: one per packet would escape to the heap through handlers.
	own := &g.scratch[c.Loop().Index()].request
	*own = r
	own.gateway, own.conn, own.session, own.done = g, c, s, false
	h, worker := g.router.find(own)
	switch {
	case g.draining.Load():
		g.stats.busy.Add(1)
		own.Fail(StatusInternal, shuttingDown)
	case !g.AllowRequest(c):
		own.Fail(StatusError, "too many requests")
	case s.Base().extra.queueFor(worker) != nil && own.Wait(worker): // behind those that wait
	case h != nil:
		g.scratch[c.Loop().Index()].hand(c, h)
	case own.Wait(worker):
	default:
		g.stats.busy.Add(1)
		own.Fail(StatusInternal, "no worker")
	}
	if !own.done && own.WantsReply && c.Open() {
		own.Fail(StatusInternal, "no answer") // a handler that returned without a word
	}
	*own = Request{}
}
