package link

import (
	"slices"
	"sync"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/topic"
)

// Where there are other nodes, what says to a client that it is subscribed waits until what they publish
// reaches it. Nothing else of the link overtakes that on its way to a client: these pushes go in their
// order, and the commands behind them wait.

// settling are the pushes of a link that wait.
type settling struct {
	mu    sync.Mutex
	queue []*settled    // oldest first
	empty chan struct{} // closed when queue is; nil when it is
}

type settled struct {
	ref  engine.Ref
	data []byte
	done bool
}

// settledCost is what one costs beside its data, in bytes.
const settledCost = 128

// pushSettled pushes data to a client, on its own loop, which has subscribed to topics.
func (l *link) pushSettled(c *engine.Conn, topics []string, data []byte) {
	e := l.hub.gateway.Engine()
	if e.Config().Remote == nil {
		l.pushTo(c, data)
		return
	}
	s, p := &l.settling, &settled{ref: c.Ref(), data: data}
	s.mu.Lock()
	defer s.mu.Unlock()
	later := e.WhenSettled(topic.Names(topics), func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		p.done = true
		l.pushHead()
	})
	if !later && len(s.queue) == 0 {
		l.pushTo(c, data)
		return
	}
	p.done = !later
	if s.empty == nil {
		s.empty = make(chan struct{})
	}
	s.queue = append(s.queue, p)
	l.hub.charge(engine.KindLinkQueue, len(data)+settledCost)
}

// pushHead lets go what waits for nothing any more. settling.mu is held.
func (l *link) pushHead() {
	s, n := &l.settling, 0
	for _, p := range s.queue {
		if !p.done {
			break
		}
		n++
		l.hub.charge(engine.KindLinkQueue, -len(p.data)-settledCost)
		l.hub.gateway.Engine().Tell(p.ref, func(c *engine.Conn) {
			if c != nil {
				l.pushTo(c, p.data)
			}
		})
	}
	if s.queue = slices.Delete(s.queue, 0, n); len(s.queue) == 0 {
		close(s.empty)
		s.empty = nil
	}
}

// awaitSettled waits until the subscriptions that the link has asked for are made and settled, and who
// was to be told has been.
func (l *link) awaitSettled() {
	if !l.subscribing {
		return
	}
	l.subscribing = false
	l.barrier()
	l.settling.mu.Lock()
	empty := l.settling.empty
	l.settling.mu.Unlock()
	if empty == nil {
		return
	}
	select {
	case <-empty:
	case <-l.hub.gateway.Engine().Stopped():
	}
}
