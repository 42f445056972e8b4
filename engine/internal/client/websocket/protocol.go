package websocket

import (
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

// A Protocol recognises HTTP and upgrades it.
type Protocol struct {
	endpoints map[string]Endpoint
	// other serves the paths that no endpoint has; nil: nobody does.
	other Endpoint
}

// New makes a Protocol that serves endpoints by their path, and other paths by other unless it is
// nil.
func New(endpoints map[string]Endpoint, other Endpoint) *Protocol {
	return &Protocol{endpoints: endpoints, other: other}
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
	n, next, err := websocket.ScanHead(b, u.scanned, websocket.Limits{})
	if err != nil {
		Refuse(c, refusal(err))
		return 0, 0
	}
	if n == 0 {
		u.scanned = next
		return 0, len(b) + 1
	}
	req, _, err := websocket.ParseUpgrade(b, websocket.Limits{})
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
