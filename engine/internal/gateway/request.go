package gateway

import (
	"fmt"
	"time"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/tracecontext"
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
	here    tracecontext.Context
	span    *Span // nil: it is not recorded, or the pending table has it
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
// client's further requests are not handled meanwhile. The error says why nobody gets it: a
// NameError, for a topic that cannot be one, or an engine.LogError, for one with history while the
// cluster cannot be reached. It is counted, and its text is for the client, too.
func (r *Request) Publish(topic, payload []byte) error {
	if err := r.gateway.CheckTopic(topic); err != nil {
		return r.gateway.refuseName(r.Client(), err.(NameError), "publish", string(topic))
	}
	return r.conn.Publish(topic, r.gateway.Push(payload))
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
	if !r.done {
		r.spanOf().blame(status, message)
	}
	code, payload := r.session.Failure(status, message)
	r.answer(code, payload)
}

func (r *Request) answer(status int, payload []byte) {
	if r.done {
		return
	}
	r.done = true
	r.settleSpan(status)
	if !r.WantsReply || !r.conn.Open() {
		return
	}
	if w := r.waiting; w != nil && w.place != 0 {
		r.gateway.complete(r.conn, r.session, w.place, status, payload, nil)
		return
	}
	cl := r.session.Base()
	if cl.extra == nil || cl.extra.pending.empty() || !r.session.Ordered() {
		r.session.Answer(r.conn, r.ID, r.Cmd, status, payload)
		return
	}
	// Earlier requests have yet to be answered: this reply waits for its turn.
	g, c, q := r.gateway, r.conn, &cl.extra.pending
	place, _ := g.table(c).add(q, c.Ref(), r.ID, r.Cmd)
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
	if s := r.spanOf(); s != nil {
		s.Worker = o.Worker
	}
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
	deadline, size := c.Loop().Now()+max(timeout.Milliseconds(), 1), r.size()
	place, p := t.add(q, c.Ref(), r.ID, r.Cmd)
	if place == 0 {
		g.stats.busy.Add(1)
		r.Fail(StatusInternal, "busy")
		return Ticket{}
	}
	check := p.check
	p.deadline, p.bytes = deadline, int32(size)
	p.worker, p.link, p.given = uint16(o.Worker), o.Link, uint32(c.Loop().Now())
	r.done = true
	t.keepSpan(place, r.span)
	r.span = nil
	g.charge(c, q, engine.KindRequests, pendingCost+size)
	if q.armed == 0 || deadline < q.armed {
		q.armed = deadline
		g.Arm(c, r.session)
	}
	g.holdInput(c, cl.extra)
	return newTicket(c.Loop().Index(), place, check)
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
	g.scratch[c.Loop().Index()].request = r
	g.ServeScratch(c, s)
}

// Request returns the loop's own request, which is empty. A protocol fills it in as for Serve and
// calls ServeScratch at once: that saves copies of a large struct.
func (s *Scratch) Request() *Request {
	if s.lent || s.request.conn != nil { // nobody has served it, or a handler has panicked
		s.request = Request{}
	}
	s.lent = true
	return &s.request
}

// ServeScratch is Serve for the request that Scratch.Request has returned.
func (g *Gateway) ServeScratch(c *engine.Conn, s Session) {
	scratch := &g.scratch[c.Loop().Index()]
	scratch.requests.Add(1)
	// The loop's own Request: one per packet would escape to the heap through handlers.
	own := &scratch.request
	own.gateway, own.conn, own.session, own.done = g, c, s, false
	cl := s.Base()
	if own.traced(cl) {
		own.trace()
	}
	h, worker := g.router.find(own)
	if h == nil && g.workersElsewhere != nil {
		h = g.workersElsewhere(worker)
	}
	switch {
	case g.draining.Load():
		g.stats.busy.Add(1)
		own.Fail(StatusInternal, shuttingDown)
	case !g.AllowRequest(c):
		own.Fail(StatusError, "too many requests")
	case cl.extra.queueFor(worker) != nil && own.Wait(worker): // behind those that wait
	case h != nil:
		scratch.hand(c, h)
	case own.Wait(worker):
	default:
		g.stats.busy.Add(1)
		own.Fail(StatusInternal, "no worker")
	}
	if !own.done && own.WantsReply && c.Open() {
		own.Fail(StatusInternal, "no answer") // a handler that returned without a word
	}
	own.settleSpan(0) // of one that wants no reply
	*own = Request{}
	scratch.lent = false
}
