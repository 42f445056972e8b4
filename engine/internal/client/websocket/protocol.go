package websocket

import (
	"cmp"
	"errors"

	"github.com/sluicenet/sluice/codec/websocket"
	"github.com/sluicenet/sluice/engine"
)

// An Endpoint serves the WebSocket connections of one path.
type Endpoint interface {
	// Upgrade decides on a request. It returns the refusal to send, or nil: then it has put a
	// handler of its own in charge (Conn.SetHandler), which answers the request when it sees fit.
	// req is borrowed.
	Upgrade(c *engine.Conn, req *websocket.Request) *websocket.Refusal
}

// Config bounds what WebSocket clients of every protocol send. Zero fields have the defaults they
// name.
type Config struct {
	// MaxHead is the longest head of an upgrade request, in bytes. Zero means 32 KiB, which a
	// browser's with 12 KiB of cookies fits into. It counts in what may come before a login, which
	// bounds it too.
	MaxHead int
	// MaxHeaders is how many lines a head may have. Zero means 128.
	MaxHeaders int
	// MaxFragments is how many frames a message may have, besides one for every 32 bytes of it. Zero
	// means 256.
	MaxFragments int
}

// The bounds of Config.MaxHead: a head has its say within what may come before a login.
const (
	MinHead = 1 << 10
	MaxHead = 64 << 10
)

// Limits returns the bounds of an upgrade request's head.
func (c Config) Limits() websocket.Limits {
	return websocket.Limits{MaxHead: cmp.Or(c.MaxHead, 32<<10), MaxHeaders: cmp.Or(c.MaxHeaders, 128)}
}

// A Protocol recognises HTTP and upgrades it.
type Protocol struct {
	limits    websocket.Limits
	endpoints map[string]Endpoint
	// other serves the paths that no endpoint has; nil: nobody does.
	other Endpoint
}

// New makes a Protocol that serves endpoints by their path, and other paths by other unless it is
// nil.
func New(config Config, endpoints map[string]Endpoint, other Endpoint) *Protocol {
	return &Protocol{limits: config.Limits(), endpoints: endpoints, other: other}
}

// Name implements engine.Protocol.
func (p *Protocol) Name() string { return "http" }

// methods are the beginnings by which HTTP is told from everything else on a port.
var methods = []string{"GET ", "POST ", "PUT ", "HEAD ", "DELETE ", "OPTIONS ", "PATCH ", "CONNECT ", "TRACE "}

// Sniff implements engine.Protocol.
func (p *Protocol) Sniff(first []byte) engine.Match {
	for _, m := range methods {
		n := min(len(m), len(first))
		if string(first[:n]) == m[:n] {
			if n == len(m) {
				return engine.Matched
			}
			return engine.NeedMore
		}
	}
	return engine.NoMatch
}

// TrustedOnLoop implements engine.Trusted.
func (p *Protocol) TrustedOnLoop() {}

// Open implements engine.Protocol.
func (p *Protocol) Open(*engine.Conn) engine.Handler { return &upgrader{protocol: p} }

// An upgrader waits for the whole request head.
type upgrader struct {
	protocol *Protocol
	scanned  int
}

func (u *upgrader) OnBytes(c *engine.Conn, b []byte) (n, need int) {
	if len(b) == 0 {
		return 0, 1
	}
	n, next, err := websocket.ScanHead(b, u.scanned, u.protocol.limits)
	if err != nil {
		Refuse(c, refusal(err))
		return 0, 0
	}
	if n == 0 {
		u.scanned = next
		return 0, len(b) + 1
	}
	req, _, err := websocket.ParseUpgrade(b, u.protocol.limits)
	if err != nil {
		Refuse(c, refusal(err))
		return 0, 0
	}
	end := u.protocol.endpoints[string(req.Path)]
	if end == nil {
		end = u.protocol.other
	}
	if end == nil {
		Refuse(c, errNotFound)
		return 0, 0
	}
	if no := end.Upgrade(c, &req); no != nil && c.Open() {
		Refuse(c, no)
	}
	return n, 0
}

var errNotFound = &websocket.Refusal{Status: 404, Reason: "Not found"}

func refusal(err error) *websocket.Refusal {
	var r *websocket.Refusal
	if errors.As(err, &r) {
		return r
	}
	return &websocket.Refusal{Status: 400, Reason: "Bad request"}
}

// Refuse answers an upgrade request with a refusal and closes the connection.
func Refuse(c *engine.Conn, r *websocket.Refusal) {
	c.Commit(r.Append(c.Buffer(512)), 1)
	c.Close(engine.ReasonUpgradeRefused)
}

func (u *upgrader) OnDeadline(c *engine.Conn)           { c.Close(engine.ReasonLoginTimeout) }
func (u *upgrader) Goodbye(*engine.Conn, engine.Reason) {}
func (u *upgrader) OnClose(*engine.Conn, engine.Reason) {}
