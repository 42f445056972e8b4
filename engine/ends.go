package engine

import (
	"net/netip"
	"runtime/debug"
)

// An End is a connection that has ended, or was refused before it reached a loop.
type End struct {
	Conn    *Conn   // nil: refused. It may be read until the call returns
	Handler Handler // of Conn, which does not know of the end yet
	Peer    netip.AddrPort
	// Listener is the index of the listener that the connection came on, in the order of the calls of
	// Listen.
	Listener int
	Why      Reason
	// Traffic is that of Conn, the final words included.
	Traffic Traffic
}

// HearEnds has f called for each connection that ends or is refused, after those that were given before
// it: on its loop, where it must not block, or on one of the goroutines that accept. It must be called
// before Start. A panic of f, or on a loop runtime.Goexit, is counted and logged, and costs nobody a
// connection.
func (e *Engine) HearEnds(f func(End)) { e.heard = append(e.heard, f) }

func (l *Loop) tellEnd(c *Conn, why Reason, sum Traffic) {
	for _, f := range l.engine.heard {
		l.tellOneEnd(f, End{Conn: c, Handler: c.handler, Peer: c.Peer(), Listener: int(c.listener), Why: why, Traffic: sum})
	}
}

func (l *Loop) tellOneEnd(f func(End), end End) {
	defer l.caught("the report of an end")
	l.Isolate(func() { f(end) })
}

func (e *Engine) tellRefused(peer netip.AddrPort, listener int, why Reason) {
	for _, f := range e.heard {
		e.tellOneRefused(f, End{Peer: peer, Listener: listener, Why: why})
	}
}

func (e *Engine) tellOneRefused(f func(End), end End) {
	defer func() {
		if r := recover(); r != nil {
			e.outside.panics.Add(1)
			e.log.Error("panic in the report of a refusal", "peer", end.Peer, "panic", r, "stack", string(debug.Stack()))
		}
	}()
	f(end)
}
