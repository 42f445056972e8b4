package link

import (
	"sync"
	"time"

	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/session"
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
	var room [session.MaxIDLen]byte
	cl := r.Client()
	timeout := r.Gateway().Config().RequestTimeout
	if r.Timeout > 0 {
		timeout = r.Timeout
	}
	m := netsvr.Request{
		UniqID:     h.gateway.AppendID(room[:0], cl),
		Session:    []byte(cl.Session()),
		Protocol:   []byte(r.Protocol()),
		Route:      r.Route,
		Cmd:        uint32(r.Cmd),
		WantsReply: r.WantsReply,
		Payload:    r.Payload,
		Data:       r.Data,
		TimeoutMs:  uint32(timeout.Milliseconds()),
	}
	size := len(m.Payload) + len(m.Data) + len(m.Session)
	for k, v := range r.Metadata {
		size += len(k) + len(v)
		m.Metadata = append(m.Metadata, netsvr.Metadata{Key: []byte(k), Value: []byte(v)})
	}
	// A second more than the client waits: the gateway answers it when its time is up.
	m.ID = l.requests.add(r.Defer(), r.Conn().Loop().Now()+(timeout+time.Second).Milliseconds())
	if h.queueFor(l, m.UniqID, size, netsvr.CmdRequest, m.Append) != Delivered {
		l.requests.refuse(m.ID, l.refusal())
	}
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
		q.hub.stats.queueFull.Add(1)
		r.Fail(gateway.StatusInternal, l.refusal())
		return
	}
	l := g.pick(nil)
	if l == nil {
		q.hub.stats.noWorker.Add(1)
		r.Fail(gateway.StatusInternal, "no worker")
		return
	}
	var room [session.MaxIDLen]byte
	m := netsvr.Transfer{UniqID: q.hub.gateway.AppendID(room[:0], r.Client()), Session: []byte(r.Client().Session()), Data: r.Payload}
	if q.hub.queueFor(l, m.UniqID, len(m.Data)+len(m.Session), netsvr.CmdTransfer, m.Append) != Delivered {
		r.Fail(gateway.StatusInternal, l.refusal())
		return
	}
	r.Fail(gateway.StatusInternal, "the worker takes messages, not requests")
}

// inflight is what a link owes answers for.
type inflight struct {
	hub *Hub

	mu     sync.Mutex
	open   map[uint64]owed
	closed bool
}

type owed struct {
	ticket  gateway.Ticket
	expires int64 // ms on the engine's clock
}

func (f *inflight) init(h *Hub) {
	f.hub = h
	f.open = make(map[uint64]owed)
}

// add notes a request and returns the id its reply is to carry, which is the only one of its kind
// in the gateway: a reply on the wrong link must not reach another client. A request that wants no
// reply needs no note.
func (f *inflight) add(t gateway.Ticket, expires int64) uint64 {
	id := f.hub.lastRequest.Add(1)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed { // the link has ended since it was picked
		f.hub.gateway.Fail(t, gateway.StatusInternal, lostWorker)
	} else if t.Ref != 0 {
		f.open[id] = owed{t, expires}
	}
	return id
}

// take ends a request; ok is false when it is over already.
func (f *inflight) take(id uint64) (t gateway.Ticket, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	o, ok := f.open[id]
	delete(f.open, id)
	return o.ticket, ok
}

// refuse answers a request with an error, from its client's loop.
func (f *inflight) refuse(id uint64, message string) {
	if t, ok := f.take(id); ok {
		f.hub.gateway.Fail(t, gateway.StatusInternal, message)
	}
}

// fail answers all open requests: their worker is lost.
func (f *inflight) fail() int {
	f.mu.Lock()
	open := f.open
	f.open = nil
	f.closed = true
	f.mu.Unlock()
	for _, o := range open {
		f.hub.gateway.Fail(o.ticket, gateway.StatusInternal, lostWorker)
	}
	return len(open)
}

// expire forgets requests whose clients have been answered by the clock.
func (f *inflight) expire(now int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, o := range f.open {
		if o.expires < now {
			delete(f.open, id)
		}
	}
}
