package server

import (
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/client/gosoc"
	"github.com/sluicenet/sluice/engine/internal/client/longbridge"
	"github.com/sluicenet/sluice/engine/internal/client/netsvr"
	ws "github.com/sluicenet/sluice/engine/internal/client/websocket"
)

// A Protocol is one of the program's own, which shares ports, topics and loops with the gateway's.
//
// A listener speaks it alone with ?protocol=NAME. On auto listeners a connection's first bytes are
// shown to GOSOC, Longbridge and HTTP in this order, then to Config.Protocols in theirs; the first
// that matches has the connection, and while one needs more bytes, those behind it wait. So a
// protocol of one's own cannot begin like a GOSOC Connect (0x10, 0x01), a Longbridge handshake
// (0x11, 0x12, 0x21, 0x22) or an HTTP request (a method and a space).
//
// Its connections reach topics with Conn.Subscribe and Conn.Publish once they are clients
// (Conn.SetDialect). Whoever wants logins, users and requests of them, too, has their state embed
// Client and implement Session, and calls the Gateway's Login, Serve and Closed. Until the state
// machine sets a deadline of its own, or takes it away, OnDeadline comes when the time for the
// first bytes is over (engine.Config.FirstBytes).
type Protocol struct {
	// Name is for ?protocol=, counters and logs: lower-case letters and digits, and not the name
	// of another protocol.
	Name string
	// Dialects are the wire forms in which its clients take pushes. Each is named Name, a hyphen
	// and the form. Those of all protocols together are at most engine.MaxDialects.
	Dialects []engine.Dialect
	// New makes the protocol, once, when New of this package is called. Its Name must be Name.
	New func(Binding) engine.Protocol
}

// A Binding is the place of a Protocol in its gateway.
type Binding struct {
	// Dialect is the index of the first of Protocol.Dialects, as Conn.SetDialect wants it; those
	// of the others follow.
	Dialect uint8
	// Gateway decides on logins and serves requests. It must not be used before Server.Start.
	Gateway *Gateway
}

// speak makes the protocols of every kind of listener, and the engine's table of dialects.
func (s *Server) speak() error {
	var table []engine.Dialect
	add := func(ds []engine.Dialect) (first int) {
		first = len(table)
		table = append(table, ds...)
		return first
	}
	s.gosocTCP = gosoc.New(s.gateway, add(gosoc.Dialects(s.web)), s.config.Gosoc)
	gosocWS := gosoc.NewEndpoint(s.gosocTCP, s.web)
	s.netsvrWS = netsvr.New(s.gateway, s.hub, s.tokens, s.web, add(netsvr.Dialects(s.web)), s.config.Netsvr)
	netsvrPath := s.netsvrWS.Config().Path
	s.longbridgeTCP = longbridge.New(s.gateway, add(longbridge.Dialects(s.web, s.config.Longbridge)), s.config.Longbridge)
	longbridgeWS := longbridge.NewEndpoint(s.longbridgeTCP, s.web)
	longbridgeHTTP := s.web.Protocol(nil, longbridgeWS)
	all := s.web.Protocol(map[string]ws.Endpoint{gosoc.Path: gosocWS, netsvrPath: s.netsvrWS}, longbridgeWS)
	s.protocols = map[string][]engine.Protocol{
		auto:            {s.gosocTCP, s.longbridgeTCP, all},
		gosoc.Name:      {s.gosocTCP, s.web.Protocol(map[string]ws.Endpoint{gosoc.Path: gosocWS}, nil)},
		longbridge.Name: {longbridgeHTTP, s.longbridgeTCP.Pinned(longbridgeHTTP)},
		netsvr.Name:     {s.web.Protocol(map[string]ws.Endpoint{netsvrPath: s.netsvrWS}, nil).Alone()},
	}
	for _, own := range s.config.Protocols {
		dialects := slices.Clone(own.Dialects)
		for i := range dialects {
			dialects[i].Append = guarded(dialects[i], s.gateway.Log())
		}
		if n := len(table) + len(dialects); n > engine.MaxDialects {
			return badProtocol("%d dialects with those of %s, at most %d in all", n, own.Name, engine.MaxDialects)
		}
		p := own.New(Binding{Dialect: uint8(add(dialects)), Gateway: s.gateway})
		if p == nil || p.Name() != own.Name {
			return badProtocol("New of %s makes no protocol of that name", own.Name)
		}
		s.protocols[own.Name] = []engine.Protocol{p}
		earlier := slices.Clone(s.protocols[auto])
		s.protocols[auto] = append(s.protocols[auto], behind{p, earlier})
	}
	s.config.Engine.Dialects = table
	return nil
}

// behind is a protocol that waits while one before it needs more bytes: what a connection speaks
// must not depend on how its first bytes were cut.
type behind struct {
	engine.Protocol
	earlier []engine.Protocol
}

func (b behind) Sniff(first []byte) engine.Match {
	for _, p := range b.earlier {
		if p.Sniff(first) == engine.NeedMore {
			return engine.NeedMore
		}
	}
	return b.Protocol.Sniff(first)
}

// guarded is d's encoder, for goroutines that a panic would take along.
func guarded(d engine.Dialect, log *slog.Logger) func([]byte, engine.Push) ([]byte, error) {
	if d.Append == nil {
		return nil
	}
	return func(dst []byte, p engine.Push) (out []byte, err error) {
		defer func() {
			if r := recover(); r != nil {
				log.Error("panic of a dialect", "dialect", d.Name, "panic", r, "stack", string(debug.Stack()))
				out, err = dst, fmt.Errorf("server: dialect %s panicked: %v", d.Name, r)
			}
		}()
		return d.Append(dst, p)
	}
}

func badProtocol(format string, args ...any) error {
	return fmt.Errorf("server: Config.Protocols: "+format, args...)
}

// ownNames checks Config.Protocols and returns their names.
func (c *Config) ownNames() ([]string, error) {
	var names []string
	forms := make(map[string]bool)
	for _, p := range c.Protocols {
		switch {
		case p.Name == "" || strings.Trim(p.Name, "abcdefghijklmnopqrstuvwxyz0123456789") != "":
			return nil, badProtocol("name %q, want lower-case letters and digits", p.Name)
		case slices.Contains(builtin, p.Name) || p.Name == "http":
			return nil, badProtocol("%s is the name of a protocol of the gateway's", p.Name)
		case slices.Contains(names, p.Name):
			return nil, badProtocol("%s is there twice", p.Name)
		case p.New == nil:
			return nil, badProtocol("%s has no New", p.Name)
		}
		names = append(names, p.Name)
		for _, d := range p.Dialects {
			if form, ok := strings.CutPrefix(d.Name, p.Name+"-"); !ok || form == "" {
				return nil, badProtocol("%s has a dialect %q, want %s-FORM", p.Name, d.Name, p.Name)
			}
			if forms[d.Name] {
				return nil, badProtocol("dialect %s is there twice", d.Name)
			}
			forms[d.Name] = true
		}
	}
	return names, nil
}
