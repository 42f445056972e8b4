package engine

import (
	"net"
	"net/netip"
	"runtime/debug"
)

// admission decides whether a client may connect. It is asked once for each connection, when the
// client's real address is known: by an accepting goroutine, or on the connection's loop once a proxy
// has told it. addr is plain, and invalid for a client that has none.
func (e *Engine) admission(addr netip.Addr) (Reason, bool) {
	if f := e.config.Admit; f != nil {
		return f(addr)
	}
	return 0, true
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
	why, ok = a.engine.admission(addr)
	returned = true
	return ok
}

func (e *Engine) logAdmitPanic(addr netip.Addr, r any) {
	e.log.Error("panic of Config.Admit", "peer", addr, "panic", r, "stack", string(debug.Stack()))
}
