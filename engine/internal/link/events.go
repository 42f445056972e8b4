package link

import (
	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
)

// Delivery says what became of a message for a worker.
type Delivery uint8

// The deliveries.
const (
	Delivered Delivery = iota
	NoWorker           // no worker of that id is attached
	QueueFull          // its queue is full, or the client's share of it
	Limited            // over a rate limit
)

// Transfer queues a client's message for a worker id, on the client's loop.
func (h *Hub) Transfer(c *engine.Conn, id int, s gateway.Session, data []byte) Delivery {
	if !h.allow(id) {
		h.stats.limited.Add(1)
		return Limited
	}
	l := h.groups[id].pickOpen()
	if l == nil && !h.isElsewhere(id) {
		h.stats.noWorker.Add(1)
		return NoWorker
	}
	var room idRoom
	cl := s.Base()
	uniqID := h.gateway.AppendID(room[:0], cl)
	m := netsvr.Transfer{
		UniqID: uniqID, Session: bytesOf(cl.Session()), Data: data, Identity: h.identityFor(l, c, s),
	}
	if l == nil {
		return h.passEvent(id, netsvr.CmdTransfer, m.Append)
	}
	h.steps[c.Loop().Index()].post() // what the client has asked before
	return h.queueFor(l, c.Ref(), len(data)+len(m.Session), netsvr.CmdTransfer, m.Append)
}

// AllowOpen takes a token for a new connection from the limit of the worker that is told of it.
func (h *Hub) AllowOpen() bool {
	return h.config.OpenWorker == 0 || h.allow(h.config.OpenWorker)
}

// allow takes a token from the limit of a worker id, if it has one.
func (h *Hub) allow(id int) bool {
	l := h.live.Load().limiters[id]
	return l == nil || l.allow(h.gateway.Engine().Time())
}

// queue appends one event of a client to a link's outbox.
func (h *Hub) queue(
	l *link, client engine.Ref, cmd netsvr.Command, encode func(dst []byte) []byte,
) Delivery {
	return h.queued(l, cmd, l.sendEvent(shareOf(client), cmd, encode))
}

// queueFor appends what a client sends, of about bytes bytes, to a link's outbox, within the
// client's share of it.
func (h *Hub) queueFor(
	l *link, client engine.Ref, bytes int, cmd netsvr.Command, encode func(dst []byte) []byte,
) Delivery {
	return h.queued(l, cmd, l.sendFor(shareOf(client), bytes+frameOverhead, cmd, encode))
}

// frameOverhead is about what a frame adds to a client's message: length, command, ids, tags.
const frameOverhead = 64

func (h *Hub) queued(l *link, cmd netsvr.Command, ok bool) Delivery {
	if !ok {
		h.stats.queueFull.Add(1)
		l.warnCongested(cmd)
		return QueueFull
	}
	if !l.progress.told.Load() {
		l.progress.told.Store(true)
	}
	return Delivered
}

// An UpgradeInfo is a Session that knows more of its connection than its address: what was in the
// upgrade request.
type UpgradeInfo interface {
	// Describe returns the raw query, the offered sub-protocols and the X-Forwarded-For header,
	// each empty if there was none.
	Describe() (rawQuery string, subProtocols []string, xForwardedFor string)
	// Forget is called when ConnOpen is out, or nobody wants one: Describe will not be called.
	Forget(c *engine.Conn)
}

// Opened implements gateway.Events.
func (h *Hub) Opened(c *engine.Conn, s gateway.Session) bool {
	h.metrics.add(metricOpens, 1)
	d, described := s.(UpgradeInfo)
	if described {
		defer d.Forget(c)
	}
	if h.config.OpenWorker == 0 {
		return true
	}
	l := h.groups[h.config.OpenWorker].pickOpen()
	if l == nil && !h.isElsewhere(h.config.OpenWorker) {
		h.stats.noWorker.Add(1)
		return false
	}
	var room idRoom
	id := h.gateway.AppendID(room[:0], s.Base())
	m := netsvr.ConnOpen{UniqID: id, Identity: h.identityFor(l, c, s)}
	if described {
		query, protocols, forwarded := d.Describe()
		m.RawQuery, m.XForwardedFor = []byte(query), []byte(forwarded)
		for _, p := range protocols {
			m.SubProtocol = append(m.SubProtocol, []byte(p))
		}
	}
	if a := c.Peer().Addr(); len(m.XForwardedFor) == 0 && a.IsValid() {
		m.XForwardedFor = []byte(a.String())
	}
	if l == nil {
		h.passEvent(h.config.OpenWorker, netsvr.CmdConnOpen, m.Append)
		return true
	}
	h.queue(l, c.Ref(), netsvr.CmdConnOpen, m.Append)
	return true
}

// Closed implements gateway.Events.
func (h *Hub) Closed(c *engine.Conn, s gateway.Session, id []byte, _ engine.Reason) {
	h.metrics.add(metricCloses, 1)
	if h.config.CloseWorker == 0 {
		return
	}
	l := h.groups[h.config.CloseWorker].pickOpen()
	if l == nil && !h.isElsewhere(h.config.CloseWorker) {
		h.stats.noWorker.Add(1)
		h.log.Debug("no worker for a client that left", "uniqId", string(id))
		return
	}
	var room idRoom
	id = append(room[:0], id...)
	m := netsvr.ConnClose{UniqID: id, Session: bytesOf(s.Base().Session()), Identity: h.identityFor(l, c, s)}
	if l == nil {
		h.passEvent(h.config.CloseWorker, netsvr.CmdConnClose, m.Append)
		return
	}
	h.queue(l, c.Ref(), netsvr.CmdConnClose, m.Append)
}

// Heartbeat counts a client's sign of life, for the metrics.
func (h *Hub) Heartbeat() { h.metrics.add(metricHeartbeats, 1) }

// Wrote counts a message to a client that is no delivery of the engine's: a pong, an error.
func (h *Hub) Wrote(bytes int) {
	h.metrics.add(metricWrites, 1)
	h.metrics.add(metricWriteBytes, int64(bytes))
}
