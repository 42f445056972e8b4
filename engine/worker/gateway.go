package worker

import (
	"crypto/tls"
	"slices"
	"sync/atomic"
)

// A Gateway is one of those a Worker serves. Its commands go out on its first link.
type Gateway struct {
	*Link

	addr     string
	tls      *tls.Config // nil: plain
	links    []*Link
	serverID atomic.Int32 // -1: not known yet
}

func newGateway(w *Worker, addr string, secure bool) *Gateway {
	g := &Gateway{addr: addr}
	if secure {
		g.tls = clientTLS(w.config.TLS, addr)
	}
	g.serverID.Store(-1)
	for i := range w.config.Links {
		g.links = append(g.links, newLink(w, g, i))
	}
	g.Link = g.links[0]
	return g
}

// Addr returns the address as [Config].Dial gets it: "host:port", or the path or @name of a unix
// socket.
func (g *Gateway) Addr() string { return g.addr }

// Links returns the connections to the gateway, Config.Links of them. The slice is the caller's.
func (g *Gateway) Links() []*Link { return slices.Clone(g.links) }

// ServerID returns the number with which the uniqIds of the gateway begin. It is not known before
// the first connection.
func (g *Gateway) ServerID() (id int, known bool) {
	id = int(g.serverID.Load())
	return id, id >= 0
}

func (g *Gateway) identify(id int32) {
	if g.serverID.Swap(id) == id {
		return
	}
	for _, other := range g.worker.gateways {
		if other != g && other.serverID.Load() == id {
			g.worker.log.Warn("two gateways have the same server id; commands for their clients go to both",
				"serverId", id, "gateways", []string{g.addr, other.addr})
		}
	}
}

// uniqIDLen is the length of an id that a gateway made: server id, seconds, counter, in hex.
const uniqIDLen = 2 + 8 + 8

// serverOf returns the server id that a gateway wrote into uniqID, -1 if it is a custom one.
func serverOf(uniqID string) int32 {
	if len(uniqID) != uniqIDLen {
		return -1
	}
	for i := range len(uniqID) {
		if hexDigit(uniqID[i]) < 0 {
			return -1
		}
	}
	return hexDigit(uniqID[0])<<4 | hexDigit(uniqID[1])
}

// hexDigit knows upper case only: gateways write no other.
func hexDigit(c byte) int32 {
	switch {
	case '0' <= c && c <= '9':
		return int32(c - '0')
	case 'A' <= c && c <= 'F':
		return int32(c-'A') + 10
	}
	return -1
}

// GatewaysOf returns where a connection may be: the gateway that made its uniqId, or, if that
// cannot be told, as with custom ids, all of them. With Config.Cluster it is the one that stands for
// all. The slice is the caller's.
func (w *Worker) GatewaysOf(uniqID string) []*Gateway { return slices.Clone(w.where(uniqID)) }

// where is GatewaysOf without the copy.
func (w *Worker) where(uniqID string) []*Gateway {
	server, whom := serverOf(uniqID), w.whom()
	if server < 0 || len(whom) == 1 {
		return whom
	}
	found := -1
	for i, g := range w.gateways {
		if g.serverID.Load() != server {
			continue
		}
		if found >= 0 {
			return w.gateways // two of one number
		}
		found = i
	}
	if found < 0 {
		return w.gateways
	}
	return w.gateways[found : found+1]
}

// A share is what of a list of ids belongs to one gateway.
type share struct {
	gateway *Gateway
	uniqIDs []string
	at      []int // where they stand in the list
}

// shares deals a list of ids to the gateways that may know them, in the order of the list.
func (w *Worker) shares(uniqIDs []string) []share {
	dealt := make([]share, len(w.gateways))
	for i, g := range w.gateways {
		dealt[i].gateway = g
	}
	for at, id := range uniqIDs {
		for _, g := range w.where(id) {
			s := &dealt[slices.Index(w.gateways, g)]
			s.uniqIDs, s.at = append(s.uniqIDs, id), append(s.at, at)
		}
	}
	return slices.DeleteFunc(dealt, func(s share) bool { return len(s.uniqIDs) == 0 })
}
