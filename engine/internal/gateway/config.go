package gateway

import (
	"crypto/rand"
	"io"
	"log/slog"
	"time"

	"github.com/sluicenet/sluice/codec/gzip"
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
	// refused unread (LoginBanned) for as long, but for those that prove themselves: a
	// resumption ticket, a token of a login.Unguessable provider, one that was good here before. Zero
	// means 100 in 10 s, negative no limit.
	LoginFailures    int
	LoginFailuresPer time.Duration
	// LoginBanMax is how long an address is banned at most: the first time for LoginFailuresPer, each
	// further time twice as long. One ban is forgotten for each time as long as it was. Zero means 10
	// min; what is less than LoginFailuresPer means that bans do not grow.
	LoginBanMax time.Duration
	// UserFailures refused logins of one user within UserFailuresPer, from whatever addresses, have
	// each further one within UserFailuresPer ban its address at once. Logins of the user with a good
	// token are not refused for that. It counts where the provider says whose login it refuses
	// (login.UserError). Zero means 20 in 1 min, negative no limit.
	UserFailures    int
	UserFailuresPer time.Duration
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
	// MaxSessions is how many sessions are remembered. Over it one goes that waits for its client, the
	// one that expires first; if none waits, one of those that are connected. Zero or less means
	// 1,048,576, at about 150 bytes each.
	MaxSessions int
	// MaxSessionsPerUser is how many sessions of one user wait for their client. When one more
	// loses its connection, the one that has waited longest goes. Sessions of anonymous clients are
	// not limited. Zero means 64; negative means any number.
	MaxSessionsPerUser int
	// SessionTotal bounds them for all sessions, in bytes: when it is reached, the oldest go. Zero
	// or less means 64 MiB.
	SessionTotal int64

	// UserLimit is how many connections one user may have of the protocols that count them, which
	// Longbridge does; see Gateway.Counted. A connection does not count beside the one whose
	// session it takes over. Zero means 10, negative no limit.
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
	// MaxTopicsTotal is how many topics there may be in all, of all clients together. Zero or less
	// means 1,048,576.
	MaxTopicsTotal int
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
	// time-out, before it is answered that there is none. Zero means 3 s, or in a server
	// where no worker can come not to wait; negative means not to wait.
	WaitWorkers time.Duration

	// PacketTimeout is how long a logged-in client's packet may take from its first byte to its last,
	// unless at least 1 KiB of it comes for each second, looked at over as long again; see
	// PacketTimer. Zero means 60 s, which a mobile's gap in coverage fits into; negative no limit.
	PacketTimeout time.Duration

	// PushRoute and PushCmd are what publishes and casts are pushed as: the route on GOSOC, the
	// command on Longbridge. Zero values mean "push" and 100.
	PushRoute string
	PushCmd   uint8

	// GapCmd is the command on Longbridge of the push that says that messages of a topic's history are
	// gone for good, 4 to 255. Zero means 101. On GOSOC its route is GapRoute.
	GapCmd uint8

	// Rand is the source of session ids, keys and numbers that must not be guessed. It must be safe
	// for concurrent use. Nil means crypto/rand.
	Rand io.Reader

	// Tracer records the spans of logins and requests that are sampled. Nil: nobody does.
	Tracer Tracer
	// TraceSample is which part of the logins and requests without a traceparent begin a trace, 0 to 1.
	// Without a Tracer workers are told it all the same.
	TraceSample float64
	// TraceAsked is how many spans a second, and at once, are recorded because a client's traceparent
	// says so; the others are passed on all the same. It is shared out among the loops. Zero means 100,
	// negative none.
	TraceAsked int

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
	dur(&c.LoginBanMax, 10*time.Minute)
	def(&c.UserFailures, 20)
	dur(&c.UserFailuresPer, time.Minute)
	def(&c.LoginBytes, 64<<10)
	dur(&c.SessionTTL, 30*time.Minute)
	if c.SessionMax == 0 {
		c.SessionMax = 24 * time.Hour
	}
	def(&c.UserLimit, 10)
	def(&c.MaxSessionsPerUser, 64)
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
	bound(&c.MaxTopicsTotal, 1<<20)
	bound(&c.MaxSessions, 1<<20)
	bound(&c.MaxPending, 1024)
	bound(&c.MaxPendingBytes, 1<<20)
	dur(&c.RequestTimeout, 9*time.Second)
	def(&c.TraceAsked, 100)
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
	if c.GapCmd == 0 {
		c.GapCmd = 101
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

// Config returns the configuration that is in force, with its defaults filled in. It must not be
// changed; SetLimits puts another in its place.
func (g *Gateway) Config() *Config { return g.config.Load() }

// SetLimits takes from c what may change while the gateway runs: LoginFailures and
// LoginFailuresPer, LoginBanMax, UserFailures and UserFailuresPer, LoginTimeout, MaxLogins,
// MaxTokenLogins, KeepRevoked, UserLimit, MaxSessionsPerUser, MaxInflated, MaxInflateRate,
// MaxGzipMembers, MaxTopics, MaxTopicBytes, MaxTopicName, MaxTopicsTotal, MaxRequestRate,
// MaxPending, MaxPendingBytes, RequestTimeout, WaitWorkers, PacketTimeout, TraceSample and
// TraceAsked, MaxSessionText, MaxLoginMetadata and SessionFromUser. It closes nothing: what is over
// a smaller limit may stay, and gets no more. Any goroutine may call it; what begins afterwards is
// under the new ones.
func (g *Gateway) SetLimits(c Config) {
	c = c.withDefaults()
	g.configuring.Lock()
	defer g.configuring.Unlock()
	n := *g.Config()
	n.LoginFailures, n.LoginFailuresPer = c.LoginFailures, c.LoginFailuresPer
	n.LoginBanMax, n.UserFailures, n.UserFailuresPer = c.LoginBanMax, c.UserFailures, c.UserFailuresPer
	n.LoginTimeout = c.LoginTimeout
	n.MaxLogins, n.MaxTokenLogins = c.MaxLogins, c.MaxTokenLogins
	n.KeepRevoked = c.KeepRevoked
	n.UserLimit, n.MaxSessionsPerUser = c.UserLimit, c.MaxSessionsPerUser
	n.MaxInflated = c.MaxInflated
	n.MaxTopics, n.MaxTopicBytes, n.MaxTopicName = c.MaxTopics, c.MaxTopicBytes, c.MaxTopicName
	n.MaxTopicsTotal = c.MaxTopicsTotal
	n.MaxRequestRate = c.MaxRequestRate
	n.MaxInflateRate, n.MaxGzipMembers = c.MaxInflateRate, c.MaxGzipMembers
	n.MaxPending, n.MaxPendingBytes = c.MaxPending, c.MaxPendingBytes
	n.RequestTimeout, n.WaitWorkers = c.RequestTimeout, c.WaitWorkers
	n.PacketTimeout = c.PacketTimeout
	n.TraceSample, n.TraceAsked = c.TraceSample, c.TraceAsked
	n.MaxSessionText, n.MaxLoginMetadata, n.SessionFromUser = c.MaxSessionText, c.MaxLoginMetadata, c.SessionFromUser
	g.config.Store(&n)
	g.failures.setLimits(&n)
	g.sessions.SetMaxPerUser(n.MaxSessionsPerUser)
	g.logins.setLimits(n.MaxLogins, n.MaxTokenLogins)
}
