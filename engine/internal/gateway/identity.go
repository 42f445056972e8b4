package gateway

import (
	"errors"
	"slices"
	"strings"

	"github.com/sluicenet/sluice/codec/netsvr"
	"github.com/sluicenet/sluice/engine"
	"github.com/sluicenet/sluice/engine/internal/tracecontext"
)

// An about is what is known of a client's login beside its user. It is there for clients only of
// which there is something to know, in the form in which workers are told.
type about struct {
	metadata []netsvr.Metadata     // what the client said
	claims   []netsvr.Metadata     // what the login provider vouches for
	parent   *tracecontext.Context // the trace that it is part of; nil: of none
	bytes    int                   // charged
}

// pairCost is the bytes that a pair costs beside its text: two slices, and its part of what is
// around them.
const pairCost = 64

// pairsSize returns what a map costs as a list of pairs, in bytes.
func pairsSize(m map[string]string) int {
	n := 0
	for k, v := range m {
		n += len(k) + len(v) + pairCost
	}
	return n
}

// pairsOf returns m as a list, by key, in memory of its own.
func pairsOf(m map[string]string) []netsvr.Metadata {
	if len(m) == 0 {
		return nil
	}
	text := 0
	for k, v := range m {
		text += len(k) + len(v)
	}
	all, list := make([]byte, 0, text), make([]netsvr.Metadata, 0, len(m))
	add := func(s string) []byte {
		start := len(all)
		all = append(all, s...)
		return all[start:len(all):len(all)]
	}
	for k, v := range m {
		list = append(list, netsvr.Metadata{Key: add(k), Value: add(v)})
	}
	slices.SortFunc(list, func(a, b netsvr.Metadata) int { return strings.Compare(string(a.Key), string(b.Key)) })
	return list
}

func mapOf(pairs []netsvr.Metadata) map[string]string {
	if len(pairs) == 0 {
		return nil
	}
	m := make(map[string]string, len(pairs))
	for _, p := range pairs {
		m[string(p.Key)] = string(p.Value)
	}
	return m
}

// setAbout keeps what is known of a client's login, in place of what was.
func (g *Gateway) setAbout(c *engine.Conn, cl *Client, metadata, claims map[string]string) {
	if len(metadata)+len(claims) == 0 {
		return
	}
	x := cl.ensure(g.pool(c))
	a := &about{metadata: pairsOf(metadata), claims: pairsOf(claims), bytes: pairsSize(metadata) + pairsSize(claims)}
	if x.about != nil && x.about.parent != nil {
		a.parent = x.about.parent
		a.bytes += traceCost
	}
	g.dropAbout(c, x)
	x.about = a
	c.Charge(engine.KindIdentity, a.bytes)
}

func (g *Gateway) dropAbout(c *engine.Conn, x *extra) {
	if x.about != nil {
		c.Charge(engine.KindIdentity, -x.about.bytes)
		x.about = nil
	}
}

// About returns what the client said at its login, and what the login provider vouches for. Both are
// sorted by key, and must not be changed.
func (cl *Client) About() (metadata, claims []netsvr.Metadata) {
	if cl.extra == nil || cl.extra.about == nil {
		return nil, nil
	}
	return cl.extra.about.metadata, cl.extra.about.claims
}

// Claim returns what the login provider vouches for under a name; ok is false when it said nothing.
func (cl *Client) Claim(name string) (value string, ok bool) {
	_, claims := cl.About()
	v, ok := netsvr.Lookup(claims, name)
	return string(v), ok
}

// ErrSessionText is that a session text is longer than Config.MaxSessionText. Nothing has changed.
var ErrSessionText = errors.New("gateway: session text too long")

// SetSession sets a client's session text, on its loop; workers do. Empty makes it a guest.
func (g *Gateway) SetSession(c *engine.Conn, cl *Client, text string) error {
	if len(text) > g.Config().MaxSessionText {
		g.stats.sessionTextsRefused.Add(1)
		return ErrSessionText
	}
	if text == "" && cl.extra == nil {
		return nil
	}
	x := cl.ensure(g.pool(c))
	c.Charge(engine.KindIdentity, len(text)-len(x.sessionText))
	x.sessionText = text
	cl.shrink(g.pool(c))
	g.changed(cl)
	return nil
}

// forget takes what is known of a client that is gone off its account.
func (g *Gateway) forget(c *engine.Conn, x *extra) {
	if x != nil {
		g.dropAbout(c, x)
		c.Charge(engine.KindIdentity, -len(x.sessionText))
		x.sessionText = ""
	}
}
