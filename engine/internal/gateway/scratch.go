package gateway

import (
	"sync/atomic"

	"github.com/sluicenet/sluice/engine"
)

// Scratch is a loop's memory for inflated and deflated bytes.
type Scratch struct {
	Payload, Data []byte        // a request, inflated
	Reply         []byte        // a reply, as a handler writes it
	Out           []byte        // a reply, deflated
	requests      atomic.Uint64 // that clients have made
	request       Request
	lent          bool        // a protocol fills it in
	f             HandlerFunc // that serves it
	isolated      func()      // calls f
	peers         []peerText  // by peerOf; nil before the first request
	pending       pendingTable
	leases        leases
	latencies     latencies
	traces        loopTraces
	workers       map[int]*workerQueue // by worker id: requests that wait for one
	_             [64]byte
}

// maxScratch is how much of each a loop keeps between packets.
const maxScratch = 256 << 10

// Scratch returns the loop's buffers. A protocol may use each until it returns to the engine, but
// must not hold more than one packet in it.
func (g *Gateway) Scratch(l *engine.Loop) *Scratch { return &g.scratch[l.Index()] }

func (g *Gateway) pool(c *engine.Conn) *clientPool {
	return &g.scratch[c.Loop().Index()].pending.clients
}

// Trim lets go of a buffer that one big packet has blown up.
func (s *Scratch) Trim() {
	if max(cap(s.Payload), cap(s.Data), cap(s.Reply), cap(s.Out)) <= maxScratch {
		return
	}
	for _, b := range []*[]byte{&s.Payload, &s.Data, &s.Reply, &s.Out} {
		if cap(*b) > maxScratch {
			*b = nil
		}
	}
}

// A peerText is the address of a connection that has asked: it is likely to ask again, and to put its
// address together takes longer than to look for it.
type peerText struct {
	of   engine.Ref
	text []byte
}

// peerBits make 256 places, in 8 KiB: few of the clients that ask at the same time share one.
const peerBits = 8

// peerOf returns a connection's place.
func peerOf(ref engine.Ref) int { return int(uint64(ref) * 0x9e3779b97f4a7c15 >> (64 - peerBits)) }

// Peer returns the text of a client's address, as Conn.AppendPeer makes it. It is valid until the next call on the loop, and must
// not be changed.
func (s *Scratch) Peer(c *engine.Conn) []byte {
	if s.peers == nil {
		s.peers = make([]peerText, 1<<peerBits)
	}
	p := &s.peers[peerOf(c.Ref())]
	if p.of != c.Ref() {
		p.text = c.AppendPeer(p.text[:0])
		p.of = c.Ref()
	}
	return p.text
}
