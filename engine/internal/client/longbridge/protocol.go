package longbridge

import (
	"fmt"
	"slices"
	"time"

	"github.com/valyala/bytebufferpool"

	"github.com/sluicenet/sluice/codec/longbridge"
	"github.com/sluicenet/sluice/codec/websocket"
	"github.com/sluicenet/sluice/engine"
	ws "github.com/sluicenet/sluice/engine/internal/client/websocket"
	"github.com/sluicenet/sluice/engine/internal/gateway"
)

// Name is the protocol's name in flags, counters and messages to workers.
const Name = "longbridge"

// Config sets up a Protocol. Its zero value works.
type Config struct {
	// HeartbeatTimeout is how long a client may be silent. Zero means 150 s: the vendor's Go client
	// says nothing of its own accord but a heartbeat every 60 s.
	HeartbeatTimeout time.Duration
	// HeartbeatInterval is how often WebSocket clients are pinged, and after how long a silence TCP
	// clients are sent a heartbeat. Zero means 30 s, or a third of HeartbeatTimeout if that is less:
	// the vendor's Rust client drops a connection on which it saw no ping for 120 s.
	HeartbeatInterval time.Duration
	// NoCloseNotice leaves the Close push out: connections end with the FIN alone, from which the
	// vendor's Go client always recovers.
	NoCloseNotice bool
	// Gzip is the size in bytes from which bodies of responses and pushes are compressed, if that
	// makes them shorter; what is published is compressed once for each of Dialects, whatever the
	// number of subscribers. Zero or less means never.
	Gzip int
}

func (c Config) withDefaults() Config {
	if c.HeartbeatTimeout <= 0 {
		c.HeartbeatTimeout = 150 * time.Second
	}
	if c.HeartbeatInterval <= 0 {
		c.HeartbeatInterval = min(30*time.Second, c.HeartbeatTimeout/3)
	}
	return c
}

// A Protocol serves Longbridge on connections of a gateway, over one transport.
type Protocol struct {
	config  Config
	gateway *gateway.Gateway
	// first is the index of the transport's first dialect in the engine's table.
	first     uint8
	pinned    bool // the listener speaks no other protocol
	webSocket bool // packets travel in WebSocket messages
	// deflate compresses these messages; nil if that is not agreed.
	deflate *ws.Transport
}

// New makes the protocol, over TCP. firstDialect is where Dialects begin in the engine's table.
func New(g *gateway.Gateway, firstDialect int, config Config) *Protocol {
	return &Protocol{config: config.withDefaults(), gateway: g, first: uint8(firstDialect)}
}

// Name implements engine.Protocol.
func (p *Protocol) Name() string { return Name }

// Sniff implements engine.Protocol: the first byte holds a known version and codec.
func (p *Protocol) Sniff(first []byte) engine.Match {
	if longbridge.SniffByte(first[0]) {
		return engine.Matched
	}
	return engine.NoMatch
}

// TrustedOnLoop implements engine.Trusted.
func (p *Protocol) TrustedOnLoop() {}

// Open implements engine.Protocol.
func (p *Protocol) Open(*engine.Conn) engine.Handler {
	return &conn{protocol: p, handshake: longbridge.DefaultHandshake()}
}

// Pinned is the protocol on a listener that speaks no other over TCP: it takes every connection that
// http does not want, so that a wrong handshake is answered with a Close. No handshake begins like
// HTTP.
func (p *Protocol) Pinned(http engine.Protocol) engine.Protocol {
	alone := *p
	alone.pinned = true
	return pinned{&alone, http}
}

type pinned struct {
	*Protocol
	http engine.Protocol
}

func (p pinned) Sniff(first []byte) engine.Match {
	if m := p.http.Sniff(first); m == engine.NeedMore {
		return m
	}
	return engine.Matched
}

// The wire forms pushes are encoded in, in the order of Dialects.
const (
	tcpV1 = iota
	tcpV2
	webSocketV1
	webSocketV2
	textV1 // in text messages
	textV2
	deflateV1 // the four of WebSocket, compressed

	webSocketDialects = webSocketV1
	textDialects      = textV1
	deflateDialects   = deflateV1
)

// Config returns the configuration with its defaults filled in. It must not be changed.
func (p *Protocol) Config() *Config { return &p.config }

// Dialects returns the wire forms in which Longbridge clients take pushes, some of them over
// transport.
func Dialects(transport *ws.Transport, config Config) []engine.Dialect {
	push := func(v longbridge.Version, op websocket.Opcode) func([]byte, engine.Push) ([]byte, error) {
		return push(v, op, config.Gzip)
	}
	list := []engine.Dialect{
		tcpV1:       {Name: "longbridge-v1", Append: push(longbridge.Version1, unframed)},
		tcpV2:       {Name: "longbridge-v2", Append: push(longbridge.Version2, unframed)},
		webSocketV1: {Name: "longbridge-v1-ws", Append: push(longbridge.Version1, websocket.OpBinary)},
		webSocketV2: {Name: "longbridge-v2-ws", Append: push(longbridge.Version2, websocket.OpBinary)},
		textV1:      {Name: "longbridge-v1-text", Append: push(longbridge.Version1, websocket.OpText)},
		textV2:      {Name: "longbridge-v2-text", Append: push(longbridge.Version2, websocket.OpText)},
	}
	for _, d := range list[webSocketDialects:deflateDialects] {
		list = append(list, transport.Deflating(d))
	}
	return list
}

// unframed is in place of an opcode where packets travel without WebSocket messages around them.
const unframed = websocket.OpContinuation

// push returns the encoder of one wire form; op is the kind of message it travels in. Payloads of gzip
// bytes and more are compressed.
func push(v longbridge.Version, op websocket.Opcode, gzip int) func([]byte, engine.Push) ([]byte, error) {
	return func(dst []byte, p engine.Push) ([]byte, error) {
		header := longbridge.Header{Cmd: p.Cmd}
		if header.Control() {
			// A worker must not close or confuse clients in the protocol's own name.
			return dst, fmt.Errorf("%w: longbridge keeps command %d to itself", engine.ErrCommand, p.Cmd)
		}
		if gzip > 0 && len(p.Payload) >= gzip {
			packed := bytebufferpool.Get()
			defer bytebufferpool.Put(packed)
			packed.B = roomFor(packed.B, p.Payload)
			p.Payload, header.Gzip = longbridge.MaybeDeflate(packed.B, p.Payload, gzip)
		}
		b := dst
		if op != unframed {
			b = websocket.AppendFrameHeader(b, op, headerSize(longbridge.Push, v)+len(p.Payload))
		}
		b, err := longbridge.AppendPush(b, v, header, nil, p.Payload)
		if err != nil {
			return dst, err
		}
		return b, nil
	}
}

// roomFor returns room with space for what body is deflated to, be it longer than body.
func roomFor(room, body []byte) []byte {
	return slices.Grow(room[:0], len(body)+len(body)>>8+64)
}

// headerSize is the length of a response's or push's header, which the frame around it must know
// beforehand.
func headerSize(t longbridge.PacketType, v longbridge.Version) int {
	size := 5 // type, cmd, body length
	if t == longbridge.Response {
		size = 10 // and request id, status
	}
	if v == longbridge.Version2 {
		size += 2 // metadata length
	}
	return size
}
