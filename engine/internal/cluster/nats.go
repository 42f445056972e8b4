package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// NATSConfig says which NATS servers a node uses, and who it is to them.
type NATSConfig struct {
	// URLs are servers of one NATS cluster: nats://HOST:PORT, or tls:// for TLS from the first byte on.
	// A user and password, or a token, may be before the host. The servers tell of the others.
	URLs []string
	// Name is the cluster's; see CheckName.
	Name string
	// Self is the node's server id.
	Self uint8
	// Creds is a file of credentials (a JWT and its seed), NKey one of a seed. At most one is given; both
	// are read at each attempt to connect.
	Creds, NKey string
	// CA is a file of authorities, PEM, that servers' certificates come from; empty: the system's. Cert
	// and Key are files of the node's own certificate. They are read at each attempt, too.
	CA, Cert, Key string
	// Replicas is how many servers keep the bucket of leases, if it has to be made: 1 to 5. Zero means 3
	// where the servers are a cluster, else 1.
	Replicas int
	// SessionTTL is how long a session's ticket is good. Zero means 30 min.
	SessionTTL time.Duration
	// Logger receives what an operator should know. Nil discards.
	Logger *slog.Logger
}

// A SettingError is about a field of NATSConfig.
type SettingError struct {
	Field string // as the struct has it
	Index int    // in URLs
	Err   error
}

func (e *SettingError) Error() string { return e.Field + ": " + e.Err.Error() }

func (e *SettingError) Unwrap() error { return e.Err }

// maxReplicas is the most that NATS has.
const maxReplicas = 5

// Check says what cannot be honoured: a *SettingError, or several joined. It reads the files that are
// named, and does not connect.
func (c *NATSConfig) Check() error {
	var errs []error
	wrong := func(field, format string, args ...any) {
		errs = append(errs, &SettingError{Field: field, Err: fmt.Errorf(format, args...)})
	}
	if len(c.URLs) == 0 {
		wrong("URLs", "want at least one")
	}
	for i, text := range c.URLs {
		if err := checkURL(text); err != nil {
			errs = append(errs, &SettingError{"URLs", i, err})
		}
	}
	if err := CheckName(c.Name); err != nil {
		wrong("Name", "%w", err)
	}
	if c.Creds != "" && c.NKey != "" {
		wrong("NKey", "there are credentials, too: choose one")
	}
	if c.Cert == "" && c.Key != "" {
		wrong("Key", "there is no certificate for it")
	}
	if c.Cert != "" && c.Key == "" {
		wrong("Cert", "there is no key for it")
	}
	if c.Replicas < 0 || c.Replicas > maxReplicas {
		wrong("Replicas", "%d, want 0 to %d", c.Replicas, maxReplicas)
	}
	if len(errs) == 0 {
		_, err := c.secrets()
		return err
	}
	return errors.Join(errs...)
}

// checkURL says what is wrong with a server's URL. It repeats no password, and nothing of a query, which
// it may not have.
func checkURL(text string) error {
	scheme, rest, ok := strings.Cut(text, "://")
	shown := text
	if at := strings.LastIndexByte(text, '@'); at >= 0 {
		shown = "..." + text[at:]
	}
	if at := strings.IndexAny(shown, "?#"); at >= 0 {
		shown = shown[:at] + "..."
	}
	if !ok {
		if _, _, err := net.SplitHostPort(text); err == nil {
			return fmt.Errorf("%q: want nats://HOST:PORT; did you mean nats://%s?", shown, shown)
		}
		return fmt.Errorf("%q: want nats://HOST:PORT, or tls in place of nats", shown)
	}
	u, err := url.Parse(text)
	if err != nil || scheme != "nats" && scheme != "tls" || u.Hostname() == "" ||
		strings.ContainsAny(rest, "/?#") {
		return fmt.Errorf("%q: want nats://HOST:PORT, or tls in place of nats", shown)
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return fmt.Errorf("%q: port %s, want 1 to 65535", shown, port)
		}
	}
	return nil
}

// secrets are the options that read files.
func (c *NATSConfig) secrets() (list []nats.Option, err error) {
	wrong := func(field string, err error) error {
		if e := (*os.PathError)(nil); errors.As(err, &e) {
			err = e
		}
		return &SettingError{Field: field, Err: err}
	}
	if c.Creds != "" {
		text, err := os.ReadFile(c.Creds)
		if err != nil {
			return nil, wrong("Creds", err)
		}
		if !strings.Contains(string(text), "NATS USER JWT") || !strings.Contains(string(text), "NKEY SEED") {
			return nil, wrong("Creds", fmt.Errorf("%s holds no JWT with its seed", c.Creds))
		}
		list = append(list, nats.UserCredentials(c.Creds))
	}
	if c.NKey != "" {
		o, err := nats.NkeyOptionFromSeed(c.NKey)
		if err != nil {
			return nil, wrong("NKey", err)
		}
		list = append(list, o)
	}
	try := func(field string, o nats.Option) { // which reads its files at once, and at each attempt again
		if e := o(new(nats.Options)); e != nil && err == nil {
			err = wrong(field, e)
		}
		list = append(list, o)
	}
	if c.CA != "" {
		try("CA", nats.RootCAs(c.CA))
	}
	if c.Cert != "" {
		try("Cert", nats.ClientCert(c.Cert, c.Key))
	}
	return list, err
}

// Times of connections. A black hole is noticed after 2 to 3 s, and whoever publishes into one is held
// up for a second at most.
const (
	natsTimeout   = time.Second
	natsPing      = time.Second
	natsPings     = 2
	natsWait      = 100 * time.Millisecond
	natsJitter    = 100 * time.Millisecond
	natsJitterTLS = 500 * time.Millisecond
)

// options are those of one of the node's connections.
func (c *NATSConfig) options(b *natsBus) ([]nats.Option, error) {
	list, err := c.secrets()
	if err != nil {
		return nil, err
	}
	list = append(list,
		nats.Name(fmt.Sprintf("sluice %s %02x %s", c.Name, c.Self, b.role)),
		nats.Timeout(natsTimeout), nats.FlusherTimeout(natsTimeout),
		nats.PingInterval(natsPing), nats.MaxPingsOutstanding(natsPings),
		nats.MaxReconnects(-1), nats.RetryOnFailedConnect(true),
		nats.ReconnectWait(natsWait), nats.ReconnectJitter(natsJitter, natsJitterTLS),
		nats.ReconnectBufSize(-1), // what is published while the server is away fails at once
		nats.IgnoreAuthErrorAbort(),
		nats.CustomInboxPrefix("_R."+c.Name),
		nats.ConnectHandler(b.up), nats.ReconnectHandler(b.up),
		nats.DisconnectErrHandler(b.down),
		nats.ReconnectErrHandler(b.failed),
		nats.ErrorHandler(b.complain),
		nats.ClosedHandler(b.over))
	if b.role == dataRole {
		list = append(list, nats.NoEcho())
	}
	return list, nil
}

// The roles of a node's connections.
const (
	dataRole    = "data"
	controlRole = "control"
)

// A NATS is a node's two connections, and its buckets.
type NATS struct {
	data, control *natsBus
	nodes, names  *kvStore
	sessions      *kvStore
	history       *natsStream
}

// NewNATS checks config and makes a NATS that has no connection yet.
func NewNATS(config NATSConfig) (*NATS, error) {
	if err := config.Check(); err != nil {
		return nil, err
	}
	config.Logger = cmp.Or(config.Logger, slog.New(slog.DiscardHandler))
	n := &NATS{data: newNATSBus(&config, dataRole), control: newNATSBus(&config, controlRole)}
	bucket := func(name, about string, life, least time.Duration) *kvStore {
		return newKVStore(n.control, "sluice_"+config.Name+"_"+name, about, life, least, config.Replicas, config.Logger)
	}
	n.nodes = bucket("nodes", "leases of sluice's nodes", nodesLife, nodesLife)
	ttl := cmp.Or(config.SessionTTL, 30*time.Minute)
	n.sessions = bucket("sessions", "sessions of sluice's clients", ttl+sessionMargin, ttl)
	n.history = newNATSStream(n.control, &config)
	n.names = bucket("names", "users and chosen uniqIds of sluice's nodes", namesLife, leastNamesLife)
	return n, nil
}

// Data and Control are the connections, and Nodes the bucket.
func (n *NATS) Data() Bus { return n.data }

// Control is the second connection; see Data.
func (n *NATS) Control() Bus { return n.control }

// Nodes is the bucket of leases.
func (n *NATS) Nodes() Store { return n.nodes }

// Names is the bucket of users and chosen uniqIds.
func (n *NATS) Names() Store { return n.names }

// Sessions is the bucket of clients' sessions.
func (n *NATS) Sessions() Store { return n.sessions }

// History is the stream of topics with history.
func (n *NATS) History() Stream { return n.history }

// Connect begins to connect, and goes on until the buses are closed. It returns when both connections
// are there, or when ctx is done; the error says then what the last attempt has come to. That a server
// has refused the node, or is not the one it says it is, is a *RefusedError, at once.
func (n *NATS) Connect(ctx context.Context) error {
	for _, b := range []*natsBus{n.data, n.control} {
		if err := b.start(); err != nil {
			return err
		}
	}
	for _, b := range []*natsBus{n.data, n.control} {
		if err := b.await(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Probe finds out whether the node may do what it needs on both connections, which must be there. What
// the server does not allow is a *RefusedError that names it.
func (n *NATS) Probe() error {
	s := newSubjects(n.data.config.Name)
	self := n.data.config.Self
	for _, p := range []struct {
		bus           *natsBus
		hears, speaks []string
	}{
		// What all nodes hear is not spoken on: to them it would be foreign.
		{n.data, []string{s.node(self), s.nodes(), s.topic("sluice")}, []string{s.node(self), s.topic("sluice.probe")}},
		{n.control, []string{s.command(self), s.commands()}, []string{s.command(self)}},
	} {
		if err := p.bus.probe(p.hears, p.speaks); err != nil {
			return err
		}
	}
	return nil
}

// A RefusedError is the error of a connection that the operator has to see to.
type RefusedError struct{ Err error }

func (e *RefusedError) Error() string { return "refused by NATS: " + e.Err.Error() }

func (e *RefusedError) Unwrap() error { return e.Err }

// isRefusal reports whether trying again is likely to fail in the same way.
func isRefusal(err error) bool {
	for _, e := range []error{
		nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrAccountAuthExpired,
		nats.ErrSecureConnRequired, nats.ErrSecureConnWanted, nats.ErrNkeysNotSupported,
		nats.ErrPermissionViolation,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	text := err.Error()
	if slow := (net.Error)(nil); errors.As(err, &slow) && slow.Timeout() {
		return false
	}
	return strings.Contains(text, "x509:") || strings.Contains(text, "after TLS handshake") || strings.Contains(text, "tls: ") ||
		strings.Contains(strings.ToLower(text), "authorization violation")
}
