package admin

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/budget"
	"github.com/sluicenet/sluice/engine/internal/certs"
	ws "github.com/sluicenet/sluice/engine/internal/client/websocket"
	"github.com/sluicenet/sluice/engine/internal/cluster"
	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/engine/internal/link"
	"github.com/sluicenet/sluice/engine/internal/lograte"
	"github.com/sluicenet/sluice/engine/internal/looplag"
	"github.com/sluicenet/sluice/engine/internal/unixsock"
	"github.com/sluicenet/sluice/engine/login"
	"github.com/sluicenet/sluice/internal/loopback"
)

// DefaultAddress is where cmd/sluice serves operators unless told otherwise.
const DefaultAddress = "127.0.0.1:6070"

// Config sets up a Server. Address or Listener must be set.
type Config struct {
	// Address is HOST:PORT, or the path of a unix socket, or @NAME on Linux. Port 0 picks one; see Server.URL.
	Address string
	// Mode and Owner (USER:GROUP) are of the file of a unix socket. Zero: its owner alone, who runs
	// the gateway.
	Mode  fs.FileMode
	Owner string
	// Listener is served in place of Address, which is then only a name by which browsers may
	// call it. The Server closes it.
	Listener net.Listener
	// TLS has operators come with TLS. Nil: in plain text.
	TLS *tls.Config
	// APIKey is what callers for login tokens must show. Empty: nobody may call, unless Dev or with a
	// token of the full role.
	APIKey string
	// Dev lets everybody on loopback do everything while there are neither APIKey nor Tokens.
	Dev bool
	// MaxConnections is how many connections operators may have: when another comes, the one goes
	// that has been idle for longest. Zero means 64.
	MaxConnections int
	// Stall is how long a loop may stand still before /livez fails. Zero means 5 s.
	Stall time.Duration
	// Tokens are the tokens of operators. Nil: the APIKey allows everything that they would; without it
	// nobody may do more than ask whether the process lives and takes clients, except everybody on
	// loopback in Dev.
	Tokens *Tokens
	// Process is what operators may do with the process. Nil: nothing.
	Process *Process
	// TokenUsers are keys with which users call for tokens themselves, as the Longbridge vendor's SDKs
	// do it. Nil: nobody does.
	TokenUsers *login.APIKeys
	// TokenSkew is how far the clock of a caller may be off whose calls must be signed. Zero or less
	// means 5 min.
	TokenSkew time.Duration
	// Version is the gateway's, for the metrics and the page.
	Version string
	// Logger receives what an operator should know. Nil discards.
	Logger *slog.Logger
	// LogDropped returns how many lines of the log were lost, for the metrics. Nil: unknown.
	LogDropped func() uint64
	// AccessLogDropped returns the same of the access log, if it has a file or stream of its own. Nil: it
	// has none.
	AccessLogDropped func() uint64
	// Spans returns what became of the spans that were recorded: sent to the collector, dropped because
	// it did not keep up, and lost because it could not be reached or did not want them. Nil: nobody
	// records any.
	Spans func() (sent, dropped, lost uint64)
}

// A Server answers operators.
type Server struct {
	config  Config
	log     *slog.Logger
	engine  *engine.Engine
	gateway *gateway.Gateway
	hub     *link.Hub     // nil: no workers
	web     *ws.Transport // nil: no WebSocket
	certs   *certs.Store  // nil: no listener has any
	host    string        // of Config.Address
	key     [sha256.Size]byte

	http     http.Server
	hurry    context.CancelFunc // ends requests that take their time: profiles
	begun    time.Time
	ready    atomic.Bool
	loopback atomic.Bool // the listener can be reached from this machine only
	lag      *looplag.Lag
	told     []bool          // by loop: the log knows that it stands still; watch's
	sampled  []atomic.Uint64 // by loop: steps that it had begun when it was last asked for latencies
	conns    *conns
	memory   *budget.Watch // nil: no budget
	cluster  *cluster.Node // nil: the gateway is alone
	tokens   tokenStats
	access   accessStats
	guesses  guesses
	endings  endings
	cursors  cursors
	latency  atomic.Pointer[gateway.Latency] // of all requests, up to a second ago

	queries    chan struct{} // those who ask the loops
	turns      []chan error  // by loop: has an element while none of them has told it to run something
	busy       atomic.Uint64 // who found no place among them
	tails      chan struct{}
	tailed     atomic.Uint64 // messages shown
	tailDrops  atomic.Uint64
	streams    chan struct{}
	publishing chan struct{}     // of one: who uses publisher
	publisher  *engine.Publisher // nil before the first publish
	reloading  sync.Mutex

	mu       sync.Mutex
	listener net.Listener
	done     chan struct{}
}

// New makes a Server of a gateway, its engine, its hub and its WebSocket transport; either of these
// may be nil. It serves nobody yet.
func New(e *engine.Engine, g *gateway.Gateway, hub *link.Hub, web *ws.Transport, config Config) (*Server, error) {
	if config.Address == "" && config.Listener != nil {
		config.Address = "localhost:0"
	}
	host, port, err := net.SplitHostPort(config.Address)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if onUnix(config.Address) {
		host, err = "localhost", unixsock.Check(config.Address, unixsock.Options{Mode: config.Mode, Owner: config.Owner})
		if err != nil {
			return nil, fmt.Errorf("admin %s: %w", config.Address, err)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("admin %q: want HOST:PORT, or the path of a unix socket", config.Address)
	}
	if config.TokenSkew <= 0 {
		config.TokenSkew = DefaultTokenSkew
	}
	if config.Logger == nil {
		config.Logger = slog.New(slog.DiscardHandler)
	}
	config.Logger = lograte.Logger(config.Logger)
	if config.MaxConnections <= 0 {
		config.MaxConnections = DefaultMaxConnections
	}
	if config.Stall <= 0 {
		config.Stall = DefaultStall
	}
	s := &Server{
		config:  config,
		log:     config.Logger,
		engine:  e,
		gateway: g,
		hub:     hub,
		web:     web,
		host:    host,
		key:     sha256.Sum256([]byte(config.APIKey)),
		begun:   time.Now(),
		lag:     e.LoopLag(),
		told:    make([]bool, e.Loops()),
		sampled: make([]atomic.Uint64, e.Loops()),
		conns:   newConns(config.MaxConnections, config.Logger),
		done:    make(chan struct{}),

		queries:    make(chan struct{}, maxQueries),
		tails:      make(chan struct{}, maxTails),
		streams:    make(chan struct{}, maxStreams),
		publishing: make(chan struct{}, 1),
	}
	for range e.Loops() {
		turn := make(chan error, 1)
		turn <- nil
		s.turns = append(s.turns, turn)
	}
	s.latency.Store(new(gateway.Latency))
	s.endings.charge, s.cursors.charge = s.charge, s.charge
	e.HearEnds(s.hear)
	s.loopback.Store(true)
	hurried, hurry := context.WithCancel(context.Background())
	s.hurry = hurry
	s.http = http.Server{
		Handler:           within(hurried, s.Handler()),
		ConnState:         s.conns.changed,
		ConnContext:       ofConn,
		ReadHeaderTimeout: 5 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		TLSNextProto:      map[string]func(*http.Server, *tls.Conn, http.Handler){}, // no HTTP/2
	}
	return s, nil
}

// within ends the context of requests to h when ctx ends. That of the connection, as http.Server's
// BaseContext, would take TLS handshakes with it.
func within(ctx context.Context, h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		own, cancel := context.WithCancel(r.Context())
		defer cancel()
		defer context.AfterFunc(ctx, cancel)()
		h.ServeHTTP(w, r.WithContext(own))
	})
}

// SetCluster tells of the gateway's part of a cluster. It must be called before Start.
func (s *Server) SetCluster(n *cluster.Node) { s.cluster = n }

// SetMemory tells of the memory budget, which may be nil: none. It must be called before Start.
func (s *Server) SetMemory(w *budget.Watch) { s.memory = w }

// Serve has Start serve ln, in place of listening on Config.Address. The Server closes it.
func (s *Server) Serve(ln net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.config.Listener = ln
}

// Start listens and serves. The engine must have been started.
func (s *Server) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener != nil {
		return errors.New("admin: started twice")
	}
	ln := s.config.Listener
	if ln == nil {
		var err error
		if onUnix(s.config.Address) {
			ln, err = unixsock.Listen(s.config.Address, unixsock.Options{Mode: s.config.Mode, Owner: s.config.Owner})
		} else {
			ln, err = net.Listen("tcp", s.config.Address)
		}
		if err != nil {
			return fmt.Errorf("admin: %w", err)
		}
	}
	s.listener = ln
	addr := ln.Addr()
	s.loopback.Store(loopback.Addr(addr))
	if s.closed() {
		s.log.Info(noTokens, "admin", addr.String())
	}
	go s.runWatch()
	serve := net.Listener(listener{ln, s.conns, s.done})
	if s.config.TLS != nil {
		serve = tls.NewListener(serve, s.config.TLS) // net/http bounds the handshake by ReadHeaderTimeout
	}
	go func() {
		if err := s.http.Serve(serve); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("the admin listener has failed", "err", err)
		}
	}()
	return nil
}

// Config returns the configuration as it was given to New, with its defaults filled in. It must not
// be changed.
func (s *Server) Config() *Config { return &s.config }

// ReportTLS has the counters of certificates be among the metrics, and what is wrong with them on
// /readyz?verbose. It must be called before Start.
func (s *Server) ReportTLS(store *certs.Store) { s.certs = store }

// URL returns where the Server listens, http://HOST:PORT, https://HOST:PORT or unix:///PATH, empty
// before Start.
func (s *Server) URL() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.listener == nil {
		return ""
	}
	if addr := s.listener.Addr(); addr.Network() == "unix" {
		if text := addr.String(); !unixsock.Abstract(text) {
			return "unix://" + (&url.URL{Path: text}).EscapedPath()
		}
		return "unix://" + addr.String()
	}
	if s.config.TLS != nil {
		return "https://" + s.listener.Addr().String()
	}
	return "http://" + s.listener.Addr().String()
}

// onUnix reports whether an address is the path of a unix socket.
func onUnix(address string) bool {
	return strings.HasPrefix(address, "/") || unixsock.Abstract(address)
}

// Ready says that the gateway listens: from now on /readyz may say yes.
func (s *Server) Ready() { s.ready.Store(true) }

// farewell is how long requests under way may take when the Server shuts down.
const farewell = time.Second

// Shutdown stops listening, lets requests end until ctx is done or a second has passed, and cuts
// off what is left. It may be called more than once, and without Start.
func (s *Server) Shutdown(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ready.Store(false)
	s.hurry()
	if s.listener == nil {
		return
	}
	select {
	case <-s.done:
		return
	default:
		close(s.done)
	}
	ctx, cancel := context.WithTimeout(ctx, farewell)
	defer cancel()
	if err := s.http.Shutdown(ctx); err != nil {
		_ = s.http.Close()
	}
	s.endings.clear()
	s.cursors.clear()
}
