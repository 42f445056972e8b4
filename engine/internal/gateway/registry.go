package gateway

import (
	"errors"
	"math"
	"time"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/login"
	"github.com/sluicenet/sluice/session"
)

// A Registry keeps apart, over several gateways, what may be only once or only so often: users'
// connections, uniqIds that somebody has chosen, and one-time tokens. Its methods are called on
// loops and do not block. A connection is known by its engine.Ref, which is this gateway's.
type Registry interface {
	// Enter decides on a login that this gateway would let in, and has the connections elsewhere ended
	// that must go for it. It calls done once, on any goroutine: with LoginOK and how many connections
	// of the user count now, 0 if that is not known, or with the outcome by which the login is refused.
	// Each Enter is followed by Leave.
	Enter(r Registration, done func(o Outcome, online int))
	// Leave says that a connection has ended, and forgets its ids, too. It may have none.
	Leave(ref engine.Ref)
	// Name says that a connection has a uniqId that somebody has chosen. Who has it elsewhere loses it,
	// as by Lose with these data, if he has had it for longer.
	Name(id string, ref engine.Ref, data []byte)
	// Unname says that it does not have it any more.
	Unname(id string, ref engine.Ref)
	// Redeem uses up a one-time token that was issued elsewhere, until deadline. It calls done once, on
	// any goroutine, with what it stands for. The error is login.ErrUnknown or login.ErrUnavailable.
	Redeem(kind TokenKind, token string, deadline time.Time, done func(value string, err error))
}

// A Registration is a login that a Registry decides on.
type Registration struct {
	User    string
	Ref     engine.Ref
	Arrival uint64    // orders the logins of this gateway
	Since   time.Time // when it was asked for
	// Deadline is when nobody waits for the decision any more.
	Deadline time.Time
	// Exclusive is Credentials.Exclusive.
	Exclusive bool
	// Limit is how many connections of the user may count, with this one. Zero: it does not count.
	Limit int
	// Replaces are connections of this gateway whose session the new one takes over: they do not count.
	// Zeros are none.
	Replaces [2]engine.Ref
}

// A TokenKind says what a one-time token is for.
type TokenKind uint8

// The kinds.
const (
	LoginToken    TokenKind = iota + 1 // issued by a login.OTP; stands for the user
	CustomIDToken                      // with which a client may choose its uniqId; stands for nothing
)

// Join has a Registry decide with the gateway. It must be called once at most, before the engine
// listens. It is no method, nor are the functions that a Registry needs: a Gateway's methods are
// for programs, too.
func Join(g *Gateway, r Registry) {
	g.registry = r
	if otp, ok := g.Config().Login.(*login.OTP); ok {
		otp.IssueAs(g.Config().ServerID)
	}
}

// issuesTokens reports whether a provider's tokens are issued by the gateway.
func issuesTokens(p login.Provider) bool {
	_, ok := p.(*login.OTP)
	return ok
}

// TakeLoginToken uses up a one-time token of the gateway's login provider for one that asks from
// elsewhere, and returns whose it is.
func TakeLoginToken(g *Gateway, token string) (user string, ok bool) {
	otp, ok := g.Config().Login.(*login.OTP)
	if !ok {
		return "", false
	}
	identity, err := otp.LoginNow(g.now(), login.Request{Token: token})
	return identity.User, err == nil
}

// register has the Registry decide on a login. It reports false when it has nothing to do with it.
func (g *Gateway) register(c *engine.Conn, s Session, a *admission) bool {
	r := g.registry
	user, limit := s.Base().user, 0
	if r == nil || user == "" {
		return false
	}
	if a.creds.Counted {
		limit = max(g.Config().UserLimit, 0)
	}
	if !a.creds.Exclusive && limit == 0 {
		return false
	}
	ref, later := c.Ref(), *a
	if a.resuming {
		s.Base().extra.undelivered = &later.resumed // until it is let in
	}
	reg := Registration{
		User: user, Ref: ref, Arrival: a.arrival, Since: a.since, Deadline: a.since.Add(g.Config().LoginTimeout),
		Exclusive: a.creds.Exclusive, Limit: limit,
		Replaces: [2]engine.Ref{engine.Ref(a.resumed.Former), engine.Ref(a.resumed.Holder)},
	}
	c.Pause()
	r.Enter(reg, func(o Outcome, online int) {
		g.engine.Tell(ref, func(c *engine.Conn) {
			s := waiting(c)
			if s == nil {
				return
			}
			if o != LoginOK {
				g.refuse(c, s, o)
				return
			}
			if x := s.Base().extra; x != nil {
				x.online = uint16(min(online, math.MaxUint16))
			}
			g.replace(c, s, &later)
		})
	})
	return true
}

// redeem asks elsewhere for what a one-time token stands for, and goes on with the verdict.
func (g *Gateway) redeem(c *engine.Conn, a *admission, kind TokenKind, token string, then func(c *engine.Conn, s Session, a *admission, value string, err error)) {
	ref, later := c.Ref(), *a
	c.Pause()
	g.registry.Redeem(kind, token, a.since.Add(g.Config().LoginTimeout), func(value string, err error) {
		g.engine.Tell(ref, func(c *engine.Conn) {
			if s := waiting(c); s != nil {
				then(c, s, &later, value, err)
			}
		})
	})
}

// elsewhere reports whether a one-time token that is not known here may be another gateway's.
func (g *Gateway) elsewhere(token string) bool {
	issuer, ok := session.TokenIssuer(token)
	return g.registry != nil && ok && issuer != g.Config().ServerID
}

// redeemLogin decides on a login with a one-time token that was issued elsewhere.
func (g *Gateway) redeemLogin(c *engine.Conn, a *admission) {
	g.redeem(c, a, LoginToken, a.creds.Token, func(c *engine.Conn, s Session, a *admission, user string, err error) {
		if err == nil && user == "" {
			err = login.ErrUnknown
		}
		g.verdict(c, s, a, login.Identity{User: user}, err)
	})
}

// redeemCustomID goes on with a login once the token for its uniqId was found to be good.
func (g *Gateway) redeemCustomID(c *engine.Conn, a *admission) {
	g.redeem(c, a, CustomIDToken, a.creds.CustomIDToken, func(c *engine.Conn, s Session, a *admission, _ string, err error) {
		switch {
		case errors.Is(err, login.ErrRefused):
			g.refuse(c, s, LoginMalformed)
		case err != nil:
			g.refuse(c, s, LoginUnavailable)
		default:
			g.decide(c, s, a)
		}
	})
}

// MayBeElsewhere reports whether a one-time token for a uniqId that is not known here may be good
// elsewhere, so that a login may go on with it as Credentials.CustomIDToken.
func MayBeElsewhere(g *Gateway, token []byte) bool { return g.elsewhere(string(token)) }

// Kick ends a connection of a user in favour of a login elsewhere, and calls done, which must not
// block, when it has ended. Any goroutine may call it.
func Kick(g *Gateway, ref engine.Ref, done func()) {
	g.engine.Tell(ref, func(c *engine.Conn) {
		if s := waiting(c); s != nil {
			g.refuse(c, s, LoginConcurrent)
		} else if c != nil {
			c.Close(engine.ReasonKickedOut)
		}
		// A connection ends at the end of its loop's step.
		g.engine.TellLoop(ref.Loop(), done)
	})
}

// Lose ends a connection whose uniqId somebody has elsewhere now; done is as in Kick. If there are data
// it is sent them, and closed by closeLater. It changes nothing if the connection does not have the
// id any more.
func Lose(g *Gateway, ref engine.Ref, id string, data []byte, closeLater func(*engine.Conn), done func()) {
	g.engine.Tell(ref, func(c *engine.Conn) {
		defer g.engine.TellLoop(ref.Loop(), done)
		if c == nil {
			return
		}
		s, ok := c.Handler().(Session)
		if !ok || !s.Base().Online() || g.ID(s.Base()) != id {
			return
		}
		g.Renew(c, s.Base())
		if len(data) == 0 {
			c.Close(engine.ReasonSessionTakenOver)
			return
		}
		c.Deliver(g.Push(data))
		closeLater(c)
	})
}

// CountedWith returns how many connections that count cl's user has, at all gateways as far as that was
// found out at its login.
func CountedWith(g *Gateway, cl *Client) int {
	n := g.Counted(cl.user)
	if cl.extra != nil {
		n = max(n, int(cl.extra.online))
	}
	return n
}
