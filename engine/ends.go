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
	Why     Reason
}

// HearEnds has f called for each connection that ends or is refused: on its loop, where it must not
// block, or on one of the goroutines that accept. It is called once at most, before Start. A panic of
// f is counted and logged, and costs nobody a connection.
func (e *Engine) HearEnds(f func(End)) { e.heard = f }

func (l *Loop) tellEnd(c *Conn, why Reason) {
	if f := l.engine.heard; f != nil {
		defer l.caught("the report of an end")
		f(End{Conn: c, Handler: c.handler, Peer: c.Peer(), Why: why})
	}
}

func (e *Engine) tellRefused(peer netip.AddrPort, why Reason) {
	if f := e.heard; f != nil {
		defer func() {
			if r := recover(); r != nil {
				e.outside.panics.Add(1)
				e.log.Error("panic in the report of a refusal", "peer", peer, "panic", r, "stack", string(debug.Stack()))
			}
		}()
		f(End{Peer: peer, Why: why})
	}
}
