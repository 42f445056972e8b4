package gateway

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"time"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/login"
	"github.com/sluicenet/sluice/session"
)

// Credentials are what a client shows to log in.
type Credentials struct {
	Token    string
	Metadata map[string]string
	// SessionID is a resumption ticket, tried before the token. Empty: none.
	SessionID string
	// ResumeOnly refuses the login when the session cannot be resumed.
	ResumeOnly bool
	// Resumable asks for a ticket.
	Resumable bool
	// Exclusive closes the user's older connection of this kind (kick-out). Anonymous users have
	// no other connections.
	Exclusive bool
	// Guest lets the client in without asking the provider.
	Guest bool
	// UniqID is the id the client is to have, 1 to session.MaxIDLen bytes. A connection that has it
	// is closed. Empty: the gateway makes one.
	UniqID string
	// CustomIDToken is the one-time token for UniqID if it is not known to be good yet, since another
	// gateway has issued it: see MayBeElsewhere.
	CustomIDToken string
	// Traceparent says of which trace the login is a part, and the client's requests that have none of
	// their own; as the client has sent it. Empty: of none, or of what Metadata says.
	Traceparent string
	// Counted has the connection count among its user's (see Gateway.Online), who may have
	// Config.UserLimit of them. Anonymous connections are not counted.
	Counted bool
}

// An admission is a login on its way from verdict to online.
type admission struct {
	creds    Credentials
	arrival  uint64    // counts the logins asked for
	since    time.Time // when it was, if there is a Registry
	identity login.Identity
	grant    session.Login // what the session rests on
	kicked   engine.Ref    // the user's older connection, which goes
	resumed  session.Resumed
	resuming bool

	traceparent string // for the provider
}

// Login decides on a client's credentials and calls s.LoginDone: within the call when it can, or
// later, with c's input paused meanwhile. It must be called on c's loop, once per connection. When
// the connection ends before the verdict, nothing comes of it.
func (g *Gateway) Login(c *engine.Conn, s Session, creds Credentials) {
	cl := s.Base()
	a := admission{creds: creds, arrival: g.arrivals.Add(1)}
	cl.standing = arrivedAt(a.arrival).with(phaseLogin)
	g.SetTraceparent(c, cl, []byte(cmp.Or(creds.Traceparent, creds.Metadata[Traceparent])))
	a.traceparent = g.traceLogin(c, s)
	if g.Draining() {
		g.refuse(c, s, LoginUnavailable)
		return
	}
	if g.registry != nil {
		a.since = g.now()
	}
	if n := pairsSize(creds.Metadata); n > g.Config().MaxLoginMetadata {
		g.log.Debug("login metadata too long", "protocol", s.Protocol(), "peer", c.LogPeer(),
			"bytes", n, "limit", g.Config().MaxLoginMetadata)
		g.refuse(c, s, LoginMetadata)
		return
	}
	if creds.CustomIDToken != "" {
		g.redeemCustomID(c, &a)
		return
	}
	g.decide(c, s, &a)
}

// decide goes on with a login whose credentials can be read.
func (g *Gateway) decide(c *engine.Conn, s Session, a *admission) {
	cl, creds := s.Base(), &a.creds
	if creds.SessionID != "" {
		o, err := g.resume(c, cl, a)
		if g.unknown(err) {
			g.takeSession(c, a)
		} else {
			g.resumed(c, s, a, o, err)
		}
		return
	}
	g.loginAnew(c, s, a)
}

// resumed goes on with a login by ticket once it is known what becomes of the session.
func (g *Gateway) resumed(c *engine.Conn, s Session, a *admission, o Outcome, err error) {
	switch {
	case o == LoginOK:
		g.admit(c, s, a)
	case o != SessionRefused || a.creds.ResumeOnly || a.creds.Token == "":
		g.log.Debug("session refused", "peer", c.LogPeer(), "outcome", o.String(), "err", err)
		g.refuse(c, s, o)
	default:
		g.loginAnew(c, s, a)
	}
}

// loginAnew decides on a login without a ticket, or with one that is not good.
func (g *Gateway) loginAnew(c *engine.Conn, s Session, a *admission) {
	creds, cl := &a.creds, s.Base()
	if creds.Guest {
		g.nameGuest(c, a)
		g.admit(c, s, a)
		return
	}
	cert := certificateOf(c)
	if cert == nil && g.banned(c, creds.Token) { // one that was verified cannot be guessed
		g.log.Debug("login refused", "protocol", s.Protocol(), "peer", c.LogPeer(), "outcome", LoginBanned.String())
		g.refuse(c, s, LoginBanned)
		return
	}
	r := login.Request{Token: creds.Token, Protocol: s.Protocol(), Peer: c.Peer().Addr(), Metadata: creds.Metadata, Cert: cert, Traceparent: a.traceparent}
	if p, ok := g.Config().Login.(login.Immediate); ok {
		identity, err := g.loginNow(c, p, r)
		if err != nil && g.elsewhere(creds.Token) && issuesTokens(p) {
			g.redeemLogin(c, a)
			return
		}
		g.verdict(c, s, a, identity, err)
		return
	}
	c.Pause()
	ref, later := c.Ref(), *a
	ctx, cancel := context.WithTimeout(g.logins.ctx, g.Config().LoginTimeout)
	cl.ensure(g.pool(c)).cancelLogin = cancel
	why := g.logins.submit(&loginJob{
		ctx:     ctx,
		request: r,
		done: func(identity login.Identity, err error) {
			cancel()
			g.engine.Tell(ref, func(c *engine.Conn) {
				if s := waiting(c); s != nil {
					s.Base().extra.cancelLogin = nil
					g.verdict(c, s, &later, identity, err)
				}
			})
		},
	})
	if why != nil {
		cancel()
		cl.extra.cancelLogin = nil
		g.log.Info("login refused, the provider was not asked", "protocol", s.Protocol(), "peer", c.LogPeer(), "err", why)
		g.refuse(c, s, LoginUnavailable)
	}
}

// certificateOf returns the client's certificate, nil unless it was verified.
func certificateOf(c *engine.Conn) *x509.Certificate {
	info, ok := c.TLS()
	if !ok {
		return nil
	}
	return info.Certificate
}

// nameGuest gives a guest with a verified client certificate the user's name in it, with which the
// authorities vouch for it as a token would. The login ends with the certificate.
func (g *Gateway) nameGuest(c *engine.Conn, a *admission) {
	cert := certificateOf(c)
	if cert == nil {
		return
	}
	identity, err := login.Cert{}.LoginNow(g.now(), login.Request{Cert: cert})
	if err != nil {
		g.log.Debug("a guest's certificate gives no name", "peer", c.LogPeer(), "err", err)
		return
	}
	identity.Proof = 0 // of no provider that could take it back
	a.identity, a.grant = identity, grantOf(&identity)
}

// banned reports whether a login is refused without asking whose token it is.
func (g *Gateway) banned(c *engine.Conn, token string) bool {
	return g.known != nil && g.failures.banned(c.Peer().Addr(), c.Loop().Now()) && !g.known.known(token, g.now())
}

// waiting returns the session of a connection whose login is under way, nil when the connection is
// over, or was told that it is refused.
func waiting(c *engine.Conn) Session {
	if c == nil || !c.Open() {
		return nil
	}
	if s, ok := c.Handler().(Session); ok && s.Base().Waiting() {
		return s
	}
	return nil
}

// loginNow asks a provider that decides at once. Providers of others are isolated, as handlers are.
func (g *Gateway) loginNow(c *engine.Conn, p login.Immediate, r login.Request) (login.Identity, error) {
	switch p.(type) {
	case login.Open, login.Cert, *login.Tokens, *login.JWT, *login.OTP:
		return p.LoginNow(g.now(), r)
	}
	return g.loginIsolated(c, p, r)
}

func (g *Gateway) loginIsolated(c *engine.Conn, p login.Immediate, r login.Request) (identity login.Identity, err error) {
	c.Loop().Isolate(func() { identity, err = p.LoginNow(g.now(), r) })
	return identity, err
}

// resume takes up the session in the client's credentials, unless its user has no room for one more
// connection: then nothing has changed, and the client's ticket is as good as before.
func (g *Gateway) resume(c *engine.Conn, cl *Client, a *admission) (Outcome, error) {
	now, ref := g.now(), uint64(c.Ref())
	ticket, err := g.sessions.Open(now, []byte(a.creds.SessionID))
	if err != nil {
		return SessionRefused, err
	}
	// One at a time for each session: who arrives later resumes later, and holds the session in the
	// end.
	mu := &g.resuming[uint64(ticket.ID.Slot())%uint64(len(g.resuming))]
	mu.Lock()
	defer mu.Unlock()
	a.arrival = g.arrivals.Add(1)
	cl.standing = arrivedAt(a.arrival).with(phaseLogin)
	if !g.holds(ticket.Login) {
		return SessionRefused, errRevoked
	}
	if err := g.sessions.Check(now, ticket); err != nil { // before an earlier login loses its claim to it
		return SessionRefused, err
	}
	if o := g.reserve(c, cl, a, ticket.User, ticket.ID.Slot()); o != LoginOK {
		return o, nil
	}
	a.resumed, err = g.sessions.Resume(now, ticket, ref)
	if err != nil {
		g.unreserve(c, cl)
		cl.user, a.kicked = "", 0
		return SessionRefused, err
	}
	g.sessions.Undelivered(a.resumed, ref) // until enter
	a.resuming = true
	a.identity, a.grant = login.Identity{User: a.resumed.User}, a.resumed.Login
	g.chargeSessions()
	x := cl.ensure(g.pool(c))
	x.resumable, x.issued = true, a.resumed.Issued
	return LoginOK, nil
}

// reserve makes the client one of user's, as far as there can be only so many of them. It is undone
// by unreserve, which Closed calls.
func (g *Gateway) reserve(c *engine.Conn, cl *Client, a *admission, user string, slot session.Slot) Outcome {
	cl.user = user
	if user == "" {
		return LoginOK
	}
	if a.creds.Exclusive {
		bound, ok := g.users.Claim(user, uint64(c.Ref()), a.arrival)
		if !ok {
			return LoginConcurrent
		}
		cl.ensure(g.pool(c)).claimed = true
		a.kicked = engine.Ref(bound)
	}
	if a.creds.Counted {
		// Whoever takes over a connection has that one's slot at once, before it has gone.
		if _, ok := g.counts.Acquire(user, slot, g.Config().UserLimit); !ok {
			return LoginOverLimit
		}
		x := cl.ensure(g.pool(c))
		x.counted, x.slot = true, slot
	}
	return LoginOK
}

func (g *Gateway) unreserve(c *engine.Conn, cl *Client) {
	x := cl.extra
	if x == nil {
		return
	}
	if x.claimed {
		x.claimed = false
		g.users.Abort(cl.user, uint64(c.Ref()))
	}
	if x.counted && fault != 9 {
		x.counted = false
		g.counts.Drop(cl.user, x.slot)
	}
}

var errRevoked = errors.New("gateway: the login that the session rests on was taken back")

func (g *Gateway) verdict(c *engine.Conn, s Session, a *admission, identity login.Identity, err error) {
	if err != nil {
		o, level := LoginUnavailable, slog.LevelWarn // the provider is in trouble, not the client
		switch {
		case errors.Is(err, login.ErrRefused):
			o, level = LoginRefused, slog.LevelDebug
		case errors.Is(err, errLoginClosed):
			level = slog.LevelDebug
		}
		g.log.Log(context.Background(), level, "login refused", "protocol", s.Protocol(), "peer", c.LogPeer(),
			"outcome", o.String(), "err", err)
		g.refuseOf(c, s, o, refusedUser(err))
		return
	}
	if g.known != nil {
		g.known.note(a.creds.Token, g.now())
	}
	if n := pairsSize(identity.Claims); n > g.Config().MaxLoginMetadata {
		g.log.Warn("the login provider's claims are too long", "user", identity.User,
			"bytes", n, "limit", g.Config().MaxLoginMetadata)
		g.refuse(c, s, LoginUnavailable)
		return
	}
	a.identity, a.grant = identity, grantOf(&identity)
	g.admit(c, s, a)
}

// refusedUser returns whose login it is that a provider refuses with err, if it says so.
func refusedUser(err error) string {
	var of *login.UserError
	if errors.As(err, &of) {
		return of.User
	}
	return ""
}

func (g *Gateway) refuse(c *engine.Conn, s Session, o Outcome) { g.refuseOf(c, s, o, "") }

// refuseOf refuses a login of a user, empty for one that nobody knows.
func (g *Gateway) refuseOf(c *engine.Conn, s Session, o Outcome, user string) {
	cl := s.Base()
	cl.standing = cl.standing.with(phaseGone) // no other verdict follows
	g.endLogin(c, cl, o, "")
	g.stats.refused[o].Add(1)
	if o == LoginRefused || o == SessionRefused || o == LoginMalformed {
		if ban := g.failures.note(c.Peer().Addr(), user, c.Loop().Now()); ban > 0 && g.known != nil {
			g.log.Info("an address is banned for its refused logins", "protocol", s.Protocol(), "peer", c.LogPeer(),
				"user", user, "for", ban)
		}
	}
	s.LoginDone(c, o)
}

// Refuse says that the client's credentials cannot be used at all, or that its verdict is late.
func (g *Gateway) Refuse(c *engine.Conn, s Session, o Outcome) { g.refuse(c, s, o) }

// admit lets a client in whose credentials are good, if its user may have one more connection.
func (g *Gateway) admit(c *engine.Conn, s Session, a *admission) {
	if !a.resuming {
		if o := g.reserve(c, s.Base(), a, a.identity.User, session.Slot(c.Ref())); o != LoginOK {
			g.refuse(c, s, o)
			return
		}
	}
	g.expect(c, a)
	if !g.register(c, s, a) {
		g.replace(c, s, a)
	}
}

// enter puts the client on all lists and tells it so.
func (g *Gateway) enter(c *engine.Conn, s Session, a *admission) {
	cl := s.Base()
	ref := uint64(c.Ref())
	if fault != 12 && a.resuming && g.sessions.Ended(a.resumed.ID) { // while its holder's end was awaited
		g.refuse(c, s, SessionRefused)
		return
	}
	if x := cl.extra; x != nil && x.claimed {
		x.claimed = false
		if !g.users.Commit(cl.user, ref) { // a login that arrived later has taken the claim
			if a.resuming {
				resumed := a.resumed
				x.undelivered = &resumed
			}
			g.refuse(c, s, LoginConcurrent)
			return
		}
	}
	if !g.holds(a.grant) { // since the verdict
		g.refuse(c, s, LoginRefused)
		return
	}
	if x := cl.extra; x != nil && fault != 10 {
		x.undelivered = nil
	}
	if a.resuming {
		g.sessions.Told(g.now(), a.resumed.ID, ref)
	}
	if a.creds.Resumable && !a.resuming {
		issued, err := g.sessions.Begin(g.now(), ref, a.grant)
		if err != nil {
			g.log.Warn("no session for a client", "user", cl.user, "err", err)
		} else {
			x := cl.ensure(g.pool(c))
			x.resumable, x.issued = true, issued
			if x.counted {
				slot := issued.ID.Slot()
				g.counts.Move(cl.user, x.slot, slot)
				x.slot = slot
			}
		}
	}
	if id := a.creds.UniqID; id != "" {
		prev, err := g.name(id, ref)
		if err != nil {
			g.refuse(c, s, LoginMalformed)
			return
		}
		cl.setID(id, g.Config().ServerID)
		if prev != 0 {
			g.displace(engine.Ref(prev))
		}
		if r := g.registry; r != nil {
			r.Name(id, c.Ref(), nil)
		}
	} else {
		cl.key = g.freshKey(ref)
	}
	if cl.user != "" && !a.creds.Exclusive {
		g.members.Add(cl.user, ref)
	}
	c.SetDialect(s.Dialect())
	if err := g.SetSession(c, cl, a.identity.Session); err != nil {
		g.log.Warn("the login provider's session text is too long", "user", cl.user,
			"bytes", len(a.identity.Session), "limit", g.Config().MaxSessionText)
	}
	g.setAbout(c, cl, a.creds.Metadata, a.identity.Claims)
	var handed session.Snapshot
	if a.resuming {
		g.stats.resumed.Add(1)
		cl.extra.unconfirmed = true
		g.restoreState(c, cl, &a.resumed.Snapshot)
		handed = g.handover(c, cl)
		g.restoreState(c, cl, &handed)
	}
	if g.Config().SessionFromUser && cl.user != "" && cl.Session() == "" {
		_ = g.SetSession(c, cl, cl.user) // no user is so long
	}
	cl.shrink(g.pool(c))
	g.lease(c, a.grant)
	cl.standing = cl.standing.with(phaseOnline)
	g.stats.logins.Add(1)
	s.LoginDone(c, LoginOK)
	// The answer comes first: a subscription may have something to say at once.
	for _, t := range a.identity.Topics {
		g.Subscribe(c, []byte(t))
	}
	if a.resuming {
		g.restoreTopics(c, cl, &a.resumed.Snapshot)
		g.restoreTopics(c, cl, &handed)
	}
	g.changed(cl)
	g.tellLogin(c, s, a)
	g.tellOpened(c, s)
	if c.Open() && c.Paused() {
		c.Resume()
	}
}
