package gosoc

import (
	"time"

	"github.com/valyala/bytebufferpool"

	"github.com/sluicenet/sluice/codec/gosoc"
	"github.com/sluicenet/sluice/codec/gzip"
	"github.com/sluicenet/sluice/codec/websocket"
	"github.com/sluicenet/sluice/engine"
	ws "github.com/sluicenet/sluice/engine/internal/client/websocket"
	"github.com/sluicenet/sluice/engine/internal/gateway"
)

// Name is the protocol's name in flags, counters and messages to workers.
const Name = "gosoc"

// Config sets up a Protocol. Its zero value works.
type Config struct {
	// MaxKeepAlive is the longest keep-alive that a client gets, whatever it asks for; one that asks
	// for none, which is 0, gets it too. A client may be silent for 1.5 times its keep-alive. Zero
	// means 20 min: what has vanished without a word is gone after as long as its session can be
	// resumed. Negative means no limit.
	MaxKeepAlive time.Duration
	// BadTokenStops has refused tokens and tickets answered with ConnAck 3, not authorized, at which
	// the C++ client stops, in place of 6, bad token, after which it tries again at once.
	BadTokenStops bool
	// ManyLogins lets a user have several connections at a time, a phone's and a laptop's. Otherwise
	// a new one closes the older.
	ManyLogins bool
	// TLSRuns has packets that are sent together share TLS records. Otherwise each has its own: the
	// published C++ client looks at the socket, not at what its TLS library has read already, so of two
	// in one record the second would wait for the next record.
	TLSRuns bool
}

func (c Config) withDefaults() Config {
	if c.MaxKeepAlive == 0 {
		c.MaxKeepAlive = 20 * time.Minute
	}
	return c
}

// A Protocol serves GOSOC on connections of a gateway, over one transport.
type Protocol struct {
	config  Config
	gateway *gateway.Gateway
	maxIdle int64 // ms; 0: no limit
	// first is the index of the transport's first dialect in the engine's table.
	first     uint8
	webSocket bool // packets travel in WebSocket messages
	// deflate compresses these messages unless the packets are gzipped; nil if that is not agreed.
	deflate *ws.Transport
}

// The wire forms pushes are encoded in, in the order of Dialects: each form plain and gzipped, then
// the same in WebSocket messages.
const (
	compactPlain = iota
	compactGzip
	fixed6Plain
	fixed6Gzip
	webSocketDialects
)

// deflateDialects is where, behind webSocketDialects, the forms are that WebSocket compresses. There
// are none of gzipped forms: those would gain nothing.
const deflateDialects = webSocketDialects

// Dialects returns the wire forms in which GOSOC clients take pushes, some of them over transport.
func Dialects(transport *ws.Transport) []engine.Dialect {
	var list []engine.Dialect
	for _, transport := range []string{"", "-ws"} {
		webSocket := transport != ""
		list = append(list,
			engine.Dialect{Name: "gosoc-compact" + transport, Append: push(gosoc.Compact, false, webSocket)},
			engine.Dialect{Name: "gosoc-compact-gzip" + transport, Append: push(gosoc.Compact, true, webSocket)},
			engine.Dialect{Name: "gosoc-fixed6" + transport, Append: push(gosoc.Fixed6, false, webSocket)},
			engine.Dialect{Name: "gosoc-fixed6-gzip" + transport, Append: push(gosoc.Fixed6, true, webSocket)})
	}
	return append(list,
		transport.Deflating(list[webSocketDialects+compactPlain]),
		transport.Deflating(list[webSocketDialects+fixed6Plain]))
}

// push returns the encoder of one wire form.
func push(form gosoc.Form, gzipped, webSocket bool) func([]byte, engine.Push) ([]byte, error) {
	return func(dst []byte, p engine.Push) ([]byte, error) {
		if gzipped {
			packed := bytebufferpool.Get()
			defer bytebufferpool.Put(packed)
			packed.B = gzip.Deflate(packed.B[:0], p.Payload)
			p.Payload = packed.B
		}
		// The route travels as a string up to here; the few bytes on the stack avoid a copy on
		// the heap for any route of a sane length.
		var room [64]byte
		req := gosoc.SendReq{Route: append(room[:0], p.Route...), Payload: p.Payload}
		if !webSocket {
			return form.AppendSendReq(dst, req)
		}
		size, err := form.SendReqSize(req)
		if err != nil {
			return dst, err
		}
		return form.AppendSendReq(websocket.AppendFrameHeader(dst, websocket.OpBinary, size), req)
	}
}

// New makes the protocol, over TCP. firstDialect is where Dialects begin in the engine's table.
func New(g *gateway.Gateway, firstDialect int, config Config) *Protocol {
	config = config.withDefaults()
	idle := max(config.MaxKeepAlive*3/2, 0)
	return &Protocol{config: config, gateway: g, first: uint8(firstDialect), maxIdle: idle.Milliseconds()}
}

// Config returns the configuration with its defaults filled in. It must not be changed.
func (p *Protocol) Config() *Config { return &p.config }

// Name implements engine.Protocol.
func (p *Protocol) Name() string { return Name }

// Sniff implements engine.Protocol: 0x10 begins a compact, 0x01 a fixed6 Connect. The rest of the
// first bytes is looked at by the connection, which also knows how long a Connect may be.
func (p *Protocol) Sniff(first []byte) engine.Match {
	if _, ok := gosoc.Sniff(first[0]); ok {
		return engine.Matched
	}
	return engine.NoMatch
}

// Refuse implements engine.Refuser: a Connect is answered.
func (p *Protocol) Refuse(first []byte, _ engine.Reason) ([]byte, engine.Match) {
	form, ok, err := gosoc.Recognize(first)
	switch {
	case err != nil:
		return nil, engine.NoMatch
	case !ok:
		return nil, engine.NeedMore
	}
	return form.AppendConnAck(nil, gosoc.ConnAck{Code: gosoc.ServerUnavailable}), engine.Matched
}

// TrustedOnLoop implements engine.Trusted.
func (p *Protocol) TrustedOnLoop() {}

// Open implements engine.Protocol.
func (p *Protocol) Open(*engine.Conn) engine.Handler {
	h := newConn(p)
	return &h
}
