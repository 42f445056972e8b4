package gateway

import (
	"iter"

	"github.com/sluicenet/sluice/engine"
)

// Where there are other nodes, the answer to a login says that nothing is missed from then on of the
// topics that come with it. They are told of these topics as soon as the login is a good one, and the
// answer waits until they know. The client is subscribed behind its answer, as always.

// given yields the topics that a client gets with its login and that go on from now: in histories a
// session has its places. handed says that those of the connection it takes over are among them.
func (g *Gateway) given(c *engine.Conn, a *admission, handed bool) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for _, t := range a.identity.Topics {
			if !g.yieldGiven(t, false, yield) {
				return
			}
		}
		if !a.resuming {
			return
		}
		for _, t := range a.resumed.Snapshot.Topics {
			if !g.yieldGiven(t, true, yield) {
				return
			}
		}
		if !handed {
			return
		}
		for _, t := range g.sessions.HandoverTopics(a.resumed.ID, uint64(c.Ref())) {
			if !g.yieldGiven(t, true, yield) {
				return
			}
		}
	}
}

func (g *Gateway) yieldGiven(name string, placed bool, yield func([]byte) bool) bool {
	t := []byte(name)
	if len(t) == 0 || g.CheckTopic(t) != nil || placed && g.engine.History().Keeps(t) {
		return true
	}
	return yield(t)
}

// expect tells the other nodes of the topics that come with a login.
func (g *Gateway) expect(c *engine.Conn, a *admission) {
	if len(a.identity.Topics) > 0 || a.resuming {
		g.engine.Expect(g.given(c, a, false))
	}
}

// enterSettled is enter, once the other nodes know of those topics. How long that takes is bounded, see
// engine.Remote.
func (g *Gateway) enterSettled(c *engine.Conn, s Session, a *admission) {
	if g.engine.Config().Remote == nil || len(a.identity.Topics) == 0 && !a.resuming {
		g.enter(c, s, a)
		return
	}
	ref, later := c.Ref(), *a
	topics := g.given(c, &later, true)
	g.engine.Expect(topics) // again: some were not known of
	wait := g.engine.WhenSettled(topics, func() {
		g.engine.Tell(ref, func(c *engine.Conn) {
			if s := waiting(c); s != nil {
				g.enterSettled(c, s, &later) // it may have taken so long that they have forgotten
			}
		})
	})
	if !wait {
		g.enter(c, s, a)
		return
	}
	if a.resuming {
		s.Base().extra.undelivered = &later.resumed // until it is let in
	}
	c.Pause()
}
