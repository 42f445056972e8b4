package engine

import (
	"math"
	"net/netip"
	"time"
)

// Limits are what of Config may change while the Engine runs. Zero fields have Config's defaults.
type Limits struct {
	Backlog, Lag   int
	LagAge         time.Duration
	BacklogTotal   int64
	MaxConnections int
	FirstBytes     time.Duration // of the connections that come from then on
	Linger         time.Duration // of those that close from then on

	MaxPerAddress, ConnectRatePerAddress, ConnectRate int
	// HandshakeTimeout, likewise, and MaxHandshakes are about TLS.
	HandshakeTimeout           time.Duration
	MaxHandshakes              int
	MaxPacketRate, MaxByteRate int

	// Of the connections that come from then on.
	ProxyTimeout               time.Duration
	ProxyTrust, ForwardedTrust []netip.Prefix
	ForwardedUnix              bool
}

func (c *Config) limits() *Limits {
	return &Limits{
		Backlog: c.Backlog, Lag: c.Lag, LagAge: c.LagAge,
		BacklogTotal: c.BacklogTotal, MaxConnections: c.MaxConnections, FirstBytes: c.FirstBytes, Linger: c.Linger,
		MaxPerAddress: c.MaxPerAddress, ConnectRatePerAddress: c.ConnectRatePerAddress, ConnectRate: c.ConnectRate,
		HandshakeTimeout: c.HandshakeTimeout, MaxHandshakes: c.MaxHandshakes,
		MaxPacketRate: c.MaxPacketRate, MaxByteRate: c.MaxByteRate,
		ProxyTimeout: c.ProxyTimeout, ProxyTrust: c.ProxyTrust, ForwardedTrust: c.ForwardedTrust,
		ForwardedUnix: c.ForwardedUnix,
	}
}

// Limits returns the limits that are in force. Any goroutine may call it.
func (e *Engine) Limits() Limits { return *e.limits.Load() }

// SetLimits replaces the limits. New connections and the total are under them at once, each loop's
// connections from its next turn on. Whoever is over a smaller one is not closed by the change, but
// when more comes for it. Any goroutine may call it, once Start has returned.
func (e *Engine) SetLimits(n Limits) {
	c := e.config // zero fields mean the defaults, not what was set at the start
	c.Backlog, c.Lag, c.LagAge, c.BacklogTotal = n.Backlog, n.Lag, n.LagAge, n.BacklogTotal
	c.MaxConnections, c.FirstBytes, c.Linger = n.MaxConnections, n.FirstBytes, n.Linger
	c.MaxPerAddress, c.ConnectRatePerAddress, c.ConnectRate = n.MaxPerAddress, n.ConnectRatePerAddress, n.ConnectRate
	c.HandshakeTimeout, c.MaxHandshakes = n.HandshakeTimeout, n.MaxHandshakes
	c.MaxPacketRate, c.MaxByteRate = n.MaxPacketRate, n.MaxByteRate
	c.ProxyTimeout, c.ProxyTrust = n.ProxyTimeout, n.ProxyTrust
	c.ForwardedTrust, c.ForwardedUnix = n.ForwardedTrust, n.ForwardedUnix
	c = c.withDefaults()
	if err := e.setTrust(&c); err != nil {
		e.log.Error("the trusted networks stay as they were", "err", err)
	}
	e.limits.Store(c.limits())
	e.handshakes.retry()
	for _, l := range e.loops {
		e.TellLoop(l.index, l.takeLimits)
	}
}

// takeLimits puts the loop's connections under the limits in force.
func (l *Loop) takeLimits() {
	n := l.engine.Limits()
	l.setLimits(&n)
	l.each(func(c *Conn) {
		l.weigh(c)
		if c.state == stateOpen {
			l.relieve(c)
			l.review(c)
		}
	})
}

// setLimits is for takeLimits, and for a loop that has no connections yet.
func (l *Loop) setLimits(n *Limits) {
	l.setRates(n)
	l.limit = uint32(min(n.Backlog, math.MaxInt32))
	l.lagLimit = uint32(min(n.Lag, math.MaxInt32))
	l.lagAge = n.LagAge.Milliseconds()
	before := l.highWater
	// A quarter: a reader that keeps up has room for the mailbox and the run under way beside it.
	l.highWater = min(maxHighWater, l.limit/4, l.lagLimit/4)
	if l.heavy.floor == before {
		l.heavy.floor = l.highWater
	}
}
