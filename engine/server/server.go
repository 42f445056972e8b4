package server

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/url"
	"sync"
	"time"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/admin"
	"github.com/sluicenet/sluice/engine/internal/client/gosoc"
	"github.com/sluicenet/sluice/engine/internal/client/longbridge"
	"github.com/sluicenet/sluice/engine/internal/client/netsvr"
	ws "github.com/sluicenet/sluice/engine/internal/client/websocket"
	"github.com/sluicenet/sluice/engine/internal/dev"
	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/engine/internal/link"
	"github.com/sluicenet/sluice/session"
)

// Config sets up a Server. Gateway.Login must be set; everything else has defaults.
type Config struct {
	// Listen are the addresses to serve clients on, as URLs: tcp://host:port, with
	// ?protocol=auto|gosoc|longbridge|netsvr, or ws://host:port. None means tcp://127.0.0.1:7000. Port 0 picks a port; see Addrs.
	Listen []string
	// Dev adds the development worker, which serves worker id 1 in this process.
	Dev bool
	// SlowConsumer is what becomes of messages for clients that do not read.
	SlowConsumer engine.SlowConsumer

	// WorkerListen is where workers are served, tcp://host:port. Empty: nowhere.
	WorkerListen string

	Engine  engine.Config
	Gateway gateway.Config
	Worker  link.Config
	Gosoc   gosoc.Config
	Netsvr  netsvr.Config
	// Longbridge is about Longbridge's clients; how many each user may have is in Gateway.
	Longbridge longbridge.Config
	// Admin serves operators; without an address nobody is. Its Dev and Logger are the Server's own.
	Admin admin.Config
	// CustomIDTTL is how long a token for a custom uniqId is good. Zero means 30 s.
	CustomIDTTL time.Duration
}

// DefaultListen is where clients are served unless Config says otherwise.
const DefaultListen = "tcp://127.0.0.1:7000"

// A Server is a gateway that can be started and stopped once.
type Server struct {
	config    Config
	engine    *engine.Engine
	gateway   *gateway.Gateway
	hub       *link.Hub
	admin     *admin.Server                // nil: operators are not served
	protocols map[string][]engine.Protocol // by what a listener's URL asks for

	mu      sync.Mutex
	started bool
	stopped bool
	addrs   []string
	workers string

	publishing sync.Mutex // guards publish; held while a publish waits for room
	publish    *engine.Publisher
}

// New checks config and makes a Server that serves nobody yet.
func New(config Config) (*Server, error) {
	if len(config.Listen) == 0 {
		config.Listen = []string{DefaultListen}
	}
	for _, l := range config.Listen {
		if _, err := ParseListen(l); err != nil {
			return nil, err
		}
	}
	if config.WorkerListen != "" {
		if _, err := ParseWorkerListen(config.WorkerListen); err != nil {
			return nil, err
		}
	}
	g, err := gateway.New(config.Gateway)
	if err != nil {
		return nil, err
	}
	s := &Server{config: config, gateway: g}
	ec := config.Engine
	ec.FirstBytes = g.Config().LoginTimeout
	ec.LoginBytes = g.Config().LoginBytes
	ec.Admit = g.Admit
	if ec.Logger == nil {
		ec.Logger = g.Log()
	}
	tokens, err := session.NewOneTime(session.OneTimeConfig{Rand: rand.Reader, TTL: config.CustomIDTTL})
	if err != nil {
		return nil, err
	}
	config.Worker.Logger = g.Log()
	if s.hub, err = link.NewHub(g, tokens, config.Worker); err != nil {
		return nil, err
	}
	g.SetEvents(s.hub)

	gosocTCP := gosoc.New(g, len(ec.Dialects), config.Gosoc)
	ec.Dialects = append(ec.Dialects, gosoc.Dialects()...)
	gosocWS := gosoc.NewEndpoint(gosocTCP)
	netsvrWS := netsvr.New(g, s.hub, tokens, len(ec.Dialects), config.Netsvr)
	ec.Dialects = append(ec.Dialects, netsvr.Dialects()...)
	longbridgeTCP := longbridge.New(g, len(ec.Dialects), config.Longbridge)
	ec.Dialects = append(ec.Dialects, longbridge.Dialects()...)
	longbridgeWS := longbridge.NewEndpoint(longbridgeTCP)
	upgraded := ws.New(nil, longbridgeWS)
	all := ws.New(map[string]ws.Endpoint{gosoc.Path: gosocWS, netsvr.Path: netsvrWS}, longbridgeWS)
	s.protocols = map[string][]engine.Protocol{
		"auto":          {gosocTCP, longbridgeTCP, all},
		gosoc.Name:      {gosocTCP, ws.New(map[string]ws.Endpoint{gosoc.Path: gosocWS}, nil)},
		longbridge.Name: {upgraded, longbridgeTCP.Pinned(upgraded)},
		netsvr.Name:     {ws.New(map[string]ws.Endpoint{netsvr.Path: netsvrWS}, nil)},
	}
	if s.engine, err = engine.New(ec); err != nil {
		return nil, err
	}
	if config.Admin.Address != "" {
		config.Admin.Dev = config.Dev
		config.Admin.Logger = g.Log()
		hub := s.hub
		if config.WorkerListen == "" {
			hub = nil
		}
		if s.admin, err = admin.New(s.engine, g, hub, config.Admin); err != nil {
			return nil, err
		}
	}
	if config.Dev {
		g.SetWorker(gateway.DefaultWorker, dev.Worker{})
	}
	return s, nil
}

// Listen is a listener's URL taken apart.
type Listen struct {
	Scheme   string // tcp or ws
	Address  string // host:port
	Protocol string // auto, or the one protocol the listener speaks
}

// ParseListen reads a listener's URL.
func ParseListen(text string) (Listen, error) {
	u, err := url.Parse(text)
	if err != nil {
		return Listen{}, fmt.Errorf("listen %q: %w; want SCHEME://HOST:PORT", text, err)
	}
	l := Listen{Scheme: u.Scheme, Address: u.Host, Protocol: "auto"}
	switch {
	case u.Scheme == "tls" || u.Scheme == "wss":
		return Listen{}, fmt.Errorf("listen %q: %s listeners are not built yet", text, u.Scheme)
	case u.Scheme != "tcp" && u.Scheme != "ws":
		return Listen{}, fmt.Errorf("listen %q: want tcp://HOST:PORT or ws://HOST:PORT", text)
	case u.Path != "" && u.Path != "/" || u.User != nil || u.Fragment != "":
		return Listen{}, fmt.Errorf("listen %q: want SCHEME://HOST:PORT and options behind a question mark", text)
	}
	if _, port, err := net.SplitHostPort(u.Host); err != nil || port == "" {
		return Listen{}, fmt.Errorf("listen %q: the address has no port", text)
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return Listen{}, fmt.Errorf("listen %q: %w", text, err)
	}
	for name, values := range query {
		if name != "protocol" {
			return Listen{}, fmt.Errorf("listen %q: unknown option %q", text, name)
		}
		l.Protocol = values[len(values)-1]
	}
	switch l.Protocol {
	case "auto", gosoc.Name, longbridge.Name, netsvr.Name:
	default:
		return Listen{}, fmt.Errorf("listen %q: protocol %q, want auto, gosoc, longbridge or netsvr", text, l.Protocol)
	}
	return l, nil
}

// Handle has requests whose route matches pattern answered by f, which runs on the loop of the
// client that asks and must not block. Patterns are "chat.Add", "chat.*" or "cmd:6-20"; the first
// match in the order of the calls decides. See gateway.Gateway.Handle.
func (s *Server) Handle(pattern string, f func(*gateway.Request)) error {
	return s.gateway.Handle(pattern, gateway.HandlerFunc(f))
}

// Start runs the loops and opens the listeners. On an error nothing is left running.
func (s *Server) Start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.started {
		return errors.New("server: started twice")
	}
	if err := s.engine.Start(); err != nil {
		return err
	}
	s.started = true
	s.gateway.Bind(s.engine)
	s.publishing.Lock()
	s.publish = s.engine.NewPublisher()
	s.publishing.Unlock()
	// Operators first, so that they can watch, and workers second: clients that come at once find them.
	if s.admin != nil {
		if err := s.admin.Start(); err != nil {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			_ = s.stopLocked(ctx)
			return err
		}
	}
	if s.config.WorkerListen != "" {
		if err := s.listenForWorkers(); err != nil {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			_ = s.stopLocked(ctx)
			return err
		}
	}
	for _, text := range s.config.Listen {
		l, err := ParseListen(text)
		if err == nil {
			var addr net.Addr
			if addr, err = s.engine.Listen(engine.ListenConfig{
				Network: "tcp", Address: l.Address, Protocols: s.speaking(l), SlowConsumer: s.config.SlowConsumer,
			}); err == nil {
				s.addrs = append(s.addrs, l.Scheme+"://"+addr.String())
				continue
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = s.stopLocked(ctx)
		return err
	}
	if s.admin != nil {
		s.admin.Ready()
	}
	return nil
}

// speaking returns the protocols of a listener: on ws:// what travels over HTTP alone.
func (s *Server) speaking(l Listen) []engine.Protocol {
	spoken := s.protocols[l.Protocol]
	if l.Scheme != "ws" {
		return spoken
	}
	var framed []engine.Protocol
	for _, p := range spoken {
		if _, ok := p.(*ws.Protocol); ok {
			framed = append(framed, p)
		}
	}
	return framed
}

func (s *Server) listenForWorkers() error {
	address, err := ParseWorkerListen(s.config.WorkerListen)
	if err != nil {
		return err
	}
	addr, err := s.hub.Listen(address)
	if err != nil {
		return err
	}
	s.workers = "tcp://" + addr.String()
	return nil
}

// ParseWorkerListen reads the URL of the worker listener and returns its address.
func ParseWorkerListen(text string) (address string, err error) {
	u, err := url.Parse(text)
	if err != nil {
		return "", fmt.Errorf("worker %q: %w; want tcp://HOST:PORT", text, err)
	}
	_, port, err := net.SplitHostPort(u.Host)
	if u.Scheme != "tcp" || err != nil || port == "" || u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.User != nil {
		return "", fmt.Errorf("worker %q: want tcp://HOST:PORT", text)
	}
	return u.Host, nil
}

// WorkerAddr returns the real address of the worker listener as a URL, empty if there is none.
func (s *Server) WorkerAddr() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.workers
}

// AdminURL returns the real address of the admin listener as a URL, empty if there is none.
func (s *Server) AdminURL() string {
	if s.admin == nil {
		return ""
	}
	return s.admin.URL()
}

// Hub returns the links to workers, for their counters.
func (s *Server) Hub() *link.Hub { return s.hub }

// Addrs returns the real addresses of the listeners, as URLs, in the order of Config.Listen.
func (s *Server) Addrs() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.addrs...)
}

// Publish sends payload to a topic's subscribers, as a push of the configured route. It waits
// while the gateway has no room, and must not be called from a handler: that has Request.Publish.
func (s *Server) Publish(topic string, payload []byte) error {
	s.publishing.Lock()
	defer s.publishing.Unlock()
	if s.publish == nil {
		return engine.ErrStopped
	}
	if err := s.publish.Publish([]byte(topic), s.gateway.Push(payload)); err != nil {
		return err
	}
	s.publish.Flush()
	return nil
}

// Engine returns the loops, for their counters.
func (s *Server) Engine() *engine.Engine { return s.engine }

// Gateway returns the sessions and requests, for their counters and for routes.
func (s *Server) Gateway() *gateway.Gateway { return s.gateway }

// Stop stops accepting, says goodbye to the clients, waits for their last words until ctx is done,
// and stops the loops. The error says that some clients had to be cut off.
func (s *Server) Stop(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopLocked(ctx)
}

func (s *Server) stopLocked(ctx context.Context) error {
	if !s.started || s.stopped {
		return nil
	}
	s.stopped = true
	s.gateway.Drain()
	// Clients first, then the workers: they still hear of each client that goes.
	s.engine.StopListening()
	s.engine.CloseAll(engine.ReasonShutdown)
	leaving, cancel := reserve(ctx)
	err := s.engine.WaitClosed(leaving)
	cancel()
	if herr := s.hub.Close(ctx); err == nil {
		err = herr
	}
	if serr := s.engine.Stop(ctx); err == nil {
		err = serr
	}
	if gerr := s.gateway.Close(ctx); err == nil {
		err = gerr
	}
	if s.admin != nil {
		s.admin.Shutdown(ctx) // last: until then operators can watch the rest go
	}
	return err
}

// reserve returns ctx with a fifth less time: clients that do not leave must not use up what the
// workers' links need to end.
func reserve(ctx context.Context) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Until(deadline)*4/5)
}
