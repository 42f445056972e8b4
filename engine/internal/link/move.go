package link

import (
	"hash/maphash"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
)

// A move takes what waits for a link, and has surely not reached its worker, to other links of the
// worker id. A client's frames go to one link, in order. Moves of a Hub happen one after another,
// so that two links never move to each other, and requests that are moved twice end where they are.
type move struct {
	hub     *Hub
	from    *link
	targets map[string]*link // by uniqId; nil: it stays
	given   [][]gateway.Given
	frames  int
}

// moveWaiting moves what l's writer has not taken. It reports how many frames.
func (h *Hub) moveWaiting(l *link) int {
	h.moving.Lock()
	defer h.moving.Unlock()
	m := move{hub: h, from: l, targets: make(map[string]*link)}
	if m.target() == nil {
		return 0
	}
	l.outbox.withdraw(m.take)
	m.tellLoops()
	return m.frames
}

// frameLen is the length of the first of frames that are whole.
func frameLen(frames []byte) int {
	n, err := netsvr.FrameSize(frames, netsvr.MaxFrameLen)
	if err != nil || n == 0 {
		return len(frames)
	}
	return min(n, len(frames))
}

// target returns the link that takes over for a client, nil if there is none: it gets the same
// messages, has room, and does not stand still itself.
func (m *move) target() *link {
	g, l := &m.hub.groups[m.from.workerID], m.from
	return g.pick(func(other *link) bool {
		return other != l && other.takesRequests == l.takesRequests &&
			other.wantsIdentity == l.wantsIdentity &&
			other.outbox.room() && !other.standsStill(*g.links.Load())
	})
}

// take has another link take a frame of a client; client is 0 if only the frame knows whose it is.
// It reports false for one that stays.
func (m *move) take(client uint64, frame []byte) bool {
	id, ticket, ok := addressed(frame)
	if !ok {
		return false
	}
	to, known := m.targets[string(id)]
	if !known {
		to = m.target()
	}
	if to != nil {
		if ticket.ID() != 0 {
			to.noteGiven()
			to.noteAsked()
		}
		if client == 0 {
			client = m.clientOf(id)
		}
		whole := func(dst []byte) []byte { return append(dst, frame...) }
		if !to.outbox.putFor(client, len(frame), whole) {
			to = nil
		}
	}
	if !known || to == nil {
		m.targets[string(id)] = to
	}
	if to == nil {
		return false
	}
	m.frames++
	if isFar(ticket.ID()) {
		m.hub.far.asked.reassign(ticket.ID(), to.id)
		return true
	}
	if ticket.ID() != 0 {
		if m.given == nil {
			m.given = make([][]gateway.Given, m.hub.gateway.Engine().Loops())
		}
		list := &m.given[ticket.Loop()]
		*list = append(*list, gateway.Given{Ticket: ticket, Link: to.id})
	}
	return true
}

// clientOf is shareOf for a client of which only the id is known.
func (m *move) clientOf(id []byte) uint64 {
	if ref := m.hub.gateway.Lookup(id); ref != 0 {
		return shareOf(ref)
	}
	return max(maphash.Bytes(shareSeed, id), 1)
}

// tellLoops has the loops know who owes answers now.
func (m *move) tellLoops() {
	h, from := m.hub, m.from.id
	if m.frames > 0 {
		h.stats.moved.Add(uint64(m.frames))
		h.log.Warn("moved to other links: a worker has stopped or left", "peer", m.from.peer,
			"workerId", m.from.workerID, "frames", m.frames)
	}
	for loop, list := range m.given {
		if len(list) > 0 { // an error means that the gateway is stopping
			_ = h.moves.DoOn(loop, 16*len(list), func(l *engine.Loop) {
				gateway.Reassign(h.gateway, l, from, list)
			})
		}
	}
}

// addressed returns whom a frame for a worker is about, and the request that it is, if it is one
// that wants an answer. ok is false for the gateway's own frames.
func addressed(frame []byte) (uniqID []byte, t gateway.Ticket, ok bool) {
	cmd, m := netsvr.V2.Split(frame[min(4, len(frame)):])
	switch cmd {
	case netsvr.CmdRequest, netsvr.CmdTransfer, netsvr.CmdConnOpen, netsvr.CmdConnClose:
	default:
		return nil, t, false
	}
	wants := false
	for len(m) > 0 {
		field, kind, n := protowire.ConsumeTag(m)
		if n < 0 {
			return nil, t, false
		}
		m = m[n:]
		switch {
		case field == 1:
			uniqID, _ = protowire.ConsumeBytes(m)
		case field == 6 && cmd == netsvr.CmdRequest:
			id, _ := protowire.ConsumeVarint(m)
			t = gateway.TicketOf(id)
		case field == 7 && cmd == netsvr.CmdRequest:
			wants = true
		}
		if n = protowire.ConsumeFieldValue(field, kind, m); n < 0 {
			return nil, t, false
		}
		m = m[n:]
	}
	if !wants {
		t = gateway.Ticket{}
	}
	return uniqID, t, true
}

// watch looks for links that stand still, until there is none whose frames another could take.
func (h *Hub) watch() {
	t := time.NewTicker(stillAfter / 2)
	defer t.Stop()
	for h.hasOthers() {
		select {
		case <-h.stop:
			return
		case <-t.C:
			h.moveStill()
		}
	}
}

// hasOthers reports whether a group has two links. Where none has, nobody watches them.
func (h *Hub) hasOthers() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for id := range h.groups {
		if p := h.groups[id].links.Load(); p != nil && len(*p) > 1 {
			return true
		}
	}
	h.watched = false
	return false
}

// moveStill moves what waits for links that stand still, and probes those of which nobody knows.
func (h *Hub) moveStill() {
	for id := range h.groups {
		p := h.groups[id].links.Load()
		if p == nil || len(*p) < 2 {
			continue
		}
		for _, l := range *p {
			l.probe()
			if l.outbox.waits() && l.standsStill(*p) {
				h.moveWaiting(l)
			}
		}
	}
}
