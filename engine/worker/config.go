package worker

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/engine/internal/lograte"
)

// Defaults of Config.
const (
	DefaultGateway     = "127.0.0.1:6061"
	DefaultWorkerID    = 1
	DefaultConcurrency = 64
	maxWorkerID        = 999
	maxConcurrency     = 1 << 16
	maxLinks           = 64
)

// ErrConfig is what every mistake in a Config matches.
var ErrConfig = errors.New("worker: bad config")

// Config sets up a Worker: which gateways it serves, and how. The zero value serves a gateway on
// this machine. A number or duration of zero or less means the default. New copies it.
type Config struct {
	// Gateways are the addresses of worker listeners: "tcp://host:port" in plain text,
	// "tls://host:port" with TLS, "host:port" with TLS if there is a Config.TLS, "unix:///path" or, on
	// Linux, "unix://@name" for a unix socket. None means DefaultGateway.
	Gateways []string

	// TLS says whose certificates are good, and has the worker's own, by which gateways that run with
	// --worker-client-ca know it: Certificates, or GetClientCertificate to replace it while the
	// Worker runs. Nil means the system's authorities and no certificate. TLS 1.2 is the least unless
	// MinVersion says otherwise. New copies it.
	TLS *tls.Config

	// WorkerID is what gateways route by, 1 to 999; default 1, which gets all that no route names.
	WorkerID int

	// Local keeps a Worker with one gateway to the clients of that gateway. Without it, and where the
	// gateway is a node of a cluster, commands and publishes reach clients of all nodes, queries are
	// answered for all of them, and clients of nodes without a worker of this id are served, too. A
	// Worker with several gateways reaches the clients of these by itself: it wants no more of each
	// than its own.
	Local bool

	// Cluster says that all Gateways are nodes of one cluster, any of which stands for all, as the only
	// one does for a Worker with one: commands, publishes and queries go to one of them, and to another
	// while there is no link to that. So they reach the clients of all nodes, also of those that
	// are not named or not reached. Clients' requests come from each. A gateway that is in no
	// cluster is refused with ErrNoCluster. Not both this and Local.
	Cluster bool

	// Links is how many connections each gateway gets, default 1, at most 64. Only the first
	// receives what clients send, so that their order is kept; the others (Gateway.Links) are there
	// for commands that should not stand in the way of replies.
	Links int

	// Token is the secret by which gateways that run with --worker-token know a worker. Empty: none
	// is shown. Each link shows it before anything else, so use TLS or a network of one's own.
	Token string

	// TokenFile is a file whose first line, other than blank lines and those that begin with #, is
	// the token. It is read whenever a link is dialled, so that a token can be replaced while the
	// Worker runs. Not both this and Token.
	TokenFile string

	// Concurrency is how many handlers may run at once, default 64, at most 65,536. What one client
	// sends is handled one at a time whatever it is; 1 handles everything in the order of arrival.
	// Clients are spread over so many lanes by a hash: two that share one wait for each other.
	Concurrency int

	// Logger gets lost links, handlers that fail and frames that cannot be read. Default: silence.
	Logger *slog.Logger

	// Dial opens a connection, over which TLS then goes if the address wants it. network is "tcp" or
	// "unix". It is called by one goroutine of each link, so it must be safe for concurrent use.
	// Default: net.Dialer's.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	DialTimeout time.Duration // default 5s; covers Dial and TLS, not the registration
	RedialMin   time.Duration // pause before a second attempt, default 100ms; doubles, with jitter
	RedialMax   time.Duration // longest pause, default 10s; a link that lasted as long starts anew

	// Heartbeat is how often a link sends a sign of life, default 25s. Gateways drop links that are
	// silent for 120s; a gateway that is silent for three heartbeats is given up.
	Heartbeat time.Duration

	// WriteTimeout is how long a gateway may take nothing at all before its link is given up,
	// default 30s.
	WriteTimeout time.Duration

	// QueryTimeout bounds queries whose context has no deadline, and registrations. Default 5s.
	QueryTimeout time.Duration

	// DrainTimeout is how long Run waits for handlers when its context is done, default 10s.
	DrainTimeout time.Duration

	// MaxFrame is the longest command that gateways take, in bytes, default 2 MiB; longer ones fail
	// here with netsvr.ErrFrameTooLarge instead of costing the link.
	MaxFrame int

	// MaxAnswer is the longest frame taken from a gateway, in bytes, default 64 MiB.
	MaxAnswer int

	// Outbox is how many bytes of commands a link may hold before callers wait, default 4 MiB. It
	// is looked at before a command is added, so that the last may reach beyond it.
	Outbox int

	// Inbox is how many bytes of messages may wait for handlers before a link stops reading,
	// default 8 MiB; four times as many while a query waits for its answer or a command for room.
	Inbox int

	secure []bool // which of Gateways have TLS
}

func (c Config) withDefaults() Config {
	setDefault(&c.WorkerID, DefaultWorkerID)
	setDefault(&c.Links, 1)
	setDefault(&c.Concurrency, DefaultConcurrency)
	setDefault(&c.DialTimeout, 5*time.Second)
	setDefault(&c.RedialMin, 100*time.Millisecond)
	setDefault(&c.RedialMax, 10*time.Second)
	setDefault(&c.Heartbeat, 25*time.Second)
	setDefault(&c.WriteTimeout, 30*time.Second)
	setDefault(&c.QueryTimeout, 5*time.Second)
	setDefault(&c.DrainTimeout, 10*time.Second)
	setDefault(&c.MaxFrame, netsvr.DefaultFrameLimit)
	setDefault(&c.MaxAnswer, 64<<20)
	setDefault(&c.Outbox, 4<<20)
	setDefault(&c.Inbox, 8<<20)
	c.RedialMax = max(c.RedialMax, c.RedialMin)
	if len(c.Gateways) == 0 {
		c.Gateways = []string{DefaultGateway}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.Logger = lograte.Logger(c.Logger) // its callers are under the control of peers
	if c.Dial == nil {
		c.Dial = new(net.Dialer).DialContext
	}
	return c
}

func setDefault[T int | time.Duration](v *T, def T) {
	if *v <= 0 {
		*v = def
	}
}

// check wants the defaults in place; it puts the addresses into the form that Dial takes.
func (c *Config) check() error {
	switch {
	case c.WorkerID > maxWorkerID:
		return fmt.Errorf("%w: worker id %d, want 1 to %d", ErrConfig, c.WorkerID, maxWorkerID)
	case c.Concurrency > maxConcurrency:
		return fmt.Errorf("%w: concurrency %d, want at most %d", ErrConfig, c.Concurrency, maxConcurrency)
	case c.Token != "" && c.TokenFile != "":
		return fmt.Errorf("%w: both a token and a file of one", ErrConfig)
	case c.Cluster && c.Local:
		return fmt.Errorf("%w: both Cluster and Local", ErrConfig)
	case c.Links > maxLinks:
		return fmt.Errorf("%w: %d links, want at most %d", ErrConfig, c.Links, maxLinks)
	}
	if _, err := c.token(); err != nil {
		return fmt.Errorf("%w: %w", ErrConfig, err)
	}
	c.Gateways = slices.Clone(c.Gateways)
	c.secure = make([]bool, len(c.Gateways))
	for i, addr := range c.Gateways {
		scheme, rest, ok := strings.Cut(addr, "://")
		switch {
		case scheme == "unix" && (strings.HasPrefix(rest, "/") || strings.HasPrefix(rest, "@")) && len(rest) > 1:
			if slices.Contains(c.Gateways[:i], rest) {
				return fmt.Errorf("%w: gateway %s is listed twice", ErrConfig, addr)
			}
			c.Gateways[i] = rest
			continue
		case !ok:
			c.secure[i] = c.TLS != nil
		case scheme != "tcp" && scheme != "tls":
			return fmt.Errorf("%w: gateway %s: want tcp://host:port, tls://host:port or unix:///path", ErrConfig, addr)
		default:
			addr, c.secure[i] = strings.TrimSuffix(rest, "/"), scheme == "tls"
		}
		if _, _, err := net.SplitHostPort(addr); err != nil {
			return fmt.Errorf("%w: gateway: %w", ErrConfig, err)
		}
		if slices.Contains(c.Gateways[:i], addr) {
			return fmt.Errorf("%w: gateway %s is listed twice", ErrConfig, addr)
		}
		c.Gateways[i] = addr
	}
	return nil
}
