package gateway

import (
	"errors"
	"sync"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/session"
	"github.com/sluicenet/sluice/topic"
)

// A SessionShare has sessions of this gateway be resumed on others, and theirs here. What others
// need to know of a session is asked for when there is time, with ShareSession. It is told of
// changes on loops, with locks held: it must neither block nor call the gateway back.
type SessionShare interface {
	session.Watcher
	// Take makes the session of a ticket that was shown here, and that is not known here, this
	// gateway's. It calls done once, on any goroutine, with the session as it was before it is resumed,
	// or with the reason why it cannot be had: session.ErrHeld says that it is known here by now.
	Take(t session.Ticket, done func(session.Shared, error))
}

// ErrNoSessionKey is the error of Share for a gateway whose tickets no other can read.
var ErrNoSessionKey = errors.New("gateway: Config.SessionKey is not set: tickets of other gateways are signed with it")

// Share has sessions be resumed on other gateways, which must have the same Config.SessionKey. It
// must be called before the engine listens. It is no method, nor are the functions that a
// SessionShare needs: a Gateway's methods are for programs, too.
func Share(g *Gateway, s SessionShare) error {
	if g.Config().SessionKey == ([session.KeySize]byte{}) {
		return ErrNoSessionKey
	}
	g.share = s
	g.sessions.Watch(s)
	return nil
}

// changed says that what a client's session is worth to others has changed.
func (g *Gateway) changed(cl *Client) {
	if share := g.share; share != nil && cl.extra != nil && cl.extra.resumable && cl.Online() {
		share.Changed(cl.extra.issued.ID)
	}
}

// takeSession fetches the session of a client's ticket from elsewhere, and goes on with the login then.
func (g *Gateway) takeSession(c *engine.Conn, a *admission) {
	ticket, err := g.sessions.Open(g.now(), []byte(a.creds.SessionID))
	ref, later := c.Ref(), *a
	c.Pause()
	decide := func(err error) {
		g.engine.Tell(ref, func(c *engine.Conn) {
			s := waiting(c)
			if s == nil {
				return
			}
			o := SessionRefused
			if err == nil {
				o, err = g.resume(c, s.Base(), &later)
			}
			g.resumed(c, s, &later, o, err)
		})
	}
	if err != nil { // it was good a moment ago
		decide(err)
		return
	}
	g.share.Take(ticket, func(shared session.Shared, err error) {
		switch {
		case errors.Is(err, session.ErrHeld): // it has come in the meantime
			err = nil
		case err == nil:
			err = g.adopt(shared)
		}
		if err != nil {
			g.stats.sessionsNotTaken.Add(1)
		} else {
			g.stats.sessionsTaken.Add(1)
		}
		decide(err)
	})
}

// adopt makes a session that another gateway has given up one of this gateway's, without a connection.
func (g *Gateway) adopt(shared session.Shared) error {
	err := g.sessions.Adopt(g.now(), shared)
	g.chargeSessions()
	switch {
	case errors.Is(err, session.ErrEnded): // meanwhile
		g.share.Ended(shared.ID)
	case err != nil:
		g.share.Forgotten(shared.ID)
	}
	return err
}

// StepSession makes shared what it is once the session was resumed with a ticket, or says why it cannot
// be. Any goroutine may call it.
func StepSession(g *Gateway, shared *session.Shared, t session.Ticket) error {
	return g.sessions.Step(g.now(), shared, t)
}

// ShareSession calls done with what others must know of a session, also of what its connection has.
// Behind says that the connection lacks something up to a position. The error is session.ErrUnknown
// when it is not known here, or session.ErrHeld while its connection enters or leaves. done must
// not block; it runs within the call, or on a loop. Any goroutine may call it.
func ShareSession(g *Gateway, id session.SessionID, upTo topic.Position, done func(session.Shared, error)) {
	shared, holder, err := g.sessions.Share(id)
	if err != nil || holder == 0 {
		done(shared, err)
		return
	}
	g.engine.Tell(engine.Ref(holder), func(c *engine.Conn) {
		var s Session
		if c != nil && c.Open() {
			s, _ = c.Handler().(Session)
		}
		if s == nil || !s.Base().Online() || !s.Base().Resumable() {
			done(shared, session.ErrHeld)
			return
		}
		shared.Snapshot = snapshotOf(c, s.Base().extra)
		shared.Snapshot.Marks = sessionMarks(c.MarksNow())
		shared.Behind = c.Received().Before(upTo)
		done(shared, nil)
	})
}

// A Laggard is a session whose connection has not received all of its topics' histories.
type Laggard struct {
	ID session.SessionID
	At topic.Position // it has received what is up to there
}

// mostLaggards bounds those that AskReceived tells of.
const mostLaggards = 1 << 16

// AskReceived asks how far the clients with sessions are in their topics' histories, in the order of a
// log: done is called with those that have not received everything up to a position, and with one up to
// which all others have, engine.ReceivedAll if they lack nothing. ok is false when too many have
// not. done must not block; it runs on a loop. It is not called when another question follows
// before, or the engine stops. Any goroutine may call AskReceived.
func AskReceived(g *Gateway, upTo topic.Position, done func(rest topic.Position, behind []Laggard, ok bool)) {
	var mu sync.Mutex
	var behind []Laggard
	ok := true
	g.engine.AskReceived(upTo, func(c *engine.Conn, at topic.Position) {
		s, is := c.Handler().(Session)
		if !is || !s.Base().Online() || !s.Base().Resumable() {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if ok = ok && len(behind) < mostLaggards; ok {
			behind = append(behind, Laggard{s.Base().extra.issued.ID, at})
		}
	}, func(rest topic.Position) { done(rest, behind, ok) })
}

// snapshotOf is what a client's session is worth to its next connection, without its places in
// histories.
func snapshotOf(c *engine.Conn, x *extra) session.Snapshot {
	s := session.Snapshot{SessionText: x.sessionText, Topics: c.Topics(make([]string, 0, c.TopicCount())), Lost: x.lost}
	if x.about != nil {
		s.Claims = mapOf(x.about.claims)
	}
	return s
}

// GiveSession gives a session up to another gateway, where a ticket with this serial was shown. Its
// connection is closed first, as one whose session was taken over. done is called once, on any
// goroutine, and must not block; the error is one of the session package's. Any goroutine may call it.
func GiveSession(g *Gateway, id session.SessionID, serial uint32, done func(session.Shared, error)) {
	holder, former, err := g.sessions.MayGive(g.now(), id, serial)
	if err != nil {
		done(session.Shared{}, err)
		return
	}
	give := func() {
		shared, err := g.sessions.Give(g.now(), id, serial)
		g.chargeSessions()
		if err == nil {
			g.stats.sessionsGiven.Add(1)
		}
		done(shared, err)
	}
	// The one that has the session's state goes first.
	g.closeBefore(engine.Ref(former), func() { g.closeBefore(engine.Ref(holder), give) })
}

// closeBefore closes a connection whose session was taken over, 0 for none, and calls then when what it
// leaves behind is there.
func (g *Gateway) closeBefore(ref engine.Ref, then func()) {
	if ref == 0 {
		then()
		return
	}
	g.engine.Tell(ref, func(c *engine.Conn) {
		if c != nil {
			c.Close(engine.ReasonSessionTakenOver)
		}
		// A connection ends at the end of its loop's step.
		g.engine.TellLoop(ref.Loop(), then)
	})
}

// LoseSession forgets a session that another gateway has by now, and closes its connection. Any
// goroutine may call it.
func LoseSession(g *Gateway, id session.SessionID) {
	holder, former := g.sessions.Lose(id)
	g.chargeSessions()
	g.stats.sessionsGiven.Add(1)
	for _, ref := range [...]uint64{former, holder} {
		g.closeBefore(engine.Ref(ref), func() {})
	}
}

// EndShared ends a session that was ended on another gateway, with its connection. Any goroutine
// may call it.
func EndShared(g *Gateway, id session.SessionID) {
	holder, _ := g.EndSession(id)
	if holder == 0 {
		return
	}
	g.engine.Tell(holder, func(c *engine.Conn) {
		if c != nil {
			c.Close(engine.ReasonForcedOffline)
		}
	})
}

// SharedSessions returns the sessions that are known here, with and without a connection.
func SharedSessions(g *Gateway) []session.SessionID { return g.sessions.IDs() }

// unknown reports whether a session may be one of another gateway.
func (g *Gateway) unknown(err error) bool {
	return g.share != nil && errors.Is(err, session.ErrUnknown)
}
