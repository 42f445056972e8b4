package cluster

import (
	"context"
	"errors"
	"time"

	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/session"
	"github.com/sluicenet/sluice/topic"
)

// sessionsTag is the first byte of what sessions says to other nodes. It is none of those of names and of
// workers' commands.
const sessionsTag = 'S'

// sessionsAsker carries the commands of sessions.
type sessionsAsker struct{ node *Node }

func tagged(payload []byte) []byte {
	return append(append(make([]byte, 0, len(payload)+1), sessionsTag), payload...)
}

// tell implements asker.
func (a sessionsAsker) tell(nodes []uint8, payload []byte) error {
	return a.node.rpc.tell(nodes, tagged(payload))
}

// ask implements asker.
func (a sessionsAsker) ask(
	nodes []uint8, payload []byte, wait time.Duration, each func(node uint8, answer []byte, err error), done func(),
) {
	a.node.rpc.ask(nodes, tagged(payload), wait, each, done)
}

// gatewaySessions is the SessionHolder of a gateway.
type gatewaySessions struct{ gateway *gateway.Gateway }

// ShareSession implements SessionHolder.
func (g gatewaySessions) ShareSession(id session.SessionID, upTo topic.Position, done func(session.Shared, error)) {
	gateway.ShareSession(g.gateway, id, upTo, done)
}

// CutTrails implements SessionHolder.
func (g gatewaySessions) CutTrails() { g.gateway.Engine().CutTrails() }

// AskReceived implements SessionHolder.
func (g gatewaySessions) AskReceived(upTo topic.Position, done func(topic.Position, []gateway.Laggard, bool)) {
	gateway.AskReceived(g.gateway, upTo, done)
}

// Keeps implements SessionHolder.
func (g gatewaySessions) Keeps(name string) bool {
	return g.gateway.Engine().History().Keeps([]byte(name))
}

// StepSession implements SessionHolder.
func (g gatewaySessions) StepSession(shared *session.Shared, t session.Ticket) error {
	return gateway.StepSession(g.gateway, shared, t)
}

// GiveSession implements SessionHolder.
func (g gatewaySessions) GiveSession(id session.SessionID, serial uint32, done func(session.Shared, error)) {
	gateway.GiveSession(g.gateway, id, serial, done)
}

// LoseSession implements SessionHolder.
func (g gatewaySessions) LoseSession(id session.SessionID) { gateway.LoseSession(g.gateway, id) }

// EndShared implements SessionHolder.
func (g gatewaySessions) EndShared(id session.SessionID) { gateway.EndShared(g.gateway, id) }

// SharedSessions implements SessionHolder.
func (g gatewaySessions) SharedSessions() []session.SessionID {
	return gateway.SharedSessions(g.gateway)
}

// maxSessionValue is how long the value of a session's key may be, in bytes: a message of NATS's default.
const maxSessionValue = 1<<20 - 4096

// ShareSessions has the sessions of a gateway be resumed on other nodes, and theirs on it, if there is a
// bucket for them; between Bind and Start. The error is gateway.ErrNoSessionKey.
func (n *Node) ShareSessions(g *gateway.Gateway) error {
	if n.config.Sessions == nil {
		return nil
	}
	s := newSessions(&n.config, n.config.Sessions, &n.nodes, maxSessionValue)
	s.holder = gatewaySessions{g}
	if err := gateway.Share(g, s); err != nil {
		return err
	}
	if n.history != nil {
		s.reach, s.on = n.history.reach, n.history.wanted.Load
	}
	n.sessions = s
	key := g.Config().SessionKey
	n.keyMark = keyMark(n.config.Name, &key)
	return nil
}

// startSessions is called with n.mu held.
func (n *Node) startSessions() {
	if n.sessions != nil {
		n.sessions.start(n.sessions.holder, sessionsAsker{n})
		n.sessions.changed(n.config.Control.Connected())
		n.tasks.Go(func() { // the bucket is made, or opened, before a client needs it
			ctx, cancel := context.WithTimeout(n.ctx, renewTimeout)
			defer cancel()
			if _, err := n.config.Sessions.Get(ctx, "none"); err != nil && !errors.Is(err, ErrKeyNotFound) && n.ctx.Err() == nil {
				n.log.Warn("the bucket of sessions cannot be used yet", "err", err)
			}
		})
	}
}

// sessionsChanged tells sessions of a change of the control connection.
func (n *Node) sessionsChanged(connected bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.sessions != nil && n.joined && !n.closed {
		n.sessions.changed(connected)
	}
}

// sessionsFlush is how long what clients leave behind may take to be written when the node closes.
const sessionsFlush = 3 * time.Second

func (n *Node) closeSessions(ctx context.Context) {
	if n.sessions == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, sessionsFlush)
	defer cancel()
	n.sessions.close(ctx)
}

// serveSessions takes what sessions of another node says. It reports false for what others say.
func (n *Node) serveSessions(from uint8, payload []byte, answer func([]byte)) bool {
	if len(payload) == 0 || payload[0] != sessionsTag || n.sessions == nil {
		return false
	}
	n.sessions.handle(from, payload[1:], answer)
	return true
}
