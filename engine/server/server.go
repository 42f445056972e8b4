package server

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/admin"
	"github.com/sluicenet/sluice/engine/internal/budget"
	"github.com/sluicenet/sluice/engine/internal/certs"
	"github.com/sluicenet/sluice/engine/internal/client/gosoc"
	"github.com/sluicenet/sluice/engine/internal/client/longbridge"
	"github.com/sluicenet/sluice/engine/internal/client/netsvr"
	ws "github.com/sluicenet/sluice/engine/internal/client/websocket"
	"github.com/sluicenet/sluice/engine/internal/cluster"
	"github.com/sluicenet/sluice/engine/internal/dev"
	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/engine/internal/link"
	"github.com/sluicenet/sluice/session"
)

// A Server is a gateway that can be started and stopped once.
type Server struct {
	config    Config
	engine    *engine.Engine
	gateway   *gateway.Gateway
	hub       *link.Hub
	tokens    *session.OneTime // of custom uniqIds
	admin     *admin.Server    // nil: operators are not served
	certs     *certs.Store     // nil: no listener uses TLS
	endpoints []endpoint
	// Of the other listeners, where Config has an address for them.
	workerListen, adminListen Listen
	workerSocket, adminSocket endpoint                     // of those that were handed over
	inherited                 map[int]bool                 // descriptors that are served
	protocols                 map[string][]engine.Protocol // by what a listener asks for

	web           *ws.Transport
	gosocTCP      *gosoc.Protocol
	netsvrWS      *netsvr.Endpoint
	longbridgeTCP *longbridge.Protocol

	updating  sync.Mutex // one Update at a time
	mu        sync.Mutex
	stage     stage
	stopAsked bool
	why       engine.Reason // of the end
	addrs     []string
	urls      atomic.Pointer[[]string] // what addrs is, for loops
	workers   string

	memory *budget.Watch // nil: no limit

	node          *cluster.Node // nil: the gateway is alone
	warnOfClients func()        // says that fewer are taken than config says, if that is so
	unshared      error         // why sessions are not resumed on other nodes; nil: they are
	nats          *cluster.NATS // of node
	failed        chan struct{} // closed when the service has ended by itself

	turn      chan *engine.Publisher // the Publisher of those outside the loops, while nobody uses it
	fromLoops atomic.Int64           // bytes of Sends from handlers that are under way
	life      context.Context        // done when nothing is waited for any more
	endLife   context.CancelFunc
	start     context.Context // done when Start is to give up: at a Stop
	endStart  context.CancelFunc
	ended     chan struct{}  // closed when all has ended
	besides   sync.WaitGroup // goroutines that end with life
}

// New checks config and makes a Server that serves nobody yet.
func New(config Config) (*Server, error) {
	if err := config.check(); err != nil {
		return nil, err
	}
	own, err := config.ownNames()
	if err != nil {
		return nil, err
	}
	config.shareLogger()
	config.shareMemory()
	s := &Server{
		turn: make(chan *engine.Publisher, 1), ended: make(chan struct{}), failed: make(chan struct{}),
		why: engine.ReasonShutdown,
	}
	s.inherited = make(map[int]bool)
	s.life, s.endLife = context.WithCancel(context.Background())
	s.start, s.endStart = context.WithCancel(s.life)
	if s.endpoints, err = config.endpoints(own); err != nil {
		return nil, err
	}
	if config.WorkerListen != "" {
		if s.workerListen, err = ParseWorkerListen(config.WorkerListen); err != nil {
			return nil, err
		}
		if s.workerListen.Descriptor != "" {
			if s.workerSocket, err = s.workerListen.socket(); err != nil {
				return nil, &ListenError{"WorkerListen", 0, fmt.Errorf("%s: %w", config.WorkerListen, err)}
			}
			s.workerListen = s.workerSocket.Listen
		}
		config.Worker.Proxy = config.Worker.Proxy || s.workerListen.Proxy
	}
	if err := config.checkProxies(s.endpoints, s.workerListen); err != nil {
		return nil, err
	}
	if err := config.checkWorkers(); err != nil {
		return nil, err
	}
	if config.Admin.Address != "" {
		if s.adminListen, err = ParseAdminListen(config.Admin.Address); err != nil {
			return nil, err
		}
		if s.adminListen.Descriptor != "" {
			if s.adminSocket, err = s.adminListen.socket(); err != nil {
				return nil, &ListenError{"Admin", 0, fmt.Errorf("%s: %w", config.Admin.Address, err)}
			}
			if s.adminListen.Address = s.adminSocket.Address; s.adminSocket.Address == "fd:"+s.adminListen.Descriptor {
				s.adminListen.Address = "localhost:0" // it cannot be opened
			}
		}
		config.Admin.Address = s.adminListen.Address
		if s.adminListen.Unix() {
			config.Admin.Mode, config.Admin.Owner = s.adminListen.Mode, s.adminListen.Owner
		}
	}
	config.Gateway.WaitWorkers = config.waitWorkers()
	if s.gateway, err = gateway.New(config.Gateway); err != nil {
		return nil, err
	}
	s.warnOfClients = config.settle(s.gateway)
	s.config = config
	if err := s.loadCertificates(); err != nil {
		return nil, err
	}
	s.secure(&config)
	oneTime := session.OneTimeConfig{Rand: rand.Reader, TTL: config.CustomIDTTL}
	if s.tokens, err = session.NewOneTime(oneTime); err != nil {
		return nil, err
	}
	if s.hub, err = link.NewHub(s.gateway, s.tokens, config.Worker); err != nil {
		return nil, err
	}
	// Workers hear of a client first: one that is closed because none is there is nobody's client.
	s.gateway.AddEvents(s.hub)
	if config.OnConnect != nil || config.OnDisconnect != nil {
		s.gateway.AddEvents(hooks{s.gateway, config.OnConnect, config.OnDisconnect})
	}
	s.web = ws.NewTransport(config.WebSocket, s.gateway.Draining)
	if err := s.speak(); err != nil {
		return nil, err
	}
	if err := s.makeNode(); err != nil {
		return nil, err
	}
	if s.engine, err = engine.New(s.config.Engine); err != nil {
		return nil, err
	}
	if s.node != nil {
		s.node.Bind(s.engine)
		s.keepApart()
		s.shareSessions()
	}
	if config.operators() {
		hub := s.hub
		if !config.workers() {
			hub = nil
		}
		if s.admin, err = admin.New(s.engine, s.gateway, hub, s.web, config.Admin); err != nil {
			return nil, err
		}
		if s.certs != nil {
			s.admin.ReportTLS(s.certs)
		}
		if s.node != nil {
			s.admin.SetCluster(s.node)
		}
	}
	s.keepAccessLog()
	s.keepWithin(nil)
	if config.Dev {
		s.gateway.SetWorker(gateway.DefaultWorker, dev.Worker{IgnoreCase: config.Gateway.RouteIgnoreCase})
	}
	return s, nil
}

// Handle has requests whose route matches pattern answered by f, which runs on the loop of the
// client that asks and must not block. Patterns are "chat.Add", "chat.*" or "cmd:6-20"; the first
// match in the order of the calls decides. It may be called at any time. See Gateway.Handle.
func (s *Server) Handle(pattern string, f func(*Request)) error {
	return s.gateway.Handle(pattern, gateway.HandlerFunc(f))
}

func (s *Server) running() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stage == stageRunning || s.stage == stageStopping
}

// Addrs returns the real addresses of the listeners, as URLs, in the order of Config.Listen and
// then Config.Listeners.
func (s *Server) Addrs() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.addrs)
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

// Engine returns the loops, for their counters.
func (s *Server) Engine() *engine.Engine { return s.engine }

// Revalidate closes the connections of logins that Gateway.Login, a login.Revocable, has taken back,
// after its Reload for one. With Gateway.KeepRevoked it does nothing. It returns before they are
// closed; any goroutine may call it.
func (s *Server) Revalidate() { s.gateway.Revalidate() }

// Gateway returns the sessions and requests, for their counters and for routes.
func (s *Server) Gateway() *Gateway { return s.gateway }

// WebSocket returns the counters of compression over WebSocket.
func (s *Server) WebSocket() WebSocketStats { return s.web.Stats() }

// Hub returns the links to workers, for their counters.
func (s *Server) Hub() *Hub { return s.hub }
