package link

import (
	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/engine/internal/tracecontext"
)

// requests hands clients' requests to the links of one worker id.
type requests struct {
	hub *Hub
	id  int
}

// ServeRequest implements gateway.Handler, on the client's loop.
func (q requests) ServeRequest(r *gateway.Request) {
	h := q.hub
	if !h.allow(q.id) {
		if r.Waited() && r.Wait(q.id) {
			return // the others wait for the limit with it
		}
		h.stats.limited.Add(1)
		r.Fail(gateway.StatusInternal, "rate limited")
		return
	}
	g := &h.groups[q.id]
	l := g.pick(func(l *link) bool { return l.takesRequests && l.outbox.room() })
	if l == nil {
		q.without(r, g)
		return
	}
	var trace [tracecontext.Size]byte
	var m netsvr.Request
	h.requestOf(&m, r)
	m.Traceparent = r.AppendTraceparent(trace[:0])
	t := r.DeferTo(gateway.Owner{Worker: q.id, Link: l.id})
	if m.WantsReply && t.ID() == 0 {
		return // refused: too many wait
	}
	m.ID = t.ID()
	if m.WantsReply {
		l.noteGiven()
		l.noteAsked()
	}
	asker := gateway.AskerOf(r)
	step := &h.steps[r.Conn().Loop().Index()]
	if !r.Waited() && !gateway.Recorded(r) {
		step.gather(l, r.Conn(), t, &m, asker)
		return
	}
	step.post()
	encode := func(dst []byte) []byte { return m.AppendOf(dst, asker) }
	if h.queueFor(l, r.Conn().Ref(), sizeOf(r), netsvr.CmdRequest, encode) != Delivered {
		if r.Waited() && r.Wait(q.id) {
			return
		}
		gateway.Lost(r, l.refusal())
		h.gateway.Fail(t, gateway.StatusInternal, l.refusal())
	}
}

// requestOf makes m, which is zero, a request as workers get it, but for its id, its trace and who asks. It
// lies in r.
func (h *Hub) requestOf(m *netsvr.Request, r *gateway.Request) {
	timeout := h.gateway.Config().RequestTimeout
	if r.Timeout > 0 {
		timeout = r.Timeout
	}
	m.Route, m.Cmd, m.WantsReply = r.Route, uint32(r.Cmd), r.WantsReply
	m.Payload, m.Data, m.TimeoutMs = r.Payload, r.Data, uint32(timeout.Milliseconds())
	m.Metadata = pairsOf(r.Metadata)
}

func pairsOf(m map[string]string) (pairs []netsvr.Metadata) {
	for k, v := range m {
		pairs = append(pairs, netsvr.Metadata{Key: []byte(k), Value: []byte(v)})
	}
	return pairs
}

// sizeOf returns about how many bytes of a request are the client's.
func sizeOf(r *gateway.Request) int {
	n := len(r.Payload) + len(r.Data) + len(r.Client().Session())
	for k, v := range r.Metadata {
		n += len(k) + len(v)
	}
	return n
}

// lostWorker is what requests are told whose link has ended.
const lostWorker = "the worker was lost"

// refusal is what a request is told that l did not take: l has ended, or filled up, since it was
// picked.
func (l *link) refusal() string {
	if l.outbox.isClosed() {
		return lostWorker
	}
	return "busy"
}

// without answers a request that no link takes: all are busy, or there are only links that never
// asked for requests, which get the payload as a message.
func (q requests) without(r *gateway.Request, g *group) {
	if l := g.pick(func(l *link) bool { return l.takesRequests }); l != nil {
		if r.Waited() && r.Wait(q.id) {
			return // there will be room
		}
		q.hub.stats.queueFull.Add(1)
		r.Fail(gateway.StatusInternal, l.refusal())
		return
	}
	l := g.pick(nil)
	if l == nil {
		if r.Wait(q.id) {
			return
		}
		q.hub.stats.noWorker.Add(1)
		r.Fail(gateway.StatusInternal, "no worker")
		return
	}
	var room idRoom
	id := q.hub.gateway.AppendID(room[:0], r.Client())
	m := netsvr.Transfer{
		UniqID: id, Session: bytesOf(r.Client().Session()), Data: r.Payload,
		Identity: l.identity(r.Conn(), r.Session()),
	}
	if q.hub.queueFor(l, r.Conn().Ref(), len(m.Data)+len(m.Session), netsvr.CmdTransfer, m.Append) != Delivered {
		r.Fail(gateway.StatusInternal, l.refusal())
		return
	}
	r.Fail(gateway.StatusInternal, "the worker takes messages, not requests")
}

// noteGiven notes that the link owes answers. It must be called before the request is queued: see
// failRequests.
func (l *link) noteGiven() {
	if !l.given.Load() { // a store would take the line from the other loops each time
		l.given.Store(true)
	}
}

// failRequests has the requests that the link owes answers for told that their worker was lost,
// behind the replies that it has given.
func (l *link) failRequests() {
	h := l.hub
	if !l.given.Load() {
		return // what is given to it from now on is refused by its outbox, which is closed
	}
	l.failFar()
	_ = l.publisher.DoEach(func(loop *engine.Loop) { // an error means that the gateway is stopping
		if n := h.gateway.FailLink(loop, l.id, lostWorker); n > 0 {
			h.stats.lostReplies.Add(uint64(n))
			h.log.Warn("requests lost with their worker", "peer", l.peer, "workerId", l.workerID, "requests", n)
		}
	})
	l.publisher.Flush()
}
