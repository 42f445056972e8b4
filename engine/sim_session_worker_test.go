package engine_test

import (
	"bytes"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
)

const (
	linkLost   = "the worker has gone"
	linkWorker = gateway.DefaultWorker
)

// A simLink is a worker's link as the gateway sees it: it takes requests, and answers them late, out
// of order, twice, for another worker, or never, and vanishes with some pending.
type simLink struct {
	w        *sessionWorld
	up       bool
	number   uint32
	pb       *engine.Publisher
	owed     []linkRequest
	answered []linkRequest // lately, or lost with a link
	silent   int           // turns in which it does nothing

	posted int // replies
	first  int // of them to a request that had none, from who was given it
}

type linkRequest struct {
	ticket  gateway.Ticket
	payload []byte
	posted  bool
}

// ServeRequest implements gateway.Handler.
func (l *simLink) ServeRequest(r *gateway.Request) {
	t := r.DeferTo(gateway.Owner{Worker: linkWorker, Link: l.number})
	if t.ID() != 0 {
		l.owed = append(l.owed, linkRequest{ticket: t, payload: bytes.Clone(r.Payload)})
	}
}

// act is one turn of the worker's.
func (l *simLink) act() {
	sim := l.w.sim
	if sim.Failure() != "" || l.w.sim.Engine().Connections() == 0 && l.w.draining {
		return
	}
	period := 1 + sim.Pick(l.w.opt.workerPeriod)
	if l.w.draining {
		period = max(period, 5000)
	}
	sim.After(int64(period), l.act)
	switch {
	case !l.up:
		if sim.OneIn(4) || l.w.draining {
			l.attach()
		}
	case l.silent > 0:
		l.silent--
	case sim.OneIn(200):
		l.silent = sim.Pick(200)
	case sim.OneIn(100):
		l.vanish()
	case sim.OneIn(4) && !l.w.draining && !l.w.scene:
		l.publish()
	default:
		for range 1 + sim.Pick(4) {
			l.answer()
		}
	}
}

func (l *simLink) attach() {
	if l.pb == nil {
		l.pb = l.w.sim.Engine().NewPublisher()
	}
	l.up = true
	l.number++
	l.w.gateway.Attach(linkWorker, l)
}

// vanish ends the link; its requests fail.
func (l *simLink) vanish() {
	w := l.w
	for i := range w.sim.Engine().Loops() {
		if w.sim.MailboxFull(i) {
			return
		}
	}
	w.gateway.Attach(linkWorker, nil)
	l.up = false
	number := l.number
	if err := l.pb.DoEach(func(on *engine.Loop) { w.gateway.FailLink(on, number, linkLost) }); err != nil {
		w.sim.Fail("%v", err)
	}
	w.saw.LinksLost++
	for _, r := range l.owed {
		l.remember(r)
	}
	l.owed = nil
}

func (l *simLink) remember(r linkRequest) {
	if l.answered = append(l.answered, r); len(l.answered) > 32 {
		l.answered = l.answered[1:]
	}
}

// answer answers one request, or sends a reply that is none.
func (l *simLink) answer() {
	sim := l.w.sim
	switch n := len(l.owed); {
	case n > 0 && sim.OneIn(16): // another worker's reply to it
		l.post(&linkRequest{ticket: l.owed[sim.Pick(n)].ticket, payload: []byte("not yours"), posted: true}, linkWorker+1)
	case len(l.answered) > 0 && sim.OneIn(16): // once more, or although its link has gone
		l.post(&l.answered[sim.Pick(len(l.answered))], linkWorker)
	case sim.OneIn(64): // to nothing
		l.post(&linkRequest{ticket: gateway.TicketOf(uint64(sim.Pick(1<<20)) << 32), payload: []byte("to nothing"), posted: true}, linkWorker)
	case n > 0:
		i := 0
		if sim.OneIn(4) {
			i = sim.Pick(n)
		}
		r := l.owed[i]
		l.owed = append(l.owed[:i], l.owed[i+1:]...)
		l.post(&r, linkWorker)
		l.remember(r)
	}
}

// post sends a reply by one of the two ways. Only a batch says whose it is.
func (l *simLink) post(r *linkRequest, worker int) {
	w, t := l.w, r.ticket
	if t.ID() == 0 {
		return
	}
	if worker == linkWorker && (w.sim.OneIn(2) || w.sim.MailboxFull(t.Loop())) {
		w.gateway.Answer(t, gateway.StatusOK, r.payload)
	} else if w.sim.MailboxFull(t.Loop()) {
		return
	} else if err := w.gateway.PostReplies(l.pb, t.Loop(), worker, gateway.AppendReply(nil, t, gateway.StatusOK, r.payload)); err != nil {
		w.sim.Fail("%v", err)
	}
	l.posted++
	if !r.posted {
		r.posted = true
		l.first++
	}
}
