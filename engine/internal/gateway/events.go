package gateway

import (
	"runtime/debug"

	"github.com/sluicenet/sluice/engine"
)

// Events hears of clients that come and go. Its methods are called on the client's loop and must
// not block. A panic costs that client its connection.
type Events interface {
	// Opened is called when a client has logged in and was told so. false means that somebody
	// should have been told of it and nobody was there.
	Opened(c *engine.Conn, s Session) bool
	// Closed is called when a client that was Opened is gone, once. id is its uniqId, borrowed.
	Closed(c *engine.Conn, s Session, id []byte, why engine.Reason)
}

// AddEvents has e hear of clients, after those that were added before. It must be called before the
// engine listens, and at most three times.
func (g *Gateway) AddEvents(e Events) {
	if len(g.events) == maxEvents {
		panic("gateway: too many Events")
	}
	g.events = append(g.events, e)
}

// tellOpened tells each of the gateway's Events of a client, until one closes it.
func (g *Gateway) tellOpened(c *engine.Conn, s Session) {
	for i := range g.events {
		if !c.Open() {
			return
		}
		s.Base().standing = s.Base().standing.withTold(i + 1)
		if g.guardedOpened(g.events[i], c, s) {
			continue
		}
		if n, ok := s.(interface{ NoWorker(*engine.Conn) }); ok && c.Open() {
			n.NoWorker(c)
		}
	}
}

// tellClosed tells those of the gateway's Events that a client is gone which were told of it.
func (g *Gateway) tellClosed(c *engine.Conn, s Session, id []byte, why engine.Reason) {
	for _, e := range g.events[:s.Base().standing.told()] {
		g.guardedClosed(e, c, s, id, why)
	}
}

func (g *Gateway) guardedOpened(e Events, c *engine.Conn, s Session) bool {
	ref, l := c.Ref(), c.Loop()
	defer func() {
		if r := recover(); r != nil {
			g.panicked("a client that came", r)
			if c := l.Conn(ref); c != nil {
				c.Abort(engine.ReasonServerError)
			}
		}
	}()
	return e.Opened(c, s)
}

func (g *Gateway) guardedClosed(e Events, c *engine.Conn, s Session, id []byte, why engine.Reason) {
	defer func() {
		if r := recover(); r != nil {
			g.panicked("a client that left", r)
		}
	}()
	e.Closed(c, s, id, why)
}

func (g *Gateway) panicked(told string, r any) {
	g.stats.panics.Add(1)
	g.log.Error("panic of who was told of "+told, "panic", r, "stack", string(debug.Stack()))
}
