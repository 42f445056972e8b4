package netsvr

import (
	"cmp"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/valyala/bytebufferpool"

	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/codec/websocket"
	"github.com/sluicenet/sluice/engine"
	ws "github.com/sluicenet/sluice/engine/internal/client/websocket"
	"github.com/sluicenet/sluice/engine/internal/gateway"
	"github.com/sluicenet/sluice/engine/internal/link"
	"github.com/sluicenet/sluice/session"
)

// Name is the protocol's name in flags, counters and messages to workers.
const Name = "netsvr"

// DefaultPath is where customers connect unless Config says otherwise.
const DefaultPath = "/netsvr"

// Config sets up an Endpoint. Zero fields have the defaults they name.
type Config struct {
	// Path is where customers connect. Empty means DefaultPath.
	Path string
	// Idle is how long a customer may be silent. Zero means 120 s.
	Idle time.Duration
	// MaxMessage is the longest message behind the prefix, in bytes. Zero means 2 MiB.
	MaxMessage int
	// GuestFragments is the longest message in bytes that a guest, who has neither user nor session,
	// may send in fragments, which the gateway keeps until the last has come. A longer one is one that
	// is too large. Zero means 256 KiB; negative, or above MaxMessage, means MaxMessage.
	GuestFragments int
	// Deflate offers compression (permessage-deflate), which netsvr itself has none of in this version.
	Deflate bool
	// Binary has pushes sent as binary messages, not as text.
	Binary bool
	// CustomIDKey is the query parameter that names the uniqId a customer wants, with a token.
	// Empty: customers get the gateway's ids.
	CustomIDKey string
	// LoginRequired has customers show a token, ?token=, to the login provider; otherwise they
	// are guests.
	LoginRequired bool
}

// CheckPath says what is wrong with Path. A request must be able to name it as it is, and no other
// protocol may be served there.
func (c *Config) CheckPath() error {
	const want = "want a slash and a path of ASCII, such as /netsvr"
	if c.Path == "" {
		return nil
	}
	if c.Path[0] != '/' {
		return fmt.Errorf("%q: %s", c.Path, want)
	}
	for i := range len(c.Path) {
		if b := c.Path[i]; b <= ' ' || b > '~' || b == '?' || b == '#' {
			return fmt.Errorf("%q: %s", c.Path, want)
		}
	}
	if c.Path == "/gosoc" {
		return fmt.Errorf("%q: GOSOC is served there", c.Path)
	}
	return nil
}

// An Endpoint upgrades customers.
type Endpoint struct {
	config    Config
	transport *ws.Transport
	gateway   *gateway.Gateway
	hub       *link.Hub
	tokens    *session.OneTime
	dialect   uint8
	reader    websocket.ReaderConfig
	guests    websocket.ReaderConfig
}

// Exact texts that customers compare.
const (
	textRateLimited = "Connect rate limited"
	textShutdown    = "Service shutdown"
	textTooLarge    = "Message too large"
	textWorkerWrong = "WorkerId wrong"
	textCustomWrong = "Custom uniqId wrong"
)

// skipLimit is the length in bytes up to which a message that is too large is skipped and
// answered; a longer one ends the connection.
const skipLimit = 64 << 20

// New makes an Endpoint. firstDialect is where Dialects begin in the engine's table; tokens are
// the one-time tokens of custom uniqIds.
func New(g *gateway.Gateway, hub *link.Hub, tokens *session.OneTime, transport *ws.Transport, firstDialect int, config Config) *Endpoint {
	config.Path = cmp.Or(config.Path, DefaultPath)
	if config.Idle <= 0 {
		config.Idle = 120 * time.Second
	}
	if config.MaxMessage <= 0 {
		config.MaxMessage = 2 << 20
	}
	e := &Endpoint{config: config, transport: transport, gateway: g, hub: hub, tokens: tokens, dialect: uint8(firstDialect)}
	if config.Binary {
		e.dialect++
	}
	e.reader = websocket.ReaderConfig{
		MaxMessage: max(config.MaxMessage+prefixLen, len(netsvr.V2.Ping())),
		SkipLimit:  skipLimit,

		MaxFragments: transport.Config().MaxFragments,
	}
	if config.GuestFragments == 0 {
		config.GuestFragments = 256 << 10
	}
	e.guests = e.reader
	e.guests.MaxFragmented = config.GuestFragments
	return e
}

// limits are what is accepted of a customer now. Workers make guests users and users guests.
func (e *Endpoint) limits(s *customer) *websocket.ReaderConfig {
	if s.User() == "" && s.Session() == "" {
		return &e.guests
	}
	return &e.reader
}

// Config returns the configuration with its defaults filled in. It must not be changed.
func (e *Endpoint) Config() *Config { return &e.config }

// deflateDialects is where Dialects has the compressed forms.
const deflateDialects = 2

// Dialects returns the wire forms in which customers take pushes: text, then binary messages, then
// the same compressed by transport.
func Dialects(transport *ws.Transport) []engine.Dialect {
	list := []engine.Dialect{
		{Name: "netsvr-text", Append: func(dst []byte, p engine.Push) ([]byte, error) {
			op := websocket.OpText
			if !utf8.Valid(p.Payload) {
				op = websocket.OpBinary // as text the customer would have to fail the connection
			}
			return websocket.AppendFrame(dst, op, p.Payload), nil
		}, NoGaps: true},
		{Name: "netsvr-binary", Append: func(dst []byte, p engine.Push) ([]byte, error) {
			return websocket.AppendFrame(dst, websocket.OpBinary, p.Payload), nil
		}, NoGaps: true},
	}
	return append(list, transport.Deflating(list[0]), transport.Deflating(list[1]))
}

// Profile implements ws.Endpoint.
func (e *Endpoint) Profile() ws.Profile {
	return ws.Profile{About: "netsvr over WebSocket", OriginRequired: true, AnySubProtocol: true, Deflate: e.config.Deflate}
}

// Upgrade implements ws.Endpoint. The checks are in the order in which customers meet them.
func (e *Endpoint) Upgrade(c *engine.Conn, req *websocket.Request) *websocket.Refusal {
	if !e.hub.AllowOpen() {
		return &websocket.Refusal{Status: 503, Reason: textRateLimited}
	}
	creds := gateway.Credentials{Guest: !e.config.LoginRequired, Traceparent: string(ws.Traceparent(req))}
	if e.config.CustomIDKey != "" {
		id, _ := websocket.QueryGet(req.RawQuery, e.config.CustomIDKey)
		token, _ := websocket.QueryGet(req.RawQuery, "token")
		ok := len(id) >= 1 && len(id) <= session.MaxIDLen && utf8.Valid(id)
		if ok {
			_, ok = e.tokens.Take(e.gateway.Engine().Time(), token)
			if !ok && gateway.MayBeElsewhere(e.gateway, token) {
				creds.CustomIDToken, ok = string(token), true
			}
		}
		if !ok {
			return &websocket.Refusal{Status: 400, Reason: textCustomWrong}
		}
		creds.UniqID = string(id)
	}
	agreed, no := e.transport.Agree(req, e.Profile())
	if no != nil {
		return no
	}
	if e.config.LoginRequired {
		token, _ := websocket.QueryGet(req.RawQuery, "token")
		creds.Token = string(token)
	}
	kept := &upgrade{
		rawQuery: string(req.RawQuery),
		response: bytebufferpool.Get(),
	}
	if !c.Loop().Engine().Forwarding() { // or workers are told the client's address, which it is sure of
		kept.forwarded = string(req.XForwardedFor)
	}
	for p := range req.SubProtocols() {
		kept.subProtocols = append(kept.subProtocols, string(p))
	}
	kept.response.B = websocket.AppendResponse(kept.response.B, req, agreed)
	s := &customer{endpoint: e, upgrade: kept}
	s.recharge(c)
	s.Begin(e.limits(s), agreed.Deflate.Accepted)
	c.SetHandler(s)
	e.gateway.Login(c, s, creds)
	return nil
}

var _ ws.Endpoint = (*Endpoint)(nil)
