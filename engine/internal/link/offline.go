package link

import (
	"time"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
)

// offlineGrace is how long a client that is sent away has to read why.
const offlineGrace = 3 * time.Second

// evict sends away a client whose id was given to another. It gets an id of its own for the time
// it has left, so that its end is never taken for the new holder's.
func (l *link) evict(ref engine.Ref, data []byte) {
	g := l.hub.gateway
	g.Engine().Tell(ref, func(c *engine.Conn) {
		if c == nil {
			return
		}
		if s, ok := c.Handler().(gateway.Session); ok && s.Base().Online() {
			g.Renew(c, s.Base())
		}
		if len(data) == 0 {
			c.Close(engine.ReasonForcedOffline)
			return
		}
		l.pushTo(c, data)
		l.closeLater(c)
	})
}

// closeLater closes a client that is sent away, on its loop, once it has had time to read why; at
// once if too many closes wait.
func (l *link) closeLater(c *engine.Conn) { CloseLater(l.hub, c) }

// CloseLater closes a client that is sent away, as a worker's command does: on its loop. It is no method,
// since a Hub's are for programs, too.
func CloseLater(h *Hub, c *engine.Conn) {
	if !h.delayed.closeLater(c.Ref(), offlineGrace) {
		c.Close(engine.ReasonForcedOffline)
	}
}

// runDelayed does what was delayed and is due. l is the link of the goroutine that does so.
func (l *link) runDelayed(it delayedItem) {
	defer func() {
		if r := recover(); r != nil {
			_ = l.panicked(r)
		}
	}()
	if m := it.message; m != nil {
		// An error means that the gateway is stopping.
		_ = l.offline(m.command.UniqIds, m.command.Data, true)
		return
	}
	l.hub.gateway.Engine().Tell(it.ref, func(c *engine.Conn) {
		if c != nil {
			c.Close(engine.ReasonForcedOffline)
		}
	})
}

// offline carries out ForceOffline and ForceOfflineGuest.
func (l *link) offline(ids []string, data []byte, guestsOnly bool) error {
	l.awaitRenames()
	l.refs = l.refs[:0]
	for _, id := range ids {
		if ref := l.hub.gateway.Lookup([]byte(id)); ref != 0 {
			l.refs = append(l.refs, ref)
		}
	}
	return l.offlineRefs(l.refs, data, guestsOnly)
}

// offlineRefs pushes data to connections and closes them.
func (l *link) offlineRefs(refs []engine.Ref, data []byte, guestsOnly bool) error {
	l.changing = true
	bytes := len(data) // counted with the first client: they share it
	for _, ref := range refs {
		err := l.publisher.DoOn(ref.Loop(), bytes, func(loop *engine.Loop) {
			c := loop.Conn(ref)
			if c == nil {
				return
			}
			s, ok := c.Handler().(gateway.Session)
			if !ok || guestsOnly && s.Base().Session() != "" {
				return
			}
			if len(data) == 0 {
				c.Close(engine.ReasonForcedOffline)
				return
			}
			l.pushTo(c, data)
			l.closeLater(c)
		})
		if err != nil {
			return err
		}
		bytes = 0
	}
	return nil
}
