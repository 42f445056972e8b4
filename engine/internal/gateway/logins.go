package gateway

import (
	"context"
	"errors"
	"sync"
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
	// Counted has the connection count among its user's (see Gateway.Online), who may have
	// Config.UserLimit of them. Anonymous connections are not counted.
	Counted bool
}

// An admission is a login on its way from verdict to online.
type admission struct {
	creds    Credentials
	identity login.Identity
	kicked   engine.Ref // the user's older connection, which goes
	resumed  session.Resumed
	resuming bool
}

// Login decides on a client's credentials and calls s.LoginDone: within the call when it can, or
// later, with c's input held back meanwhile. It must be called on c's loop, once per connection.
func (g *Gateway) Login(c *engine.Conn, s Session, creds Credentials) {
	cl := s.Base()
	cl.phase = phaseLogin
	a := admission{creds: creds}
	if creds.SessionID != "" {
		switch o, err := g.resume(c, cl, &a); {
		case o == LoginOK:
			g.admit(c, s, &a)
			return
		case o != SessionRefused || creds.ResumeOnly || creds.Token == "":
			g.log.Debug("session refused", "peer", c.Peer(), "outcome", o.String(), "err", err)
			g.refuse(c, s, o)
			return
		}
	}
	if creds.Guest {
		g.admit(c, s, &a)
		return
	}
	r := login.Request{Token: creds.Token, Protocol: s.Protocol(), Peer: c.Peer().Addr(), Metadata: creds.Metadata}
	if p, ok := g.config.Login.(login.Immediate); ok {
		identity, err := p.LoginNow(time.Now(), r)
		g.verdict(c, s, &a, identity, err)
		return
	}
	c.Hold()
	ref, later := c.Ref(), a
	ok := g.logins.submit(loginJob{
		request:  r,
		deadline: time.Now().Add(g.config.LoginTimeout),
		done: func(identity login.Identity, err error) {
			g.engine.Tell(ref, func(c *engine.Conn) {
				if c == nil {
					return
				}
				if s, ok := c.Handler().(Session); ok {
					g.verdict(c, s, &later, identity, err)
				}
			})
		},
	})
	if !ok {
		g.verdict(c, s, &a, login.Identity{}, errors.Join(login.ErrUnavailable, errLoginQueue))
	}
}

// resume takes up the session in the client's credentials, unless its user has no room for one more
// connection: then nothing has changed, and the client's ticket is as good as before.
func (g *Gateway) resume(c *engine.Conn, cl *Client, a *admission) (Outcome, error) {
	now, ref := time.Now(), uint64(c.Ref())
	ticket, err := g.sessions.Open(now, []byte(a.creds.SessionID))
	if err != nil {
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
	a.resuming = true
	a.identity = login.Identity{User: a.resumed.User}
	m := cl.ensure(nil)
	m.resumable, m.issued = true, a.resumed.Issued
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
		bound, ok := g.users.Claim(user, uint64(c.Ref()))
		if !ok {
			return LoginConcurrent
		}
		cl.ensure(g.spares(c)).claimed = true
		a.kicked = engine.Ref(bound)
	}
	if a.creds.Counted {
		// Whoever takes over a connection has that one's slot at once, before it has gone.
		if _, ok := g.counts.Acquire(user, slot, g.config.UserLimit); !ok {
			return LoginOverLimit
		}
		m := cl.ensure(nil)
		m.counted, m.slot = true, slot
	}
	return LoginOK
}

func (g *Gateway) unreserve(c *engine.Conn, cl *Client) {
	m := cl.more
	if m == nil {
		return
	}
	if m.claimed {
		m.claimed = false
		g.users.Abort(cl.user, uint64(c.Ref()))
	}
	if m.counted {
		m.counted = false
		g.counts.Drop(cl.user, m.slot)
	}
}

var errLoginQueue = errors.New("gateway: too many logins are waiting")

func (g *Gateway) verdict(c *engine.Conn, s Session, a *admission, identity login.Identity, err error) {
	if err != nil {
		o := LoginUnavailable
		if errors.Is(err, login.ErrRefused) {
			o = LoginRefused
		}
		g.log.Debug("login refused", "protocol", s.Protocol(), "peer", c.Peer(), "outcome", o.String(), "err", err)
		g.refuse(c, s, o)
		return
	}
	a.identity = identity
	g.admit(c, s, a)
}

func (g *Gateway) refuse(c *engine.Conn, s Session, o Outcome) {
	g.stats.refused[o].Add(1)
	if o == LoginRefused || o == SessionRefused || o == LoginMalformed {
		g.failures.note(c.Peer().Addr(), time.Now())
	}
	s.LoginDone(c, o)
}

// Refuse says that the client's credentials cannot be used at all.
func (g *Gateway) Refuse(c *engine.Conn, s Session, o Outcome) {
	s.Base().phase = phaseLogin
	g.refuse(c, s, o)
}

// admit closes the connections that the new one replaces, then lets it in.
func (g *Gateway) admit(c *engine.Conn, s Session, a *admission) {
	if !a.resuming {
		if o := g.reserve(c, s.Base(), a, a.identity.User, session.Slot(c.Ref())); o != LoginOK {
			g.refuse(c, s, o)
			return
		}
	}
	old, why := a.kicked, engine.ReasonKickedOut
	if holder := engine.Ref(a.resumed.Holder); holder != 0 && holder != c.Ref() {
		if old == 0 || old == holder {
			old, why = holder, engine.ReasonSessionTakenOver
		} else {
			g.evict(c, holder, engine.ReasonSessionTakenOver, nil)
		}
	}
	if old == 0 {
		g.enter(c, s, a)
		return
	}
	later := *a // the usual login leaves no garbage
	if a.resuming {
		s.Base().more.untold = &later.resumed
	}
	g.evict(c, old, why, func(c *engine.Conn, s Session) { g.enter(c, s, &later) })
}

// evict closes old, then calls then on c's loop, with c if it is still there. Both steps are rare,
// and go through the lane that never waits, so two loops that evict each other's cannot block.
func (g *Gateway) evict(c *engine.Conn, old engine.Ref, why engine.Reason, then func(*engine.Conn, Session)) {
	if oc := c.Loop().Conn(old); oc != nil {
		oc.Close(why)
		if s, ok := c.Handler().(Session); ok && then != nil {
			then(c, s)
		}
		return
	}
	ref := c.Ref()
	if then != nil {
		c.Hold()
	}
	g.engine.Tell(old, func(oc *engine.Conn) {
		if oc != nil {
			oc.Close(why)
		}
		if then == nil {
			return
		}
		g.engine.Tell(ref, func(c *engine.Conn) {
			if c == nil {
				return
			}
			if s, ok := c.Handler().(Session); ok {
				then(c, s)
			}
		})
	})
}

// enter puts the client on all lists and tells it so.
func (g *Gateway) enter(c *engine.Conn, s Session, a *admission) {
	cl := s.Base()
	ref := uint64(c.Ref())
	now := time.Now()
	if m := cl.more; m != nil {
		m.untold = nil
	}
	if a.creds.Resumable && !a.resuming {
		issued, err := g.sessions.Begin(now, ref, cl.user)
		if err != nil {
			g.log.Warn("no session for a client", "user", cl.user, "err", err)
		} else {
			m := cl.ensure(nil)
			m.resumable, m.issued = true, issued
			if m.counted {
				slot := issued.ID.Slot()
				g.counts.Move(cl.user, m.slot, slot)
				m.slot = slot
			}
		}
	}
	if id := a.creds.UniqID; id != "" {
		prev, err := g.name(id, ref)
		if err != nil {
			g.refuse(c, s, LoginMalformed)
			return
		}
		cl.setID(id, g.config.ServerID)
		if prev != 0 {
			g.displace(engine.Ref(prev))
		}
	} else {
		cl.key = g.freshKey(ref)
	}
	if m := cl.more; m != nil && m.claimed {
		g.users.Commit(cl.user, ref)
		m.claimed = false
	}
	c.SetDialect(s.Dialect())
	if a.identity.Session != "" {
		cl.ensure(nil).sessionText = a.identity.Session
	}
	for _, t := range a.identity.Topics {
		g.Subscribe(c, []byte(t))
	}
	if a.resuming {
		g.stats.resumed.Add(1)
		cl.more.unheard = true
		g.restore(c, cl, a.resumed.Snapshot)
		g.inherit(c, cl)
	}
	cl.shrink(g.spares(c))
	cl.phase = phaseOnline
	g.stats.logins.Add(1)
	s.LoginDone(c, LoginOK)
	if c.Open() && g.events != nil && !g.events.Opened(c, s) {
		if n, ok := s.(interface{ NoWorker(*engine.Conn) }); ok {
			n.NoWorker(c)
		}
	}
	if c.Open() && c.Holding() {
		c.Resume()
	}
}

// A loginPool runs providers that may block, a bounded number at a time.
type loginPool struct {
	provider login.Provider
	jobs     chan loginJob
	ctx      context.Context
	cancel   context.CancelFunc
	mu       sync.Mutex
	workers  int
	idle     int
	wg       sync.WaitGroup
}

type loginJob struct {
	request  login.Request
	deadline time.Time // the client waits no longer
	done     func(login.Identity, error)
}

const (
	// maxLoginWorkers is how many logins are asked about at once: enough for a provider that takes
	// 100 ms to decide 2,560 a second.
	maxLoginWorkers = 256
	maxLoginQueue   = 16384
)

func newLoginPool(p login.Provider) *loginPool {
	lp := &loginPool{provider: p, jobs: make(chan loginJob, maxLoginQueue)}
	lp.ctx, lp.cancel = context.WithCancel(context.Background())
	return lp
}

// submit queues a job; it reports false when too many wait.
func (lp *loginPool) submit(j loginJob) bool {
	select {
	case lp.jobs <- j:
	default:
		return false
	}
	lp.mu.Lock()
	if lp.workers < maxLoginWorkers && lp.idle < len(lp.jobs) {
		lp.workers++
		lp.wg.Add(1)
		go lp.work()
	}
	lp.mu.Unlock()
	return true
}

// work decides logins until the pool is closed.
func (lp *loginPool) work() {
	defer lp.wg.Done()
	for {
		lp.count(1)
		select {
		case j := <-lp.jobs:
			lp.count(-1)
			ctx, cancel := context.WithDeadline(lp.ctx, j.deadline)
			j.done(lp.decide(ctx, j.request))
			cancel()
		case <-lp.ctx.Done():
			return
		}
	}
}

func (lp *loginPool) count(idle int) {
	lp.mu.Lock()
	lp.idle += idle
	lp.mu.Unlock()
}

// decide keeps a provider's panic from taking the gateway with it.
func (lp *loginPool) decide(ctx context.Context, r login.Request) (identity login.Identity, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.Join(login.ErrUnavailable, errors.New("gateway: the login provider panicked"))
		}
	}()
	return lp.provider.Login(ctx, r)
}

func (lp *loginPool) close() {
	lp.cancel()
	lp.wg.Wait()
}
