package server

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"reflect"
	"time"

	"github.com/sluicenet/sluice/engine"
	ws "github.com/sluicenet/sluice/engine/internal/client/websocket"
	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/engine/internal/lograte"
	"github.com/sluicenet/sluice/topic"
)

// Config sets up a Server. Gateway.Login must be set; everything else has defaults. A field that
// cannot be honoured is refused by New, with an error that names it and says what to set instead.
type Config struct {
	// Listen are the addresses to serve clients on, as URLs: tcp://host:port, tls://, ws:// or wss://,
	// with ?protocol=auto|gosoc|longbridge|netsvr or the name of one of Protocols, ?tls=auto for plain
	// connections and TLS on one port, and ?client-cert=required|optional|none. With ?proxy=on
	// connections come from proxies that send the PROXY header (Engine.ProxyTrust). On a unix socket it
	// is unix:///path, with ?mode=0660 and ?owner=user:group, or ws+unix:///path. On sockets that the
	// process was handed, as by systemd, it is fd://NAME, with tls+, ws+ or wss+ before it.
	// None, and no Listeners, means DefaultListen. Port 0 picks a port; see Server.Addrs.
	Listen []string
	// Listeners are served like Listen, after it. From New's success on they are the Server's,
	// which closes them when it stops, or fails to start.
	Listeners []Listener
	// Protocols are the program's own; see Protocol.
	Protocols []Protocol
	// SlowConsumer is what becomes of messages for clients that do not read.
	SlowConsumer engine.SlowConsumer

	// OnConnect and OnDisconnect are called when a client has logged in and was told so, and when
	// a client that was is gone, whichever protocol it speaks: on the client's loop, so they must
	// not block. A panic costs that client its connection. For one client OnDisconnect comes after
	// OnConnect has begun, once.
	OnConnect    func(ClientInfo)
	OnDisconnect func(ClientInfo, engine.Reason)

	// Dev adds the development worker, which serves worker id 1 in this process, and has the
	// admin listener issue tokens to everybody while there is no API key.
	Dev bool

	// TLS are the certificates of all listeners that want one. Worker.TLS and Admin.TLS are made of
	// it unless they are set.
	TLS TLSConfig

	// WorkerListen is where workers are served: tcp://host:port, tls://host:port or unix:///path, with
	// ?mode= and ?owner=, or fd://NAME or tls+fd://NAME. Empty: nowhere.
	WorkerListen string
	// WorkerListener is served in place of WorkerListen, and is the Server's like Listeners.
	WorkerListener net.Listener

	// Memory is how many bytes the process may use, at least LeastMemory. It sets the limits of
	// MemoryShares where they are zero; those that are not must fit into three quarters of it. Near it
	// the gateway sheds in stages, which /readyz and the metrics show: from 80% on connections that
	// come are refused, from 85% on sessions of clients that are away and topics' histories are
	// forgotten, too, the oldest first, and from 90% on the slowest clients are closed, too. The
	// kernel's socket buffers do not count. The runtime's own limit, debug.SetMemoryLimit, is the
	// program's to set. Zero means that nothing is shed for it.
	Memory int64

	// Engine is about loops and memory. FirstBytes is Gateway.LoginTimeout if it is zero, Logger is
	// Gateway.Logger if it is nil. MaxConnections is at most what the open-file limit leaves beside
	// workers and operators, and that if it is zero. LoginBytes and Dialects are refused: see
	// Gateway.LoginBytes and Protocols.
	Engine engine.Config
	// Gateway is about logins, sessions and requests.
	Gateway GatewayConfig
	// Worker is about the links of workers. Its Logger is Gateway.Logger if it is nil.
	Worker WorkersConfig
	// WebSocket is about WebSocket on all paths.
	WebSocket WebSocketConfig
	// Gosoc is about GOSOC's clients.
	Gosoc GosocConfig
	// Netsvr is about netsvr's WebSocket customers.
	Netsvr NetsvrConfig
	// Longbridge is about Longbridge's clients; how many each user may have is in Gateway.
	Longbridge LongbridgeConfig
	// Cluster makes the gateway one of several.
	Cluster ClusterConfig
	// Admin serves operators; without Address and Listener nobody is, and its other fields are
	// refused. Its Logger is Gateway.Logger if it is nil; its Listener is the Server's like
	// Listeners.
	Admin AdminConfig
	// AccessLog gets a record of each client that logs in (event connect) and of each connection
	// that ends or is refused (event close, with the reason as the counters have it), whatever its
	// level. It is called on the loops, so its handler must not block; a panic costs the record. It
	// escapes what clients can choose, of which there is as much as fits on a line. No record holds a
	// secret. Nil: none are made.
	AccessLog *slog.Logger
	// CustomIDTTL is how long a token for a custom uniqId is good. Zero means 30 s.
	CustomIDTTL time.Duration
}

// check refuses what cannot be honoured.
func (c *Config) check() error {
	refuse := func(field, instead string) error {
		return fmt.Errorf("server: Config.%s is set: %s", field, instead)
	}
	switch {
	case c.Engine.LoginBytes != 0:
		return refuse("Engine.LoginBytes",
			"set Config.Gateway.LoginBytes, which holds for loops and protocols alike")
	case len(c.Engine.Dialects) > 0:
		return refuse("Engine.Dialects", "set Config.Protocols, each with its dialects")
	case c.WorkerListener != nil && c.WorkerListen != "":
		return refuse("WorkerListener", "Config.WorkerListen is, too; leave one of them out")
	case c.SlowConsumer > engine.SlowDropOldest:
		return fmt.Errorf("server: Config.SlowConsumer is %d, which is no policy", c.SlowConsumer)
	case c.WebSocket.MaxHead != 0 && (c.WebSocket.MaxHead < ws.MinHead || c.WebSocket.MaxHead > ws.MaxHead):
		return fmt.Errorf("server: Config.WebSocket.MaxHead is %d, want %d to %d", c.WebSocket.MaxHead, ws.MinHead, ws.MaxHead)
	case c.WebSocket.MaxHeaders < 0 || c.WebSocket.MaxFragments < 0:
		return errors.New("server: Config.WebSocket has a negative limit")
	case c.CheckMemory() != nil:
		return fmt.Errorf("server: Config.Memory: %w", c.CheckMemory())
	case c.Engine.History.Total < 0:
		return errors.New("server: Config.Engine.History.Total is negative")
	case c.CustomIDTTL < 0:
		return errors.New("server: Config.CustomIDTTL is negative")
	}
	if err := c.checkCluster(); err != nil {
		return err
	}
	if err := topic.CheckRules(c.Engine.History.Rules); err != nil {
		return fmt.Errorf("server: Config.Engine.History: %w", err)
	}
	if err := c.Netsvr.CheckPath(); err != nil {
		return fmt.Errorf("server: Config.Netsvr.Path: %w", err)
	}
	if err := c.WebSocket.Check(); err != nil {
		return fmt.Errorf("server: Config.WebSocket: %w", err)
	}
	if !c.operators() {
		for v, i := reflect.ValueOf(c.Admin), 0; i < v.NumField(); i++ {
			if !v.Field(i).IsZero() {
				return refuse("Admin."+v.Type().Field(i).Name,
					"set Config.Admin.Address or .Listener, too; without them operators are not served")
			}
		}
	}
	return nil
}

// operators reports whether they are served.
func (c *Config) operators() bool { return c.Admin.Address != "" || c.Admin.Listener != nil }

// workers reports whether they are served.
func (c *Config) workers() bool { return c.WorkerListen != "" || c.WorkerListener != nil }

// waitWorkers is how long requests wait for a worker: not at all where none can come, unless the
// program, which may attach one itself, has said a time.
func (c *Config) waitWorkers() time.Duration {
	if c.Gateway.WaitWorkers == 0 && !c.workers() && len(c.Cluster.URLs) == 0 {
		return -1
	}
	return c.Gateway.WaitWorkers
}

// shareLogger has the loggers that are one stay one: each counts what it leaves out.
func (c *Config) shareLogger() {
	given := c.Gateway.Logger
	c.Gateway.Logger = lograte.Logger(given)
	for _, l := range []**slog.Logger{&c.Engine.Logger, &c.Worker.Logger, &c.Admin.Logger} {
		if *l == given {
			*l = c.Gateway.Logger
		}
	}
}

// settle fills in what one part of c says for another, once g knows its own. warn is to be called when
// the Server of c starts.
func (c *Config) settle(g *gateway.Gateway) (warn func()) {
	c.Engine.FirstBytes = cmp.Or(c.Engine.FirstBytes, g.Config().LoginTimeout)
	c.Engine.LoginBytes = g.Config().LoginBytes
	if c.Engine.Describe == nil {
		c.Engine.Describe = g.Describe
	}
	if c.Engine.Gap == nil {
		c.Engine.Gap = g.Gap
	}
	// For as long as a session can be resumed its place in a topic is known.
	c.Engine.HistoryKeep = cmp.Or(c.Engine.HistoryKeep, g.Config().SessionTTL)
	c.Engine.Logger = cmp.Or(c.Engine.Logger, g.Log())
	c.Worker.Logger = cmp.Or(c.Worker.Logger, g.Log())
	c.Admin.Logger = cmp.Or(c.Admin.Logger, g.Log())
	c.Admin.Dev = c.Admin.Dev || c.Dev
	return c.shareDescriptors()
}
