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
	lent          bool                   // a protocol fills it in
	f             HandlerFunc            // that serves it
	isolated      func()                 // calls f
	askers        [1 << askerBits]*asker // by askerOf; nil before its first
	asking        []byte                 // what an asker is encoded into
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
	if max(cap(s.Payload), cap(s.Data), cap(s.Reply), cap(s.Out), cap(s.asking)) <= maxScratch {
		return
	}
	for _, b := range []*[]byte{&s.Payload, &s.Data, &s.Reply, &s.Out, &s.asking} {
		if cap(*b) > maxScratch {
			*b = nil
		}
	}
}
