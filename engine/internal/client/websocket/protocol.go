package websocket

import (
	"bytes"
	"errors"

	"github.com/sluicenet/sluice/codec/websocket"
	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/gateway"
)

// An Endpoint serves the WebSocket connections of one path.
type Endpoint interface {
	// Profile says what the endpoint wants of requests. It does not change.
	Profile() Profile
	// Upgrade decides on a request that asks for an upgrade, with Transport.Agree among others. It
	// returns the refusal to send, or nil: then it has put a handler of its own in charge
	// (Conn.SetHandler), which answers the request when it sees fit. req is borrowed.
	Upgrade(c *engine.Conn, req *websocket.Request) *websocket.Refusal
}

// A Profile is what the transport knows of an endpoint.
type Profile struct {
	// About says in a few words what is spoken there.
	About string
	// OriginRequired refuses requests without an Origin while origins are configured.
	OriginRequired bool
	// Deflate says that messages may be compressed.
	Deflate bool
	// AnySubProtocol chooses the first sub-protocol offered when none of them is configured.
	AnySubProtocol bool
}

// A Protocol recognises HTTP and upgrades it.
type Protocol struct {
	transport *Transport
	endpoints map[string]Endpoint
	// other serves the paths that no endpoint has; nil: nobody does.
	other Endpoint
	alone bool
}

// Alone is the protocol on a listener that speaks HTTP and nothing else: there, whatever may be a
// request is one, so that blank lines before it and methods nobody knows are answered.
func (p *Protocol) Alone() *Protocol {
	alone := *p
	alone.alone = true
	return &alone
}

// Name implements engine.Protocol.
func (p *Protocol) Name() string { return "http" }

// methods are the beginnings by which HTTP is told from everything else on a port.
var methods = []string{"GET ", "POST ", "PUT ", "HEAD ", "DELETE ", "OPTIONS ", "PATCH ", "CONNECT ", "TRACE "}

// Sniff implements engine.Protocol.
func (p *Protocol) Sniff(first []byte) engine.Match {
	if p.alone {
		// Printable ASCII, or a blank line's beginning: the upgrader says what is wrong with it.
		if c := first[0]; c == '\r' || ' ' < c && c < 0x7f {
			return engine.Matched
		}
		return engine.NoMatch
	}
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

// Refuse implements engine.Refuser. Only an answer to HEAD depends on the method.
func (p *Protocol) Refuse(first []byte, why engine.Reason) ([]byte, engine.Match) {
	no := &websocket.Refusal{Status: 503, Reason: "Service unavailable: " + why.String()}
	if why == engine.ReasonAddressLimit || why == engine.ReasonAddressRate {
		no = &websocket.Refusal{Status: 429, Reason: "Too many requests: " + why.String()}
	}
	request := bytes.TrimLeft(first, "\r\n") // blank lines may come before
	switch n := min(len(request), len(head)); {
	case string(request[:n]) != head[:n]:
		return no.Append(nil), engine.Matched
	case n < len(head):
		return nil, engine.NeedMore
	}
	return no.AppendHead(nil), engine.Matched
}

// head begins a request whose answer has no body.
const head = "HEAD "

// TrustedOnLoop implements engine.Trusted.
func (p *Protocol) TrustedOnLoop() {}

// Open implements engine.Protocol.
func (p *Protocol) Open(*engine.Conn) engine.Handler { return &upgrader{protocol: p} }

// An upgrader waits for the whole request head.
type upgrader struct {
	protocol *Protocol
	scanned  int
	blanks   int // lines before the request
}

// Protocol is what the log calls a connection that has asked for none yet.
func (u *upgrader) Protocol() string { return "http" }

// maxBlanks is how many blank lines before a request are ignored. RFC 9112 2.2 wants one at least.
const maxBlanks = 8

func (u *upgrader) OnBytes(c *engine.Conn, b []byte) (n, need int) {
	skipped := 0
	for len(b) > 0 && b[0] == '\r' && u.blanks < maxBlanks {
		if len(b) == 1 {
			return skipped, 2
		}
		if b[1] != '\n' {
			break
		}
		u.blanks++
		skipped += 2
		b = b[2:]
	}
	if len(b) == 0 {
		return skipped, 1
	}
	n, need = u.head(c, b)
	return skipped + n, need
}

// head handles the request head at the front of b.
func (u *upgrader) head(c *engine.Conn, b []byte) (n, need int) {
	limits := u.protocol.transport.Config().Limits()
	isHead := bytes.HasPrefix(b, []byte(head))
	n, next, err := websocket.ScanHead(b, u.scanned, limits)
	if err != nil {
		answer(c, refusal(err), isHead)
		return 0, 0
	}
	if n == 0 {
		u.scanned = next
		return 0, len(b) + 1
	}
	req, _, err := websocket.ParseUpgrade(b, limits)
	if err != nil {
		answer(c, refusal(err), isHead)
		return 0, 0
	}
	if c.Unidentified() && !u.identify(c, b, &req) {
		return 0, 0
	}
	end := u.protocol.endpoints[string(req.Path)]
	if end == nil {
		end = u.protocol.other
	}
	no := u.protocol.transport.check(&req, end)
	if no == nil {
		no = end.Upgrade(c, &req)
	}
	if no != nil && c.Open() {
		answer(c, no, isHead)
	}
	return n, 0
}

// Identifies implements engine.Identifier.
func (p *Protocol) Identifies() {}

var forwardedHeaders = map[string]websocket.ForwardedHeader{
	"": websocket.AnyForwarded, "any": websocket.AnyForwarded,
	"x-forwarded-for": websocket.XForwardedForOnly, "forwarded": websocket.ForwardedOnly,
}

// identify says who the client is whose request, at the front of b, has come through a trusted proxy. It
// reports false when it has refused that client.
func (u *upgrader) identify(c *engine.Conn, b []byte, req *websocket.Request) bool {
	header := forwardedHeaders[u.protocol.transport.Config().ForwardedHeader]
	client, err := req.Client(header, c.Loop().Engine().ForwardsFor)
	if err != nil {
		answer(c, refusal(err), bytes.HasPrefix(b, []byte(head)))
		return false
	}
	why, ok := c.Identify(client)
	if !ok {
		no, _ := u.protocol.Refuse(b, why)
		c.Write(no)
		c.Close(why)
	}
	return ok
}

// Traceparent returns of which trace an upgrade says that it is part: in a header, or in the query, since
// no page can set a header. Nil or empty: it does not say.
func Traceparent(req *websocket.Request) []byte {
	if req.Traceparent != nil {
		return req.Traceparent
	}
	text, _ := websocket.QueryGet(req.RawQuery, gateway.Traceparent)
	return text
}

func refusal(err error) *websocket.Refusal {
	var r *websocket.Refusal
	if errors.As(err, &r) {
		return r
	}
	return &websocket.Refusal{Status: 400, Reason: "Bad request"}
}

func (u *upgrader) OnDeadline(c *engine.Conn)           { c.Close(engine.ReasonLoginTimeout) }
func (u *upgrader) Goodbye(*engine.Conn, engine.Reason) {}
func (u *upgrader) OnClose(*engine.Conn, engine.Reason) {}
