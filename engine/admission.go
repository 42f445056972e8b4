package engine

import (
	"net"
	"net/netip"
	"runtime/debug"
)

// admission decides whether a client may connect. It is asked once for each connection, when the
// client's real address is known: by an accepting goroutine, or on the connection's loop once a proxy
// has told it. addr is plain, and invalid for a client that has none. public says that clients on other
// machines reach the listener, be it through a proxy.
//
// Whoever it admits is counted in e.addresses, if it has an address, and leaves it in the end: its
// connection has flagCounted, or the acceptor's.
func (l *listener) admission(addr netip.Addr, public bool) (why Reason, ok bool) {
	e := l.engine
	if why, ok = e.addresses.enter(addr, public); !ok || e.config.Admit == nil {
		return why, ok
	}
	ok = false
	defer func() { // also when Admit panics
		if !ok && addr.IsValid() {
			e.addresses.leave(keyOf(addr))
		}
	}()
	return e.config.Admit(addr)
}

// admit asks for the admission of conn and refuses it if it must. A Config.Admit that panics, or ends
// its goroutine, has refused.
func (a *acceptor) admit(conn net.Conn, addr netip.Addr) bool {
	why, ok, returned := ReasonServerError, false, false
	defer func() {
		if !returned {
			r := recover()
			if r == nil {
				r = errGoexit
			}
			a.engine.outside.panics.Add(1)
			a.engine.logAdmitPanic(addr, r)
		}
		if !ok {
			a.refuse(conn, why)
		}
	}()
	why, ok = a.admission(addr, a.public)
	returned = true
	return ok
}

func (e *Engine) logAdmitPanic(addr netip.Addr, r any) {
	stack := debug.Stack()
	if p, ok := r.(handlerPanic); ok { // in the loop's coroutine
		stack = p.stack
	}
	e.log.Error("panic of Config.Admit", "peer", addr, "panic", r, "stack", string(stack))
}

// admitPeer asks for the admission of c, on its loop, once its address is known. A Config.Admit that
// panics, or ends its goroutine, has refused.
func (l *Loop) admitPeer(c *Conn) (why Reason, ok bool) {
	c.flags &^= flagUnadmitted
	addr := c.Peer().Addr()
	from := l.engine.listenerAt(c.listener)
	public := from.public || c.flags&flagPeerTold != 0
	why = ReasonServerError
	defer func() {
		if r := recover(); r != nil {
			ok = false
			l.stats.panics.Add(1)
			l.engine.logAdmitPanic(addr, r)
		}
	}()
	l.Isolate(func() { why, ok = from.admission(addr, public) })
	if ok && addr.IsValid() {
		c.flags |= flagCounted
	}
	return why, ok
}
