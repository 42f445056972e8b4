package gosoc

import (
	"github.com/sluicenet/sluice/codec/gosoc"
	"github.com/sluicenet/sluice/codec/gzip"
	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/gateway"
)

// Name is the protocol's name in flags, counters and messages to workers.
const Name = "gosoc"

// A Protocol serves GOSOC on connections of a gateway.
type Protocol struct {
	gateway *gateway.Gateway
	// first is the index of the first of the protocol's dialects in the engine's table.
	first uint8
}

// The wire forms pushes are encoded in, in the order of Dialects: each form plain and gzipped.
const (
	compactPlain = iota
	compactGzip
	fixed6Plain
	fixed6Gzip
	numDialects
)

// Dialects returns the wire forms in which GOSOC clients take pushes.
func Dialects() []engine.Dialect {
	return []engine.Dialect{
		compactPlain: {Name: "gosoc-compact", Append: plain(gosoc.Compact)},
		compactGzip:  {Name: "gosoc-compact-gzip", Append: gzipped(gosoc.Compact)},
		fixed6Plain:  {Name: "gosoc-fixed6", Append: plain(gosoc.Fixed6)},
		fixed6Gzip:   {Name: "gosoc-fixed6-gzip", Append: gzipped(gosoc.Fixed6)},
	}
}

func plain(form gosoc.Form) func([]byte, engine.Push) ([]byte, error) {
	return func(dst []byte, p engine.Push) ([]byte, error) {
		// The route travels as a string up to here; the few bytes on the stack avoid a copy on
		// the heap for any route of a sane length.
		var room [64]byte
		return form.AppendSendReq(dst, gosoc.SendReq{Route: append(room[:0], p.Route...), Payload: p.Payload})
	}
}

func gzipped(form gosoc.Form) func([]byte, engine.Push) ([]byte, error) {
	inner := plain(form)
	return func(dst []byte, p engine.Push) ([]byte, error) {
		p.Payload = gzip.Deflate(nil, p.Payload)
		return inner(dst, p)
	}
}

// New makes the protocol. firstDialect is where Dialects begin in the engine's table.
func New(g *gateway.Gateway, firstDialect int) *Protocol {
	return &Protocol{gateway: g, first: uint8(firstDialect)}
}

// Name implements engine.Protocol.
func (p *Protocol) Name() string { return Name }

// Sniff implements engine.Protocol: 0x10 begins a compact, 0x01 a fixed6 Connect.
func (p *Protocol) Sniff(first []byte) engine.Match {
	_, ok, err := gosoc.Recognize(first)
	switch {
	case err != nil:
		return engine.NoMatch
	case ok:
		return engine.Matched
	}
	return engine.NeedMore
}

// Open implements engine.Protocol.
func (p *Protocol) Open(*engine.Conn) engine.Handler { return &conn{protocol: p} }
