package engine

import (
	"log/slog"
	"net/netip"
	"runtime"
	"time"

	"github.com/sluicenet/sluice/engine/internal/lograte"
)

// Config sets up an Engine. Its zero value works.
type Config struct {
	// Loops is the number of event loops. Zero means GOMAXPROCS; at most 256.
	// A program that gives the gateway all its cores does best with GOMAXPROCS = Loops + 1.
	Loops int

	// Backlog is how many unsent bytes of its own a connection may have, looked at before a message
	// is added, before its listener's slow-consumer policy applies to pushes to it alone. What it
	// has to send of published runs costs 24 bytes of it a run. Replies may be more: over twice as
	// many, a connection is closed when it takes nothing for 500 ms. Zero means 1 MiB.
	Backlog int
	// Lag is how many unsent bytes of published runs a connection may be behind, which it shares
	// with other subscribers, before the policy applies. Zero means 16 MiB.
	Lag int
	// LagAge is how old the oldest of them may be before the policy applies. Zero means any age.
	LagAge time.Duration
	// BacklogTotal is how many bytes may be kept for all connections, of all kinds, before those
	// with the largest accounts are closed. Nobody waits because of it. Zero means 256 MiB.
	BacklogTotal int64
	// InputBacklog is how many received bytes a connection may pile up while its input is
	// paused (see Conn.Pause). Zero means Backlog.
	InputBacklog int

	// LoginBytes is InputBacklog for a connection that is no client yet (see Conn.SetDialect).
	// Zero means 64 KiB.
	LoginBytes int

	// SendBuffer is the socket send buffer in bytes (SO_SNDBUF). Zero means 256 KiB;
	// negative leaves the system's own.
	SendBuffer int
	// FirstBytes is how long a connection may stay silent before its protocol is known.
	// Zero means 10 s.
	FirstBytes time.Duration
	// HandshakeTimeout is how long a TLS handshake may take, from the connection's beginning. Zero
	// means 10 s.
	HandshakeTimeout time.Duration
	// MaxHandshakes is the most TLS handshakes that have begun and are not over; of one address
	// (IPv4, or IPv6 /64) a quarter. Each costs a goroutine and some 32 KiB of BacklogTotal, and
	// there are no more than fit into that. Further ones wait, and addresses take turns. Zero means
	// 8192.
	MaxHandshakes int
	// ProxyTimeout is how long the PROXY header may take on a listener that wants one
	// (ListenConfig.Proxy). Zero means 5 s.
	ProxyTimeout time.Duration
	// ProxyTrust are the networks of proxies that may send it; of unix sockets all may. None means
	// nobody else may.
	ProxyTrust []netip.Prefix
	// ForwardedTrust are the networks of proxies whose word in a request, such as X-Forwarded-For, an
	// Identifier takes for who the client is, and ForwardedUnix says that those of unix sockets are
	// such proxies. None means nobody's is.
	ForwardedTrust []netip.Prefix
	ForwardedUnix  bool

	// Linger is how long a closing connection may take to read its last bytes and to close its
	// side. Zero means 2 s.
	Linger time.Duration
	// MaxConnections is the most clients at a time. Zero means the open-file limit less 256.
	MaxConnections int

	// MaxPerAddress is the most connections that one address may have at a time: an IPv4 one, or the
	// /64 of an IPv6 one. Zero means 1,000 on listeners that other machines reach, and no limit on
	// those of a loopback address; negative means no limit. Connections on all listeners count.
	MaxPerAddress int
	// ConnectRatePerAddress is how many new connections one address may make a second, and at once.
	// Zero means 100 on listeners that other machines reach, and no limit on those of a loopback
	// address; negative means no limit.
	ConnectRatePerAddress int
	// ConnectRate is how many new connections there may be a second, and at once, of all addresses.
	// Zero or less means no limit: after a restart all clients come at once.
	ConnectRate int

	// MaxPacketRate is how many packets one connection may send a second, and at once, whatever its
	// protocol takes for one; MaxByteRate how many bytes. Over them its input is not read for a while.
	// Zero or less means any number.
	MaxPacketRate, MaxByteRate int

	// MaxRefusals is the most connections that are refused, by one of the limits above or Admit,
	// and kept for a second at most so that a Refuser can answer them; of one address a quarter.
	// Others are closed without a word. Each costs a descriptor and a goroutine. Zero means 128;
	// negative means that none is kept.
	MaxRefusals int

	// Admit is asked whether a client may connect, once its address is known; a false ends the
	// connection at once with the Reason. The address is invalid for a client that has none. It is
	// called on an accepting goroutine or, when a proxy has said who the client is, on a loop; so it
	// must not block. Nil admits everybody. It must be safe for concurrent use.
	Admit func(peer netip.Addr) (Reason, bool)

	// History are the topics that keep their last messages.
	History HistoryLimits
	// HistoryKeep is how long a topic with history is remembered that keeps no message: for so long a
	// subscriber that comes back to it has missed nothing for sure. Zero means 30 min.
	HistoryKeep time.Duration
	// Gap makes the push that says to a subscriber of a topic that messages of its history are gone for
	// good; of the empty topic, see Conn.SayGap. Nil: nobody is told.
	Gap func(topic string) Push

	// Remote takes what is published here to subscribers elsewhere. Nil: there are none. Topics with
	// history want a Log beside it.
	Remote Remote
	// Log keeps the history of topics for several gateways. Nil: each keeps its own.
	Log Log

	// Dialects are the wire forms pushes are encoded in, at most MaxDialects.
	Dialects []Dialect

	// Describe says for the log what a connection speaks and, if it has one, its id. It is called on
	// the connection's loop, when it ends. Nil, or an empty protocol: unknown.
	Describe func(c *Conn, h Handler) (protocol, id string)

	// Logger receives what an operator should know. Nil discards.
	Logger *slog.Logger
}

func (c Config) withDefaults() Config {
	if c.Loops <= 0 {
		c.Loops = runtime.GOMAXPROCS(0)
	}
	c.Loops = min(c.Loops, maxLoops)
	if c.Backlog <= 0 {
		c.Backlog = 1 << 20
	}
	if c.Lag <= 0 {
		c.Lag = 16 << 20
	}
	if c.BacklogTotal <= 0 {
		c.BacklogTotal = 256 << 20
	}
	if c.InputBacklog <= 0 {
		c.InputBacklog = c.Backlog
	}
	if c.LoginBytes <= 0 {
		c.LoginBytes = 64 << 10
	}
	if c.SendBuffer == 0 {
		c.SendBuffer = 256 << 10
	}
	if c.FirstBytes <= 0 {
		c.FirstBytes = 10 * time.Second
	}
	if c.HandshakeTimeout <= 0 {
		c.HandshakeTimeout = 10 * time.Second
	}
	if c.MaxHandshakes <= 0 {
		c.MaxHandshakes = 8192
	}
	if c.ProxyTimeout <= 0 {
		c.ProxyTimeout = 5 * time.Second
	}
	if c.Linger <= 0 {
		c.Linger = 2 * time.Second
	}
	if c.MaxConnections <= 0 {
		c.MaxConnections = max(fileLimit()-256, 16)
	}
	if c.HistoryKeep <= 0 {
		c.HistoryKeep = 30 * time.Minute
	}
	if c.MaxRefusals == 0 {
		c.MaxRefusals = 128
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Logger = lograte.Logger(c.Logger) // its callers are under the control of peers
	return c
}

// A SlowConsumer policy says what becomes of a push for a connection that is over Config.Backlog,
// Lag or LagAge. Replies are never dropped.
type SlowConsumer uint8

// The policies. Messages go whole or not at all.
const (
	SlowClose      SlowConsumer = iota // close the connection
	SlowDropNewest                     // drop the message
	SlowDropOldest                     // drop the oldest messages of which nothing was sent yet
)
