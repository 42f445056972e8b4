package gateway

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/login"
	"github.com/sluicenet/sluice/internal/beat"
	"github.com/sluicenet/sluice/session"
)

// A Gateway decides who connections are and who serves them.
type Gateway struct {
	config atomic.Pointer[Config]
	// configuring is held by who replaces config.
	configuring sync.Mutex

	log    *slog.Logger
	engine *engine.Engine // set by Bind, before any connection

	ids      *session.Generator
	clients  *session.Directory
	users    *session.Users
	counts   *session.Counts
	members  *session.Members // of the users that are not in users
	sessions *session.Store
	journal  atomic.Pointer[journal] // of what sessions spends; nil: none

	failures *failureGate
	known    *knownTokens // nil: tokens prove themselves
	// revocable is the provider, nil unless it can take back what it has granted.
	revocable login.Revocable
	logins    *loginPool
	share     SessionShare // nil: sessions are only here; see Share
	registry  Registry     // nil: this gateway is alone; see Join
	router    router
	scratch   []Scratch                                   // by loop
	events    []Events                                    // told in this order
	heard     func(c *engine.Conn, s Session, how string) // of HearLogins; nil: nobody
	asks      string                                      // what logs clients in; see HearLogins

	workersElsewhere func(worker int) Handler // of SetElsewhere; nil: nobody is

	// named is set once a uniqId was chosen by somebody, so that it may be chosen again; from then
	// on naming keeps a holder's end, with the event of it, apart from the next holder's beginning.
	named  atomic.Bool
	naming sync.Mutex

	arrivals     atomic.Uint64  // logins asked for
	resuming     [64]sync.Mutex // by session, see resume
	sessionBytes atomic.Int64   // charged for snapshots and leases
	leased       atomic.Int64   // leases of all loops

	draining atomic.Bool
	stats    gatewayStats
	stop     chan struct{}
	done     chan struct{}
}

// New makes a Gateway.
func New(config Config) (*Gateway, error) {
	if config.Login == nil {
		return nil, errors.New("gateway: no login provider")
	}
	if err := config.checkTracing(); err != nil {
		return nil, err
	}
	config = config.withDefaults()
	if err := CheckPushCmd(uint32(config.PushCmd)); err != nil {
		return nil, fmt.Errorf("gateway: Config.PushCmd: %w", err)
	}
	if err := CheckPushCmd(uint32(config.GapCmd)); err != nil {
		return nil, fmt.Errorf("gateway: Config.GapCmd: %w", err)
	}
	g := &Gateway{stop: make(chan struct{}), done: make(chan struct{})}
	g.config.Store(&config)
	g.log = config.Logger
	g.router.ignoreCase = config.RouteIgnoreCase
	var start [4]byte
	if _, err := io.ReadFull(config.Rand, start[:]); err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	key := config.SessionKey
	if key == ([session.KeySize]byte{}) {
		if _, err := io.ReadFull(config.Rand, key[:]); err != nil {
			return nil, fmt.Errorf("gateway: %w", err)
		}
	}
	var told func(session.JournalEntry)
	if config.SessionJournal != "" {
		if config.SessionKey == ([session.KeySize]byte{}) {
			return nil, errors.New("gateway: Config.SessionJournal wants Config.SessionKey: without it no ticket outlives the process")
		}
		if err := CheckJournal(config.SessionJournal); err != nil {
			return nil, fmt.Errorf("gateway: Config.SessionJournal: %w", err)
		}
		told = g.journalEntry
	}
	var err error
	g.sessions, err = session.NewStore(session.StoreConfig{
		Key: key, Rand: config.Rand, TTL: config.SessionTTL, Grace: config.SessionGrace,
		MaxAge:     config.SessionMax,
		MaxRecords: config.MaxSessions, MaxPerUser: config.MaxSessionsPerUser, OverUser: g.overUser,
		MaxSnapshotBytes: config.SessionBytes, MaxBytes: config.SessionTotal,
		Journal: told,
	})
	if err != nil {
		return nil, fmt.Errorf("gateway: %w", err)
	}
	g.ids = session.NewGenerator(binary.BigEndian.Uint32(start[:]))
	g.clients = session.NewDirectory(config.ServerID)
	g.users = session.NewUsers()
	g.counts = session.NewCounts()
	g.members = session.NewMembers()
	g.failures = newFailureGate(&config, func(n int64) { g.engine.Charge(engine.KindAddresses, n) })
	if !unguessable(config.Login) {
		g.known = newKnownTokens()
	}
	g.revocable, _ = config.Login.(login.Revocable)
	g.asks = providerName(config.Login)
	g.logins = newLoginPool(config.Login, config.MaxLogins, config.MaxTokenLogins)
	return g, nil
}

// Bind tells the gateway its engine. It must be called once, before the engine listens.
func (g *Gateway) Bind(e *engine.Engine) {
	g.engine = e
	g.scratch = make([]Scratch, e.Loops())
	for i := range g.scratch {
		g.scratch[i].pending.rand = g.Config().Rand
	}
	go g.expire()
}

// Close stops what runs beside the loops. The engine must have stopped, or ctx be done. The error
// says that the login provider has not returned when ctx is done; its goroutines are left behind.
func (g *Gateway) Close(ctx context.Context) error {
	close(g.stop)
	<-g.done
	if j := g.journal.Load(); j != nil {
		j.close()
	}
	return g.logins.close(ctx)
}

// overUser logs that a session of a user has gone, who had too many.
func (g *Gateway) overUser(user string) {
	g.log.Info("a session is forgotten: too many of its user wait", "user", user, "limit", g.Config().MaxSessionsPerUser)
}

// tellForgotten logs what of sessions has gone for want of room since before, and returns what there is
// now. Of each kind it is one line, however many went.
func (g *Gateway) tellForgotten(before session.StoreStats) session.StoreStats {
	now, config := g.sessions.Stats(), g.Config()
	if n := now.Evicted - before.Evicted; n > 0 {
		g.log.Warn("sessions are forgotten: too many in all", "sessions", n, "limit", config.MaxSessions)
	}
	if n := now.TooLong - before.TooLong; n > 0 {
		g.log.Info("texts and topics of sessions are not kept: too much of one", "sessions", n, "limit", config.SessionBytes)
	}
	if n := now.TooMany - before.TooMany; n > 0 {
		g.log.Warn("texts and topics of sessions are not kept: too much of all", "sessions", n, "limit", config.SessionTotal)
	}
	return now
}

// chargeSessions brings the gauge of what is kept of detached sessions, and of the leases, up to date.
func (g *Gateway) chargeSessions() {
	n := g.sessions.Bytes() + g.sessions.WaitingBytes() + g.leased.Load()*leaseSize
	g.engine.Charge(engine.KindSessions, n-g.sessionBytes.Swap(n))
}

// expire forgets sessions whose time is over, and ends logins.
func (g *Gateway) expire() {
	defer close(g.done)
	const step = 1024 // records at a time, so that no lock is held for long
	var told session.StoreStats
	beat.Run(time.Second, g.stop, func() {
		for now := g.now(); g.sessions.Expire(now, step) == step; {
		}
		told = g.tellForgotten(told)
		g.engine.ExpireHistory()
		g.failures.addresses.expire(g.engine.Now(), step)
		g.failures.users.expire(g.engine.Now(), step)
		if g.leased.Load() > 0 {
			for i := range g.scratch {
				g.engine.TellLoop(i, func() { g.endLeases(i) })
			}
		}
		if fault != 8 {
			g.chargeSessions()
		}
	})
}

// Describe says what a connection speaks and its uniqId, empty before its login; it is what
// engine.Config.Describe wants.
func (g *Gateway) Describe(_ *engine.Conn, h engine.Handler) (protocol, id string) {
	if s, ok := h.(Session); ok && s.Base().Online() {
		id = g.ID(s.Base())
	}
	if s, ok := h.(interface{ Protocol() string }); ok {
		protocol = s.Protocol()
	}
	return protocol, id
}

// Engine returns the engine given to Bind.
func (g *Gateway) Engine() *engine.Engine { return g.engine }

// now is the time by which sessions and tickets are judged.
func (g *Gateway) now() time.Time { return g.engine.Time() }

// Log returns the gateway's logger.
func (g *Gateway) Log() *slog.Logger { return g.log }

// Lookup returns the connection that holds a uniqId, 0 when there is none.
func (g *Gateway) Lookup(uniqID []byte) engine.Ref {
	return engine.Ref(g.clients.GetBytes(uniqID))
}

// Counted returns how many connections that count (Config.UserLimit) a user has.
func (g *Gateway) Counted(user string) int { return g.counts.Online(user) }

// Online returns how many connections a user has, of every protocol. The empty user, who is
// anonymous, has none.
func (g *Gateway) Online(user string) int {
	if user == "" {
		return 0
	}
	n := g.members.Count(user)
	if g.users.Get(user) != 0 {
		n++
	}
	return n
}

// NewID makes a uniqId that no connection has.
func (g *Gateway) NewID() string {
	return session.FormatID(g.Config().ServerID, g.ids.Next(g.now()))
}

// Clients is the directory of logged-in connections.
func (g *Gateway) Clients() *session.Directory { return g.clients }
