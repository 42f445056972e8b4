package websocket

import (
	"cmp"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/sluicenet/sluice/codec/websocket"
	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/internal/redact"
)

// Config is what holds for WebSocket on all paths. Its zero value works; zero fields have the
// defaults they name.
type Config struct {
	// Origins are the hosts whose pages may connect, with their subdomains. None: all.
	Origins []string
	// SubProtocols are what may be chosen of the sub-protocols that a client offers.
	SubProtocols []string
	// ForwardedHeader says in which header proxies (engine.Config.ForwardedTrust) say who a client is:
	// any (X-Forwarded-For where there is one, else Forwarded), x-forwarded-for or forwarded. Empty
	// means any.
	ForwardedHeader string

	// Probe has a GET that asks for no upgrade answered with 200, as load balancers want it, in place
	// of 426.
	Probe bool

	// NoDeflate offers GOSOC and Longbridge clients no compression (permessage-deflate); see
	// NetsvrConfig.Deflate for netsvr.
	NoDeflate bool
	// DeflateMin is the shortest message in bytes that is sent compressed. Zero means 128: shorter
	// ones gain little.
	DeflateMin int

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
func (c *Config) Limits() websocket.Limits {
	return websocket.Limits{MaxHead: cmp.Or(c.MaxHead, 32<<10), MaxHeaders: cmp.Or(c.MaxHeaders, 128)}
}

// Check refuses what could never match.
func (c *Config) Check() error {
	if _, ok := forwardedHeaders[c.ForwardedHeader]; !ok {
		return fmt.Errorf("forwarded header %q, want any, x-forwarded-for or forwarded", c.ForwardedHeader)
	}
	for _, host := range c.Origins {
		if !websocket.ValidOriginHost(host) {
			return fmt.Errorf("origin %q: want HOST, as example.com", redact.Address(host))
		}
	}
	for _, name := range c.SubProtocols {
		if !websocket.ValidSubProtocol(name) {
			return fmt.Errorf("sub-protocol %q: want a name without spaces and separators", name)
		}
	}
	return nil
}

// A Transport is what the WebSocket connections of a gateway have in common. It is safe for
// concurrent use.
type Transport struct {
	config     atomic.Pointer[Config]
	deflateMin int
	draining   func() bool
	counters   counters
}

// counters are what a Transport counts, on any goroutine.
type counters struct {
	deflated, deflatedFrom, deflatedTo atomic.Uint64
	inflated, inflatedFrom, inflatedTo atomic.Uint64
}

// Stats are a Transport's counters. Messages that are sent to many clients count once for each form
// they are compressed in.
type Stats struct {
	Deflated                 uint64 // messages that were compressed
	DeflatedFrom, DeflatedTo uint64 // their bytes before and after, frame headers included
	Inflated                 uint64 // messages that came compressed
	InflatedFrom, InflatedTo uint64 // their bytes before and after
}

// Stats returns the counters as they are now.
func (t *Transport) Stats() Stats {
	c := &t.counters
	return Stats{
		c.deflated.Load(), c.deflatedFrom.Load(), c.deflatedTo.Load(),
		c.inflated.Load(), c.inflatedFrom.Load(), c.inflatedTo.Load(),
	}
}

// NewTransport makes a Transport. draining says whether the gateway takes no more clients.
func NewTransport(config Config, draining func() bool) *Transport {
	t := &Transport{deflateMin: cmp.Or(config.DeflateMin, 128), draining: draining}
	t.config.Store(&config)
	return t
}

// Config returns the configuration that is in force. It must not be changed.
func (t *Transport) Config() *Config { return t.config.Load() }

// SetOrigins replaces Config.Origins for the handshakes that come. It must not be called twice at a
// time; it may be called while connections are served.
func (t *Transport) SetOrigins(hosts []string) error {
	n := *t.Config()
	n.Origins = hosts
	if err := n.Check(); err != nil {
		return err
	}
	t.config.Store(&n)
	return nil
}

// Deflate compresses, in its place, the frame that dst holds from start on, if it is long enough to
// gain by that. It may be called on any goroutine.
func (t *Transport) Deflate(dst []byte, start int) []byte {
	before := len(dst) - start
	if before < t.deflateMin {
		return dst
	}
	dst = websocket.DeflateFrame(dst, start)
	t.counters.deflated.Add(1)
	t.counters.deflatedFrom.Add(uint64(before))
	t.counters.deflatedTo.Add(uint64(len(dst) - start))
	return dst
}

// Deflating is d with its frames compressed, for clients with which that was agreed.
func (t *Transport) Deflating(d engine.Dialect) engine.Dialect {
	encode := d.Append
	return engine.Dialect{Name: d.Name + "-deflate", NoGaps: d.NoGaps, Append: func(dst []byte, p engine.Push) ([]byte, error) {
		out, err := encode(dst, p)
		if err != nil {
			return out, err
		}
		return t.Deflate(out, len(dst)), nil
	}}
}

// Protocol makes a Protocol that serves endpoints by their path, and other paths by other unless it
// is nil.
func (t *Transport) Protocol(endpoints map[string]Endpoint, other Endpoint) *Protocol {
	return &Protocol{transport: t, endpoints: endpoints, other: other}
}

// Exact text that netsvr's customers compare.
const textShutdown = "Service shutdown"

var (
	errNotFound = &websocket.Refusal{Status: 404, Reason: "Not found"}
	errDraining = &websocket.Refusal{Status: 503, Reason: textShutdown}
	errOrigin   = &websocket.Refusal{Status: 403, Reason: "Origin not allowed"}
)

// check answers what needs no endpoint's decision, or returns nil.
func (t *Transport) check(req *websocket.Request, e Endpoint) *websocket.Refusal {
	if no := req.CheckHTTP(); no != nil {
		return no
	}
	if e == nil {
		return errNotFound
	}
	switch plain := req.Plain(); {
	case t.draining():
		return errDraining
	case plain && t.Config().Probe:
		return &websocket.Refusal{Status: 200, Reason: "sluice: " + e.Profile().About + "\n"}
	case req.Minor == 0:
		return websocket.ErrHTTPVersion
	case plain:
		return &websocket.Refusal{
			Status: websocket.ErrNoUpgrade.Status, Reason: websocket.ErrNoUpgrade.Reason + ": " + e.Profile().About + "\n",
		}
	}
	return nil
}

// Agree decides on an opening handshake: whether the page it comes from may connect, and whether it
// is right. It returns what to answer it with, which borrows req, or the refusal. Every endpoint asks it.
func (t *Transport) Agree(req *websocket.Request, profile Profile) (websocket.ResponseOptions, *websocket.Refusal) {
	var agreed websocket.ResponseOptions
	if !t.originAllowed(req, profile) {
		return agreed, errOrigin
	}
	if no := req.Check(); no != nil {
		return agreed, no
	}
	deflate, err := websocket.NegotiateDeflate(req.Extensions)
	if err != nil {
		return agreed, refusal(err)
	}
	if profile.Deflate {
		agreed.Deflate = deflate
	}
	agreed.Protocol = t.subProtocol(req, profile)
	return agreed, nil
}

// originAllowed reports whether the page that has sent req may connect. What is no browser sends no
// Origin, and whom it speaks for is its own affair.
func (t *Transport) originAllowed(req *websocket.Request, p Profile) bool {
	if req.Origin == nil && !p.OriginRequired {
		return true
	}
	return websocket.OriginAllowed(req.Origin, t.Config().Origins)
}

// subProtocol is the first of the sub-protocols offered that is to be chosen, nil if none is.
func (t *Transport) subProtocol(req *websocket.Request, p Profile) (first []byte) {
	for offered := range req.SubProtocols() {
		if slices.Contains(t.Config().SubProtocols, string(offered)) {
			return offered
		}
		if first == nil && p.AnySubProtocol {
			first = offered
		}
	}
	return first
}

// answer sends an answer that is no upgrade, and closes the connection behind it.
func answer(c *engine.Conn, r *websocket.Refusal, head bool) {
	why := engine.ReasonUpgradeRefused
	if r.Status == 200 {
		why = engine.ReasonClientClose
	}
	dst := c.Buffer(512)
	if head {
		dst = r.AppendHead(dst)
	} else {
		dst = r.Append(dst)
	}
	c.Commit(dst, 1)
	c.Close(why)
}
