package engine

import (
	"log/slog"
	"net/netip"
	"runtime"
	"time"
)

// Config sets up an Engine. Its zero value works.
type Config struct {
	// Loops is the number of event loops. Zero means GOMAXPROCS; at most 256.
	// A program that gives the gateway all its cores does best with GOMAXPROCS = Loops + 1.
	Loops int

	// Backlog is how many unsent bytes a connection may hold, looked at before a message is
	// added, before its listener's slow-consumer policy applies. Zero means 1 MiB.
	Backlog int
	// BacklogSoft is how many unsent bytes all connections may hold before publishers wait.
	// Zero means 64 MiB.
	BacklogSoft int64
	// BacklogTotal is how many unsent bytes all connections may hold before the slowest are
	// closed, and how many bytes of half-received packets before those who send more are.
	// Zero means 256 MiB.
	BacklogTotal int64
	// InputBacklog is how many received bytes a connection may pile up while its input is
	// held back (see Conn.Hold). Zero means Backlog.
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
	// LastWords is how long a closing connection may take to read its last bytes and to
	// close its side. Zero means 2 s.
	LastWords time.Duration
	// MaxConnections is the most clients at a time. Zero means the open-file limit less 256.
	MaxConnections int

	// Admit is asked, on an accepting goroutine, whether a peer may connect; a false ends the
	// connection at once with the Reason. Nil admits everybody. It must be safe for
	// concurrent use.
	Admit func(peer netip.Addr) (Reason, bool)

	// Dialects are the wire forms pushes are encoded in, at most MaxDialects.
	Dialects []Dialect

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
	if c.BacklogSoft <= 0 {
		c.BacklogSoft = 64 << 20
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
	if c.LastWords <= 0 {
		c.LastWords = 2 * time.Second
	}
	if c.MaxConnections <= 0 {
		c.MaxConnections = max(fileLimit()-256, 16)
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// A SlowConsumer policy says what becomes of a message for a connection that is over its Backlog.
type SlowConsumer uint8

// The policies. Messages go whole or not at all.
const (
	SlowClose      SlowConsumer = iota // close the connection
	SlowDropNewest                     // drop the message
	SlowDropOldest                     // drop the oldest messages of which nothing was sent yet
)
