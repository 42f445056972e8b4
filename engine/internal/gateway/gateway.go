package gateway

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicenet/sluice/codec/gzip"
	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/lograte"
	"github.com/sluicenet/sluice/engine/login"
	"github.com/sluicenet/sluice/session"
)

// Config sets up a Gateway. Zero fields have the defaults they name.
type Config struct {
	// ServerID is the first byte of every uniqId.
	ServerID uint8
	// Login decides who may connect. Nil is an error: there is no safe default.
	Login login.Provider
	// LoginTimeout is how long a connection may take to log in, from its first byte. Zero means 10 s.
	LoginTimeout time.Duration
	// LoginFailures refused logins of one address within LoginFailuresPer have its further ones
	// refused unread (LoginBanned) for the rest of that time, but for those that prove themselves: a
	// resumption ticket, a token of a login.Unguessable provider, one that was good here before. Zero
	// means 100 in 10 s, negative no limit.
	LoginFailures    int
	LoginFailuresPer time.Duration
	// MaxLogins is how many logins a provider that may block is asked about at once, or what it can do
	// if that is less (login.Concurrent). One address, an IPv4 one or an IPv6 /64, has a quarter of
	// them at most; further ones wait, and addresses take turns. Zero or less means 256.
	MaxLogins int
	// MaxTokenLogins is how many logins with one token may be under way or wait for such a provider,
	// from all addresses; further ones are refused as unavailable. Logins without a token do not
	// count. Zero means 8, negative no limit.
	MaxTokenLogins int
	// LoginBytes is what a connection may send before its login is decided. Zero means 64 KiB.
	LoginBytes int

	// SessionTTL is how long a session can be resumed. Zero means 30 min.
	SessionTTL time.Duration
	// SessionGrace is how long a used ticket is good once more, in case its successor was lost on the
	// way: three times as long while the client has shown no sign of having it. Zero means 5 s,
	// negative none.
	SessionGrace time.Duration
	// SessionMax is how long a session can be resumed again and again, counted from its login. Zero
	// means 24 h, negative without end.
	SessionMax time.Duration
	// KeepRevoked leaves the connections of a login alone that ends by itself (login.Identity.Expires)
	// or was taken back (login.Revocable). Its session cannot be resumed in any case.
	KeepRevoked bool
	// SessionKey signs resumption tickets; with the same key they are good after a restart and on
	// other gateways. All zero means a random key.
	SessionKey [session.KeySize]byte
	// SessionJournal is a file in which used-up tickets and ended sessions outlive the process, so
	// that they are refused after a restart, too. It wants a SessionKey, is made if it does not exist,
	// and is one gateway's only. Empty means that a ticket from before a restart is good once.
	SessionJournal string

	// SessionBytes bounds the session text and topics kept of one session without a connection, in
	// bytes: of a session with more only the user is kept. Zero or less means 64 KiB.
	SessionBytes int
	// SessionTotal bounds them for all sessions, in bytes: when it is reached, the oldest go. Zero
	// or less means 64 MiB.
	SessionTotal int64

	// UserLimit is how many connections one user may have of the protocols that count them, which
	// Longbridge does; see Gateway.Counted. A connection does not count beside the one whose session it takes over. Zero
	// means 10, negative no limit.
	UserLimit int

	// MaxSessionText is the longest session text that a client can have, in bytes. Zero or less means
	// 64 KiB, which holds what a login provider may give.
	MaxSessionText int
	// MaxLoginMetadata bounds what a client may say of itself at its login, beside its token, and
	// what the login provider may vouch for, each: the text in bytes, and 64 for each pair. A login
	// with more is refused. Zero or less means 8 KiB.
	MaxLoginMetadata int
	// SessionFromUser makes the user the session text of a client that logs in without one, for
	// workers that know nothing of users. It costs a few hundred bytes for each client.
	SessionFromUser bool

	// MaxPacket is the longest packet a client may announce, in bytes. Zero means 16 MiB.
	MaxPacket int
	// MaxInflated is the longest payload or attachment after gzip, in bytes. Zero means 4 MiB.
	MaxInflated int
	// MaxInflateRate is how many bytes a second may come out of gzip and compressed WebSocket messages
	// for one client, and at once: when there is more, its input is paused until it may have it. Zero
	// means 8 MiB, negative no limit.
	MaxInflateRate int
	// MaxGzipMembers is how many members a payload or attachment may have. Zero or less means 1024:
	// programs that compress in blocks make one of every 64 KiB.
	MaxGzipMembers int
	// MaxTopics is how many topics one client may subscribe to. Zero or less means 65536.
	MaxTopics int
	// MaxTopicName is the longest name of a topic, in bytes. Zero or less means 1 KiB.
	MaxTopicName int
	// MaxTopicBytes is how many bytes the topics of one client may take: their names, and 160 for
	// each. Zero or less means 8 MiB.
	MaxTopicBytes int
	// MaxRequestRate is how many requests, or messages for workers, one client may send a second, and
	// at once. What is over it is refused, each. Zero or less means any number.
	MaxRequestRate int
	// MaxPending is how many requests of one client may wait for a worker's reply before its input
	// is paused. Zero or less means 1024.
	MaxPending int
	// MaxPendingBytes is how many bytes the requests of one client that wait for a reply, and the
	// replies that wait for their turn, may take before its input is paused until they take half.
	// It closes nothing. Zero or less means 1 MiB.
	MaxPendingBytes int
	// RequestTimeout is how long a request waits for its reply, unless its client says how long it
	// waits itself. Zero means 9 s: GOSOC's clients and Longbridge's for Go give up after 10 s, and
	// one of them drops the connection then.
	RequestTimeout time.Duration
	// RouteIgnoreCase has patterns match routes that differ from them in the case of letters.
	RouteIgnoreCase bool

	// WaitWorkers is how long a request waits for a worker of its id to register, within its own
	// time-out, before it is answered that there is none. Zero means 3 s, negative that it does not
	// wait.
	WaitWorkers time.Duration

	// PacketTimeout is how long a logged-in client's packet may take from its first byte to its last,
	// unless at least 1 KiB of it comes for each second, looked at over as long again; see
	// PacketTimer. Zero means 60 s, which a mobile's gap in coverage fits into; negative no limit.
	PacketTimeout time.Duration

	// PushRoute and PushCmd are what publishes and casts are pushed as: the route on GOSOC, the
	// command on Longbridge. Zero values mean "push" and 100.
	PushRoute string
	PushCmd   uint8

	// Rand is the source of session ids, keys and numbers that must not be guessed. It must be safe
	// for concurrent use. Nil means crypto/rand.
	Rand io.Reader

	// Logger receives what an operator should know. Nil discards.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	dur := func(v *time.Duration, d time.Duration) {
		if *v <= 0 {
			*v = d
		}
	}
	dur(&c.LoginTimeout, 10*time.Second)
	dur(&c.LoginFailuresPer, 10*time.Second)
	def(&c.LoginFailures, 100)
	def(&c.LoginBytes, 64<<10)
	dur(&c.SessionTTL, 30*time.Minute)
	if c.SessionMax == 0 {
		c.SessionMax = 24 * time.Hour
	}
	def(&c.UserLimit, 10)
	def(&c.MaxPacket, 16<<20)
	def(&c.MaxInflated, 4<<20)
	def(&c.MaxInflateRate, 8<<20)
	bound := func(v *int, d int) { // there is no unlimited
		if *v <= 0 {
			*v = d
		}
		*v = min(*v, 1<<30)
	}
	bound(&c.MaxLogins, maxLogins)
	def(&c.MaxTokenLogins, maxTokenLogins)
	bound(&c.MaxGzipMembers, gzip.DefaultMembers)
	bound(&c.MaxSessionText, 64<<10)
	bound(&c.MaxLoginMetadata, 8<<10)
	bound(&c.MaxTopics, 1<<16)
	bound(&c.MaxTopicName, 1<<10)
	bound(&c.MaxTopicBytes, 8<<20)
	bound(&c.MaxPending, 1024)
	bound(&c.MaxPendingBytes, 1<<20)
	dur(&c.RequestTimeout, 9*time.Second)
	if c.WaitWorkers == 0 {
		c.WaitWorkers = 3 * time.Second
	}
	if c.PacketTimeout == 0 {
		c.PacketTimeout = time.Minute
	}
	if c.PushRoute == "" {
		c.PushRoute = "push"
	}
	if c.PushCmd == 0 {
		c.PushCmd = 100
	}
	if c.Rand == nil {
		c.Rand = rand.Reader
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Logger = lograte.Logger(c.Logger) // its callers are under the control of peers
	return c
}

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
	router    router
	scratch   []Scratch // by loop
	events    []Events  // told in this order

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

// gatewayStats are counters of what happens between protocols and workers.
type gatewayStats struct {
	logins   atomic.Uint64
	refused  [numOutcomes]atomic.Uint64
	resumed  atomic.Uint64
	requests atomic.Uint64
	timeouts atomic.Uint64
	busy     atomic.Uint64
	late     atomic.Uint64
	holds    atomic.Uint64
	panics   atomic.Uint64

	rateLimited         atomic.Uint64
	namesRefused        [numNameErrors]atomic.Uint64
	sessionTextsRefused atomic.Uint64
	inflateHolds        atomic.Uint64
	waited              atomic.Uint64
}

// Stats are a Gateway's counters since it started.
type Stats struct {
	Logins  uint64            // accepted, resumptions included
	Resumed uint64            // by a session ticket
	Refused map[string]uint64 // by outcome
	// LoginsUnasked are those of the refused, as unavailable, about which the provider was not asked
	// because too many were waiting, by whose limit that was: queue, address or token.
	LoginsUnasked map[string]uint64
	LoginCalls    int // of the provider, under way now
	LoginsWaiting int // for such a call, now
	Requests      uint64
	Timeouts      uint64 // requests nobody answered in time
	Busy          uint64 // requests refused because nobody could take them
	Late          uint64 // replies to requests that were over, or were another worker's
	Holds         uint64 // times that a client's input was paused for its own requests
	Panics        uint64 // of Events, each of which cost a connection
	// RateLimited are requests, and messages for workers, over Config.MaxRequestRate.
	RateLimited uint64
	// LogOmitted are log lines that were left out because too many of their kind came in a second.
	LogOmitted uint64
	// InflateHolds are times that a client's input was paused because of Config.MaxInflateRate.
	InflateHolds uint64
	// TopicsRefused are subscriptions that were refused, by reason: NameError has them.
	TopicsRefused map[string]uint64
	// RenamesRefused are uniqIds that workers wanted clients to have, likewise.
	RenamesRefused map[string]uint64
	// Waited are requests that waited for a worker, those that none came for included.
	Waited uint64
	// SessionTextsRefused are session texts over Config.MaxSessionText.
	SessionTextsRefused uint64
	Clients             int // logged in now
	Users               int // that can be kicked out, now
	Sessions            session.StoreStats
	// JournalMissed are entries of Config.SessionJournal that could not be written when they were to
	// be; JournalBytes is its size.
	JournalMissed uint64
	JournalBytes  int64
}

// New makes a Gateway.
func New(config Config) (*Gateway, error) {
	if config.Login == nil {
		return nil, errors.New("gateway: no login provider")
	}
	config = config.withDefaults()
	if err := CheckPushCmd(uint32(config.PushCmd)); err != nil {
		return nil, fmt.Errorf("gateway: Config.PushCmd: %w", err)
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
		MaxAge:           config.SessionMax,
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
	g.failures = newFailureGate(config.LoginFailures, config.LoginFailuresPer)
	if !unguessable(config.Login) {
		g.known = newKnownTokens()
	}
	g.revocable, _ = config.Login.(login.Revocable)
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

// chargeSessions brings the gauge of the snapshots and leases up to date.
func (g *Gateway) chargeSessions() {
	n := g.sessions.Bytes() + g.leased.Load()*leaseSize
	g.engine.Charge(engine.KindSessions, n-g.sessionBytes.Swap(n))
}

// expire forgets sessions whose time is over, and ends logins.
func (g *Gateway) expire() {
	defer close(g.done)
	t := time.NewTicker(time.Second)
	defer t.Stop()
	const step = 1024 // records at a time, so that no lock is held for long
	for {
		select {
		case <-g.stop:
			return
		case <-t.C:
			for now := g.now(); g.sessions.Expire(now, step) == step; {
			}
			if g.leased.Load() > 0 {
				for i := range g.scratch {
					g.engine.TellLoop(i, func() { g.endLeases(i) })
				}
			}
			if fault != 8 {
				g.chargeSessions()
			}
		}
	}
}

// Config returns the configuration that is in force, with its defaults filled in. It must not be
// changed; SetLimits puts another in its place.
func (g *Gateway) Config() *Config { return g.config.Load() }

// SetLimits takes from c what may change while the gateway runs: LoginFailures and
// LoginFailuresPer, LoginTimeout, MaxLogins, MaxTokenLogins, KeepRevoked, UserLimit, MaxInflated,
// MaxInflateRate, MaxGzipMembers, MaxTopics, MaxTopicBytes, MaxTopicName, MaxRequestRate, MaxPending,
// MaxPendingBytes, RequestTimeout, WaitWorkers and PacketTimeout. It closes nothing: what is over a
// smaller limit may stay, and gets no more. Any goroutine may call it; what begins afterwards is under
// the new ones.
func (g *Gateway) SetLimits(c Config) {
	c = c.withDefaults()
	g.configuring.Lock()
	defer g.configuring.Unlock()
	n := *g.Config()
	n.LoginFailures, n.LoginFailuresPer = c.LoginFailures, c.LoginFailuresPer
	n.LoginTimeout = c.LoginTimeout
	n.MaxLogins, n.MaxTokenLogins = c.MaxLogins, c.MaxTokenLogins
	n.KeepRevoked = c.KeepRevoked
	n.UserLimit = c.UserLimit
	n.MaxInflated = c.MaxInflated
	n.MaxTopics, n.MaxTopicBytes, n.MaxTopicName = c.MaxTopics, c.MaxTopicBytes, c.MaxTopicName
	n.MaxRequestRate = c.MaxRequestRate
	n.MaxInflateRate, n.MaxGzipMembers = c.MaxInflateRate, c.MaxGzipMembers
	n.MaxPending, n.MaxPendingBytes = c.MaxPending, c.MaxPendingBytes
	n.RequestTimeout, n.WaitWorkers = c.RequestTimeout, c.WaitWorkers
	n.PacketTimeout = c.PacketTimeout
	g.config.Store(&n)
	g.failures.setLimit(n.LoginFailures, n.LoginFailuresPer)
	g.logins.setLimits(n.MaxLogins, n.MaxTokenLogins)
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

// now is the time by which sessions, tickets and failures are judged.
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

// Stats returns the counters.
func (g *Gateway) Stats() Stats {
	s := Stats{
		Logins:   g.stats.logins.Load(),
		Resumed:  g.stats.resumed.Load(),
		Refused:  make(map[string]uint64, numOutcomes),
		Requests: g.stats.requests.Load(),
		Timeouts: g.stats.timeouts.Load(),
		Busy:     g.stats.busy.Load(),
		Late:     g.stats.late.Load(),
		Holds:    g.stats.holds.Load(),
		Panics:   g.stats.panics.Load(),

		RateLimited:         g.stats.rateLimited.Load(),
		LogOmitted:          lograte.Omitted(g.log),
		LoginsUnasked:       make(map[string]uint64),
		TopicsRefused:       make(map[string]uint64),
		RenamesRefused:      make(map[string]uint64),
		SessionTextsRefused: g.stats.sessionTextsRefused.Load(),
		InflateHolds:        g.stats.inflateHolds.Load(),
		Waited:              g.stats.waited.Load(),

		Clients:  g.clients.Len(),
		Users:    g.users.Len(),
		Sessions: g.sessions.Stats(),
	}
	for e := range numNameErrors {
		to := s.TopicsRefused
		if e >= ErrUniqIDNotUTF8 {
			to = s.RenamesRefused
		}
		to[e.Reason()] = g.stats.namesRefused[e].Load()
	}
	if j := g.journal.Load(); j != nil {
		s.JournalMissed, s.JournalBytes = j.missed.Load(), j.bytes.Load()
	}
	for r := range errLoginClosed {
		s.LoginsUnasked[loginRefusals[r].name] = g.logins.refused[r].Load()
	}
	s.LoginCalls, s.LoginsWaiting = g.logins.numbers()
	for o := Outcome(1); o < numOutcomes; o++ {
		s.Refused[o.String()] = g.stats.refused[o].Load()
	}
	return s
}

// Scratch is a loop's memory for inflated and deflated bytes.
type Scratch struct {
	Payload, Data []byte // a request, inflated
	Reply         []byte // a reply, as a handler writes it
	Out           []byte // a reply, deflated
	request       Request
	f             HandlerFunc // that serves it
	isolated      func()      // calls f
	pending       pendingTable
	leases        leases
	rates         requestRates
	workers       map[int]*workerQueue // by worker id: requests that wait for one
	// inflated is up to when clients have used up their rate (Config.MaxInflateRate), in µs on the
	// engine's clock.
	inflated map[engine.Ref]int64
	_        [64]byte
}

// maxScratch is how much of each a loop keeps between packets.
const maxScratch = 256 << 10

// Scratch returns the loop's buffers. A protocol may use each until it returns to the engine, but
// must not hold more than one packet in it.
func (g *Gateway) Scratch(l *engine.Loop) *Scratch { return &g.scratch[l.Index()] }

func (g *Gateway) pool(c *engine.Conn) *clientPool {
	return &g.scratch[c.Loop().Index()].pending.clients
}

// Trim lets go of a buffer that one big packet has blown up.
func (s *Scratch) Trim() {
	for _, b := range []*[]byte{&s.Payload, &s.Data, &s.Reply, &s.Out} {
		if cap(*b) > maxScratch {
			*b = nil
		}
	}
}
