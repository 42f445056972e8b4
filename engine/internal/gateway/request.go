package gateway

import (
	"time"

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
	Route      []byte // GOSOC; empty on protocols that have commands
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
	speaker Session
	done    bool
}

// Conn returns the connection the request came on.
func (r *Request) Conn() *engine.Conn { return r.conn }

// Gateway returns the gateway the request came through.
func (r *Request) Gateway() *Gateway { return r.gateway }

// Client returns who asks.
func (r *Request) Client() *Client { return r.speaker.Base() }

// Protocol returns the name of the client's protocol.
func (r *Request) Protocol() string { return r.speaker.Protocol() }

// UniqID returns the id by which workers address the client.
func (r *Request) UniqID() string { return r.gateway.ID(r.Client()) }

// User returns the client's user id, empty for an anonymous one.
func (r *Request) User() string { return r.Client().user }

// Subscribe adds the client to a topic; false means that it has too many.
func (r *Request) Subscribe(topic []byte) bool { return r.gateway.Subscribe(r.conn, topic) }

// Unsubscribe removes the client from a topic.
func (r *Request) Unsubscribe(topic []byte) { r.conn.Unsubscribe(topic) }

// Publish sends payload to a topic's subscribers, as a push of the configured route and command. It
// does not wait: where the crowd of subscribers is congested, the message is deferred, and the
// client's further requests are not handled meanwhile.
func (r *Request) Publish(topic, payload []byte) {
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
	code, payload := r.speaker.Failure(status, message)
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
	cl := r.speaker.Base()
	if r.speaker.Ordered() && cl.more != nil && !cl.more.pending.empty() {
		// Earlier requests have yet to be answered: this reply waits for its turn.
		q := &cl.more.pending
		seq := q.add(r.gateway.spares(r.conn), r.ID, r.Cmd, 0)
		r.gateway.settle(r.conn, r.speaker, q.find(seq), status, payload)
		return
	}
	r.speaker.Answer(r.conn, r.ID, r.Cmd, status, payload)
}

// A Ticket names a request that is to be answered later. Any goroutine may use it. The zero
// Ticket answers nothing.
type Ticket struct {
	Ref engine.Ref
	Seq uint32
}

// Defer lets the request be answered later, with Gateway.Answer, within its time-out. For a
// request that wants no reply the Ticket is zero.
func (r *Request) Defer() Ticket {
	if r.done || !r.WantsReply {
		r.done = true
		return Ticket{}
	}
	r.done = true
	g, c, cl := r.gateway, r.conn, r.speaker.Base()
	timeout := g.config.RequestTimeout
	if r.Timeout > 0 {
		timeout = r.Timeout
	}
	spares := g.spares(c)
	q := &cl.ensure(spares).pending
	deadline := c.Loop().Now() + timeout.Milliseconds()
	first := q.earliest()
	seq := q.add(spares, r.ID, r.Cmd, deadline)
	if first == 0 || deadline < first {
		r.speaker.OnDeadline(c) // has it look at its deadlines anew
	}
	if q.open >= g.config.MaxPending {
		c.Hold()
	}
	return Ticket{Ref: c.Ref(), Seq: seq}
}

// Answer answers a deferred request from any goroutine. payload is copied. A request that is over,
// because its time was up or its client left, is counted and otherwise ignored.
func (g *Gateway) Answer(t Ticket, status int, payload []byte) {
	if t.Ref == 0 {
		return
	}
	payload = append([]byte(nil), payload...)
	g.engine.Tell(t.Ref, func(c *engine.Conn) { g.AnswerOn(c, t.Seq, status, payload) })
}

// Fail is Answer with a Status constant other than StatusOK and a message for people, in the words
// of the client's protocol.
func (g *Gateway) Fail(t Ticket, status int, message string) {
	if t.Ref == 0 {
		return
	}
	g.engine.Tell(t.Ref, func(c *engine.Conn) {
		code, payload := status, []byte(nil)
		if c != nil {
			if s, ok := c.Handler().(Session); ok {
				code, payload = s.Failure(status, message)
			}
		}
		g.AnswerOn(c, t.Seq, code, payload)
	})
}

// OnMail implements engine.Mail: an answer that a Publisher has sent, as the sequence number and
// status of AnswerOn.
func (g *Gateway) OnMail(c *engine.Conn, seq uint32, status int32, payload []byte) {
	g.AnswerOn(c, seq, int(status), payload)
}

// AnswerOn is Answer on the loop of c, which is nil when the connection is gone.
func (g *Gateway) AnswerOn(c *engine.Conn, seq uint32, status int, payload []byte) {
	if c != nil {
		if s, ok := c.Handler().(Session); ok && s.Base().more != nil {
			if p := s.Base().more.pending.find(seq); p != nil {
				g.settle(c, s, p, status, payload)
				return
			}
		}
	}
	g.stats.late.Add(1)
}

// settle answers p now, or keeps the answer until those before it are out.
func (g *Gateway) settle(c *engine.Conn, s Session, p *pending, status int, payload []byte) {
	q := &s.Base().more.pending
	p.answered = true
	q.open--
	if !s.Ordered() {
		p.sent = true
		s.Answer(c, p.id, p.cmd, status, payload)
	} else if p == &q.list[0] {
		p.sent = true
		s.Answer(c, p.id, p.cmd, status, payload)
		for i := 1; i < len(q.list) && q.list[i].answered && c.Open(); i++ {
			p := &q.list[i]
			payload := p.payload
			p.sent, p.payload = true, nil
			s.Answer(c, p.id, p.cmd, int(p.status), payload)
		}
	} else {
		p.status, p.payload = int32(status), append([]byte(nil), payload...)
	}
	if !c.Open() {
		return
	}
	spares := g.spares(c)
	q.trim(spares)
	open := q.open
	s.Base().shrink(spares) // q may be another client's from here on
	// Resumed at half, not at one less: each resumption looks at all the input that waits.
	if open == g.config.MaxPending/2 && c.Holding() {
		c.Resume()
	}
}

// Expire answers the requests whose time is up, and returns how many ms from now the next one's
// is, 0 when none waits. Protocols call it from OnDeadline.
func (g *Gateway) Expire(c *engine.Conn, s Session) (next int64) {
	now := c.Loop().Now()
	for i := 0; ; {
		m := s.Base().more // settling may let go of it
		if m == nil || i == len(m.pending.list) {
			break
		}
		p := &m.pending.list[i]
		if p.answered || p.deadline > now {
			i++
			continue
		}
		g.stats.timeouts.Add(1)
		code, payload := s.Failure(StatusTimeout, "no answer in time")
		g.settle(c, s, p, code, payload)
		if !c.Open() {
			return 0
		}
		i = 0 // settling may have removed requests at the front
	}
	if m := s.Base().more; m != nil {
		if first := m.pending.earliest(); first > 0 {
			return max(first-now, 1)
		}
	}
	return 0
}

// Push is payload as publishes and casts are pushed.
func (g *Gateway) Push(payload []byte) engine.Push {
	return engine.Push{Route: g.config.PushRoute, Cmd: g.config.PushCmd, Payload: payload}
}

// Serve hands a request to whoever is to answer it. It is called on the loop, with r filled in but
// for what the gateway knows; r is not kept.
func (g *Gateway) Serve(c *engine.Conn, s Session, r Request) {
	g.stats.requests.Add(1)
	// The loop's own Request: one per packet would escape to the heap through handlers.
	own := &g.scratch[c.Loop().Index()].request
	*own = r
	own.gateway, own.conn, own.speaker, own.done = g, c, s, false
	if h := g.router.find(own); h != nil {
		h.ServeRequest(own)
	} else {
		g.stats.busy.Add(1)
		own.Fail(StatusInternal, "no worker")
	}
	if !own.done && own.WantsReply && c.Open() {
		own.Fail(StatusInternal, "no answer") // a handler that returned without a word
	}
	*own = Request{}
}
