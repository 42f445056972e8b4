package gateway

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/rate"
	"github.com/sluicenet/sluice/engine/internal/tracecontext"
)

// Logins and requests are part of traces. A client that takes part in one says so with a
// traceparent: of a request in its metadata, or once at its login, for all its requests that have
// none of their own. Workers are told it. Where there is a Tracer, the gateway's own part is a
// Span, and workers are told that one.
//
// A Span that is under way lies in a map of its loop, by the place of its request in the pending table
// or by the connection that logs in. Both are empty, and cost nothing, while nothing is recorded.

// Traceparent is the name by which clients say of which trace a request is a part: in the metadata of a
// request or a login, in the payload of GOSOC's Connect, and in the head or the query of an upgrade.
const Traceparent = "traceparent"

// A Tracer records spans.
type Tracer interface {
	// End is told of a Span that has ended, which is the Tracer's from then on. It is called on a loop
	// and must not block. A panic is counted and logged.
	End(s *Span)
}

// A SpanKind says what a Span is of.
type SpanKind uint8

// The kinds of spans.
const (
	SpanLogin SpanKind = iota
	SpanRequest
)

// A Span is the gateway's part of a login or a request: from when it was read until it was answered.
type Span struct {
	Kind    SpanKind
	TraceID [16]byte
	ID      [8]byte
	Parent  [8]byte // zero: the trace begins here
	Begun   time.Time
	Ended   time.Time

	Protocol string
	Peer     netip.AddrPort // invalid: it has none
	UniqID   string         // empty: it was not logged in
	User     string         // empty: anonymous, or refused

	// Of a login: how the client has shown who it is; as HearLogins says it.
	How string

	// Of a request.
	Route      string // GOSOC's, cut to 256 bytes of UTF-8
	Cmd        uint8  // of protocols without routes
	HasRoute   bool
	WantsReply bool
	Payload    int // bytes, with those of an attachment
	Worker     int // whose links were asked; 0: none, or a handler in this process

	// Status is what the client was answered, in its protocol's numbers; of a login an Outcome. 0 is
	// success.
	Status int
	// Failure says in one of a few words why it failed, empty if it did not: an Outcome of a login;
	// of a request timeout, refused, internal or client-gone, or the number of a status that a
	// worker has chosen.
	Failure string
	Message string // for people; may be empty
}

// maxSpanText bounds what a Span keeps of a client's texts, in bytes.
const maxSpanText = 256

func spanText(b []byte) string {
	return strings.ToValidUTF8(string(b[:min(len(b), maxSpanText)]), "\ufffd")
}

// checkTracing says what is wrong with the fields about traces.
func (c *Config) checkTracing() error {
	if !(c.TraceSample >= 0 && c.TraceSample <= 1) {
		return fmt.Errorf("gateway: Config.TraceSample is %v, want 0 to 1", c.TraceSample)
	}
	return nil
}

// traceCost is what a client's traceparent costs while it is kept, in bytes.
const traceCost = int(unsafe.Sizeof(tracecontext.Context{})) + 7

// SetTraceparent has a client's requests be part of the trace that it has named, but for those that
// name another. It is called on c's loop, before or with its login. A text that is no traceparent
// is counted and otherwise ignored; so is an empty one.
func (g *Gateway) SetTraceparent(c *engine.Conn, cl *Client, text []byte) {
	if len(text) == 0 {
		return
	}
	parent, ok := tracecontext.Parse(text)
	if !ok {
		g.stats.badTraceparents.Add(1)
		return
	}
	x := cl.ensure(g.pool(c))
	if x.about == nil {
		x.about = new(about)
	}
	if x.about.parent == nil {
		x.about.bytes += traceCost
		c.Charge(engine.KindIdentity, traceCost)
	}
	x.about.parent = &parent
}

// parent returns the trace that the client has named, the zero Context if none.
func (cl *Client) parent() tracecontext.Context {
	if cl.extra == nil || cl.extra.about == nil || cl.extra.about.parent == nil {
		return tracecontext.Context{}
	}
	return *cl.extra.about.parent
}

// A loopTraces is what a loop records.
type loopTraces struct {
	asked  rate.Bucket          // of traces that clients want to be recorded
	logins map[engine.Ref]*Span // under way
}

// begin goes on with the trace that parent is of, or begins one. here is what whoever comes next is to
// be told, the zero Context if there is nothing to tell; s is nil when nothing is recorded.
func (g *Gateway) begin(c *engine.Conn, parent tracecontext.Context) (here tracecontext.Context, s *Span) {
	config, scratch := g.Config(), &g.scratch[c.Loop().Index()]
	if parent.Valid() {
		if !parent.Sampled || config.Tracer == nil {
			return parent, nil
		}
		perLoop := max(config.TraceAsked/len(g.scratch), 1)
		if config.TraceAsked < 0 || !scratch.traces.asked.Take(c.Loop().Now()*1e6, 1, perLoop) {
			g.stats.tracesOver.Add(1)
			return parent, nil
		}
		here.TraceID = parent.TraceID
	} else {
		const whole = 1 << 53
		if config.TraceSample <= 0 || float64(scratch.pending.numbers().Uint64()%whole) >= config.TraceSample*whole {
			return here, nil
		}
		for here.TraceID == [16]byte{} {
			_, _ = scratch.pending.numbers().Read(here.TraceID[:]) // it never fails
		}
	}
	here.Sampled = true
	for here.SpanID == [8]byte{} {
		_, _ = scratch.pending.numbers().Read(here.SpanID[:])
	}
	if config.Tracer == nil {
		return here, nil
	}
	return here, &Span{TraceID: here.TraceID, ID: here.SpanID, Parent: parent.SpanID, Begun: g.now(), Peer: c.Peer()}
}

// traceLogin begins the span of a login, and returns the traceparent by which a service that decides on
// it is told, empty if there is none.
func (g *Gateway) traceLogin(c *engine.Conn, s Session) string {
	here, span := g.begin(c, s.Base().parent())
	if span != nil {
		span.Kind, span.Protocol = SpanLogin, s.Protocol()
		t := &g.scratch[c.Loop().Index()].traces
		if t.logins == nil {
			t.logins = make(map[engine.Ref]*Span)
		}
		t.logins[c.Ref()] = span
	}
	return here.String()
}

// endLogin ends the span of a connection's login, if it has one.
func (g *Gateway) endLogin(c *engine.Conn, cl *Client, o Outcome, how string) {
	t := &g.scratch[c.Loop().Index()].traces
	span := t.logins[c.Ref()]
	if span == nil {
		return
	}
	delete(t.logins, c.Ref())
	span.Status, span.How = int(o), how
	if o != LoginOK {
		span.Failure = o.String()
	} else {
		span.UniqID, span.User = g.ID(cl), strings.Clone(cl.user)
	}
	g.endSpan(span)
}

// abandonLogin ends it when the client is gone.
func (g *Gateway) abandonLogin(c *engine.Conn) {
	t := &g.scratch[c.Loop().Index()].traces
	if span := t.logins[c.Ref()]; span != nil {
		delete(t.logins, c.Ref())
		span.Failure = clientGone
		g.endSpan(span)
	}
}

// clientGone is why something failed whose client did not wait for it.
const clientGone = "client-gone"

// failures are the Failure of what the gateway says itself, by Status constant.
var failureNames = map[int]string{StatusTimeout: "timeout", StatusError: "refused", StatusInternal: "internal"}

// endSpan hands a Span to the Tracer.
func (g *Gateway) endSpan(s *Span) {
	s.Ended = g.now()
	if s.Status != 0 && s.Failure == "" {
		s.Failure = strconv.Itoa(s.Status)
	}
	defer func() {
		if r := recover(); r != nil {
			g.panicked("a span", r)
		}
	}()
	g.Config().Tracer.End(s)
}

// traced reports whether a request of cl may be part of a trace.
func (r *Request) traced(cl *Client) bool {
	x := cl.extra
	return r.gateway.Config().TraceSample > 0 || len(r.Metadata) > 0 || x != nil && x.about != nil && x.about.parent != nil
}

// trace says of which trace the request is a part, and begins its span.
func (r *Request) trace() {
	g, c, cl := r.gateway, r.conn, r.session.Base()
	parent := cl.parent()
	if text, ok := r.Metadata[Traceparent]; ok {
		if p, ok := tracecontext.Parse(text); ok {
			parent = p
		} else {
			g.stats.badTraceparents.Add(1)
		}
	}
	if r.here, r.span = g.begin(c, parent); r.span == nil {
		return
	}
	s := r.span
	s.Kind, s.Protocol, s.UniqID, s.User = SpanRequest, r.session.Protocol(), g.ID(cl), strings.Clone(cl.user)
	s.Route, s.HasRoute, s.Cmd = spanText(r.Route), r.Route != nil, r.Cmd
	s.WantsReply, s.Payload = r.WantsReply, len(r.Payload)+len(r.Data)
}

// AppendTraceparent appends what whoever serves the request is to be told of its trace, nothing if it
// is part of none.
func (r *Request) AppendTraceparent(dst []byte) []byte { return r.here.Append(dst) }

// spanOf returns the span of a request that has its place in the table, or has none yet.
func (r *Request) spanOf() *Span {
	if r.span != nil || r.waiting == nil {
		return r.span
	}
	return r.gateway.table(r.conn).spans[r.waiting.place]
}

// Recorded reports whether a request that has no place in the table is recorded. It is no method, since
// a Request's are for programs, too.
func Recorded(r *Request) bool { return r.span != nil }

// Lost notes that a request which wants no reply did not reach who was to serve it. It is no method,
// since a Request's are for programs, too.
func Lost(r *Request, message string) {
	if s := r.span; s != nil {
		s.blame(StatusInternal, message)
	}
}

// settleSpan ends the span of a request that is not answered later.
func (r *Request) settleSpan(status int) {
	if s := r.span; s != nil {
		r.span = nil
		s.Status = status
		r.gateway.endSpan(s)
	}
}

// blame says why what the span is of fails, in the gateway's words.
func (s *Span) blame(status int, message string) {
	if s != nil {
		s.Failure, s.Message = failureNames[status], message
	}
}

// keepSpan has the table end the span of the request at place.
func (t *pendingTable) keepSpan(place uint32, s *Span) {
	if s == nil {
		return
	}
	if t.spans == nil {
		t.spans = make(map[uint32]*Span)
	}
	t.spans[place] = s
}

// endSpanAt ends the span of the request at place, if it has one.
func (g *Gateway) endSpanAt(t *pendingTable, place uint32, status int) {
	if len(t.spans) == 0 {
		return
	}
	if s := t.spans[place]; s != nil {
		delete(t.spans, place)
		s.Status = status
		g.endSpan(s)
	}
}

// loseAt ends the span of the request at place, whose client is gone.
func (g *Gateway) loseAt(t *pendingTable, place uint32) {
	if len(t.spans) > 0 {
		if s := t.spans[place]; s != nil {
			s.Failure, s.Message = clientGone, ""
		}
		g.endSpanAt(t, place, 0)
	}
}

// blameAt says why the request at place fails, in the gateway's words.
func (t *pendingTable) blameAt(place uint32, status int, message string) {
	if len(t.spans) > 0 {
		t.spans[place].blame(status, message)
	}
}
