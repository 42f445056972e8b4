package link

import (
	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
)

// A step is what a loop has gathered for links of the requests that it serves: those that one read of a
// client has brought go to a link together, with one look at its outbox. None stays beyond the loop's step.
type step struct {
	hub    *Hub
	client engine.Ref // whose requests they are
	runs   []run      // the first used of them are
	used   int
	armed  bool   // the loop calls end
	end    func() // what the loop calls
	_      [64]byte
}

func newSteps(h *Hub) []step {
	list := make([]step, h.gateway.Engine().Loops())
	for i := range list {
		s := &list[i]
		s.hub = h
		s.end = func() {
			s.armed = false
			s.post()
		}
	}
	return list
}

// A run is frames for one link, back to back.
type run struct {
	link    *link
	frames  []byte
	tickets []gateway.Ticket // of the frames
}

const (
	// maxRun is how many bytes of a run wait for more. It is little beside batchSize, which one may go beyond.
	maxRun = 16 << 10
	// maxRuns bounds what a loop keeps room for, in runs.
	maxRuns = 8
)

// gather adds a request of a client to what goes to l at the end of the loop's step.
func (s *step) gather(l *link, c *engine.Conn, t gateway.Ticket, m *netsvr.Request, asker *netsvr.Asker) {
	if s.client != c.Ref() {
		s.post()
		s.client = c.Ref()
	}
	r := s.runOf(l)
	framed := m.AppendOf(netsvr.V2.BeginFrame(r.frames, netsvr.CmdRequest), asker)
	framed, err := netsvr.EndFrame(framed, len(r.frames), 0)
	if err != nil {
		s.hub.gateway.Fail(t, gateway.StatusInternal, "too long for a worker")
		return
	}
	r.frames, r.tickets = framed, append(r.tickets, t)
	if len(r.frames) >= maxRun {
		s.post()
		return
	}
	if !s.armed {
		s.armed = true
		c.Loop().AtStepEnd(s.end)
	}
}

// runOf returns the run for a link.
func (s *step) runOf(l *link) *run {
	for i := range s.runs[:s.used] {
		if s.runs[i].link == l {
			return &s.runs[i]
		}
	}
	if s.used == maxRuns {
		s.post()
	}
	if s.used == len(s.runs) {
		s.runs = append(s.runs, run{})
	}
	r := &s.runs[s.used]
	r.link = l
	s.used++
	return r
}

// post hands the runs over. What a link does not take is answered.
func (s *step) post() {
	for i := range s.runs[:s.used] {
		r := &s.runs[i]
		r.post(s.hub, shareOf(s.client))
		r.link, r.frames, r.tickets = nil, r.frames[:0], r.tickets[:0]
		if cap(r.frames) > 2*maxRun {
			r.frames = nil
		}
	}
	s.used = 0
}

func (r *run) post(h *Hub, client uint64) {
	if r.link.outbox.putRun(client, r.frames, len(r.tickets)) {
		h.queued(r.link, netsvr.CmdRequest, true)
		return
	}
	for rest, i := r.frames, 0; len(rest) > 0; i++ { // as many as are within the client's share
		n := frameLen(rest)
		frame := rest[:n]
		ok := r.link.outbox.putFor(client, n, func(dst []byte) []byte { return append(dst, frame...) })
		if h.queued(r.link, netsvr.CmdRequest, ok) != Delivered {
			h.gateway.Fail(r.tickets[i], gateway.StatusInternal, r.link.refusal())
		}
		rest = rest[n:]
	}
}
