package engine

import (
	"fmt"
	"net/netip"

	"github.com/sluicenet/sluice/engine/internal/address"
)

// A trust says which proxies are believed.
type trust struct {
	proxy, forwarded address.Set
	forwardedUnix    bool
}

// setTrust replaces Engine.trust.
func (e *Engine) setTrust(c *Config) error {
	t := trust{forwardedUnix: c.ForwardedUnix}
	var err error
	if t.proxy, err = address.SetOf(c.ProxyTrust); err != nil {
		return fmt.Errorf("engine: Config.ProxyTrust: %w", err)
	}
	if t.forwarded, err = address.SetOf(c.ForwardedTrust); err != nil {
		return fmt.Errorf("engine: Config.ForwardedTrust: %w", err)
	}
	e.trust.Store(&t)
	return nil
}

// mayRelay reports whether the proxy at addr may say with a PROXY header who its client is. Whoever
// reaches a unix socket may: the permissions of its file say who that is.
func (t *trust) mayRelay(addr netip.Addr) bool { return !addr.IsValid() || t.proxy.Contains(addr) }

// mayForward reports whether the proxy at addr may say so in a request.
func (t *trust) mayForward(addr netip.Addr) bool { return t.forwarded.Contains(addr) }

// An Identifier is a Protocol whose clients may come through a proxy that says for whom, in the
// protocol's own words. While a connection is Unidentified, it must call Conn.Identify before anything
// comes of what the client has sent.
type Identifier interface {
	Protocol
	// Identifies is never called.
	Identifies()
}

func hasIdentifier(ps []Protocol) bool {
	for _, p := range ps {
		if _, ok := p.(Identifier); ok {
			return true
		}
	}
	return false
}

// mayForward reports whether the admission of a connection from addr waits for an Identifier. told says
// that a PROXY header has named the address: an invalid one is then none of a unix socket here.
func (l *listener) mayForward(addr netip.Addr, told bool) bool {
	t := l.engine.trust.Load()
	return l.identifies && (t.mayForward(addr) || l.unix && !told && t.forwardedUnix)
}

// Unidentified reports whether c comes from a proxy that is trusted to say who the client is
// (Config.ForwardedTrust, ForwardedUnix), and has not been identified. It was not admitted yet.
func (c *Conn) Unidentified() bool { return c.flags&flagUnadmitted != 0 }

// ForwardsFor reports whether a proxy at addr is trusted to say in its requests who its client is.
// Any goroutine may call it.
func (e *Engine) ForwardsFor(addr netip.Addr) bool { return e.trust.Load().mayForward(addr) }

// RelaysFor reports whether a proxy at addr is trusted to say with a PROXY header who its client is. An
// invalid addr is that of a unix socket. Any goroutine may call it.
func (e *Engine) RelaysFor(addr netip.Addr) bool { return e.trust.Load().mayRelay(addr) }

// Forwarding reports whether any proxy is trusted to do so. Any goroutine may call it.
func (e *Engine) Forwarding() bool {
	t := e.trust.Load()
	return len(t.forwarded) > 0 || t.forwardedUnix
}

// Identify tells the engine who an Unidentified connection's client is: the address that the proxy has
// given, or an invalid one when it has given none and is the client itself. It reports whether that
// client is admitted. One that is not must be closed for the Reason, behind an answer if there is one.
func (c *Conn) Identify(client netip.AddrPort) (why Reason, ok bool) {
	if client.Addr().IsValid() {
		c.setPeer(client)
	}
	if why, ok = c.loop.admitPeer(c); !ok {
		c.noteRefused(why)
	}
	return why, ok
}
