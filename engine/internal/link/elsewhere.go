package link

import (
	"encoding/binary"
	"slices"
	"time"

	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/engine/internal/tracecontext"
)

// What clients send for a worker id that has no worker here goes to a node that has one with the
// cluster's scope. That node says whether it has taken it, so that another can be asked; the reply to a
// request comes by itself.

// takeWait is how long a node may take to say so.
const takeWait = time.Second

// A taking is what a node says of something for its workers.
type taking byte

const (
	taken taking = iota
	noWorker
	busy
	limited
)

var takingTexts = [...]string{taken: "", noWorker: "no worker", busy: "busy", limited: "rate limited"}

// elsewhereLink is what is kept in place of a link's id for a request that another node was given.
const elsewhereLink = 1 << 31

// SetCluster makes the Hub's gateway one of several. Links that ask for their scope reach the clients of
// all of them. It must be called before there are workers and clients, and behind the gateway's Bind. It
// is no method, since a Hub's are for programs, too.
func SetCluster(h *Hub, c Cluster) {
	h.cluster = c
	gateway.SetElsewhere(h.gateway, func(worker int) gateway.Handler {
		if len(c.WithWorker(worker)) == 0 {
			return nil
		}
		return elsewhere{h, worker}
	})
	c.Serve(h.serveFar)
	c.Watch(h.nodesChanged, h.nodeLeft)
}

// announce has other nodes told that the workers here have changed.
func (h *Hub) announce() {
	if c := h.cluster; c != nil {
		c.Announce()
	}
}

// Serving are the worker ids that have links here with the cluster's scope, in order: these take what
// clients of other nodes send.
func (h *Hub) Serving() (ids []int) {
	for id := range h.groups {
		if p := h.groups[id].links.Load(); p != nil && slices.ContainsFunc(*p, (*link).scoped) {
			ids = append(ids, id)
		}
	}
	return ids
}

// nodesChanged has what waits for a worker looked at again.
func (h *Hub) nodesChanged() {
	for id := 1; id <= gateway.MaxWorker; id++ {
		if len(h.cluster.WithWorker(id)) > 0 {
			gateway.ReleaseWaiting(h.gateway, id)
		}
	}
}

// nodeLeft has the requests that a node was given told that their worker was lost, and forgets those of
// its clients.
func (h *Hub) nodeLeft(node uint8) {
	h.far.asked.dropNode(node)
	e := h.gateway.Engine()
	for i := range e.Loops() {
		e.TellLoop(i, func() {
			if n := gateway.FailLinkOn(h.gateway, i, elsewhereLink|uint32(node), lostWorker); n > 0 {
				h.stats.lostReplies.Add(uint64(n))
				h.log.Warn("requests lost with the node of their worker", "node", node, "requests", n)
			}
		})
	}
}

// A passing is something that is on its way to a worker elsewhere.
type passing struct {
	hub      *Hub
	worker   int
	payload  []byte
	ticket   gateway.Ticket // zero: no reply is wanted
	loop     *engine.Loop   // the ticket's
	owner    uint32
	deadline time.Time
	tried    []uint8
	refusal  string
}

// passingCost is what one costs beside its payload, in bytes.
const passingCost = 256

// pass sends b to a node that has workers of an id, until one takes it. It reports false if there is
// none, or too much is on its way.
func (h *Hub) pass(p *passing) bool {
	cost := int64(len(p.payload) + passingCost)
	if h.far.bytes.Add(cost) > int64(h.config.Queue) {
		h.far.bytes.Add(-cost)
		p.refusal = takingTexts[busy]
		return false
	}
	h.charge(engine.KindCluster, int(cost))
	h.far.stats.requests.Add(1)
	p.next()
	return true
}

// next asks the next node.
func (p *passing) next() {
	h := p.hub
	c := h.cluster
	left := time.Until(p.deadline)
	nodes := slices.DeleteFunc(c.WithWorker(p.worker), func(n uint8) bool { return slices.Contains(p.tried, n) })
	if len(nodes) == 0 || left <= 0 {
		p.over()
		h.far.stats.requestsLost.Add(1)
		h.log.Warn("no node takes what a client sent for a worker", "workerId", p.worker, "tried", len(p.tried),
			"why", p.refusal)
		h.gateway.Fail(p.ticket, gateway.StatusInternal, p.refusal)
		return
	}
	if len(p.tried) > 0 {
		h.far.stats.again.Add(1)
	}
	node := nodes[int(h.far.next.Add(1))%len(nodes)]
	p.tried = append(p.tried, node)
	if owner := elsewhereLink | uint32(node); p.owner != owner {
		from := p.owner
		p.owner = owner
		if from != 0 && p.ticket.ID() != 0 {
			h.gateway.Engine().TellLoop(p.ticket.Loop(), func() {
				gateway.Reassign(h.gateway, p.loop, from, []gateway.Given{{Ticket: p.ticket, Link: owner}})
			})
		}
	}
	c.Ask([]uint8{node}, p.payload, min(takeWait, left), func(_ uint8, answer []byte, err error) {
		if err == nil && len(answer) == 1 && answer[0] == byte(taken) {
			p.over()
			return
		}
		switch {
		case err != nil:
			p.refusal = takingTexts[noWorker]
			h.log.Debug("a node does not take what a client sent", "node", node, "workerId", p.worker, "err", err)
		case len(answer) == 1 && int(answer[0]) < len(takingTexts):
			p.refusal = takingTexts[answer[0]]
		}
		p.next()
	}, nil)
}

func (p *passing) over() {
	cost := int64(len(p.payload) + passingCost)
	p.hub.far.bytes.Add(-cost)
	p.hub.charge(engine.KindCluster, int(-cost))
}

// elsewhere hands clients' requests to nodes that have workers of an id.
type elsewhere struct {
	hub *Hub
	id  int
}

// ServeRequest implements gateway.Handler, on the client's loop.
func (q elsewhere) ServeRequest(r *gateway.Request) {
	h := q.hub
	nodes := h.cluster.WithWorker(q.id)
	if len(nodes) == 0 {
		if !r.Wait(q.id) {
			h.stats.noWorker.Add(1)
			r.Fail(gateway.StatusInternal, takingTexts[noWorker])
		}
		return
	}
	timeout := h.gateway.Config().RequestTimeout
	if r.Timeout > 0 {
		timeout = r.Timeout
	}
	var trace [tracecontext.Size]byte
	var m netsvr.Request
	h.requestOf(&m, r)
	m.Traceparent = r.AppendTraceparent(trace[:0])
	p := &passing{
		hub: h, worker: q.id, loop: r.Conn().Loop(), deadline: time.Now().Add(timeout),
		owner: elsewhereLink | uint32(nodes[0]), refusal: takingTexts[noWorker],
	}
	p.ticket = r.DeferTo(gateway.Owner{Worker: q.id, Link: p.owner})
	if m.WantsReply && p.ticket.ID() == 0 {
		return // refused: too many wait
	}
	m.ID = p.ticket.ID()
	p.payload = m.AppendOf(binary.BigEndian.AppendUint16([]byte{farRequest}, uint16(q.id)), gateway.AskerOf(r))
	if !h.pass(p) {
		gateway.Lost(r, p.refusal)
		h.gateway.Fail(p.ticket, gateway.StatusInternal, p.refusal)
	}
}

// isElsewhere reports whether another node has workers of an id.
func (h *Hub) isElsewhere(id int) bool {
	c := h.cluster
	return c != nil && len(c.WithWorker(id)) > 0
}

// passEvent sends what a client did to a node that has workers of an id.
func (h *Hub) passEvent(id int, cmd netsvr.Command, encode func([]byte) []byte) Delivery {
	b := binary.BigEndian.AppendUint16([]byte{farEvent}, uint16(id))
	p := &passing{
		hub: h, worker: id, deadline: time.Now().Add(h.gateway.Config().RequestTimeout),
		refusal: takingTexts[noWorker], payload: encode(binary.BigEndian.AppendUint32(b, uint32(cmd))),
	}
	if !h.pass(p) {
		h.stats.queueFull.Add(1)
		h.log.Warn("what a client sent does not go to another node: too much is on its way", "workerId", id)
		return QueueFull
	}
	return Delivered
}

// identityFor is the identity of a client for a link; nil: for another node, whose links want it or not.
func (h *Hub) identityFor(l *link, c *engine.Conn, s gateway.Session) (m netsvr.Identity) {
	if l != nil {
		return l.identity(c, s)
	}
	cl := s.Base()
	m.User, m.Protocol, m.Peer = bytesOf(cl.User()), bytesOf(s.Protocol()), h.gateway.Scratch(c.Loop()).Peer(c)
	m.Metadata, m.Claims = cl.About()
	return m
}

// takeRequest gives a worker the request of another node's client.
func (h *Hub) takeRequest(from uint8, b []byte, answer func([]byte)) bool {
	var m netsvr.Request
	if len(b) < 2 || m.Decode(b[2:]) != nil {
		return false
	}
	answer([]byte{byte(h.giveRequest(from, int(binary.BigEndian.Uint16(b)), &m))})
	return true
}

func (h *Hub) giveRequest(from uint8, id int, m *netsvr.Request) taking {
	if id < 1 || id > gateway.MaxWorker {
		return noWorker
	}
	g := &h.groups[id]
	l := g.pick(func(l *link) bool { return l.scoped() && l.takesRequests && l.outbox.room() })
	switch {
	case l == nil && g.pick(func(l *link) bool { return l.scoped() && l.takesRequests }) != nil:
		return busy
	case l == nil:
		return noWorker
	case !h.allow(id):
		return limited
	}
	if m.WantsReply {
		until := time.Now().Add(time.Duration(m.TimeoutMs) * time.Millisecond)
		m.ID = h.far.asked.add(asking{node: from, ticket: m.ID, worker: id, link: l.id, until: until})
		if m.ID == 0 {
			return busy
		}
		l.noteGiven()
		l.noteAsked()
	}
	size := len(m.Payload) + len(m.Data) + len(m.Session) + frameOverhead
	if h.queued(l, netsvr.CmdRequest, l.sendFor(clientFar(m.UniqID), size, netsvr.CmdRequest, m.Append)) != Delivered {
		h.far.asked.take(m.ID)
		return busy
	}
	h.far.stats.requestsTaken.Add(1)
	return taken
}

// takeEvent gives a worker what another node's client did.
func (h *Hub) takeEvent(b []byte, answer func([]byte)) bool {
	if len(b) < 2 {
		return false
	}
	id := int(binary.BigEndian.Uint16(b))
	cmd, payload := netsvr.V2.Split(b[2:])
	var transfer netsvr.Transfer
	var open netsvr.ConnOpen
	var closed netsvr.ConnClose
	var uniqID *[]byte
	var identity *netsvr.Identity
	var decode func([]byte) error
	var encode func([]byte) []byte
	switch cmd {
	case netsvr.CmdTransfer:
		uniqID, identity, decode, encode = &transfer.UniqID, &transfer.Identity, transfer.Decode, transfer.Append
	case netsvr.CmdConnOpen:
		uniqID, identity, decode, encode = &open.UniqID, &open.Identity, open.Decode, open.Append
	case netsvr.CmdConnClose:
		uniqID, identity, decode, encode = &closed.UniqID, &closed.Identity, closed.Decode, closed.Append
	default:
		return false
	}
	if decode(payload) != nil || id < 1 || id > gateway.MaxWorker {
		return false
	}
	g := &h.groups[id]
	l := g.pick(func(l *link) bool { return l.scoped() && l.outbox.room() })
	if l == nil {
		why := noWorker
		if g.pick((*link).scoped) != nil {
			why = busy
		}
		answer([]byte{byte(why)})
		return true
	}
	if !l.wantsIdentity {
		*identity = netsvr.Identity{}
	}
	why := taken
	if h.queued(l, cmd, l.sendFor(clientFar(*uniqID), len(payload)+frameOverhead, cmd, encode)) != Delivered {
		why = busy
	}
	answer([]byte{byte(why)})
	return true
}

// A replying says what the payload of a farReply is.
type replying byte

const (
	replyPayload replying = iota
	replyMessage          // for people
	replyLost             // for people: the worker is gone
)

// replyFar sends a worker's reply to the node of the client. It reports false for one to no request of
// another node.
func (l *link) replyFar(m *netsvr.Reply) bool {
	h := l.hub
	if h.cluster == nil || !isFar(m.ID) {
		return false
	}
	a, ok := h.far.asked.take(m.ID)
	if !ok || l.workerID != 0 && l.workerID != a.worker {
		h.gateway.CountLate()
		return true
	}
	if len(m.Payload) == 0 && len(m.Message) > 0 && m.Status != gateway.StatusOK {
		l.sendReply(a, m.Status, replyMessage, m.Message)
	} else {
		l.sendReply(a, m.Status, replyPayload, m.Payload)
	}
	return true
}

func (l *link) sendReply(a asking, status int32, kind replying, payload []byte) {
	b := append(make([]byte, 0, 16+len(payload)), farReply)
	b = binary.BigEndian.AppendUint16(b, uint16(a.worker))
	b = binary.BigEndian.AppendUint64(b, a.ticket)
	b = binary.BigEndian.AppendUint32(b, uint32(status))
	b = append(append(b, byte(kind)), payload...)
	c := l.hub.cluster
	err := c.Await(roomWait)
	if err == nil {
		err = c.Tell([]uint8{a.node}, b)
	}
	if err != nil {
		l.hub.far.stats.requestsLost.Add(1)
		l.hub.log.Warn("a reply does not reach the client's node", "peer", l.peer, "node", a.node, "err", err)
	}
}

// takeReply answers a client with what a worker elsewhere has replied.
func (l *farLink) takeReply(b []byte) bool {
	if len(b) < 15 || b[14] > byte(replyLost) {
		return false
	}
	h := l.hub
	worker, t := int(binary.BigEndian.Uint16(b)), gateway.TicketOf(binary.BigEndian.Uint64(b[2:]))
	status, payload := int32(binary.BigEndian.Uint32(b[10:])), b[15:]
	if h.stray(h.gateway, t) {
		h.gateway.CountLate()
		return true
	}
	switch replying(b[14]) {
	case replyPayload:
		_ = h.gateway.PostReplies(l.publisher, t.Loop(), worker, gateway.AppendReply(nil, t, status, payload))
	case replyMessage:
		_ = h.gateway.PostReplies(l.publisher, t.Loop(), worker, gateway.AppendFailure(nil, t, status, payload))
	case replyLost:
		h.gateway.Fail(t, gateway.StatusInternal, string(payload))
	}
	return true
}

// failFar has the nodes of the clients told whose requests the link owes answers for.
func (l *link) failFar() {
	for _, a := range l.hub.far.asked.dropLink(l.id) {
		l.sendReply(a, gateway.StatusInternal, replyLost, []byte(lostWorker))
	}
}
